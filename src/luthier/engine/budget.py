"""A cap on spending: money is reserved before a request is sent and settled when its price is known."""

from __future__ import annotations

from collections.abc import Callable

from luthier.errors import BudgetReached, UserError
from luthier.providers.prices import dollars

__all__ = ["Budget"]


class Budget:
    """A cap in US dollars for one run, or shared by several on the same engine.

    The most a request can cost is reserved before it is sent, so that the cap holds as far as the
    token estimate does.

    Examples:
        >>> budget = Budget(1.00)
        >>> budget.reserve(0.75), budget.reserve(0.75)
        (True, False)
        >>> budget.settle(0.75, 0.01)
        >>> budget.spent_usd, budget.left_usd
        (0.01, 0.99)

    Args:
        usd: the cap.

    Raises:
        UserError: the cap is negative or no number.
    """

    def __init__(self, usd: float) -> None:
        if isinstance(usd, str) or not usd >= 0:
            raise UserError(f"a budget is an amount in US dollars, 0 or more; given: {usd!r}")
        self.cap_usd = float(usd)
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self.reservations = 0
        self._listeners: dict[object, Callable[[], None]] = {}

    @property
    def left_usd(self) -> float:
        """What is neither spent nor reserved."""
        return self.cap_usd - self.spent_usd - self.reserved_usd

    def reserve(self, usd: float) -> bool:
        """Sets money aside; False if there is not so much left."""
        # Costs are sums of floats: a rounding error over the cap is the cap.
        if usd > self.left_usd + 1e-12:
            return False
        self.reserved_usd += usd
        self.reservations += 1
        return True

    def settle(self, reserved_usd: float, true_usd: float) -> None:
        """Gives a reservation back and books what it came to."""
        self.reservations -= 1
        # Rounding errors must not look like a reservation that may come back.
        self.reserved_usd = self.reserved_usd - reserved_usd if self.reservations else 0.0
        self.spend(true_usd)

    def spend(self, usd: float) -> None:
        """Books an amount that was not reserved."""
        self.spent_usd += usd
        self.wake()

    def wake(self) -> None:
        """Tells those who wait for money that there may be some."""
        for wake in list(self._listeners.values()):
            wake()

    def listen(self, owner: object, wake: Callable[[], None] | None) -> None:
        """Calls `wake` whenever a reservation is settled; `None` ends that."""
        if wake is None:
            self._listeners.pop(owner, None)
        else:
            self._listeners[owner] = wake

    def reached(self, answered: int, total: int) -> BudgetReached:
        """The error that says how far the money went."""
        return BudgetReached(
            f"the budget of {dollars(self.cap_usd)} is reached: {dollars(self.spent_usd)} spent, {answered} of {total} "
            "requests of this step answered. Everything paid for is in the journal: run the same again with a "
            "larger budget, and only the rest is asked."
        )
