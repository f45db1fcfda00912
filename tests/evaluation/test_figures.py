"""The figures of a scorecard: their names, which of them a gate may name, and what an assessment must measure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from luthier.errors import UserError
from luthier.evaluation.figures import check_measured, check_requirement, figure_name, figures, judge_scorecard
from luthier.evaluation.group_metrics import row_values
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Perturbation
from luthier.tasks.prediction import Prediction, State
from luthier.tasks.task import Task
from tests.scorecards import CARD, TASK, cohort, column, searched


def test_every_figure_has_a_name_and_says_on_how_many_rows_it_was_measured() -> None:
    found = {name: interval.value for name, interval in figures(CARD).items()}
    assert found == {
        "accuracy": 0.8,
        "calibration_error": 0.05,
        "worst_cohort_difference": 0.3,
        "worst_cohort_difference_rows": 290,
        "disparity_accuracy_Home_region": 0.12,
        "disparity_accuracy_Home_region_rows": 180,
        "flip_rate_typos": 0.04,
        "flip_rate_typos_rows": 100,
        "flip_rate_injection": 0.3,
        "flip_rate_injection_rows": 90,
        "attack_success_rate_injection": 0.2,
        "attack_success_rate_injection_rows": 90,
    }


def test_mlflow_takes_the_names() -> None:
    from mlflow.utils.validation import _validate_metric_name

    for name in figures(replace(CARD, sensitive=(column("Größe (m²) €", 0.1), column("地域", 0.1)))):
        _validate_metric_name(name)


def test_no_confirmed_cohort_is_no_difference_and_no_search_is_no_figure() -> None:
    nothing_found = figures(replace(CARD, cohorts=searched(cohort(0.9, confirmed=False))))
    assert nothing_found["worst_cohort_difference"] == Interval(0.0, 0.0, 0.0)
    assert "worst_cohort_difference" not in figures(replace(CARD, cohorts=None))


def test_a_kind_of_change_that_changed_no_text_was_not_measured() -> None:
    none = Perturbation("typos", "Two letters change places.", 0, Interval(0.0))
    assert not judge_scorecard(replace(CARD, perturbations=(none,)), ["flip_rate_typos <= 0.05"])[0].passed


def test_of_two_columns_with_one_name_the_wider_disparity_counts() -> None:
    card = replace(CARD, sensitive=(column("a b", 0.1), column("a/b", 0.2), column("a-b", 0.15)))
    assert figures(card)["disparity_accuracy_a_b"].value == 0.2


def test_a_scorecard_is_judged_by_metrics_and_by_what_goes_beyond_them() -> None:
    requirements = [
        "accuracy_low >= 0.75", "flip_rate_typos <= 0.05", "worst_cohort_difference <= 0.25",
        "disparity_accuracy_Home_region_high <= 0.1", "flip_rate_case <= 0.5",
    ]  # fmt: skip
    gates = judge_scorecard(CARD, requirements)
    assert [gate.passed for gate in gates] == [True, True, False, False, False]
    assert [gate.rows for gate in gates] == [290, 100, 290, 180, 0]
    assert not replace(CARD, gates=gates).passed


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("acuracy >= 0.8", "no figure 'acuracy'. Did you mean accuracy.*qwk.*disparity_METRIC_COLUMN"),
        ("accuracy >= champion", "alias 'champion'.*promote --require"),
        ("accuracy >= 80", "0.8 for 80%"),
        ("flip_rate_typos <= 5", "0.8 for 80%"),
        ("disparity_region <= 0.1", "disparity_accuracy_region"),
        ("disparity_acuracy_region <= 0.1", "compared by accuracy, .*mean_error"),
        ("flip_rate_ <= 0.1", "flip_rate_typos"),
    ],
)
def test_a_gate_that_no_model_could_be_judged_by_is_refused(requirement: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_requirement(requirement, TASK)


def test_a_metric_of_ratings_is_no_figure_of_classes() -> None:
    with pytest.raises(UserError, match="no figure 'qwk'"):
        check_requirement("qwk >= 0.5", Task("mood", labels=["bad", "good"]))


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("disparity_accuracy_region <= 0.1", "--sensitive region"),
        ("flip_rate_typos_high <= 0.1", "--perturb 100"),
        ("flip_rate_typoes <= 0.1", "there are: typos, injection"),
        ("accuracy >= 0.5", "no labels in column 'stars'"),
        ("worst_cohort_difference <= 0.5", "no labels"),
    ],
)
def test_a_gate_on_what_would_not_be_measured_is_refused_beforehand(requirement: str, said: str) -> None:
    kinds = ("typos", "injection")
    labelled = "no labels" not in said
    with pytest.raises(UserError, match=said):
        check_measured([requirement], TASK, labelled=labelled, sensitive=(), kinds=kinds, perturbed=False)
    if labelled and "typoes" not in requirement:
        check_measured([requirement], TASK, labelled=True, sensitive=["region"], kinds=kinds, perturbed=True)
    without = ["failed_rate <= 0.1", "disparity_mean_predicted_region <= 1"]
    check_measured(without, TASK, labelled=False, sensitive=["region"], kinds=kinds, perturbed=False)


@pytest.mark.parametrize("labels", [["spam", "ham"], ["a", "b", "c"]])
@pytest.mark.parametrize("kind", ["rating", "classification"])
def test_every_metric_that_groups_are_compared_by_can_be_gated(kind: str, labels: list[str]) -> None:
    task = Task("mood", type=kind, labels=labels)
    states: list[State] = ["ok", "refused", "failed", "off_label"]
    predictions = [Prediction(labels[0] if state == "ok" else None, state) for state in states]
    for one in row_values(task, labels[:1] * 4, predictions):
        name = figure_name(f"disparity_{one.name}_home region")
        assert check_requirement(f"{name} <= 0.1", task).figure == name
        check_measured([f"{name} <= 1"], task, labelled=True, sensitive=["home region"], kinds=(), perturbed=False)
