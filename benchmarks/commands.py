"""How long small commands take: `score` of 10 rows beside `mlflow models predict`, `tune list`, `journal size`.

Everything is measured in turn in one run, three times; the figures are medians, and the ratio is what to read on a
machine that is busy. Usage: .venv/bin/python benchmarks/commands.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
ROUNDS = 3
MODEL = "models:/mood@champion"

PREPARE = """
import pandas as pd, luthier as lt
table = pd.DataFrame({"text": ["good day", "bad day"] * 20, "label": ["good", "bad"] * 20})
table.head(10)[["text"]].to_csv("new.csv", index=False)
lt.log(lt.Baseline(lt.Task("mood", labels=["bad", "good"])), train=table, register="mood", alias="champion")
"""


def main() -> None:
    """Prints seconds per command, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "LUTHIER_HOME": f"{folder}/home",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }

        def seconds(*command: str) -> float:
            started = time.monotonic()
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            return time.monotonic() - started

        seconds(sys.executable, "-c", PREPARE)
        taken: dict[str, list[float]] = {}
        for turn in range(ROUNDS):
            for name, command in {
                "score": ("luthier", "score", MODEL, "new.csv", f"{turn}.csv"),
                "predict": ("mlflow", "models", "predict", "-m", MODEL, "-i", "new.csv", "-t", "csv",
                            "-o", f"{turn}.json", "--env-manager", "local"),
                "tune list": ("luthier", "tune", "list"),
                "journal size": ("luthier", "journal", "size"),
            }.items():  # fmt: skip
                if name == "predict":
                    # The run of the score before is written in the background; it is not to slow this one down.
                    seconds(sys.executable, "-c", "from luthier.tracking.model_runs import write_kept_runs as w; w()")
                taken.setdefault(name, []).append(seconds(str(BIN / command[0]), *command[1:]))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    for name, value in middle.items():
        print(f"{name:<14} {value:6.2f} s")
    print(f"score / predict {middle['score'] / middle['predict']:.2f}")


if __name__ == "__main__":
    main()
