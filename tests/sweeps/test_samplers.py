"""Samplers: reproducible by trial number, conditions kept, nothing tried twice."""

from __future__ import annotations

import logging
import math
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from luthier.errors import SpecError
from luthier.sweeps.samplers import SAMPLERS, sampler_of
from luthier.sweeps.trial import SweepObjective

F1 = SweepObjective("weighted_f1", "maximize")
COST = SweepObjective("cost_usd", "minimize")

FINITE: dict[str, BaseDistribution] = {
    "epochs": IntDistribution(1, 4),
    "batch_size": CategoricalDistribution([4, 8, 16]),
}
CONTINUOUS: dict[str, BaseDistribution] = {
    "epochs": IntDistribution(1, 20),
    "rate": FloatDistribution(0.05, 2, log=True),
    "model": CategoricalDistribution(["small", "large"]),
}
RIDGE: dict[str, BaseDistribution] = {
    "method": CategoricalDistribution(["plain", "ridge"]),
    "strength": FloatDistribution(1e-4, 10, log=True),
    "temperature": FloatDistribution(0, 1, step=0.1),
}


def study_of(name: str, space: dict[str, BaseDistribution], seed: int = 7, objectives: int = 1) -> optuna.Study:
    goals = [F1, COST][:objectives]
    return optuna.create_study(
        sampler=sampler_of(name, seed, goals, space), directions=[goal.direction for goal in goals]
    )


def suggested(trial: optuna.Trial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
    for name, distribution in space.items():
        if name != "strength" or trial.params["method"] == "ridge":
            trial._suggest(name, distribution)
    return trial.params


def run(study: optuna.Study, space: dict[str, BaseDistribution], trials: int) -> list[dict[str, Any]]:
    """Trials one after another; large where the point is far from the space's first values."""
    points = []
    for _ in range(trials):
        trial = study.ask()
        point = suggested(trial, space)
        quality = -sum(space[name].to_internal_repr(value) for name, value in point.items())
        study.tell(trial, [quality, 1.0][: len(study.directions)])
        points.append(point)
    return points


def test_an_unknown_sampler_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match="cma is not known; it is one of tpe, random, qmc, grid"):
        sampler_of("cma", 7, [F1], FINITE)


def test_a_grid_over_a_range_is_refused_with_what_to_do() -> None:
    with pytest.raises(SpecError, match=r"but rate may have any value of a range\. Give it a list of values or a step"):
        sampler_of("grid", 7, [F1], CONTINUOUS)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("objectives", [1, 2])
def test_no_sampler_warns_or_logs(name: str, objectives: int, caplog: pytest.LogCaptureFixture) -> None:
    space = FINITE | {"method": RIDGE["method"], "strength": CategoricalDistribution([0.1, 1.0])}
    optuna.logging.enable_propagation()
    try:
        run(study_of(name, space, objectives=objectives), space, 14)
    finally:
        optuna.logging.disable_propagation()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_gives_the_same_trials_and_another_seed_others(name: str) -> None:
    first, again, other = (run(study_of(name, FINITE, seed), FINITE, 12) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_a_study_that_goes_on_with_a_new_sampler_does_not_start_again(name: str) -> None:
    study = study_of(name, CONTINUOUS)
    points = run(study, CONTINUOUS, 6)
    study.sampler = sampler_of(name, 7, [F1], CONTINUOUS)
    points += run(study, CONTINUOUS, 9)
    assert points == run(study_of(name, CONTINUOUS), CONTINUOUS, 15)


def test_a_trial_interrupted_between_two_suggestions_gets_the_values_it_would_have_had() -> None:
    whole, cut = study_of("qmc", CONTINUOUS), study_of("qmc", CONTINUOUS)
    begun = cut.ask()
    begun.suggest_int("epochs", 1, 20)
    assert suggested(optuna.Trial(cut, begun._trial_id), CONTINUOUS) == suggested(whole.ask(), CONTINUOUS)


def test_eight_points_of_qmc_hit_each_eighth_of_every_range_once() -> None:
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 8), "b": FloatDistribution(1, 256, log=True)}
    points = run(study_of("qmc", space), space, 8)
    assert sorted(int(point["a"]) for point in points) == list(range(8))
    assert sorted(int(math.log2(point["b"])) for point in points) == list(range(8))


@pytest.mark.parametrize(
    "distribution",
    [
        CategoricalDistribution(["a", "b", "c"]),
        IntDistribution(3, 5),
        IntDistribution(2, 8, step=3),
        FloatDistribution(0.1, 0.3, step=0.1),
    ],
)
def test_every_value_of_a_setting_is_as_likely_as_the_others(distribution: BaseDistribution) -> None:
    points = run(study_of("random", {"it": distribution}), {"it": distribution}, 600)
    counts = [sum(point["it"] == value for point in points) for value in {point["it"] for point in points}]
    assert len(counts) == 3
    assert all(160 < count < 240 for count in counts)


def test_log_whole_numbers_reach_both_ends() -> None:
    space: dict[str, BaseDistribution] = {"it": IntDistribution(1, 64, log=True)}
    values = [point["it"] for point in run(study_of("random", space), space, 400)]
    assert (min(values), max(values)) == (1, 64)
    assert sum(value <= 8 for value in values) > 200


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_grid_tries_every_point_once(concurrency: int) -> None:
    study = study_of("grid", FINITE)
    points = []
    for _ in range(12 // concurrency):
        asked = [study.ask() for _ in range(concurrency)]
        points += [tuple(suggested(trial, FINITE).values()) for trial in asked]
        for trial in asked:
            study.tell(trial, 1.0)
    assert sorted(points) == [(epochs, size) for epochs in (1, 2, 3, 4) for size in (4, 8, 16)]


def test_a_grid_counts_a_point_once_where_a_condition_makes_settings_idle() -> None:
    space = RIDGE | {"strength": CategoricalDistribution([0.1, 1.0]), "temperature": CategoricalDistribution([0.0])}
    points = run(study_of("grid", space), space, 3)
    assert {(point["method"], point.get("strength")) for point in points} == {
        ("plain", None),
        ("ridge", 0.1),
        ("ridge", 1.0),
    }


def test_tpe_tries_no_point_twice_while_there_are_others() -> None:
    points = [tuple(point.values()) for point in run(study_of("tpe", FINITE), FINITE, 12)]
    assert len(set(points)) >= 11


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_setting_with_one_value_has_it(name: str) -> None:
    space = FINITE | {"rate": FloatDistribution(0.5, 0.5, step=0.1)}
    points = run(study_of(name, space), space, 12)
    assert {point["rate"] for point in points} == {0.5}
    assert len({tuple(point.values()) for point in points}) >= 6


def test_tpe_keeps_four_running_trials_apart() -> None:
    study = study_of("tpe", FINITE)
    run(study, FINITE, 4)
    points = [tuple(suggested(study.ask(), FINITE).values()) for _ in range(8)]
    assert len(set(points)) == 8


@pytest.mark.parametrize("objectives", [1, 2])
def test_tpe_gathers_where_the_objective_is_high(objectives: int) -> None:
    points = run(study_of("tpe", CONTINUOUS, objectives=objectives), CONTINUOUS, 40)
    assert sum(point["epochs"] <= 5 for point in points[:10]) <= 4
    assert sum(point["epochs"] <= 5 for point in points[20:]) >= 14


def test_tpe_learns_within_a_branch_of_a_condition() -> None:
    study = study_of("tpe", RIDGE)
    for _ in range(40):
        trial = study.ask()
        point = suggested(trial, RIDGE)
        study.tell(trial, -abs(math.log10(point.get("strength", 1e6))))
    late = [trial.params for trial in study.trials[20:]]
    assert sum(point["method"] == "ridge" and 0.1 < point["strength"] < 10 for point in late) >= 10
