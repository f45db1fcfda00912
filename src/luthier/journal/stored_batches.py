"""The batches of a journal: which requests wait for the Batch API of a service, and how far each batch has come.

    writing --> written --> uploaded --> created --> ended --> harvested --> closed
       |           |                        |
       +-----------+-- discarded            +-- polled until the service has ended it

Every state is committed before the step that follows it is taken. A key belongs to one open batch at most, and no
engine asks it meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from luthier.errors import UserError

__all__ = ["COLUMNS", "BatchState", "StoredBatch", "batched_keys", "batches_where", "refuse_batched", "rows_of_keys"]

BatchState = Literal["writing", "written", "uploaded", "created", "ended", "harvested", "closed"]

KEYS_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch of requests, as the journal keeps it.

    Attributes:
        number: in its journal.
        token: what its file and the service's batch carry, so that both are found again.
        state: the last step that was taken; see above.
        purpose: what its answers are for, in words.
        endpoint: whom it asks, as JSON without any key.
        address: base URL of the endpoint.
        identity: name under which its answers are kept.
        lines: requests in it.
        bytes: size of its file.
        tokens: estimate of its input tokens, which services limit.
        most_usd: what it can cost at most; `None` when the price is unknown.
        created: when it was begun, in seconds since 1970.
        sent: when the service was last asked to begin it; `None` before that.
        file_id: of its input at the service.
        batch_id: the service's name for it.
        status: as the service last said; open to further words.
        completed: requests that the service has answered so far.
        failed: requests that it has refused so far.
        output_id: of the file of answers.
        error_id: of the file of failures.
        answered: requests whose answers were collected.
        refused: requests whose failures for good were collected.
        spent_usd: price of those answers; `None` when unknown.
        said: why the service ended it early.
    """

    number: int
    token: str
    state: BatchState
    purpose: str
    endpoint: str
    address: str
    model: str
    operation: str
    identity: str
    lines: int = 0
    bytes: int = 0
    tokens: int = 0
    most_usd: float | None = None
    created: float = 0.0
    sent: float | None = None
    file_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    completed: int = 0
    failed: int = 0
    output_id: str | None = None
    error_id: str | None = None
    answered: int = 0
    refused: int = 0
    spent_usd: float | None = None
    said: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its answers are still to come."""
        return self.state not in ("harvested", "closed")

    @property
    def was_refused(self) -> bool:
        """Whether the service refused it as a whole, and so bought nothing."""
        return self.status == "failed" and self.output_id is None and self.error_id is None

    @property
    def name(self) -> str:
        """The service's name for it, or its token while it has none."""
        return self.batch_id or self.token

    @property
    def summary(self) -> str:
        """Where it is and how far it has come, in one line."""
        status = self.status or {"writing": "being written", "written": "not sent yet"}.get(self.state, self.state)
        return f"{self.name} at {self.address}: {status}, {self.completed:,} of {self.lines:,} answered"

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"endpoint": json.loads(self.endpoint)}


COLUMNS = tuple(column.name for column in fields(StoredBatch))


def batched_keys(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Those of these keys that are in an open batch, with its number."""
    if connection.execute("SELECT 1 FROM batch_keys LIMIT 1").fetchone() is None:
        return {}
    rows = rows_of_keys(connection, "SELECT key, batch FROM batch_keys", keys)
    return {key: number for key, number in rows if number is not None}


def refuse_batched(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Refuses to have keys asked that wait in an open batch, as they would be paid for twice.

    Raises:
        UserError: says which batch, and what to type.
    """
    number = next(iter(batched_keys(connection, keys).values()), None)
    if number is None:
        return
    batch = batches_where(connection, "number = ?", number)[0]
    raise UserError(
        f"some of these requests are in a batch whose answers are still to come ({batch.purpose}; {batch.summary}); "
        "asked now, they would be paid for twice. Collect its answers by the same command with --mode batch, "
        f"or give the batch up: luthier batches cancel {batch.token}"
    )


def batches_where(connection: sqlite3.Connection, where: str, *values: object) -> list[StoredBatch]:
    """Batches that fit a condition, oldest first."""
    query = f"SELECT {', '.join(COLUMNS)} FROM batches WHERE {where} ORDER BY number"
    return [StoredBatch(*row) for row in connection.execute(query, values)]


def rows_of_keys(connection: sqlite3.Connection, select: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """What a query finds for keys, some at a time."""
    found: list[tuple[Any, ...]] = []
    for begin in range(0, len(keys), KEYS_A_QUERY):
        some = keys[begin : begin + KEYS_A_QUERY]
        found += connection.execute(f"{select} WHERE key IN ({','.join('?' * len(some))})", some)
    return found
