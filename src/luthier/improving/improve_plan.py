"""What a search for a better prompt would send and cost, as far as that is known before anything is proposed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from luthier.plans import Bounds, Plan, PlannedSpec
from luthier.providers.prices import dollars

__all__ = ["ImprovePlan", "like_the_start"]

LONGER = 1.5
"""How much longer than the first prompt a proposed one is taken to be."""


@dataclass(frozen=True, repr=False)
class ImprovePlan(Plan):
    """The first round and the last measurement; rounds go on until the budget is used.

    Attributes:
        least_usd: the smallest budget that pays for a round and the last measurement; `None` where a price is unknown.
    """

    least_usd: float | None = None

    @property
    def cost_usd_high(self) -> float | None:
        """Price of everything at most: the budget."""
        return super().cost_usd_high if self.budget_usd is None else self.budget_usd

    @property
    def offers_batches(self) -> bool:
        """Whether batches could be used: a round waits for the answers of the one before."""
        return False

    def __str__(self) -> str:
        lines = [str(spec) for spec in self.specs if spec.asks or spec.known]
        if self.budget_usd is None:
            lines.append("further rounds: until several in a row bring no better prompt; there is no budget")
        else:
            lines.append(
                f"in all: at most the budget of {dollars(self.budget_usd)}, the price of the last measurement set "
                "aside; answers that the journal has count towards it"
            )
        return "\n".join(lines)


def like_the_start(start: PlannedSpec, name: str, count: int, longer: float = LONGER) -> PlannedSpec:
    """At most `count` prompts that are asked what the first one is asked, somewhat longer.

    Args:
        start: what the first prompt would send if the journal had nothing.
        name: what they are called.
        count: how many.
        longer: times as long as the first they may be.
    """

    def times(value: float | None, by: float) -> float | None:
        return None if value is None else value * by

    calls, texts = start.calls.high * count, start.texts.high * count
    tokens = start.output_tokens
    return replace(
        start,
        name=name,
        calls=Bounds(0, calls),
        texts=Bounds(0, texts),
        input_tokens=Bounds(0, round(start.input_tokens.high * count * longer)),
        likely_input_tokens=round(start.likely_input_tokens * count),
        output_tokens=None if tokens is None else tokens * count,
        cost_usd=times(start.cost_usd, count),
        cost_usd_low=times(start.cost_usd_low, 0.0),
        cost_usd_high=times(start.cost_usd_high, count * longer),
        seconds=times(start.seconds, count),
    )
