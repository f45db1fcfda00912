"""One HTML page with everything a leaderboard says; it opens from disk and asks the network for nothing.

The texts on it come from strangers. Three walls keep them text: jinja2 escapes every value, figure data is JSON in
which `<`, `>` and `&` are written as escapes, and the page's own policy runs no script but the two whose hashes it
names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.spread import Spread
from luthier.evaluation.tables import label_scores, mistakes
from luthier.reporting.notebook import BOARD_STYLE, board_table
from luthier.reporting.numbers import interval, number, p_value, percent
from luthier.reporting.plots import calibration_figure, confusion_figure, forest_figure, spread_figure
from luthier.reporting.sentences import sentences
from luthier.reporting.spread import spread_html
from luthier.task import Rows

if TYPE_CHECKING:
    import jinja2
    import plotly.graph_objects as go

__all__ = ["page_html", "rendered", "write_page", "write_whole"]

MOST_CONFUSIONS = 12
MOST_CALIBRATIONS = 8
MOST_PAIRS = 300
MOST_MISTAKEN = 40
"""Specs whose errors are on the page, the best; a grid of hundreds would fill it with the same texts."""

DRAWING = """
for (const node of document.querySelectorAll('script[data-figure]')) {
  const figure = JSON.parse(node.textContent);
  Plotly.newPlot(node.dataset.figure, figure.data, figure.layout, {displayModeBar: false, responsive: true});
}
document.documentElement.dataset.drawn = 'yes';
"""


def page_html(
    board: Leaderboard, rows: Rows | None = None, *, examples: int = 10, spreads: Sequence[Spread] = ()
) -> str:
    """The page as text.

    Args:
        board: what it shows.
        rows: the test rows, for the error examples; without them, or without predictions on the board, there are none.
        examples: at most so many errors per spec.
        spreads: of grids with several seeds of examples.

    Raises:
        DataError: `rows` are not the rows the leaderboard was made on.
    """
    from markupsafe import Markup

    if rows is not None and rows.digest != board.test_digest:
        raise DataError(
            "these are not the rows the leaderboard was made on; give the same test table, in the same order."
        )
    figures: dict[str, go.Figure] = {"figure-forest": forest_figure(board)}
    confusions = [(entry, f"figure-confusion-{place}") for place, entry in enumerate(board.entries[:MOST_CONFUSIONS])]
    figures |= {name: confusion_figure(board, entry) for entry, name in confusions}
    calibrated = [entry for entry in board.entries if entry.calibration][:MOST_CALIBRATIONS]
    if calibrated:
        figures["figure-calibration"] = calibration_figure(calibrated)

    figures |= {f"figure-spread-{place}": spread_figure(spread) for place, spread in enumerate(spreads)}

    shown = []
    if rows is not None:
        shown = [
            (entry, mistakes(board.task, rows, entry.candidate.predictions, examples))
            for entry in board.entries[:MOST_MISTAKEN]
            if entry.candidate.predictions
        ]
    present = {name for entry in board.entries for name in entry.metrics}
    # Markup only for what this module wrote itself or has escaped; everything else is escaped by the template.
    return rendered(
        "page.html",
        figures,
        board=board,
        measure=METRICS[board.ranked_by],
        said=sentences(board),
        table=Markup(board_table(board)),
        spreads=[(f"figure-spread-{place}", Markup(spread_html(spread))) for place, spread in enumerate(spreads)],
        pairs=board.pairs[:MOST_PAIRS],
        figures={"confusions": confusions, "calibration": bool(calibrated)},
        labels=[(entry, label_scores(board.task, entry.confusion)) for entry in board.entries[:MOST_CONFUSIONS]],
        examples=shown,
        words=[(name, measure) for name, measure in METRICS.items() if name in present],
    )


def rendered(template: str, drawn: Mapping[str, go.Figure], **values: Any) -> str:
    """A page from a template, with its figures and the policy that lets only our two scripts run."""
    from markupsafe import Markup

    plotly = _plotly()
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            board_style=Markup(BOARD_STYLE),
            data={name: Markup(_json(figure)) for name, figure in drawn.items()},
            plotly=Markup(plotly),
            drawing=Markup(DRAWING),
            policy=(
                f"default-src 'none'; script-src {_hash(plotly)} {_hash(DRAWING)}; "
                "style-src 'unsafe-inline'; img-src data:"
            ),
        )
    )


def write_page(
    board: Leaderboard,
    path: str | Path,
    rows: Rows | None = None,
    *,
    examples: int = 10,
    spreads: Sequence[Spread] = (),
) -> Path:
    """Writes the page; the file appears whole or not at all.

    Args:
        board: what it shows.
        path: the file; an existing one is replaced, missing folders are made.
        rows: the test rows, for the error examples.
        examples: at most so many errors per spec.
        spreads: of grids with several seeds of examples.

    Returns:
        The path written.

    Raises:
        DataError: the file cannot be written, or `rows` are not the rows the leaderboard was made on.
    """
    return write_whole(page_html(board, rows, examples=examples, spreads=spreads), path)


def write_whole(html: str, path: str | Path) -> Path:
    """Writes a page; the file appears whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    file = Path(path)
    # A text may hold half a surrogate pair, which no file can.
    content = html.encode("utf-8", "replace")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}. Choose a folder you may write to.") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise DataError(f"cannot write {file}: {error.strerror}. Free some space or choose another folder.") from error
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    return file


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
