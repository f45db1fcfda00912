"""Gates: requirements on a figure, or on a bound of its interval."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gate"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One requirement and how it came out.

    Attributes:
        requirement: as it was written.
        metric: name of the figure.
        measured: its own value.
        wanted: the value it must reach.
        rows: rows it was measured on.
        passed: whether it holds.
    """

    requirement: str
    metric: str
    measured: float
    wanted: float
    rows: int
    passed: bool
