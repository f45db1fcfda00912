"""A self-contained HTML file: one template, its figures, no script but two, and nothing from outside.

The texts on it come from strangers. Three walls keep them text: jinja2 escapes every value, figure data is JSON in
which `<`, `>` and `&` are written as escapes, and the page's own policy runs no script but the two whose hashes it
names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.outputs import check_file, write_file
from luthier.reporting.numbers import interval, number, p_value, percent

if TYPE_CHECKING:
    import jinja2
    import plotly.graph_objects as go

__all__ = ["document_html", "write_document"]

MARK = b'<meta name="generator" content="Luthier">'
"""In the head of every page: one that has it may be written over."""

DRAWING = """
for (const node of document.querySelectorAll('script[data-figure]')) {
  const figure = JSON.parse(node.textContent);
  Plotly.newPlot(node.dataset.figure, figure.data, figure.layout, {displayModeBar: false, responsive: true});
}
document.documentElement.dataset.drawn = 'yes';
"""


def document_html(template: str, drawn: Mapping[str, go.Figure], /, **values: Any) -> str:
    """A template of this room, filled.

    Args:
        template: its file name; it extends `document.html`, which has the head, the figures and the scripts.
        drawn: figures by the id of the element they are drawn in.
        values: what else the template names.
    """
    from markupsafe import Markup

    plotly = _plotly()
    # Markup only for what this module wrote itself or has escaped; everything else is escaped by the template.
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            data={name: Markup(_json(figure)) for name, figure in drawn.items()},
            plotly=Markup(plotly),
            drawing=Markup(DRAWING),
            policy=(
                f"default-src 'none'; script-src {_hash(plotly)} {_hash(DRAWING)}; "
                "style-src 'unsafe-inline'; img-src data:"
            ),
        )
    )


def write_document(text: str, path: str | Path) -> Path:
    """Writes a page; the file appears whole or not at all.

    Args:
        text: the page.
        path: the file; an earlier page is replaced, missing folders are made.

    Returns:
        The path written.

    Raises:
        DataError: the file cannot be written, or another file is there.
    """
    file = check_file(path)
    if file.exists() and not _is_page(file):
        raise DataError(f"{file} is there already and is no page of Luthier's; give another name, or move it away.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return write_file(file, text)
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
        loader=jinja2.FunctionLoader(lambda name: files("luthier.reporting").joinpath(name).read_text("utf-8")),
    )
    environment.filters |= {"interval": interval, "number": number, "p_value": p_value, "percent": percent, "cut": _cut}
    return environment


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} … ({len(text) - most:,} more characters)"


def _json(figure: go.Figure) -> str:
    """The figure as JSON that no HTML parser can find a tag in."""
    document: dict[str, Any] = figure.to_plotly_json()
    from plotly.io import to_json

    text = str(to_json(document, validate=False))
    swaps = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return "".join(swaps.get(c, c) for c in text) if any(c in text for c in swaps) else text


def _hash(script: str) -> str:
    """A script's name in the page's policy: https://www.w3.org/TR/CSP3/#match-element-to-source-list."""
    # A parser turns every line end into \n before the script is hashed.
    seen = script.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(seen.encode()).digest()).decode()}'"
