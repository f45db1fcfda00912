"""What was found, in the Markdown of a run's description: read in the MLflow UI before any artifact is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.evaluation.leaderboard import Leaderboard
from luthier.reporting.board_sentences import in_words, sentences
from luthier.reporting.numbers import printable

__all__ = ["described", "escaped", "listed"]

MOST_ROWS = 15
"""So many specs are listed, the best; the report has them all."""

LONGEST = 4_000
"""Characters; stores keep about five thousand of a tag."""


def described(board: Leaderboard) -> str:
    """The leaderboard as a numbered list, and beneath it what it says.

    A list and no table: MLflow shows the cells of a table without a gap between them.

    Args:
        board: what to describe.
    """
    head = f"{board.rows_evaluated:,} rows; in brackets the 95% interval."
    if len(board.entries) > MOST_ROWS:
        head += f" The best {MOST_ROWS} are shown; report.html has all {len(board.entries):,}."
    beneath = [*(in_words(board, entry) for entry in board.references), *sentences(board)]
    best = enumerate(board.entries[:MOST_ROWS], start=1)
    numbered = [f"{place}. {escaped(in_words(board, entry))}" for place, entry in best]
    return _cut([*numbered, "", head, "", *(f"- {escaped(line)}" for line in beneath)])


def listed(lines: Sequence[str]) -> str:
    """Sentences as a list, as many as a description has room for.

    Examples:
        >>> listed(["a_b leads", "p <.001"])
        '- a\\\\_b leads\\n- p &lt;.001'
    """
    return _cut([f"- {escaped(line)}" for line in lines])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    Examples:
        >>> escaped("few_shot *5* <b>")
        'few\\\\_shot \\\\*5\\\\* &lt;b&gt;'
    """
    marked = re.sub(r"([\\`*_\[\]|~])", r"\\\1", printable(text).replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def _cut(lines: Sequence[str]) -> str:
    """Whole lines as far as they go."""
    kept, room = [], LONGEST
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept)
