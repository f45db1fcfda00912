"""What may be sent to a service now: as much as the budget allows, and as its queue takes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from luthier.batches.settings import BatchSettings
from luthier.batches.shards import BatchedModel, ShardWriter
from luthier.engine.budget import Budget
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch

__all__ = ["Allowance"]

LIMIT = re.compile(r"\blimit:?\s+(?:is\s+)?([\d,]{3,})", re.IGNORECASE)
"""As OpenAI and Azure say it: "Limit: 2,000,000 enqueued tokens"."""

Place = tuple[str, str]
"""Address and model, which share a queue at the service."""


class Allowance:
    """The money that batches are reserved, and the tokens that wait at each service.

    Args:
        table: the batches there are.
        budget: what may be spent; `None` for no limit.
        settings: the known limit of the services' queues.
    """

    def __init__(self, table: BatchTable, budget: Budget | None, settings: BatchSettings) -> None:
        self._table, self.budget, self._settings = table, budget, settings
        self._reserved: dict[int, float] = {}
        self._limits: dict[Place, float] = {}
        self._full: set[Place] = set()
        self._running: Counter[Place] = Counter()

    # The service's queue

    def count_running(self, *, anew: bool = False) -> None:
        """Adds up the tokens that wait at the services; `anew` forgets that a queue was full."""
        if anew:
            self._full.clear()
        self._running.clear()
        for batch in self._table.open():
            if batch.state == "created":
                self._running[_place(batch)] += batch.tokens

    def refused(self, batch: StoredBatch, said: str | None) -> None:
        """The service's queue is full: learns how much it takes from what the service said, or from what runs there."""
        self.count_running()
        place = _place(batch)
        self._full.add(place)
        named = LIMIT.search(said or "")
        running = self._running[place] - (batch.tokens if batch.state == "created" else 0)
        limit = float(named[1].replace(",", "")) if named else float(running or batch.tokens / 2)
        # What was refused within the limit is counted otherwise there, or others use the account too.
        self._limits[place] = min(limit, 0.8 * self._limits.get(place, math.inf))

    def is_full(self, batch: StoredBatch) -> bool:
        """Whether the service's queue was full just now."""
        return _place(batch) in self._full

    def spare_tokens(self, writers: Mapping[BatchedModel, ShardWriter], model: BatchedModel) -> float | None:
        """Tokens that a model's service takes beyond what runs and what is being written; `None` for no limit."""
        place = (model.endpoint.address, model.endpoint.model)
        if place in self._full:
            return 0.0
        limits = [limit for limit in (self._settings.enqueued_tokens, self._limits.get(place)) if limit is not None]
        if not limits:
            return None
        written = sum(
            writer.size.tokens
            for other, writer in writers.items()
            if (other.endpoint.address, other.endpoint.model) == place
        )
        # A single request that is larger than the limit is for the service to refuse.
        busy = self._running[place] + written
        return min(limits) - busy if busy else None

    # Money

    def spare_usd(self, writers: Mapping[BatchedModel, ShardWriter]) -> float | None:
        """What may be spent beyond what is reserved and what is being written; `None` for no limit."""
        if self.budget is None:
            return None
        return self.budget.left_usd - sum(writer.size.most_usd for writer in writers.values())

    def affords(self, batch: StoredBatch) -> bool:
        """Whether the budget has room for a batch that was not ordered yet."""
        if self.budget is None or batch.number in self._reserved:
            return True
        return (batch.most_usd or 0.0) <= self.budget.left_usd + 1e-12

    def reserve(self, batch: StoredBatch) -> None:
        """Sets aside what a batch may cost. What an earlier command ordered is bought, whatever this one may spend."""
        if self.budget is None or batch.number in self._reserved:
            return
        amount = min(batch.most_usd or 0.0, max(0.0, self.budget.left_usd))
        if self.budget.reserve(amount):
            self._reserved[batch.number] = amount

    def settle(self, batch: StoredBatch, true_usd: float) -> None:
        """Books what a batch came to."""
        if self.budget is not None and batch.number in self._reserved:
            self.budget.settle(self._reserved.pop(batch.number), true_usd)


def _place(batch: StoredBatch) -> Place:
    return batch.address, batch.model
