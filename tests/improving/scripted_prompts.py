"""A model that is right more often the more of some words its prompt has, and one that writes instructions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

import luthier as lt
from luthier.endpoints import Endpoint, Price
from tests.scripted_server import serving

WORDS = ("carefully", "overall", "exactly")
"""Each makes the model right about one more row in ten."""

IDLE = ("Please answer.", "Be brief.", "Think of a reader.", "Use your judgement.", "Mind the tone.", "No reasons.")
LABELS = ("bad", "good")
MOOD = lt.Task("mood", text="text", label="mood", labels=list(LABELS))

SAME = 0.7
"""Share of the answers that do not change with a wording as long as it has the same words."""


def drawn(*about: object) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    digest = hashlib.sha256(json.dumps(about).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass
class ScriptedModels:
    """Where they answer, and what was asked of them.

    Attributes:
        address: base URL.
        asked: model and whole body of every request, in order.
        usd: what all requests together cost by the endpoints' prices.
    """

    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    usd: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def answering(self) -> Endpoint:
        """The model that answers rows."""
        return self._endpoint("answers", PRICES["answers"])

    def writing(self) -> Endpoint:
        """The model that writes instructions."""
        return self._endpoint("writes", PRICES["writes"])

    def _endpoint(self, model: str, price: tuple[float, float]) -> Endpoint:
        return Endpoint(
            provider="compatible",
            base_url=self.address,
            model=model,
            price=Price(input_usd_per_million=price[0], output_usd_per_million=price[1]),
        )

    def prompt(self, system: str = "Say whether the text is good or bad.", name: str = "mood") -> lt.Prompt:
        """The prompt to begin with."""
        return lt.Prompt(MOOD, "{{ text }}", system=system, endpoint=self.answering(), name=name)


PRICES = {"answers": (1.0, 1.0), "writes": (1.0, 1.0)}


@contextlib.contextmanager
def scripted_models(
    truths: dict[str, str], words: Sequence[str] = WORDS, step: float = 0.1
) -> Iterator[ScriptedModels]:
    """Both models on a server of their own.

    Args:
        truths: the label of each text; of a text that is not in it the model always says `bad`.
        words: what makes a prompt better.
        step: by how much each does.
    """
    models = ScriptedModels()

    def answer(asked: bytes) -> str:
        body = json.loads(asked)
        model, messages = body["model"], body["messages"]
        said = written(messages, words) if model == "writes" else label(messages, truths, words, step)
        tokens = sum(len(one["content"]) for one in messages) // 4 + 8, max(1, len(said) // 4)
        with models.lock:
            models.asked.append((model, asked.decode()))
            models.usd += sum(count * price / 1e6 for count, price in zip(tokens, PRICES[model], strict=True))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        return json.dumps({"id": "x", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage})

    with serving(200, answer) as address:
        models.address = address
        yield models


def label(messages: Sequence[dict[str, str]], truths: dict[str, str], words: Sequence[str], step: float) -> str:
    """Right with probability .5, and so much more for each of the words in the prompt."""
    text = messages[-1]["content"]
    prompt = " ".join(one["content"] for one in messages[:-1]).lower()
    there = [word for word in words if word in prompt]
    luck = drawn("row", text) if drawn("same", text, prompt) < SAME else drawn("both", text, prompt)
    truth = truths.get(text, "bad")
    right = luck < 0.5 + step * len(there)
    return truth if right else LABELS[1 - LABELS.index(truth)]


def written(messages: Sequence[dict[str, str]], words: Sequence[str]) -> str:
    """Instructions: those that are there, and a sentence more, which sometimes holds one of the words."""
    asked = messages[-1]["content"]
    luck = random.Random(drawn("writer", [one["content"] for one in messages]))
    found = re.search(r"<instructions>\n(.*?)\n</instructions>", asked, re.S)
    assert found is not None
    more = f"Read it {luck.choice(words)}." if luck.random() < 0.35 else luck.choice(IDLE)
    return f"<new_instructions>{found[1]} {more}</new_instructions>"


def texts(count: int, seed: int = 0, *, first: int = 0) -> pd.DataFrame:
    """Labelled texts, all different."""
    luck = random.Random(f"{seed}/{first}")
    rows = range(first, first + count)
    return pd.DataFrame({"text": [f"text {seed}-{n}" for n in rows], "mood": [luck.choice(LABELS) for _ in rows]})


def truths_of(*tables: pd.DataFrame) -> dict[str, str]:
    """The label of each text."""
    return {text: mood for table in tables for text, mood in zip(table["text"], table["mood"], strict=True)}
