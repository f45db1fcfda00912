"""The journal as one engine uses it: answers that are known, questions other processes are asking, commits in groups.

Two processes with one journal ask each question once. An engine leases the keys it is about to ask; for a key that
another process has leased it waits until the answer is there or the lease is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from luthier.engine.ask_options import FINAL, AskOptions
from luthier.engine.endpoint_queue import Call, PendingRequest
from luthier.engine.estimates import Pricing
from luthier.engine.rounds import Group
from luthier.errors import UserError
from luthier.journal.journal import Journal, JournalEntry
from luthier.journal.leases import Owner
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, FailureKind, Request
from luthier.providers.keys import answer_key, answer_keys, key_prefix
from luthier.providers.tokens import request_units
from luthier.replies.reading import Unreadable, read_answer

__all__ = ["MOST_UNCOMMITTED", "UNWRITABLE", "Found", "SharedJournal", "entry_of"]

Result = TypeVar("Result")
Found = JournalEntry | Answer
"""What is known of a key: the journal's entry, or an answer that came while the journal was being read."""

log = logging.getLogger("luthier.engine")

COMMIT_SECONDS = 0.01
COMMIT_ANSWERS = 64
MOST_UNCOMMITTED = COMMIT_ANSWERS
"""Answers that may await their commit beside the requests in flight: as many more are asked again after `kill -9`."""

LOOK_SECONDS = 0.25
RENEW_SECONDS = 15.0
QUIET_SECONDS = 5.0


UNWRITABLE = Answer(failure="permanent", error="the request cannot be written as JSON")
"""The answer to a request whose body holds NaN, or an object that is no plain value."""


class SharedJournal:
    """The leases, lookups and commits of one engine, on its loop.

    A journal in memory is not shared, so nothing is leased there. A commit for each answer would cost more than
    asking, and one for all would lose too much: answers are gathered for 10 ms or 64 of them.

    Args:
        pricing: for counts and costs that entries lack.
        settle: told what the journal has by now for a request that waits for another process; False if that does not
            settle it.
        start: sends a request that is this engine's to ask now.
        stop: told which call ends because the journal failed.
    """

    def __init__(
        self,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        pricing: Pricing,
        settle: Callable[[PendingRequest, JournalEntry], bool],
        start: Callable[[PendingRequest], None],
        stop: Callable[[Call, UserError], None],
    ) -> None:
        self.journal, self._loop, self._pricing = journal, loop, pricing
        self._settle, self._start, self._stop = settle, start, stop
        self._readers: dict[object, tuple[set[bytes], dict[bytes, Answer]]] = {}
        self._owner: Owner | None = None
        self._leased: set[bytes] = set()
        self._elsewhere: dict[bytes, PendingRequest] = {}
        self._leasing = asyncio.Lock()
        self._look_timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._renewed = self._heard = 0.0
        self._said = False
        self._uncommitted: list[tuple[JournalEntry, bytes, Callable[[UserError | None], None]]] = []
        self._ending: list[tuple[Owner, bytes]] = []
        self._ending_keys: set[bytes] = set()
        self._commit_timer: asyncio.TimerHandle | None = None

    # Reading

    async def read(self, question: Callable[..., Result], *about: Any) -> Result:
        """Asks the journal without making the loop wait for a file that another program may have locked."""
        if self.journal.path is None:
            return question(*about)
        return await self._loop.run_in_executor(None, question, *about)

    def write_soon(self, statement: Callable[..., None], *about: Any) -> None:
        """Has the journal write something that no call waits for."""
        if self.journal.commits_at_once:
            statement(*about)
            return
        with suppress(RuntimeError):  # no new threads while the program ends
            self._loop.run_in_executor(None, statement, *about)

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Found]:
        """What is known of these keys."""
        if not keys:
            return {}
        with self._noting(keys) as settled:
            found = await self.read(self.journal.lookup, keys)
        return {**found, **settled}

    async def known(self, group: Group, identity: str | None, options: AskOptions) -> list[Answer | None]:
        """The journal's answers, in order; `None` for one that is missing, a failure for one that can never be sent."""
        if identity is None:
            return [None] * len(group.requests)
        keys = answer_keys(key_prefix(group.endpoint, identity), group.requests)
        about = {key: request for key, request in zip(keys, group.requests, strict=True) if key is not None}
        found = await self.find([key for key in about if options.accepts_journaled(key)])
        read = self.answers(found, about, group.endpoint, options)
        return [UNWRITABLE if key is None else read.get(key) for key in keys]

    def answer(self, found: Found, request: Request, endpoint: Endpoint, retry_failed: bool) -> Answer | None:
        """The answer that was found, `None` where the request is to be asked again.

        The journal keeps bodies as they came and they are read anew, so that better readers reach old answers too.
        """
        if isinstance(found, Answer):
            return found
        if found.state == "answered" and found.body is not None:
            try:
                answer = read_answer(found.body, found.operation)  # type: ignore[arg-type]
            except Unreadable:
                return None
            usage, cost = answer.usage, found.cost_usd
            if usage.estimated and found.input_tokens:
                usage = replace(usage, input_tokens=found.input_tokens, output_tokens=found.output_tokens)
            elif usage.estimated or not found.input_tokens:
                # Earlier versions counted nothing where they could not read the counts.
                usage = self._pricing.guess(endpoint).completed(usage, request_units(request))
                cost = None if cost is None else self._pricing.prices.cost(endpoint, usage, answer.model)
            latency = found.latency_seconds
            return replace(answer, usage=usage, cost_usd=cost, latency_seconds=latency, from_journal=True)
        if found.state == "failed" and found.failure in FINAL and not retry_failed:
            failure: FailureKind = "content" if found.failure == "content" else "permanent"
            return Answer(failure=failure, status=found.status, error=found.error, from_journal=True)
        return None

    def answers(
        self, found: dict[bytes, Found], about: dict[bytes, Request], endpoint: Endpoint, options: AskOptions
    ) -> dict[bytes, Answer]:
        """Those of the answers found that do under these options."""
        known = {}
        for key, each in found.items():
            if isinstance(each, Answer) or options.accepts_journaled(key):
                answer = self.answer(each, about[key], endpoint, options.retries_failed(key))
                if answer is not None:
                    known[key] = answer
        return known

    def settled(self, key: bytes, answer: Answer) -> None:
        """A request is settled; told to those who are reading the journal at this moment."""
        for keys, settled in self._readers.values():
            if key in keys:
                settled[key] = replace(answer, from_journal=True)

    @contextmanager
    def _noting(self, keys: Sequence[bytes]) -> Iterator[dict[bytes, Answer]]:
        # What is settled while the journal is being read is in neither the journal's answer nor in flight.
        settled: dict[bytes, Answer] = {}
        reader = object()
        self._readers[reader] = set(keys), settled
        try:
            yield settled
        finally:
            del self._readers[reader]

    # Leases

    async def claim(self, keys: Sequence[bytes]) -> tuple[set[bytes], dict[bytes, Found]]:
        """Leases these keys; returns those that another process is asking, and what is known by now of others."""
        if self.journal.path is None or not keys:
            return set(), {}
        leasing = self._loop.create_task(self._lease(keys))
        try:
            with self._noting(keys) as settled:
                held, found = await asyncio.shield(leasing)
        except asyncio.CancelledError:
            # The journal leases them all the same, and no call would end those leases.
            leasing.add_done_callback(partial(self._release_leased, keys))
            raise
        return held, {**found, **settled}

    async def _lease(self, keys: Sequence[bytes]) -> tuple[set[bytes], dict[bytes, JournalEntry]]:
        # One at a time: the first one enters the owner.
        async with self._leasing:
            if not self._ending_keys.isdisjoint(keys):
                # A lease that is taken while an earlier one on its key is about to end would end with it.
                await self.committed()
            lease = await self._loop.run_in_executor(None, self.journal.lease, keys, self._owner)
            self._owner, self._renewed = lease.owner, self._loop.time()
        self._leased.update(key for key in keys if key not in lease.held)
        self._watch()
        return lease.held, lease.found

    def _release_leased(
        self, keys: Sequence[bytes], leasing: asyncio.Task[tuple[set[bytes], dict[bytes, JournalEntry]]]
    ) -> None:
        if not leasing.cancelled() and leasing.exception() is None:
            held, _ = leasing.result()
            self.release([key for key in keys if key not in held])

    def release(self, keys: Sequence[bytes]) -> None:
        """Ends the leases on keys that are not asked any more."""
        ending = self._end_leases(keys)
        if ending:
            self._ending += ending
            self._ending_keys.update(key for _, key in ending)
            self._flush_soon()

    def _end_leases(self, keys: Sequence[bytes]) -> list[tuple[Owner, bytes]]:
        if self._owner is None:
            return []
        ending = [key for key in keys if key in self._leased]
        self._leased.difference_update(ending)
        return [(self._owner, key) for key in ending]

    # Waiting for other processes

    def wait_for(self, pending: PendingRequest) -> None:
        """Another process asks the same: its answer is taken when it is there, or the request is sent after all."""
        if not self._elsewhere:
            self._heard, self._said = self._loop.time(), False
        pending.state, pending.elsewhere_since = "elsewhere", time.time()
        self._elsewhere[pending.key] = pending
        self._watch()

    def waiting(self, call: Call) -> list[PendingRequest]:
        """Requests of a call that wait for another process."""
        return [pending for pending in self._elsewhere.values() if pending.call is call]

    def forget(self, pending: PendingRequest) -> None:
        """No call waits for the request any more."""
        if self._elsewhere.get(pending.key) is pending:
            del self._elsewhere[pending.key]

    def _watch(self) -> None:
        if self._look_timer is None and (self._leased or self._elsewhere):
            self._look_timer = self._loop.call_later(LOOK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._look_timer = None
        is_due = self._elsewhere or self._loop.time() - self._renewed > RENEW_SECONDS
        if is_due and self._looking is None:
            self._looking = self._loop.create_task(self._look())
        else:
            self._watch()

    async def _look(self) -> None:
        try:
            if self._elsewhere:
                await self._look_elsewhere()
            elif self._owner is not None:
                self._renewed = self._loop.time()
                await self._loop.run_in_executor(None, self.journal.renew, self._owner)
        except RuntimeError:  # no new threads while the program ends
            self._leased.clear()
            self._elsewhere.clear()
        except UserError as error:
            for call in {pending.call for pending in self._elsewhere.values()}:
                self._stop(call, error)
        finally:
            self._looking = None
            self._watch()

    async def _look_elsewhere(self) -> None:
        waiting = list(self._elsewhere)
        held, found = await self.claim(waiting)
        for key in waiting:
            if key in held:
                continue
            pending = self._elsewhere.pop(key, None)
            if pending is None:
                self.release([key])
                continue
            self._heard, self._said = self._loop.time(), False
            entry = found.get(key)
            if not isinstance(entry, JournalEntry) or not self._settle(pending, entry):
                self._start(pending)
        if self._elsewhere and not self._said and self._loop.time() - self._heard > QUIET_SECONDS:
            self._said = True
            count = f"{len(self._elsewhere):,}"
            log.warning("waiting for %s answers that another process with the same journal is asking for", count)

    # Committing

    def keep(self, entry: JournalEntry, key: bytes, committed: Callable[[UserError | None], None] | None) -> None:
        """Commits an entry soon, and ends the lease on the key that was asked.

        `committed` is called on the loop when the entry is safe, or with the error; it is `None` where nothing waits.
        """
        if self.journal.commits_at_once:
            self.journal.put([entry])
            if committed is not None:
                self._loop.call_soon(committed, None)
            return
        self._uncommitted.append((entry, key, committed or _nothing_waits))
        if len(self._uncommitted) >= COMMIT_ANSWERS:
            self.flush()
        else:
            self._flush_soon()

    async def committed(self) -> None:
        """Returns when all that was handed in until now is in the journal, or could not be."""
        self.flush()
        reached = asyncio.Event()
        self.journal.submit([], partial(self._on_loop, reached.set))
        await reached.wait()

    def flush(self) -> None:
        """Hands what waits to the journal now."""
        if self._commit_timer is not None:
            self._commit_timer.cancel()
            self._commit_timer = None
        batch, self._uncommitted = self._uncommitted, []
        ending, self._ending = [*self._ending, *self._end_leases([key for _, key, _ in batch])], []
        if not batch and not ending:
            return

        def tell(error: UserError | None) -> None:
            self._ending_keys.difference_update(key for _, key in ending)
            for _, _, committed in batch:
                committed(error)

        self.journal.submit([entry for entry, _, _ in batch], lambda error: self._on_loop(partial(tell, error)), ending)

    def _flush_soon(self) -> None:
        if self._commit_timer is None:
            self._commit_timer = self._loop.call_later(COMMIT_SECONDS, self.flush)

    def _on_loop(self, tell: Callable[[], object], _: UserError | None = None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    def close(self) -> None:
        """Commits what waits, and waits for no other process any more. The leases end with the journal."""
        self.flush()
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None
        self._leased.clear()
        self._elsewhere.clear()


def entry_of(
    pending: PendingRequest, answer: Answer, status: int | None, body: bytes | None = None, identity: str = ""
) -> JournalEntry:
    """What the journal keeps of a request; `identity` is the model that answered, where that is not the one asked."""
    endpoint, key = pending.call.endpoint, pending.key
    if identity and identity != pending.identity:
        key = answer_key(key_prefix(endpoint, identity), pending.request)
    return JournalEntry(
        key=key,
        state="answered" if answer.failure is None else "failed",
        operation=pending.request.operation,
        identity=identity or pending.identity,
        model=endpoint.model,
        failure=answer.failure,
        reported_model=answer.model,
        status=status,
        body=body,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cost_usd=answer.cost_usd,
        latency_seconds=answer.latency_seconds,
        error=answer.error,
    )


def _nothing_waits(error: UserError | None) -> None:
    """For an entry whose answer was handed out before: should it not be kept, its row is asked again."""
