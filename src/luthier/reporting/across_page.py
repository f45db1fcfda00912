"""One HTML page for several tables: the leaderboard of each, then what holds across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.evaluation.across import Across
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.spread import Spread
from luthier.reporting.across import across_sentences, across_table
from luthier.reporting.document import document_html, write_document
from luthier.reporting.notebook import BOARD_STYLE, board_table
from luthier.reporting.plots import across_figure, spread_figure
from luthier.reporting.sentences import sentences
from luthier.reporting.spread import spread_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["across_page_html", "write_across_page"]

MOST_PAIRS = 300


def across_page_html(
    boards: Mapping[str, Leaderboard], across: Across, *, spreads: Mapping[str, Sequence[Spread]] | None = None
) -> str:
    """The page as text; it opens from disk and asks the network for nothing.

    Args:
        boards: table to its leaderboard.
        across: what holds across them.
        spreads: table to the spreads of grids with several seeds of examples.
    """
    from markupsafe import Markup

    figures: dict[str, go.Figure] = {"figure-across": across_figure(across)}
    parts: list[dict[str, Any]] = []
    for place, (name, board) in enumerate(boards.items()):
        shown = []
        for number, spread in enumerate((spreads or {}).get(name, ())):
            figure = f"figure-spread-{place}-{number}"
            figures[figure] = spread_figure(spread)
            shown.append((figure, Markup(spread_html(spread))))
        parts.append(
            {
                "id": f"table-{place}",
                "name": name,
                "board": board,
                "table": Markup(board_table(board)),
                "said": sentences(board),
                "spreads": shown,
            }
        )
    return document_html(
        "across.html",
        figures,
        task=next(iter(boards.values())).task,
        across=across,
        measure=METRICS[across.metric],
        said=across_sentences(across),
        parts=parts,
        table=Markup(across_table(across)),
        board_style=Markup(BOARD_STYLE),
        pairs=across.pairs[:MOST_PAIRS],
    )


def write_across_page(
    boards: Mapping[str, Leaderboard],
    across: Across,
    path: str | Path,
    *,
    spreads: Mapping[str, Sequence[Spread]] | None = None,
) -> Path:
    """Writes the page; the file appears whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    return write_document(across_page_html(boards, across, spreads=spreads), path)
