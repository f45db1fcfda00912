"""Figures of a score: labels now and before, speed over time, what the limiter allowed, how long calls took."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.evaluation.population_stability import PopulationStability
from luthier.evaluation.score_summary import LatencySummary, LimiterChange, ScoreSummary, Throughput
from luthier.reporting.charts.chart import Axis, Bars, Chart, Curve, Dots, Mark, Rule, Strip, Strips
from luthier.reporting.numbers import number
from luthier.reporting.score_sentences import duration

__all__ = ["label_strips", "latency_chart", "limiter_chart", "throughput_chart"]

MOST_LABELS = 25
"""Labels that are drawn, those that have moved most."""

MOST_ENDPOINTS = 6
"""Limiters that are drawn; more lines cannot be told apart."""


def label_strips(found: PopulationStability, what: str = "label") -> Strips:
    """The share of each label, or of what else is counted, before and now, those that have moved most first."""
    shown = found.shares[:MOST_LABELS]
    before, now = f"among the {found.of}", "predicted now"
    strips = tuple(
        Strip(
            one.label,
            (one.before, one.now),
            (
                f"{one.label}: {number(one.before, 'percent')} {before}",
                f"{one.label}: {number(one.now, 'percent')} now",
            ),
            (1, 0),
            note=f"{number(one.before, 'percent')} → {number(one.now, 'percent')}",
        )
        for one in shown
    )
    top = (
        f"has the largest population stability index, {found.index:.3f}"
        if found.separate
        else f"adds most to the population stability index of {found.index:.3f}"
    )
    said = f"The share of each {what} {before} and as it was predicted now. The {what} at the top {top}."
    if len(found.shares) > len(shown):
        said += f" The {len(shown)} of {len(found.shares)} {what}s that have moved most are drawn."
    return Strips("", said, Axis("share of rows", "percent", from_zero=True), strips, legend=(now, before))


def throughput_chart(summary: ScoreSummary, found: Throughput) -> Chart:
    """What came back per second over time, and the rate that was allowed."""
    starts = [place * found.step_seconds for place in range(len(found.counts))]
    x, y = _steps(starts, list(found.rates), found.seconds)
    named = "answers of the service" if found.what == "answers" else "rows written"
    marks: list[Mark] = [Curve(x, y, named, stepped=True)]
    said = (
        f"{found.what.capitalize()} a second, in steps of {duration(found.step_seconds)}; the dotted line is "
        f"the mean, {found.mean_rate:,.1f} a second."
    )
    for look, (endpoint, changes) in enumerate(_by_endpoint(summary.limiter).items(), 1):
        rates = [(one.seconds, one.requests_per_minute / 60) for one in changes if one.requests_per_minute is not None]
        if rates and max(rate for _, rate in rates) < 20 * max(found.rates):
            times, allowed = _steps([at for at, _ in rates], [rate for _, rate in rates], found.seconds)
            marks.append(Curve(times, allowed, f"allowed at {endpoint}", look, "dashed", stepped=True))
    return Chart(
        "",
        said,
        Axis("seconds since the beginning", "number", range=_from_zero(found.seconds)),
        Axis(f"{found.what} per second", "number", from_zero=True),
        (*marks, Rule(found.mean_rate, style="dotted")),
    )


def limiter_chart(summary: ScoreSummary) -> Chart | None:
    """How many requests might be in flight over time, a point where it changed; `None` where it never did."""
    by_endpoint = _by_endpoint(summary.limiter)
    if all(len({one.window for one in changes}) == 1 for changes in by_endpoint.values()):
        return None
    end = summary.throughput.seconds if summary.throughput else max(one.seconds for one in summary.limiter)
    marks: list[Mark] = []
    for look, (endpoint, changes) in enumerate(by_endpoint.items()):
        times, windows = [one.seconds for one in changes], [float(one.window) for one in changes]
        x, y = _steps(times, windows, end)
        marks.append(Curve(x, y, endpoint if len(by_endpoint) > 1 else "", look, stepped=True))
        told = tuple(f"{one.seconds:.1f} s: {one.what}; {one.window:,} in flight{_rate(one)}" for one in changes)
        marks.append(Dots(tuple(times), tuple(windows), look=look, told=told))
    cuts = sum(one.is_cut for one in summary.limiter)
    said = (
        "How many requests may be in flight. A point is a change of what the limiter allows"
        f"{f'; {cuts:,} of them follow a sign of congestion' if cuts else ''}."
    )
    return Chart(
        "",
        said,
        Axis("seconds since the beginning", "number", range=_from_zero(end)),
        Axis("requests in flight, at most", "count", from_zero=True),
        tuple(marks),
        height=200,
    )


def latency_chart(found: LatencySummary) -> Chart:
    """How long calls took."""
    told = tuple(
        f"{duration(low)} to {duration(high)}: {calls:,} rows"
        for low, high, calls in zip(found.edges[:-1], found.edges[1:], found.calls, strict=True)
    )
    wide = found.edges[-1] > 3 * found.edges[0]
    return Chart(
        "",
        f"How long the calls of a row took, of rows that were asked now: half within {duration(found.p50_seconds)}, "
        f"95% within {duration(found.p95_seconds)} (the dotted lines), the longest {duration(found.longest_seconds)}.",
        Axis("seconds", "seconds", "log" if wide else "linear"),
        Axis("rows", "count", from_zero=True),
        (
            Bars(found.edges, tuple(map(float, found.calls)), told=told),
            Rule(found.p50_seconds, across="x"),
            Rule(found.p95_seconds, across="x"),
        ),
        height=200,
    )


def _steps(starts: Sequence[float], values: Sequence[float], end: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The points of a stepped curve that keeps its last value to the end."""
    return (*starts, max(end, starts[-1])), (*values, values[-1])


def _by_endpoint(changes: Sequence[LimiterChange]) -> dict[str, list[LimiterChange]]:
    found: dict[str, list[LimiterChange]] = {}
    for one in changes:
        if one.endpoint in found or len(found) < MOST_ENDPOINTS:
            found.setdefault(one.endpoint, []).append(one)
    return found


def _rate(change: LimiterChange) -> str:
    per_minute = change.requests_per_minute
    return "" if per_minute is None else f", {per_minute:,.0f} requests a minute"


def _from_zero(end: float) -> tuple[float, float]:
    return 0.0, max(end, 1e-3)
