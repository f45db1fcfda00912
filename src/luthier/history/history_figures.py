"""A task's past as figures: comparisons over time, and what was spent when and on what."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

from luthier.engine.report import counted
from luthier.history.over_time import ComparedOnce, CompareHistory
from luthier.history.run_tables import day, moment, spent_text
from luthier.history.spending import TaskSpending
from luthier.providers.prices import dollars
from luthier.reporting.board_figures import metric_axis
from luthier.reporting.charts.chart import Axis, Band, Bars, Chart, Curve, Dots, Mark, Rule
from luthier.reporting.numbers import interval, number

__all__ = ["MOST_SPECS", "over_time_chart", "over_time_sentences", "spending_chart", "spending_sentence"]

MOST_SPECS = 6
"""Specs drawn over time, those measured most often; more lines cannot be told apart."""

MOST_MARKED = 6
"""Changes of the rows that are marked; more lines would hide the points."""

BESIDE = 0.006
"""Share of the time axis by which specs of one comparison stand beside each other; their intervals would hide."""

MOST_BARRED = 30
"""Comparisons up to which each point has its interval as a bar; of more, the intervals are a band."""

MOST_DRIFTS = 3
"""Changed figures of the same model that are told, the newest."""

MOST_BARS = 60
"""Bars of a chart of spending; a longer time has bars of several days."""


def over_time_chart(history: CompareHistory) -> Chart | None:
    """What specs reached in each comparison; `None` where there are fewer than two comparisons."""
    if len(history.compares) < 2:
        return None
    measure = history.measure
    marks: list[Mark] = [
        Curve(
            tuple(compare.when for compare in compares),
            tuple(compare.best.value.value for compare in compares),
            "the best of each comparison" if place == 0 else "",
            look=None,
            style="dashed",
        )
        for place, compares in enumerate(history.by_rows.values())
    ]
    drawn = history.specs[:MOST_SPECS]
    span = history.compares[-1].when - history.compares[0].when
    for look, name in enumerate(drawn):
        marks += _spec_marks(history, name, look, span * BESIDE * (look - (len(drawn) - 1) / 2))
    firsts = [compares[0] for compares in list(history.by_rows.values())[1:]]
    # The text stands once: at comparisons that follow closely it would be written over itself.
    texts = ["other rows", *[""] * MOST_MARKED]
    marks += [Rule(one.when, text, across="x") for one, text in zip(firsts[:MOST_MARKED], texts, strict=False)]
    said = " ".join(over_time_sentences(history)) + _other_rows(history)
    left = len(history.specs) - MOST_SPECS
    said += f" The {MOST_SPECS} specs measured most often are drawn, {left:,} others are not." if left > 0 else ""
    return Chart("", said, Axis("when (UTC)", scale="time"), metric_axis(measure), tuple(marks), height=300)


def _spec_marks(history: CompareHistory, name: str, look: int, beside: float) -> list[Mark]:
    unit = history.measure.format
    is_barred = len(history.compares) <= MOST_BARRED
    marks: list[Mark] = []
    points: list[tuple[ComparedOnce, float, float, float, str]] = []
    for compares in history.by_rows.values():
        line = [(compare, one) for compare in compares for one in compare.figures if one.name == name]
        # A line joins what was measured on the same rows; other rows are easier or harder.
        if len(line) > 1:
            x, y = tuple(compare.when + beside for compare, _ in line), tuple(one.value.value for _, one in line)
            if not is_barred:
                lows = tuple(one.value.value if one.value.low is None else one.value.low for _, one in line)
                highs = tuple(one.value.value if one.value.high is None else one.value.high for _, one in line)
                marks.append(Band(x, lows, highs, look=look))
            marks.append(Curve(x, y, look=look, weight="thin"))
        for compare, one in line:
            value, low, high = one.value.value, one.value.low, one.value.high
            rows = "" if compare.rows is None else f" on {compare.rows:,} rows"
            told = f"{name}: {interval(one.value, unit)}{rows}, {moment(compare.when)}"
            told += ", rows missing" if compare.partial else ""
            points.append((compare, value, value if low is None else low, value if high is None else high, told))
    points.sort(key=lambda point: point[0].when)
    marks.append(
        Dots(
            tuple(point[0].when + beside for point in points),
            tuple(point[1] for point in points),
            name,
            look,
            tuple(point[4] for point in points),
            tuple(point[2] for point in points if is_barred),
            tuple(point[3] for point in points if is_barred),
        )
    )
    return marks


def over_time_sentences(history: CompareHistory) -> list[str]:
    """What changed between comparisons on the same rows: of the best spec, and of models that stayed the same."""
    unit, title = history.measure.format, history.measure.title
    # The rows of the newest comparison that has an older one on its rows.
    again = [compares for compares in history.by_rows.values() if len(compares) > 1]
    same = max(again, key=lambda compares: compares[-1].when, default=())
    said = []
    if same:
        first, last = same[0], same[-1]
        rows = "the same rows" if last.rows is None else f"the same {last.rows:,} rows"
        before, after = first.best, last.best
        if all((one.best.name, one.best.value) == (after.name, after.value) for one in same):
            said.append(
                f"{after.name} is the best on {rows} in {_all(len(same))} comparisons, the newest of {day(last.when)}: "
                f"{title} {interval(after.value, unit)}."
            )
        else:
            said.append(
                f"On {rows} the best {title} went from {interval(before.value, unit)} ({before.name}, "
                f"{moment(first.when)}) to {interval(after.value, unit)} ({after.name}, {moment(last.when)})."
            )
    else:
        said.append("Each comparison is on rows of its own, so none of them can be held against another.")
    for _, after_compare, earlier, later in history.drifted[-MOST_DRIFTS:]:
        said.append(
            f"{later.name} went from {number(earlier.value.value, unit)} to {number(later.value.value, unit)} by "
            f"{moment(after_compare.when)} though neither it nor the rows changed: it was asked again, and its service "
            "answered differently."
        )
    return said


def _other_rows(history: CompareHistory) -> str:
    """How the marks of other rows are read; empty where all comparisons are on the same."""
    count = len(history.by_rows) - 1
    if not count:
        return ""
    times = "once" if count == 1 else f"{count} times"
    return (
        f" Other rows were used {times}: a dotted line marks the first comparison on them. Figures on different "
        "rows are not comparable, so lines join the same rows only."
    )


def spending_chart(spending: TaskSpending) -> Chart | None:
    """What was spent, by day and purpose; `None` where nothing is known to have been spent."""
    if not spending.lines:
        return None
    first, last = spending.lines[0].day, spending.lines[-1].day
    step = math.ceil(((last - first).days + 1) / MOST_BARS)
    count = (last - first).days // step + 1
    starts = [first + timedelta(days=step * place) for place in range(count + 1)]
    base = [0.0] * count
    marks: list[Mark] = []
    for look, purpose in enumerate(spending.purposes):
        heights = [0.0] * count
        for line in spending.lines:
            if line.purpose == purpose:
                heights[(line.day - first).days // step] += line.usd
        told = tuple(
            f"{_days(start, step)}, {purpose}: {dollars(usd)}" for start, usd in zip(starts, heights, strict=False)
        )
        marks.append(Bars(tuple(map(_seconds, starts)), tuple(heights), tuple(base), purpose, look, told))
        base = [low + usd for low, usd in zip(base, heights, strict=True)]
    return Chart(
        "",
        spending_sentence(spending),
        Axis("day (UTC)", scale="time", range=(_seconds(starts[0]), _seconds(starts[-1]))),
        Axis("US dollars", "usd", from_zero=True),
        tuple(marks),
        height=220,
    )


def spending_sentence(spending: TaskSpending) -> str:
    """What is known to have been spent, on what most, and of how many runs that is not known."""
    said = f"{dollars(spending.known_usd)} are known to have been spent"
    if spending.lines:
        first, last = spending.lines[0].day, spending.lines[-1].day
        said += f" on {first}" if first == last else f" from {first} to {last}"
        purposes = spending.purposes
        if len(purposes) > 1:
            said += f", most of it on {purposes[0]} ({spent_text(spending.spent_on(purposes[0]))})"
        else:
            said += f", all of it on {purposes[0]}"
    said += "."
    if spending.unknown:
        unknown = ", ".join(f"{count:,} of {purpose}" for purpose, count in sorted(spending.unknown.items()))
        more = counted(sum(spending.unknown.values()), "more run")
        said += f" The cost of {more} is not known ({unknown}), which is not 0."
    return said


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"


def _seconds(given: date) -> float:
    return datetime(given.year, given.month, given.day, tzinfo=UTC).timestamp()


def _days(start: date, step: int) -> str:
    return str(start) if step == 1 else f"{start} to {start + timedelta(days=step - 1)}"
