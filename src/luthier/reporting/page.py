"""One HTML page with everything a leaderboard says; it opens from disk and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.spread import Spread
from luthier.evaluation.tables import label_scores, mistakes
from luthier.reporting.document import document_html, write_document
from luthier.reporting.notebook import BOARD_STYLE, board_table
from luthier.reporting.plots import calibration_figure, confusion_figure, forest_figure, spread_figure
from luthier.reporting.sentences import sentences
from luthier.reporting.spread import spread_html
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["page_html", "write_page"]

MOST_CONFUSIONS = 12
MOST_CALIBRATIONS = 8
MOST_PAIRS = 300
MOST_MISTAKEN = 40
"""Specs whose errors are on the page, the best; a grid of hundreds would fill it with the same texts."""


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
    # Markup only for what the notebook's table has escaped itself; everything else is escaped by the template.
    return document_html(
        "page.html",
        figures,
        board=board,
        measure=METRICS[board.ranked_by],
        said=sentences(board),
        table=Markup(board_table(board)),
        spreads=[(f"figure-spread-{place}", Markup(spread_html(spread))) for place, spread in enumerate(spreads)],
        board_style=Markup(BOARD_STYLE),
        pairs=board.pairs[:MOST_PAIRS],
        figures={"confusions": confusions, "calibration": bool(calibrated)},
        labels=[(entry, label_scores(board.task, entry.confusion)) for entry in board.entries[:MOST_CONFUSIONS]],
        examples=shown,
        words=[(name, measure) for name, measure in METRICS.items() if name in present],
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
    return write_document(page_html(board, rows, examples=examples, spreads=spreads), path)
