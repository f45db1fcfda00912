"""Holds a technique's conversation with hand-made answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from luthier.providers.endpoint import compatible
from luthier.providers.exchange import Answer, Request, TokenChoices
from luthier.spec import Conversation, Spec
from luthier.tasks.task import Rows, Task

Result = TypeVar("Result")

ENDPOINT = compatible("some-model", "http://127.0.0.1:1/v1")
STARS = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
MOOD = Task("mood", labels=["good", "bad"])


def rows(*texts: str | None, labels: Sequence[str | None] | None = None, **columns: Sequence[Any]) -> Rows:
    inputs = [{"text": text, **{name: cells[i] for name, cells in columns.items()}} for i, text in enumerate(texts)]
    return Rows(inputs=tuple(inputs), labels=tuple(labels or [None] * len(texts)), text="text")


def hold(
    conversation: Conversation[Result],
    reply: Callable[[Request], Answer],
    rounds: list[list[Request]] | None = None,
) -> Result:
    """Answers every request with `reply`; the rounds of requests are kept in `rounds`."""
    try:
        requests = list(next(conversation))
        while True:
            if rounds is not None:
                rounds.append(requests)
            requests = list(conversation.send([reply(request) for request in requests]))
    except StopIteration as end:
        result: Result = end.value
        return result


def silence(request: Request) -> Answer:
    raise AssertionError(f"nothing was to be asked, but {request} was")


def says(text: str) -> Callable[[Request], Answer]:
    return lambda request: Answer(text=text, finish_reason="stop")


def weighed(shares: dict[str, float]) -> TokenChoices:
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    return tuple((token, math.log(share)) for token, share in ranked)


def scores(shares: dict[str, float], text: str = "") -> Callable[[Request], Answer]:
    return lambda request: Answer(text=text, finish_reason="length", choices=(weighed(shares),))


def answer_for(spec: Spec, given: Rows, reply: Callable[[Request], Answer], train: Rows | None = None) -> Any:
    """Predictions of a spec that is fitted without asking anything."""
    fitted = hold(spec.fit(train), silence)
    return hold(spec.predict(given, fitted), reply)
