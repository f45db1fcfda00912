"""Many conversations at once: every open question of every row goes out in the same round."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from luthier.providers.exchange import Request
from luthier.spec import Conversation

__all__ = ["together"]

Result = TypeVar("Result")


def together(conversations: Iterable[Conversation[Result]]) -> Conversation[list[Result]]:
    """Holds the conversations side by side and returns their results in order.

    The first round carries the first requests of all of them; a later round only those of
    conversations that still ask.

    Examples:
        >>> from luthier.providers.exchange import Answer, Request
        >>> def asks(times):
        ...     for turn in range(times):
        ...         yield [Request("chat", {"turn": turn})]
        ...     return times
        >>> held = together([asks(2), asks(0), asks(1)])
        >>> len(next(held)), len(held.send([Answer(), Answer()]))
        (2, 1)
        >>> try:
        ...     held.send([Answer()])
        ... except StopIteration as end:
        ...     end.value
        [2, 0, 1]
    """
    results: dict[int, Result] = {}
    asking: list[tuple[int, Conversation[Result], list[Request]]] = []
    for position, conversation in enumerate(conversations):
        try:
            asking.append((position, conversation, list(next(conversation))))
        except StopIteration as end:
            results[position] = end.value
    while asking:
        answers = yield [request for _, _, requests in asking for request in requests]
        given = iter(answers)
        still: list[tuple[int, Conversation[Result], list[Request]]] = []
        for position, conversation, requests in asking:
            try:
                following = conversation.send([next(given) for _ in requests])
                still.append((position, conversation, list(following)))
            except StopIteration as end:
                results[position] = end.value
        asking = still
    return [results[position] for position in sorted(results)]
