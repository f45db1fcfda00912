"""Reports in a terminal: readable at any width and in a log file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.evaluation.interval import Interval
from luthier.reporting.numbers import Unit, bounds, number, printable
from luthier.reporting.short_names import LONGEST_NAME, short_names
from luthier.reporting.table import Bar, Cell, Column, Lines, Section, Table, TextDiff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = ["rendered", "show", "text_of"]

NAME_STYLES = {"": "", "first": "bold", "reference": "italic"}

DIFF_STYLES = {"head": "dim", "added": "green", "removed": "red", "same": ""}

CUT_NAMES = "Names are shortened to what tells them apart (…); a wider terminal and the page have them whole."

MOST_BENEATH = 40
"""Columns that texts beneath a name are given before intervals are."""


def show(*sections: Section, console: Console | None = None) -> None:
    """Prints sections, a blank line between them.

    Args:
        sections: what to print.
        console: where; standard output when absent. Without a terminal the output has no colours, and where the
            encoding is not a Unicode one it is ASCII.
    """
    from rich.console import Console

    console = console or Console()
    if console.is_terminal or console.is_jupyter:
        _print(sections, console)
        return
    with console.capture() as written:
        _print(sections, console)
    # Rich fills every line of a grid with blanks, which a log file would keep.
    console.out("\n".join(line.rstrip() for line in written.get().split("\n")), end="", highlight=False)


def _print(sections: Sequence[Section], console: Console) -> None:
    for place, section in enumerate(sections):
        if place:
            console.print()
        console.print(rendered(section, console))


def text_of(*sections: Section) -> str:
    """Sections as text, as wide as the terminal, or 100 characters where there is none."""
    import io
    import shutil

    from rich.console import Console

    written = io.StringIO()
    show(*sections, console=Console(file=written, width=shutil.get_terminal_size((100, 24)).columns))
    return written.getvalue().rstrip()


def rendered(section: Section, console: Console) -> RenderableType:
    """A section for this console; figures and what is for pages alone are left out."""
    from rich.console import Group
    from rich.table import Table as RichTable

    inner = any(isinstance(block, Section) for block in section.blocks)
    parts: list[RenderableType] = []
    if section.title:
        parts.append(_text(section.title, console, "bold reverse" if inner else "bold"))
    for place, block in enumerate(section.blocks):
        if isinstance(block, str):
            parts.append(_text(block, console))
        elif isinstance(block, Table):
            parts.append(_rendered_table(block, console))
        elif isinstance(block, Lines):
            listed = RichTable.grid(padding=(0, 1, 0, 0))
            for line in block.lines:
                listed.add_row("-", _text(line, console))
            parts.append(listed)
        elif isinstance(block, TextDiff):
            # Blanks at the beginning of a line are part of what changed.
            parts += [_plain(_spaced(line), console, DIFF_STYLES[change]) for change, line in block.changes()]
        elif isinstance(block, Section):
            parts += [*([_text("", console)] if place else []), rendered(block, console)]
    return Group(*parts)


def _spaced(line: str) -> str:
    """The line without control characters, its blanks kept."""
    return "".join(" " if one == " " else printable(one) for one in line.expandtabs(4))


def _rendered_table(table: Table, console: Console) -> RenderableType:
    """A table for this console."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    step, columns = _fitting(table, console.width)
    beneath = [place for place, one in enumerate(table.columns) if one.kind == "beneath" and place not in columns]
    cells = {place: _written(table, place, step) for place in {*columns, *beneath}}
    notes = list(table.notes)
    room = console.width - sum(_wanted(table, p, step) + 2 for p in columns if table.columns[p].kind != "name")
    for place in columns:
        # Names that are a single word, such as a spec's; phrases are broken over lines instead.
        named = table.columns[place].kind == "name" and not table.columns[place].whole
        names = [name for name in cells[place] if named and " " not in name]
        if max(map(cell_len, names), default=0) > max(room, LONGEST_NAME):
            shown = short_names(names)
            cells[place] = [shown.get(name, name) for name in cells[place]]
            notes.append(CUT_NAMES)
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)
    for place in columns:
        column = table.columns[place]
        right = column.unit is not None and not any(_is_spanned(row.cells[place], column, step) for row in table.rows)
        grid.add_column(
            _plain("\n".join(_head(column, step)), console),
            justify="right" if right else "left",
            no_wrap=column.unit is not None,
            overflow="fold",
            min_width=min(12, max(map(len, cells[place]), default=0)) if column.kind == "name" else None,
            max_width=column.least if column.kind == "beneath" else None,
        )
    for line, row in enumerate(table.rows):
        if row.rule:
            grid.add_section()
        texts = []
        for place in columns:
            text = _plain(cells[place][line], console)
            if table.columns[place].kind == "name":
                text.stylize(NAME_STYLES[row.style])
                small = ", ".join(filter(None, (cells[one][line] for one in beneath)))
                if small:
                    text = Text("\n").join([text, _plain(small, console, "dim not bold")])
            texts.append(text)
        grid.add_row(*texts, style="dim" if row.style == "reference" else None)
    return Group(grid, *(_text(note, console) for note in dict.fromkeys(notes))) if notes else grid


def _fitting(table: Table, width: int) -> tuple[int, list[int]]:
    """The first step at which the table has room, and the columns that are left.

    As long as intervals can still give way, texts beneath a name have room on one line.
    """
    columns = table.columns
    steps = sorted({step for column in columns for step in (column.brief, column.drop) if step})
    briefer = min((column.brief for column in columns if column.brief), default=0)
    beneath = [place for place, one in enumerate(columns) if one.kind == "beneath"]
    places: list[int] = []
    for step in [0, *steps]:
        places = [p for p, one in enumerate(columns) if one.kind not in ("bar", "small") and not 0 < one.drop <= step]
        wanted = sum(_wanted(table, place, step) + 2 for place in places) - 1
        if step < briefer and not set(beneath) <= set(places):
            small = [sum(len(str(row.cells[p] or "")) for p in beneath) for row in table.rows]
            name = next(place for place, one in enumerate(columns) if one.kind == "name")
            wanted += max(0, min(max(small, default=0) + 2, MOST_BENEATH) - _wanted(table, name, step))
        if wanted <= width:
            return step, places
    return steps[-1] if steps else 0, places


def _wanted(table: Table, place: int, step: int) -> int:
    """Columns of a terminal that a table's column needs."""
    from rich.cells import cell_len

    column = table.columns[place]
    longest = max(map(cell_len, _written(table, place, step)), default=0)
    longest = min(longest, column.least) if column.unit is None else longest
    return max(longest, *map(cell_len, _head(column, step)))


def _head(column: Column, step: int) -> list[str]:
    """The lines of a column's head."""
    return [printable(line) for line in (column.short if step and column.short else column.title).split("\n")]


def _written(table: Table, place: int, step: int) -> list[str]:
    """A column's cells as text; values are aligned under each other where bounds follow them."""
    column = table.columns[place]
    cells = [(row.cells[place], row.unit or column.unit) for row in table.rows]
    values = [_value(cell, unit) for cell, unit in cells]
    if not any(_is_spanned(cell, column, step) for cell, _ in cells):
        return values
    widest = max(map(len, values))
    out = []
    for (cell, unit), value in zip(cells, values, strict=True):
        between = bounds(cell, unit) if isinstance(cell, Interval) and unit else ""
        out.append(f"{value:>{widest}} ({between})" if between else f"{value:>{widest}}" if value else "")
    return out


def _value(cell: Cell, unit: Unit | None) -> str:
    if cell is None or isinstance(cell, str):
        return printable(cell or "")
    assert unit is not None and not isinstance(cell, Bar)
    return number(cell.value if isinstance(cell, Interval) else cell, unit)


def _is_spanned(cell: Cell, column: Column, step: int) -> bool:
    return isinstance(cell, Interval) and cell.low is not None and not 0 < column.brief <= step


def _text(words: str, console: Console, style: str = "") -> Text:
    return _plain(printable(words), console, style)


def _plain(words: str, console: Console, style: str = "") -> Text:
    """Printable text for this console; `Text` keeps rich from reading markup in it."""
    from rich.text import Text

    if not console.encoding.lower().startswith("utf"):
        swaps = str.maketrans({"–": "-", "“": '"', "”": '"', "·": "-", "’": "'", "…": "..."})
        words = words.translate(swaps).encode("ascii", "replace").decode("ascii")
    return Text(words, style=style)
