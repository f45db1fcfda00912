"""A technique's conversation: run to its end, replayed from the journal, a round of it asked of several endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from luthier.errors import BudgetReached, Interrupted, Partial, SpecError
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Conversation, Request

__all__ = ["Group", "Recalled", "answers_of_all", "by_endpoint", "held", "recalled", "step", "with_endpoints"]

Result = TypeVar("Result")

NO_ENDPOINT = "this technique asks a model, but its spec has no `endpoint:` to ask."


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


@dataclass(slots=True)
class Group:
    """Requests of a round to one endpoint, with their positions in the round."""

    endpoint: Endpoint
    requests: list[Request] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


def by_endpoint(requests: Sequence[Request], otherwise: Endpoint | None) -> list[Group]:
    """Groups requests by endpoint; `otherwise` is asked where a request names none.

    Raises:
        SpecError: a request names no endpoint, and there is no other.
    """
    if otherwise is not None and all(request.endpoint is None for request in requests):
        return [Group(otherwise, list(requests), list(range(len(requests))))]
    groups: list[Group] = []
    seen: dict[int, Group] = {}
    for position, request in enumerate(requests):
        endpoint = request.endpoint or otherwise
        if endpoint is None:
            raise SpecError(NO_ENDPOINT)
        group = seen.get(id(endpoint))
        if group is None:
            # Equal endpoints are one: what is asked of both is asked once.
            group = next((known for known in groups if known.endpoint == endpoint), None)
            if group is None:
                group = Group(endpoint)
                groups.append(group)
            seen[id(endpoint)] = group
        group.requests.append(request)
        group.positions.append(position)
    return groups


def with_endpoints(requests: Iterable[Request], otherwise: Endpoint | None) -> Iterator[tuple[Request, Endpoint]]:
    """Requests, each with the endpoint it is for: its own, else `otherwise`.

    Raises:
        SpecError: a request names no endpoint, and there is no other.
    """
    for request in requests:
        endpoint = request.endpoint or otherwise
        if endpoint is None:
            raise SpecError(NO_ENDPOINT)
        yield request, endpoint


async def answers_of_all(
    groups: Sequence[Group], ask: Callable[[Group], Coroutine[Any, Any, list[Answer]]]
) -> list[Answer]:
    """Every group's answers, in the order of the round.

    When the budget is spent or a signal comes, each group completes what it has in flight. After any other error the
    other groups send nothing more; what they have in flight is still committed to the journal.
    """
    if len(groups) == 1:
        return await ask(groups[0])
    tasks = [asyncio.ensure_future(ask(group)) for group in groups]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            errors = [error for task in done if (error := task.exception()) is not None]
            for error in errors:
                if not isinstance(error, BudgetReached | Interrupted):
                    raise error
    finally:
        for task in pending:
            task.cancel()
    answers: dict[int, Answer] = {}
    for group, task in zip(groups, tasks, strict=True):
        answers.update(zip(group.positions, task.result(), strict=True))
    return [answers[position] for position in range(len(answers))]
