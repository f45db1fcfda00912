"""One flight: sent, judged, sent again or not, kept, handed to the desk."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Protocol

from luthier.engine.batching import disbanded, in_one_call, parts_of, together
from luthier.engine.calls import Call, PendingRequest, Permit, StopReason
from luthier.engine.pacing import Ticket
from luthier.engine.report import Report
from luthier.errors import UserError
from luthier.journal.commits import Commits
from luthier.journal.journal import JournalEntry
from luthier.providers import PROVIDERS, Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, FailureKind, Usage
from luthier.providers.keys import answer_key, key_prefix
from luthier.providers.listing import listed_models
from luthier.providers.prices import PriceBook
from luthier.providers.redaction import redact, redact_bytes
from luthier.providers.tokens import TokenGuess, texts_of
from luthier.providers.transport import Reply, Transport, TransportFault
from luthier.replies.cures import stopping_error
from luthier.replies.failures import Verdict, judge, judge_fault, judge_unread, unreadable
from luthier.replies.reading import ReplyPart, Unreadable

__all__ = ["Desk", "Sender", "EngineSettings"]

log = logging.getLogger("luthier.engine")

PATIENCE_WAITS = 20
PROMPT_RETURNS = 3
LONGEST_WAIT_SECONDS = 600.0
FIRST_CONTACT_ATTEMPTS = 3
FIRST_CONTACT_SECONDS = 0.4

RETRYABLE: frozenset[FailureKind] = frozenset({"rate_limit", "transient"})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine can be told. The defaults are right for nearly everything.

    Attributes:
        clock: seconds that only grow.
        max_attempts: times a request is sent before it is given up for now; being told to slow down does not count.
        backoff_seconds: wait before the second attempt, doubled for each further one.
        longest_backoff_seconds: never wait longer, unless the service says so.
        identity_seconds: how long what a deployment says it is, is believed.
        seed: of the jitter.
    """

    clock: Callable[[], float]
    max_attempts: int = 6
    backoff_seconds: float = 0.5
    longest_backoff_seconds: float = 30.0
    identity_seconds: float = 300.0
    seed: int = 7

    @property
    def patience_seconds(self) -> float:
        """How long a request is told to slow down before it is given up for now: 10 minutes by default."""
        return PATIENCE_WAITS * self.longest_backoff_seconds


class Desk(Protocol):
    """Whom the sender tells what came of a flight."""

    def land(self, flight: PendingRequest, answer: Answer) -> None:
        """The flight has ended."""

    def take_over(self, flight: PendingRequest) -> bool:
        """Whether any run still waits for it; runs that stopped meanwhile are let go."""

    def stop_run(self, run: Call, halt: StopReason) -> None:
        """Nothing more is sent for this run."""

    def halt_by_error(self, run: Call, error: BaseException) -> None:
        """Likewise, and the error is raised when all has drained."""

    def reports(self, run: Call) -> Sequence[Report]:
        """Where this run is counted."""

    def guess(self, endpoint: Endpoint) -> TokenGuess:
        """What was learned of the lengths of this endpoint's questions and answers."""

    def compare_snapshot(self, run: Call, reported: str) -> None:
        """The model said what it is."""

    def forget_identity(self, endpoint: Endpoint) -> None:
        """What the deployment said it is, is no longer so."""


class Sender:
    """Sends flights of one engine and sees each to its end.

    Args:
        desk: told what came of them.
        transport: carries them.
        commits: keeps the answers.
        prices: what they cost.
        settings: how often and when to try again.
    """

    def __init__(
        self, desk: Desk, transport: Transport, commits: Commits, prices: PriceBook, settings: EngineSettings
    ) -> None:
        self._desk, self._transport, self._commits, self._prices = desk, transport, commits, prices
        self._settings = settings
        self._jitter = random.Random(settings.seed)
        self.tasks: set[asyncio.Task[None]] = set()
        """Flights in the air."""

    def admit(self, flight: PendingRequest) -> bool:
        """Sets aside what the flight may cost; False if there is not so much left."""
        run = flight.run
        if run.budget is None:
            return True
        costs = [self._most_usd(member) for member in flight.members]
        if flight.is_queued:
            # Where the money is short, fewer texts fly together.
            affordable = bisect_right(list(accumulate(costs)), run.budget.left_usd)
            flight.companions = flight.companions[: max(0, affordable - 1)]
        most = sum(costs[: len(flight.members)])
        if run.budget.reserve(most):
            flight.reserved_usd = most
            return True
        if not run.budget.reservations:
            # Nothing is in the air whose price could turn out lower than what was set aside for it.
            self._desk.stop_run(run, "budget")
        return False

    def _most_usd(self, flight: PendingRequest) -> float:
        endpoint = flight.run.endpoint
        guess = self._desk.guess(endpoint)
        output = guess.largest_output(flight.request, endpoint)
        if output is None:
            output = 2 * guess.likely_output(flight.request, endpoint)
        usage = Usage(input_tokens=math.ceil(guess.at_most(flight.units)), output_tokens=round(output))
        return self._prices.cost(endpoint, usage, flight.run.reported_model) or 0.0

    def launch(self, flight: PendingRequest, ticket: Ticket) -> None:
        """Sends it; returns at once."""
        members = flight.members
        slot = Permit(flight.run.lane, ticket, len(members))
        for member in members:
            member.airborne, member.slot = True, slot
            member.attempts += 1
        flight.run.evidence.in_the_air += 1
        flight.run.evidence.sent += 1
        slot.call = flight.run.evidence.sent
        for report in self._desk.reports(flight.run):
            report.sent += 1
            report.retries += flight.attempts > 1
        task = asyncio.get_running_loop().create_task(self._fly(flight))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _fly(self, flight: PendingRequest) -> None:
        run, members = flight.run, flight.members
        try:
            await self._attempt(flight)
        except BaseException as error:
            # A flight whose end nobody hears of would keep its run waiting for ever.
            left = [member for member in members if member.airborne]
            if left:
                self._refund(flight)
                self._desk.halt_by_error(run, error)
            for member in left:
                self._desk.land(member, Answer(failure="transient", error=_in_words(error, run.endpoint)))
            if not isinstance(error, Exception):
                raise
        finally:
            run.evidence.in_the_air -= 1
            if run.evidence.is_doubtful:
                self._weigh(run)

    def _weigh(self, run: Call) -> None:
        """Ends a run whose requests all fail alike; the rows are asked again when the cause is removed."""
        found = run.evidence.conclusion(is_over=run.is_over) if run.halt is None else None
        if found is None:
            run.lane.pump()
            return
        verdict, entries = found
        for entry in entries:
            if run.evidence.is_disproved(verdict.suspected):
                # It was kept as the row's own while that was what it looked like.
                self._commits.add(replace(entry, failure="transient"), entry.key, _nothing_waits)
        run.error = stopping_error(replace(verdict, cause=verdict.suspected), run.endpoint)
        self._desk.stop_run(run, "error")

    async def _attempt(self, flight: PendingRequest) -> None:
        run = flight.run
        endpoint, lane = run.endpoint, run.lane
        provider = PROVIDERS[endpoint.provider]
        headers = await provider.headers(endpoint)
        asked = in_one_call(flight)
        while True:
            request = lane.likeliest.within(asked)
            path, body = provider.adapt(request, endpoint)
            url = provider.base_url(endpoint) + path
            packed = json.dumps(body, separators=(",", ":")).encode()
            direct = endpoint.provider == "local"
            reply = await self._transport.post(url, headers, packed, endpoint.timeout_seconds, direct=direct)
            if not lane.likeliest.learned(reply, request):
                break
            for report in self._desk.reports(run):
                report.sent += 1
        secrets = provider.secrets(endpoint)
        if isinstance(reply, Reply):
            body_without_keys = redact_bytes(reply.body, secrets)
            if body_without_keys is not reply.body:
                reply = replace(reply, body=body_without_keys)
            lane.limiter.obey(reply.headers)
            if reply.status != 429 and reply.status < 500:
                lane.limiter.accepted(flight.slot.ticket)
            if 200 <= reply.status < 300:
                try:
                    parts = parts_of(flight, reply.body)
                except Unreadable as error:
                    verdict = judge_unread(
                        reply,
                        error,
                        secrets,
                        flight.request.operation,
                        texts_of(asked),
                        answered=lane.answered or run.evidence.answered,
                    )
                else:
                    bad = self._succeed(flight, parts, reply)
                    if bad:
                        reason = next(part for part in parts if isinstance(part, Unreadable))
                        await self._fail(bad, unreadable(reason, secrets), provider)
                    return
            else:
                verdict = judge(reply, secrets, flight.request.operation, texts_of(asked))
        else:
            verdict = judge_fault(reply, secrets, reached=lane.limiter.met)
        if endpoint.provider == "local" and _server_left(reply):
            # The embedded server goes when it is idle and comes back elsewhere with another token.
            await provider.prepare(endpoint, again=True)
            verdict = replace(verdict, kind="transient", cause=None)
        await self._fail(flight, verdict, provider)

    def _succeed(
        self, flight: PendingRequest, parts: Sequence[ReplyPart | Unreadable], reply: Reply
    ) -> PendingRequest | None:
        """Keeps what can be read; what cannot is given back, to be judged as a call of its own."""
        run = flight.run
        endpoint, lane = run.endpoint, run.lane
        members, load = flight.members, flight.load
        good = [(member, part) for member, part in zip(members, parts, strict=True) if isinstance(part, ReplyPart)]
        guess = self._desk.guess(endpoint)
        paid = 0.0
        costs: list[float | None] = []
        for member, part in good:
            counted, model = part.answer.usage, part.answer.model
            part.answer = replace(part.answer, usage=guess.completed(counted, member.units))
            costs.append(self._prices.cost(endpoint, part.answer.usage, model))
            # Where the service does not count, a budget is charged the most it can be, so that it holds.
            paid += self._prices.cost(endpoint, guess.dearest(counted, member.units), model) or 0.0
        usage = reduce(add, [part.answer.usage for _, part in good]) if good else Usage()
        self._refund(flight, paid)
        used = 0 if usage.estimated else usage.input_tokens + usage.output_tokens
        lane.limiter.answered(load, float(used) if used else load, lane.in_flight)
        guess.learn(sum(member.units for member, _ in good), usage)
        if flight.halves is not None and len(good) == len(members):
            flight.halves.went_well(lane.bundles)
        disbanded(flight)
        if good:
            lane.answered = True
            for owed in run.evidence.answer(flight.slot.call):
                self._commits.add(owed, owed.key, _nothing_waits)
        for (member, part), cost in zip(good, costs, strict=True):
            answer = replace(part.answer, cost_usd=cost, latency_seconds=reply.latency_seconds)
            if not member.journaled:
                self._desk.land(member, answer)
                continue
            if member is good[0][0] and answer.model is not None:
                self._desk.compare_snapshot(run, answer.model)
            key, identity = self._true_key(member, answer)
            entry = JournalEntry(
                key=key,
                state="answered",
                operation=member.request.operation,
                identity=identity,
                model=endpoint.model,
                reported_model=answer.model,
                status=reply.status,
                body=part.body,
                input_tokens=answer.usage.input_tokens,
                output_tokens=answer.usage.output_tokens,
                cost_usd=cost,
                latency_seconds=reply.latency_seconds,
            )
            self._keep(entry, member, answer)
        bad = [member for member, part in zip(members, parts, strict=True) if not isinstance(part, ReplyPart)]
        return together(bad)[0] if bad else None

    def _true_key(self, flight: PendingRequest, answer: Answer) -> tuple[bytes, str]:
        endpoint = flight.run.endpoint
        provider = PROVIDERS[endpoint.provider]
        identity = provider.identity(endpoint, answer.model) or flight.identity
        if identity == flight.identity:
            return flight.key, identity
        # Another model was deployed under the name meanwhile: its answer is not kept as the old one's.
        self._desk.forget_identity(endpoint)
        return answer_key(key_prefix(endpoint, identity), flight.request), identity

    async def _fail(self, flight: PendingRequest, verdict: Verdict, provider: Provider) -> None:
        run = flight.run
        self._refund(flight)
        self._tell_limiter(flight, verdict)
        if verdict.by_words and (run.evidence.is_disproved("every_row") or run.evidence.in_the_air > 1):
            # The words may be about this row after all: others were answered, or will tell in a moment.
            verdict = replace(verdict, kind="permanent", cause=None, suspected=verdict.cause, by_words=False)
        stops = verdict.cause is not None
        if verdict.kind in RETRYABLE and (verdict.retry_after_seconds or 0) > LONGEST_WAIT_SECONDS:
            stops = True
            verdict = replace(
                verdict,
                cause="quota",
                message=f"{verdict.message}; it asks to wait {verdict.retry_after_seconds:.0f} s",
            )
        elif verdict.kind in RETRYABLE and self._is_refused_for_good(flight):
            stops = True
            patience = self._settings.patience_seconds
            verdict = replace(
                verdict, cause="quota", message=f"{verdict.message}; it has answered nothing else for {patience:g} s"
            )
        if verdict.cause == "unreachable":
            # A server that was never reached gets a few quick tries; one that was may come back.
            stops = flight.attempts >= FIRST_CONTACT_ATTEMPTS and not run.lane.limiter.met
        if stops and run.halt is None:
            # What the journal has of an endpoint that is away is worth going on with.
            self._desk.stop_run(run, "outage" if verdict.cause == "unreachable" else "error")
            available = (
                await listed_models(run.endpoint, provider, self._transport)
                if verdict.cause == "unknown_model"
                else None
            )
            run.error = stopping_error(verdict, run.endpoint, available)
        elif not stops and flight.companions and verdict.kind not in RETRYABLE:
            self._part(flight, verdict)
            return
        halves = flight.halves
        again: list[PendingRequest] = []
        over: list[PendingRequest] = []
        for member in disbanded(flight):
            goes_on = not stops and verdict.kind in RETRYABLE and self._may_retry(member)
            (again if goes_on else over).append(member)
            if goes_on and verdict.suspected is not None:
                run.evidence.suspect(verdict, member.key)
        for some in together(again):
            some.halves = halves
            self._retry(some, verdict)
        for member in over:
            answer = Answer(failure=verdict.kind, status=verdict.status, error=verdict.message)
            if not member.journaled or stops:
                # What stops a run says nothing about the row: it is asked again next time.
                self._desk.land(member, answer)
                continue
            entry = JournalEntry(
                key=member.key,
                state="failed",
                failure=verdict.kind,
                operation=member.request.operation,
                identity=member.identity,
                model=run.endpoint.model,
                status=verdict.status,
                error=verdict.message,
            )
            if verdict.suspected is None:
                run.evidence.failed_otherwise = True
            elif not run.evidence.suspect(verdict, member.key, entry):
                # Nothing was answered yet: it may be what every row meets. The next come from elsewhere in the table.
                run.waiting.rotate(-(len(run.waiting) // 3))
                self._desk.land(member, answer)
                continue
            self._keep(entry, member, answer)

    def _part(self, flight: PendingRequest, verdict: Verdict) -> None:
        """A call was refused for good: its texts are sent in smaller ones, until whose fault it is stands alone."""
        bundles = flight.run.lane.bundles
        for calls, halves in bundles.parted(flight, verdict.message):
            staying = []
            for member in calls:
                member.pushed_back += 1
                if self._desk.take_over(member):
                    staying.append(member)
                else:
                    self._desk.land(member, Answer(failure="stopped", error="not sent again"))
            for some in together(staying):
                some.halves = halves
                self._queue_again(some, 0.0)

    def _tell_limiter(self, flight: PendingRequest, verdict: Verdict) -> None:
        limiter = flight.run.lane.limiter
        if verdict.kind in RETRYABLE and (verdict.kind == "rate_limit" or verdict.retry_after_seconds is not None):
            now = self._settings.clock()
            for member in flight.members:
                member.pushed_back += 1
                member.told_to_wait_at = now if member.told_to_wait_at is None else member.told_to_wait_at
        if verdict.kind == "rate_limit":
            limiter.refused(flight.load, flight.slot.ticket)
            for report in self._desk.reports(flight.run):
                report.rate_limited += 1
        elif verdict.kind == "transient":
            limiter.failed()

    def _may_retry(self, flight: PendingRequest) -> bool:
        if not self._desk.take_over(flight):
            return False
        # Being told to wait does not count, for as long as patience lasts.
        return flight.attempts - flight.pushed_back < self._settings.max_attempts and not self._is_out_of_patience(
            flight
        )

    def _is_out_of_patience(self, flight: PendingRequest) -> bool:
        since = flight.told_to_wait_at
        return since is not None and self._settings.clock() - since > self._settings.patience_seconds

    def _is_refused_for_good(self, flight: PendingRequest) -> bool:
        """Whether the service has answered nothing but push-backs, to anyone, for as long as patience lasts."""
        since = flight.told_to_wait_at
        accepted_at = flight.slot.lane.limiter.accepted_at
        return since is not None and accepted_at < since and self._is_out_of_patience(flight)

    def _retry(self, flight: PendingRequest, verdict: Verdict) -> None:
        settings = self._settings
        told = verdict.kind == "rate_limit"
        doubled = settings.backoff_seconds * 2 ** min((flight.pushed_back if told else flight.attempts) - 1, 20)
        wait = min(settings.longest_backoff_seconds, doubled) * self._jitter.uniform(0.5, 1.0)
        if verdict.retry_after_seconds is not None:
            # A little later than told, and not all at once: the wait is the same for all who were told.
            later = verdict.retry_after_seconds + self._jitter.uniform(0.0, 0.1) * settings.backoff_seconds
            # A service that goes on saying 0 is not taken at its word.
            wait = max(later, wait) if flight.attempts > PROMPT_RETURNS else later
        elif verdict.unreachable:
            # Rows that were not sent yet must not use up their attempts on a server that is away.
            wait = min(wait, FIRST_CONTACT_SECONDS) if verdict.cause else wait
            flight.slot.lane.limiter.hold(wait)
        log.debug("sent again in %.2f s: %s", wait, verdict.message)
        flight.run.show(lambda progress: progress.retried(wait))
        self._queue_again(flight, wait)

    def _queue_again(self, flight: PendingRequest, wait_seconds: float) -> None:
        lane, slot, members = flight.run.lane, flight.slot, flight.members
        for member in members:
            member.airborne = False
        lane.retry(flight, wait_seconds)
        slot.leave(len(members))
        if lane is not slot.lane:
            lane.pump()

    def _refund(self, flight: PendingRequest, true_usd: float = 0.0) -> None:
        reserved, flight.reserved_usd = flight.reserved_usd, None
        if flight.run.budget is not None and reserved is not None:
            flight.run.budget.settle(reserved, true_usd)

    def _keep(self, entry: JournalEntry, flight: PendingRequest, answer: Answer) -> None:
        def committed(error: UserError | None) -> None:
            if error is not None:
                self._desk.halt_by_error(flight.run, error)
            self._desk.land(flight, answer)

        self._commits.add(entry, flight.key, committed)


def _nothing_waits(error: UserError | None) -> None:
    """For an entry whose answer was handed out before: should it not be kept, its row is asked again."""


def _server_left(reply: Reply | TransportFault) -> bool:
    return reply.kind == "unreachable" if isinstance(reply, TransportFault) else reply.status == 401


def _in_words(error: BaseException, endpoint: Endpoint) -> str:
    return redact(f"{type(error).__name__}: {error}", PROVIDERS[endpoint.provider].secrets(endpoint))
