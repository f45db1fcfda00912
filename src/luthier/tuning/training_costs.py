"""What training costs: forecast before and while a job trains, and the bill of what it has trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from luthier.tuning.tuners.tuner import JobState

__all__ = ["CostForecast", "TrainingBill"]


@dataclass(frozen=True)
class CostForecast:
    """What a job is expected to cost, and how much it may.

    Attributes:
        price: `Tuner.estimate`.
        model: the base model as the spec names it; the service's own name for it when empty.
        tokens: estimated tokens of one epoch.
        quoted_usd: price of the whole job that the service named before it was bought; `None` where it named none.
    """

    price: Callable[[str, int, int | None], float | None]
    model: str = ""
    tokens: int | None = None
    budget_usd: float | None = None
    quoted_usd: float | None = None

    def planned_tokens(self, job: JobState) -> int | None:
        """Tokens of all epochs, once the service has said how many there are."""
        epochs = job.hyperparameters.get("epochs")
        return None if self.tokens is None or not isinstance(epochs, int | float) else round(self.tokens * epochs)

    def cost_usd(self, job: JobState) -> float | None:
        """Price of all epochs: the one the service names, else by their number, once the service has said it."""
        if (whole := self.whole_usd(job)) is not None:
            return whole
        epochs = job.hyperparameters.get("epochs")
        if self.tokens is None or not isinstance(epochs, int | float):
            return None
        return self.price(self.model or job.base_model, self.tokens, int(epochs))

    def cost_of_tokens_usd(self, job: JobState, tokens: int | None) -> float | None:
        """What the service says it charges, else the price of so many trained tokens, as a share of the job's price."""
        if job.billed_usd is not None:
            return job.billed_usd
        whole = self.whole_usd(job)
        if whole is not None and job.status == "succeeded":
            return whole
        if whole is not None and tokens is not None and (planned := self.planned_tokens(job)):
            return whole * tokens / planned
        return None if tokens is None else self.price(self.model or job.base_model, tokens, 1)

    def whole_usd(self, job: JobState) -> float | None:
        """Price of the whole job by the service's own word: with the job, else before it was bought."""
        return self.quoted_usd if job.quoted_usd is None else job.quoted_usd

    def planned_usd(self, job: JobState, tokens: int | None) -> float | None:
        """Price of so many planned tokens: the one the service named, else by the price of a token."""
        whole = self.whole_usd(job)
        if whole is not None or tokens is None:
            return whole
        return self.price(self.model or job.base_model, tokens, 1)


@dataclass(frozen=True)
class TrainingBill:
    """What a job is paid for, of what was planned.

    Attributes:
        planned_tokens: of all epochs; `None` while the service has not said how many there are.
        trained_tokens: paid for so far.
        estimated: whether `trained_tokens` follows from the last step that was reported, because the service does not
            say what it bills. A step that was taken after that is not in it.
        cost_usd: of the trained tokens; `None` when unknown, which is not 0.
        planned_usd: of the planned tokens.
    """

    planned_tokens: int | None = None
    trained_tokens: int | None = None
    estimated: bool = False
    cost_usd: float | None = None
    planned_usd: float | None = None

    @property
    def saved_usd(self) -> float | None:
        """Price of the planned tokens that were not trained."""
        if self.planned_usd is None or self.cost_usd is None:
            return None
        return max(0.0, self.planned_usd - self.cost_usd)

    @property
    def saved_tokens(self) -> int | None:
        """Planned tokens that were not trained."""
        if self.planned_tokens is None or self.trained_tokens is None:
            return None
        return max(0, self.planned_tokens - self.trained_tokens)
