"""A search as proposers see it, over a real engine and a service that says what a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from luthier.endpoints import Endpoint, Engine
from luthier.engine.options import RunOptions
from luthier.evaluation.metrics import evaluate
from luthier.experiments.fits import fit_on
from luthier.improving.records import MeasuredPrompt, Proposal
from luthier.providers.exchange import Answer, Conversation, Request
from luthier.tasks.task import Rows
from luthier.techniques import Prompt
from tests.scripted_server import serving

__all__ = ["Asked", "Searching", "service", "the_dull_model"]


@dataclass
class Asked:
    """What the service was asked: prompts about rows, requests for instructions, and the bodies of these."""

    rows: list[str] = field(default_factory=list)
    writer: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


Writes = Callable[[str, int], str | dict[str, object]]


def the_dull_model(prompt: str) -> str:
    """Rates by a single word, and knows no five stars: some answers are wrong."""
    text = prompt.rpartition("The ")[2]
    words = {"terrible": "1", "bad": "2", "okay": "3", "good": "4", "great": "4"}
    return next((stars for word, stars in words.items() if word in text), "no idea")


@contextmanager
def service(
    writes: Writes | str = "", answers: Callable[[str], str] = the_dull_model
) -> Iterator[tuple[Endpoint, Asked]]:
    """A chat service; `writes` makes the content, or a whole choice, of a request for instructions and its number."""
    asked = Asked()

    def answer(body: bytes) -> str:
        sent = json.loads(body)
        prompt = "\n\n".join(turn["content"] for turn in sent["messages"])
        choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
        if "<new_instructions>" in prompt:
            asked.writer.append(prompt)
            asked.bodies.append(sent)
            said = writes if isinstance(writes, str) else writes(prompt, len(asked.writer) - 1)
            made = {"message": {"role": "assistant", "content": said}} if isinstance(said, str) else said
        else:
            asked.rows.append(prompt)
            made = {"message": {"role": "assistant", "content": answers(prompt)}}
        usage = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}
        return json.dumps(
            {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
            | {"choices": [choice | made]}
        )

    with serving(200, answer) as url:
        yield Endpoint(provider="compatible", base_url=url, model="m"), asked


class Searching:
    """A `PromptSearch` that measures what it is told to."""

    def __init__(self, start: Prompt, rows: Rows, engine: Engine, *, train: Rows | None = None, seed: int = 7) -> None:
        self.start, self.rows, self.train, self.seed = start, rows, train or rows, seed
        self.notes: list[str] = []
        self._engine, self._measured = engine, list[MeasuredPrompt]()
        self.measure([Proposal(start, "", "")], range(len(rows)))

    @property
    def measured(self) -> Sequence[MeasuredPrompt]:
        kind = self.start.task.kind
        sign = -1 if kind.metrics[kind.ranking()].better == "higher" else 1
        return sorted(self._measured, key=lambda one: sign * one.score.value)

    def ask_writer(self, requests: Sequence[Request]) -> Sequence[Answer]:
        def conversation() -> Conversation[Sequence[Answer]]:
            return (yield requests)

        return self._engine.drive(conversation(), self.start.endpoint)

    def measure(self, proposals: Sequence[Proposal], positions: Sequence[int]) -> Sequence[MeasuredPrompt]:
        found = []
        for one in proposals:
            fitted = fit_on(one.spec, self.train, RunOptions(engine=self._engine))
            part = self.rows.take(positions)
            predictions = tuple(self._engine.drive(one.spec.predict(part, fitted), one.spec.endpoint))
            score = evaluate(one.spec.task, part.labels, predictions, resamples=20)[one.spec.task.kind.ranking()]
            found.append(MeasuredPrompt(one.spec, one.parent, one.how, tuple(positions), predictions, score, None))
        self._measured += found
        return found

    def note(self, said: str) -> None:
        if said not in self.notes:
            self.notes.append(said)
