"""Cohorts: groups of rows, told apart by their columns, on which a model does worse than on the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luthier.evaluation.resampling import Interval

__all__ = ["Cohort", "CohortSearch", "Filter"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column.

    Attributes:
        column: name of a feature or of a column of the table.
        relation: `>` and `<=` for numbers, `=` for a value of a column of texts.
        value: what the cell is held against.
    """

    column: str
    relation: Literal[">", "<=", "="]
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:,.6g}"
        return f"{self.column} {self.relation} {value}"


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows that meet every filter, and how the model does on them; figures are of the confirming rows alone.

    Attributes:
        filters: one to three conditions, all of which hold.
        rows: how many of the confirming rows meet them.
        share: their share of the confirming rows, 0 to 1.
        error_rate: share of them that is wrong.
        rest: share of the other confirming rows that is wrong.
        difference: `error_rate` minus `rest`, with its 95% interval.
        p: one-sided, for "not worse than the rest", uncorrected.
        corrected: the same after Holm's correction over every candidate that was tested.
        confirmed: whether `corrected` is below 0.05.
    """

    filters: tuple[Filter, ...]
    rows: int
    share: float
    error_rate: Interval
    rest: Interval
    difference: Interval
    p: float
    corrected: float
    confirmed: bool

    def __str__(self) -> str:
        return " and ".join(str(one) for one in self.filters)


@dataclass(frozen=True, slots=True)
class CohortSearch:
    """What a search for the worst cohorts came to.

    Attributes:
        cohorts: the confirmed ones, most wrong first, then candidates that the other rows did not confirm.
        searched_rows: rows the candidates were found on.
        confirming_rows: the other rows, which the figures are of.
        columns: columns that were searched.
        smallest: fewest confirming rows a cohort may have.
        notes: what a reader should know, such as columns left out.
    """

    cohorts: tuple[Cohort, ...]
    searched_rows: int
    confirming_rows: int
    columns: tuple[str, ...]
    smallest: int
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[Cohort, ...]:
        """The cohorts that both halves of the rows agree on."""
        return tuple(one for one in self.cohorts if one.confirmed)
