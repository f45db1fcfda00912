"""The spread of results over draws, as a table in a terminal and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from luthier.evaluation.measures import METRICS, Format
from luthier.evaluation.spread import Spread, SpreadGroup, SpreadPair
from luthier.evaluation.statistics import ALPHA
from luthier.reporting.numbers import interval, number, p_value, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_spread", "spread_html", "spread_sentences"]

HEADS = ("", "draws", "min", "quarter", "median", "three quarters", "max", "mean (95%)")


def print_spread(spread: Spread, console: Console | None = None) -> None:
    """Prints a line per group, then which groups differ.

    Args:
        spread: what to print.
        console: where; standard output when absent. Where its encoding is not a Unicode one the output is ASCII.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    ascii_only = not console.encoding.lower().startswith("utf")

    def plain(text: str) -> str:
        return text.replace("–", "-").encode("ascii", "replace").decode("ascii") if ascii_only else text

    # At 80 columns the quartiles have no room beside the names.
    narrow = console.width < 96
    shown = [place for place in range(len(HEADS)) if not (narrow and place in (3, 5))]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)
    for place in shown:
        table.add_column(HEADS[place], justify="left" if place in (0, 7) else "right", no_wrap=place > 0)
    for group in spread.groups:
        cells = _cells(group, _format(spread))
        table.add_row(*[Text(plain(cells[place])) for place in shown])
    console.print(Text(plain(_title(spread)), style="bold"))
    console.print(table)
    for line in spread_sentences(spread):
        console.print(Text(plain(f"- {line}")))


def spread_html(spread: Spread) -> str:
    """The table and what it says as an HTML fragment without script; every name in it is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADS)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(group, _format(spread))) + "</tr>"
        for group in spread.groups
    )
    pairs = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _pair_cells(pair, _format(spread)))}</tr>"
        for pair in spread.pairs
    )
    between = (
        "<table><thead><tr><th>between</th><th>difference of means</th><th>p</th><th>p, corrected</th></tr></thead>"
        f"<tbody>{pairs}</tbody></table>"
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in spread_sentences(spread))
    return (
        f'<div class="luthier-spread"><div>{escape(_title(spread))}</div>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        f"{between if spread.pairs else ''}<ul>{said}</ul></div>"
    )


def spread_sentences(spread: Spread) -> list[str]:
    """What the spread says, a sentence each.

    Examples:
        >>> from luthier.evaluation.spread import spread_of
        >>> spread_sentences(spread_of({"1": [0.4, 0.5, 0.3, 0.4], "5": [0.5, 0.4, 0.45, 0.4]}, "accuracy"))[1]
        'No two groups differ by more than their draws do (smallest p .657, corrected).'
    """
    written = _format(spread)
    widest = max(spread.groups, key=lambda group: group.high - group.low)
    said = []
    if widest.draws > 1:
        said.append(
            f"Between the worst and the best draw of {printable(widest.name)!r} lie "
            f"{number(widest.high - widest.low, written)} in {_measure_title(spread)}: which draw it is matters."
        )
    if not spread.pairs:
        return said
    differing = [pair for pair in spread.pairs if pair.p_corrected < ALPHA]
    least = spread.smallest_p
    if least >= ALPHA:
        said.append(
            f"So few draws cannot tell groups apart, whatever they show: p could not come below {p_value(least)}, "
            f"corrected over {len(spread.pairs)}. It takes {spread.draws_needed(ALPHA)} draws or more in each group."
        )
    elif not differing:
        smallest = min(pair.p_corrected for pair in spread.pairs)
        said.append(f"No two groups differ by more than their draws do (smallest p {p_value(smallest)}, corrected).")
    better = METRICS[spread.metric].better if spread.metric in METRICS else "higher"
    for pair in differing:
        first, second = pair.first, pair.second
        if (pair.difference > 0) != (better == "higher"):
            first, second = second, first
        said.append(
            f"{printable(first)} beats {printable(second)} by {number(abs(pair.difference), written)} on average "
            f"(p {p_value(pair.p_corrected)}, corrected over {len(spread.pairs)})."
        )
    return said


def _cells(group: SpreadGroup, written: Format) -> list[str]:
    quantiles = (group.low, group.quarter, group.median, group.three_quarters, group.high)
    return [
        printable(group.name),
        str(group.draws),
        *(number(value, written) for value in quantiles),
        interval(group.mean, written),
    ]


def _pair_cells(pair: SpreadPair, written: Format) -> list[str]:
    return [
        f"{printable(pair.first)} and {printable(pair.second)}",
        number(pair.difference, written),
        p_value(pair.p),
        p_value(pair.p_corrected),
    ]


def _title(spread: Spread) -> str:
    return f"Spread of {_measure_title(spread)} over draws"


def _measure_title(spread: Spread) -> str:
    return METRICS[spread.metric].title if spread.metric in METRICS else printable(spread.metric)


def _format(spread: Spread) -> Format:
    return METRICS[spread.metric].format if spread.metric in METRICS else "number"
