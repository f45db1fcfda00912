"""A round of requests to several endpoints: asked at the same time, answered in the order of the round."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import BudgetReached, Interrupted, SpecError
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Request

__all__ = ["Group", "answers_of_all", "by_endpoint"]


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
            raise SpecError("this technique asks a model, but its spec has no `endpoint:` to ask.")
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
