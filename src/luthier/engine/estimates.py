"""What requests take and cost: estimated before anything is sent, reserved when sent, settled when answered."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any

from luthier.engine.budget import Budget
from luthier.engine.endpoint_queue import PendingRequest
from luthier.providers.endpoint import Endpoint, Limits
from luthier.providers.exchange import Request, Usage
from luthier.providers.prices import PriceBook, sum_if_known
from luthier.providers.tokens import UNITS_PER_TOKEN, TokenGuess, least_input_tokens, most_input_tokens, request_units
from luthier.replies.reading import ReplyPart

__all__ = ["NO_FOLLOW_UPS", "Estimate", "FollowUps", "Pricing", "estimated", "expected_seconds", "shared_out", "summed"]


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Calls that the answer to a request may lead to.

    Attributes:
        calls: how many at most.
        tokens: input tokens that each has at most beyond those of the request.
    """

    calls: int = 0
    tokens: int = 0


NO_FOLLOW_UPS = FollowUps()
"""No further calls, as for most answers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking would take; nothing was sent to find out.

    Attributes:
        requests: requests asked for.
        distinct: different ones among them.
        in_journal: distinct ones that will not be asked, as they have an answer or failed for good; they cost nothing.
        input_tokens: likely to be sent for the rest.
        max_output_tokens: to be received at most; `None` where a request sets no bound.
        cost_usd: likely price of the rest; `None` when the price is unknown.
        cost_usd_max: price if every question and answer is as long as it can be; `None` where nothing bounds it.
        shared: distinct ones that an earlier estimate of the same command counted; they cost nothing more.
        cost_usd_min: price if questions are as short as they can be, cached, and answers are empty.
        input_tokens_min: input tokens at least.
        input_tokens_max: input tokens at most, follow-ups included.
        further: follow-up calls at most.
        cost_usd_batch: likely price of the rest by the service's Batch API.
        cost_usd_max_batch: the most it costs that way.
        sure: whether it is known under which name the journal keeps this endpoint's answers; where it is not, none
            counts as being there, though all may be.
    """

    requests: int
    distinct: int
    in_journal: int
    input_tokens: int
    max_output_tokens: int | None
    cost_usd: float | None
    cost_usd_max: float | None
    shared: int = 0
    cost_usd_min: float | None = 0.0
    input_tokens_min: int = 0
    input_tokens_max: int = 0
    further: int = 0
    cost_usd_batch: float | None = 0.0
    cost_usd_max_batch: float | None = 0.0
    sure: bool = True

    @property
    def left(self) -> int:
        """Distinct requests that would be sent."""
        return self.distinct - self.in_journal - self.shared


class Pricing:
    """What requests to each endpoint take and cost, by the price book and the answers so far."""

    def __init__(self, prices: PriceBook) -> None:
        self.prices = prices
        self._guesses: dict[str, TokenGuess] = {}

    def guess(self, endpoint: Endpoint) -> TokenGuess:
        """What was learned of the lengths of this endpoint's questions and answers."""
        return self._guesses.setdefault(endpoint.label, TokenGuess())

    def size(self, request: Request, endpoint: Endpoint) -> tuple[float, float]:
        """Length of a question in quarters of a token, and the tokens to reserve for it and its answer."""
        guess, units = self.guess(endpoint), request_units(request)
        most = guess.largest_output(request, endpoint)
        output = guess.likely_output(request, endpoint) if most is None else most
        # Services admit by about four characters a token, whatever their tokenizer makes of them later.
        return units, max(guess.tokens_of(units), units / UNITS_PER_TOKEN) + output

    def estimate(
        self,
        left: Sequence[Request],
        endpoint: Endpoint,
        snapshot: Callable[[str, str], str | None],
        follow: FollowUps = NO_FOLLOW_UPS,
    ) -> Estimate:
        """What these requests take, all different and none of them answered yet.

        Args:
            left: what is asked.
            endpoint: who answers.
            snapshot: the model that an address last said a model's name stands for.
            follow: calls that each answer may lead to.
        """
        found: list[Estimate] = []
        for one in endpoint.pool:
            reported = snapshot(one.address, one.model)
            cost, share = self.prices.rule(one, reported), self.prices.batch_share(one, reported)
            found.append(estimated(left, one, self.guess(endpoint), cost, follow, share))
        return shared_out(found, [one.weight for one in endpoint.pool])

    def reserve(self, pending: PendingRequest, endpoint: Endpoint, budget: Budget) -> bool:
        """Sets aside what an HTTP call may cost, as far as the token estimate holds; False if there is not so much.

        Where the money is short, fewer texts share the call.
        """
        reported = pending.call.reported_model
        costs = [self.most_usd(member.request, endpoint, member.units, reported) or 0.0 for member in pending.members]
        if pending.is_unsent:
            affordable = bisect_right(list(accumulate(costs)), budget.left_usd)
            pending.companions = pending.companions[: max(0, affordable - 1)]
        most = sum(costs[: len(pending.members)])
        if not budget.reserve(most):
            return False
        pending.reserved_usd = most
        return True

    def most_usd(
        self,
        request: Request,
        endpoint: Endpoint,
        units: float,
        reported_model: str | None = None,
        *,
        batched: bool = False,
    ) -> float | None:
        """The most a request can cost, as far as the token estimate holds; `None` when the price is unknown.

        Args:
            request: what is asked.
            endpoint: who answers.
            units: length of the question, as `size` gives it.
            reported_model: what the service said it was.
            batched: whether the Batch API answers.
        """
        guess = self.guess(endpoint)
        output = guess.largest_output(request, endpoint)
        if output is None:
            output = 2 * guess.likely_output(request, endpoint)
        usage = Usage(input_tokens=math.ceil(guess.at_most(units)), output_tokens=round(output))
        return self.prices.cost(endpoint, usage, reported_model, batched=batched)

    def settle(self, endpoint: Endpoint, parts: Sequence[tuple[float, ReplyPart]]) -> tuple[float, Usage]:
        """Completes the answers to questions of these lengths with their tokens and costs, and learns from them.

        Returns:
            What a budget is charged: where the service does not count, the most it can be, so that the budget holds.
            And the tokens of all.
        """
        guess, charged, usage = self.guess(endpoint), 0.0, Usage()
        for units, part in parts:
            counted, model = part.answer.usage, part.answer.model
            own = guess.completed(counted, units)
            part.answer = replace(part.answer, usage=own, cost_usd=self.prices.cost(endpoint, own, model))
            charged += self.prices.cost(endpoint, guess.dearest(counted, units), model) or 0.0
            usage += own
        guess.learn(sum(units for units, _ in parts), usage)
        return charged, usage


def estimated(
    left: Iterable[Request],
    endpoint: Endpoint,
    guess: TokenGuess,
    cost: Callable[[Usage], float | None],
    follow: FollowUps,
    batch_share: float = 1.0,
) -> Estimate:
    """What these requests take, all different and none of them answered yet; `follow` is for each of them.

    `batch_share` is the price of a batch as a part of the live price.
    """
    asked = 0
    likely_in = least_in = most_in = most_out = 0.0
    likely = least = most = 0.0
    bounded = True
    for request in left:
        asked += 1
        units = guess.tokens_of(request_units(request))
        low, high = least_input_tokens(request), most_input_tokens(request)
        output = guess.largest_output(request, endpoint)
        answer = guess.likely_output(request, endpoint)
        bounded = bounded and output is not None
        # Half of the calls that may follow is as good a guess as any.
        times = 1 + follow.calls / 2
        likely_in += units * times
        least_in += low
        most_in += high + follow.calls * (high + follow.tokens)
        most_out += (output or 0.0) * (1 + follow.calls)
        likely += times * (cost(Usage(round(units), math.ceil(answer))) or 0.0)
        least += cost(Usage(low, 0, low)) or 0.0
        most += cost(Usage(high, math.ceil(output or 0))) or 0.0
        if follow.calls:
            most += follow.calls * (cost(Usage(high + follow.tokens, math.ceil(output or 0))) or 0.0)
    # Nothing costs nothing, whatever the price is.
    priced = not asked or cost(Usage(1, 1)) is not None
    return Estimate(
        requests=asked,
        distinct=asked,
        in_journal=0,
        input_tokens=round(likely_in),
        max_output_tokens=round(most_out) if bounded else None,
        cost_usd=likely if priced else None,
        cost_usd_max=most if priced and bounded else None,
        cost_usd_min=least if priced else None,
        cost_usd_batch=batch_share * likely if priced else None,
        cost_usd_max_batch=batch_share * most if priced and bounded else None,
        input_tokens_min=math.floor(least_in),
        input_tokens_max=math.ceil(most_in),
        further=asked * follow.calls,
    )


def shared_out(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """What requests take that several endpoints share, from what they would take at each alone.

    A batch goes to the first.
    """
    costs = [each.cost_usd for each in estimates]
    dearest, cheapest = [each.cost_usd_max for each in estimates], [each.cost_usd_min for each in estimates]
    parts = [None if cost is None else cost * weight for cost, weight in zip(costs, weights, strict=True)]
    whole = sum_if_known(parts)
    return replace(
        estimates[0],
        cost_usd=None if whole is None else whole / sum(weights),
        cost_usd_max=None if None in dearest else max(cost for cost in dearest if cost is not None),
        cost_usd_min=None if None in cheapest else min(cost for cost in cheapest if cost is not None),
    )


def expected_seconds(limits: Limits, requests: int, tokens: int, latency_seconds: float | None) -> float | None:
    """How long one endpoint takes by its limits and by how long an answer takes; `None` where neither is known."""
    waits = [
        60.0 * amount / per_minute
        for amount, per_minute in ((requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute))
        if per_minute is not None
    ]
    if latency_seconds is not None:
        waits.append(latency_seconds * math.ceil(requests / limits.concurrency))
    return max(waits, default=None)


def summed(estimates: Sequence[Estimate]) -> Estimate:
    """The sum of estimates; what is unknown of one is unknown of the sum."""
    totals: dict[str, Any] = {}
    for field in fields(Estimate):
        total = sum_if_known(getattr(each, field.name) for each in estimates)
        totals[field.name] = total if field.name.startswith("cost") or total is None else round(total)
    return Estimate(**totals | {"sure": all(each.sure for each in estimates)})
