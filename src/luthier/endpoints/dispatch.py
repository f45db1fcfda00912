"""The engine's life on its loop: takes requests in, sends them, judges what comes back, keeps it, hands it out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from luthier.endpoints.budget import Budget
from luthier.endpoints.endpoint import Endpoint
from luthier.endpoints.exchange import Answer, FailureKind, Request, Usage
from luthier.endpoints.failures import Verdict, judge, judge_fault, stopping_error, unreadable
from luthier.endpoints.flight import Flight, Halt, Progress, Run
from luthier.endpoints.journal import Entry, Journal
from luthier.endpoints.keys import answer_key, key_prefix
from luthier.endpoints.lane import Lane
from luthier.endpoints.limiter import Limiter
from luthier.endpoints.prices import PriceBook, price_needed
from luthier.endpoints.providers import PROVIDERS, Provider
from luthier.endpoints.reading import Unreadable, read_answer
from luthier.endpoints.redaction import redact, redact_bytes
from luthier.endpoints.report import Report
from luthier.endpoints.tokens import UNITS_PER_TOKEN, TokenGuess, request_units
from luthier.endpoints.transport import Fault, Reply, shared_transport
from luthier.errors import EndpointError, Interrupted, LuthierError, UserError

__all__ = ["Dispatch", "Settings"]

Result = TypeVar("Result")

log = logging.getLogger("luthier.engine")

CHUNK = 256
COMMIT_SECONDS = 0.003
COMMIT_ANSWERS = 64
RATE_LIMIT_PATIENCE = 4
LONGEST_WAIT_SECONDS = 600.0
FIRST_CONTACT_ATTEMPTS = 3
FIRST_CONTACT_SECONDS = 0.4
PROBE = Request("chat", {"messages": [{"role": "user", "content": "Say 1."}], "max_tokens": 16})
COMPLETION_PROBE = Request("completion", {"prompt": "1", "max_tokens": 1})

RETRYABLE: frozenset[FailureKind] = frozenset({"rate_limit", "transient"})
FINAL: frozenset[str] = frozenset({"permanent", "content"})


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


class Dispatch:
    """Everything an engine has in memory. Lives and is touched on one loop only; a fork makes a new one."""

    def __init__(self, journal: Journal, settings: Settings, report: Report, prices: PriceBook) -> None:
        self.journal, self.settings, self.report, self.prices = journal, settings, report, prices
        self.transport = shared_transport()
        self.halted: Halt | None = None
        self._loop = asyncio.get_running_loop()
        self._jitter = random.Random(settings.seed)
        self._lanes: dict[tuple[str, str | None, str], Lane] = {}
        self._guesses: dict[str, TokenGuess] = {}
        self._flights: dict[bytes, Flight] = {}
        self._runs: set[Run] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._landing: list[dict[bytes, Answer]] = []
        self._buffer: list[tuple[Entry, Callable[[UserError | None], None]]] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._committing = 0
        self._identities: dict[tuple[str, str], tuple[str, float]] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        self._snapshots: dict[tuple[str, str], str | None] = {}

    # Taking in

    async def run(
        self,
        requests: Sequence[Request],
        endpoint: Endpoint,
        *,
        budget: Budget | None = None,
        progress: Progress | None = None,
        report: Report | None = None,
        fresh: bool = False,
        retry_failed: bool = False,
    ) -> list[Answer]:
        """One answer per request, in order; the one implementation behind every way to ask."""
        reports = (self.report,) if report is None else (self.report, report)
        if self.halted == "interrupted":
            raise Interrupted("stopped by a signal before anything was sent. Run the same again to go on.")
        provider = PROVIDERS[endpoint.provider]
        await provider.prepare(endpoint)
        for each in reports:
            each.requests += len(requests)
        if progress is not None:
            progress.expect(len(requests))
        if not requests:
            return []
        reported = await self._reported_model(endpoint, provider, requests[0], budget, reports)
        if budget is not None and not self.prices.known(endpoint, reported):
            raise price_needed(endpoint)
        identity = provider.identity(endpoint, reported)
        if identity is None:
            raise EndpointError(f"{endpoint.label} does not say which model it is; name one with `identity:`.")
        run = self._open_run(len(requests), endpoint, budget, progress, reports)
        run.reported_model = reported
        try:
            await self._take_in(run, requests, identity, fresh, retry_failed)
            await run.done
        finally:
            self._close_run(run)
        for each in reports:
            each.history[endpoint.label] = list(run.lane.limiter.history)
        if run.error is not None:
            raise run.error
        if run.halt == "budget" and budget is not None:
            raise budget.reached(run.answered, len(requests))
        if run.halt == "interrupted" and run.answered < len(requests):
            raise Interrupted(
                f"stopped by a signal: {run.answered} of {len(requests)} requests of this step are answered and "
                "kept in the journal. Run the same again to go on from there."
            )
        return [answer for answer in run.answers if answer is not None]

    def _open_run(
        self,
        count: int,
        endpoint: Endpoint,
        budget: Budget | None,
        progress: Progress | None,
        reports: Sequence[Report],
    ) -> Run:
        lane = self._lane(endpoint)
        run = Run(endpoint, lane, [None] * count, self._loop.create_future(), budget, progress, reports)
        self._runs.add(run)
        if budget is not None:
            budget.listen(run, lane.pump)
        if self.halted is not None:
            run.halt = self.halted
        return run

    def _close_run(self, run: Run) -> None:
        self._runs.discard(run)
        if run.budget is not None:
            run.budget.listen(run, None)
        if not run.is_over:
            # Whoever waited has left: what is in the air still lands in the journal.
            self.stop_run(run, "left")

    async def _take_in(
        self, run: Run, requests: Sequence[Request], identity: str, fresh: bool, retry_failed: bool
    ) -> None:
        place = _place(run.endpoint)
        if place not in self._snapshots:
            self._snapshots[place] = await self._read(self.journal.snapshot, *place)
        prefix = key_prefix(run.endpoint, identity)
        asked: set[bytes] = set()
        source = enumerate(requests)
        while run.halt is None and (chunk := list(islice(source, CHUNK))):
            keyed: list[tuple[int, Request, bytes]] = []
            for position, request in chunk:
                try:
                    keyed.append((position, request, answer_key(prefix, request)))
                except (ValueError, TypeError) as error:
                    run.deliver(position, Answer(failure="permanent", error=f"the request is no JSON: {error}"))
            wanted = {key for _, _, key in keyed if not fresh or key in asked}
            known = await self._look_up(list(wanted))
            for position, request, key in keyed:
                if run.halt is not None:
                    break
                found = known.get(key)
                if isinstance(found, Entry):
                    found = self._from_entry(found, retry_failed and key not in asked)
                if found is not None:
                    run.deliver(position, found)
                    continue
                self._ask(run, position, request, key, identity)
                asked.add(key)
            run.lane.pump()
            await run.room.wait()
        if run.halt is not None:
            self._give_up_unsent(run)

    async def _look_up(self, keys: list[bytes]) -> dict[bytes, Entry | Answer]:
        if not keys:
            return {}
        # What lands while the journal is being read is in neither the journal's answer nor in flight.
        landed: dict[bytes, Answer] = {}
        self._landing.append(landed)
        try:
            found = await self._read(self.journal.lookup, keys)
        finally:
            self._landing.remove(landed)
        return {**found, **{key: replace(answer, from_journal=True) for key, answer in landed.items()}}

    async def _read(self, question: Callable[..., Result], *about: Any) -> Result:
        if self.journal.path is None:
            return question(*about)
        # A file may be locked by another program for a while; the loop must not wait for it.
        return await self._loop.run_in_executor(None, question, *about)

    def _from_entry(self, entry: Entry, retry_failed: bool) -> Answer | None:
        if entry.state == "answered" and entry.body is not None:
            try:
                answer = read_answer(entry.body, entry.operation)  # type: ignore[arg-type]
            except Unreadable:
                return None
            return replace(answer, cost_usd=entry.cost_usd, latency_seconds=entry.latency_seconds, from_journal=True)
        if entry.state == "failed" and entry.failure in FINAL and not retry_failed:
            failure: FailureKind = "content" if entry.failure == "content" else "permanent"
            return Answer(failure=failure, status=entry.status, error=entry.error, from_journal=True)
        return None

    def _ask(self, run: Run, position: int, request: Request, key: bytes, identity: str) -> None:
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiters.append((run, position))
            return
        flight = Flight(key, request, identity, run, [(run, position)])
        self._flights[key] = flight
        self._measure(flight)
        run.lane.add(flight)

    def _measure(self, flight: Flight) -> None:
        guess = self._guess(flight.run.endpoint)
        flight.units = request_units(flight.request)
        most = guess.largest_output(flight.request)
        output = guess.likely_output(flight.request) if most is None else most
        # Services admit by about four characters a token, whatever their tokenizer makes of them later.
        flight.tokens = max(guess.tokens_of(flight.units), flight.units / UNITS_PER_TOKEN) + output

    def _lane(self, endpoint: Endpoint) -> Lane:
        key = (endpoint.address, endpoint.key_variable, endpoint.model)
        lane = self._lanes.get(key)
        if lane is None:
            limiter = Limiter(endpoint.limits, self.settings.clock)
            lane = self._lanes[key] = Lane(limiter, self._loop, self.settings.clock, self._admit, self._launch)
        else:
            lane.limiter.widen(endpoint.limits)
        return lane

    def _guess(self, endpoint: Endpoint) -> TokenGuess:
        return self._guesses.setdefault(endpoint.label, TokenGuess())

    # What a deployment really is

    async def _reported_model(
        self,
        endpoint: Endpoint,
        provider: Provider,
        request: Request,
        budget: Budget | None,
        reports: Sequence[Report],
    ) -> str | None:
        if provider.identity(endpoint, None) is not None:
            return None
        async with self._asking.setdefault(_place(endpoint), asyncio.Lock()):
            known, until = self._identities.get(_place(endpoint), ("", 0.0))
            if known and self.settings.clock() < until:
                return known
            probe = COMPLETION_PROBE if request.operation == "completion" else PROBE
            run = self._open_run(1, endpoint, None, None, ())
            flight = Flight(b"", probe, "", run, [(run, 0)], journaled=False)
            self._measure(flight)
            run.lane.add(flight)
            if run.halt is not None:
                self._give_up_unsent(run)
            run.lane.pump()
            try:
                await run.done
            finally:
                self._close_run(run)
            answer = run.answers[0]
            if run.error is not None:
                raise run.error
            if answer is None or answer.model is None:
                why = f" ({answer.error})" if answer is not None and answer.error else ""
                raise EndpointError(
                    f"{endpoint.label} was asked which model it is and did not say{why}. Run again, or name the "
                    "model behind the deployment with `identity:` in the endpoint."
                )
            if budget is not None:
                budget.spend(answer.cost_usd or 0.0)
            for report in reports:
                report.paid(answer)
            self._identities[_place(endpoint)] = (answer.model, self.settings.clock() + self.settings.identity_seconds)
            return answer.model

    # Sending

    def _admit(self, flight: Flight) -> bool:
        run = flight.run
        if run.budget is None:
            return True
        most = self._most_usd(flight)
        if run.budget.reserve(most):
            flight.reserved_usd = most
            return True
        if not run.budget.reservations:
            # Nothing is in the air whose price could turn out lower than what was set aside for it.
            self.stop_run(run, "budget")
        return False

    def _most_usd(self, flight: Flight) -> float:
        guess = self._guess(flight.run.endpoint)
        output = guess.largest_output(flight.request)
        if output is None:
            output = 2 * guess.likely_output(flight.request)
        usage = Usage(input_tokens=math.ceil(guess.at_most(flight.units)), output_tokens=round(output))
        return self.prices.cost(flight.run.endpoint, usage, flight.run.reported_model) or 0.0

    def _launch(self, flight: Flight) -> None:
        flight.airborne = True
        flight.lane = flight.run.lane
        flight.attempts += 1
        for report in self._reports(flight.run):
            report.sent += 1
            report.retries += flight.attempts > 1
        task = self._loop.create_task(self._fly(flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, flight: Flight) -> None:
        run = flight.run
        try:
            await self._attempt(flight)
        except BaseException as error:
            # A flight whose end nobody hears of would keep its run waiting for ever.
            if flight.airborne:
                self._refund(flight)
                self._halt_by_error(run, error)
                self._land(flight, Answer(failure="transient", error=_in_words(error, run.endpoint)))
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
        reply = await self.transport.post(url, headers, packed, endpoint.timeout_seconds)
        secrets = provider.secrets(endpoint)
        if isinstance(reply, Reply):
            reply = replace(reply, body=redact_bytes(reply.body, secrets))
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
        cost = self.prices.cost(endpoint, answer.usage, answer.model)
        self._refund(flight, cost or 0.0)
        used = answer.usage.input_tokens + answer.usage.output_tokens
        run.lane.limiter.answered(flight.tokens, float(used) if used else flight.tokens, run.lane.in_flight)
        self._guess(endpoint).learn(flight.units, answer.usage)
        answer = replace(answer, cost_usd=cost, latency_seconds=reply.latency_seconds)
        if not flight.journaled:
            self._land(flight, answer)
            return
        if answer.model is not None:
            self._compare_snapshot(run, answer.model)
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
        self._identities.pop(_place(endpoint), None)
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
                self.stop_run(run, "error")
                available = await self._available(run.endpoint, provider) if verdict.cause == "unknown_model" else None
                run.error = stopping_error(verdict, run.endpoint, available)
        elif verdict.kind in RETRYABLE and self._may_retry(flight):
            self._retry(flight, verdict)
            return
        answer = Answer(failure=verdict.kind, status=verdict.status, error=verdict.message)
        if not flight.journaled or stops:
            # What stops a run says nothing about the row: it is asked again next time.
            self._land(flight, answer)
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
            for report in self._reports(flight.run):
                report.rate_limited += 1
        elif verdict.kind == "transient":
            limiter.failed()

    def _may_retry(self, flight: Flight) -> bool:
        if not self._take_over(flight):
            return False
        counted = flight.attempts - flight.pushed_back
        if counted >= self.settings.max_attempts:
            return False
        return flight.pushed_back < RATE_LIMIT_PATIENCE * self.settings.max_attempts

    def _retry(self, flight: Flight, verdict: Verdict) -> None:
        settings = self.settings
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
        if flight.run.progress is not None:
            flight.run.progress.retried(wait)
        flight.airborne = False
        flight.run.lane.retry(flight, wait)
        flight.lane.landed()
        if flight.run.lane is not flight.lane:
            flight.run.lane.pump()

    def _refund(self, flight: Flight, true_usd: float = 0.0) -> None:
        reserved, flight.reserved_usd = flight.reserved_usd, None
        if flight.run.budget is not None and reserved is not None:
            flight.run.budget.settle(reserved, true_usd)

    async def _available(self, endpoint: Endpoint, provider: Provider) -> list[str]:
        url = provider.base_url(endpoint) + "/models"
        reply = await self.transport.get(url, await provider.headers(endpoint), 10.0)
        if isinstance(reply, Fault) or reply.status != 200:
            return []
        try:
            return sorted(str(model["id"]) for model in json.loads(reply.body)["data"])
        except (ValueError, KeyError, TypeError):
            return []

    # Keeping and handing out

    def _keep(self, entry: Entry, flight: Flight, answer: Answer) -> None:
        def committed(error: UserError | None) -> None:
            if error is not None:
                self._halt_by_error(flight.run, error)
            self._land(flight, answer)

        self._buffer.append((entry, committed))
        if len(self._buffer) >= COMMIT_ANSWERS:
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = self._loop.call_later(COMMIT_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        batch, self._buffer = self._buffer, []
        if not batch:
            return

        def done(error: UserError | None) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._committed, batch, error)

        self.journal.submit([entry for entry, _ in batch], done)

    def _committed(
        self, batch: list[tuple[Entry, Callable[[UserError | None], None]]], error: UserError | None
    ) -> None:
        for _, committed in batch:
            committed(error)

    def _land(self, flight: Flight, answer: Answer) -> None:
        flight.airborne = False
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        for landed in self._landing:
            landed[flight.key] = answer
        for place, (run, position) in enumerate(flight.waiters):
            # Paid once: whoever else asked the same has it from there.
            run.deliver(position, answer if place == 0 else replace(answer, from_journal=answer.failure is None))
        flight.lane.landed()

    def _compare_snapshot(self, run: Run, reported: str) -> None:
        place = _place(run.endpoint)
        before = self._snapshots.get(place)
        if before == reported:
            return
        self._snapshots[place] = reported
        with contextlib.suppress(RuntimeError):  # no new threads while the program ends
            self._loop.run_in_executor(None, self.journal.saw_snapshot, *place, reported)
        if before is not None:
            text = (
                f"{run.endpoint.label} says it is {reported}; answers in the journal came from {before}. "
                "Answers of both may be mixed: ask all again with --fresh."
            )
            log.warning(text)
            for report in self._reports(run):
                report.note(text)

    # Stopping

    def stop_all(self, halt: Halt) -> None:
        """Nothing new is sent from now on; what is in the air lands."""
        self.halted = halt
        for run in list(self._runs):
            self.stop_run(run, halt)

    def stop_run(self, run: Run, halt: Halt) -> None:
        """Sends nothing more for a run; what it alone waited for and was not sent comes back as `stopped`."""
        if run.halt is None:
            run.halt = halt
        for flight in run.lane.withdraw(run):
            if self._take_over(flight):
                flight.run.lane.add(flight)
                flight.run.lane.pump()
            elif self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        self._give_up_unsent(run)

    def _halt_by_error(self, run: Run, error: BaseException) -> None:
        # All runs on this account and model would fail the same way; each hears of it from its own requests.
        if run.error is None and run.halt in (None, "error"):
            run.error = error
        self.stop_run(run, "error")

    def _take_over(self, flight: Flight) -> bool:
        going_on = [(run, position) for run, position in flight.waiters if run.halt is None]
        if not going_on:
            return False
        for run, position in flight.waiters:
            if run.halt is not None:
                run.deliver(position, Answer(failure="stopped", error="not sent again"))
        flight.waiters = going_on
        if flight.run.halt is not None:
            flight.run = going_on[0][0]
        return True

    def _reports(self, run: Run) -> Sequence[Report]:
        return run.reports or (self.report,)

    def _give_up_unsent(self, run: Run) -> None:
        airborne = {
            position
            for flight in self._flights.values()
            if flight.airborne
            for waiting, position in flight.waiters
            if waiting is run
        }
        for position, answer in enumerate(run.answers):
            if answer is None and position not in airborne:
                run.deliver(position, Answer(failure="stopped", error="not sent"))

    async def drain(self) -> None:
        """Waits until nothing is in the air and everything is committed."""
        while self._tasks or self._buffer or any(lane.in_flight for lane in self._lanes.values()):
            self._flush()
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Stops and drains. The connections belong to all engines and stay."""
        self.stop_all("stopped")
        await self.drain()
        for lane in self._lanes.values():
            lane.close()

    # Looking ahead

    def guessed_identity(self, endpoint: Endpoint) -> str | None:
        """Under what the endpoint's answers are probably kept, without asking it."""
        provider = PROVIDERS[endpoint.provider]
        try:
            sure = provider.identity(endpoint, None)
        except LuthierError:
            return None
        if sure is not None:
            return sure
        known, _ = self._identities.get(_place(endpoint), ("", 0.0))
        reported = known or self.journal.snapshot(endpoint.address, endpoint.model)
        return provider.identity(endpoint, reported)

    def guess(self, endpoint: Endpoint) -> TokenGuess:
        """What was learned of the lengths of this endpoint's questions and answers."""
        return self._guess(endpoint)


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.address, endpoint.model


def _server_left(reply: Reply | Fault) -> bool:
    return reply.kind == "unreachable" if isinstance(reply, Fault) else reply.status == 401


def _in_words(error: BaseException, endpoint: Endpoint) -> str:
    return redact(f"{type(error).__name__}: {error}", PROVIDERS[endpoint.provider].secrets(endpoint))
