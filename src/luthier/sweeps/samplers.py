"""Samplers: which point of the space a trial tries.

Every draw is a function of the seed, the trial's number and the trials before it. A sweep that goes on after a crash,
or on another machine with the same seed, therefore never starts the same sequence of points again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from luthier.errors import SpecError
from luthier.sweeps.trial import SOURCE_ATTRIBUTE, SweepObjective

__all__ = ["SAMPLERS", "sampler_of"]

Space = Mapping[str, BaseDistribution]
Cube = Callable[[int, int, int], npt.NDArray[np.float64]]
"""A point of the unit cube by seed, trial number and dimensions."""

STARTUP_TRIALS = 8
"""Finished trials before TPE takes over. So many points of a Sobol sequence hit each eighth of every range once."""
CANDIDATES = (24, 8, 2, 1)
"""How many candidates TPE chooses among, by attempt at a point that no trial has tried."""
RANDOM_ATTEMPTS = 20
"""Random points drawn when those of the sequence or of TPE were all tried; after that, a point is tried again."""
TRIED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def sampler_of(name: str, seed: int, objectives: Sequence[SweepObjective], space: Space) -> BaseSampler:
    """The sampler of a sweep.

    Args:
        name: one of `SAMPLERS`: `tpe` learns from the trials before, `random` and `qmc` do not, `grid` tries every
            point once, in random order.
        seed: the same on every machine of the sweep.
        objectives: what the sweep searches for.
        space: every setting with its distribution, conditional settings included.

    Raises:
        SpecError: there is no such sampler, or a grid over a space with infinitely many points.

    Examples:
        >>> import optuna
        >>> space = {"batch_size": optuna.distributions.CategoricalDistribution([4, 8])}
        >>> study = optuna.create_study(sampler=sampler_of("grid", 7, [SweepObjective("accuracy", "maximize")], space))
        >>> sorted(study.ask(space).params["batch_size"] for _ in range(2))
        [4, 8]
    """
    if name not in SAMPLERS:
        raise SpecError(f"sampler: {name} is not known; it is one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name](seed, objectives, space)


class PointSampler(BaseSampler):
    """Samples points that depend on the trial's number alone: uniformly at random, or of a Sobol sequence.

    Conditional settings have their own dimensions, so that conditions change no other setting's values. Optuna's own
    `QMCSampler` knows no conditions, keeps a counter in the storage that two machines can read at once, and warns.
    """

    def __init__(self, seed: int, space: Space, cube: Cube) -> None:
        self._seed = seed
        # Optuna fills in settings that have one value only.
        self._space = {name: space[name] for name in sorted(space) if not space[name].single()}
        self._cube = cube

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space, known beforehand."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the trial's number."""
        return self.point(trial.number)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never asked: every setting is in the space."""
        raise KeyError(param_name)

    def point(self, number: int) -> dict[str, Any]:
        """A value for every setting, conditional ones included."""
        return self._at(self._cube(self._seed, number, len(self._space)))

    def _at(self, coordinates: npt.NDArray[np.float64]) -> dict[str, Any]:
        return {
            name: _value(distribution, float(coordinate))
            for (name, distribution), coordinate in zip(self._space.items(), coordinates, strict=True)
        }


class SpreadTPESampler(PointSampler):
    """TPE that starts from a Sobol sequence and tries no point twice while it finds another.

    The first `STARTUP_TRIALS` trials are spread evenly over the space. Then Optuna's TPE chooses a value for each
    setting by itself, from the trials that had the setting: the tens of trials of a sweep, noisy as they are, tell
    good values from poor ones sooner than good combinations. Points that running trials occupy count as poor (the
    constant liar). A point that a trial has tried already is drawn again, less greedily each time: training it once
    more would cost the same and, with the same seed, give the same model.
    """

    def __init__(self, seed: int, space: Space) -> None:
        super().__init__(seed, space, sobol_point)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point of the sequence at first, later the point that TPE expects most of."""
        others = [other for other in study.get_trials(deepcopy=False, states=TRIED) if other.number != trial.number]
        finished = sum(other.state.is_finished() for other in others)
        # Of an imported trial there is no model here: if its point is good, it has to be tried.
        tried = [other.params for other in others if other.params and SOURCE_ATTRIBUTE not in other.user_attrs]
        point: dict[str, Any] = {}
        for point in self._proposals(study, trial, finished):
            if not any(_is_at(point, params) for params in tried):
                break
        return point

    def _proposals(self, study: Study, trial: FrozenTrial, finished: int) -> Iterator[dict[str, Any]]:
        if finished < STARTUP_TRIALS:
            yield self.point(trial.number)
        else:
            for candidates in CANDIDATES:
                yield self._expected_best(study, trial, candidates)
        for attempt in range(RANDOM_ATTEMPTS):
            yield self._at(uniform_point(_mixed(self._seed, trial.number), attempt, len(self._space)))

    def _expected_best(self, study: Study, trial: FrozenTrial, candidates: int) -> dict[str, Any]:
        # A new TPESampler per draw: it has no state that one trial could leave to the next.
        tpe = TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            n_ei_candidates=candidates,
            seed=_mixed(self._seed, trial.number, candidates),
            multivariate=False,
            constant_liar=True,
        )
        return {
            name: tpe.sample_independent(study, trial, name, distribution) for name, distribution in self._space.items()
        }


class GridSampler(BaseSampler):
    """Tries every point once, in random order; conditional settings only where they apply.

    Points of imported trials count as tried.

    Optuna's `GridSampler` would repeat points that differ in settings that do not apply. Both of Optuna's stop the
    study after the last point, which is an error in ask and tell; here the driver counts trials.
    """

    def __init__(self, seed: int, space: Space) -> None:
        endless = [name for name, distribution in space.items() if _is_endless(distribution)]
        if endless:
            raise SpecError(
                f"sampler: grid needs finitely many points, but {', '.join(endless)} may have any value of a range. "
                "Give it a list of values or a step, or take sampler: qmc."
            )
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: every setting is drawn given those before it."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value that leads to points not tried yet; any value when there are none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            grid = BruteForceSampler(seed=_mixed(self._seed, trial.number, len(trial.params)))
        return grid.sample_independent(study, trial, param_name, param_distribution)


def uniform_point(seed: int, number: int, dimensions: int) -> npt.NDArray[np.float64]:
    """A point of the unit cube, uniformly at random, shape (dimensions,)."""
    return np.random.default_rng([seed, number]).random(dimensions)


def sobol_point(seed: int, number: int, dimensions: int) -> npt.NDArray[np.float64]:
    """A point of the scrambled Sobol sequence of this seed, shape (dimensions,)."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, scramble=True, seed=seed)
    if number:
        sequence.fast_forward(number)
    point: npt.NDArray[np.float64] = sequence.random(1)[0]
    return point


SAMPLERS: dict[str, Callable[[int, Sequence[SweepObjective], Space], BaseSampler]] = {
    "tpe": lambda seed, objectives, space: SpreadTPESampler(seed, space),
    "random": lambda seed, objectives, space: PointSampler(seed, space, uniform_point),
    "qmc": lambda seed, objectives, space: PointSampler(seed, space, sobol_point),
    "grid": lambda seed, objectives, space: GridSampler(seed, space),
}
"""By name, the default first."""


def _mixed(*numbers: int) -> int:
    """One seed of 32 bits out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _value(distribution: BaseDistribution, share: float) -> Any:
    """The value at a coordinate of [0, 1)."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution) and distribution.log:
        # Half a unit at both ends, so that the first and the last whole number are as likely as their neighbours.
        drawn = math.exp(math.log(low - 0.5) + share * (math.log(high + 0.5) - math.log(low - 0.5)))
        return min(max(round(drawn), low), high)
    if step is not None:
        # Of floats, the last one can come out above the bound by rounding.
        return min(low + step * int(share * (round((high - low) / step) + 1)), high)
    if distribution.log:
        return min(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), high)
    return low + share * (high - low)


def _is_at(point: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a trial with these parameters tried the point; settings that did not apply to it do not count."""
    return all(point.get(name, value) == value for name, value in params.items())


def _is_endless(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution) and distribution.step is None
