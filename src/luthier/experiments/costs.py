"""What a command would send and cost, before it sends anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.endpoints import Engine
from luthier.endpoints.exchange import Request
from luthier.spec import Fitted, Spec
from luthier.task import Rows

__all__ = ["Plan", "PlannedSpec", "plan_fit", "plan_rows"]

MOST_RENDERED = 2_000
"""Rows rendered for an estimate; a longer table is judged by evenly spaced ones."""


@dataclass(frozen=True)
class PlannedSpec:
    """What one spec would send.

    Attributes:
        name: of the spec.
        rows: rows it would answer.
        requests: calls, at least: labels of several tokens may need further ones.
        in_journal: calls the journal already answers, or knows to fail for good.
        shared: calls that specs before it make too; each is sent once.
        input_tokens: estimated tokens of the calls that are left.
        output_tokens: most tokens they can bring back; `None` when nothing bounds them.
        cost_usd: estimated price of them; `None` when the price is unknown.
    """

    name: str
    rows: int
    requests: int = 0
    in_journal: int = 0
    input_tokens: int = 0
    output_tokens: int | None = 0
    cost_usd: float | None = 0.0
    shared: int = 0

    @property
    def calls(self) -> int:
        """Calls that would be made now."""
        # Each is rounded by itself where a long table is judged by some of its rows.
        return max(0, self.requests - self.in_journal - self.shared)


@dataclass(frozen=True)
class Plan:
    """What a command would send, spec by spec."""

    specs: tuple[PlannedSpec, ...]

    @property
    def cost_usd(self) -> float | None:
        """Price of everything, `None` when one is unknown."""
        costs = [spec.cost_usd for spec in self.specs]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)

    @property
    def requests(self) -> int:
        """Calls that would be made now."""
        return sum(spec.calls for spec in self.specs)


def plan_fit(spec: Spec, train: Rows | None, engine: Engine) -> Plan:
    """What fitting alone would send."""
    if not spec.endpoints or not spec.needs_training:
        return Plan((PlannedSpec(spec.name, 0),))
    nothing = Rows(inputs=(), labels=(), text=spec.task.text)
    fitting, _ = _requests(spec, nothing, train, None, engine, retry_failed=False)
    found = engine.estimate(fitting, spec.endpoint)
    tokens = (found.input_tokens, found.max_output_tokens)
    return Plan((PlannedSpec(spec.name, len(fitting), found.distinct, found.in_journal, *tokens, found.cost_usd),))


def plan_rows(
    spec: Spec,
    rows: Rows,
    train: Rows | None,
    engine: Engine,
    *,
    total_rows: int | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    fitted: Fitted | None = None,
    counted: set[bytes] | None = None,
) -> PlannedSpec:
    """What a spec would send for some rows, its calibration included.

    Args:
        spec: the recipe.
        rows: the rows, or evenly spaced ones of a longer table.
        train: its training rows.
        engine: holds the journal and the prices.
        fitted: what the spec already became, when there is nothing left to fit.
        fresh: whether the journal's answers will not be used.
        retry_failed: whether what failed for good will be asked again.
        total_rows: rows of the whole table, when `rows` are only some of it.
        counted: one set for all specs of a command, so that what several ask is counted once.
    """
    counted = set() if counted is None else counted
    total = len(rows) if total_rows is None else total_rows
    if not spec.endpoints:
        return PlannedSpec(spec.name, total)
    step = max(1, -(-len(rows) // MOST_RENDERED))
    shown = rows.take(range(0, len(rows), step))
    fitting, answering = _requests(spec, shown, train, fitted, None if fresh else engine, retry_failed=retry_failed)
    scale = total / len(shown)
    fit = engine.estimate(fitting, spec.endpoint, fresh=fresh, retry_failed=retry_failed, counted=counted)
    answer = engine.estimate(answering, spec.endpoint, fresh=fresh, retry_failed=retry_failed, counted=counted)
    outputs = None
    if fit.max_output_tokens is not None and answer.max_output_tokens is not None:
        outputs = fit.max_output_tokens + round(answer.max_output_tokens * scale)
    cost = None
    if fit.cost_usd is not None and answer.cost_usd is not None:
        cost = fit.cost_usd + answer.cost_usd * scale
    return PlannedSpec(
        name=spec.name,
        rows=total,
        requests=fit.distinct + round(answer.distinct * scale),
        in_journal=fit.in_journal + round(answer.in_journal * scale),
        input_tokens=fit.input_tokens + round(answer.input_tokens * scale),
        output_tokens=outputs,
        cost_usd=cost,
        shared=fit.shared + round(answer.shared * scale),
    )


def _requests(
    spec: Spec, rows: Rows, train: Rows | None, fitted: Fitted | None, engine: Engine | None, *, retry_failed: bool
) -> tuple[Sequence[Request], Sequence[Request]]:
    """What fitting and what answering would ask: as the journal of `engine` has it, else as the spec judges it."""
    if engine is None or not spec.asks_by_answers or (fitted is None and train is None):
        return spec.first_requests(rows, train, fitted)
    fitting: Sequence[Request] = ()
    if fitted is None:
        assert train is not None
        fit = engine.recall(spec.fit(train), spec.endpoint, retry_failed=retry_failed)
        if fit.result is None:
            return spec.further_requests(rows, train, fit.requests)
        fitting, fitted = fit.requests, fit.result
    answer = engine.recall(fitted.predict(rows), spec.endpoint, retry_failed=retry_failed)
    if answer.result is None and len(answer.rounds) < 2:
        return fitting, spec.first_requests(rows, None, fitted)[1]
    return fitting, answer.requests
