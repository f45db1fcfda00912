"""Which batches are open, and how one is given up."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

from luthier.batches.collecting import clean_up, collect
from luthier.batches.exclusive import alone
from luthier.batches.sending import discard
from luthier.batches.service import BatchNotFound, BatchService, ServiceBatch, endpoint_of
from luthier.batches.shards import folder_of
from luthier.engine.default_engine import engine_given
from luthier.engine.engine import Engine
from luthier.errors import UserError
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch

__all__ = ["cancel_batch", "open_batches"]

PATIENCE_SECONDS = 10.0
"""How long a batch that is being cancelled is waited for; services take up to ten minutes."""

LOOK_SECONDS = 0.5


def open_batches(engine: Engine | None = None) -> list[StoredBatch]:
    """The batches whose answers are still to come, oldest first, as they were when they were last looked at.

    Args:
        engine: whose journal is meant; the process's own when absent.
    """
    journal = engine_given(engine).journal
    if journal.path is None or not journal.path.exists():
        return []
    return [batch for batch in BatchTable(journal).open() if batch.is_open]


def cancel_batch(token: str, engine: Engine | None = None, *, forget: bool = False) -> StoredBatch:
    """Gives a batch up. What the service answered until then is billed, and is kept.

    Args:
        token: of the batch, or the service's name for it.
        engine: whose journal is meant; the process's own when absent.
        forget: do not ask the service, as where its key is gone: what it has answered is lost.

    Returns:
        The batch. While it is still open the service is ending it: the same call later collects what it answered.

    Raises:
        UserError: there is no such open batch.
        EndpointError: the service cannot be reached.
    """
    engine = engine_given(engine)
    batches = open_batches(engine)
    batch = next((one for one in batches if token in (one.token, one.batch_id)), None)
    if batch is None:
        known = ", ".join(one.token for one in batches) or "none"
        raise UserError(f"there is no open batch {token!r}; open are: {known}.")
    table = BatchTable(engine.journal)
    with alone(engine):
        # Another process may have gone on with it.
        (batch,) = table.find([batch.number]) or [batch]
        if forget:
            return _forgotten(batch, table)
        service = BatchService(endpoint_of(batch))
        try:
            return _cancelled(batch, service, table, engine)
        finally:
            service.close()


def _cancelled(batch: StoredBatch, service: BatchService, table: BatchTable, engine: Engine) -> StoredBatch:
    if batch.state in ("writing", "written", "uploaded"):
        found = [] if batch.sent is None else service.find(batch.token, batch.file_id, batch.created)
        if not found:
            discard(table, batch, service)
            return _forgotten(batch, None)
        batch = table.advance(batch, "created", batch_id=found[0].id, status=found[0].status)
    if batch.state == "created":
        try:
            now = _ended(service, str(batch.batch_id))
        except BatchNotFound:
            return _forgotten(batch, table)
        batch = table.advance(batch, status=now.status, completed=now.completed, failed=now.failed)
        if not now.ended:
            return batch
        batch = table.advance(batch, "ended", output_id=now.output_id, error_id=now.error_id, said=now.said)
    if batch.state == "ended":
        batch, _ = collect(batch, service, table, engine)
        return batch
    return clean_up(batch, service, table)


def _ended(service: BatchService, batch: str) -> ServiceBatch:
    """The batch once the service has ended it, or as it is when that takes long."""
    now, begun = service.cancel(batch), time.monotonic()
    while not now.ended and time.monotonic() - begun < PATIENCE_SECONDS:
        time.sleep(LOOK_SECONDS)
        now = service.poll(batch)
    return now


def _forgotten(batch: StoredBatch, table: BatchTable | None) -> StoredBatch:
    if table is None:
        return replace(batch, state="closed", status="cancelled")
    shutil.rmtree(folder_of(batch), ignore_errors=True)
    return table.advance(table.release(batch, (), counts=False, status="cancelled"), "closed")
