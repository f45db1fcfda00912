"""The figure of abstention: how much more often answers are right where fewer rows are answered."""

from __future__ import annotations

from luthier.evaluation.abstention import Abstention
from luthier.reporting.charts.chart import Axis, Band, Chart, Curve, Dots, Mark
from luthier.reporting.numbers import interval, number

__all__ = ["abstention_chart"]


def abstention_chart(found: Abstention, said: str) -> Chart:
    """Accuracy of the answered rows against the share of rows that is answered, with its interval.

    Args:
        found: the points of the curve.
        said: how it is read.
    """
    points = sorted(found.points, key=lambda one: one.coverage.value)
    coverage = tuple(one.coverage.value for one in points)
    values = tuple(one.accuracy.value for one in points)
    low = tuple(one.accuracy.value if one.accuracy.low is None else one.accuracy.low for one in points)
    high = tuple(one.accuracy.value if one.accuracy.high is None else one.accuracy.high for one in points)
    told = tuple(
        f"confidence of at least {one.threshold:g}: answers {number(one.coverage.value, 'percent')} of the rows, right "
        f"on {interval(one.accuracy, 'percent')} of them"
        for one in points
    )
    marks: list[Mark] = [Band(coverage, low, high, "95% interval"), Curve(coverage, values)]
    marks.append(Dots(coverage, values, told=told))
    if found.advised is not None:
        one = found.advised
        words = f"advised, on rows that had no part in choosing it: confidence of at least {one.threshold:g}"
        marks.append(Dots((one.coverage.value,), (one.accuracy.value,), "advised threshold", 3, (words,), large=True))
    return Chart(
        "",
        said,
        Axis("share of the rows that is answered", "percent"),
        Axis("share of those that is right", "percent"),
        tuple(marks),
    )
