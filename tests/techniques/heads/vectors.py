"""Vectors made up for texts: near to each other where the texts say the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np

from luthier.providers.exchange import Answer, ProgressEvent, Request
from luthier.tasks.task import Rows, Task
from luthier.techniques.heads.training_set import TrainingSet, assign_folds
from tests.conversing import rows

Result = TypeVar("Result")

DIMENSIONS = 6


def vector_of(text: str, length: int = DIMENSIONS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A direction by the text's first character, and some noise that is the text's own."""
    drawn = np.random.default_rng(random.Random(text).getrandbits(32))
    direction = np.sin((ord(text[0]) % 7) * np.arange(1, length + 1))
    found: np.ndarray[Any, np.dtype[np.float32]] = (direction + drawn.normal(0, 0.6, length)).astype("<f4")
    return found


def embeds(length: int = DIMENSIONS) -> Callable[[Request], Answer]:
    """Answers every request with its text's vector."""

    def reply(request: Request) -> Answer:
        assert request.operation == "embedding"
        return Answer(embedding=vector_of(request.body["input"], length).tobytes(), cost_usd=0.001)

    return reply


def labelled(task: Task, count: int, seed: int = 1, labels: Sequence[str] | None = None) -> Rows:
    """Rows whose texts begin with the position of their label."""
    drawn = random.Random(seed)
    given = [drawn.choice(labels or task.labels) for _ in range(count)]
    texts = [f"{task.position(label)} text {number} of {seed}" for number, label in enumerate(given)]
    return rows(*texts, labels=given)


def training_set_of(task: Task, count: int = 120, seed: int = 1) -> TrainingSet:
    """The same rows as a head sees them."""
    known = labelled(task, count, seed)
    texts = [str(text) for text in known.texts]
    labels = [str(label) for label in known.labels]
    return TrainingSet(
        vectors=np.array([vector_of(text) for text in texts], dtype=float),
        targets=np.array([task.position(label) for label in labels]),
        labels=task.labels,
        values=task.values,
        ordered=task.ordered,
        folds=np.array(assign_folds(texts, labels, seed)),
    )


def ended(work: Generator[Any, Any, Result], said: list[ProgressEvent] | None = None) -> Result:
    """Runs a generator that asks nothing to its end; what it said of itself is kept in `said`."""
    try:
        while True:
            word = next(work)
            if said is not None and isinstance(word, ProgressEvent):
                said.append(word)
    except StopIteration as end:
        result: Result = end.value
        return result
