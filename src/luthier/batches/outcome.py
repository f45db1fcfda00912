"""How far batches have come, as a record and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from luthier.journal.stored_batches import StoredBatch
from luthier.providers.prices import dollars, sum_if_known

__all__ = ["BatchOutcome", "Round", "counted_by_status", "outcome_of"]


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """How far batches have come.

    Attributes:
        complete: whether nothing is lacking any more, or everything that is lacking was tried often enough.
        batches: those that were ordered or collected, oldest first.
        requests: in them, and those that are not in a batch yet.
        answered: requests whose answers were collected.
        failed: requests that failed for good or were tried often enough.
        spent_usd: price of the answers collected; `None` when one is unknown.
        said: all this in words.
    """

    complete: bool
    batches: tuple[StoredBatch, ...]
    requests: int
    answered: int
    failed: int
    spent_usd: float | None
    said: str


@dataclass(slots=True)
class Round:
    """What one pass over the lacking requests came to.

    Attributes:
        unsent: requests that are in no batch yet, by the reason: `money` or `tokens`.
        elsewhere: requests that an engine is asking at this moment.
        spent: keys of those that were in as many batches as a request may be.
        unwritable: requests that cannot be written as JSON.
    """

    unsent: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    spent: set[bytes] = field(default_factory=set)
    unwritable: int = 0

    @property
    def nothing_left(self) -> bool:
        """Whether every request is answered, in a batch, or given up."""
        return not (self.unsent.total() or self.elsewhere)


def outcome_of(complete: bool, batches: Sequence[StoredBatch], found: Round) -> BatchOutcome:
    """What to tell of batches and of a pass over what is lacking."""
    answered = sum(batch.answered for batch in batches)
    failed = sum(batch.refused for batch in batches) + len(found.spent) + found.unwritable
    running = [batch for batch in batches if batch.is_open]
    unsent = found.unsent.total() + found.elsewhere
    requests = answered + failed + sum(batch.lines for batch in running) + unsent
    spent_usd = sum_if_known(batch.spent_usd for batch in batches if not batch.is_open)
    if not requests:
        return BatchOutcome(complete, (), 0, 0, 0, 0.0, "The journal lacks no answer.")
    said = f"{requests:,} requests in batches: {answered:,} answered, {failed:,} without an answer"
    said += f"; {'price unknown' if spent_usd is None else dollars(spent_usd)} spent."
    if running:
        said += f" Still to come: {counted_by_status(running)}, each within 24 hours of its beginning."
    if found.unsent["tokens"]:
        said += f" {found.unsent['tokens']:,} requests wait until the service takes more."
    if found.unsent["money"]:
        said += f" {found.unsent['money']:,} requests are more than the budget allows."
    if not complete:
        said += " Run the same command again to collect the answers."
    return BatchOutcome(complete, tuple(batches), requests, answered, failed, spent_usd, said)


def counted_by_status(batches: Iterable[StoredBatch]) -> str:
    """How many batches there are, and in which states."""
    counts = Counter(batch.status or batch.state for batch in batches)
    batches_of = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items()]
    return f"{counts.total()} {'batch' if counts.total() == 1 else 'batches'} ({', '.join(batches_of)})"
