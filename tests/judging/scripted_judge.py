"""A judge that rates by a rule of the test's, and answers of two specs to the same rows."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd

import luthier as lt
from luthier.endpoints import Endpoint, Price
from tests.scripted_server import Refused, serving

TEMPLATE = "Text: {{ text }}\nReference: {{ truth }}\nAnswer: {{ answer }}"
QUALITY = lt.Task("quality", type="rating", text="answer", label="rating", labels=[1, 2, 3, 4, 5])
USD_PER_MILLION = 10.0


@dataclass
class ScriptedJudge:
    """Where it answers, and what it was asked.

    Attributes:
        address: base URL.
        asked: the user turn of every request, in order.
        says: what it answers to a user turn; raises `Refused` for another status.
    """

    says: Callable[[str], str]
    address: str = ""
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def endpoint(self, model: str = "judging") -> Endpoint:
        price = Price(input_usd_per_million=USD_PER_MILLION, output_usd_per_million=USD_PER_MILLION)
        return Endpoint(provider="compatible", base_url=self.address, model=model, price=price)

    def spec(self, template: str = TEMPLATE, task: lt.Task = QUALITY, **more: object) -> lt.Prompt:
        given = {"name": "judge", "endpoint": self.endpoint()} | more
        return lt.Prompt(task, template, **given)  # type: ignore[arg-type]

    def yaml(self) -> str:
        """The same as a file."""
        return json.dumps(self.spec().document())


def by_agreement(turn: str) -> str:
    """5 where the answer is the reference, 2 where it is not."""
    said = dict(line.split(": ", 1) for line in turn.splitlines() if ": " in line)
    return "5" if said["Answer"] == said["Reference"] else "2"


@contextlib.contextmanager
def scripted_judge(says: Callable[[str], str] = by_agreement) -> Iterator[ScriptedJudge]:
    """The judge on a server of its own."""
    judge = ScriptedJudge(says)

    def answer(asked: bytes) -> str:
        turn = json.loads(asked)["messages"][-1]["content"]
        with judge.lock:
            judge.asked.append(turn)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": judge.says(turn)}}
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        document = {"id": "x", "object": "chat.completion", "model": "judging", "choices": [choice], "usage": usage}
        return json.dumps(document)

    with serving(200, answer) as address:
        judge.address = address
        yield judge


def refusing(turn: str) -> str:
    """A service that takes no request."""
    raise Refused(401, json.dumps({"error": {"message": "wrong key"}}))


def answered(rows: int = 60, *, good: int = 54, poor: int = 24) -> pd.DataFrame:
    """Answers of two specs, `good` and `poor`, the first so many of them right."""
    lines = []
    for spec, right in (("good", good), ("poor", poor)):
        for row in range(1, rows + 1):
            truth = f"truth {row}"
            said = truth if row <= right else f"something else {row}"
            lines.append({"spec": spec, "row": row, "text": f"text {row}", "truth": truth, "answer": said})
    return pd.DataFrame(lines)
