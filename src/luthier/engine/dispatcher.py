"""The engine's state machine, on its loop: sees every request from the call that asks it to the answer.

    request --> known ------------------------------------------------> answer     the journal has it
       |
       +------> elsewhere --> answered by another process ------------> answer     see `SharedJournal`
       |            |
       +------> queued --> in flight --> committed to the journal ----> answer     see `EndpointQueue`
                  ^            |
                  +-- waits ---+                                                   see `RetryPolicy`

A permit is given back when the answer arrives; no more than `MOST_UNCOMMITTED` answers await their commit without one.
Calls that ask the same wait for one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from luthier.engine.ask_options import AskOptions
from luthier.engine.endpoint_queue import LOOKAHEAD, Call, EndpointQueue, PendingRequest, StopReason
from luthier.engine.estimates import Pricing
from luthier.engine.exchanges import ExchangeObserver, observed_exchange, regrouped
from luthier.engine.failed_requests import FailedRequests
from luthier.engine.identities import Identities
from luthier.engine.lanes import Lane, Permit
from luthier.engine.limiter import Limiter
from luthier.engine.report import Report
from luthier.engine.retries import EngineSettings, RetryPolicy
from luthier.engine.shared_journal import MOST_UNCOMMITTED, UNWRITABLE, SharedJournal, entry_of
from luthier.errors import EndpointError, UserError
from luthier.journal.journal import Journal, JournalEntry
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request
from luthier.providers.keys import answer_keys, key_prefix
from luthier.providers.prices import price_needed
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply, shared_transport
from luthier.replies.failures import Verdict, unreadable
from luthier.replies.reading import ReplyPart, Unreadable

__all__ = ["Dispatcher"]

Account = tuple[str, str | None, str]


class Dispatcher:
    """Everything an engine has in memory. Lives and is touched on one loop only; a fork makes a new one."""

    def __init__(self, journal: Journal, settings: EngineSettings, report: Report, pricing: Pricing) -> None:
        self.settings, self.report, self.pricing = settings, report, pricing
        self.stopped: StopReason | None = None
        self._loop = asyncio.get_running_loop()
        self.transport = shared_transport()
        callbacks = self._settle_elsewhere, self._start, self._stop_by_error
        self.shared = SharedJournal(journal, self._loop, pricing, *callbacks)
        self._failed = FailedRequests(self, RetryPolicy(settings))
        self.identities = Identities(self.shared, settings, self._probe)
        self._lanes: dict[Account, Lane] = {}
        self._queues: dict[tuple[Account, ...], EndpointQueue] = {}
        self._pending: dict[bytes, PendingRequest] = {}
        self._calls: set[Call] = set()
        self._sending: dict[asyncio.Task[None], PendingRequest] = {}
        self._uncommitted = 0  # answers whose permit is given back and whose commit is awaited
        self.observer: ExchangeObserver | None = None

    # Asking

    async def ask(self, requests: Sequence[Request], endpoint: Endpoint, options: AskOptions) -> list[Answer]:
        """One answer per request, in order; the one implementation behind every way to ask."""
        reports = (self.report,) if options.report is None else (self.report, options.report)
        self.transport.read_proxies_again()
        if self.stopped is None:
            for one in endpoint.pool:
                await PROVIDERS[one.provider].prepare(one)
        for report in reports:
            report.requests += len(requests)
        if not requests:
            return []
        reported = await self._reported(endpoint, requests, options, reports) if self.stopped is None else None
        call = self._open(len(requests), endpoint, options, reports, reported)
        call.progress.tell(lambda progress: progress.expect(len(requests)))
        try:
            if self.stopped is not None:
                self.stop_call(call, self.stopped)
            else:
                await self._enqueue(call, requests)
            await call.done
        finally:
            self._close(call)
        if call.error is not None:
            # What the error explains must not be read as the rows' own failure by the next call.
            await self.shared.committed()
        return call.result()

    async def _reported(
        self, endpoint: Endpoint, requests: Sequence[Request], options: AskOptions, reports: Sequence[Report]
    ) -> str | None:
        reported, answer = await self.identities.reported(endpoint, requests[0].operation)
        if answer is not None:
            for report in reports:
                report.now.add(answer)
        if options.budget is not None:
            if answer is not None:
                options.budget.spend(answer.cost_usd or 0.0)
            for one in endpoint.pool:
                if self.stopped is None and not self.pricing.prices.known(one, reported):
                    raise price_needed(one)
        return reported

    def _open(
        self, count: int, endpoint: Endpoint, options: AskOptions, reports: Sequence[Report], model: str | None = None
    ) -> Call:
        queue = self.queue_of(endpoint)
        call = Call(endpoint, queue, [None] * count, self._loop.create_future(), options, reports, model)
        self._calls.add(call)
        if options.budget is not None:
            options.budget.listen(call, queue.pump)
        return call

    def _close(self, call: Call) -> None:
        self._calls.discard(call)
        if call.options.budget is not None:
            call.options.budget.listen(call, None)
        if not call.is_over:
            # The caller has left: what is in flight is still committed to the journal.
            self.stop_call(call, "left")
            if call.options.gives_up_at is not None:
                self._loop.call_at(call.options.gives_up_at, self._abandon)

    def _abandon(self) -> None:  # HTTP calls whose answers are no longer waited for
        for task, pending in list(self._sending.items()):
            if all(call.stop_reason == "left" for member in pending.members for call, _ in member.waiters):
                # A task that is cancelled before its first step never settles its request.
                self._loop.call_soon(task.cancel)

    def queue_of(self, endpoint: Endpoint) -> EndpointQueue:
        """What is to be sent there."""
        accounts = tuple(one.account for one in endpoint.pool)
        queue = self._queues.get(accounts)
        if queue is None:
            lanes = [self._lane(one) for one in endpoint.pool]
            clock = self.settings.clock
            queue = self._queues[accounts] = EndpointQueue(lanes, self._loop, clock, self._admit, self._launch)
        queue.configure(endpoint)
        return queue

    def _lane(self, endpoint: Endpoint) -> Lane:
        lane = self._lanes.get(endpoint.account)
        if lane is None:
            clock, cooldowns = self.settings.clock, self.settings.cooldowns
            limiter = Limiter(endpoint.limits, clock, self.settings.limits_share)
            lane = self._lanes[endpoint.account] = Lane(limiter, clock, *cooldowns)
        return lane

    async def _probe(self, request: Request, endpoint: Endpoint) -> Call:
        call = self._open(1, endpoint, AskOptions(), (self.report,))
        call.is_probe = True
        self._start(self._new_pending(call, 0, request))
        try:
            await call.done
        finally:
            self._close(call)
        return call

    # Known, elsewhere or queued

    async def _enqueue(self, call: Call, requests: Sequence[Request]) -> None:
        """Looks requests up some at a time, delivers what is known and queues the rest."""
        identity = PROVIDERS[call.endpoint.provider].identity(call.endpoint, call.reported_model)
        if identity is None:
            raise EndpointError(f"{call.endpoint.label} does not say which model it is; name one with `identity:`.")
        await self.identities.remember_last(call)
        prefix, options = key_prefix(call.endpoint, identity), call.options
        source = enumerate(requests)
        while call.stop_reason in (None, "outage") and (some := list(islice(source, LOOKAHEAD))):
            keys = answer_keys(prefix, [request for _, request in some])
            about = {key: request for (_, request), key in zip(some, keys, strict=True) if key is not None}
            found = await self.shared.find([key for key in about if options.accepts_journaled(key)])
            call.damaged += sum(isinstance(each, JournalEntry) and each.state == "damaged" for each in found.values())
            known = self.shared.answers(found, about, call.endpoint, options)
            unknown = [key for key in about if key not in known and key not in self._pending]
            held: set[bytes] = set()
            if call.stop_reason is None:
                held, late = await self.shared.claim(unknown)
                known |= self.shared.answers(late, about, call.endpoint, options)
            for (position, request), key in zip(some, keys, strict=True):
                if call.stop_reason not in (None, "outage"):
                    break
                if key is None:
                    call.deliver(position, UNWRITABLE)
                elif (answer := known.get(key)) is not None:
                    if answer.failure is None:
                        call.queue.known = call.cause.recorded = True
                    call.deliver(position, answer)
                elif (pending := self._pending.get(key)) is not None and call.stop_reason is None:
                    pending.waiters.append((call, position))
                elif call.stop_reason is None:
                    pending = self._pending[key] = self._new_pending(call, position, request, key, identity)
                    # What another process is asking already is not fresh enough for a call that wants it asked again.
                    if key in held and not options.fresh:
                        self.shared.wait_for(pending)
                    else:
                        call.queue.add(pending)
            self.shared.release([key for key in unknown if key not in self._pending])
            call.queue.pump()
            await call.lookahead.wait()
        call.is_enqueued = True
        if call.stop_reason is not None:
            self._give_up_unsent(call)

    def _new_pending(
        self, call: Call, position: int, request: Request, key: bytes = b"", identity: str = ""
    ) -> PendingRequest:
        pending = PendingRequest(key, request, identity, call, [(call, position)], journaled=bool(key))
        pending.units, pending.tokens = self.pricing.size(request, call.endpoint)
        return pending

    def _start(self, pending: PendingRequest) -> None:
        pending.call.queue.add(pending)
        pending.call.queue.pump()

    def _settle_elsewhere(self, pending: PendingRequest, entry: JournalEntry) -> bool:
        """Another process has asked the same; hands out what came of it, unless that has to be asked again."""
        retry = pending.call.options.retry_failed and entry.created < pending.elsewhere_since
        answer = self.shared.answer(entry, pending.request, pending.call.endpoint, retry)
        if answer is not None:
            self.settle(pending, answer)
        return answer is not None

    # In flight

    def _admit(self, pending: PendingRequest, endpoint: Endpoint) -> bool:
        """Reserves what an HTTP call to an endpoint may cost; False if there is not so much left."""
        budget = pending.call.options.budget
        if budget is None or self.pricing.reserve(pending, endpoint, budget):
            return True
        if not budget.reservations:
            # Nothing is in flight whose price could turn out lower than what was reserved for it.
            self.stop_call(pending.call, "budget")
        return False

    def _launch(self, pending: PendingRequest, permit: Permit) -> None:
        call, members = pending.call, pending.members
        call.cause.in_flight += 1
        call.cause.sent += 1
        permit.number = call.cause.sent
        for member in members:
            member.state, member.permit = "in_flight", permit
            member.attempts += 1
        for report in call.reports:
            report.sent += 1
            report.retries += pending.attempts > 1
        task = self._loop.create_task(self._send(pending))
        self._sending[task] = pending
        task.add_done_callback(self._sending.pop)

    async def _send(self, pending: PendingRequest) -> None:
        call, members, endpoint = pending.call, pending.members, pending.permit.endpoint
        provider = PROVIDERS[endpoint.provider]
        try:
            outcome = await observed_exchange(pending, provider, self.transport, self.observer)
            if isinstance(outcome, Verdict):
                await self._failed.take(pending, outcome)
            elif unread := self._succeed(pending, *outcome):
                reason = next(part for part in outcome[1] if isinstance(part, Unreadable))
                await self._failed.take(unread, unreadable(reason, provider.secrets(endpoint)))
        except BaseException as error:
            # A request that is never settled would keep its call waiting for ever.
            left = [member for member in members if member.state == "in_flight"]
            if left:
                pending.refund()
                self._stop_by_error(call, error)
            words = redact(f"{type(error).__name__}: {error}", provider.secrets(endpoint))
            for member in left:
                self.settle(member, Answer(failure="transient", error=words))
            if not isinstance(error, Exception):
                raise
        finally:
            call.cause.in_flight -= 1
            if call.cause.is_doubtful:
                self._failed.judge_together(call)

    def _succeed(
        self, pending: PendingRequest, reply: Reply, parts: Sequence[ReplyPart | Unreadable]
    ) -> PendingRequest | None:
        """Keeps what can be read; what cannot is returned, to be judged as an HTTP call of its own."""
        call, members, permit = pending.call, pending.members, pending.permit
        lane, endpoint = permit.lane, call.endpoint
        good = [(member, part) for member, part in zip(members, parts, strict=True) if isinstance(part, ReplyPart)]
        paid_usd, usage = self.pricing.settle(permit.endpoint, [(member.units, part) for member, part in good])
        pending.refund(paid_usd)
        used = 0 if usage.estimated else usage.input_tokens + usage.output_tokens
        lane.limiter.answered(permit.ticket, float(used) if used else None)
        if pending.split is not None and len(good) == len(members):
            pending.split.left -= 1
            if not pending.split.left:
                lane.takes_at_most(pending.split.texts)
        pending.disband()
        if good:
            lane.served(is_trial=permit.is_trial)
            call.answered_by(permit, len(good))
            for owed in call.cause.answer(permit.number):
                self.shared.keep(owed, owed.key, None)
            if good[0][0].journaled and (model := good[0][1].answer.model) is not None:
                self.identities.notice(call, permit.endpoint, model)
        for member, part in good:
            if member.tried:
                self._failed.answered_after(member)
            answer = replace(part.answer, latency_seconds=reply.latency_seconds)
            if not member.journaled:
                self.settle(member, answer)
                continue
            identity = PROVIDERS[endpoint.provider].identity(endpoint, answer.model) or member.identity
            if identity != member.identity:
                # Another model was deployed under the name meanwhile: its answer is not kept as the old one's.
                self.identities.forget(endpoint)
            self.keep(member, entry_of(member, answer, reply.status, part.body, identity), answer)
        bad = [member for member, part in zip(members, parts, strict=True) if not isinstance(part, ReplyPart)]
        return regrouped(bad)[0] if bad else None

    # Settled

    def keep(self, pending: PendingRequest, entry: JournalEntry, answer: Answer) -> None:
        """Settles a request when its entry is safe in the journal."""

        def committed(error: UserError | None) -> None:
            if error is not None:
                self._stop_by_error(pending.call, error)
            self.settle(pending, answer)

        self.shared.keep(entry, pending.key, committed)
        if self._uncommitted < MOST_UNCOMMITTED:
            self._uncommitted += 1
            pending.state = "answered"
            pending.permit.release()

    def settle(self, pending: PendingRequest, answer: Answer) -> None:
        """The answer is safe: every call that waits for it has it, and a permit still held is given back."""
        if pending.state == "settled":
            return  # an error that ended its HTTP call has settled it before
        was, pending.state = pending.state, "settled"
        self._uncommitted -= was == "answered"
        if self._pending.get(pending.key) is pending:
            del self._pending[pending.key]
            self.shared.release([pending.key])
        self.shared.settled(pending.key, answer)
        pending.deliver(answer)
        if was == "in_flight":
            pending.permit.release()

    # Stopping

    def stop_all(self, reason: StopReason) -> None:
        """Nothing new is sent from now on; what is in flight is completed."""
        self.stopped = reason
        for call in list(self._calls):
            self.stop_call(call, reason)

    def stop_call(self, call: Call, reason: StopReason) -> None:
        """Sends nothing more for a call; what it alone waited for and was not sent comes back as `stopped`."""
        if call.stop_reason is None:
            call.stop_reason = reason
        for pending in (*call.queue.withdraw(call), *self.shared.waiting(call)):
            if self.take_over(pending):
                if pending.state != "elsewhere":
                    self._start(pending)
            elif self._pending.get(pending.key) is pending:
                del self._pending[pending.key]
                self.shared.forget(pending)
                self.shared.release([pending.key])
        if reason != "outage" or call.is_enqueued:
            self._give_up_unsent(call)

    def _stop_by_error(self, call: Call, error: BaseException) -> None:
        """Stops a call; the error is raised when nothing of it is in flight any more."""
        # All calls on this account and model would fail the same way; each hears of it from its own requests.
        if call.error is None and call.stop_reason in (None, "error"):
            call.error = error
        self.stop_call(call, "error")

    def take_over(self, pending: PendingRequest) -> bool:
        """Whether any call still waits for a request; calls that stopped meanwhile have their answer now."""
        going_on = [(call, position) for call, position in pending.waiters if call.stop_reason is None]
        if not going_on:
            return False
        for call, position in pending.waiters:
            if call.stop_reason is not None:
                call.deliver(position, Answer(failure="stopped", error="not sent again"))
        pending.waiters = going_on
        if pending.call.stop_reason is not None:
            pending.call = going_on[0][0]
        return True

    def _give_up_unsent(self, call: Call) -> None:
        in_flight = {
            position
            for pending in self._pending.values()
            if pending.state in ("in_flight", "answered")
            for waiting, position in pending.waiters
            if waiting is call
        }
        for position, answer in enumerate(call.answers):
            if answer is None and position not in in_flight:
                call.deliver(position, Answer(failure="stopped", error="not sent"))

    async def close(self) -> None:
        """Stops, and waits until what is in flight is committed. The connections belong to all engines and stay."""
        self.stop_all("stopped")
        while self._uncommitted or any(lane.in_flight for lane in self._lanes.values()):
            self.shared.flush()
            await asyncio.sleep(0.005)
        self.shared.close()
        for queue in self._queues.values():
            queue.close()
