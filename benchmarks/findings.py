"""The findings' table from `luthier compare --json`: chosen on validation, read on test, mean over seeds.

    luthier compare benchmarks/findings --train train.csv --test validation.csv --test test.csv --json > board.json
    python benchmarks/findings.py board.json

Specs that differ in their seed alone stand on one line: the mean over them, the spread of the mean over seeds
(Student's t, 95%), and the bootstrap interval over rows of the seed in the middle.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median_low, stdev
from typing import Any

from scipy import stats

METRICS = ("weighted_f1", "accuracy", "mse", "qwk")
LOWER_IS_BETTER = {"mse"}
SEED = re.compile(r"\.seed-[^.]+")

Figures = Mapping[str, Sequence[float]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("board", type=Path, help="what `luthier compare --json` printed for two tables")
    arguments.add_argument("--choose-on", default="validation", help="table that the choice is made on")
    arguments.add_argument("--read-on", default="test", help="table that is read")
    given = arguments.parse_args()
    tables = json.loads(given.board.read_text())["tables"]
    chosen_on, read_on = figures(tables[given.choose_on]), figures(tables[given.read_on])
    lines: dict[str, list[str]] = defaultdict(list)
    for name in chosen_on:
        lines[SEED.sub("", name)].append(name)
    print(f"| spec | seeds | {' | '.join(f'{m}: {given.choose_on} / {given.read_on}' for m in METRICS)} |")
    print(f"|---|---|{'---|' * len(METRICS)}")
    for spec, names in sorted(lines.items()):
        cells = [cell(names, chosen_on, read_on, metric) for metric in METRICS]
        print(f"| {spec} | {len(names)} | {' | '.join(cells)} |")
    print()
    techniques: dict[str, list[str]] = defaultdict(list)
    for spec in lines:
        techniques[spec.split(".")[0]].append(spec)
    for metric in METRICS:
        sign = -1 if metric in LOWER_IS_BETTER else 1
        for technique, specs in sorted(techniques.items()):
            best = max(specs, key=lambda spec: sign * mean(chosen_on[name][metric][0] for name in lines[spec]))
            found = cell(lines[best], chosen_on, read_on, metric)
            print(f"{metric}, {technique}: {best} chosen on {given.choose_on}: {found}")


def figures(table: Mapping[str, Any]) -> dict[str, Figures]:
    """Metrics with their intervals by the name of the spec."""
    return {entry["candidate"]["name"]: entry["metrics"] for entry in table["entries"]}


def cell(names: Sequence[str], chosen_on: Mapping[str, Figures], read_on: Mapping[str, Figures], metric: str) -> str:
    """Both means; of the one that is read also its intervals over seeds and over rows."""
    first = [chosen_on[name][metric][0] for name in names]
    second = {name: read_on[name][metric][0] for name in names}
    _, low, high = read_on[next(n for n in names if second[n] == median_low(second.values()))][metric]
    over_seeds = ""
    if len(names) > 1:
        half = float(stats.t.ppf(0.975, len(names) - 1)) * stdev(second.values()) / len(names) ** 0.5
        over_seeds = f" ± {half:.3f}"
    return f"{mean(first):.3f} / {mean(second.values()):.3f}{over_seeds} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
