"""Tables of trials for `sweep_landscapes.py`: jobs of the embedded trainer at random settings.

    python benchmarks/sweep_trainings.py [--trials 400] [--yelp FOLDER] [--into FOLDER]

Every trial is what a job of the embedded server would compute, called directly: the same settings, seed and rows
give the same weights. A trial's base, epochs, batch size and learning-rate multiplier are drawn at random; its F1 is
weighted, on validation rows. The tables held apart judge the default sampler; the others were there to choose it
with. Two tables of the same data are trained on different rows and share their validation rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from luthier_local.jobs.job_requests import HASHED, WORDLLAMA_TABLE
from luthier_local.jobs.token_table import open_table
from luthier_local.jobs.training import Hyperparameters, Training, ValidationSet
from luthier_local.sample import sample_splits

DATA = Path(__file__).parent / "data"
BASES = (HASHED, WORDLLAMA_TABLE)
MOST_EPOCHS = 20
BATCH_SIZES = (4, 8, 16, 32)
RATES = (0.02, 20.0)
VALIDATION_ROWS = 400
SEED = 7


class Source(NamedTuple):
    """Where a table's rows are from.

    Attributes:
        name: of the file.
        data: `sample` or `yelp`.
        split: whose rows are trained on.
        rows: how many are.
    """

    name: str
    data: str
    split: str
    rows: int


SOURCES = (
    Source("sample-300", "sample", "train", 300),  # held apart
    Source("yelp-400", "yelp", "train", 400),  # held apart
    Source("sample-80", "sample", "test", 80),
    Source("yelp-120", "yelp", "test", 120),
)


def trials(train: pd.DataFrame, validation: pd.DataFrame, count: int, seed: int) -> Iterator[dict[str, object]]:
    """One row of a table after another."""
    generator = np.random.default_rng(seed)
    truths = [str(value) for value in validation["stars"]]
    for _ in range(count):
        base = str(generator.choice(BASES))
        epochs, size = int(generator.integers(1, MOST_EPOCHS + 1)), int(generator.choice(BATCH_SIZES))
        rate = round(float(np.exp(generator.uniform(*np.log(RATES)))), 5)
        answers = [str(value) for value in train["stars"]]
        training = Training(
            open_table(base), [str(text) for text in train["text"]], answers, Hyperparameters(epochs, size, rate, SEED)
        )
        while training.step < training.steps:
            training.take_step()
        held_out = ValidationSet(training, [str(text) for text in validation["text"]], truths)
        shares = held_out.shares(training.network())
        answered = [training.answers[place] for place in shares.argmax(axis=1)]
        yield {
            "base": base,
            "n_epochs": epochs,
            "batch_size": size,
            "learning_rate_multiplier": rate,
            "trained_tokens": training.seen()[0],
            "valid_loss": round(held_out.measure(shares).loss, 4),
            "weighted_f1": round(float(f1_score(truths, answered, average="weighted")), 4),
        }


def main() -> None:
    """Makes the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--yelp", type=Path, default=Path("../shared/data/yelp"))
    parser.add_argument("--into", type=Path, default=DATA)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(SOURCES):
        if source.data == "yelp" and not given.yelp.is_dir():
            print(f"{source.name}: left out, {given.yelp} is not there")
            continue
        splits = (
            sample_splits()
            if source.data == "sample"
            else {path.stem: pd.read_csv(path) for path in given.yelp.glob("*.csv")}
        )
        train = splits[source.split].sample(source.rows, random_state=SEED)
        validation = splits["validation"].sample(VALIDATION_ROWS, random_state=SEED)
        table = pd.DataFrame(trials(train, validation, given.trials, number))
        table.to_csv(given.into / f"trials-{source.name}.csv", index=False, lineterminator="\n")
        best, top = table["weighted_f1"].max(), table["weighted_f1"].quantile(0.95)
        print(
            f"{source.name}: best {best:.3f}, top 5% from {top:.3f}, median {table['weighted_f1'].median():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
