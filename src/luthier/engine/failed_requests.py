"""What becomes of a request whose HTTP call failed: it is sent again, is settled as failed, or stops its call."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Protocol

from luthier.engine.endpoint_queue import Call, PendingRequest, StopReason
from luthier.engine.exchanges import regrouped, split
from luthier.engine.retries import RETRYABLE, RetryPolicy
from luthier.engine.shared_journal import SharedJournal, entry_of
from luthier.errors import EndpointError
from luthier.journal.journal import JournalEntry
from luthier.providers import PROVIDERS
from luthier.providers.exchange import Answer
from luthier.providers.transport import Transport
from luthier.replies.cures import pool_error, stopping_error
from luthier.replies.failures import Verdict

__all__ = ["FailedRequests"]

log = logging.getLogger("luthier.engine")


class Settling(Protocol):
    """What a dispatcher does about a failed request once that is decided."""

    transport: Transport
    shared: SharedJournal

    def keep(self, pending: PendingRequest, entry: JournalEntry, answer: Answer) -> None:
        """Settles a request when its entry is safe in the journal."""

    def settle(self, pending: PendingRequest, answer: Answer) -> None:
        """Settles a request at once."""

    def take_over(self, pending: PendingRequest) -> bool:
        """Whether any call still waits for a request."""

    def stop_call(self, call: Call, reason: StopReason) -> None:
        """Sends nothing more for a call."""


class FailedRequests:
    """The failures of one dispatcher.

    Args:
        dispatcher: settles requests and stops calls.
        retries: how often and when a request is sent again.
    """

    def __init__(self, dispatcher: Settling, retries: RetryPolicy) -> None:
        self._dispatcher, self._retries = dispatcher, retries

    async def take(self, pending: PendingRequest, verdict: Verdict) -> None:
        """Queues the request again, splits its HTTP call, settles it as failed, or stops its call."""
        call, cause = pending.call, pending.call.cause
        pending.refund()
        self._tell_limiter(pending, verdict)
        if verdict.by_words and (call.queue.is_pool or cause.is_disproved("every_row") or cause.in_flight > 1):
            # The words may be about this row after all: others were answered, or will tell in a moment.
            verdict = replace(verdict, kind="permanent", cause=None, suspected=verdict.cause, by_words=False)
        stopping = self._retries.stopping(pending, verdict)
        elsewhere = waits = False
        if call.queue.is_pool:
            verdict = stopping or verdict
            elsewhere = self._goes_elsewhere(pending, verdict)
            stopping = None if elsewhere else self._stopping_pool(pending, verdict)
            waits = not elsewhere and stopping is None and verdict.cause is not None
        if stopping is not None:
            verdict = stopping
            if call.stop_reason is None:
                # What the journal has of an endpoint that is unreachable is worth going on with.
                self._dispatcher.stop_call(call, "outage" if verdict.cause == "unreachable" else "error")
                call.error = await self._error(call, verdict)
        elif pending.companions and verdict.kind not in RETRYABLE and not (elsewhere or waits):
            self._split(pending, verdict)
            return
        halves, again, over = pending.split, list[PendingRequest](), list[PendingRequest]()
        for member in pending.disband():
            if (elsewhere or waits) and verdict.kind not in RETRYABLE:
                # It says nothing about the row, and another endpoint has not told it to slow down.
                member.uncounted_attempts += 1
                member.told_to_wait_at = math.inf
            may = stopping is None and (verdict.kind in RETRYABLE or elsewhere or waits)
            goes_on = may and self._dispatcher.take_over(member) and self._retries.allows(member)
            (again if goes_on else over).append(member)
            if goes_on and verdict.suspected is not None and not elsewhere:
                cause.suspect(verdict, member.key)
        for some in regrouped(again):
            some.split = halves
            wait = 0.0 if elsewhere else self._retries.wait_seconds(some, verdict)
            if not elsewhere:
                for member in some.members:
                    member.tried.clear()
            if verdict.unreachable and not call.queue.is_pool:
                some.permit.lane.limiter.hold(wait)
            log.debug("sent again in %.2f s: %s", wait, verdict.message)
            some.call.retried(wait)
            self._queue_again(some, wait)
        for member in over:
            answer = Answer(failure=verdict.kind, status=verdict.status, error=verdict.message)
            if not member.journaled or verdict.cause is not None:
                # What stops a call says nothing about the row: it is asked again next time.
                self._dispatcher.settle(member, answer)
                continue
            entry = entry_of(member, answer, verdict.status)
            cause.failed_otherwise = cause.failed_otherwise or verdict.suspected is None
            if verdict.suspected is None or cause.suspect(verdict, member.key, entry):
                self._dispatcher.keep(member, entry, answer)
            else:
                # Nothing was answered yet: every row may meet it. The next ones come from elsewhere in the table.
                call.unsent.rotate(-(len(call.unsent) // 3))
                self._dispatcher.settle(member, answer)

    def _tell_limiter(self, pending: PendingRequest, verdict: Verdict) -> None:
        permit = pending.permit
        told = verdict.kind == "rate_limit"
        if told or (verdict.kind == "transient" and verdict.retry_after_seconds is not None):
            self._retries.told_to_wait(pending)
        if told:
            permit.lane.limiter.refused(permit.ticket, verdict.scarce)
            for report in pending.call.reports:
                report.rate_limited += 1
        elif verdict.kind == "transient":
            permit.lane.limiter.failed()

    # Several endpoints

    def _goes_elsewhere(self, pending: PendingRequest, verdict: Verdict) -> bool:
        """Whether another endpoint is asked at once; the one that failed is left out where the fault is its own."""
        call, permit = pending.call, pending.permit
        if verdict.cause is not None or verdict.kind == "transient":
            if permit.lane.failed(verdict, is_trial=permit.is_trial):
                call.left_out(permit.lane, verdict)
        elif verdict.suspected is None:
            # It is there: it tells of the rate, or what is wrong with this row.
            permit.lane.works(is_trial=permit.is_trial)
        if verdict.kind not in RETRYABLE and verdict.cause is None and verdict.suspected is None:
            return False
        for member in pending.members:
            member.tried[permit.lane] = verdict
        return any(lane not in pending.tried and not lane.closed_seconds for lane in call.queue.lanes)

    def _stopping_pool(self, pending: PendingRequest, verdict: Verdict) -> Verdict | None:
        """The verdict that stops the call, where none of its endpoints is in use and waiting is of no use."""
        faults = [lane.fault for lane in pending.call.queue.lanes]
        if None in faults:
            return None
        if all(fault is not None and fault.is_lasting for fault in faults):
            return verdict
        # Those that may come back are waited for as long as one endpoint would be.
        if verdict.cause is not None or self._retries.allows(pending):
            return None
        return replace(verdict, cause="unreachable")

    async def _error(self, call: Call, verdict: Verdict) -> EndpointError:
        if not call.queue.is_pool:
            return stopping_error(verdict, call.endpoint, await self._listed(call, verdict))
        pool = zip(call.endpoint.pool, call.queue.lanes, strict=True)
        return pool_error([(one, lane.fault.verdict if lane.fault is not None else verdict) for one, lane in pool])

    async def _listed(self, call: Call, verdict: Verdict) -> list[str] | None:
        if verdict.cause != "unknown_model":
            return None
        provider = PROVIDERS[call.endpoint.provider]
        return await provider.listed_models(call.endpoint, self._dispatcher.transport)

    def answered_after(self, pending: PendingRequest) -> None:
        """A request is answered: endpoints that had refused it as if every row would meet that were wrong."""
        for lane, verdict in pending.tried.items():
            if verdict.suspected is not None and lane is not pending.permit.lane and lane.misjudged(verdict):
                pending.call.left_out(lane, verdict)

    # Sent again

    def _split(self, pending: PendingRequest, verdict: Verdict) -> None:
        """An HTTP call was refused for good: its texts are sent in smaller ones, until the one at fault is alone."""
        for members, halves in split(pending, verdict.message):
            staying = []
            for member in members:
                member.uncounted_attempts += 1
                if self._dispatcher.take_over(member):
                    staying.append(member)
                else:
                    self._dispatcher.settle(member, Answer(failure="stopped", error="not sent again"))
            for some in regrouped(staying):
                some.split = halves
                self._queue_again(some, 0.0)

    def _queue_again(self, pending: PendingRequest, wait_seconds: float) -> None:
        queue, permit = pending.call.queue, pending.permit
        queue.add_again(pending, wait_seconds)
        permit.release(len(pending.members))
        if permit.lane not in queue.lanes:
            queue.pump()

    def judge_together(self, call: Call) -> None:
        """Stops a call whose requests all fail alike; the rows are asked again when the cause is removed."""
        found = call.cause.conclusion(is_over=call.is_over) if call.stop_reason is None else None
        if found is None:
            call.queue.pump()
            return
        verdict, entries = found
        # They were kept as the rows' own while that was what they looked like.
        for entry in entries if call.cause.is_disproved(verdict.suspected) else ():
            self._dispatcher.shared.keep(replace(entry, failure="transient"), entry.key, None)
        shown = replace(verdict, cause=verdict.suspected)
        one_alone = stopping_error(shown, call.endpoint)
        call.error = pool_error([(one, shown) for one in call.endpoint.pool]) if call.queue.is_pool else one_alone
        self._dispatcher.stop_call(call, "error")
