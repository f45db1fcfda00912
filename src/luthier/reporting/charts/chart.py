"""What a chart shows, as plain records: numbers, and what is said of each; how they are drawn is decided elsewhere.

The records are also the data behind the figure: `plain(chart)` is what `--json` prints. Texts in them may come from
strangers; the writers escape them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luthier.evaluation.interval import Interval
from luthier.reporting.numbers import Unit

__all__ = [
    "Axis",
    "Band",
    "Bars",
    "Chart",
    "Confusion",
    "Dots",
    "Figure",
    "Curve",
    "Mark",
    "Parallel",
    "ParallelAxis",
    "ParallelLine",
    "Rule",
    "Strip",
    "Strips",
]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis.

    Attributes:
        title: what lies along it, with its unit and, for a metric, which way is better.
        unit: how its values are written.
        scale: `log` needs values above 0; `time` has Unix times; `category` has places into `categories`, from 0, which
            dots may miss by less than a half so that they do not hide each other.
        categories: what the places are called, of scale `category`.
        range: the values at both ends; those of the marks where absent.
        from_zero: whether 0 is on the axis in any case.
    """

    title: str
    unit: Unit = "number"
    scale: Literal["linear", "log", "time", "category"] = "linear"
    categories: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    from_zero: bool = False


@dataclass(frozen=True, slots=True)
class Dots:
    """Points.

    Attributes:
        x, y: their places; as many of each.
        name: in the legend; dots without one are not in it.
        look: which of the colours and shapes they have, from 0; each has a shape of its own as well as a colour.
        told: what is said of each point; shown where a pointer rests on it. Empty, or as many as points.
        low, high: ends of a vertical bar through each point; empty, or as many as points.
        large: whether they stand out.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    name: str = ""
    look: int = 0
    told: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    large: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Points joined in their order.

    Attributes:
        x, y: their places; as many of each. A NaN in either ends the line there and begins another.
        name: in the legend; a line without one is not in it.
        look: which of the colours it has, from 0; `None` for the pale ink of rules.
        style: `dotted` for what is no measurement, such as the identity.
        stepped: whether it keeps its value until the next point.
        weight: `thin` for one of many.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    name: str = ""
    look: int | None = 0
    style: Literal["solid", "dashed", "dotted"] = "solid"
    stepped: bool = False
    weight: Literal["thin", "normal", "thick"] = "normal"


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two values along x, such as an interval."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    name: str = ""
    look: int = 0


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side, as in a histogram.

    Attributes:
        edges: along x, one more than bars.
        heights: of the bars.
        base: where each begins, for bars that stand on others; 0 where empty.
        name: in the legend; bars without one are not in it.
        look: which of the colours they have, from 0.
        told: what is said of each bar; empty, or as many as bars.
    """

    edges: tuple[float, ...]
    heights: tuple[float, ...]
    base: tuple[float, ...] = ()
    name: str = ""
    look: int = 0
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the chart at a value.

    Attributes:
        value: where.
        text: written at its end.
        across: `y` for a horizontal line at a value of y, `x` for a vertical one.
        style: `solid` for what was measured, `dotted` for what it is held against.
    """

    value: float
    text: str = ""
    across: Literal["x", "y"] = "y"
    style: Literal["solid", "dashed", "dotted"] = "dotted"


Mark = Dots | Curve | Band | Bars | Rule


@dataclass(frozen=True, slots=True)
class Chart:
    """Marks over two axes; later marks lie above earlier ones.

    Attributes:
        title: its heading; empty where the section's own says it.
        said: one sentence that says what it means and how it is read. It is the chart's name for a screen reader.
        x, y: the axes.
        marks: what is drawn.
        height: of the plot without titles and ticks, in CSS pixels; the width is that of the page.
        square: whether it is no wider than high, as where both axes have one unit.
    """

    title: str
    said: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    height: int = 280
    square: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A line of `Strips`: a name above, its values beneath.

    Attributes:
        name: whole; where it does not fit, its middle is left out.
        values: a dot each.
        told: what is said of each dot; empty, or as many as values.
        looks: of each dot, from 0; all 0 where empty.
        interval: drawn as a thick line with a stroke at its value.
        boxed: whether the quartiles and the median of the values are drawn; below five values only dots are.
        note: written small after the name.
    """

    name: str
    values: tuple[float, ...] = ()
    told: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    interval: Interval | None = None
    boxed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Strips:
    """Names under each other over one axis: intervals, distributions by group, boxes.

    Attributes:
        title: its heading; empty where the section's own says it.
        said: one sentence that says what it means and how it is read.
        axis: of the values.
        strips: from top to bottom.
        rules: vertical lines through all strips; `across` is not read.
        legend: what the looks of the dots are called; empty where all dots are alike.
    """

    title: str
    said: str
    axis: Axis
    strips: tuple[Strip, ...]
    rules: tuple[Rule, ...] = ()
    legend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each label was answered for each true label.

    Attributes:
        title: its heading; the spec's name where there are several.
        said: one sentence that says what it means and how it is read.
        labels: of the task, in its order.
        counts: rows per true label (line) and answer (column, the last for rows without a label).
        ordered: whether cells far from the diagonal are worse mistakes.
    """

    title: str
    said: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class ParallelAxis:
    """An axis of parallel coordinates.

    Attributes:
        title: what lies along it.
        ticks: places between 0 (bottom) and 1 (top), and what is written there.
        is_choice: whether values lie at the ticks only; lines are spread around those so that their number shows.
    """

    title: str
    ticks: tuple[tuple[float, str], ...]
    is_choice: bool = False


@dataclass(frozen=True, slots=True)
class ParallelLine:
    """A line of parallel coordinates.

    Attributes:
        places: on each axis, between 0 and 1; `None` where it has no value there.
        told: what is said of it.
        strength: from 0 (the worst) to 1 (the best); weak lines are faint.
        look: which of the colours it has, from 0.
    """

    places: tuple[float | None, ...]
    told: str
    strength: float = 1.0
    look: int = 0


@dataclass(frozen=True, slots=True)
class Parallel:
    """Parallel coordinates: an axis per setting and one for the result, a line per trial.

    Attributes:
        title: its heading; empty where the section's own says it.
        said: one sentence that says what it means and how it is read.
        axes: from left to right; the last is the result.
        lines: the worst first, so that the best lie above.
        what: what a line is called in the plural, such as `trials`; the number chosen by brushing is said with it.
        legend: what the looks of the lines are called; empty where all lines are alike.
    """

    title: str
    said: str
    axes: tuple[ParallelAxis, ...]
    lines: tuple[ParallelLine, ...]
    what: str = "trials"
    legend: tuple[str, ...] = ()


Figure = Chart | Strips | Confusion | Parallel
"""What a report draws; a tuple of figures is drawn side by side where there is room."""
