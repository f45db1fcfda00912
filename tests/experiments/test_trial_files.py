"""Tables of trials from anywhere: exports of trackers, tables of services, and tables that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from luthier.errors import DataError
from luthier.evaluation.resampling import Interval
from luthier.experiments.trial_files import trials_of_table
from tests.conftest import REPOSITORY

FINDINGS = REPOSITORY.parent / "shared" / "data" / "findings"


@pytest.mark.skipif(not FINDINGS.exists(), reason="the findings are not here")
def test_the_findings_are_read_without_being_told_what_is_what() -> None:
    table = trials_of_table(FINDINGS / "fine_tune_trials.csv")
    assert (table.metric, table.better, table.model_setting) == ("weighted_f1", "higher", "model")
    assert table.settings == ("model", "n_epochs", "batch_size", "learning_rate_multiplier")
    assert table.spread is not None
    assert (table.spread.trials, table.cost) == (175, "elapsed_tokens")
    found = [round(value, 3) for value in (table.spread.least, table.spread.median, table.spread.most)]
    assert found == [0.250, 0.426, 0.604]


@pytest.mark.skipif(not FINDINGS.exists(), reason="the findings are not here")
def test_a_measured_figure_is_taken_before_a_reported_one() -> None:
    table = trials_of_table(FINDINGS / "reported_vs_measured.csv")
    assert "test_f1" in table.notes[0]
    assert table.metric == "weighted_f1"


def test_an_export_of_optuna_is_read_with_its_pruned_trials() -> None:
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for place, rate in enumerate((0.1, 0.2, 0.3)):
        trial = study.ask({"rate": optuna.distributions.FloatDistribution(0, 1)})
        state = optuna.trial.TrialState.PRUNED if place == 1 else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if place == 1 else rate, state=state)
    table = trials_of_table(study.trials_dataframe())
    assert (table.metric, table.settings) == ("value", ("rate",))
    assert [(one.name, one.state) for one in table.trials] == [
        ("0", "complete"),
        ("1", "stopped early"),
        ("2", "complete"),
    ]
    assert any("Higher is taken to be better" in note for note in table.notes)


def test_runs_of_mlflow_are_read_though_it_keeps_settings_as_text(store: Path) -> None:
    import mlflow

    mlflow.set_experiment("tuning")
    for rate, rank, loss in ((0.1, None, 0.7), (0.2, 8, 0.6)):
        with mlflow.start_run():
            mlflow.log_params({"rate": rate, "rank": rank, "base_model": "ada"})
            mlflow.log_metrics({"eval_loss": loss, "train_loss": 0.1})
    table = trials_of_table(mlflow.search_runs(experiment_names=["tuning"]))
    assert (table.metric, table.better, table.model_setting) == ("eval_loss", "lower", "base_model")
    assert sorted(table.settings) == ["base_model", "rank", "rate"]
    assert table.ranked[0].settings == {"base_model": "ada", "rank": 8, "rate": 0.2}
    assert table.ranked[1].settings["rank"] is None


def test_an_export_of_weights_and_biases_is_read() -> None:
    frame = pd.DataFrame(
        {
            "Name": ["calm-sun-1", "dry-sea-2", "fast-fox-3"],
            "State": ["finished", "crashed", "finished"],
            "Notes": ["-", "-", "-"],
            "User": ["a", "a", "a"],
            "Created": ["2026-11-01T10:00:00Z"] * 3,
            "Runtime": [61, 12, 60],
            "learning_rate": [0.1, 0.2, 0.3],
            "optimizer": ["adam", "sgd", "sgd"],
            "val_accuracy": [0.61, None, 0.64],
            "train_accuracy": [0.91, 0.2, 0.94],
            "_step": [100, 3, 100],
        }
    )
    table = trials_of_table(frame)
    assert (table.metric, table.settings) == ("val_accuracy", ("learning_rate", "optimizer"))
    assert [one.state for one in table.trials] == ["complete", "failed", "complete"]
    assert (table.ranked[0].name, table.cost) == ("fast-fox-3", "Runtime")


def test_the_table_of_a_sweep_keeps_its_intervals_and_costs() -> None:
    frame = pd.DataFrame(
        {
            "number": [0, 1],
            "status": ["complete", "complete"],
            "tuning.epochs": [2, 4],
            "qwk": [0.5, 0.6],
            "qwk_low": [0.4, 0.5],
            "qwk_high": [0.6, 0.7],
            "reported.valid_loss": [0.9, 0.8],
            "cost_usd": [0.25, None],
            "owner": ["host 1", "host 1"],
        }
    )
    table = trials_of_table(frame)
    assert table.settings == ("tuning.epochs",)
    assert table.ranked[0].value == Interval(0.6, 0.5, 0.7)
    assert [one.cost_usd for one in table.trials] == [0.25, None]


def test_the_metric_may_be_given_by_column_by_plain_name_or_by_our_name() -> None:
    frame = pd.DataFrame({"params.x": [1, 2], "metrics.f1_score": [0.5, 0.6], "metrics.acc": [0.7, 0.8]})
    for given in ("metrics.acc", "acc", "accuracy"):
        assert trials_of_table(frame, given).metric == "accuracy"
    assert trials_of_table(frame).metric == "weighted_f1"


def test_a_column_of_any_name_can_be_the_metric() -> None:
    assert trials_of_table(pd.DataFrame({"x": [1, 2], "stars": [3.5, 4]}), "stars").settings == ("x",)


def test_lines_without_a_result_stay_in_the_table() -> None:
    table = trials_of_table(pd.DataFrame({"x": [1, 2, 3], "accuracy": [0.5, None, 0.6]}))
    assert (len(table.trials), len(table.complete)) == (3, 2)


@pytest.mark.parametrize(
    ("frame", "metric", "said"),
    [
        (
            {"x": [1, 2], "y": [0.1, 0.2]},
            None,
            ["no column whose name says that it is a metric", "columns: x, y", "--metric COLUMN"],
        ),
        ({"x": [1, 2], "accuracy": [0.1, 0.2]}, "qwk", ["no column 'qwk'", "x, accuracy", "seem to be in: accuracy"]),
        ({"x": [1, 2], "acc": [0.1, 0.2], "accuracy": [0.1, 0.2]}, "Accuracy ", []),
        ({"x": [1, 2], "test_f1": [0.1, 0.2], "f1": [0.1, 0.2]}, "weighted_f1", ["several columns", "test_f1, f1"]),
        ({"x": [1], "accuracy": [0.1]}, None, ["one trial with a result in accuracy", "2 or more"]),
        ({"x": [1, 2], "accuracy": [None, None]}, None, ["no trial with a result in accuracy"]),
        ({"x": [], "accuracy": []}, None, ["has no lines"]),
        ({"x": [1, 2], "accuracy": [0.1, "good"]}, None, ["accuracy of line 2 is 'good', which is no number"]),
        ({"x": [1, 2], "accuracy": ["61%", "62%"]}, None, ["'61%'", "without a percent sign"]),
        ({"x": [1, 2], "accuracy": ["0,61", "0,62"]}, None, ["decimal point"]),
        ({"x": [1, 2], "accuracy": [61, 62]}, None, ["61", "percent: divide the column by 100"]),
        ({"id": ["a", "b"], "accuracy": [True, False]}, None, ["accuracy of a is 'True'"]),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(
    frame: dict[str, list[object]], metric: str | None, said: list[str]
) -> None:
    if not said:
        assert trials_of_table(pd.DataFrame(frame), metric).metric == "accuracy"
        return
    with pytest.raises(DataError) as raised:
        trials_of_table(pd.DataFrame(frame), metric)
    assert [part for part in said if part not in str(raised.value)] == []


def test_a_text_of_its_own_in_every_line_is_no_setting() -> None:
    frame = pd.DataFrame({"x": range(20), "comment": [f"try {n}" for n in range(20)], "accuracy": [0.5] * 20})
    table = trials_of_table(frame)
    assert table.settings == ("x",)
    assert "Not read: comment." in table.notes
