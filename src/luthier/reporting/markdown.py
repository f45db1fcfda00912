"""What was found, in the Markdown of a run's description: read in the MLflow UI before any artifact is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.reporting.numbers import interval, printable
from luthier.reporting.sentences import headline_metrics, sentences

__all__ = ["described", "escaped", "listed"]

MOST_ROWS = 15
"""So many specs are listed, the best; the report has them all."""

MOST_METRICS = 3

LONGEST = 4_000
"""Characters; stores keep about five thousand of a tag."""


def described(board: Leaderboard) -> str:
    """The leaderboard as a numbered list, and beneath it what it says.

    A list and no table: MLflow shows the cells of a table without a gap between them.

    Args:
        board: what to describe.
    """
    metrics = headline_metrics(board)[:MOST_METRICS]
    lines = [f"{place}. {_figures(entry, metrics)}" for place, entry in enumerate(board.entries[:MOST_ROWS], start=1)]
    head = f"{board.rows_evaluated:,} rows; in brackets the 95% interval."
    if len(board.entries) > MOST_ROWS:
        head += f" The best {MOST_ROWS} are shown; report.html has all {len(board.entries):,}."
    references = [board.majority, *([board.ceiling] if board.ceiling else [])]
    beneath = [*(_figures(entry, metrics) for entry in references), *map(escaped, sentences(board))]
    return _cut([*lines, "", head, "", *(f"- {line}" for line in beneath)])


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


def _figures(entry: Entry, metrics: Sequence[str]) -> str:
    found = [
        f"{METRICS[metric].title} {interval(entry.metrics[metric], METRICS[metric].format)}"
        for metric in metrics
        if metric in entry.metrics
    ]
    return f"{escaped(entry.name)}: {', '.join(found)}"


def _cut(lines: Sequence[str]) -> str:
    """Whole lines as far as they go."""
    kept, room = [], LONGEST
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept)
