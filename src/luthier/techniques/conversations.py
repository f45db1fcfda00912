"""The calls of many rows: held side by side in rounds, what a failed one means for its row, what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from luthier.providers.exchange import Answer, Conversation, Request
from luthier.tasks.prediction import CallRecord, Prediction

__all__ = ["call_record", "gather", "unanswered"]

Result = TypeVar("Result")


def gather(conversations: Iterable[Conversation[Result]]) -> Conversation[list[Result]]:
    """Holds the conversations side by side and returns their results in order.

    The first round carries the first requests of all of them; a later round only those of
    conversations that still ask.

    Examples:
        >>> from luthier.providers.exchange import Answer, Request
        >>> def asks(times):
        ...     for turn in range(times):
        ...         yield [Request("chat", {"turn": turn})]
        ...     return times
        >>> held = gather([asks(2), asks(0), asks(1)])
        >>> len(next(held)), len(held.send([Answer(), Answer()]))
        (2, 1)
        >>> try:
        ...     held.send([Answer()])
        ... except StopIteration as end:
        ...     end.value
        [2, 0, 1]
    """
    results: dict[int, Result] = {}
    adapter: list[tuple[int, Conversation[Result], list[Request]]] = []
    for position, conversation in enumerate(conversations):
        try:
            adapter.append((position, conversation, list(next(conversation))))
        except StopIteration as end:
            results[position] = end.value
    while adapter:
        answers = yield [request for _, _, requests in adapter for request in requests]
        given = iter(answers)
        still: list[tuple[int, Conversation[Result], list[Request]]] = []
        for position, conversation, requests in adapter:
            try:
                following = conversation.send([next(given) for _ in requests])
                still.append((position, conversation, list(following)))
            except StopIteration as end:
                results[position] = end.value
        adapter = still
    return [results[position] for position in sorted(results)]


def unanswered(answers: Sequence[Answer], asked: Sequence[Answer] | None = None) -> Prediction | None:
    """The prediction of a row one of whose answers cannot be read, `None` if all can."""
    call = call_record(answers if asked is None else asked)
    for answer in answers:
        if answer.failure == "content":
            return Prediction(None, "refused", error=answer.error or "the service refused it", call=call)
        if answer.failure is not None:
            # What stops a whole run (quota, key, budget) says nothing about the row: it may be asked again.
            call = replace(call, transient=answer.failure != "permanent")
            error = answer.error or f"no answer ({answer.failure})"
            return Prediction(None, "failed", error=error, call=call)
        if answer.refusal:
            return Prediction(None, "refused", error=answer.refusal, call=call)
        if answer.finish_reason == "content_filter":
            return Prediction(None, "refused", error=answer.error or "withheld by the service", call=call)
    return None


def call_record(asked: Sequence[Answer]) -> CallRecord:
    """Cost, time and tokens of a row's calls, as a prediction keeps them."""
    answered = [answer for answer in asked if answer.failure is None]
    costs = [answer.cost_usd for answer in asked if answer.failure is None or answer.cost_usd is not None]
    latencies = [answer.latency_seconds for answer in asked if answer.latency_seconds is not None]
    paid_now = [answer.cost_usd for answer in answered if not answer.from_journal]
    return CallRecord(
        raw=asked[0].text if answered else None,
        cost_usd=_total(costs) if costs else None,
        cost_estimated=any(answer.usage.estimated for answer in answered),
        spent_usd=_total(paid_now),
        latency_seconds=math.fsum(latencies) if latencies else None,
        input_tokens=sum(answer.usage.input_tokens for answer in asked),
        output_tokens=sum(answer.usage.output_tokens for answer in asked),
        from_journal=all(answer.from_journal for answer in asked),
    )


def _total(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if len(known) == len(costs) else None
