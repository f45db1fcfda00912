"""Brings what a batch came to into the journal, frees its requests, and deletes its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from luthier.batches.harvesting import Harvest, harvested
from luthier.batches.service import BatchNotFound, BatchService, endpoint_of
from luthier.batches.shards import folder_of
from luthier.engine.engine import Engine
from luthier.errors import EndpointError
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch
from luthier.providers.exchange import Answer

__all__ = ["clean_up", "collect"]


def collect(
    batch: StoredBatch,
    service: BatchService,
    table: BatchTable,
    engine: Engine,
    *,
    proved: bool = False,
    note: Callable[[bytes, Answer], None] = lambda key, answer: None,
) -> tuple[StoredBatch, Harvest]:
    """What a batch that has ended brought; all of it is in the journal.

    Args:
        batch: in the state `ended`.
        service: has its files.
        table: where it is released.
        engine: whose journal is filled.
        proved: whether the endpoint has answered requests like these.
        note: is told of every request that is settled.
    """
    folder = folder_of(batch)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = []
    for kind, identity in (("output", batch.output_id), ("error", batch.error_id)):
        if identity is not None:
            file = folder / f"{kind}.jsonl"
            try:
                service.download(identity, file)
            except BatchNotFound:
                continue  # deleted or expired at the service: its requests are asked again
            files.append(file)
    harvest = harvested(
        batch,
        endpoint_of(batch),
        files,
        table.keys(batch),
        engine.journal,
        engine.pricing,
        service.secrets,
        proved=proved,
        note=note,
    )
    for model in harvest.models:
        engine.journal.saw_snapshot(batch.address, batch.model, model)
    # What a person ended, and what the service never began, was not tried.
    untried = batch.was_refused or harvest.common is not None or batch.status in ("cancelled", "canceled")
    batch = table.release(
        batch,
        harvest.settled,
        counts=not untried,
        answered=harvest.answered,
        refused=harvest.failed,
        spent_usd=harvest.spent_usd,
    )
    return clean_up(batch, service, table), harvest


def clean_up(batch: StoredBatch, service: BatchService, table: BatchTable) -> StoredBatch:
    """Deletes a batch's files at the service and here; where the service is away, a later command does."""
    try:
        for file in (batch.file_id, batch.output_id, batch.error_id):
            if file is not None:
                service.delete(file)
    except EndpointError:
        return batch
    shutil.rmtree(folder_of(batch), ignore_errors=True)
    return table.advance(batch, "closed")
