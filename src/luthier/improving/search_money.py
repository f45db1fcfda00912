"""The budget of a search: what was used of it, and what is kept for the last measurement.

Every answer that the search uses counts with what it cost when it was asked, also one that the journal had. So a search
that was interrupted comes to the same decisions when it runs again, and both runs together stay within the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from luthier.engine.report import Report
from luthier.errors import BudgetReached
from luthier.providers.prices import dollars

__all__ = ["SearchMoney"]

Kind = Literal["rows", "writer"]
"""What is asked: rows of a prompt, or the writer for instructions."""

MARGIN = 1.5
"""How much dearer answers to come may be than those so far, as parts of the most that each could have cost."""

SLACK = 1e-9
"""US dollars by which sums of floats may be off."""


class SearchMoney:
    """What a search has used and may use.

    Args:
        cap_usd: the budget; `None` without one.
        report: counts what is asked.
    """

    def __init__(self, cap_usd: float | None, report: Report) -> None:
        self.cap_usd, self._report = cap_usd, report
        self.used_usd = self.kept_usd = 0.0
        self._came_to: dict[str, tuple[float, float]] = {}

    @contextmanager
    def using(self, most_usd: float = 0.0, kind: Kind = "rows") -> Iterator[None]:
        """Counts what the block asks, which could cost so much at most."""
        before = self._all_usd
        try:
            yield
        finally:
            usd = self._all_usd - before
            self.used_usd += usd
            if most_usd > 0:
                came, most = self._came_to.get(kind, (0.0, 0.0))
                self._came_to[kind] = came + usd, most + most_usd

    def expected(self, most_usd: float | None, kind: Kind = "rows") -> float:
        """What to hold ready for requests that could cost so much at most, by what their kind has cost so far."""
        if most_usd is None:
            return 0.0
        came, most = self._came_to.get(kind, (1.0, 1.0))
        return most_usd * min(1.0, MARGIN * came / most)

    def reaches(self, usd: float, keeping_usd: float | None = None) -> bool:
        """Whether so much can be used, and what is kept is left all the same."""
        keeping = self.kept_usd if keeping_usd is None else keeping_usd
        return self.cap_usd is None or self.used_usd + usd + keeping <= self.cap_usd + SLACK

    def check(self, usd: float, what: str) -> None:
        """Refuses what the budget does not reach for.

        Raises:
            BudgetReached: it does not.
        """
        if not self.reaches(usd):
            assert self.cap_usd is not None
            raise BudgetReached(
                f"the budget of {dollars(self.cap_usd)} does not reach for {what}: {dollars(self.used_usd)} is used "
                f"and {dollars(self.kept_usd)} is kept for the last measurement."
            )

    @property
    def _all_usd(self) -> float:
        return self._report.spent_usd + self._report.saved_usd
