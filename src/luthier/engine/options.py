"""What the options of the verbs are: one record, from the command to the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, Unpack

from luthier.engine.ask_options import AskOptions, OptionFields
from luthier.engine.budget import Budget
from luthier.engine.default_engine import engine_given
from luthier.engine.engine import Engine
from luthier.engine.report import Report

__all__ = ["DEFAULTS", "RunOptions"]


class RunFields(OptionFields, total=False):
    """The fields of `RunOptions` as keywords, without the budget."""

    engine: Engine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(AskOptions):
    """What a verb may spend, what it asks again, who is told, and which engine asks.

    Examples:
        >>> from luthier.engine.budget import Budget
        >>> options = RunOptions(budget=Budget(1.00), fresh=True)
        >>> options.budget.cap_usd, options.retry_failed
        (1.0, False)

    Attributes:
        engine: asks the models; the process's own when absent.
    """

    engine: Engine | None = None

    @classmethod
    def within(cls, budget_usd: float | None, **fields: Unpack[RunFields]) -> Self:
        """Options with a budget of so many US dollars, none where that is absent.

        Args:
            budget_usd: most that may be spent.
            fields: the other options.

        Raises:
            UserError: the budget is negative or no number.
        """
        return cls(budget=None if budget_usd is None else Budget(budget_usd), **fields)

    @property
    def budget_usd(self) -> float | None:
        """Most that may be spent, in US dollars; `None` without a budget."""
        return None if self.budget is None else self.budget.cap_usd

    def asking_engine(self) -> Engine:
        """The engine, the process's own where none was given.

        Raises:
            UserError: something else was given.
        """
        return engine_given(self.engine)

    def for_command(self) -> Self:
        """The options for one command: what its parts ask is counted in one report, and asked again once at most."""
        return replace(
            self,
            report=Report() if self.report is None else self.report,
            asked=set() if self.asked is None else self.asked,
            collected=set() if self.collected is None else self.collected,
        )


DEFAULTS = RunOptions()
"""No budget and no display; answers of the journal are used, and the process's own engine asks."""
