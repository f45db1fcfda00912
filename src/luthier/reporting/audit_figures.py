"""Figures of an audit: reported against measured, the difference against the level, and all differences."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.evaluation.agreement import Agreement
from luthier.evaluation.statistics import ALPHA
from luthier.reporting.charts.chart import Axis, Band, Chart, Curve, Dots, Mark, Rule, Strip, Strips
from luthier.reporting.numbers import metric_title, number

__all__ = ["difference_strips", "identity_chart", "level_chart"]

MOST_TOLD = 1000
"""Models up to which points say what they are: five thousand texts in three figures would not fit into a mail."""


def identity_chart(agreement: Agreement) -> Chart:
    """Measured against reported, a point per model; on the line both are the same."""
    pairs, title = agreement.pairs, metric_title(agreement.metric)
    both = [*pairs.reported, *pairs.measured]
    room = 0.06 * (max(both) - min(both)) or 0.05
    ends = min(both) - room, max(both) + room
    return Chart(
        f"{title}: measured against reported",
        _sides(agreement),
        Axis(f"reported {title}", "fine", range=ends),
        Axis(f"measured {title}", "fine", range=ends),
        (
            Curve(ends, ends, "reported and measured are equal", None, "dotted"),
            Dots(tuple(pairs.reported), tuple(pairs.measured), told=_told(agreement)),
        ),
        height=300,
        square=True,
    )


def level_chart(agreement: Agreement) -> Chart:
    """The difference against the mean of both values, with its mean and the limits of agreement.

    Source: Bland and Altman 1986, Statistical methods for assessing agreement between two methods of clinical
    measurement.
    """
    pairs, found, title = agreement.pairs, agreement.difference, metric_title(agreement.metric)
    levels, differences = pairs.levels.tolist(), pairs.differences.tolist()
    lower, upper = agreement.lower_limit.value, agreement.upper_limit.value
    ends = (min(levels), max(levels))
    marks: list[Mark] = []
    if found.low is not None and found.high is not None:
        marks.append(Band(ends, (found.low,) * 2, (found.high,) * 2))
    marks.append(Rule(0.0))
    marks += [Rule(upper, f"upper limit {number(upper, 'gap')}", style="dashed")]
    marks += [Rule(found.value, f"mean {number(found.value, 'gap')}", style="solid")]
    marks += [Rule(lower, f"lower limit {number(lower, 'gap')}", style="dashed")]
    said = f"95% of single models differ by {number(lower, 'gap')} to {number(upper, 'gap')}"
    if agreement.slope is not None and agreement.slope_p is not None and agreement.slope_p < ALPHA:
        middle = float(pairs.levels.mean())
        line = tuple(found.value + agreement.slope.value * (end - middle) for end in ends)
        marks.append(Curve(ends, line, "trend", 1))
        said += f"; the difference changes by {number(agreement.slope.value / 10, 'gap')} per .1 of the level"
    marks.append(Dots(tuple(levels), tuple(differences), told=_told(agreement)))
    return Chart(
        f"{title}: the difference by level",
        f"{said}.",
        Axis(f"mean of reported and measured {title}", "fine"),
        Axis("reported minus measured", "gap"),
        tuple(marks),
        height=300,
    )


def difference_strips(agreements: Sequence[Agreement]) -> Strips:
    """Reported minus measured, a box per metric over every single model."""
    strips = tuple(
        Strip(
            metric_title(one.metric),
            tuple(one.pairs.differences.tolist()),
            _told(one),
            boxed=True,
            note=f"median {number(_median(one), 'gap')}, {len(one.pairs.ids):,} models",
        )
        for one in agreements
    )
    said = (
        "A box holds the middle half of the models, the line in it is the median. A box that does not touch 0 is an "
        "offset, a wide box is noise."
    )
    return Strips("", said, Axis("reported minus measured", "gap"), strips, (Rule(0.0, "equal"),))


def _sides(agreement: Agreement) -> str:
    """On which side of the line models lie."""
    differences = agreement.pairs.differences.tolist()
    below, above = (sum(sign * one > 0 for one in differences) for sign in (1, -1))
    parts = [f"{below:,} lie below the line: reported is higher than measured"] if below else []
    parts += [f"{above:,} lie above it: measured is higher than reported"] if above else []
    parts += [f"{len(differences) - below - above:,} lie on it"] if below + above < len(differences) else []
    return f"Of {len(differences):,} models, {'; '.join(parts)}."


def _median(agreement: Agreement) -> float:
    import numpy as np

    return float(np.median(agreement.pairs.differences))


def _told(agreement: Agreement) -> tuple[str, ...]:
    pairs = agreement.pairs
    if len(pairs.ids) > MOST_TOLD:
        return ()
    return tuple(
        f"{name}: reported {number(said, 'fine')}, measured {number(found, 'fine')}, "
        f"difference {number(said - found, 'gap')}"
        for name, said, found in zip(pairs.ids, pairs.reported, pairs.measured, strict=True)
    )
