"""The spread of results over draws, as tables and sentences."""

from __future__ import annotations

from luthier.evaluation.spread import Spread, SpreadGroup, SpreadPair
from luthier.evaluation.statistics import ALPHA
from luthier.reporting.numbers import metric_format, metric_title, number, printable
from luthier.reporting.table import Column, Columns, Fold, Lines, Section, Table

__all__ = ["spread_section", "spread_sentences"]


def spread_section(spread: Spread) -> Section:
    """A row per group of draws, every pair of groups compared, and what follows from it."""
    unit = metric_format(spread.metric)
    columns: Columns[SpreadGroup] = [
        (Column("", kind="name"), lambda one: one.name),
        (Column("draws", "count"), lambda one: one.draws),
        (Column("min", unit), lambda one: one.low),
        (Column("quarter", unit, drop=2), lambda one: one.quarter),
        (Column("median", unit), lambda one: one.median),
        (Column("three quarters", unit, drop=2), lambda one: one.three_quarters),
        (Column("max", unit), lambda one: one.high),
        (Column("mean (95%)", unit), lambda one: one.mean),
    ]
    groups = Table.of(spread.groups, columns)
    said = Lines(tuple(spread_sentences(spread)))
    title = f"Spread of {metric_title(spread.metric)} over draws"
    if not spread.pairs:
        return Section(title, (groups, said))
    between: Columns[SpreadPair] = [
        (Column("between", kind="name", least=24), lambda one: f"{one.first} and {one.second}"),
        (Column("difference of means", unit, short="difference"), lambda one: one.difference),
        (Column("p", "p"), lambda one: one.p),
        (Column("p, corrected", "p"), lambda one: one.p_corrected),
    ]
    return Section(title, (groups, said, Fold("Every pair", (Table.of(spread.pairs, between),))))


def spread_sentences(spread: Spread) -> list[str]:
    """What the spread says, a sentence each.

    Examples:
        >>> from luthier.evaluation.spread import spread_of
        >>> spread_sentences(spread_of({"1": [0.4, 0.5, 0.3, 0.4], "5": [0.5, 0.4, 0.45, 0.4]}, "accuracy"))[1]
        'No two groups differ by more than their draws do (smallest p .657, corrected).'
    """
    unit = metric_format(spread.metric)
    widest = max(spread.groups, key=lambda group: group.high - group.low)
    said = []
    if widest.draws > 1:
        said.append(
            f"The worst and the best draw of {printable(widest.name)!r} differ by "
            f"{number(widest.high - widest.low, unit)} in {metric_title(spread.metric)}: the draw matters."
        )
    if not spread.pairs:
        return said
    differing = [pair for pair in spread.pairs if pair.p_corrected < ALPHA]
    least = spread.smallest_p
    if least >= ALPHA:
        said.append(
            f"So few draws cannot tell groups apart, whatever their results: p cannot fall below {number(least, 'p')}, "
            f"corrected over {len(spread.pairs)}. It takes {spread.draws_needed(ALPHA)} draws or more in each group."
        )
    elif not differing:
        smallest = min(pair.p_corrected for pair in spread.pairs)
        said.append(
            f"No two groups differ by more than their draws do (smallest p {number(smallest, 'p')}, corrected)."
        )
    better = spread.measure.better if spread.measure else "higher"
    for pair in differing:
        first, second = pair.first, pair.second
        if (pair.difference > 0) != (better == "higher"):
            first, second = second, first
        said.append(
            f"{printable(first)} beats {printable(second)} by {number(abs(pair.difference), unit)} on average "
            f"(p {number(pair.p_corrected, 'p')}, corrected over {len(spread.pairs)})."
        )
    return said
