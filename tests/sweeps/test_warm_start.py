"""Trials that are known already: read from tables, runs and studies, and never counted as the sweep's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import ModelError, SpecError
from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.trial import SETTINGS_ATTRIBUTE, SOURCE_ATTRIBUTE, SweepObjective
from luthier.sweeps.warm_start import add_warm, warm_trials
from luthier.techniques.embedding import Embedding
from tests.conftest import SHARED
from tests.conversing import ENDPOINT, STARS
from tests.sweeps.studies import COST, F1, complete, facts, failed, stopped

JOBS: dict[str, Any] = {
    "endpoint.model": ["ada", "babbage", "curie"],
    "tuning.epochs": {"int": [1, 20]},
    "tuning.batch_size": [1, 2, 4, 8, 16, 32],
    "tuning.learning_rate_multiplier": {"log_uniform": [0.01, 2]},
}


def space(given: Mapping[str, Any] = JOBS) -> SearchSpace:
    return SearchSpace.read(given, lt.FineTune)


def table(**columns: Any) -> pd.DataFrame:
    rows = {"tuning.epochs": [3, 5], "tuning.batch_size": [4, 8], "weighted_f1": [0.4, 0.5]}
    return pd.DataFrame(rows | columns)


SMALL = {"tuning.epochs": {"int": [1, 20]}, "tuning.batch_size": [4, 8]}


def test_the_175_real_trials_are_read_by_the_names_that_their_service_gave_them() -> None:
    file = SHARED / "findings" / "fine_tune_trials.csv"
    if not file.is_file():
        pytest.skip("the real trials are not here")
    found = warm_trials(str(file), space(), [F1])
    assert len(found) == 175
    best = max(found, key=lambda one: one.values)
    assert (best.settings["endpoint.model"], best.settings["tuning.epochs"]) == ("babbage", 10)
    assert best.values[0] > 0.6
    assert best.source is not None
    assert best.source.startswith("fine_tune_trials.csv, ft-")


def test_columns_of_a_table_may_be_named_in_four_ways() -> None:
    expected = [{"tuning.epochs": 3, "tuning.batch_size": 4}, {"tuning.epochs": 5, "tuning.batch_size": 8}]
    for name in ("tuning.epochs", "epochs", "n_epochs", "params.tuning.epochs"):
        found = warm_trials(table().rename(columns={"tuning.epochs": name}), space(SMALL), [F1])
        assert [one.settings for one in found] == expected


def test_cells_of_a_csv_are_read_as_the_values_of_the_space(tmp_path: Path) -> None:
    (tmp_path / "heads.csv").write_text(
        "head.method,head.trials,dimensions,prompt,accuracy\nautoml,30,64,x,0.5\nlogistic,,,x,0.4\nautoml,40.0,64.0,x,0.6\n"
    )
    given = {
        "head.method": ["logistic", "automl"],
        "head.trials": {"int": [10, 50], "when": {"head.method": "automl"}},
        "dimensions": [64, None],
    }
    searched = SearchSpace.read(given, Embedding)
    found = warm_trials(tmp_path / "heads.csv", searched, [SweepObjective("accuracy", "maximize")])
    assert [one.settings for one in found] == [
        {"head.method": "automl", "head.trials": 30, "dimensions": 64},
        {"head.method": "logistic", "dimensions": None},
        {"head.method": "automl", "head.trials": 40, "dimensions": 64},
    ]


def test_trials_outside_the_space_or_without_a_figure_are_left_out_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = pd.concat([table(), table(**{"tuning.epochs": [90, 3], "weighted_f1": [0.1, None]})])
    assert len(warm_trials(given, space(SMALL), [F1])) == 2
    assert "2 of 4 trials of the table are used; left out: " in (said := capsys.readouterr().err)
    assert "1 with another tuning.epochs" in said
    assert "1 without weighted_f1" in said


def test_trials_of_another_model_than_the_spec_names_are_left_out() -> None:
    spec = lt.FineTune(STARS, "{{ text }}", endpoint=ENDPOINT, tuning={"learning_rate_multiplier": 0.5})
    given = table(model=["some-model", "babbage"], learning_rate_multiplier=["0.5", "0.5"])
    (found,) = warm_trials(given, space(SMALL), [F1], spec)
    assert found.settings["tuning.epochs"] == 3
    with pytest.raises(SpecError, match=r"2 with another tuning\.learning_rate_multiplier"):
        warm_trials(table(learning_rate_multiplier=[1, 2]), space(SMALL), [F1], spec)


def test_trials_of_another_study_are_read_with_those_that_ended_well() -> None:
    trials = [complete(1, 0.4), stopped(2), failed(3), complete(5, 0.6)]
    given = {"tuning.epochs": {"int": [1, 20]}, "tuning.batch_size": [4, 8, 16]}
    found = warm_trials(trials, space(given), [F1, COST])
    assert [one.values for one in found] == [(0.4, 0.82), (0.6, 0.82)]
    frame = StudyState(facts(), tuple(trials)).frame()
    assert [one.values for one in warm_trials(frame, space(given), [F1])] == [(0.4,), (0.6,)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (table().drop(columns="tuning.epochs"), r"no column tuning\.epochs or epochs or n_epochs.*weighted_f1"),
        (table().drop(columns="weighted_f1"), "no column weighted_f1"),
        (table(**{"tuning.epochs": [50, 60]}), r"2 with another tuning\.epochs"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused_with_what_is_in_the_way(given: pd.DataFrame, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        warm_trials(given, space(SMALL), [F1])


def test_known_trials_are_added_once_and_marked(tmp_path: Path) -> None:
    searched = space(SMALL)
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{tmp_path}/study.db")
    trials = warm_trials(table(), searched, [F1])
    assert (add_warm(study, trials, searched), add_warm(study, trials, searched)) == (2, 0)
    assert [one.user_attrs[SETTINGS_ATTRIBUTE] for one in study.trials] == [one.settings for one in trials]
    assert [one.user_attrs[SOURCE_ATTRIBUTE] for one in study.trials] == ["the table, row 1", "the table, row 2"]
    assert searched.suggest(study.ask())["tuning.batch_size"] in (4, 8)


def test_a_point_that_is_known_from_elsewhere_is_tried_all_the_same() -> None:
    searched = space({"tuning.batch_size": [4, 8]})
    sampler = sampler_of("tpe", 7, [F1], searched.distributions())
    study = optuna.create_study(direction="maximize", sampler=sampler)
    add_warm(study, warm_trials(table(), searched, [F1]), searched)
    assert {searched.suggest(study.ask())["tuning.batch_size"] for _ in range(2)} == {4, 8}


def test_the_children_of_a_run_are_its_trials(store: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    parent = client.create_run("0").info.run_id
    for epochs, status in ((3, "FINISHED"), (5, "KILLED"), (8, "FINISHED")):
        child = client.create_run("0", tags={"mlflow.parentRunId": parent}).info.run_id
        client.log_param(child, "tuning.epochs", epochs)
        client.log_metric(child, "weighted_f1", epochs / 10)
        client.log_metric(child, "trial_cost_usd", 0.5)
        client.set_terminated(child, status)
    for source in (parent, f"runs:/{parent}"):
        found = warm_trials(source, space({"tuning.epochs": {"int": [1, 20]}}), [F1, COST])
        assert sorted((one.settings["tuning.epochs"], *one.values) for one in found) == [(3, 0.3, 0.5), (8, 0.8, 0.5)]
    empty = client.create_run("0").info.run_id
    with pytest.raises(ModelError, match="no trials with figures"):
        warm_trials(empty, space(SMALL), [F1])
    with pytest.raises(ModelError, match="'nonesuch' is neither a file nor a run"):
        warm_trials("nonesuch", space(SMALL), [F1])
