"""What a command would send and cost, before it sends anything: exact, or between bounds that hold."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.batches.settings import BatchSettings
from luthier.engine.engine import Engine
from luthier.engine.estimates import Estimate, summed
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import counted
from luthier.engine.rounds import Recalled
from luthier.providers.prices import dollars, sum_if_known
from luthier.spec import Conversation, Fitted, PlannedRequests, Spec
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bounds", "Plan", "PlannedSpec", "plan_fit", "plan_rows"]

MOST_RENDERED = 20_000
"""Rows rendered for a plan; a longer table is judged by evenly spaced ones, and the plan says so."""

BATCH_PROVIDERS = ("openai", "azure", "local")
"""Providers whose services have a Batch API; another that is compatible may have one too."""

SAMPLING_MARGIN = 0.1
"""Share by which the most is raised where only some rows were rendered."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Bounds:
    """The least and the most of something that is counted; exact where both are the same."""

    low: int = 0
    high: int = 0

    def __add__(self, other: Bounds) -> Bounds:
        """Both together."""
        return Bounds(self.low + other.low, self.high + other.high)

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class PlannedSpec:
    """What one spec would send.

    A call that is sent again after a failure counts once, and bounds hold as long as calls are answered: a row whose
    call fails is asked nothing further.

    Attributes:
        name: of the spec.
        rows: rows it would answer.
        calls: questions that would be asked now, texts to embed left out.
        texts: texts that would be embedded now; many go out in one call.
        in_journal: questions and texts that the journal already answers, or knows to fail for good.
        shared: those that specs before it ask too; each is sent once.
        input_tokens: tokens sent, at least and at most.
        likely_input_tokens: a guess between the two.
        output_tokens: most tokens that can come back; `None` when nothing bounds them.
        cost_usd: a guess at the price; `None` when the price is unknown.
        cost_usd_low: price at least.
        cost_usd_high: price at most; `None` when the price is unknown or nothing bounds the answers.
        cost_usd_batch: a guess at the price by the Batch API; `None` when the price is unknown.
        cost_usd_high_batch: price that way at most.
        offers_batches: whether its service is known to have a Batch API.
        seconds: time it takes to ask all now; `None` where the model was never asked and no limit is known.
        rendered: rows this was judged by, where those are not all.
        shared_by: the endpoints of its model, where several share the work, with their weights.
    """

    name: str
    rows: int
    calls: Bounds = Bounds()
    texts: Bounds = Bounds()
    in_journal: int = 0
    shared: int = 0
    input_tokens: Bounds = Bounds()
    likely_input_tokens: int = 0
    output_tokens: int | None = 0
    cost_usd: float | None = 0.0
    cost_usd_low: float | None = 0.0
    cost_usd_high: float | None = 0.0
    cost_usd_batch: float | None = 0.0
    cost_usd_high_batch: float | None = 0.0
    offers_batches: bool = False
    seconds: float | None = 0.0
    rendered: int | None = None
    shared_by: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether anything may be sent."""
        return bool(self.calls.high or self.texts.high)

    @property
    def known(self) -> int:
        """Questions and texts that need not be sent."""
        return self.in_journal + self.shared

    def at_most(self) -> PlannedSpec:
        """The same, where less or nothing may be sent instead."""
        return replace(
            self,
            calls=Bounds(0, self.calls.high),
            texts=Bounds(0, self.texts.high),
            input_tokens=Bounds(0, self.input_tokens.high),
            cost_usd_low=None if self.cost_usd_low is None else 0.0,
        )

    def at_least(self, least: PlannedSpec) -> PlannedSpec:
        """The same, where only what another plan says is sure to be sent."""
        return replace(
            self,
            calls=Bounds(min(least.calls.low, self.calls.low), self.calls.high),
            texts=Bounds(min(least.texts.low, self.texts.low), self.texts.high),
            input_tokens=Bounds(min(least.input_tokens.low, self.input_tokens.low), self.input_tokens.high),
            cost_usd_low=least.cost_usd_low,
        )

    def __str__(self) -> str:
        elsewhere = [f"{self.in_journal:,} are in the journal"] if self.in_journal else []
        elsewhere += [f"{self.shared:,} are counted with a spec above"] if self.shared else []
        kept = f" ({', '.join(elsewhere)})" if elsewhere else ""
        parts = [counted(self.rows, "row")] if self.rows else []
        if not self.asks:
            parts.append(f"nothing to ask{kept}")
        else:
            parts += [
                _asked(self.calls, self.texts) + kept,
                f"about {self.likely_input_tokens:,} tokens in (at most {self.input_tokens.high:,})",
                "out without bound" if self.output_tokens is None else f"at most {self.output_tokens:,} out",
                _price(self.cost_usd, self.cost_usd_high),
            ]
        judged = "" if self.rendered is None or not self.asks else f"; judged by {self.rendered:,} of the rows"
        shared = f"\n  shared by {'; '.join(self.shared_by)}" if self.shared_by and self.asks else ""
        return f"{self.name}: {', '.join(parts)}{judged}{shared}"


@dataclass(frozen=True, repr=False)
class Plan:
    """What a command would send, spec by spec; shows itself as `--dry-run` prints it.

    Attributes:
        specs: what each would send.
        budget_usd: most that may be spent; `None` without a budget.
        race: what a race may spare, in a sentence; empty where every spec answers all rows.
    """

    specs: tuple[PlannedSpec, ...]
    budget_usd: float | None = None
    race: str = ""

    @property
    def calls(self) -> Bounds:
        """Questions that would be asked now."""
        return sum((spec.calls for spec in self.specs), Bounds())

    @property
    def texts(self) -> Bounds:
        """Texts that would be embedded now."""
        return sum((spec.texts for spec in self.specs), Bounds())

    @property
    def requests(self) -> int:
        """Questions and texts that would be sent now, at most."""
        return self.calls.high + self.texts.high

    @property
    def asks(self) -> bool:
        """Whether anything may be sent."""
        return self.requests > 0

    @property
    def cost_usd(self) -> float | None:
        """A guess at the price of everything, `None` when one is unknown."""
        return sum_if_known(spec.cost_usd for spec in self.specs)

    @property
    def cost_usd_low(self) -> float | None:
        """Price of everything at least, `None` when one is unknown."""
        return sum_if_known(spec.cost_usd_low for spec in self.specs)

    @property
    def cost_usd_high(self) -> float | None:
        """Price of everything at most, `None` when one is unknown or without bound."""
        return sum_if_known(spec.cost_usd_high for spec in self.specs)

    @property
    def cost_usd_batch(self) -> float | None:
        """A guess at the price of everything by the Batch API, `None` when one is unknown."""
        return sum_if_known(spec.cost_usd_batch for spec in self.specs)

    @property
    def cost_usd_high_batch(self) -> float | None:
        """Price of everything by the Batch API at most, `None` when one is unknown or without bound."""
        return sum_if_known(spec.cost_usd_high_batch for spec in self.specs)

    @property
    def offers_batches(self) -> bool:
        """Whether every service that would be asked is known to have a Batch API; races are asked now in any case."""
        return not self.race and all(spec.offers_batches for spec in self.specs if spec.asks)

    @property
    def seconds(self) -> float | None:
        """Time it takes to ask everything now, one spec after another; `None` when one is unknown."""
        return sum_if_known(spec.seconds for spec in self.specs)

    @property
    def modes(self) -> str:
        """Price and time of asking now and of the Batch API, in two lines."""
        took = (
            "time unknown: this model was never asked here" if self.seconds is None else f"about {_time(self.seconds)}"
        )
        batches = -(-self.requests // BatchSettings().most_lines)
        parts = f"{batches:,} {'batch' if batches == 1 else 'batches'}"
        return (
            f"live:   {_price(self.cost_usd, self.cost_usd_high)}; {took}\n"
            f"batch:  {_price(self.cost_usd_batch, self.cost_usd_high_batch)}; {parts}, within 24 hours each"
        )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per spec: rows, calls and tokens with their bounds as `_low` and `_high`, and US dollars."""
        import pandas as pd

        records = []
        for spec in self.specs:
            record = asdict(spec)
            for name in ("calls", "texts", "input_tokens"):
                bounds = record.pop(name)
                record |= {f"{name}_low": bounds["low"], f"{name}_high": bounds["high"]}
            records.append(record)
        return pd.DataFrame.from_records(records)

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON: every spec, and all of them together."""
        return {
            "specs": [asdict(spec) for spec in self.specs],
            "calls": asdict(self.calls),
            "texts": asdict(self.texts),
            "cost_usd": self.cost_usd,
            "cost_usd_low": self.cost_usd_low,
            "cost_usd_high": self.cost_usd_high,
            "cost_usd_batch": self.cost_usd_batch,
            "cost_usd_high_batch": self.cost_usd_high_batch,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        paying = [spec for spec in self.specs if spec.asks or spec.known]
        lines = [str(spec) for spec in paying]
        if len(paying) > 1 or self.budget_usd is not None:
            cap = "" if self.budget_usd is None else f"; the budget stops it at {dollars(self.budget_usd)}"
            total = _price(self.cost_usd, self.cost_usd_high)
            lines.append(f"in all: {_asked(self.calls, self.texts)}, {total}{cap}")
        if self.race and self.asks:
            low = self.cost_usd_low
            lines.append(self.race + ("" if low is None else f" The least it can cost is {dollars(low)}."))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self) or "nothing is sent, and nothing is paid"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def plan_fit(spec: Spec, train: Rows | None, options: RunOptions = DEFAULTS) -> Plan:
    """What fitting alone would send."""
    if not spec.endpoints or not spec.needs_training:
        return Plan((PlannedSpec(spec.name, 0),))
    nothing = spec.task.rows_of(())
    return Plan((plan_rows(spec, nothing, train, options),), options.budget_usd)


def plan_rows(
    spec: Spec,
    rows: Rows,
    train: Rows | None,
    options: RunOptions = DEFAULTS,
    *,
    total_rows: int | None = None,
    fitted: Fitted | None = None,
    counted: set[bytes] | None = None,
) -> PlannedSpec:
    """What a spec would send for some rows, its fitting included.

    Args:
        spec: the recipe.
        rows: the rows, or evenly spaced ones of a longer table.
        train: its training rows.
        options: whether the journal's answers are used, and the engine that holds journal and prices.
        total_rows: rows of the whole table, when `rows` are only some of it.
        fitted: what the spec already became, when there is nothing left to fit.
        counted: one set for all specs of a command, so that what several ask is counted once.
    """
    counted = set() if counted is None else counted
    engine = options.asking_engine()
    total = len(rows) if total_rows is None else total_rows
    if not spec.endpoints:
        return PlannedSpec(spec.name, total)
    step = max(1, -(-len(rows) // MOST_RENDERED))
    shown = rows.take(range(0, len(rows), step))

    def recall(conversation: Conversation[Result]) -> Recalled[Result]:
        return engine.recall(conversation, spec.endpoint, options)

    def counts(pieces: Sequence[PlannedRequests]) -> Iterator[_Count]:
        for piece in pieces:
            yield _count(piece, spec, engine, options, counted)

    fitting, answering = spec.planned_requests(shown, train, fitted, recall)
    fit, answer = list(counts(fitting)), list(counts(answering))
    whole = total == len(shown)
    if not whole:
        answer = [count.scaled(total / len(shown)) for count in answer]
    found = [*fit, *answer]
    every = summed([count.estimate for count in found])
    return PlannedSpec(
        name=spec.name,
        rows=total,
        calls=sum((count.asked for count in found if not count.embeds), Bounds()),
        texts=sum((count.asked for count in found if count.embeds), Bounds()),
        in_journal=every.in_journal,
        shared=every.shared,
        input_tokens=Bounds(every.input_tokens_min, every.input_tokens_max),
        likely_input_tokens=every.input_tokens,
        output_tokens=every.max_output_tokens,
        cost_usd=every.cost_usd,
        cost_usd_low=every.cost_usd_min,
        cost_usd_high=every.cost_usd_max,
        cost_usd_batch=every.cost_usd_batch,
        cost_usd_high_batch=every.cost_usd_max_batch,
        offers_batches=all(endpoint.provider in BATCH_PROVIDERS for endpoint in spec.endpoints),
        seconds=engine.expected_seconds(spec.endpoint, every.left, every.input_tokens),
        rendered=None if whole else len(shown),
        shared_by=_shared_by(spec),
    )


def _shared_by(spec: Spec) -> tuple[str, ...]:
    if spec.endpoint is None or not spec.endpoint.others:
        return ()
    pool = zip(spec.endpoint.pool_names, spec.endpoint.pool, strict=True)
    return tuple(f"{name}, weight {one.weight:g}" for name, one in pool)


@dataclass(frozen=True)
class _Count:
    """One piece of what is foreseen, counted."""

    asked: Bounds
    estimate: Estimate
    embeds: bool

    def scaled(self, times: float) -> _Count:
        """For so many times the rows: at least nothing, as what was not looked at may be known; at most a bit more."""
        most = times * (1 + SAMPLING_MARGIN)
        one = self.estimate

        def raised(value: float | None) -> float | None:
            return None if value is None else value * most

        output = raised(one.max_output_tokens)
        estimate = Estimate(
            requests=round(one.requests * times),
            distinct=round(one.distinct * times),
            in_journal=round(one.in_journal * times),
            input_tokens=round(one.input_tokens * times),
            max_output_tokens=None if output is None else math.ceil(output),
            cost_usd=None if one.cost_usd is None else one.cost_usd * times,
            cost_usd_max=raised(one.cost_usd_max),
            shared=round(one.shared * times),
            cost_usd_min=None if one.cost_usd_min is None else 0.0,
            input_tokens_max=math.ceil(one.input_tokens_max * most),
            cost_usd_batch=None if one.cost_usd_batch is None else one.cost_usd_batch * times,
            cost_usd_max_batch=raised(one.cost_usd_max_batch),
        )
        # A row asks no more calls in a longer table, so the margin is for what the journal has of the others.
        return _Count(Bounds(0, math.ceil(self.asked.high * most)), estimate, self.embeds)


def _count(piece: PlannedRequests, spec: Spec, engine: Engine, options: RunOptions, counted: set[bytes]) -> _Count:
    embeds = bool(piece.requests) and piece.requests[0].operation == "embedding"
    if piece.sure and piece.shortest is None:
        found = engine.estimate(
            piece.requests,
            spec.endpoint,
            fresh=options.fresh,
            retry_failed=options.retry_failed,
            counted=counted,
            follow=piece.follow,
        )
        sure = found if found.sure else _perhaps(found)
        return _Count(Bounds(found.left if found.sure else 0, found.left + found.further), sure, embeds)
    # Requests that only represent others are not looked up: whether the journal has them says nothing about the others.
    longest = engine.estimate(piece.requests, spec.endpoint, fresh=True, follow=piece.follow)
    if not (options.fresh or piece.sure) or piece.shortest is None:
        return _Count(Bounds(0, longest.left + longest.further), _perhaps(longest), embeds)
    shortest = engine.estimate(piece.shortest, spec.endpoint, fresh=True)
    between = replace(
        longest,
        input_tokens=(shortest.input_tokens + longest.input_tokens) // 2,
        cost_usd=_mean(shortest.cost_usd, longest.cost_usd),
        cost_usd_batch=_mean(shortest.cost_usd_batch, longest.cost_usd_batch),
        input_tokens_min=shortest.input_tokens_min,
        cost_usd_min=shortest.cost_usd_min,
    )
    return _Count(Bounds(shortest.left, longest.left + longest.further), between, embeds)


def _perhaps(found: Estimate) -> Estimate:
    return replace(found, input_tokens_min=0, cost_usd_min=None if found.cost_usd_min is None else 0.0)


def _mean(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (one + other) / 2


def _asked(calls: Bounds, texts: Bounds) -> str:
    parts = [f"{calls} call{'' if str(calls) == '1' else 's'}"] if calls.high or not texts.high else []
    parts += [f"{texts} text{'' if str(texts) == '1' else 's'} to embed"] if texts.high else []
    return ", ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _price(likely: float | None, most: float | None) -> str:
    if likely is None:
        return "price unknown"
    if most is None:
        return f"about {dollars(likely)} at least, without an upper bound"
    return dollars(0) if most == 0 else f"about {dollars(likely)}, at most {dollars(most, up=True)}"
