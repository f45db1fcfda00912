"""A model that Luthier logged, as a server has it: rows in, predictions out, on the engine's loop."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from luthier.engine.ask_options import AskOptions
from luthier.engine.report import Report
from luthier.engine.rounds import held
from luthier.errors import BudgetReached, EndpointError, Interrupted, SpecError
from luthier.packaging.recorded_answers import ReplayResult
from luthier.packaging.serving_engine import ServingEngine
from luthier.providers.exchange import Answer, Request
from luthier.replies.complaints import without_texts
from luthier.serving.admission import Admission
from luthier.serving.daily_budget import DailyBudget
from luthier.serving.refusals import Refusal
from luthier.serving.request_rows import invalid_input, rows_of_request
from luthier.serving.served_model import PaidCalls, Readiness, ScoringAnswer, ScoringRequest, ServedModelFacts
from luthier.serving.settings import ServerSettings
from luthier.serving.upstream_health import Upstreams
from luthier.spec import Fitted
from luthier.tables.cells import utf8_safe
from luthier.tasks.task import Rows
from luthier.techniques import Prompt

__all__ = ["LuthierServed"]

log = logging.getLogger("luthier.serving")

GRACE_SECONDS = 0.25
"""For how long a call goes on after its request's time: its answer may be just on the way, and is paid for."""

ROWS_AT_ONCE = {"baseline": 32, "embedding": 256}
"""Rows that are computed in one go, by technique: a few ms, for which all other requests wait."""

OTHERWISE_AT_ONCE = 64

REMEMBERED_PARAMS = 32
"""Sets of params whose recipes are kept."""

Check = Callable[[], str | None]


class LuthierServed:
    """Answers requests with a fitted recipe; lives on the engine's loop.

    A request of many rows is asked in parts, a few of them at a time, so that others take turns with it.

    Args:
        fitted: the recipe with its chosen examples, calibration and weights.
        facts: what the server says of it.
        settings: what is refused.
        engine: asks the endpoint; one with a journal in memory when absent.
        budget: what may be spent.
        checks: what else has to be well before it is ready, by name; each gives a sentence where it is not.
        replay: runs the answers that the model recorded when it was packaged; the server is never ready if one of them
            comes out otherwise.
    """

    def __init__(
        self,
        fitted: Fitted,
        facts: ServedModelFacts,
        settings: ServerSettings,
        *,
        engine: ServingEngine | None = None,
        budget: DailyBudget | None = None,
        checks: Mapping[str, Check] | None = None,
        replay: Callable[[], ReplayResult] | None = None,
    ) -> None:
        self.fitted, self.facts, self.settings = fitted, facts, settings
        self.engine = engine or ServingEngine()
        self.budget = budget
        self.admission = Admission(settings.most_requests)
        self._replay = replay
        self._replayed: ReplayResult | None = None
        self.health = Upstreams(fitted.spec, self.engine, budget)
        self.engine.observer = self.health
        self.checks: dict[str, Check] = {
            "upstream": self.health.why,
            "capacity": self._capacity,
            "parity": self._parity,
        }
        if budget is not None:
            self.checks["budget"] = self._budget
        self.checks |= checks or {}
        endpoint = fitted.spec.endpoint
        self._rows_at_once = ROWS_AT_ONCE.get(fitted.spec.technique, OTHERWISE_AT_ONCE)
        concurrency = 1 if endpoint is None else endpoint.limits.concurrency
        self._parts_at_once = 1 if endpoint is None else max(2, math.ceil(2 * concurrency / self._rows_at_once))
        self._labels = frozenset(fitted.spec.task.labels)
        self._text_columns = {name for name, kind in fitted.spec.task.kind.columns.items() if kind == "text"}
        self._recipes: OrderedDict[str, Fitted] = OrderedDict()

    async def start(self) -> None:
        """Replays the recorded answers, and loads what answering needs, so that the first request does not wait."""
        if self._replay is not None:
            self._replayed = await asyncio.to_thread(self._replay)
            log.log(logging.INFO if self._replayed.passed else logging.ERROR, "%s", self._replayed)
            if not self._replayed.passed:
                # It gets no traffic, and what was changed in it may break anywhere.
                return
        await asyncio.to_thread(self._warm_up)
        await self.health.start()

    async def close(self) -> None:
        """Ends the engine; called when nothing is in flight any more."""
        await self.health.close()
        await asyncio.to_thread(self.engine.close)
        if self.budget is not None:
            self.budget.close()

    def readiness(self) -> Readiness:
        """Whether it would answer now."""
        return Readiness({name: check() for name, check in self.checks.items()})

    def paid(self) -> PaidCalls:
        """What its calls took so far, also those whose request was refused or given up meanwhile."""
        report = self.engine.report
        return PaidCalls(report.input_tokens, report.output_tokens, report.spent_usd, report.now.unpriced)

    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        """The predictions, in the order of the rows.

        Raises:
            Refusal: the rows do not fit the model, it has no capacity, money or upstream now, or time is over.
        """
        with self.admission.place():
            rows = rows_of_request(self.fitted.spec, request)
            fitted = self._with_params(request.params)
            report, patience = Report(), Patience(timeout_seconds)
            options = AskOptions(
                budget=self.budget,
                report=report,
                progress=patience,
                asked=set(),
                gives_up_at=asyncio.get_running_loop().time() + timeout_seconds + GRACE_SECONDS,
            )
            try:
                await self._refuse_long_wait(timeout_seconds)
                async with asyncio.timeout(timeout_seconds) as patience.clock:
                    parts = await self._parts(fitted, rows, options)
            except TimeoutError:
                if patience.told_to_wait_seconds is not None:
                    raise busy_upstream(patience.told_to_wait_seconds) from None
                raise Refusal(
                    504,
                    "DEADLINE_EXCEEDED",
                    f"There is no answer within {timeout_seconds:g} s; send fewer rows, or allow more time.",
                ) from None
            except BudgetReached as error:
                raise self._over_budget() from error
            except EndpointError as error:
                log.warning("the upstream answers no request: %s", await asyncio.to_thread(words_for_log, error, rows))
                raise upstream_refusal(error) from error
            except Interrupted as error:
                raise Refusal(503, "TEMPORARILY_UNAVAILABLE", "The server is ending.", retry_after_seconds=1) from error
            if (why := outage_of(parts)) is not None:
                log.warning("no row was answered: %s", await asyncio.to_thread(words_for_log, why, rows))
                raise Refusal(
                    503,
                    "TEMPORARILY_UNAVAILABLE",
                    "The service that the model asks answered no row; the server's log says why.",
                    retry_after_seconds=5,
                )
            return ScoringAnswer(
                predictions=[record for part in parts for record in part.records],
                rows=len(rows),
                states=sum((part.states for part in parts), Counter()),
                labels=sum((part.labels for part in parts), Counter()),
                upstream_seconds=report.fetched_seconds,
            )

    async def _parts(self, fitted: Fitted, rows: Rows, options: AskOptions) -> list[AnsweredRows]:
        size = self._rows_at_once
        if len(rows) <= size:
            return [await self._part(fitted, rows, options)]
        found: dict[int, AnsweredRows] = {}
        beginnings = iter(range(0, len(rows), size))

        async def work() -> None:
            for first in beginnings:
                part = rows.take(range(first, min(first + size, len(rows))))
                found[first] = await self._part(fitted, part, options)
                # Requests that came meanwhile get their turn.
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work()) for _ in range(self._parts_at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [found[first] for first in sorted(found)]

    async def _part(self, fitted: Fitted, rows: Rows, options: AskOptions) -> AnsweredRows:
        endpoint = fitted.spec.endpoint
        predictions = await self.engine.adrive(fitted.predict(rows), endpoint, options, in_thread=False)
        kind, known, texts = fitted.spec.task.kind, self._labels, self._text_columns
        asked = [prediction for prediction in predictions if prediction.state != "empty"]
        is_out = all(prediction.state == "failed" and prediction.transient for prediction in asked)
        return AnsweredRows(
            records=[
                {name: _json_cell(value, name in texts) for name, value in kind.record(prediction).items()}
                for prediction in predictions
            ],
            states=Counter(prediction.state for prediction in predictions),
            labels=Counter(one.value for one in predictions if known and one.value in known),
            outage=(asked[0].error or "no answer") if asked and is_out else None,
        )

    def _with_params(self, params: Mapping[str, Any]) -> Fitted:
        spec = self.fitted.spec
        offered = spec.params if isinstance(spec, Prompt) else {}
        # MLflow leaves out what the model's schema does not name.
        given = {name: value for name, value in params.items() if name in offered and value is not None}
        if not given:
            return self.fitted
        key = json.dumps(given, sort_keys=True)
        if (known := self._recipes.get(key)) is not None:
            self._recipes.move_to_end(key)
            return known
        assert isinstance(spec, Prompt)
        try:
            made = replace(self.fitted, spec=spec.with_params(given))
        except SpecError:
            raise invalid_input(
                f"params: {', '.join(given)} is outside of what the model takes, or of another type."
            ) from None
        self._recipes[key] = made
        if len(self._recipes) > REMEMBERED_PARAMS:
            self._recipes.popitem(last=False)
        return made

    async def _refuse_long_wait(self, timeout_seconds: float) -> None:
        """Refuses a request at once that the limits would not let through in its time.

        Raises:
            Refusal: 503, with the time after which it is worth trying again.
        """
        for endpoint in self.fitted.spec.endpoints:
            wait = await self.engine.expected_wait_seconds(endpoint)
            if wait > timeout_seconds:
                raise busy_upstream(wait)

    def _budget(self) -> str | None:
        if self.budget is None or not self.budget.is_spent:
            return None
        return f"the budget of the day is spent until {_time(self.budget)}"

    def _capacity(self) -> str | None:
        if self.admission.requests < self.admission.most:
            return None
        return f"it has {self.admission.most} requests, as many as it takes"

    def _parity(self) -> str | None:
        if self._replay is None or (self._replayed is not None and self._replayed.passed):
            return None
        return "the recorded answers were not replayed yet" if self._replayed is None else str(self._replayed)

    def _over_budget(self) -> Refusal:
        assert self.budget is not None
        return Refusal(
            402,
            "BUDGET_EXCEEDED",
            f"The server's budget of the day is spent; it opens again at {_time(self.budget)}.",
            retry_after_seconds=self.budget.seconds_until_open,
        )

    def _warm_up(self) -> None:
        spec = self.fitted.spec
        row = dict.fromkeys(spec.columns, "a text")

        def answer(requests: Sequence[Request]) -> Sequence[Answer]:
            vector = bytes(4 * self.fitted.state.get("dimensions", 0))
            return [Answer(embedding=vector, failure=None if vector else "stopped") for _ in requests]

        held(self.fitted.predict(spec.task.rows_of((row,))), answer)


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows of a request that were asked about together, answered.

    Attributes:
        records: the predictions, ready for JSON.
        states: rows by state.
        labels: rows by label.
        outage: why no row was answered, if the reason may pass; else `None`.
    """

    records: list[dict[str, Any]]
    states: Counter[str]
    labels: Counter[str]
    outage: str | None


class Patience:
    """Is told of the waits of a request, and ends it at once where one is longer than its time.

    Attributes:
        clock: of the request's time.
        told_to_wait_seconds: the wait that was too long.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._until = time.monotonic() + timeout_seconds
        self.clock: asyncio.Timeout | None = None
        self.told_to_wait_seconds: float | None = None

    def retried(self, wait_seconds: float) -> None:
        """One of its rows will be asked again after so long."""
        if self.clock is not None and time.monotonic() + wait_seconds > self._until:
            self.told_to_wait_seconds = wait_seconds
            self.clock.reschedule(asyncio.get_running_loop().time())

    def expect(self, requests: int) -> None:
        """Nothing."""

    def completed(self, answer: Answer) -> None:
        """Nothing."""

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """Nothing."""


def busy_upstream(wait_seconds: float) -> Refusal:
    """The refusal of a request that the upstream would have wait for longer than its time."""
    return Refusal(
        503,
        "TEMPORARILY_UNAVAILABLE",
        "The service that the model asks takes no more requests for now; ask again later.",
        retry_after_seconds=wait_seconds,
    )


def outage_of(parts: Sequence[AnsweredRows]) -> str | None:
    """Why no row of a request was answered, where that may pass: such rows say nothing. Else `None`."""
    outages = [part.outage for part in parts if set(part.states) != {"empty"}]
    return outages[0] if outages and None not in outages else None


def words_for_log(said: object, rows: Rows) -> str:
    """What a service said, without what it repeats of the rows."""
    return without_texts(str(said), (str(cell) for row in rows.inputs for cell in row.values() if cell is not None))


def upstream_refusal(error: EndpointError) -> Refusal:
    """The refusal of a request that the model's upstream cannot answer; its address and words go to the log alone."""
    if error.cause in ("unreachable", "quota"):
        said = {"unreachable": "cannot be reached", "quota": "has nothing left to spend for this account"}
        return Refusal(
            503,
            "TEMPORARILY_UNAVAILABLE",
            f"The service that the model asks {said[error.cause]}; the server's log says more.",
            retry_after_seconds=5,
        )
    return Refusal(
        502, "BAD_GATEWAY", "The service that the model asks refuses every request; the server's log says why."
    )


def _time(budget: DailyBudget) -> str:
    return budget.opens_again.strftime("%Y-%m-%d %H:%M UTC")


def _json_cell(value: Any, is_text: bool) -> Any:
    if value is None:
        return None
    if is_text:
        return utf8_safe(value)
    number = float(value)
    return number if math.isfinite(number) else None
