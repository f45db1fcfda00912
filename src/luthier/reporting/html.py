"""Reports as HTML: a fragment for a notebook, or a self-contained page that asks the network for nothing.

The texts in a report come from strangers. Three walls keep them text: jinja2 escapes every value, data for the scripts
is JSON in which `<`, `>` and `&` are written as escapes, and the page's own policy runs no script but those whose
hashes it names. A page can be read without them: they show what is said of points, sort tables and search rows. A
fragment has no script at all, and is light or dark as its notebook is.

A frame runs a program of others, such as a dashboard. It is sandboxed, so that it reaches neither the page nor its
storage, it inherits the page's policy, and its own takes away what it does not need.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.evaluation.resampling import Interval
from luthier.outputs import check_file, write_file
from luthier.reporting.charts.chart import Figure
from luthier.reporting.charts.draw import figure_html
from luthier.reporting.charts.svg import Told
from luthier.reporting.numbers import bounds, number
from luthier.reporting.short_names import short_names
from luthier.reporting.table import AnsweredRow, Bar, Cell, Column, Highlighted, Page, Row, Section, Table

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

__all__ = ["check_page", "fragment", "framed", "page_text", "write_page"]

MARK = b'<meta name="generator" content="Luthier">'
"""In the head of every page: one that has it may be written over."""

NO_HTML = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
"""Characters that no page may hold, as an answer of a model may."""

SCRIPTS = ("charts/charts.js", "page.js")
"""Of every page; their text is named in its policy."""

BAR_WIDTH = 130

LONGEST_ANSWER = 40
"""Characters of a truth or an answer up to which it stands within a line."""

LONGEST_VALUE = 600
"""Characters that are shown of a longer one."""

UNWRAPPED = 24
"""Characters up to which texts of a column are kept on one line."""

LONGEST_WORD = 64
"""The same for texts of a single word, such as ids."""

FEWEST_SORTED = 3
"""Rows from which a table can be sorted."""


def fragment(*sections: Section) -> str:
    """Sections as a self-contained fragment for `_repr_html_`; every text in it is escaped."""
    from markupsafe import Markup

    style = Markup(_file("board.css") + _chart_style() + _file("notebook.css"))
    text = _environment().get_template("fragment.html").render(sections=sections, told=None, style=style)
    return NO_HTML.sub("\ufffd", text)


def framed(page: str) -> str:
    """A page as a fragment for a notebook, in a sandbox: a notebook's own scripts may run code on the machine."""
    style = "width:100%;height:900px;border:0"
    return f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page)}" style="{style}"></iframe>'


def page_text(page: Page) -> str:
    """The page as HTML; it opens from disk and needs nothing from outside."""
    from markupsafe import Markup

    frames = tuple(page.frames())
    programs = {hashlib.sha256(one.script.encode()).hexdigest()[:16]: one.script for one in frames}
    names = {script: f"program-{digest}" for digest, script in programs.items()}
    scripts = [*([_file("frames.js")] if frames else ()), *map(_file, SCRIPTS)]
    # Markup only for what this module wrote itself or has escaped; everything else is escaped by the template.
    text = (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            told=Told(),
            style=Markup(_file("board.css") + _chart_style() + _file("page.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy([*scripts, *programs.values()], "font-src data:" if frames else ""),
            programs=[(names[script], _packed(script)) for script in programs.values()],
            frames=[
                (one.id, names[one.script], _policy([one.script], "font-src data:"), _packed(one.data))
                for one in frames
            ],
        )
    )
    return NO_HTML.sub("\ufffd", text)


@cache
def _file(name: str) -> str:
    return files("luthier.reporting").joinpath(name).read_text("utf-8")


def _chart_style() -> str:
    """The style of charts, for those in a report only: a notebook has SVG of others, and classes with short names."""
    return f".luthier-board {{\n{_file('charts/charts.css').replace(':root, svg', '&', 1)}}}\n"


def _json(value: object) -> Markup:
    """JSON for a script element: no parser finds a tag in it."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _figure(figure: Figure, told: Told | None) -> str:
    from markupsafe import Markup

    return Markup(figure_html(figure, told))


def _policy(scripts: Iterable[str], more: str = "") -> str:
    """Nothing from the network, and no script but these."""
    policy = f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src 'unsafe-inline'; img-src data:"
    policy += "; base-uri 'none'; form-action 'none'"
    return f"{policy}; {more}" if more else policy


def _packed(text: str) -> str:
    """The text as gzip in base64, which a script element can hold whatever the text is."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def check_page(path: str | Path) -> Path:
    """The path, if a page can be written in its place; to be asked before anything is paid.

    Raises:
        DataError: a folder or a device is there, or a file that is no page.
    """
    file = check_file(path)
    if file.exists() and not _is_page(file):
        raise DataError(f"{file} exists and is not a page written by Luthier; give another name, or move it away.")
    return file


def write_page(page: Page | str, path: str | Path) -> Path:
    """Writes a page; the file appears whole or not at all.

    Args:
        page: what to write.
        path: the file; an earlier page is replaced, missing folders are made.

    Returns:
        The path written.

    Raises:
        DataError: the file cannot be written, or a file that is no page is there.
    """
    file = check_page(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return write_file(file, page if isinstance(page, str) else page_text(page))
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}. Free some space or choose another folder.") from error


def _is_page(file: Path) -> bool:
    with file.open("rb") as stream:
        return MARK in stream.read(4096)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_file),
    )
    environment.filters |= {"cut": _cut}
    environment.globals |= {"columns_of": _columns, "cell_of": _cell, "kind_of": lambda block: type(block).__name__}
    environment.globals |= {"tinted": _tinted, "figure_of": _figure, "json_of": _json, "key_of": _key, "sorts": _sorts}
    environment.globals |= {"shown_names": _shown_names, "short_names": short_names}
    environment.globals |= {"is_long": _is_long, "lines_of": _lines}
    return environment


def _columns(table: Table) -> Iterator[tuple[int, Column, str, Callable[[float], str] | None]]:
    """The columns that are drawn: place, column, CSS class, and for bars where on them a value lies."""
    for place, column in enumerate(table.columns):
        if column.kind in ("beneath", "small"):
            continue
        cells = [row.cells[place] for row in table.rows]
        spanned = any(isinstance(cell, Interval) for cell in cells)
        short = all(len(text) <= (UNWRAPPED if " " in text else LONGEST_WORD) for text in map(str, filter(None, cells)))
        css = "luthier-name" if column.kind == "name" else "" if spanned or column.kind or short else "luthier-text"
        css = "luthier-number" if column.unit and not spanned else css
        yield place, column, css, _scale(cells, column) if column.kind == "bar" else None


def _shown_names(table: Table) -> dict[str, str]:
    """What is shown for each name that is a single word, such as a spec's; phrases are broken over lines instead."""
    places = [place for place, column in enumerate(table.columns) if column.kind == "name" and not column.whole]
    names = (str(row.cells[place]) for row in table.rows for place in places)
    return short_names(name for name in names if " " not in name)


def _cell(table: Table, row: Row, place: int) -> tuple[str, str]:
    """A cell's text, and what is written small beneath it."""
    column, cell = table.columns[place], row.cells[place]
    if column.kind == "name":
        beneath = [row.cells[i] for i, one in enumerate(table.columns) if one.kind == "beneath"]
        return str(cell), ", ".join(str(text) for text in beneath if text)
    if cell is None or isinstance(cell, str):
        return cell or "", ""
    unit = row.unit or column.unit
    assert unit is not None and not isinstance(cell, Bar)
    if isinstance(cell, Interval):
        return number(cell.value, unit), bounds(cell, unit)
    after = place + 1
    small = after < len(row.cells) and table.columns[after].kind == "small"
    return number(cell, unit), str(row.cells[after]) if small else ""


def _sorts(table: Table) -> bool:
    """Whether rows may be put in the order of any column; those of a table in mixed units may not."""
    headed = any(column.title for column in table.columns)
    return headed and len(table.rows) >= FEWEST_SORTED and not any(row.unit for row in table.rows)


def _key(cell: Cell) -> Markup | str:
    """What a cell is sorted by, as an attribute; a text by itself."""
    from markupsafe import Markup

    value = cell.interval.value if isinstance(cell, Bar) else cell.value if isinstance(cell, Interval) else cell
    return Markup(' data-v="{:.6g}"').format(value) if isinstance(value, int | float) else ""


def _tinted(block: Highlighted) -> Iterator[tuple[str, str, str]]:
    """The passages, each with its weight as text and its colour, which is strongest at the greatest weight."""
    greatest = max((abs(weight) for _, weight in block.passages if weight is not None), default=0) or 1
    for text, weight in block.passages:
        # Blue and orange are told apart by colour-blind readers; half transparent, they suit light and dark pages.
        colour = "61, 133, 198" if (weight or 0) > 0 else "230, 126, 34"
        yield (
            text,
            "" if weight is None else number(weight, "gap"),
            f"rgba({colour}, {0.6 * abs(weight or 0) / greatest:.2f})",
        )


def _is_long(row: AnsweredRow) -> bool:
    """Whether truth and answers stand side by side: one of them has several lines, or a long one."""
    values = (row.truth, *(one.value for one in row.answers if one))
    return row.parted or any(len(value) > LONGEST_ANSWER or "\n" in value for value in values)


def _lines(row: AnsweredRow, value: str) -> Iterator[tuple[str, bool]]:
    """The lines of an answer, each with whether it is a part that the truth does not have."""
    true = row.truth.split("\n")
    for line in _cut(value, LONGEST_VALUE).split("\n"):
        yield line, row.parted and line not in true


def _scale(cells: list[Cell], column: Column) -> Callable[[float], str]:
    bars = [cell for cell in cells if isinstance(cell, Bar)]
    ends = [
        end
        for bar in bars
        for end in (bar.interval.value, bar.interval.low, bar.interval.high, bar.mark, *(bar.outer or ()))
    ]
    known = [end for end in (*ends, *column.ticks, *(column.range or ())) if end is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    return lambda value: f"{6 + (BAR_WIDTH - 12) * (value - low) / (high - low):.1f}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} … ({len(text) - most:,} more characters)"


def _hash(script: str) -> str:
    """A script's name in the page's policy: https://www.w3.org/TR/CSP3/#match-element-to-source-list."""
    # A parser turns every line end into \n before the script is hashed.
    seen = script.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(seen.encode()).digest()).decode()}'"
