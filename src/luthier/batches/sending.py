"""Takes a written batch to its service, from whatever step an earlier process was killed at; it is bought once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress

from luthier.batches.service import BatchService, ServiceBatch, says_queue_full
from luthier.batches.settings import BatchSettings
from luthier.batches.shards import folder_of, input_of
from luthier.errors import EndpointError
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Operation
from luthier.replies.late_listing import listed_by
from luthier.replies.sdk_errors import OutcomeUnknown, ServiceUnavailable

__all__ = ["QueueFull", "discard", "send_on"]

TRIES_SECONDS = (1.0, 4.0)
"""Waits before a further try."""

MOST_FILE_SECONDS = 1800.0
"""How long Azure may look through a file before a batch can use it."""

Pause = Callable[[float], None]


class QueueFull(EndpointError):
    """The service takes no more tokens until some of its batches have ended; nothing was bought."""


def send_on(
    table: BatchTable,
    batch: StoredBatch,
    service: BatchService,
    endpoint: Endpoint,
    settings: BatchSettings,
    pause: Pause,
    *,
    resumed: bool,
) -> StoredBatch:
    """The batch once the service has begun it.

    Args:
        table: where each step is written before it is taken.
        batch: in the state `written` or `uploaded`.
        service: who is to answer it.
        endpoint: of the service.
        settings: how patient to be.
        pause: waits so many seconds, unless the command is stopped.
        resumed: whether an earlier process may have taken the next step.

    Raises:
        QueueFull: too many tokens wait at the service already.
        ServiceUnavailable: it could not be reached; the batch stays as it is and can be sent on later.
        EndpointError: it refuses; nothing was bought.
    """
    if batch.state == "written":
        file_id = _uploaded(batch, service, pause, resumed=resumed)
        if endpoint.provider == "azure":
            _wait_for_file(file_id, service, pause)
        batch, resumed = table.advance(batch, "uploaded", file_id=file_id), False
    made = None
    if resumed and batch.sent is not None:
        made = _look_for(service, batch, pause, until=batch.sent + settings.settle_seconds)
    if made is None:
        batch, made = _ordered(table, batch, service, settings, pause)
    return table.advance(batch, "created", batch_id=made.id, status=made.status)


def discard(table: BatchTable, batch: StoredBatch, service: BatchService | None) -> None:
    """Removes a batch that the service never began, here and, as far as it can be reached, there."""
    if service is not None and batch.file_id is not None:
        with suppress(EndpointError):  # a file that nothing uses costs nothing
            service.delete(batch.file_id)
    table.discard(batch)
    shutil.rmtree(folder_of(batch), ignore_errors=True)


def _uploaded(batch: StoredBatch, service: BatchService, pause: Pause, *, resumed: bool) -> str:
    file = input_of(batch)
    size = file.stat().st_size
    for wait in (*TRIES_SECONDS, None):
        if resumed:
            found = service.find_file(file.name, size)
            if found is not None:
                return found
        try:
            return service.upload(file)
        except ServiceUnavailable:
            if wait is None:
                raise
            resumed = True
            pause(wait)
    raise AssertionError("the last try either returns or raises")


def _wait_for_file(file: str, service: BatchService, pause: Pause) -> None:
    begun = time.time()
    while time.time() - begun < MOST_FILE_SECONDS:
        status, said = service.file_status(file)
        if status in ("error", "failed", "deleted"):
            raise EndpointError(f"the service refused the file of the batch ({said or status}); nothing was bought.")
        if status not in ("pending", "running", "notrunning", "uploaded"):
            return
        pause(2.0)


def _ordered(
    table: BatchTable, batch: StoredBatch, service: BatchService, settings: BatchSettings, pause: Pause
) -> tuple[StoredBatch, ServiceBatch]:
    operation: Operation = batch.operation  # type: ignore[assignment]
    for wait in (*TRIES_SECONDS, None):
        batch = table.advance(batch, "uploaded", sent=time.time())
        try:
            return batch, service.create(str(batch.file_id), operation, batch.token)
        except OutcomeUnknown as error:
            found = _look_for(service, batch, pause, until=time.time() + settings.settle_seconds)
            if found is not None:
                return batch, found
            if wait is None:
                raise OutcomeUnknown(
                    f"{error}. Whether the batch was begun is not known: none with the token {batch.token} has turned "
                    "up. Type the same command again: it looks for the batch first and orders it only if there is none."
                ) from error
        except EndpointError as error:
            if says_queue_full(error):
                raise QueueFull(str(error)) from error
            if wait is None or not isinstance(error, ServiceUnavailable):
                raise
            pause(wait)
    raise AssertionError("the last try either returns or raises")


def _look_for(service: BatchService, batch: StoredBatch, pause: Pause, until: float) -> ServiceBatch | None:
    """The service's batch with this token as soon as it lists it; `None` if it has not until then.

    Raises:
        ServiceUnavailable: the service could not say, so that nothing may be ordered.
    """
    found = listed_by(
        until, lambda: service.find(batch.token, batch.file_id, batch.created), clock=time.time, wait=pause
    )
    # There are two where an order that seemed lost was taken after all.
    for other in found[1:]:
        if not other.ended:
            service.cancel(other.id)
    return found[0] if found else None
