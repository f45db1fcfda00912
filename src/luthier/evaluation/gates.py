"""Gates: requirements on a figure, or on a bound of its interval, as in `accuracy_low >= 0.8`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from luthier.errors import UserError
from luthier.evaluation.resampling import Interval

__all__ = ["BOUNDS", "Gate", "Requirement", "base_name", "judge", "parse_requirement"]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

BOUNDS = ("_low", "_high")
"""Ends of a figure's name that mean a bound of its 95% interval; MLflow has the bounds by these names."""

WRITTEN = re.compile(r"\s*(\w+)\s*([<>=!≤≥]+)\s*(.*?)\s*", re.S)
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*")
HOW = (
    "it reads METRIC >= NUMBER (also >, <=, <), as in: accuracy_low >= 0.8. For --require it may also name an alias: "
    "accuracy >= champion"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a figure must reach.

    Attributes:
        text: as it was written.
        figure: name of the figure; ends in `_low` or `_high` where a bound of its interval is meant.
        sign: `>=`, `<=`, `>` or `<`.
        right: the number that it is held against, or the alias of the version whose figure it is held against.
    """

    text: str
    figure: str
    sign: str
    right: float | str


@dataclass(frozen=True, slots=True)
class Gate:
    """A requirement and how it came out.

    Attributes:
        requirement: as it was written.
        metric: name of the figure.
        measured: its own value; `None` if it was not measured.
        wanted: the value it must reach.
        rows: rows it was measured on.
        passed: whether it holds; a figure that was not measured passes no requirement.
    """

    requirement: str
    metric: str
    measured: float | None
    wanted: float
    rows: int
    passed: bool

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.requirement}: not measured"
        return f"{self.requirement}: {self.measured:.4f} against {self.wanted:.4f} on {self.rows:,} rows"


def parse_requirement(text: str) -> Requirement:
    """What a requirement asks for.

    Raises:
        UserError: it is not understood; the message says how a requirement reads.

    Examples:
        >>> parse_requirement("accuracy_low >= 0.8")
        Requirement(text='accuracy_low >= 0.8', figure='accuracy_low', sign='>=', right=0.8)
        >>> parse_requirement("qwk>=champion").right
        'champion'
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise UserError(f"requirement {text!r} is not understood; {HOW}")
    figure, sign, right = found.groups()
    if sign not in COMPARISONS:
        raise UserError(f"requirement {text!r}: {sign} is no comparison for a measured figure; {HOW}")
    if right.endswith("%"):
        raise UserError(f"requirement {text!r}: shares are written from 0 to 1, as in 0.8 for 80%.")
    try:
        number = float(right)
    except ValueError:
        if not ALIAS.fullmatch(right):
            raise UserError(f"requirement {text!r}: {right!r} is neither a number nor an alias; {HOW}") from None
        return Requirement(text, figure, sign, right)
    if not math.isfinite(number):
        raise UserError(f"requirement {text!r}: {right} cannot be compared with; give a finite number.")
    return Requirement(text, figure, sign, number)


def judge(requirement: Requirement, figures: Mapping[str, Interval], rows: int, *, wanted: float | None = None) -> Gate:
    """How a requirement comes out.

    Args:
        requirement: what is asked for.
        figures: name to value and interval. A figure measured on fewer rows than the others has their number under
            `NAME_rows`.
        rows: rows that the others were measured on.
        wanted: what it is held against, where the requirement names an alias.

    Examples:
        >>> measured = {"accuracy": Interval(0.85, 0.78, 0.9)}
        >>> judge(parse_requirement("accuracy >= 0.8"), measured, 120).passed
        True
        >>> print(judge(parse_requirement("accuracy_low >= 0.8"), measured, 120))
        accuracy_low >= 0.8: 0.7800 against 0.8000 on 120 rows
        >>> print(judge(parse_requirement("flip_rate_typos < 0.1"), measured, 120))
        flip_rate_typos < 0.1: not measured
    """
    right = wanted if wanted is not None else requirement.right
    assert not isinstance(right, str), "an alias is looked up before it is judged"
    value = _value(figures, requirement.figure)
    if value is None:
        return Gate(requirement.text, requirement.figure, None, right, 0, False)
    own = figures.get(f"{base_name(requirement.figure)}_rows")
    passed = COMPARISONS[requirement.sign](value, right)
    return Gate(requirement.text, requirement.figure, value, right, rows if own is None else int(own.value), passed)


def base_name(figure: str) -> str:
    """The figure itself, where a bound of its interval is named.

    Examples:
        >>> base_name("accuracy_low"), base_name("mae")
        ('accuracy', 'mae')
    """
    for bound in BOUNDS:
        figure = figure.removesuffix(bound)
    return figure


def _value(figures: Mapping[str, Interval], name: str) -> float | None:
    """The figure or the bound of this name, `None` where it was not measured or is no number."""
    found: float | None = None
    if name in figures:
        found = figures[name].value
    elif name.endswith("_low"):
        found = figures[base_name(name)].low if base_name(name) in figures else None
    elif name.endswith("_high"):
        found = figures[base_name(name)].high if base_name(name) in figures else None
    return None if found is None or math.isnan(found) else found
