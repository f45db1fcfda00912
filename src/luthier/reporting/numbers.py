"""How numbers are written: short, the same in every place, and nothing a terminal would obey."""

from __future__ import annotations

import unicodedata

from luthier.evaluation.measures import Format
from luthier.evaluation.resampling import Interval

__all__ = ["bounds", "interval", "number", "p_value", "percent", "printable"]


def number(value: float, format: Format) -> str:  # noqa: A002 - the word the measures use
    """A metric's value.

    Examples:
        >>> number(0.614, "share"), number(-0.05, "share"), number(1.0, "share"), number(1.237, "number")
        ('.61', '-.05', '1.00', '1.24')
        >>> number(0.0, "usd"), number(0.0412, "usd"), number(12.3, "usd"), number(0.00002, "usd")
        ('0', '0.041', '12.30', '0.00002')
        >>> number(0.374, "seconds"), number(0.0021, "seconds"), number(12.3, "seconds")
        ('0.37 s', '2 ms', '12.3 s')
    """
    if format == "usd":
        if value == 0:
            return "0"
        if value >= 1:
            return f"{value:,.2f}"
        return f"{value:.2g}" if value >= 0.0001 else f"{value:.5f}".rstrip("0").rstrip(".") or "0"
    if format == "seconds":
        if value < 0.01:
            return f"{1000 * value:.0f} ms" if value >= 0.001 else "<1 ms"
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    text = f"{value:.2f}"
    if format == "share":
        text = text.replace("-0.00", "0.00").replace("0.", ".", 1) if abs(value) < 0.995 else text
    return text


def interval(given: Interval, format: Format) -> str:  # noqa: A002 - the word the measures use
    """A value with its bounds, where there are any to speak of.

    Examples:
        >>> interval(Interval(0.614, 0.551, 0.667), "share")
        '.61 (.55–.67)'
        >>> interval(Interval(0.614), "share")
        '.61'
    """
    text = number(given.value, format)
    between = bounds(given, format)
    return f"{text} ({between})" if between else text


def bounds(given: Interval, format: Format) -> str:  # noqa: A002 - the word the measures use
    """The bounds alone; nothing where there are none or where they are written like the value.

    Examples:
        >>> bounds(Interval(0.614, 0.551, 0.667), "share"), bounds(Interval(0.0, -0.05, 0.04), "share")
        ('.55–.67', '-.05 to .04')
        >>> bounds(Interval(0.0, 0.0, 0.0), "share")
        ''
    """
    if given.low is None or given.high is None:
        return ""
    low, high = number(given.low, format), number(given.high, format)
    if low == high == number(given.value, format):
        return ""
    return f"{low} to {high}" if "-" in (low[0], high[0]) else f"{low}–{high}"


def percent(share: float) -> str:
    """A share of rows; what is there is never written as 0.

    Examples:
        >>> percent(0.0), percent(0.0004), percent(0.012), percent(0.5)
        ('0%', '<0.1%', '1.2%', '50%')
    """
    if share == 0:
        return "0%"
    if share < 0.001:
        return "<0.1%"
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def p_value(p: float) -> str:
    """A p-value.

    Examples:
        >>> p_value(0.0002), p_value(0.0412), p_value(1.0)
        ('<.001', '.041', '1')
    """
    if p < 0.001:
        return "<.001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def printable(text: str) -> str:
    """The text without what a terminal would obey or what would turn its direction.

    Examples:
        >>> printable("a\\x1b[31mb\\u202ec\\nd")
        'a[31mbc d'
    """
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
