"""What a trial costs in time as its study grows: the first and the last trials of a long sweep of tiny jobs.

    python benchmarks/sweep_overhead.py [--trials 500] [--storage postgresql://...]

Each trial is a real job of the embedded server on 20 rows, so that nearly all of its time is what Luthier, Optuna and
MLflow take: drawing a point, reserving, submitting, watching, measuring, logging, telling. One trial runs at a time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median

FIRST = 50
"""Trials at either end that are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--storage")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {
            "LUTHIER_HOME": f"{scratch}/home",
            "MLFLOW_TRACKING_URI": f"sqlite:///{Path(scratch) / 'mlflow.db'}",
        }
        import luthier as lt
        from luthier_local.sample import sample_splits

        tables = sample_splits()
        task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
        spec = lt.FineTune(task, "Stars for: {{ text }}", answer="score", endpoint=lt.embedded("wordllama-tunable"))
        space = {
            "tuning.epochs": {"int": [1, 3]},
            "tuning.learning_rate_multiplier": {"log_uniform": [0.05, 2]},
        }
        train = tables["train"].groupby("stars", group_keys=False).head(4)
        validation, holdout = tables["validation"].head(40), tables["test"].head(40)
        found = lt.sweep(
            spec, space, train, validation, holdout=holdout, trials=given.trials, concurrency=1, storage=given.storage
        )
        ended = sorted(found.frame["ended"])
        seconds = [later - earlier for earlier, later in pairwise(ended)]
        first, last = median(seconds[:FIRST]), median(seconds[-FIRST:])
        print(f"{len(ended)} trials; a trial took {first:.2f} s among the first {FIRST}, {last:.2f} s among the last")
        print(f"ratio of the medians: {last / first:.2f}")
        for begin in range(0, len(seconds), FIRST):
            part = seconds[begin : begin + FIRST]
            print(f"  trials {begin + 1:3}-{begin + len(part):3}: {median(part):.3f} s")


if __name__ == "__main__":
    main()
