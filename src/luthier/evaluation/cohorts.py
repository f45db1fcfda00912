"""Cohorts: groups of rows, told apart by their columns, on which a model does worse than on the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luthier.evaluation.resampling import Interval

__all__ = ["Cohort", "CohortMeasure", "CohortSearch", "Filter"]


CohortMeasure = Literal["error rate", "mean distance"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column.

    Attributes:
        column: name of a feature or of a column of the table.
        relation: `>` and `<=` for numbers and dates, `=` for a value of any other column; a missing cell meets neither
            `>` nor `<=`.
        value: what the cell is compared with; a date is written as in ISO 8601, a missing cell is `(missing)`.
    """

    column: str
    relation: Literal[">", "<=", "="]
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:,.6g}"
        return f"{self.column} {self.relation} {value}"


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows that meet every filter, and how the model does on them.

    It was found on one half of the rows. Every figure is of the other half, which had no part in finding it.

    Attributes:
        filters: one or two conditions, all of which hold.
        rows: how many rows of the other half meet them.
        share: their share of that half, 0 to 1.
        value: error rate or mean distance of these rows, as `CohortSearch.measure` says.
        rest: the same of the other rows of that half.
        difference: `value` minus `rest`, with its 95% interval.
        p: one-sided, for "not worse than the rest", uncorrected.
        corrected: the same after Holm's correction over every candidate that was tested.
        confirmed: whether `corrected` is below 0.05.
    """

    filters: tuple[Filter, ...]
    rows: int
    share: float
    value: Interval
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
        cohorts: the confirmed ones, worst first, then candidates that the other half did not confirm.
        measure: what `value` of a cohort is: the share of rows that is wrong, or the mean distance from the truth.
        rows: rows that were searched. Candidates are found on each half and tested on the other.
        tested: candidates that were tested, which is what p-values are corrected for.
        columns: columns that were searched.
        smallest: fewest rows of a half that a cohort may have.
        notes: what a reader should know, such as columns left out.
    """

    cohorts: tuple[Cohort, ...]
    measure: CohortMeasure
    rows: int
    tested: int
    columns: tuple[str, ...]
    smallest: int
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[Cohort, ...]:
        """The cohorts that both halves of the rows agree on."""
        return tuple(one for one in self.cohorts if one.confirmed)
