"""What early stopping saves, and what it costs: one sweep with it and one without, on jobs of the embedded server.

    python benchmarks/sweep_early_stopping.py [--seeds 10] [--trials 40] [--pruner median] [--rows 240]

Each sweep has a folder, a server and a tracking store of its own, so that no job of one is found by another. Training
steps are counted in the server's own database: what a job that was cancelled has really trained. The server rests after
each step, so that a job takes many times as long as a look at it, as real ones do. Both sweeps of a seed draw from the
same sampler with the same seed. The best is measured on holdout rows that selection never saw. Several seeds run side
by side (`--parallel`).
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from luthier_local.sample import sample_splits

SWEEP = """
spec: spec.yaml
space:
  tuning.epochs: {{int: [2, 20]}}
  tuning.batch_size: [4, 8, 16, 32]
  tuning.learning_rate_multiplier: {{log_uniform: [0.02, 5]}}
objective: weighted_f1
early_stopping: {{pruner: {pruner}}}
seed: {seed}
"""

SPEC = """
name: stars
task: {{name: stars, type: rating, text: text, label: stars, labels: [1, 2, 3, 4, 5]}}
technique: fine-tune
prompt: {{template: "Stars for: {{{{ text }}}}"}}
answer: score
endpoint: {{provider: compatible, base_url: "{address}", model: tunable, api_key_env: SWEEP_KEY}}
"""

SERVER = """
import sys, time
from luthier_local import LocalServer, ModelCard
card = ModelCard("tunable", backend="tunable-hashed", completions=False)
rest = float(sys.argv[2])
with LocalServer(models=[card], api_key="of-this-run", folder=sys.argv[1], training_step_seconds=rest) as server:
    print(server.base_url, flush=True)
    sys.stdin.read()
"""


def run_sweep(
    folder: Path, tables: dict[str, pd.DataFrame], pruner: str, seed: int, trials: int, step_seconds: float
) -> dict[str, Any]:
    """One sweep in a folder of its own: its result, and what the server's database says was trained."""
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "sweep.yaml").write_text(SWEEP.format(pruner=pruner, seed=seed))
    own = {
        "LUTHIER_HOME": str(folder / "home"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "SWEEP_KEY": "of-this-run",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [str(Path(sys.executable).parent / "luthier"), "sweep", "sweep.yaml", "--train", "train.csv"]
    command += ["--validation", "validation.csv", "--holdout", "holdout.csv", "--trials", str(trials)]
    command += ["--concurrency", "4", "--yes", "--json"]
    began = time.monotonic()
    served = [sys.executable, "-c", SERVER, str(folder / "service"), str(step_seconds)]
    with subprocess.Popen(served, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        (folder / "spec.yaml").write_text(SPEC.format(address=server.stdout.readline().strip()))
        done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False)
        server.communicate("")
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    database = folder / "service" / "jobs.db"
    with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True) as server:
        steps = dict(server.execute("select job, max(step) from steps group by job").fetchall())
        statuses = dict(server.execute("select id, status from jobs").fetchall())
    return {
        "steps": sum(steps.values()),
        "cancelled": sum(status == "cancelled" for status in statuses.values()),
        "left": [job for job, status in statuses.items() if status not in ("succeeded", "cancelled", "failed")],
        "seconds": time.monotonic() - began,
        "sweep": json.loads(done.stdout),
    }


def best_of(result: dict[str, Any]) -> tuple[float, float]:
    """The best figure on selection rows, and the winner's on holdout rows."""
    first = result["sweep"]["winner"]["finalists"][0]
    return float(first["selection"][0]), float(first["holdout"][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--pruner", default="median")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--parallel", type=int, default=3)
    parser.add_argument("--step-seconds", type=float, default=0.04)
    given = parser.parse_args()
    sample = sample_splits()
    tables = {
        "train": sample["train"].head(given.rows),
        "validation": sample["validation"].head(300),
        "holdout": sample["test"],
    }

    def both(seed: int) -> tuple[float, float, float]:
        pair = {
            pruner: run_sweep(
                Path(scratch) / f"{seed}-{pruner}", tables, pruner, seed, given.trials, given.step_seconds
            )
            for pruner in ("none", given.pruner)
        }
        plain, early = pair["none"], pair[given.pruner]
        (selected, holdout), (selected_early, holdout_early) = best_of(plain), best_of(early)
        row = (early["steps"] / plain["steps"], selected_early - selected, holdout_early - holdout)
        print(
            f"seed {seed:2}: steps {plain['steps']:,} -> {early['steps']:,} ({row[0]:.2f}), best "
            f"{selected:.3f} -> {selected_early:.3f}, on holdout {holdout:.3f} -> {holdout_early:.3f}, "
            f"{early['cancelled']} jobs cancelled, {len(early['left']) + len(plain['left'])} left running, "
            f"{plain['seconds']:.0f} s -> {early['seconds']:.0f} s",
            flush=True,
        )
        return row

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(given.parallel) as threads:
        rows = list(threads.map(both, range(1, given.seeds + 1)))
    for place, what in enumerate(("share of training steps", "best on selection rows", "winner on holdout rows")):
        values = [row[place] for row in rows]
        spread = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        print(f"{what}: {fmean(values):+.3f} +- {spread:.3f} (standard error over {len(values)} seeds)")


if __name__ == "__main__":
    main()
