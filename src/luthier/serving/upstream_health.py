"""Whether the endpoint behind a model answers: from the answers seen, and from looks where there are none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from luthier.engine.engine import Engine
from luthier.engine.looks import look_at_models, try_call
from luthier.errors import LuthierError
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Operation
from luthier.providers.prices import PriceBook
from luthier.providers.transport import Reply
from luthier.replies.failures import Verdict
from luthier.serving.daily_budget import DailyBudget
from luthier.spec import Spec

__all__ = ["UpstreamHealth", "Upstreams"]

log = logging.getLogger("luthier.serving")

LOOK_EVERY_SECONDS = 0.5
"""How often it is considered whether to look; a look takes at most `LOOK_SECONDS`."""

FRESH_SECONDS = 2.0
"""An answer or a look that went well holds for so long."""

LOOK_SECONDS = 2.0
"""Time a look has. With `FRESH_SECONDS` and `LOOK_EVERY_SECONDS` a change shows within 5 s without any traffic."""

CALL_SECONDS = 4.0
"""Time a trial call has, and twice the time that calls usually take if that is more."""

DOUBT_SECONDS = 2.0
"""After a failure an answer is waited for so long before a trial call is made."""

FIRST_CALL_SECONDS = 4.0
"""The shortest time between two trial calls."""

CALLS_OF_OUTAGE = 0.1
"""Trial calls follow each other after this part of the time that the outage has lasted, and not sooner."""

LONGEST_CALL_PAUSE_SECONDS = 60.0

IN_A_ROW = 3
"""Failures without an answer in between that count as one of the service."""

SLOW_TIMES = 5.0
LEAST_SLOW_SECONDS = 3.0
"""A call that takes so many times as long as usual, and at least so long, is slow."""

LEAST_GIVEN_UP_SECONDS = 0.5
"""A call that is no longer waited for counts as a failure after so many times the usual, and at least this."""

State = Literal["unreachable", "slow", "garbage", "key", "quota", "refused", "failing"]

SENTENCES: dict[State, str] = {
    "unreachable": "the service that the model asks cannot be reached",
    "slow": "the service that the model asks does not answer in time",
    "garbage": "the service that the model asks answers, but not as the protocol has it",
    "key": "the service that the model asks refuses the key, or there is none",
    "quota": "the account at the service that the model asks has nothing left to spend",
    "refused": "the service that the model asks refuses every request",
    "failing": "the service that the model asks answers with errors",
}

CAUSES: dict[str, State] = {
    "quota": "quota",
    "access": "key",
    "unreachable": "unreachable",
    "insecure": "unreachable",
    "no_tls": "unreachable",
    "needs_tls": "unreachable",
    "proxy": "unreachable",
    "not_an_answer": "garbage",
    "stream": "garbage",
    "firewall": "refused",
}
"""What causes are told apart by `Verdict.cause`; the others are refusals."""

ADDRESS = ("unknown_model", "wrong_address", "redirect")
"""Causes that no request can do anything about either."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong, since when, and whether a look at the list of models shows it."""

    state: State
    since: float
    is_seen_by_looks: bool


class UpstreamHealth:
    """Judges one endpoint. It is told of every HTTP call (as the engine's observer), and looks by itself.

    What a look shows is cleared by a look. What only calls show, such as an empty account, is cleared by an answer:
    where no request comes, a call of one token is tried, ever more rarely.

    Args:
        endpoint: the one to judge.
        operation: the call that a trial makes.
        spend: is told what a trial cost in US dollars.
        may_try: whether there is money for a trial.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        operation: Operation,
        *,
        spend: Callable[[float], None] = lambda usd: None,
        may_try: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint, self.operation = endpoint, operation
        self._spend, self._may_try, self._clock = spend, may_try, clock
        self._prices = PriceBook()
        self._in_flight: dict[object, float] = {}
        self._latencies: deque[float] = deque(maxlen=200)
        self._well_at = float("-inf")
        self._answered_at = float("-inf")
        self._failed_in_a_row = 0
        self._doubt: Verdict | None = None
        self._doubt_since = float("-inf")
        self._fault: _Fault | None = None
        self._tried_at = float("-inf")
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    # What the engine tells

    def began(self, which: object, endpoint: Endpoint) -> None:
        """An HTTP call is sent."""
        self._in_flight[which] = self._clock()

    def ended(self, which: object, endpoint: Endpoint, outcome: Reply | Verdict | None) -> None:
        """It was answered, or failed, or was no longer waited for."""
        began = self._in_flight.pop(which, None)
        if began is None:
            return
        if outcome is None:
            waited = self._clock() - began
            if waited > max(LEAST_GIVEN_UP_SECONDS, SLOW_TIMES * self._usual_seconds):
                self._failed(Verdict("transient", f"no answer within {waited:.3g} s"))
        elif isinstance(outcome, Reply):
            self._latencies.append(outcome.latency_seconds)
            self._answered()
        else:
            self._failed(outcome)

    def why(self) -> str | None:
        """A sentence where it is not well, else `None`."""
        if self._fault is not None:
            return SENTENCES[self._fault.state]
        return SENTENCES["slow"] if self._is_slow() else None

    # Looking

    async def start(self) -> None:
        """Starts the embedded server where that is asked, so that no request waits for it; then begins to look.

        Raises:
            LuthierError: the embedded server does not start.
        """
        await PROVIDERS[self.endpoint.provider].prepare(self.endpoint)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

    async def close(self) -> None:
        """Ends that."""
        task, self._looking = self._looking, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look_on(self) -> None:
        while True:
            try:
                await self._consider()
            except Exception:
                # Readiness has to go on being told, whatever the look met.
                log.exception("looking at the upstream failed")
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await self._wake.wait()

    async def _consider(self) -> None:
        now = self._clock()
        if self._fault is None and self._doubt is None and now - self._well_at < FRESH_SECONDS and not self._is_slow():
            return
        if self._fault is None or self._fault.is_seen_by_looks:
            verdict = await look_at_models(self.endpoint, LOOK_SECONDS)
            if verdict is None or verdict.kind == "rate_limit":
                self._looked_well()
            else:
                self._blame(verdict, is_seen_by_looks=True)
                if self.endpoint.provider == "local":
                    await self._start_again()
                return
        await self._try()

    async def _start_again(self) -> None:
        """Starts the embedded server that has ended; a look then shows that it is there again."""
        if self._clock() - self._tried_at < self._pause_seconds:
            return
        self._tried_at = self._clock()
        try:
            await PROVIDERS[self.endpoint.provider].prepare(self.endpoint, again=True)
        except LuthierError as error:
            log.warning("the embedded server could not be started again: %s", error)

    async def _try(self) -> None:
        """Makes a trial call where only that can tell, and it is time for one."""
        fault, now = self._fault, self._clock()
        if fault is None and self._doubt is None and not self._is_slow():
            return
        if fault is None and now - self._doubt_since < DOUBT_SECONDS:
            return
        if now - self._tried_at < self._pause_seconds or not self._may_try():
            return
        self._tried_at = now
        seconds = max(CALL_SECONDS, 2 * self._usual_seconds)
        verdict, cost_usd = await try_call(self.endpoint, self.operation, seconds, self._prices)
        if cost_usd:
            self._spend(cost_usd)
        if verdict is None or verdict.kind == "rate_limit" or verdict.cause not in (*CAUSES, *ADDRESS, None):
            # What it refuses of the trial's parameters it would not refuse if it were not well.
            self._answered()
        else:
            self._blame(verdict, is_seen_by_looks=_state_of(verdict) == "unreachable")

    # What follows from it

    def _answered(self) -> None:
        if self._fault is not None:
            log.info("the upstream answers again")
        self._well_at = self._answered_at = self._clock()
        self._failed_in_a_row, self._doubt, self._fault = 0, None, None

    def _looked_well(self) -> None:
        self._well_at = self._clock()
        if self._fault is not None and self._fault.is_seen_by_looks:
            log.info("the upstream is there again")
            self._fault = None

    def _failed(self, verdict: Verdict) -> None:
        if verdict.kind == "rate_limit" or (verdict.kind in ("permanent", "content") and verdict.cause is None):
            # It is there, and says what is wrong with this request.
            return
        self._failed_in_a_row += 1
        if self._doubt is None:
            self._doubt, self._doubt_since = verdict, self._clock()
        if verdict.cause is not None or self._failed_in_a_row >= IN_A_ROW:
            # Whether looks show it is found out by the next one.
            self._blame(verdict, is_seen_by_looks=verdict.unreachable or _state_of(verdict) == "unreachable")
        self._wake.set()

    def _blame(self, verdict: Verdict, *, is_seen_by_looks: bool) -> None:
        if self._fault is None:
            # Not its words, which may repeat a row; those are logged with the request, without what they repeat.
            status = "" if verdict.status is None else f" (status {verdict.status})"
            log.warning("%s%s", SENTENCES[_state_of(verdict)], status)
        self._fault = _Fault(_state_of(verdict), self._since(), is_seen_by_looks)

    @property
    def _pause_seconds(self) -> float:
        """Between two trials."""
        lasted = self._clock() - self._since()
        return min(LONGEST_CALL_PAUSE_SECONDS, max(FIRST_CALL_SECONDS, CALLS_OF_OUTAGE * lasted))

    def _since(self) -> float:
        return self._clock() if self._fault is None else self._fault.since

    def _is_slow(self) -> bool:
        """Whether the call that is in flight longest takes far longer than usual, and nothing was answered since."""
        if not self._in_flight:
            return False
        oldest = next(iter(self._in_flight.values()))
        if self._answered_at > oldest + LEAST_SLOW_SECONDS:
            return False
        return self._clock() - oldest > max(LEAST_SLOW_SECONDS, SLOW_TIMES * self._usual_seconds)

    @property
    def _usual_seconds(self) -> float:
        """What 95 of 100 calls took lately; 0 before the first answer."""
        return sorted(self._latencies)[int(0.95 * len(self._latencies))] if self._latencies else 0.0


def _state_of(verdict: Verdict) -> State:
    if verdict.cause is not None:
        return CAUSES.get(verdict.cause, "refused")
    if verdict.unreachable:
        return "unreachable"
    if verdict.kind == "quota":
        return "quota"
    if verdict.kind == "access":
        return "key"
    if verdict.status is None:
        return "slow" if "no answer within" in verdict.message else "unreachable"
    return "garbage" if 200 <= verdict.status < 300 else "failing"


class Upstreams:
    """Judges every endpoint that a recipe asks; of those that share the work of one model, one that is well will do.

    Args:
        spec: the recipe.
        engine: whose prices count.
        budget: what trial calls are charged to.
    """

    def __init__(self, spec: Spec, engine: Engine, budget: DailyBudget | None) -> None:
        def spend(usd: float) -> None:
            engine.report.now.usd += usd
            if budget is not None:
                budget.spend(usd)

        def may_try() -> bool:
            return budget is None or not budget.is_spent

        self._upstreams = {
            place_of(one): UpstreamHealth(one, probe.operation, spend=spend, may_try=may_try)
            for probe in spec.probes()
            for one in probe.endpoint.pool
        }
        self._pools = [[self._upstreams[place_of(one)] for one in probe.endpoint.pool] for probe in spec.probes()]

    async def start(self) -> None:
        """Starts the embedded server where one is asked, and begins to look.

        Raises:
            LuthierError: the embedded server does not start.
        """
        for upstream in self._upstreams.values():
            await upstream.start()

    async def close(self) -> None:
        """Ends that."""
        for upstream in self._upstreams.values():
            await upstream.close()

    def why(self) -> str | None:
        """A sentence where none that would do is well, else `None`."""
        found = ([upstream.why() for upstream in pool] for pool in self._pools)
        return next((whys[0] for whys in found if None not in whys), None)

    def began(self, which: object, endpoint: Endpoint) -> None:
        """An HTTP call is sent."""
        if (upstream := self._upstreams.get(place_of(endpoint))) is not None:
            upstream.began(which, endpoint)

    def ended(self, which: object, endpoint: Endpoint, outcome: Reply | Verdict | None) -> None:
        """It was answered, or failed, or was no longer waited for."""
        if (upstream := self._upstreams.get(place_of(endpoint))) is not None:
            upstream.ended(which, endpoint, outcome)


def place_of(endpoint: Endpoint) -> tuple[str, str]:
    """What tells endpoints apart: address and model."""
    return endpoint.address, endpoint.model
