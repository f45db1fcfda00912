from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.errors import MissingPart, SpecError
from luthier.providers.exchange import ProgressEvent
from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.techniques import Embedding, read_fitted
from luthier.techniques.heads import automl
from luthier.techniques.heads.automl import KINDS, search_estimators, work_of
from luthier.techniques.heads.learners import EstimatorChoice, Predictor, train_model
from luthier.techniques.heads.probabilities import HeadScorer
from luthier.techniques.heads.trials import TrialRunner
from tests.conversing import ENDPOINT, MOOD, STARS, hold
from tests.patience import PATIENCE_SECONDS
from tests.techniques.heads.vectors import embeds, ended, labelled, training_set_of, vector_of

TREES = [
    EstimatorChoice(
        "lgbm", "classifier", {"n_estimators": 3, "num_leaves": 4, "log_max_bin": 4, "min_child_samples": 5}
    ),
    EstimatorChoice("lgbm", "regressor", {"n_estimators": 3, "num_leaves": 4, "min_child_samples": 5}),
    EstimatorChoice("xgboost", "classifier", {"n_estimators": 3, "max_leaves": 4, "max_depth": 0, "subsample": 0.7}),
    EstimatorChoice("xgb_limitdepth", "regressor", {"n_estimators": 3, "max_depth": 2}),
]


class Ticks:
    """A clock on which every look takes a tenth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def runner_of(task: Task = STARS, seed: int = 7) -> TrialRunner:
    training_set = training_set_of(task, 40)
    return TrialRunner(training_set, HeadScorer(training_set.values, None), seed, "AutoML", Ticks())


@pytest.mark.parametrize("task", [STARS, MOOD], ids=["five", "two"])
@pytest.mark.parametrize("choice", TREES, ids=lambda c: f"{c.estimator}-{c.output}")
def test_trees_answer_the_same_from_their_own_format(choice: EstimatorChoice, task: Task) -> None:
    training_set = training_set_of(task)
    trained = ended(train_model(choice, training_set, seed=7))
    asked = np.array([vector_of(f"{n % 5} asked {n}") for n in range(30)], dtype=float)
    first = Predictor(trained, choice.output, training_set.values, 0.5).probabilities(asked)
    again = Predictor(ended(train_model(choice, training_set, seed=7)), choice.output, training_set.values, 0.5)
    assert np.array_equal(first, again.probabilities(asked))
    assert np.array_equal(first[3], again.probabilities(asked[3:4])[0])
    assert first.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("choice", TREES, ids=lambda c: f"{c.estimator}-{c.output}")
def test_trees_that_are_saved_answer_bit_by_bit_the_same(choice: EstimatorChoice, tmp_path: Path) -> None:
    training_set, asked = training_set_of(STARS), labelled(STARS, 30, seed=2)
    trained = ended(train_model(choice, training_set, seed=7))
    head: dict[str, Any] = {"estimator": choice.estimator, "as": choice.output, "settings": {}, "spread": 0.7}
    state = {"dimensions": 6, "labels": list(STARS.labels), "head": head, "cuts": None, "trials": [], "notes": []}
    fitted = Fitted(Embedding(STARS, endpoint=ENDPOINT), None, state, trained.arrays, trained.files)
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    assert hold(again.predict(asked), embeds()) == hold(fitted.predict(asked), embeds())


def test_the_same_rows_and_seed_try_the_same() -> None:
    first, second = runner_of(), runner_of()
    for runner in (first, second):
        ended(search_estimators(runner, trials=11, seconds=None))
    assert first.trials == second.trials
    assert len(first.trials) == 11


def test_every_kind_is_tried_once_before_any_is_tried_again() -> None:
    runner = runner_of()
    ended(search_estimators(runner, trials=9, seconds=None))
    assert [(trial["estimator"], trial["as"]) for trial in runner.trials] == list(KINDS)


def test_labels_without_an_order_are_only_classified() -> None:
    runner = runner_of(MOOD)
    ended(search_estimators(runner, trials=5, seconds=None))
    assert {trial["as"] for trial in runner.trials} == {"classifier"}


def test_the_best_so_far_never_gets_worse() -> None:
    runner = runner_of()
    ended(search_estimators(runner, trials=11, seconds=None))
    best = [trial["best"] for trial in runner.trials]
    assert best == sorted(best, reverse=True)
    assert runner.best is not None
    assert runner.best.score == min(trial["score"] for trial in runner.trials)


def test_time_that_is_over_ends_the_search() -> None:
    runner = runner_of()
    ended(search_estimators(runner, trials=None, seconds=5.0))
    assert runner.trials
    assert runner.seconds < 6


def test_the_first_trial_is_finished_whatever_time_it_takes() -> None:
    runner = runner_of()
    ended(search_estimators(runner, trials=None, seconds=0.1))
    assert len(runner.trials) == 1


def test_it_says_twice_a_second_how_far_it_is() -> None:
    said: list[ProgressEvent] = []
    runner = runner_of()
    ended(search_estimators(runner, trials=5, seconds=None), said)
    assert len(said) == pytest.approx(runner.seconds / 0.6, rel=0.4)
    assert {(word.what, word.total) for word in said} == {("AutoML", 5)}
    assert "best log loss" in said[-1].said


def test_a_search_that_is_closed_does_nothing_more() -> None:
    runner = runner_of()
    work = search_estimators(runner, trials=500, seconds=None)
    next(work)
    work.close()
    done = len(runner.trials)
    assert next(work, None) is None
    assert len(runner.trials) == done < 500


def test_the_work_of_trees_is_counted_in_trees() -> None:
    assert work_of(TREES[0], training_set_of(STARS)) == 15
    assert work_of(TREES[1], training_set_of(STARS)) == 3


def test_nothing_is_said_to_the_terminal(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = Embedding(STARS, endpoint=ENDPOINT, head={"method": "automl", "trials": 9})
    hold(spec.fit(labelled(STARS, 40)), embeds())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_rows_too_few_for_most_settings_are_searched_without_a_warning() -> None:
    spec = Embedding(STARS, endpoint=ENDPOINT, head={"method": "automl", "trials": 24})
    few = labelled(STARS, 3, labels=["1", "5"])
    fitted = hold(spec.fit(few), embeds())
    assert {trial["estimator"] for trial in fitted.state["trials"]} >= {"lgbm", "xgboost", "xgb_limitdepth"}
    boosted = next(trial for trial in fitted.state["trials"] if trial["estimator"] == "lgbm")
    assert "n_estimators" in boosted["settings"]


def test_a_part_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(automl.PARTS, "no_such_module", "no-such-package")
    spec = Embedding(STARS, endpoint=ENDPOINT, head="automl")
    with pytest.raises(MissingPart, match=r"needs no-such-package.*pip install \"luthier\[automl\]\".*head: logistic"):
        spec.first_requests(labelled(STARS, 3), labelled(STARS, 40))


@pytest.mark.slow
def test_a_system_library_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "lightgbm.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')")
    code = "from luthier.techniques.heads.automl import check_parts; check_parts()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert "MissingPart: lightgbm is installed but cannot be loaded" in done.stderr
    assert "apt-get install libgomp1" in done.stderr


def test_a_budget_is_for_automl() -> None:
    with pytest.raises(SpecError, match="trials and seconds.*automl.*logistic"):
        Embedding(STARS, endpoint=ENDPOINT, head={"seconds": 60})


def test_a_time_budget_is_said_not_to_be_repeatable() -> None:
    by_time, by_trials = (
        Embedding(STARS, endpoint=ENDPOINT, head={"method": "automl", budget: 9}) for budget in ("seconds", "trials")
    )
    assert "head.trials makes it repeatable" in by_time.notes()[0]
    assert by_trials.notes() == ()
