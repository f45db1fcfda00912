"""The engine's desk, on its loop: takes runs in, finds what is known, lets the rest be sent, hands answers out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from luthier.engine.budget import Budget
from luthier.engine.calls import AskOptions, Call, PendingRequest, Progress, StopReason
from luthier.engine.claims import Claims
from luthier.engine.endpoint_queue import EndpointQueue
from luthier.engine.limiter import Limiter
from luthier.engine.recalling import answer_of_entry
from luthier.engine.report import Report, damage
from luthier.engine.sender import EngineSettings, Sender
from luthier.errors import EndpointError, Interrupted, LuthierError
from luthier.journal.commits import Commits
from luthier.journal.journal import Journal, JournalEntry
from luthier.providers import PROVIDERS, Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Operation, Request
from luthier.providers.keys import answer_key, key_prefix
from luthier.providers.prices import PriceBook, price_needed
from luthier.providers.tokens import UNITS_PER_TOKEN, TokenGuess, request_units
from luthier.providers.transport import shared_transport

__all__ = ["Dispatcher"]

Result = TypeVar("Result")

log = logging.getLogger("luthier.engine")

CHUNK = 256
PROBES: dict[Operation, Request] = {
    "chat": Request("chat", {"messages": [{"role": "user", "content": "Say 1."}], "max_tokens": 16}),
    "completion": Request("completion", {"prompt": "1", "max_tokens": 1}),
    "embedding": Request("embedding", {"input": "1"}),
    "decision": Request("decision", {"input": "1", "questions": [{"type": "predicate", "instructions": "A digit?"}]}),
}
"""The cheapest question of each operation, to learn from its answer which model it came from."""


class Dispatcher:
    """Everything an engine has in memory. Lives and is touched on one loop only; a fork makes a new one."""

    def __init__(self, journal: Journal, settings: EngineSettings, report: Report, prices: PriceBook) -> None:
        self.journal, self.settings, self.report, self.prices = journal, settings, report, prices
        self.halted: StopReason | None = None
        self._loop = asyncio.get_running_loop()
        self._commits = Commits(journal, self._loop, lambda keys: self._claims.done_with(keys))
        self._claims = Claims(journal, self._loop, self._settle, self._start, self.halt_by_error, self._commits)
        self._sender = Sender(self, shared_transport(), self._commits, prices, settings)
        self._lanes: dict[tuple[str, str | None, str], EndpointQueue] = {}
        self._guesses: dict[str, TokenGuess] = {}
        self._flights: dict[bytes, PendingRequest] = {}
        self._runs: set[Call] = set()
        self._landing: dict[int, tuple[set[bytes], dict[bytes, Answer]]] = {}
        self._identities: dict[tuple[str, str], tuple[str, float]] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        self._snapshots: dict[tuple[str, str], str | None] = {}

    # Taking in

    async def run(self, requests: Sequence[Request], endpoint: Endpoint, terms: AskOptions) -> list[Answer]:
        """One answer per request, in order; the one implementation behind every way to ask."""
        budget, progress = terms.budget, terms.progress
        reports = (self.report,) if terms.report is None else (self.report, terms.report)
        provider = PROVIDERS[endpoint.provider]
        if self.halted is None:
            await provider.prepare(endpoint)
        for each in reports:
            each.requests += len(requests)
        if progress is not None:
            progress.expect(len(requests))
        if not requests or self.halted is not None:
            return self._unsent(len(requests), progress, reports)
        reported = await self._reported_model(endpoint, provider, requests[0], budget, reports)
        if self.halted is not None:
            return self._unsent(len(requests), progress, reports)
        if budget is not None and not self.prices.known(endpoint, reported):
            raise price_needed(endpoint)
        identity = provider.identity(endpoint, reported)
        if identity is None:
            raise EndpointError(f"{endpoint.label} does not say which model it is; name one with `identity:`.")
        run = self._open_run(len(requests), endpoint, terms, reports)
        run.reported_model = reported
        try:
            await self._take_in(run, requests, identity, terms)
            await run.done
        finally:
            self._close_run(run)
        if run.error is not None:
            await self._commits.settled()  # what the error explains is not read as the rows' own by the next run
        if run.damaged:
            log.warning("%s", damage(run.damaged))
        for each in reports:
            each.damaged += run.damaged
            each.history[endpoint.label] = list(run.lane.limiter.history)
        if run.error is not None and not (run.halt == "outage" and run.lane.known):
            raise run.error
        if run.halt == "outage":
            self._note(run, f"{run.error} The rows that the journal holds go on without it.")
        if run.halt == "budget" and budget is not None:
            raise budget.reached(run.answered, len(requests))
        if run.halt == "interrupted" and run.answered < len(requests):
            raise Interrupted(
                f"stopped by a signal: {run.answered} of {len(requests)} requests of this step are answered and "
                "kept in the journal. Run the same again to go on from there."
            )
        return [answer for answer in run.answers if answer is not None]

    def _unsent(self, count: int, progress: Progress | None, reports: Sequence[Report]) -> list[Answer]:
        if self.halted == "interrupted" and count:
            raise Interrupted("stopped by a signal before anything was sent. Run the same again to go on.")
        answers = [Answer(failure="stopped", error="not sent")] * count
        for answer in answers:
            for report in reports:
                report.completed(answer)
            if progress is not None:
                progress.completed(answer)
        return answers

    def _open_run(self, count: int, endpoint: Endpoint, terms: AskOptions, reports: Sequence[Report]) -> Call:
        lane = self._lane(endpoint)
        run = Call(endpoint, lane, [None] * count, self._loop.create_future(), terms, reports)
        self._runs.add(run)
        if terms.budget is not None:
            terms.budget.listen(run, lane.pump)
        return run

    def _close_run(self, run: Call) -> None:
        self._runs.discard(run)
        if run.budget is not None:
            run.budget.listen(run, None)
        if not run.is_over:
            # Whoever waited has left: what is in the air still lands in the journal.
            self.stop_run(run, "left")

    async def _take_in(self, run: Call, requests: Sequence[Request], identity: str, terms: AskOptions) -> None:
        place = _place(run.endpoint)
        if place not in self._snapshots:
            self._snapshots[place] = await self._read(self.journal.snapshot, *place)
        prefix = key_prefix(run.endpoint, identity)
        asked = terms.asked or set()
        source = enumerate(requests)
        while run.halt in (None, "outage") and (chunk := list(islice(source, CHUNK))):
            keyed: list[tuple[int, Request, bytes]] = []
            for position, request in chunk:
                try:
                    keyed.append((position, request, answer_key(prefix, request)))
                except (ValueError, TypeError) as error:
                    run.deliver(position, Answer(failure="permanent", error=f"the request is no JSON: {error}"))
            about = {key: request for _, request, key in keyed}
            wanted = {key for key in about if not terms.fresh or key in asked}
            known: dict[bytes, Answer] = {}
            for key, found in (await self._look_up(list(wanted))).items():
                run.damaged += isinstance(found, JournalEntry) and found.state == "damaged"
                self._read_into(known, run, key, found, about[key])
            unknown = {key: about[key] for key in about if key not in known and key not in self._flights}
            held = await self._claim(unknown if run.halt is None else {}, known, run)
            for position, request, key in keyed:
                if run.halt not in (None, "outage"):
                    break
                answer = known.get(key)
                if answer is not None:
                    if answer.failure is None:
                        run.lane.known = run.evidence.recorded = True
                    run.deliver(position, answer)
                elif run.halt is None:
                    # What another process is asking is not fresh enough for who wants it asked again.
                    self._ask(run, position, request, key, identity, elsewhere=key in held and not terms.fresh)
            self._commits.let_go([key for key in unknown if key not in self._flights])
            run.lane.pump()
            await run.room.wait()
        run.taken_in = True
        if run.halt is not None:
            self._give_up_unsent(run)

    def _read_into(
        self, known: dict[bytes, Answer], run: Call, key: bytes, found: JournalEntry | Answer, request: Request
    ) -> None:
        terms = run.terms
        if isinstance(found, Answer):
            known[key] = found
        elif not terms.fresh or key in (terms.asked or ()):
            retry = terms.retry_failed and key not in (terms.asked or ())
            answer = self._from_entry(found, retry, request, run.endpoint)
            if answer is not None:
                known[key] = answer

    async def _claim(self, about: dict[bytes, Request], known: dict[bytes, Answer], run: Call) -> set[bytes]:
        """Leases keys; adds what is known of them by now, and returns those that another process is asking."""
        with self._noting_what_lands(set(about)) as landed:
            held, found = await self._claims.take(list(about))
        late: dict[bytes, JournalEntry | Answer] = {**found, **landed}
        for key, what in late.items():
            self._read_into(known, run, key, what, about[key])
        return held

    async def _look_up(self, keys: list[bytes]) -> dict[bytes, JournalEntry | Answer]:
        if not keys:
            return {}
        with self._noting_what_lands(set(keys)) as landed:
            found = await self._read(self.journal.lookup, keys)
        return {**found, **landed}

    @contextlib.contextmanager
    def _noting_what_lands(self, keys: set[bytes]) -> Iterator[dict[bytes, Answer]]:
        # What lands while the journal is being read is in neither the journal's answer nor in flight.
        landed: dict[bytes, Answer] = {}
        self._landing[id(landed)] = keys, landed
        try:
            yield landed
        finally:
            del self._landing[id(landed)]

    async def _read(self, question: Callable[..., Result], *about: Any) -> Result:
        if self.journal.path is None:
            return question(*about)
        # A file may be locked by another program for a while; the loop must not wait for it.
        return await self._loop.run_in_executor(None, question, *about)

    async def known(self, requests: Sequence[Request], endpoint: Endpoint, retry_failed: bool) -> list[Answer | None]:
        """The answers the journal has, in order; `None` for one that is missing. Asks no service, not even its name."""
        identity = self.guessed_identity(endpoint)
        if identity is None:
            return [None] * len(requests)
        prefix = key_prefix(endpoint, identity)
        keys: list[bytes | None] = []
        for request in requests:
            try:
                keys.append(answer_key(prefix, request))
            except (ValueError, TypeError):
                keys.append(None)
        about = {key: request for key, request in zip(keys, requests, strict=True) if key is not None}
        found = await self._look_up(list(about))
        read = {
            key: self._from_entry(entry, retry_failed, about[key], endpoint)
            if isinstance(entry, JournalEntry)
            else entry
            for key, entry in found.items()
        }
        return [None if key is None else read.get(key) for key in keys]

    def _from_entry(
        self, entry: JournalEntry, retry_failed: bool, request: Request, endpoint: Endpoint
    ) -> Answer | None:
        guess = self.guess(endpoint)
        return answer_of_entry(entry, request, endpoint, prices=self.prices, guess=guess, retry_failed=retry_failed)

    def _ask(self, run: Call, position: int, request: Request, key: bytes, identity: str, *, elsewhere: bool) -> None:
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiters.append((run, position))
            return
        flight = PendingRequest(key, request, identity, run, [(run, position)])
        self._flights[key] = flight
        self._measure(flight)
        if elsewhere:
            self._claims.wait_for(flight)
        else:
            run.lane.add(flight)

    def _start(self, flight: PendingRequest) -> None:
        flight.run.lane.add(flight)
        flight.run.lane.pump()

    def _settle(self, flight: PendingRequest, entry: JournalEntry) -> bool:
        """Hands out what another process has made of a question, if that is an answer or none for good."""
        is_old = entry.created < flight.waits_since
        retry = flight.run.terms.retry_failed and is_old
        answer = self._from_entry(entry, retry, flight.request, flight.run.endpoint)
        if answer is None:
            return False
        self._flights.pop(flight.key, None)
        self._commits.let_go([flight.key])
        for run, position in flight.waiters:
            run.terms.note(flight.key, answer)
            run.deliver(position, answer)
        return True

    def _measure(self, flight: PendingRequest) -> None:
        endpoint = flight.run.endpoint
        guess = self.guess(endpoint)
        flight.units = request_units(flight.request)
        most = guess.largest_output(flight.request, endpoint)
        output = guess.likely_output(flight.request, endpoint) if most is None else most
        # Services admit by about four characters a token, whatever their tokenizer makes of them later.
        flight.tokens = max(guess.tokens_of(flight.units), flight.units / UNITS_PER_TOKEN) + output

    def _lane(self, endpoint: Endpoint) -> EndpointQueue:
        key = (endpoint.address, endpoint.key_variable, endpoint.model)
        lane = self._lanes.get(key)
        if lane is None:
            limiter = Limiter(endpoint.limits, self.settings.clock)
            lane = self._lanes[key] = EndpointQueue(
                limiter, self._loop, self.settings.clock, self._sender.admit, self._sender.launch
            )
        else:
            lane.limiter.configure(endpoint.limits)
        return lane

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
            run = self._open_run(1, endpoint, AskOptions(), ())
            flight = PendingRequest(b"", PROBES[request.operation], "", run, [(run, 0)], journaled=False)
            self._measure(flight)
            run.lane.add(flight)
            run.lane.pump()
            try:
                await run.done
            finally:
                self._close_run(run)
            answer = run.answers[0]
            last = known or self.journal.snapshot(*_place(endpoint))
            if run.halt == "outage" and last:
                # Away now, it cannot say: what the journal has is under what it said last.
                return last
            if run.error is not None:
                raise run.error
            if self.halted is not None:
                return None
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

    # Handing out

    def land(self, flight: PendingRequest, answer: Answer) -> None:
        """A flight has ended, and its answer is safe: all that wait for it are told."""
        if not flight.airborne:
            return  # an error that ended its call has told them before
        flight.airborne = False
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            self._commits.let_go([flight.key])
        for keys, landed in self._landing.values():
            if flight.key in keys:
                landed[flight.key] = replace(answer, from_journal=True)
        for place, (run, position) in enumerate(flight.waiters):
            run.terms.note(flight.key, answer)
            # Paid once: whoever else asked the same has it from there.
            run.deliver(position, answer if place == 0 else replace(answer, from_journal=answer.failure is None))
        flight.slot.leave()

    def compare_snapshot(self, run: Call, reported: str) -> None:
        """The model said what it is: if that is not what it said before, a person should know."""
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
            self._note(run, text)

    def _note(self, run: Call, text: str) -> None:
        log.warning(text)
        for report in self.reports(run):
            report.note(text)

    # Stopping

    def stop_all(self, halt: StopReason) -> None:
        """Nothing new is sent from now on; what is in the air lands."""
        self.halted = halt
        for run in list(self._runs):
            self.stop_run(run, halt)

    def stop_run(self, run: Call, halt: StopReason) -> None:
        """Sends nothing more for a run; what it alone waited for and was not sent comes back as `stopped`."""
        if run.halt is None:
            run.halt = halt
        for flight in (*run.lane.withdraw(run), *self._claims.waiting(run)):
            if self.take_over(flight):
                if not self._claims.waits(flight):
                    self._start(flight)
            elif self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
                self._claims.forget(flight)
                self._commits.let_go([flight.key])
        if halt != "outage" or run.taken_in:
            self._give_up_unsent(run)

    def halt_by_error(self, run: Call, error: BaseException) -> None:
        """Stops a run; the error is raised when all has drained."""
        # All runs on this account and model would fail the same way; each hears of it from its own requests.
        if run.error is None and run.halt in (None, "error"):
            run.error = error
        self.stop_run(run, "error")

    def take_over(self, flight: PendingRequest) -> bool:
        """Whether any run still waits for a flight; runs that stopped meanwhile are let go."""
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

    def reports(self, run: Call) -> Sequence[Report]:
        """Where a run is counted."""
        return run.reports or (self.report,)

    def _give_up_unsent(self, run: Call) -> None:
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
        while any(lane.in_flight for lane in self._lanes.values()):
            self._commits.flush()
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Stops and drains. The connections belong to all engines and stay."""
        self.stop_all("stopped")
        await self.drain()
        self._commits.flush()
        self._claims.close()
        for lane in self._lanes.values():
            lane.close()

    # Looking ahead

    def forget_identity(self, endpoint: Endpoint) -> None:
        """What the deployment said it is, is no longer so: it is asked again by the next run."""
        self._identities.pop(_place(endpoint), None)

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
        return self._guesses.setdefault(endpoint.label, TokenGuess())


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.address, endpoint.model
