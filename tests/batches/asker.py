"""Requests to be asked by batch, and what the journal lacks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from luthier.batches.asking import BatchOutcome, ask_by_batch
from luthier.batches.settings import BatchSettings
from luthier.endpoints import Endpoint, Engine, Request, RunOptions
from luthier.providers.exchange import Answer, Conversation

PURPOSE = "scoring reviews"
QUICK = BatchSettings(poll_seconds=0.3, settle_seconds=1.0)


def requests(count: int, word: str = "soup") -> list[Request]:
    texts = [f"Stars for: great {word} {number}" for number in range(count)]
    return [Request("chat", {"messages": [{"role": "user", "content": text}], "max_tokens": 4}) for text in texts]


def lacking(
    asked: Sequence[Request], endpoint: Endpoint, options: RunOptions
) -> Callable[[], Iterable[tuple[Request, Endpoint]]]:
    """What the journal lacks of these requests, as a technique with one round would ask them."""

    def conversation() -> Conversation[Sequence[Answer]]:
        return (yield asked)

    def missing() -> Iterable[tuple[Request, Endpoint]]:
        recalled = options.asking_engine().recall(conversation(), endpoint, options)
        return [(request, endpoint) for request in recalled.missing]

    return missing


def ask(
    engine: Engine,
    asked: Sequence[Request],
    endpoint: Endpoint,
    *,
    wait: bool = True,
    settings: BatchSettings = QUICK,
    purpose: str = PURPOSE,
    options: RunOptions | None = None,
) -> BatchOutcome:
    options = options or RunOptions(engine=engine)
    return ask_by_batch(lacking(asked, endpoint, options), options, wait=wait, purpose=purpose, settings=settings)
