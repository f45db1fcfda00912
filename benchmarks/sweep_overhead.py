"""What a trial costs in time as its study grows: the first and the last trials of a long sweep of tiny jobs.

    python benchmarks/sweep_overhead.py [--trials 500] [--storage postgresql://...]

Each trial is a real job of the embedded server on 20 rows, so that nearly all of its time is what Luthier, Optuna and
MLflow take: drawing a point, reserving, submitting, watching, measuring, logging, telling. One trial runs at a time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
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
        from luthier.api import SweepSetup
        from luthier.sweeps.settings import SweepSettings
        from luthier.sweeps.sweep_progress import SweepProgress
        from luthier.sweeps.trial import SweepTrial
        from luthier_local.sample import sample_splits

        ended: list[tuple[float, float]] = []

        class Clock(SweepProgress):
            """Notes when trials end, by the wall and by the processor time of this process."""

            def trial_ended(self, trial: SweepTrial) -> None:
                super().trial_ended(trial)
                ended.append((time.monotonic(), time.process_time()))

        tables = sample_splits()
        task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
        spec = lt.FineTune(task, "Stars for: {{ text }}", answer="score", endpoint=lt.embedded("wordllama-tunable"))
        space = {
            "tuning.epochs": {"int": [1, 3]},
            "tuning.learning_rate_multiplier": {"log_uniform": [0.05, 2]},
        }
        train = tables["train"].groupby("stars", group_keys=False).head(4)
        validation, holdout = tables["validation"].head(40), tables["test"].head(40)
        settings = SweepSettings.make({"name": "tiny-jobs", "spec": spec, "space": space})
        setup = SweepSetup(settings, train, validation, holdout, storage=given.storage)
        setup.run(setup.plan(trials=given.trials, concurrency=1), progress=Clock())
        for place, what in enumerate(("wall", "processor")):
            seconds = [later[place] - earlier[place] for earlier, later in pairwise(ended)]
            first, last = median(seconds[:FIRST]), median(seconds[-FIRST:])
            print(f"{len(ended)} trials, {what} time: {first:.2f} s a trial among the first {FIRST}, {last:.2f} s last")
            print(f"  ratio of the medians: {last / first:.2f}")
            parts = [median(seconds[begin : begin + FIRST]) for begin in range(0, len(seconds), FIRST)]
            print(f"  by {FIRST}: {', '.join(f'{part:.2f}' for part in parts)}")


if __name__ == "__main__":
    main()
