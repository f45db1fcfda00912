"""A race of specs against the full comparison: the same winner set, for which share of the calls.

    python benchmarks/race.py [--seeds 20] [--rows 1000] [--only simulated|served|error]

`simulated`: 12 specs per seed whose answers are made up, put through the race and the leaderboard as they are; answers
are counted. `served`: the same through the engine, against a server that counts requests (slow; `--served-seeds`).
`error`: how often a race stops a spec that belongs to the winner set, where that is most likely: half of the specs
equal at the top, half of them where the leaderboard just begins to tell them apart.

Rows are hard or easy for all specs alike, so that two of the best disagree on about a sixth of the rows, as two prompts
for one model do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal, RunOptions
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.racing import EARLY_LOOKS, FEWEST_ROWS, block_ends, rehearse, tie_tolerance
from luthier.evaluation.ranking import build_leaderboard
from luthier.experiments.compare import ComparisonSetup
from luthier.providers.exchange import Request
from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.memory_tracker import MemoryTracker
from tests.scripted_server import serving

Right = npt.NDArray[np.bool_]

HARDNESS = 1.5
"""How much rows differ in hardness, in units of one spec's own noise."""

MOOD = lt.Task("mood", label="mood", labels=["good", "bad"])
STARS = lt.Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5])
KEY = "RACE_BENCHMARK_KEY"


def near_the_top(generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Accuracies of 12 specs from .55 to .85, of which three are near the top."""
    return np.concatenate([generator.uniform(0.55, 0.78, 9), generator.uniform(0.83, 0.85, 3)])


def right_or_wrong(generator: np.random.Generator, accuracies: Sequence[float], rows: int) -> Right:
    """Whether each spec is right on each row, shape (specs, rows); hard rows are hard for all."""
    shift = stats.norm.ppf(np.asarray(accuracies))[:, None] * np.sqrt(1 + HARDNESS**2)
    noise = generator.normal(0, 1, (len(accuracies), rows))
    right: Right = shift + generator.normal(0, HARDNESS, rows) + noise > 0
    return right


class Scripted(Spec):
    """Answers by script, without a call; a row that is asked for twice is an error."""

    technique: Literal["scripted"] = "scripted"

    @property
    def needs_training(self) -> bool:
        """Never."""
        return False

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Nothing to fit."""
        yield from ()
        return Fitted(spec=self)

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[Sequence[Request], Sequence[Request]]:
        """None: it sends nothing."""
        return (), ()

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """The answers of the script."""
        yield from ()
        ASKED.update((self.name, row["text"]) for row in rows.inputs)
        return [Prediction(ANSWERS[self.name][row["text"]], "ok") for row in rows.inputs]


ASKED: Counter[tuple[str, str]] = Counter()
ANSWERS: dict[str, dict[str, str]] = {}


def answered(task: lt.Task, truths: Sequence[str], right: Right, generator: np.random.Generator) -> list[list[str]]:
    """What each spec says: the truth, or the label beside it."""
    labels = list(task.labels)
    beside = {label: labels[place - 1 if place else 1] for place, label in enumerate(labels)}
    return [[t if ok else beside[t] for t, ok in zip(truths, own, strict=True)] for own in right]


@dataclass(frozen=True)
class Found:
    """A race against its full comparison."""

    same: bool
    share: float
    winners: int
    twice: int


def winner_set(board: Leaderboard) -> set[str]:
    """The leader and all that cannot be told apart from it."""
    return {board.best.name, *board.tied_with(board.best.name)}


def one_race(task: lt.Task, seed: int, rows: int, specs: Sequence[Spec]) -> Found:
    """Races specs over made-up answers, and holds the result against all their answers."""
    generator = np.random.default_rng(seed)
    right = right_or_wrong(generator, near_the_top(generator), rows)
    truths = [str(label) for label in generator.choice(task.labels, rows)]
    texts = [f"review {row}" for row in range(rows)]
    said = answered(task, truths, right, generator)
    ANSWERS.clear()
    ASKED.clear()
    ANSWERS.update({spec.name: dict(zip(texts, own, strict=True)) for spec, own in zip(specs, said, strict=True)})
    table = pd.DataFrame({"text": texts, task.label: truths})
    engine = Engine(Journal.in_memory())
    try:
        setup = ComparisonSetup(specs, {"test": table}, race=True)
        board = setup.run(RunOptions(engine=engine), tracker=MemoryTracker())
    finally:
        engine.close()
    candidates = [
        Candidate(spec.name, "scripted", predictions=tuple(Prediction(one, "ok") for one in own))
        for spec, own in zip(specs, said, strict=True)
    ]
    full = build_leaderboard(task, task.rows(table, labelled=True), candidates)
    same, winners = winner_set(board.leaderboard) == winner_set(full), winner_set(full)
    return Found(same, ASKED.total() / (rows * len(specs)), len(winners), max(ASKED.values()) - 1)


def line(name: str, found: Sequence[Found]) -> str:
    """All races of a kind in one line."""
    shares = [one.share for one in found]
    return (
        f"{name:<28} same winner set {sum(one.same for one in found)}/{len(found)}  calls {np.mean(shares):.3f} mean "
        f"{np.max(shares):.3f} most  winner set {np.mean([one.winners for one in found]):.1f} mean  rows asked twice "
        f"{sum(one.twice for one in found)}"
    )


def simulated(seeds: int, rows: int) -> None:
    """Made-up answers, ranked by accuracy's kin and by kappa."""
    endpoint = Endpoint(provider="openai", model="scripted", base_url="http://127.0.0.1:9/v1", api_key_env=KEY)
    for task in (MOOD, STARS):
        specs = [Scripted(task, name=f"spec-{place}", endpoint=endpoint) for place in range(12)]
        found = []
        for seed in range(seeds):
            found.append(one_race(task, seed, rows, specs))
            print(f"  seed {seed}: {found[-1]}", file=sys.stderr, flush=True)
        print(line(f"{task.name}, {task.kind.ranking()}, {rows:,} rows", found), flush=True)


def served(seeds: int, rows: int) -> None:
    """The same through the engine, over HTTP."""

    def answer(body: bytes) -> str:
        said = json.loads(body)["messages"][-1]["content"]
        found = re.search(r"^(spec-\d+) asks about (review \d+)$", said)
        assert found is not None
        ASKED[found[1], found[2]] += 1
        content = ANSWERS[found[1]][found[2]]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})

    found = []
    with serving(200, answer) as url:
        endpoint = Endpoint(provider="openai", model="m", base_url=url, api_key_env=KEY)
        names = [f"spec-{place}" for place in range(12)]
        specs = [lt.Prompt(MOOD, name + " asks about {{ text }}", endpoint=endpoint, name=name) for name in names]
        for seed in range(seeds):
            found.append(one_race(MOOD, seed, rows, specs))
            print(f"  seed {seed}: {found[-1]}", file=sys.stderr, flush=True)
    print(line("served", found), flush=True)


def error(repeats: int, rows: int) -> None:
    """How often a spec that belongs to the winner set is stopped, where that is likeliest."""
    specs, wrong, shares = 12, 0, []
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        scores = right_or_wrong(generator, [0.85] * 6 + [0.80] * 6, rows).astype(float)
        outcome = rehearse(
            scores, tolerance=tie_tolerance(specs), most=1.0, ends=block_ends(rows, EARLY_LOOKS, FEWEST_ROWS)
        )
        means = scores.mean(axis=1)
        apart = scores[means.argmax()] - scores
        deviations = np.maximum(apart.std(axis=1), 1e-12)
        tied = apart.mean(axis=1) * np.sqrt(rows) / deviations < -tie_tolerance(specs)
        wrong += not set(np.flatnonzero(tied)) <= set(outcome.survivors)
        shares.append(outcome.evaluations / outcome.full_evaluations)
    print(f"a spec of the winner set stopped in {wrong} of {repeats} races; calls {np.mean(shares):.3f} mean")


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--served-seeds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--only", choices=["simulated", "served", "error"])
    given = parser.parse_args()
    os.environ[KEY] = "sk-race"
    with tempfile.TemporaryDirectory() as home:
        os.environ["LUTHIER_HOME"] = home
        if given.only in (None, "simulated"):
            simulated(given.seeds, given.rows)
        if given.only in (None, "served"):
            served(given.served_seeds, given.rows)
        if given.only in (None, "error"):
            error(given.repeats, given.rows)


if __name__ == "__main__":
    main()
