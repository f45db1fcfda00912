"""How well a part of a training predicts its end, and what early stopping saves: jobs of the embedded trainer.

    python benchmarks/early_stopping.py [--seeds 10] [--rows 200] [--yelp FOLDER]

Every batch size and learning rate of a grid is trained for 20 epochs, called directly: what a job of the embedded
server would compute, bit for bit. A job of fewer epochs is the beginning of that. So a sweep of 40 trials is replayed
in seconds, with each trial at the nearest rate of the grid. Figures are those that the server reports: the loss on the
whole validation file after each epoch, and on a batch of its rows 200 times a job.

The first lines of a table are rank correlations of what a job had reported with its weighted F1 at the end. The
others say how much was trained with each pruner, and the F1 of the best trial, relative to no pruner with the same
seeds: on the rows by which it was chosen, and on fresh ones.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from luthier.sweeps.early_stopping import GRID, EarlyStopping, EarlyStoppingSettings
from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.trial import SweepObjective
from luthier.tuning.tuners.tuner import JobEvent, JobState
from luthier_local.jobs.chat_examples import JobError
from luthier_local.jobs.job_requests import HASHED, WORDLLAMA_TABLE
from luthier_local.jobs.token_table import open_table
from luthier_local.jobs.training import Hyperparameters, Training, ValidationSet
from luthier_local.jobs.tuned_network import Network
from luthier_local.sample import sample_splits

EPOCHS, SIZES, LOW, HIGH, RATES = 20, (4, 8, 16), 0.05, 2.0, 16
VALIDATION_ROWS = 250
REPORTS = 200
TRIALS = 40
SEED = 7
F1 = SweepObjective("weighted_f1", "maximize")
SPACE: dict[str, BaseDistribution] = {
    "tuning.epochs": IntDistribution(1, EPOCHS),
    "tuning.batch_size": CategoricalDistribution(SIZES),
    "tuning.learning_rate_multiplier": FloatDistribution(LOW, HIGH, log=True),
}


class Curve(NamedTuple):
    """A training of 20 epochs.

    Attributes:
        sampled: loss on some validation rows after each step.
        whole: loss on all of them after each epoch.
        scores: weighted F1 on them after each epoch.
        fresh: weighted F1 on rows that no trial is chosen by, after each epoch.
    """

    steps_an_epoch: int
    size: int
    sampled: list[float]
    whole: list[float]
    scores: list[float]
    fresh: list[float]

    def events(self, epochs: int) -> Iterator[JobEvent]:
        """What the server reports of a job of so many epochs."""
        steps = self.steps_an_epoch * epochs
        every = math.ceil(steps / REPORTS)
        for step in range(1, steps + 1):
            figures = {"valid_loss": self.sampled[step - 1]} if step % every == 0 else {}
            if step % self.steps_an_epoch == 0:
                figures["full_valid_loss"] = self.whole[step // self.steps_an_epoch - 1]
            if figures:
                yield JobEvent(f"step-{step}", 0.0, "", step, figures, steps)


Curves = Mapping[tuple[int, int], Curve]


def train(table: str, rows: pd.DataFrame, held_out: pd.DataFrame, fresh: pd.DataFrame) -> dict[tuple[int, int], Curve]:
    """The curve of each batch size and rate, by its place in the grid; those that diverge are left out."""
    found = {}
    for size in SIZES:
        for place in range(RATES):
            rate = LOW * (HIGH / LOW) ** (place / (RATES - 1))
            settings = Hyperparameters(EPOCHS, size, rate, SEED)
            answers = [str(value) for value in rows["stars"]]
            training = Training(open_table(table), [str(text) for text in rows["text"]], answers, settings)
            validation, unseen = (rows_of(training, frame) for frame in (held_out, fresh))
            curve = Curve(training.steps_per_epoch, size, [], [], [], [])
            try:
                for step in range(1, training.steps + 1):
                    training.take_step()
                    some = [number % len(validation) for number in range(step * size, (step + 1) * size)]
                    curve.sampled.append(training.measure_some(validation, some).loss)
                    if step % training.steps_per_epoch == 0:
                        network = training.network()
                        curve.whole.append(validation.measure(validation.shares(network)).loss)
                        curve.scores.append(score(validation, network))
                        curve.fresh.append(score(unseen, network))
            except JobError:
                continue
            found[size, place] = curve
    return found


def rows_of(training: Training, frame: pd.DataFrame) -> ValidationSet:
    """A table that a training is measured on."""
    return ValidationSet(training, [str(text) for text in frame["text"]], [str(value) for value in frame["stars"]])


def score(rows: ValidationSet, network: Network) -> float:
    """Weighted F1."""
    return float(f1_score(rows.right, rows.shares(network).argmax(axis=1), average="weighted"))


class Swept(NamedTuple):
    """A sweep: rows trained on, F1 of the best trial by which it was chosen and on fresh rows, trials stopped."""

    trained: int
    best: float
    fresh: float
    stopped: int


def sweep(curves: Curves, seed: int, settings: EarlyStoppingSettings) -> Swept:
    """Replays a sweep."""
    study = optuna.create_study(
        direction="maximize", sampler=sampler_of("tpe", seed, [F1], SPACE), study_name=str(seed)
    )
    stopping = EarlyStopping(settings, F1)
    trained = stopped = 0
    fresh: dict[int, float] = {}
    for number in range(TRIALS):
        trial = study.ask(SPACE)
        epochs, size = trial.params["tuning.epochs"], trial.params["tuning.batch_size"]
        place = round((RATES - 1) * math.log(trial.params["tuning.learning_rate_multiplier"] / LOW, HIGH / LOW))
        curve = curves.get((size, place))
        if curve is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        job, steps, taken = JobState(f"job-{number}", "running", "base"), curve.steps_an_epoch * epochs, 0
        for event in curve.events(epochs):
            taken = event.step or 0
            reports = stopping.reports(job, [event], steps)
            for step, value in reports:
                trial.report(value, step)
            if reports and stopping.verdict(study, number) == "stop":
                break
        trained += taken * size
        if taken < steps:
            stopped += 1
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, curve.scores[epochs - 1])
            fresh[number] = curve.fresh[epochs - 1]
    return Swept(trained, study.best_value, fresh[study.best_trial.number], stopped)


def units(curves: Curves, settings: EarlyStoppingSettings, part: int) -> dict[str, float]:
    """Rank correlation with the final F1 of what jobs of random lengths have reported, by where they are compared."""
    generator = np.random.default_rng(SEED)
    jobs = [(curve, int(epochs)) for curve in curves.values() for epochs in generator.integers(1, EPOCHS + 1, 3)]

    def rank(value: Callable[[Curve, int], float | None]) -> float:
        known = [(one, curve.scores[epochs - 1]) for curve, epochs in jobs if (one := value(curve, epochs)) is not None]
        return float(spearmanr(*zip(*known, strict=True))[0])

    def reported(curve: Curve, epochs: int) -> float | None:
        steps = curve.steps_an_epoch * epochs
        job = JobState("job", "running", "base")
        found = EarlyStopping(settings, F1).reports(job, [*curve.events(epochs)], steps)
        return dict(found).get(part)

    def last(curve: Curve, epochs: int) -> float | None:
        ended = epochs * part // 100
        return -curve.whole[ended - 1] if ended else None

    return {
        "reported": rank(reported),
        "last whole loss": rank(last),
        "best of 2 epochs": rank(lambda curve, epochs: -min(curve.whole[:2]) if epochs > 1 else None),
        "F1 so far": rank(lambda curve, epochs: max(curve.scores[: epochs * part // 100], default=None)),
    }


def main() -> None:
    """Prints both tables for each source of rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--yelp", type=Path, default=Path("../shared/data/yelp"))
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sources = {"sample": sample_splits()}
    if given.yelp.is_dir():
        sources["yelp"] = {path.stem: pd.read_csv(path) for path in given.yelp.glob("*.csv")}
    for source, splits in sources.items():
        for table in (WORDLLAMA_TABLE, HASHED):
            rows = splits["train"].sample(given.rows, random_state=SEED)
            held_out = splits["validation"].sample(VALIDATION_ROWS, random_state=SEED)
            curves = train(table, rows, held_out, splits["test"])
            print(f"\n{source}, {table}: best F1 of the grid {max(max(one.scores) for one in curves.values()):.3f}")
            for part in (2 * GRID, 4 * GRID, 50, 100):
                line = ", ".join(
                    f"{name} {rank:.2f}" for name, rank in units(curves, EarlyStoppingSettings(), part).items()
                )
                print(f"  after {part} %: {line}", flush=True)
            base = [sweep(curves, seed, EarlyStoppingSettings(pruner="none")) for seed in range(given.seeds)]
            for pruner in ("median", "halving", "hyperband"):
                settings = EarlyStoppingSettings.model_validate({"pruner": pruner})
                mine = [sweep(curves, seed, settings) for seed in range(given.seeds)]
                share = sum(one.trained for one in mine) / sum(one.trained for one in base)
                stopped = sum(one.stopped for one in mine) / given.seeds
                print(f"  {pruner}: {share:.2f} of the training, {stopped:.0f} of {TRIALS} stopped", end="")
                for name in ("best", "fresh"):
                    lost = np.array([getattr(a, name) - getattr(b, name) for a, b in zip(mine, base, strict=True)])
                    error = lost.std(ddof=1) / math.sqrt(given.seeds)
                    print(f", {name} F1 {lost.mean():+.4f} (standard error {error:.4f})", end="")
                print(flush=True)


if __name__ == "__main__":
    main()
