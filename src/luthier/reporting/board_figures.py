"""What a leaderboard shows as figures: intervals, cost against quality, spreads, calibration, truth against answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from luthier.evaluation.across import Across
from luthier.evaluation.calibration_bins import FEWEST_ROWS, ConfidenceBin, confidence_bins
from luthier.evaluation.confusions import most_confused
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.spread import Spread
from luthier.reporting.board_sentences import with_short_names
from luthier.reporting.charts.chart import (
    Axis,
    Band,
    Chart,
    Confusion,
    Curve,
    Dots,
    Rule,
    Strip,
    Strips,
)
from luthier.reporting.numbers import interval, metric_format, metric_title, number
from luthier.tasks.types import CalibrationBin, Counts, Measure

__all__ = [
    "across_strips",
    "calibration_chart",
    "close_range",
    "confusion",
    "cost_chart",
    "interval_strips",
    "is_close",
    "points_chart",
    "spread_strips",
    "without_chart",
]

COSTS = ("cost_per_1000_rows_usd", "latency_p50_seconds")
"""What quality is held against: the first that is known of two specs and not 0 for all."""

NAMED_LOOKS = 6
"""Specs on the frontier that have a look of their own in the legend."""

LOG_FROM = 20
"""An axis is logarithmic where its largest value is so many times its smallest one."""


def metric_axis(measure: Measure) -> Axis:
    """The axis of a metric, which says which way is better."""
    return Axis(f"{measure.title} ({measure.better} is better)", measure.format)


def interval_strips(board: Leaderboard, entries: Sequence[Entry]) -> Strips:
    """The interval of each spec in the metric that ranks.

    Args:
        board: what they stand on.
        entries: those with the metric, the best first.
    """
    name, unit = board.ranked_by, board.measure.format
    axis = replace(metric_axis(board.measure), range=close_range(board))
    tied = {board.best.name, *board.tied_with(board.best.name)} if board.is_compared else set()
    strips = tuple(
        Strip(
            entry.name,
            (entry.metrics[name].value,),
            (f"{entry.name}: {interval(entry.metrics[name], unit)}",),
            (0 if entry.name in tied or not tied else 1,),
            entry.metrics[name],
            note=interval(entry.metrics[name], unit) + (f" · tie {entry.group}" if entry.group and tied else ""),
        )
        for entry in entries
    )
    held = [(entry.metrics[name].value, entry.name) for entry in board.references if name in entry.metrics]
    rules = tuple(Rule(value, who) for value, who in held if is_close(board, value))
    beside = [f" “{who}” has {number(value, unit)}." for value, who in held if not is_close(board, value)]
    legend = ("not told apart from the best", "worse than the best") if tied else ()
    return Strips("", _who_leads(board) + "".join(beside), axis, strips, rules, legend)


def close_range(board: Leaderboard) -> tuple[float, float] | None:
    """The ends of an axis for the specs' intervals: a constant answer far off would press them into one another."""
    measure, found = board.measure, [entry.metrics.get(board.ranked_by) for entry in board.entries]
    ends = [end for one in found if one for end in (one.value, one.low, one.high) if end is not None]
    room = 0.35 * (max(ends) - min(ends)) if ends else 0.0
    low, high = min(ends, default=0.0) - room, max(ends, default=1.0) + room
    if measure.format == "share":
        low, high = low if min(ends, default=0.0) < 0 else max(0.0, low), min(1.0, high)
    return (low, high) if low < high else None


def is_close(board: Leaderboard, value: float) -> bool:
    """Whether a value of the metric that ranks lies where the specs do."""
    ends = close_range(board)
    return ends is None or ends[0] <= value <= ends[1]


def _who_leads(given: Leaderboard) -> str:
    board = with_short_names(given)
    said = f"{board.measure.title} of each spec with its 95% interval."
    if not board.is_compared:
        return said
    tied = {board.best.name, *board.tied_with(board.best.name)}
    others = len(board.entries) - len(tied)
    if len(tied) == 1:
        return f"{said} {board.best.name} is better than every other spec."
    if not others:
        return f"{said} No other spec can be told apart from {board.best.name}."
    return f"{said} {len(tied) - 1} of {len(board.entries) - 1} others cannot be told apart from {board.best.name}."


def cost_chart(board: Leaderboard) -> Chart | None:
    """Quality against what it costs, or against time where no price is known; `None` where neither tells specs apart.

    Specs with the metric and a known cost are drawn. On the line are those that no other spec beats in both.
    """
    for cost in COSTS:
        known = [entry for entry in board.entries if cost in entry.metrics and board.ranked_by in entry.metrics]
        if len(known) > 1 and any(entry.metrics[cost].value for entry in known):
            return _cost_chart(board, cost, known)
    return None


def _cost_chart(board: Leaderboard, cost: str, known: Sequence[Entry]) -> Chart:
    measure, price = board.measure, board.measures[cost]
    best = _frontier(board, cost, known)
    others = [entry for entry in known if entry not in best]
    costs, values = (
        [entry.metrics[cost].value for entry in best],
        [entry.metrics[board.ranked_by].value for entry in best],
    )
    groups = [(entry.name, [entry]) for entry in best[:NAMED_LOOKS]]
    groups += [("more on the line", best[NAMED_LOOKS:])] if best[NAMED_LOOKS:] else []
    dots = [_cost_dots(board, cost, name, look, entries) for look, (name, entries) in enumerate(groups)]
    if others:
        worse = "costs more and is no better" if cost == COSTS[0] else "slower and no better"
        dots.append(_cost_dots(board, cost, worse, NAMED_LOOKS + 1, others))
    all_costs = [entry.metrics[cost].value for entry in known]
    is_log = min(all_costs) > 0 and max(all_costs) > LOG_FROM * min(all_costs)
    missing = len(board.entries) - len(known)
    left_out = f" {missing} without a known {'cost' if cost == COSTS[0] else 'time'} left out." if missing else ""
    line = " The line joins the specs that no other one beats in both." if len(best) > 1 else ""
    return Chart(
        "",
        f"{_what_it_buys(board, cost, best)}{line}{left_out}",
        Axis(f"{price.title} (lower is better)", price.format, "log" if is_log else "linear", from_zero=not is_log),
        metric_axis(measure),
        (Curve(tuple(costs), tuple(values), look=None, stepped=True), *dots),
    )


def _frontier(board: Leaderboard, cost: str, known: Sequence[Entry]) -> list[Entry]:
    """Those that no other spec beats in cost and quality, the cheapest first."""
    sign = 1 if board.measure.better == "higher" else -1

    def place(entry: Entry) -> tuple[float, float]:
        return entry.metrics[cost].value, -sign * entry.metrics[board.ranked_by].value

    out: list[Entry] = []
    for entry in sorted(known, key=place):
        if not out or place(entry)[1] < place(out[-1])[1]:
            out.append(entry)
    return out


def _cost_dots(board: Leaderboard, cost: str, name: str, look: int, entries: Sequence[Entry]) -> Dots:
    measure, price = board.measure, board.measures[cost]
    found = [entry.metrics[board.ranked_by] for entry in entries]
    costs = [entry.metrics[cost].value for entry in entries]
    spans = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    whole = len(spans) == len(found)
    return Dots(
        tuple(costs),
        tuple(one.value for one in found),
        name,
        look,
        tuple(
            f"{entry.name}: {measure.title} {interval(one, measure.format)}, {price.title} {number(paid, price.format)}"
            for entry, one, paid in zip(entries, found, costs, strict=True)
        ),
        tuple(low for low, _ in spans) if whole else (),
        tuple(high for _, high in spans) if whole else (),
    )


def _what_it_buys(given: Leaderboard, cost: str, found: Sequence[Entry]) -> str:
    board = with_short_names(given)
    best = [board.entries[given.entries.index(entry)] for entry in found]
    price, top, is_money = board.measures[cost], best[-1], cost == COSTS[0]

    def paid(entry: Entry) -> str:
        said = number(entry.metrics[cost].value, price.format)
        return f"${said} per 1,000 rows" if is_money else f"{said} per row"

    if len(best) == 1:
        return f"{top.name} has the best {board.measure.title} and is the {'cheapest' if is_money else 'fastest'}."
    tied = set(board.tied_with(top.name)) if board.is_compared else set()
    cheapest = next((entry for entry in best[:-1] if entry.name in tied), None)
    if cheapest is not None:
        return (
            f"{cheapest.name} cannot be told apart from {top.name} in {board.measure.title} and takes {paid(cheapest)} "
            f"instead of {paid(top)}."
        )
    below = best[-2]
    gap = abs(top.metrics[board.ranked_by].value - below.metrics[board.ranked_by].value)
    return (
        f"{top.name} has the best {board.measure.title} and takes {paid(top)}; {below.name} is "
        f"{number(gap, board.measure.format)} worse and takes {paid(below)}."
    )


def across_strips(across: Across) -> Strips:
    """The mean of each spec over several tables, with its value on each of them."""
    measure = across.measure
    strips = tuple(
        Strip(
            entry.name,
            tuple(entry.values[name].value for name in across.tables),
            tuple(f"{entry.name} on {name}: {interval(entry.values[name], measure.format)}" for name in across.tables),
            tuple(range(len(across.tables))),
            entry.mean,
        )
        for entry in across.entries
    )
    said = (
        f"The stroke is the mean {measure.title} with its 95% interval; a dot stands for each table. Dots that change "
        "places from spec to spec show that which spec is best depends on the table."
    )
    return Strips("", said, metric_axis(measure), strips, legend=tuple(across.tables))


def spread_strips(spread: Spread) -> Strips:
    """Every single draw, with a box where a group has enough of them."""
    unit = metric_format(spread.metric)
    strips = tuple(
        Strip(
            one.name,
            tuple(one.values),
            tuple(f"{one.name}: {number(value, unit)}" for value in one.values),
            boxed=True,
            note=f"median {number(one.median, unit)} of {one.draws}",
        )
        for one in spread.groups
    )
    better = f" ({spread.measure.better} is better)" if spread.measure else ""
    said = "A dot is one draw; the box holds the middle half of a group's draws, its stroke is their median."
    return Strips("", said, Axis(f"{metric_title(spread.metric)}{better}", unit), strips)


def confusion(labels: Sequence[str], counts: Counts, name: str = "", *, ordered: bool = False) -> Confusion:
    """How often each label was answered for each true label.

    Args:
        labels: of the task, in its order.
        counts: as `Plots.confusion` has them.
        name: its heading; nothing where the section's own says it.
        ordered: whether the labels are a rating.
    """
    said = "A line holds the rows of one true label, a column the rows given one answer; the diagonal is right."
    worst = most_confused(labels, counts, 1)
    if worst:
        said += (
            f" Most often “{worst[0].truth}” was answered with “{worst[0].answer}”: {worst[0].rows:,} rows, "
            f"{number(worst[0].share, 'percent')} of that label."
        )
    if ordered:
        said += " Cells far from the diagonal are the worst mistakes."
    return Confusion(name, said, tuple(labels), counts, ordered)


def calibration_chart(bins: Sequence[CalibrationBin], name: str) -> Chart | None:
    """Stated confidence against the share that was right, with Wilson's intervals; `None` where bins are too few.

    Args:
        bins: by ascending confidence.
        name: of the spec or model.
    """
    found = confidence_bins(bins)
    if len(found) < 2:
        return None
    stated, right = tuple(one.confidence for one in found), [one.right for one in found]
    lows, highs = tuple(_low(one) for one in right), tuple(_high(one) for one in right)
    least = int(10 * min(*stated, *lows)) / 10
    told = tuple(
        f"said {number(one.confidence, 'percent')}, right {interval(one.right, 'percent')} of {one.rows:,} rows"
        for one in found
    )
    return Chart(
        "",
        f"{_how_honest(found, name)} On the dotted line, 80 of 100 answers said to be 80% sure are right; below "
        f"it they are overconfident. A point stands for at least {FEWEST_ROWS} rows; the band is the 95% interval.",
        Axis("stated confidence", "percent", range=(least, 1.0)),
        Axis("share that was right", "percent", range=(least, 1.0)),
        (
            Band(stated, lows, highs, "95% interval"),
            Curve((least, 1.0), (least, 1.0), "confidence and share are equal", look=None, style="dotted"),
            Curve(stated, tuple(one.value for one in right)),
            Dots(stated, tuple(one.value for one in right), told=told),
        ),
        square=True,
    )


def without_chart(bins: Sequence[CalibrationBin], name: str) -> str:
    """What there is to say of calibration where `calibration_chart` has too few bins."""
    [whole] = confidence_bins(bins, sum(one.rows for one in bins))
    why = (
        f"{whole.rows:,} rows are too few to show calibration by confidence"
        if whole.rows < 2 * FEWEST_ROWS
        else f"{name} states nearly the same confidence for every row"
    )
    return (
        f"{why}. Over all rows {name} states a confidence of {number(whole.confidence, 'percent')} and is right on "
        f"{interval(whole.right, 'percent')}."
    )


def _how_honest(found: Sequence[ConfidenceBin], name: str) -> str:
    worst = max(found, key=lambda one: max(one.confidence - _high(one.right), _low(one.right) - one.confidence))
    said = (
        f"where it says {number(worst.confidence, 'percent')}, {interval(worst.right, 'percent')} of its answers "
        "are right."
    )
    if worst.confidence > _high(worst.right):
        return f"{name} is overconfident: {said}"
    if worst.confidence < _low(worst.right):
        return f"{name} is more often right than it says: {said}"
    return f"What {name} states as its confidence agrees with how often it is right, as far as these rows can tell."


def points_chart(points: Sequence[tuple[float, float]], title: str, value: str) -> Chart:
    """Truth against answer, a point per row.

    Args:
        points: truth and answer of each.
        title: of the chart, such as the name of the spec.
        value: what is answered, in a word.
    """
    truths, answers = zip(*points, strict=True)
    ends = min(*truths, *answers), max(*truths, *answers)
    return Chart(
        title,
        "A point per row: what is true, and what was answered. On the dotted line both are the same.",
        Axis(f"true {value}"),
        Axis(f"{value} answered"),
        (
            Curve(ends, ends, "truth and answer are equal", look=None, style="dotted"),
            Dots(
                truths,
                answers,
                told=tuple(f"true {truth:g}, answered {answer:g}" for truth, answer in points),
            ),
        ),
        square=True,
    )


def _low(given: Interval) -> float:
    return given.value if given.low is None else given.low


def _high(given: Interval) -> float:
    return given.value if given.high is None else given.high
