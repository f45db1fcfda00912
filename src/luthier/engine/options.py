"""On what terms the verbs ask models: one record, from the command to the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from luthier.engine.ask_options import AskOptions
from luthier.engine.engine import Engine, engine_given
from luthier.engine.report import Report

__all__ = ["RunOptions"]


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
        )
