"""Asks by the Batch API: collects what has ended, orders what is lacking, waits or comes back later.

    +--> collect the batches that have ended --> what is lacking? -- nothing --> complete
    |                                                 |
    |                                        into batches, in the order of `sending.py`
    |                                                 |
    +------ wait until one has ended <----------------+---- without waiting: come back later

Each batch is taken through the states of `StoredBatch`, so that a process that is killed at any moment is continued by
the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any

from luthier.batches.allowance import Allowance
from luthier.batches.collecting import clean_up, collect
from luthier.batches.exclusive import alone
from luthier.batches.outcome import BatchOutcome, Round, counted_by_status, outcome_of
from luthier.batches.sending import QueueFull, discard, send_on
from luthier.batches.service import BatchNotFound, BatchService, endpoint_of
from luthier.batches.settings import BatchSettings
from luthier.batches.shards import BatchedModel, ShardWriter, input_of, line_of
from luthier.engine.ask_options import GuardedProgress
from luthier.engine.options import RunOptions
from luthier.errors import EndpointError, UserError
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Operation, Request
from luthier.providers.keys import answer_key, key_prefix
from luthier.providers.prices import price_needed
from luthier.replies.cures import stopping_error
from luthier.replies.sdk_errors import ServiceUnavailable

__all__ = ["BatchOutcome", "ask_by_batch"]

USUAL = BatchSettings()
Lacking = Callable[[], Iterable[tuple[Request, Endpoint]]]

LOOK_SECONDS = 0.2
FIRST_POLL_SECONDS = 1.0
LONGEST_OUTAGE_SECONDS = 600.0
"""How long a service may be away while its batches are waited for."""


def ask_by_batch(
    lacking: Lacking, options: RunOptions, *, wait: bool, purpose: str, settings: BatchSettings = USUAL
) -> BatchOutcome:
    """Has the journal filled by the Batch API of the services that are asked.

    Args:
        lacking: requests that the journal has no answer to, with whom to ask. Called again whenever answers were
            collected, as a technique may ask in rounds.
        options: what may be spent, what is asked again, who is told, and whose journal is filled.
        wait: whether to return only when nothing is lacking any more, which takes up to a day for each round.
        purpose: what the answers are for, in words; a later call with the same purpose collects them.
        settings: sizes and times.

    Raises:
        BudgetReached: the budget does not allow any further batch.
        EndpointError: a service refuses the batches, or cannot be reached; what was bought is not lost.
        Interrupted: a signal came; batches that run are collected by a later call.
        UserError: the journal is in memory, or a budget was given and a price is unknown.
    """
    run = _BatchRun(options, wait, purpose, settings)
    try:
        return run.until_complete(lacking)
    finally:
        run.close()


class _BatchRun:
    def __init__(self, options: RunOptions, wait: bool, purpose: str, settings: BatchSettings) -> None:
        self._engine, self._options = options.asking_engine(), options
        self._wait, self._purpose, self._settings = wait, purpose, settings
        self._table = BatchTable(self._engine.journal)
        self._progress = GuardedProgress(options.progress)
        self._services: dict[str, BatchService] = {}
        self._models: dict[tuple[str, str], BatchedModel] = {}
        self._known_models: dict[tuple[int, str], tuple[Endpoint, BatchedModel]] = {}
        self._mine: set[int] = set()
        self._taken_on: set[int] = set()
        self._interval_seconds = 0.0
        self._allowance = Allowance(self._table, options.budget, settings)
        self._away_since: float | None = None
        self._was_reached = False

    def until_complete(self, lacking: Lacking) -> BatchOutcome:
        while True:
            with self._alone():
                self._resume()
                found = self._order(lacking())
                if self._take_on_found():
                    continue
            running = [batch for batch in self._batches() if batch.is_open]
            if found.nothing_left and not running:
                self._table.forget_attempts(found.spent)
                return outcome_of(True, self._batches(), found)
            if not running and found.unsent["money"] and self._options.budget is not None:
                outcome = outcome_of(False, self._batches(), found)
                raise self._options.budget.reached(outcome.answered, outcome.requests)
            if not self._wait:
                return outcome_of(False, self._batches(), found)
            self._wait_for_news(found)

    def close(self) -> None:
        for service in self._services.values():
            service.close()

    # Batches that exist

    def _resume(self) -> None:
        """Takes up what earlier processes left, and collects what has ended."""
        for batch in self._table.open():
            if batch.state == "writing":
                discard(self._table, batch, None)
            elif batch.state == "harvested":
                with suppress(UserError):  # the next command tries again
                    clean_up(batch, self._service(batch), self._table)
            elif batch.purpose == self._purpose or batch.number in self._mine:
                self._take_on(batch)

    def _take_on_found(self) -> bool:
        """Takes up batches made for another purpose that hold some of these requests; whether one was collected."""
        found = [batch for batch in self._batches() if batch.is_open and batch.number not in self._taken_on]
        collected = [self._take_on(batch) for batch in found]
        return any(collected)

    def _take_on(self, batch: StoredBatch) -> bool:
        """Goes on with a batch from where it is; returns whether it was collected."""
        self._mine.add(batch.number)
        self._taken_on.add(batch.number)
        if batch.state in ("created", "ended"):
            self._allowance.reserve(batch)
            return self._look_at(batch)
        gone = batch.state == "written" and not input_of(batch).exists()
        if batch.sent is None and (gone or not self._allowance.affords(batch)):
            # Nothing was bought; its requests go into another batch, as far as the budget allows.
            self._drop(batch, self._service(batch))
            return True
        self._allowance.reserve(batch)
        return not self._send(batch, resumed=True)

    def _look_at(self, batch: StoredBatch) -> bool:
        """Asks the service how far a batch is, and collects it if it has ended; returns whether it has."""
        try:
            has_ended = self._looked_at(batch)
        except ServiceUnavailable as error:
            self._bear(error)
            return False
        self._away_since = None
        return has_ended

    def _bear(self, outage: ServiceUnavailable) -> None:
        """While batches are waited for, a service that was reached before may be away for a while."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if not self._wait or not self._was_reached or now - self._away_since > LONGEST_OUTAGE_SECONDS:
            raise outage

    def _looked_at(self, batch: StoredBatch) -> bool:
        if batch.state == "created":
            try:
                now = self._service(batch).poll(str(batch.batch_id))
            except BatchNotFound as error:
                raise EndpointError(
                    f"{error} It is a batch of {batch.lines:,} requests ({batch.purpose}). If the key is another "
                    "account's or project's, set the right one. If the batch was deleted, have its requests asked "
                    f"again: luthier batches cancel {batch.token}"
                ) from error
            self._was_reached = True
            counts: dict[str, Any] = {"status": now.status, "completed": now.completed, "failed": now.failed}
            if not now.ended:
                self._table.advance(batch, **counts)
                return False
            files = {"output_id": now.output_id, "error_id": now.error_id, "said": now.said}
            batch = self._table.advance(batch, "ended", **counts, **files)
            if now.queue_full and batch.was_refused:
                self._allowance.refused(batch, now.said)
        self._collect(batch)
        return True

    def _collect(self, batch: StoredBatch) -> None:
        service = self._service(batch)
        proved = any(other.answered for other in self._batches())
        batch, harvest = collect(batch, service, self._table, self._engine, proved=proved, note=self._note)
        self._allowance.settle(batch, harvest.spent_usd or 0.0)
        if harvest.renamed:
            # Requests of the next round are kept under what the deployment is now.
            self._models.clear()
            self._known_models.clear()
            operation: Operation = batch.operation  # type: ignore[assignment]
            self._engine.identity(endpoint_of(batch), operation, self._options, anew=True)
        if harvest.common is not None:
            raise stopping_error(harvest.common, endpoint_of(batch))
        if batch.was_refused and not self._allowance.is_full(batch):
            raise EndpointError(
                f"{batch.address} refused a batch of {batch.lines:,} requests ({batch.said or 'it does not say why'}). "
                "Nothing was bought. Remove the cause, then run the same command again."
            )

    def _note(self, key: bytes, answer: Answer) -> None:
        self._options.note(key, answer)
        if self._options.collected is not None:
            self._options.collected.add(key)

    # Batches that are made

    def _order(self, lacking: Iterable[tuple[Request, Endpoint]]) -> Round:
        """Puts requests into batches and sends them, as far as money and the service's queue allow."""
        self._allowance.count_running(anew=True)
        found = Round()
        writers: dict[BatchedModel, ShardWriter] = {}
        try:
            for request, endpoint in lacking:
                model = self._model(endpoint, request.operation)
                try:
                    key = answer_key(model.prefix, request)
                except (ValueError, TypeError):
                    found.unwritable += 1  # what scores the rows says so
                    continue
                self._engine.raise_if_interrupted()
                self._add(writers, model, request, key, found)
            for writer in writers.values():
                self._finish(writer, found)
        finally:
            for writer in writers.values():
                writer.abandon()
        return found

    def _add(
        self, writers: dict[BatchedModel, ShardWriter], model: BatchedModel, request: Request, key: bytes, found: Round
    ) -> None:
        pricing, endpoint = self._engine.pricing, model.endpoint
        units, _ = pricing.size(request, endpoint)
        most_usd = pricing.most_usd(request, endpoint, units, model.reported, batched=True)
        line = line_of(request, key, model, pricing.guess(endpoint).tokens_of(units), most_usd)
        writer = writers.get(model)
        if writer is None:
            writer = writers[model] = self._writer(model)
        why = writer.refuses(line, self._allowance.spare_usd(writers), self._allowance.spare_tokens(writers, model))
        if why == "full":
            self._finish(writer, found)
            writer = writers[model] = self._writer(model)
            why = writer.refuses(line, self._allowance.spare_usd(writers), self._allowance.spare_tokens(writers, model))
        if why is None:
            writer.add(line)
        else:
            found.unsent[why] += 1

    def _writer(self, model: BatchedModel) -> ShardWriter:
        options = self._options
        return ShardWriter(
            self._table,
            model,
            self._purpose,
            self._settings,
            fresh=options.fresh,
            retry_failed=options.retry_failed,
            asked=options.asked or (),
        )

    def _finish(self, writer: ShardWriter, found: Round) -> None:
        batch = writer.finish()
        found.elsewhere += writer.found.elsewhere
        found.spent |= writer.found.spent
        self._mine |= writer.found.batches
        if batch is not None:
            self._mine.add(batch.number)
            self._taken_on.add(batch.number)
            self._allowance.reserve(batch)
            if not self._send(batch, resumed=False):
                found.unsent["tokens"] += batch.lines
            self._allowance.count_running()

    def _send(self, batch: StoredBatch, *, resumed: bool) -> bool:
        """Has the service begin a batch; False if its queue is full, and the requests wait for their turn."""
        service = self._service(batch)
        try:
            send_on(self._table, batch, service, endpoint_of(batch), self._settings, self._pause, resumed=resumed)
        except QueueFull as error:
            self._allowance.refused(batch, str(error))
            self._drop(batch, service)
            return False
        except ServiceUnavailable as error:
            self._bear(error)
            return True
        except EndpointError:
            self._drop(batch, service)
            raise
        self._was_reached = True
        return True

    def _drop(self, batch: StoredBatch, service: BatchService) -> None:
        self._allowance.settle(batch, 0.0)
        (now,) = self._table.find([batch.number])
        discard(self._table, now, service)
        self._mine.discard(batch.number)

    # Waiting

    def _wait_for_news(self, found: Round) -> None:
        """Returns when there is something to collect or to order."""
        running = {batch.number for batch in self._batches() if batch.is_open}
        while True:
            self._tell_progress()
            self._interval_seconds = min(
                max(FIRST_POLL_SECONDS, 1.5 * self._interval_seconds), self._settings.poll_seconds
            )
            self._pause(self._interval_seconds)
            with self._alone():
                for batch in self._batches():
                    if batch.is_open:
                        self._take_on(batch)
            left = {batch.number for batch in self._batches() if batch.is_open}
            has_news, running = left < running, left
            if has_news:
                self._interval_seconds = 0.0
            if not left or (has_news and found.unsent.total()):
                self._tell_progress()
                return

    def _tell_progress(self) -> None:
        batches = self._batches()
        total = sum(batch.lines for batch in batches)
        done = sum(batch.lines if not batch.is_open else batch.completed + batch.failed for batch in batches)
        said = counted_by_status(batches)
        self._progress.tell(lambda shown: shown.working("batch", done, total or None, said))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._engine.raise_if_interrupted()
            time.sleep(min(left, LOOK_SECONDS))

    def _alone(self) -> AbstractContextManager[None]:
        said = "another process orders batches"

        def waits() -> None:
            self._progress.tell(lambda shown: shown.working("batch", 0, None, said))

        return alone(self._engine, waits)

    # What is known

    def _batches(self) -> list[StoredBatch]:
        return self._table.find(self._mine)

    def _service(self, batch: StoredBatch) -> BatchService:
        service = self._services.get(batch.endpoint)
        if service is None:
            service = self._services[batch.endpoint] = BatchService(endpoint_of(batch))
        return service

    def _identity(self, endpoint: Endpoint, operation: Operation) -> str:
        try:
            return self._engine.identity(endpoint, operation, self._options)
        except EndpointError as error:
            if endpoint.provider != "azure" or endpoint.identity:
                raise
            raise EndpointError(
                f"{error} A deployment of the type Global Batch answers batches only: name the model behind it in the "
                "endpoint, as in identity: gpt-4o-mini-2024-07-18."
            ) from error

    def _model(self, endpoint: Endpoint, operation: Operation) -> BatchedModel:
        known = self._known_models.get((id(endpoint), operation))
        if known is not None:
            return known[1]
        written = (endpoint.model_dump_json(), operation)
        model = self._models.get(written)
        if model is None:
            BatchService(endpoint)  # refuses a provider without batches
            if operation == "decision" and endpoint.provider in ("openai", "azure"):
                raise UserError(
                    f"{endpoint.label} takes chats, completions and embeddings by batch, and no decisions. "
                    "Ask it with --mode live."
                )
            endpoint.key()
            identity = self._identity(endpoint, operation)
            reported = self._engine.journal.snapshot(endpoint.address, endpoint.model)
            if self._options.budget is not None and not self._engine.prices.known(endpoint, reported):
                raise price_needed(endpoint)
            model = BatchedModel(endpoint, operation, identity, key_prefix(endpoint, identity), reported)
            self._models[written] = model
        self._known_models[id(endpoint), operation] = endpoint, model
        return model
