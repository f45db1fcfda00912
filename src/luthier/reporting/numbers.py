"""How numbers are written: short, the same in every place, and without characters that control a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal, TypeAlias

from luthier.evaluation.interval import Interval

if TYPE_CHECKING:
    from luthier.tasks.types import Format

__all__ = ["Unit", "bounds", "interval", "metric_format", "metric_title", "number", "printable"]

Unit: TypeAlias = "Format | Literal['count', 'percent', 'p', 'fine', 'gap']"
"""How a value is written: as a metric is, or as a whole number, a share of rows, a p-value, or with three decimals
(`gap` also with a sign)."""


def number(value: float, unit: Unit) -> str:
    """One value.

    Examples:
        >>> number(0.614, "share"), number(-0.05, "share"), number(1.0, "share"), number(1.237, "number")
        ('.61', '-.05', '1.00', '1.24')
        >>> number(0.0, "usd"), number(0.0412, "usd"), number(12.3, "usd"), number(0.00002, "usd")
        ('0', '0.041', '12.30', '0.00002')
        >>> number(0.374, "seconds"), number(0.0021, "seconds"), number(12.3, "seconds")
        ('0.37 s', '2 ms', '12.3 s')

        A share of rows that exists is never written as 0, and a p-value neither as 0 nor as 1:

        >>> number(0.0, "percent"), number(0.0004, "percent"), number(0.012, "percent"), number(0.5, "percent")
        ('0%', '<0.1%', '1.2%', '50%')
        >>> number(-0.0004, "percent"), number(-0.004, "percent"), number(-0.012, "percent"), number(-0.5, "percent")
        ('0%', '-0.4%', '-1.2%', '-50%')
        >>> number(0.0002, "p"), number(0.0412, "p"), number(1.0, "p"), number(12345, "count")
        ('<.001', '.041', '>.999', '12,345')

        Audits are about the third decimal as often as about the second:

        >>> number(0.05126, "fine"), number(2.345, "fine"), number(0.05126, "gap"), number(-0.0001, "gap")
        ('.051', '2.345', '+.051', '.000')
    """
    if unit == "usd":
        if value == 0:
            return "0"
        if value >= 1:
            return f"{value:,.2f}"
        return f"{value:.2g}" if value >= 0.0001 else f"{value:.5f}".rstrip("0").rstrip(".") or "0"
    if unit == "seconds":
        if value < 0.01:
            return f"{1000 * value:.0f} ms" if value >= 0.001 else "<1 ms"
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "percent":
        if 0 < value < 0.001:
            return "<0.1%"
        text = f"{100 * value:.1f}%" if 0 < abs(value) < 0.1 else f"{100 * value:.0f}%"
        return text if text.strip("-0.%") else "0%"
    if unit == "p":
        if value < 0.001:
            return "<.001"
        return ">.999" if value >= 0.9995 else f"{value:.3f}".removeprefix("0")
    if unit in ("fine", "gap"):
        text = _without_zero(f"{value:.3f}")
        return f"+{text}" if unit == "gap" and text[0] != "-" and text != ".000" else text
    return _without_zero(f"{value:.2f}") if unit == "share" else f"{value:.2f}"


def interval(given: Interval | float, unit: Unit) -> str:
    """A value, with its bounds where it has any.

    Examples:
        >>> interval(Interval(0.614, 0.551, 0.667), "share"), interval(Interval(0.614), "share")
        ('.61 (.55–.67)', '.61')
        >>> interval(Interval(0.0513, 0.0387, 0.0638), "gap"), interval(Interval(0.4), "fine")
        ('+.051 (.039–.064)', '.400')
    """
    if not isinstance(given, Interval):
        return number(given, unit)
    text = number(given.value, unit)
    between = bounds(given, unit)
    return f"{text} ({between})" if between else text


def bounds(given: Interval, unit: Unit) -> str:
    """The bounds alone; nothing where there are none or where they are written like the value.

    Examples:
        >>> bounds(Interval(0.614, 0.551, 0.667), "share"), bounds(Interval(0.0, -0.05, 0.04), "share")
        ('.55–.67', '-.05 to .04')
        >>> bounds(Interval(0.0, 0.0, 0.0), "share")
        ''
    """
    if given.low is None or given.high is None:
        return ""
    # The bounds of a difference are read as numbers, not as differences of their own.
    written: Unit = "fine" if unit == "gap" else unit
    low, high = number(given.low, written), number(given.high, written)
    if low == high == number(given.value, written):
        return ""
    return f"{low} to {high}" if "-" in (low[0], high[0]) else f"{low}–{high}"


def metric_title(metric: str) -> str:
    """A metric's title; its name where Luthier does not know it, as with a service's own figures."""
    from luthier.evaluation.measures import METRICS

    return METRICS[metric].title if metric in METRICS else printable(metric)


def metric_format(metric: str) -> Format:
    """How a metric's values are written; with two decimals where Luthier does not know it."""
    from luthier.evaluation.measures import METRICS

    return METRICS[metric].format if metric in METRICS else "number"


def printable(text: str) -> str:
    """The text on one line, without control characters and marks that change its direction.

    Examples:
        >>> printable("a\\x1b[31mb\\u202ec\\nd")
        'a[31mbc d'
    """
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"})


def _without_zero(text: str) -> str:
    """A number as text, without the zero before the point and without a sign before zero."""
    text = text.removeprefix("-") if not text.strip("-0.") else text
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
