"""Conversations of many rows at once, how each begins, and what a failed call means for its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from luthier.engine.report import call_record
from luthier.errors import Partial
from luthier.providers.exchange import Answer, Conversation, Request
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import is_blank
from luthier.techniques.prompt.template import UnrenderedRow

__all__ = ["all_there", "gather", "opening", "unanswered"]

Result = TypeVar("Result")


def gather(conversations: Iterable[Conversation[Result]]) -> Conversation[list[Result]]:
    """Holds several conversations at once; their results come back in order.

    The first round has the first requests of all of them, a later round those of the conversations that go on.

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
    held: list[tuple[int, Conversation[Result], list[Request]]] = []
    for position, conversation in enumerate(conversations):
        try:
            held.append((position, conversation, list(next(conversation))))
        except StopIteration as end:
            results[position] = end.value
    while held:
        answers = yield [request for _, _, requests in held for request in requests]
        given = iter(answers)
        still: list[tuple[int, Conversation[Result], list[Request]]] = []
        for position, conversation, requests in held:
            try:
                following = conversation.send([next(given) for _ in requests])
                still.append((position, conversation, list(following)))
            except StopIteration as end:
                results[position] = end.value
        held = still
    return [results[position] for position in sorted(results)]


def opening(
    inputs: Mapping[str, Any], texts: Sequence[str], request: Callable[[Mapping[str, Any]], Request]
) -> Request | Prediction:
    """The first request of a row, or its prediction where nothing is sent: a text is blank, or a template fails.

    Args:
        inputs: the row.
        texts: the columns of texts that it needs.
        request: makes the request.
    """
    if any(is_blank(inputs.get(column)) for column in texts):
        return Prediction(None, "empty", call=CallRecord(spent_usd=0.0))
    try:
        return request(inputs)
    except UnrenderedRow as fault:
        return Prediction(None, "failed", error=str(fault), call=CallRecord(spent_usd=0.0))


def unanswered(answers: Sequence[Answer], asked: Sequence[Answer] | None = None) -> Prediction | None:
    """The prediction of a row with an answer that cannot be read; `None` if all can be.

    Args:
        answers: of the latest requests of the row.
        asked: all answers of the row so far, for the record of its calls; `answers` when absent.
    """
    call = call_record(answers if asked is None else asked)
    for answer in answers:
        if answer.failure == "content":
            return Prediction(None, "refused", error=answer.error or "the service refused it", call=call)
        if answer.failure is not None:
            # A failure that stops a whole run (quota, key, budget) is not the row's: it may be asked again.
            call = replace(call, transient=answer.failure != "permanent")
            error = answer.error or f"no answer ({answer.failure})"
            return Prediction(None, "failed", error=error, call=call)
        if answer.refusal:
            return Prediction(None, "refused", error=answer.refusal, call=call)
        if answer.finish_reason == "content_filter":
            return Prediction(None, "refused", error=answer.error or "withheld by the service", call=call)
    return None


def all_there(name: str, found: Sequence[Prediction | None], lack: str) -> str:
    """The first error among these predictions, in brackets for a message; nothing where there is none.

    Args:
        name: of the spec.
        found: what fitting waits for; `None` for those without a fault.
        lack: what they are and what they lack, as in "calibration rows have no answer".

    Raises:
        Partial: some are not there yet, for a reason that may pass.
    """
    faults = [one for one in found if one is not None]
    why = next((f" ({one.error})" for one in faults if one.error), "")
    waiting = sum(one.transient for one in faults)
    if waiting:
        raise Partial(
            f"spec {name!r}: {waiting} of {len(found)} {lack} yet{why}. Run the same command again; answers so far "
            "are kept."
        )
    return why
