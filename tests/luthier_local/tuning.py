"""A server with its client, made-up training files, and waiting: for the tests of files, jobs and batches."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

from luthier_local import LocalServer, ModelCard
from tests.patience import until

BASE = ModelCard("tiny", backend="tunable-hashed", completions=False)
SOUNDS = {"1": "terrible awful", "2": "bad dull", "3": "okay average", "4": "good tasty", "5": "great wonderful"}
ENDED = ("succeeded", "failed", "cancelled")


@contextmanager
def served(**given: Any) -> Iterator[tuple[LocalServer, openai.OpenAI]]:
    """A running server and a client of it that does not try again."""
    with LocalServer(**given) as server:
        with openai.OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0) as client:
            yield server, client


def chat(text: str, answer: str | None = None, system: str | None = "Rate it.") -> dict[str, Any]:
    turns = [{"role": "user", "content": text}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    return {"messages": turns}


def reviews(count: int, seed: int, answers: Sequence[str] = tuple(SOUNDS)) -> list[dict[str, Any]]:
    drawn = random.Random(seed)
    examples = []
    for number in range(count):
        place = drawn.randrange(5)
        thing = drawn.choice(["food", "room", "soup", "staff"])
        text = f"The {thing} was {list(SOUNDS.values())[place]}, visit {number}"
        examples.append(chat(text, answers[place % len(answers)]))
    return examples


def jsonl(examples: Sequence[Any]) -> bytes:
    return "\n".join(json.dumps(example) for example in examples).encode()


def upload(client: openai.OpenAI, examples: Sequence[Any] | bytes, purpose: Any = "fine-tune") -> str:
    content = examples if isinstance(examples, bytes) else jsonl(examples)
    return client.files.create(file=("rows.jsonl", content), purpose=purpose).id


def submit(client: openai.OpenAI, count: int = 60, held_out: int = 40, **given: Any) -> FineTuningJob:
    """A job of 12 steps: 4 epochs of 3."""
    hyperparameters = given.pop("hyperparameters", {"n_epochs": 4, "batch_size": 20, "learning_rate_multiplier": 2})
    answers = given.pop("answers", tuple(SOUNDS))
    return client.fine_tuning.jobs.create(
        **{
            "model": "tiny",
            "training_file": upload(client, reviews(count, 1, answers)),
            "validation_file": upload(client, reviews(held_out, 2, answers)) if held_out else None,
            "seed": 3,
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
            **given,
        }
    )


def wait(client: openai.OpenAI, job: FineTuningJob, *states: str) -> FineTuningJob:
    until(lambda: client.fine_tuning.jobs.retrieve(job.id).status in (states or ENDED))
    return client.fine_tuning.jobs.retrieve(job.id)


def steps_of(client: openai.OpenAI, job: FineTuningJob) -> list[int]:
    """Steps whose metrics were reported, oldest first."""
    events = [event for event in client.fine_tuning.jobs.list_events(job.id, limit=100) if event.type == "metrics"]
    return [event.data["step"] for event in reversed(events)]  # type: ignore[index]


def results(client: openai.OpenAI, job: FineTuningJob) -> list[dict[str, str]]:
    content = client.files.content(job.result_files[0]).content
    return list(csv.DictReader(io.StringIO(base64.b64decode(content).decode())))


def digest(client: openai.OpenAI, name: str) -> str:
    return str(client.models.retrieve(name).model_extra["digest"])  # type: ignore[index]
