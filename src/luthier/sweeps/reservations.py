"""Reservations: money is set aside for a trial before anything of it is bought, over all machines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from luthier.errors import BudgetReached, UserError
from luthier.providers.prices import dollars
from luthier.sweeps.database import STUDIES, TRIALS_TABLE

__all__ = ["Reservations"]

ROUNDING_USD = 1e-9
"""Costs are sums of floats: a rounding error over the cap is the cap."""


class Reservations:
    """The money of one study: what its trials have cost, and what is set aside for those that run.

    What a trial cost takes the place of what was set aside for it; where its cost is unknown, that stays set aside, so
    that the budget holds.

    Args:
        study: its name.
    """

    def __init__(self, study: str) -> None:
        self._of_study = TRIALS_TABLE.c.study == study
        self._winner = select(STUDIES.c.winner_usd).where(STUDIES.c.name == study)

    def spent_usd(self, connection: Connection) -> float:
        """What trials and the winner's measurement have cost, as far as it is known."""
        return self._sum(connection, TRIALS_TABLE.c.spent_usd) + float(connection.execute(self._winner).scalar() or 0.0)

    def reserved_usd(self, connection: Connection) -> float:
        """What is set aside."""
        return self._sum(connection, TRIALS_TABLE.c.reserved_usd)

    def check(
        self, connection: Connection, number: int, usd: float | None, budget_usd: float | None, keep_usd: float
    ) -> None:
        """Refuses a trial that the budget does not cover. To be called under the lock.

        Args:
            connection: of the transaction that sets the money aside.
            number: of the trial; what is set aside for it already does not count.
            usd: the most that it can cost; `None` when unknown.
            budget_usd: of the study; `None` for no cap.
            keep_usd: what must be left besides.

        Raises:
            BudgetReached: the budget does not cover it.
            UserError: the study has a budget, and the price is not known.
        """
        if budget_usd is None:
            return
        if usd is None:
            raise UserError(
                f"the sweep has a budget of {dollars(budget_usd)}, but what trial {number} can cost is not known. Put "
                "the prices into the endpoint: price: {input_usd_per_million: ..., output_usd_per_million: ..., "
                "training_usd_per_million: ...} (0 is a price)."
            )
        set_aside = self._sum(connection, TRIALS_TABLE.c.reserved_usd, TRIALS_TABLE.c.number != number)
        spent = self.spent_usd(connection)
        if spent + set_aside + usd + keep_usd > budget_usd + ROUNDING_USD:
            kept = f", and {dollars(keep_usd, up=True)} are kept for measuring the winner" if keep_usd else ""
            raise BudgetReached(
                f"of the sweep's budget of {dollars(budget_usd)}, {dollars(spent)} are spent and {dollars(set_aside)} "
                f"set aside{kept}; the next trial may cost {dollars(usd, up=True)}. To go on: raise --budget"
            )

    def _sum(self, connection: Connection, column: Any, *where: Any) -> float:
        return float(connection.execute(select(func.sum(column)).where(self._of_study, *where)).scalar() or 0.0)
