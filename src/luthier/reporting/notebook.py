"""The leaderboard as an HTML fragment: what a notebook shows, and the first table of the page.

Needs no script and nothing from outside. Colours come from the notebook (`currentColor`), so it reads in light and
dark themes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.measures import METRICS, Format
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.reporting.numbers import bounds, number, percent
from luthier.reporting.sentences import headline_metrics, sentences, unlabelled_share
from luthier.reporting.spread import spread_html

__all__ = ["BOARD_STYLE", "board_table", "leaderboard_html"]

BAR_WIDTH = 130
BAR_HEIGHT = 20

BOARD_STYLE = """
.luthier-board { font-size: 13px; line-height: 1.4; }
.luthier-board table { border-collapse: collapse; margin: .4em 0; color: inherit; font: inherit; }
.luthier-board th, .luthier-board td { padding: .3em .7em .3em 0; text-align: left; vertical-align: top;
  border: 0; background: none; white-space: nowrap; font-variant-numeric: tabular-nums; }
.luthier-board thead th { border-bottom: 1px solid currentColor; font-weight: 600; }
.luthier-board td.luthier-number, .luthier-board th.luthier-number { text-align: right; }
.luthier-board td.luthier-name { white-space: normal; overflow-wrap: anywhere; min-width: 9em; max-width: 22em; }
.luthier-board td.luthier-tie { white-space: normal; overflow-wrap: anywhere; min-width: 3em; max-width: 6em; }
.luthier-board tr.luthier-first .luthier-who { font-weight: 700; }
.luthier-board tr.luthier-reference td { font-style: italic; opacity: .75; }
.luthier-board tbody tr.luthier-rule td { border-top: 1px solid rgba(128, 128, 128, .5); }
.luthier-board small { opacity: .7; }
.luthier-board svg { display: block; overflow: visible; }
.luthier-board .luthier-tick { stroke: currentColor; opacity: .3; stroke-dasharray: 2 2; }
.luthier-board .luthier-span { stroke: #3d85c6; stroke-width: 3; stroke-linecap: round; }
.luthier-board .luthier-dot { fill: #3d85c6; stroke: #fff; stroke-width: 1; }
.luthier-board .luthier-reference .luthier-span { stroke: #888; }
.luthier-board .luthier-reference .luthier-dot { fill: #888; }
.luthier-board ul { margin: .5em 0; padding-left: 1.2em; max-width: 75em; }
"""


def leaderboard_html(board: Leaderboard, spreads: Sequence[Spread] = (), spending: str = "") -> str:
    """The leaderboard as a self-contained fragment for `_repr_html_`; every name in it is escaped.

    Args:
        board: what it shows.
        spreads: of grids with several seeds of examples.
        spending: what was spent, in a sentence that stands last; nothing when empty.
    """
    said = "".join(f"<li>{escape(line)}</li>" for line in [*sentences(board), *([spending] if spending else [])])
    title = (
        f"<strong>{escape(board.task.name)}</strong>: {board.rows_evaluated:,} rows, "
        f"ranked by {escape(METRICS[board.ranked_by].title)}"
    )
    return (
        f'<div class="luthier-board"><style>{BOARD_STYLE}</style><div>{title}</div>'
        f"{board_table(board)}<ul>{said}</ul>{''.join(map(spread_html, spreads))}</div>"
    )


def board_table(board: Leaderboard) -> str:
    """The table alone, with an interval bar per line; to be put inside an element of class `luthier-board`."""
    metrics = headline_metrics(board)
    entries: list[Entry] = [*board.entries, board.majority, *([board.ceiling] if board.ceiling else [])]
    lost = any(unlabelled_share(entry) for entry in board.entries)
    extras = [
        name
        for name in ("cost_per_1000_rows_usd", "latency_p50_seconds", "latency_p95_seconds")
        if any(name in entry.metrics for entry in board.entries)
    ]
    tied = board.is_compared
    low, high = _range([entry.metrics.get(board.ranked_by) for entry in entries])
    ticks = [
        entry.metrics[board.ranked_by].value
        for entry in (board.majority, board.ceiling)
        if entry is not None and board.ranked_by in entry.metrics
    ]

    head = ["<th></th>", "<th>spec</th>", "<th>model</th>"]
    for place, name in enumerate(metrics):
        hint = escape(METRICS[name].description, quote=True)
        head.append(f'<th title="{hint}">{escape(METRICS[name].title)}</th>')
        if place == 0:
            head.append("<th></th>")
    if lost:
        head.append('<th class="luthier-number" title="Off label, refused or failed; counted as wrong.">no label</th>')
    for name in extras:
        hint = escape(METRICS[name].description, quote=True)
        head.append(f'<th class="luthier-number" title="{hint}">{escape(METRICS[name].title)}</th>')
    if tied:
        head.append('<th title="Specs that share a letter cannot be told apart on these rows.">tie</th>')

    body = []
    for entry in entries:
        reference = entry.rank is None
        kinds = ["luthier-reference" if reference else "", "luthier-first" if entry.rank == 1 else ""]
        kinds.append("luthier-rule" if entry is board.majority else "")
        who = entry.candidate
        under = "" if reference else f"<br><small>{escape(who.technique)}</small>"
        model = "" if who.model == "none" else escape(who.model)
        cells = [
            f'<td class="luthier-number">{"" if reference else entry.rank}</td>',
            f'<td class="luthier-name"><span class="luthier-who"><bdi>{escape(who.name)}</bdi></span>{under}</td>',
            f'<td class="luthier-name"><bdi>{model}</bdi></td>',
        ]
        for place, name in enumerate(metrics):
            found = entry.metrics.get(name)
            cells.append(f"<td>{'' if found is None else _cell(found, METRICS[name].format)}</td>")
            if place == 0:
                cells.append(f"<td>{'' if found is None else _bar(found, low, high, ticks)}</td>")
        if lost:
            cells.append(
                f'<td class="luthier-number">{"" if reference else escape(percent(unlabelled_share(entry)))}</td>'
            )
        for name in extras:
            found = None if reference else entry.metrics.get(name)
            text = "" if found is None else escape(number(found.value, METRICS[name].format))
            cells.append(f'<td class="luthier-number">{text}</td>')
        if tied:
            cells.append(f'<td class="luthier-tie">{escape(entry.group)}</td>')
        kind = " ".join(filter(None, kinds))
        body.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    return f"<table><thead><tr>{''.join(head)}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(found: Interval, format: Format) -> str:  # noqa: A002 - the word the measures use
    return f"{escape(number(found.value, format))}<br><small>{escape(bounds(found, format))}</small>"


def _range(intervals: list[Interval | None]) -> tuple[float, float]:
    ends = [end for i in intervals if i is not None for end in (i.value, i.low, i.high) if end is not None]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bar(found: Interval, low: float, high: float, ticks: list[float]) -> str:
    def x(value: float) -> str:
        return f"{6 + (BAR_WIDTH - 12) * (value - low) / (high - low):.1f}"

    middle = BAR_HEIGHT // 2
    marks = "".join(
        f'<line class="luthier-tick" x1="{x(tick)}" x2="{x(tick)}" y1="0" y2="{BAR_HEIGHT}"/>' for tick in ticks
    )
    span = ""
    if found.low is not None and found.high is not None:
        span = f'<line class="luthier-span" x1="{x(found.low)}" x2="{x(found.high)}" y1="{middle}" y2="{middle}"/>'
    return (
        f'<svg width="{BAR_WIDTH}" height="{BAR_HEIGHT}" role="img" aria-hidden="true">{marks}{span}'
        f'<circle class="luthier-dot" cx="{x(found.value)}" cy="{middle}" r="4"/></svg>'
    )
