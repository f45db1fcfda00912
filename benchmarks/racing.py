"""Racing against evaluating everybody on everything: the same winners, at a share of the calls.

    python benchmarks/racing.py [--seeds 20] [--repeats 200] [--yelp FOLDER] [--only simulated|served]

Two parts. `simulated`: races over made-up right-or-wrong answers whose rows are hard for all candidates alike, for
candidates that are all equal, of which one is a little better, and whose skills are spread. `served`: the search for
examples as `luthier fit` runs it, through the engine, against the embedded server's deterministic model on real
reviews; calls are counted on the server.

Judged against the full evaluation: its winner set are the candidates that the paired test (McNemar, exact, level
.05, uncorrected, which makes the set small) cannot tell from its best.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from luthier.engine.engine import Engine
from luthier.evaluation.racing import rehearse
from luthier.evaluation.statistics import mcnemar
from luthier.journal.journal import Journal
from luthier.providers.endpoint import compatible
from luthier.tasks.task import Rows, Task
from luthier.techniques.conversations import gather
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.few_shot import split_rows
from luthier.techniques.prompt.prompt import Prompt
from luthier_local import LocalServer

Scores = npt.NDArray[np.float64]

SAMPLES = 30
KEY_VARIABLE = "RACING_KEY"
ROW_DEVIATION = 1.5
"""How much rows differ in hardness, in units of one candidate's own noise; two candidates then disagree on a quarter
of the rows, as two draws of examples do."""


@dataclass(frozen=True)
class Found:
    """One race against its full evaluation.

    Attributes:
        in_set: whether its winner is in the winner set of the full evaluation.
        survivors_in_set: whether all that stayed are.
        same: whether its winner is the best of the full evaluation, or ties with it.
        lost: mean score lost.
        share: of all evaluations, taken.
        winner_set: how many candidates are in the winner set.
    """

    in_set: bool
    survivors_in_set: bool
    same: bool
    lost: float
    share: float
    winner_set: int


def judged(scores: Scores, winner: int, survivors: tuple[int, ...], evaluations: int) -> Found:
    """What a race came to, by the scores of everybody on everything."""
    means = scores.mean(axis=1)
    best = int(means.argmax())
    tied = {c for c in range(len(scores)) if mcnemar(scores[best] > 0.5, scores[c] > 0.5) >= 0.05}
    lost = float(means[best] - means[winner])
    return Found(winner in tied, set(survivors) <= tied, lost < 1e-12, lost, evaluations / scores.size, len(tied))


def line(name: str, found: list[Found]) -> str:
    """One scenario in one line."""
    count = len(found)
    lost = [one.lost for one in found]
    same, within = sum(one.same for one in found), sum(one.in_set for one in found)
    return (
        f"{name:<34} winner in set {within:>3}/{count}  survivors in set "
        f"{sum(one.survivors_in_set for one in found):>3}/{count}  very best {same:>3}/{count}"
        f"  lost {np.mean(lost):.4f} mean {np.max(lost):.3f} most  calls {np.mean([o.share for o in found]):.3f} mean "
        f"{np.max([one.share for one in found]):.3f} most  set {np.mean([one.winner_set for one in found]):.1f}"
    )


def family(generator: np.random.Generator, skills: Scores, rows: int) -> Scores:
    """Right-or-wrong answers of candidates with these accuracies above one half, on rows of one hardness for all."""
    shift = skills[:, None] / stats.norm.pdf(0) * np.sqrt(1 + ROW_DEVIATION**2)
    hard = generator.normal(0, ROW_DEVIATION, rows)
    right = shift + hard + generator.normal(0, 1, (len(skills), rows)) > 0
    return np.asarray(right, dtype=float)


def simulated(repeats: int) -> None:
    """Races over made-up answers; `no cuts` is the test alone, `nobody within` the test without tolerance."""
    one_better = np.zeros(SAMPLES)
    one_better[11] = 0.05
    scenarios: dict[str, Callable[[np.random.Generator], Scores]] = {
        "all equal": lambda generator: np.zeros(SAMPLES),
        "one better by .05": lambda generator: one_better,
        "spread .03": lambda generator: generator.normal(0, 0.03, SAMPLES),
        "spread .05": lambda generator: generator.normal(0, 0.05, SAMPLES),
        "spread .08": lambda generator: generator.normal(0, 0.08, SAMPLES),
    }
    rules = {"": {}, ", no cuts": {"most": 1.0}, ", no cuts, no tolerance": {"most": 1.0, "tolerance": 0.0}}
    for rows in (100, 200):
        print(f"{SAMPLES} samples, {rows} rows, {repeats} races each")
        for scenario, skills in scenarios.items():
            for rule, settings in rules.items():
                generator = np.random.default_rng(7)
                found = []
                for _ in range(repeats):
                    scores = family(generator, skills(generator), rows)
                    outcome = rehearse(scores, **settings)
                    found.append(judged(scores, outcome.winner, outcome.survivors, outcome.evaluations))
                print(line(scenario + rule, found), flush=True)


def served(folder: Path, seeds: int) -> None:
    """The search as a user runs it, against the deterministic model on real reviews."""
    task = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
    train = pd.read_csv(folder / "train.csv").sample(1000, random_state=7)
    known = task.rows(train, labelled=True)
    os.environ[KEY_VARIABLE] = "sk-racing"
    found = []
    with tempfile.TemporaryDirectory() as home, LocalServer(api_key="sk-racing") as server:
        os.environ["LUTHIER_HOME"] = home
        endpoint = compatible("deterministic", server.base_url, api_key_env=KEY_VARIABLE)
        for seed in range(seeds):
            spec = Prompt(
                task,
                "Review: {{ text | truncate(300) }}\nStars:",
                endpoint=endpoint,
                examples={"count": 4, "select": "searched", "samples": SAMPLES, "rows": 100, "seed": 1000 * seed},
            )
            found.append(_one_search(spec, known, server))
            print(f"seed {seed}: {found[-1]}", flush=True)
    print(line("served", found))


def _one_search(spec: Prompt, known: Rows, server: LocalServer) -> Found:
    engine = Engine(Journal.in_memory())
    assert spec.endpoint is not None
    before = server.received.total
    fitted = engine.drive(spec.fit(known), spec.endpoint)
    calls = server.received.total - before
    drawn = split_rows(spec, known).search
    assert drawn is not None
    rows = known.take(drawn.judged)
    scores = np.zeros((len(drawn.samples), len(rows)))
    for number, sample in enumerate(drawn.samples):
        adapter = adapter_for(spec, {"examples": spec.kept(known, sample.positions)})
        predictions = engine.drive(gather(adapter.row(inputs) for inputs in rows.inputs), spec.endpoint)
        scores[number] = [
            spec.task.kind.score(None, prediction, truth)
            for prediction, truth in zip(predictions, rows.labels, strict=True)
        ]
    engine.close()
    table = fitted.state["samples"]
    winner = next(line["sample"] - 1 for line in table if line["winner"])
    survivors = tuple(line["sample"] - 1 for line in table if line["by"] is None)
    return judged(scores, winner, survivors, calls)


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--yelp", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data" / "yelp")
    parser.add_argument("--only", choices=["simulated", "served"])
    given = parser.parse_args()
    if given.only != "served":
        simulated(given.repeats)
    if given.only != "simulated":
        served(given.yelp, given.seeds)


if __name__ == "__main__":
    main()
