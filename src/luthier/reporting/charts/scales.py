"""Scales: where a value lies along an axis, and which values are written there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from luthier.reporting.charts.chart import Axis, Band, Bars, Curve, Dots, Mark, Rule
from luthier.reporting.numbers import Unit

__all__ = ["Scale", "Tick", "beside", "scale_of", "ticks_of", "tops", "values_along"]

ROOM = 0.04
"""Share of an axis that is left free at both ends."""

MOST_TICKS = 5
"""So many have room under a plot on a telephone."""

STEPS = (1, 2, 2.5, 5, 10)

GOLDEN = 0.618034

MINUTE, HOUR, DAY = 60, 3600, 86400
SPANS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)
"""Seconds between two ticks of a short time axis; those of a longer one are at the first of a month or a year."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A value that is written at an axis, and how."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis whose ends are known.

    Attributes:
        axis: what it is about.
        low, high: the values at its ends.
        ticks: what is written along it.

    Examples:
        >>> scale = Scale(Axis("learning rate", scale="log"), 0.01, 1.0)
        >>> round(scale.share(0.1), 6), scale.holds(2.0)
        (0.5, False)
    """

    axis: Axis
    low: float
    high: float
    ticks: tuple[Tick, ...] = ()

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the lower end, 1 at the upper one."""
        if self.axis.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        room = 1e-9 * (self.high - self.low)
        return math.isfinite(value) and self.low - room <= value <= self.high + room


def beside(place: int) -> float:
    """Where the one of this place is drawn among others of its value, between -.5 and .5.

    Places in a row fill the room evenly, however many there are: multiples of the golden ratio without their whole part
    have low discrepancy.

    Examples:
        >>> [round(beside(place), 2) for place in range(4)]
        [-0.5, 0.12, -0.26, 0.35]
    """
    return (place * GOLDEN) % 1 - 0.5


def scale_of(axis: Axis, values: Iterable[float]) -> Scale:
    """The scale that has room for these values, unless the axis says where it ends.

    Args:
        axis: what it is about.
        values: to be drawn; those that are not finite, and on a logarithmic axis those not above 0, do not count.
    """
    if axis.scale == "category":
        ticks = tuple(Tick(place, name) for place, name in enumerate(axis.categories))
        return Scale(axis, -0.5, max(1, len(axis.categories)) - 0.5, ticks)
    is_log = axis.scale == "log"
    known = [value for value in values if math.isfinite(value) and (value > 0 or not is_log)]
    known += [0.0] if axis.from_zero and not is_log else []
    if axis.range is not None:
        low, high = axis.range
    else:
        low, high = min(known, default=0.1 if is_log else 0.0), max(known, default=1.0)
    if not low < high:
        low, high = (low / 2, high * 2) if is_log else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))
    if axis.range is None:
        if is_log:
            factor = (high / low) ** ROOM
            low, high = low / factor, high * factor
        else:
            room = ROOM * (high - low)
            # An axis that begins at 0 stands on it.
            low, high = (low if axis.from_zero and low == 0 else low - room), high + room
    return Scale(axis, low, high, ticks_of(axis, low, high))


def ticks_of(axis: Axis, low: float, high: float, most: int = MOST_TICKS) -> tuple[Tick, ...]:
    """Round values between two ends, at most so many.

    Examples:
        >>> [tick.text for tick in ticks_of(Axis("F1", "share"), 0.24, 0.62)]
        ['.3', '.4', '.5', '.6']
        >>> [tick.text for tick in ticks_of(Axis("rate", scale="log"), 0.03, 2.5)]
        ['0.05', '0.1', '0.2', '0.5', '1', '2']
        >>> [tick.text for tick in ticks_of(Axis("day", scale="time"), 1_795_000_000, 1_795_400_000)]
        ['19 Nov', '20 Nov', '21 Nov', '22 Nov', '23 Nov']
    """
    if axis.scale == "time":
        return _times(low, high, most)
    if axis.scale == "log":
        return _logs(low, high, axis.unit, most)
    step = next(one for one in _round_steps((high - low) / most) if _count(low, high, one) <= most)
    first = math.ceil(low / step - 1e-9)
    values = [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]
    if axis.unit == "count":
        values = [value for value in values if float(value).is_integer()]
    return tuple(Tick(value, _written(value, step, axis.unit)) for value in values)


def values_along(marks: Sequence[Mark], across: str) -> Iterable[float]:
    """Every value of the marks along `x` or `y`."""
    for mark in marks:
        if isinstance(mark, Rule):
            yield from [mark.value] if mark.across == across else []
        elif isinstance(mark, Dots):
            yield from mark.x if across == "x" else (*mark.y, *mark.low, *mark.high)
        elif isinstance(mark, Curve):
            yield from mark.x if across == "x" else mark.y
        elif isinstance(mark, Band):
            yield from mark.x if across == "x" else (*mark.low, *mark.high)
        elif across == "x":
            yield from mark.edges
        else:
            yield from tops(mark)
            yield from mark.base


def tops(bars: Bars) -> tuple[float, ...]:
    """Where bars end."""
    base = bars.base or (0.0,) * len(bars.heights)
    return tuple(low + height for low, height in zip(base, bars.heights, strict=True))


def _round_steps(least: float) -> Iterable[float]:
    power = 10 ** math.floor(math.log10(least))
    for place in range(3):
        yield from (one * power * 10**place for one in STEPS)


def _count(low: float, high: float, step: float) -> int:
    return math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1


def _logs(low: float, high: float, unit: Unit, most: int) -> tuple[Tick, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        if len(found) <= most + 1:
            break
    if len(found) < 2:
        # Less than a decade: round values as on a linear axis.
        return ticks_of(Axis("", unit), low, high, most)
    every = -(-len(found) // (most + 1))
    return tuple(Tick(value, _written(value, value, unit)) for value in found[::every])


def _written(value: float, step: float, unit: Unit) -> str:
    """A value with as many decimals as tell it from the next."""
    if unit == "percent":
        return f"{100 * value:.{_decimals(100 * step)}f}%"
    if value and (abs(value) < 1e-4 or abs(value) >= 1e6) and unit != "count":
        return f"{value:.3g}"
    text = f"{value:,.{_decimals(step)}f}"
    if unit in ("share", "fine", "gap", "p"):
        text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
        text = f"+{text}" if unit == "gap" and value > 0 else text
    return f"{text} s" if unit == "seconds" else text


def _decimals(step: float) -> int:
    """Decimals that write a multiple of the step in full."""
    decimals = max(0, -math.floor(math.log10(step)))
    return decimals if math.isclose(round(step, decimals), step) else decimals + 1


def _times(low: float, high: float, most: int) -> tuple[Tick, ...]:
    span = next((one for one in SPANS if (high - low) / one <= most), None)
    if span is not None:
        first = math.ceil(low / span)
        moments = [_moment(place * span) for place in range(first, math.floor(high / span) + 1)]
        clock = span < DAY
        return tuple(
            Tick(one.timestamp(), f"{one:%H:%M}" if clock and (one.hour or one.minute) else f"{one.day} {one:%b}")
            for one in moments
        )
    begin, months = _moment(low), (high - low) / DAY / 30
    every = next((one for one in (1, 2, 3, 6, 12) if months / one <= most), 12 * math.ceil(months / 12 / most))
    places = range(begin.year * 12, (_moment(high).year + 1) * 12 + 1, every)
    moments = [datetime(place // 12, place % 12 + 1, 1, tzinfo=UTC) for place in places]
    return tuple(
        Tick(one.timestamp(), f"{one:%Y}" if every >= 12 else f"{one:%b %Y}")
        for one in moments
        if low <= one.timestamp() <= high
    )


def _moment(seconds: float) -> datetime:
    # `fromtimestamp` refuses what lies outside of the platform's own clock.
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
