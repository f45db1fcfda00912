"""One flight: sent, judged, sent again or not, kept, handed to the desk."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from luthier.endpoints.commits import Commits
from luthier.endpoints.endpoint import Endpoint
from luthier.endpoints.exchange import Answer, FailureKind, Usage
from luthier.endpoints.failures import Verdict, judge, judge_fault, stopping_error, unreadable
from luthier.endpoints.flight import Flight, Halt, Run
from luthier.endpoints.journal import Entry
from luthier.endpoints.keys import answer_key, key_prefix
from luthier.endpoints.prices import PriceBook
from luthier.endpoints.providers import PROVIDERS, Provider
from luthier.endpoints.reading import Unreadable, read_answer
from luthier.endpoints.redaction import redact, redact_bytes, sendable
from luthier.endpoints.report import Report
from luthier.endpoints.tokens import TokenGuess
from luthier.endpoints.transport import Fault, Reply, Transport
from luthier.errors import UserError

__all__ = ["Desk", "Sender", "Settings"]

log = logging.getLogger("luthier.engine")

RATE_LIMIT_PATIENCE = 4
LONGEST_WAIT_SECONDS = 600.0
FIRST_CONTACT_ATTEMPTS = 3
FIRST_CONTACT_SECONDS = 0.4
LISTING_SECONDS = 10.0

RETRYABLE: frozenset[FailureKind] = frozenset({"rate_limit", "transient"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine can be told. The defaults are right for nearly everything.

    Attributes:
        clock: seconds that only grow.
        max_attempts: times a request is sent before it is given up for now; being told to slow down counts a quarter.
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


class Desk(Protocol):
    """Whom the sender tells what came of a flight."""

    def land(self, flight: Flight, answer: Answer) -> None:
        """The flight has ended."""

    def take_over(self, flight: Flight) -> bool:
        """Whether anybody still waits for it; whoever stopped meanwhile is let go."""

    def stop_run(self, run: Run, halt: Halt) -> None:
        """Nothing more is sent for this run."""

    def halt_by_error(self, run: Run, error: BaseException) -> None:
        """Likewise, and the error is raised when all has drained."""

    def reports(self, run: Run) -> Sequence[Report]:
        """Where this run is counted."""

    def guess(self, endpoint: Endpoint) -> TokenGuess:
        """What was learned of the lengths of this endpoint's questions and answers."""

    def compare_snapshot(self, run: Run, reported: str) -> None:
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
        self, desk: Desk, transport: Transport, commits: Commits, prices: PriceBook, settings: Settings
    ) -> None:
        self._desk, self._transport, self._commits, self._prices = desk, transport, commits, prices
        self._settings = settings
        self._jitter = random.Random(settings.seed)
        self.tasks: set[asyncio.Task[None]] = set()
        """Flights in the air."""

    def admit(self, flight: Flight) -> bool:
        """Sets aside what the flight may cost; False if there is not so much left."""
        run = flight.run
        if run.budget is None:
            return True
        most = self._most_usd(flight)
        if run.budget.reserve(most):
            flight.reserved_usd = most
            return True
        if not run.budget.reservations:
            # Nothing is in the air whose price could turn out lower than what was set aside for it.
            self._desk.stop_run(run, "budget")
        return False

    def _most_usd(self, flight: Flight) -> float:
        endpoint = flight.run.endpoint
        guess = self._desk.guess(endpoint)
        output = guess.largest_output(flight.request, endpoint)
        if output is None:
            output = 2 * guess.likely_output(flight.request, endpoint)
        usage = Usage(input_tokens=math.ceil(guess.at_most(flight.units)), output_tokens=round(output))
        return self._prices.cost(endpoint, usage, flight.run.reported_model) or 0.0

    def launch(self, flight: Flight) -> None:
        """Sends it; returns at once."""
        flight.airborne = True
        flight.lane = flight.run.lane
        flight.attempts += 1
        for report in self._desk.reports(flight.run):
            report.sent += 1
            report.retries += flight.attempts > 1
        task = asyncio.get_running_loop().create_task(self._fly(flight))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _fly(self, flight: Flight) -> None:
        run = flight.run
        try:
            await self._attempt(flight)
        except BaseException as error:
            # A flight whose end nobody hears of would keep its run waiting for ever.
            if flight.airborne:
                self._refund(flight)
                self._desk.halt_by_error(run, error)
                self._desk.land(flight, Answer(failure="transient", error=_in_words(error, run.endpoint)))
            if not isinstance(error, Exception):
                raise

    async def _attempt(self, flight: Flight) -> None:
        run = flight.run
        endpoint, lane = run.endpoint, run.lane
        provider = PROVIDERS[endpoint.provider]
        headers = await provider.headers(endpoint)
        path, body = provider.adapt(flight.request, endpoint)
        url = provider.base_url(endpoint) + path
        packed = json.dumps(body, separators=(",", ":")).encode()
        reply = await self._transport.post(url, headers, packed, endpoint.timeout_seconds)
        secrets = provider.secrets(endpoint)
        if isinstance(reply, Reply):
            body_without_keys = redact_bytes(reply.body, secrets)
            if body_without_keys is not reply.body:
                reply = replace(reply, body=body_without_keys)
            lane.limiter.obey(reply.headers)
            if reply.status == 200:
                try:
                    answer = read_answer(reply.body, flight.request.operation)
                except Unreadable as error:
                    verdict = unreadable(error, secrets)
                else:
                    self._succeed(flight, answer, reply)
                    return
            else:
                verdict = judge(reply, secrets)
        else:
            verdict = judge_fault(reply, secrets, reached=lane.limiter.met)
        if endpoint.provider == "local" and _server_left(reply):
            # The embedded server goes when it is idle and comes back elsewhere with another token.
            await provider.prepare(endpoint, again=True)
            verdict = replace(verdict, kind="transient", cause=None)
        await self._fail(flight, verdict, provider)

    def _succeed(self, flight: Flight, answer: Answer, reply: Reply) -> None:
        run = flight.run
        endpoint = run.endpoint
        cost = self._prices.cost(endpoint, answer.usage, answer.model)
        self._refund(flight, cost or 0.0)
        used = answer.usage.input_tokens + answer.usage.output_tokens
        run.lane.limiter.answered(flight.tokens, float(used) if used else flight.tokens, run.lane.in_flight)
        self._desk.guess(endpoint).learn(flight.units, answer.usage)
        answer = replace(answer, cost_usd=cost, latency_seconds=reply.latency_seconds)
        if not flight.journaled:
            self._desk.land(flight, answer)
            return
        if answer.model is not None:
            self._desk.compare_snapshot(run, answer.model)
        key, identity = self._true_key(flight, answer)
        entry = Entry(
            key=key,
            state="answered",
            operation=flight.request.operation,
            identity=identity,
            model=endpoint.model,
            reported_model=answer.model,
            status=reply.status,
            body=reply.body,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            cost_usd=cost,
            latency_seconds=reply.latency_seconds,
        )
        self._keep(entry, flight, answer)

    def _true_key(self, flight: Flight, answer: Answer) -> tuple[bytes, str]:
        endpoint = flight.run.endpoint
        provider = PROVIDERS[endpoint.provider]
        identity = provider.identity(endpoint, answer.model) or flight.identity
        if identity == flight.identity:
            return flight.key, identity
        # Another model was deployed under the name meanwhile: its answer is not kept as the old one's.
        self._desk.forget_identity(endpoint)
        return answer_key(key_prefix(endpoint, identity), flight.request), identity

    async def _fail(self, flight: Flight, verdict: Verdict, provider: Provider) -> None:
        run = flight.run
        self._refund(flight)
        self._tell_limiter(flight, verdict)
        stops = verdict.cause is not None
        if verdict.kind in RETRYABLE and (verdict.retry_after_seconds or 0) > LONGEST_WAIT_SECONDS:
            stops = True
            verdict = replace(
                verdict,
                cause="quota",
                message=f"{verdict.message}; it asks to wait {verdict.retry_after_seconds:.0f} s",
            )
        if verdict.cause == "unreachable":
            # A server that was never reached gets a few quick tries; one that was may come back.
            stops = flight.attempts >= FIRST_CONTACT_ATTEMPTS and not run.lane.limiter.met
        if stops:
            if run.halt is None:
                self._desk.stop_run(run, "error")
                available = await self._available(run.endpoint, provider) if verdict.cause == "unknown_model" else None
                run.error = stopping_error(verdict, run.endpoint, available)
        elif verdict.kind in RETRYABLE and self._may_retry(flight):
            self._retry(flight, verdict)
            return
        answer = Answer(failure=verdict.kind, status=verdict.status, error=verdict.message)
        if not flight.journaled or stops:
            # What stops a run says nothing about the row: it is asked again next time.
            self._desk.land(flight, answer)
            return
        entry = Entry(
            key=flight.key,
            state="failed",
            failure=verdict.kind,
            operation=flight.request.operation,
            identity=flight.identity,
            model=run.endpoint.model,
            status=verdict.status,
            error=verdict.message,
        )
        self._keep(entry, flight, answer)

    def _tell_limiter(self, flight: Flight, verdict: Verdict) -> None:
        limiter = flight.run.lane.limiter
        if verdict.kind == "rate_limit":
            flight.pushed_back += 1
            limiter.refused(flight.tokens, verdict.retry_after_seconds)
            for report in self._desk.reports(flight.run):
                report.rate_limited += 1
        elif verdict.kind == "transient":
            limiter.failed()

    def _may_retry(self, flight: Flight) -> bool:
        if not self._desk.take_over(flight):
            return False
        counted = flight.attempts - flight.pushed_back
        if counted >= self._settings.max_attempts:
            return False
        return flight.pushed_back < RATE_LIMIT_PATIENCE * self._settings.max_attempts

    def _retry(self, flight: Flight, verdict: Verdict) -> None:
        settings = self._settings
        doubled = settings.backoff_seconds * 2 ** min(flight.attempts - 1, 20)
        wait = min(settings.longest_backoff_seconds, doubled) * self._jitter.uniform(0.5, 1.0)
        if verdict.retry_after_seconds is not None:
            # A little later than told, and not all at once: the wait is the same for all who were told.
            wait = verdict.retry_after_seconds + self._jitter.uniform(0.0, 0.1) * settings.backoff_seconds
        elif verdict.unreachable:
            # Rows that were not sent yet must not use up their attempts on a server that is away.
            wait = min(wait, FIRST_CONTACT_SECONDS) if verdict.cause else wait
            flight.lane.limiter.hold(wait)
        log.debug("sent again in %.2f s: %s", wait, verdict.message)
        flight.run.show(lambda progress: progress.retried(wait))
        flight.airborne = False
        flight.run.lane.retry(flight, wait)
        flight.lane.landed()
        if flight.run.lane is not flight.lane:
            flight.run.lane.pump()

    def _refund(self, flight: Flight, true_usd: float = 0.0) -> None:
        reserved, flight.reserved_usd = flight.reserved_usd, None
        if flight.run.budget is not None and reserved is not None:
            flight.run.budget.settle(reserved, true_usd)

    def _keep(self, entry: Entry, flight: Flight, answer: Answer) -> None:
        def committed(error: UserError | None) -> None:
            if error is not None:
                self._desk.halt_by_error(flight.run, error)
            self._desk.land(flight, answer)

        self._commits.add(entry, committed)

    async def _available(self, endpoint: Endpoint, provider: Provider) -> list[str]:
        url = provider.base_url(endpoint) + "/models"
        reply = await self._transport.get(url, await provider.headers(endpoint), LISTING_SECONDS)
        if isinstance(reply, Fault) or reply.status != 200:
            return []
        try:
            return sorted(sendable(str(model["id"])) for model in json.loads(reply.body)["data"])
        except (ValueError, KeyError, TypeError):
            return []


def _server_left(reply: Reply | Fault) -> bool:
    return reply.kind == "unreachable" if isinstance(reply, Fault) else reply.status == 401


def _in_words(error: BaseException, endpoint: Endpoint) -> str:
    return redact(f"{type(error).__name__}: {error}", PROVIDERS[endpoint.provider].secrets(endpoint))
