"""Runs a technique's conversation to its end: with answers as they come, or with what the journal has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from luthier.errors import Partial
from luthier.providers.exchange import Answer, Conversation, Request

__all__ = ["Recalled", "held", "recalled", "step"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Recalled(Generic[Result]):
    """How far the journal took a technique.

    Attributes:
        rounds: the requests of each round, in order. Those the journal has no answer to are answered as "not sent",
            so that the conversation goes on with all that is known.
        missing: the distinct requests without an answer, in the order they were first asked: what a batch has to ask
            before the next recall comes further.
        result: what the conversation came to; `None` where it could not go on without the missing answers.
    """

    rounds: tuple[Sequence[Request], ...]
    missing: tuple[Request, ...]
    result: Result | None = None

    @property
    def complete(self) -> bool:
        """Whether the journal had everything, so that the result is what `drive` would return."""
        return self.result is not None and not self.missing


def step(
    conversation: Conversation[Result], answers: Sequence[Answer] | None
) -> tuple[Sequence[Request], tuple[Result] | None]:
    """The next round of requests, and the result once there is one; `answers` is `None` at first."""
    # StopIteration cannot pass through a coroutine, so the end is told by a value.
    try:
        return (next(conversation) if answers is None else conversation.send(answers)), None
    except StopIteration as stop:
        return (), (stop.value,)


def held(conversation: Conversation[Result], answer: Callable[[Sequence[Request]], Sequence[Answer]]) -> Result:
    """The result of a conversation whose rounds are answered by a function."""
    answers: Sequence[Answer] | None = None
    try:
        while True:
            requests, ended = step(conversation, answers)
            if ended is not None:
                return ended[0]
            answers = answer(requests)
    finally:
        conversation.close()


def recalled(
    conversation: Conversation[Result],
    known: Callable[[Sequence[Request]], Sequence[Answer]],
    missing: Collection[Request],
) -> Recalled[Result]:
    """How far a conversation comes with what is known.

    Args:
        conversation: the technique's.
        known: answers a round, and adds what it has no answer to to `missing`.
        missing: is read at the end.
    """
    rounds: list[Sequence[Request]] = []

    def answer(requests: Sequence[Request]) -> Sequence[Answer]:
        if not requests:
            return []
        rounds.append(requests)
        return known(requests)

    try:
        result = held(conversation, answer)
    except Partial:
        # The technique cannot go on without what is missing.
        return Recalled(tuple(rounds), tuple(missing))
    return Recalled(tuple(rounds), tuple(missing), result)
