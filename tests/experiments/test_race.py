from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import luthier as lt
from luthier.endpoints import Engine, Journal
from luthier.evaluation.leaderboard import Leaderboard
from tests.scripted_server import serving

ROWS = 300
ACCURACIES = {"a": 0.90, "b": 0.88, "c": 0.72, "d": 0.60, "e": 0.45, "f": 0.30}
MOOD = lt.Task("mood", label="mood", labels=["good", "bad"])


def answers(names: Sequence[str], rows: int, seed: int = 1) -> dict[str, list[bool]]:
    """Whether each spec is right on each row; hard rows are hard for all."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 1.5, rows)
    found = {}
    for name in names:
        shift = stats.norm.ppf(ACCURACIES[name]) * np.sqrt(1 + 1.5**2)
        found[name] = (shift + hard + generator.normal(0, 1, rows) > 0).tolist()
    return found


def table(rows: int = ROWS, first: int = 0) -> pd.DataFrame:
    truths = ["good" if row % 3 else "bad" for row in range(rows)]
    return pd.DataFrame({"text": [f"review {first + row}" for row in range(rows)], "mood": truths})


class Service:
    """Answers by script, and counts how often it was asked what."""

    def __init__(self, rows: int = ROWS) -> None:
        self.right = answers(list(ACCURACIES), rows)
        self.asked: Counter[tuple[str, int]] = Counter()
        self.url = ""

    def answer(self, body: bytes) -> str:
        said = json.loads(body)["messages"][-1]["content"]
        spec, row = re.search(r"(\w) asks about review (\d+)", said).groups()  # type: ignore[union-attr]
        place = int(row)
        self.asked[spec, place] += 1
        truth, other = ("good", "bad") if place % 3 else ("bad", "good")
        content = truth if self.right[spec][place % len(self.right[spec])] else other
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with serving(200, made.answer) as made.url:
        yield made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("RACE_KEY", "sk-race")
    engine = Engine(Journal.in_memory())
    yield engine
    engine.close()


def specs(service: Service, names: str = "abcdef") -> list[lt.Spec]:
    endpoint = lt.Endpoint(
        provider="openai",
        model="m",
        base_url=service.url,
        api_key_env="RACE_KEY",
        price={"input_usd_per_million": 1, "output_usd_per_million": 1},
    )
    return [lt.Prompt(MOOD, f"{name} asks about {{{{ text }}}}", endpoint=endpoint, name=name) for name in names]


def winners(board: Leaderboard) -> set[str]:
    return {board.best.name, *board.tied_with(board.best.name)}


def test_a_race_finds_the_winner_set_of_the_full_comparison_for_fewer_calls(service: Service, engine: Engine) -> None:
    raced = lt.compare(specs(service), table(), race=True, engine=engine)
    calls = service.asked.total()
    full = lt.compare(specs(service), table(), engine=engine)
    assert winners(raced.leaderboard) == winners(full.leaderboard) == {"a", "b"}
    assert calls < 0.6 * len(ACCURACIES) * ROWS
    assert max(service.asked.values()) == 1
    race = raced.leaderboard.race
    assert race is not None
    assert (race.answers, race.full_answers) == (calls, len(ACCURACIES) * ROWS)
