"""Short ways to write predictions, and simulated specs of known skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from luthier.evaluation.leaderboard import Candidate
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

STARS = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
MOOD = Task("mood", text="text", label="mood", labels=["good", "bad"])


def ok(*labels: object) -> list[Prediction]:
    return [Prediction(str(label), "ok") for label in labels]


def sure(task: Task, label: object, *probabilities: float) -> Prediction:
    assert len(probabilities) == len(task.labels)
    return Prediction(str(label), "ok", probabilities)


def lost(state: str = "off_label") -> Prediction:
    return Prediction(None, state, error="it said something else")  # type: ignore[arg-type]


def called(prediction: Prediction, **facts: object) -> Prediction:
    return replace(prediction, call=replace(prediction.call, **facts))  # type: ignore[arg-type]


def simulated(
    task: Task, truth: npt.NDArray[np.int_], skill: float, seed: int, *, probabilities: bool = True
) -> list[Prediction]:
    """A spec that sees the truth through noise: the more skill the less noise."""
    generator = np.random.default_rng(seed)
    seen = truth + generator.normal(0, 1 / skill, len(truth))
    places = np.arange(len(task.labels))
    likelihood = np.exp(-0.5 * (skill * (places[None, :] - seen[:, None])) ** 2) + 1e-12
    share = likelihood / likelihood.sum(axis=1, keepdims=True)
    return [
        Prediction(task.labels[line.argmax()], "ok", tuple(line.tolist()) if probabilities else None) for line in share
    ]


def table(task: Task, truths: Sequence[str], texts: Sequence[str | None] | None = None) -> Rows:
    texts = texts if texts is not None else [f"text {i}" for i in range(len(truths))]
    return Rows(
        tuple({task.text: text, task.label: label} for text, label in zip(texts, truths, strict=True)),
        tuple(truths),
        task.text,
    )


def candidate(name: str, predictions: Sequence[Prediction], **more: str) -> Candidate:
    facts = {"technique": "prompt", "model": "a-model", "spec_digest": "s", "fitted_digest": "f"} | more
    return Candidate(name=name, predictions=tuple(predictions), **facts)  # type: ignore[arg-type]
