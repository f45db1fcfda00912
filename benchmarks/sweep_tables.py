"""Strategies replayed on a table of finished trials, for `sweep_replay.py` and `sweep_landscapes.py`.

A strategy proposes a point; the nearest trial of the table that it has not tried yet is what it gets, settings and
figures alike. Distance is Euclidean over the settings, each scaled to its range; two values of a choice are 1 apart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler

from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.trial import SweepObjective

optuna.logging.set_verbosity(optuna.logging.WARNING)

OBJECTIVE = SweepObjective("weighted_f1", "maximize")
Space = Mapping[str, BaseDistribution]
Make = Callable[[int, Space], BaseSampler]

STRATEGIES: dict[str, Make] = {
    "random": lambda seed, space: sampler_of("random", seed, [OBJECTIVE], space),
    "plain TPE": lambda seed, space: TPESampler(seed=seed),
    "ours": lambda seed, space: sampler_of("tpe", seed, [OBJECTIVE], space),
}
"""By name: random points, Optuna's TPE as it comes, and Luthier's default."""


class TrialTable:
    """Finished trials and the space they are from.

    Attributes:
        name: for people.
        space: the settings, by their columns.
        settings: of each trial.
        tokens: of each trial, shape (trials,).
        values: of the objective, likewise.
    """

    def __init__(self, name: str, path: Path, space: Space, tokens: str, value: str) -> None:
        frame = pd.read_csv(path)
        self.name = name
        self.space = space
        self.settings = [
            {str(name): value for name, value in row.items()} for row in frame[list(space)].to_dict("records")
        ]
        self.tokens = frame[tokens].to_numpy(float)
        self.values = frame[value].to_numpy(float)
        self._places = {name: _place(distribution, frame[name].to_numpy()) for name, distribution in space.items()}

    def top(self, share: float) -> float:
        """The value that this share of the trials reaches."""
        return float(np.sort(self.values)[-math.ceil(len(self.values) * share)])

    def distances(self, point: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Of every trial to a point, shape (trials,)."""
        total = np.zeros(len(self.values))
        for name, distribution in self.space.items():
            places, place = self._places[name], _place(distribution, np.array([point[name]]))
            if isinstance(distribution, CategoricalDistribution):
                total += places != place
            else:
                total += (places - place) ** 2
        return np.sqrt(total)


class TableSampler(BaseSampler):
    """Lets a strategy propose, and takes the nearest untried trial of a table instead."""

    def __init__(self, inner: BaseSampler, table: TrialTable) -> None:
        self._inner, self._table = inner, table
        self.rows: list[int] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._table.space)

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        inner = self._inner
        point = inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial))
        for name, distribution in search_space.items():
            if name not in point:
                point[name] = inner.sample_independent(study, trial, name, distribution)
        distances = self._table.distances(point)
        distances[self.rows] = np.inf
        self.rows.append(int(distances.argmin()))
        return self._table.settings[self.rows[-1]]

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise KeyError(param_name)


def _place(distribution: BaseDistribution, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values of a choice as they are, numbers as shares of their range."""
    if isinstance(distribution, CategoricalDistribution):
        return values
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    scale = np.log if distribution.log else np.asarray
    low, high = scale(distribution.low), scale(distribution.high)
    shares: npt.NDArray[np.float64] = (scale(values.astype(float)) - low) / (high - low)
    return shares


def tried(table: TrialTable, make: Make, seed: int) -> Iterator[int]:
    """Rows of the table in the order in which a strategy tries them."""
    sampler = TableSampler(make(seed, table.space), table)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(len(table.values)):
        trial = study.ask(dict(table.space))
        row = sampler.rows[-1]
        study.tell(trial, float(table.values[row]))
        yield row


@dataclass(frozen=True)
class Search:
    """One seed of a strategy on a table.

    Attributes:
        tokens: paid until each target was reached, that trial included, by target.
        trials: likewise.
        best: highest value after `after` trials.
        asking_ms: mean time of a proposal.
    """

    tokens: tuple[float, ...]
    trials: tuple[int, ...]
    best: float
    asking_ms: float


def search(table: TrialTable, make: Make, seed: int, targets: tuple[float, ...], after: int) -> Search:
    """Tries trials until every target is reached, and at least `after`."""
    spent, best, best_after, count = 0.0, -np.inf, -np.inf, 0
    tokens: list[float] = []
    trials: list[int] = []
    began = time.perf_counter()
    for count, row in enumerate(tried(table, make, seed), 1):
        spent += table.tokens[row]
        best = max(best, float(table.values[row]))
        while len(tokens) < len(targets) and best >= targets[len(tokens)]:
            tokens.append(spent)
            trials.append(count)
        if count == after:
            best_after = best
        if count >= after and len(tokens) == len(targets):
            break
    return Search(tuple(tokens), tuple(trials), best_after, 1000 * (time.perf_counter() - began) / count)


def print_searches(
    table: TrialTable, found: Mapping[str, Sequence[Search]], targets: tuple[str, ...], after: int
) -> None:
    """A line per strategy: means with standard errors, medians, and ratios to the first strategy."""
    seeds = len(next(iter(found.values())))
    print(f"{table.name}: {len(table.values)} trials, {seeds} seeds; tokens in millions")
    first: list[float] = []
    for strategy, searches in found.items():
        told = [f"  {strategy:10}"]
        for number, target in enumerate(targets):
            tokens = np.array([one.tokens[number] for one in searches]) / 1e6
            if len(first) <= number:
                first.append(float(tokens.mean()))
            told.append(
                f"{target}: {_mean(tokens, 3)}, median {np.median(tokens):.3f}, "
                f"ratio {tokens.mean() / first[number]:.2f}"
            )
        told.append(f"trials to {targets[0]} {_mean(np.array([one.trials[0] for one in searches]), 1)}")
        told.append(f"best of {after} {_mean(np.array([one.best for one in searches]), 4)}")
        told.append(f"{np.mean([one.asking_ms for one in searches]):.0f} ms a proposal")
        print("; ".join(told), flush=True)


def _mean(values: npt.NDArray[np.float64], digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / math.sqrt(len(values)):.{digits}f}"
