"""The head of an embedding spec: the classifier on top of the vectors, its settings and how it is fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.providers.exchange import Conversation
from luthier.spec.setting_paths import SHORT_FORMS, SettingsBlock
from luthier.tasks.labels.deciding import Objective
from luthier.techniques.heads.automl import check_parts, search_estimators
from luthier.techniques.heads.learners import EstimatorChoice, TrainedModel
from luthier.techniques.heads.probabilities import HeadScorer
from luthier.techniques.heads.training_set import TrainingSet
from luthier.techniques.heads.trials import Trial, TrialRunner, plain, run_paths

__all__ = ["FOR_PAIRS", "Head", "HeadMethod", "FittedHead", "fit_head"]

HeadMethod = Literal["logistic", "ordinal", "regression", "automl", "cosine", "isotonic"]

FOR_PAIRS: tuple[HeadMethod, ...] = ("cosine", "isotonic", "regression")
"""For pairs of texts; the others choose among labels."""

DEFAULT_TRIALS = 30

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse regularisation of logistic regressions on standardised vectors, from strong to weak."""

PENALTIES = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0)
"""Of ridge regression, likewise."""

PATHS: Mapping[str, tuple[tuple[EstimatorChoice, ...], ...]] = {
    "logistic": tuple(
        tuple(
            EstimatorChoice("logistic", "classifier", {"C": strength, "class_weight": weight}) for strength in STRENGTHS
        )
        for weight in (None, "balanced")
    ),
    "ordinal": (tuple(EstimatorChoice("ordinal", "ordinal", {"C": strength}) for strength in STRENGTHS),),
    "regression": (tuple(EstimatorChoice("ridge", "regressor", {"alpha": penalty}) for penalty in PENALTIES),),
}


class Head(SettingsBlock):
    """What answers from the vectors; `head: ordinal` is short for `head: {method: ordinal}`.

    Settings are chosen by cross-validation on the training rows.
    """

    short_form: ClassVar[str | None] = SHORT_FORMS["head"]
    method: HeadMethod = "logistic"
    """`logistic` (regression over the labels); for ratings also `ordinal` (a logistic regression per bound
    between labels) and `regression` (ridge, on the labels' values); `automl` (FLAML chooses among these,
    LightGBM and XGBoost; needs the extra `automl`).
    For pairs of texts: `cosine` (of the two vectors, 0 and below for the lowest score, 1 for the highest; needs no
    training rows), `isotonic` (a rising curve over the cosine, fitted on training rows) and `regression` (that curve,
    and a ridge on how the vectors differ where it does better on held-out rows)."""
    trials: int | None = Field(default=None, ge=1)
    """For `automl`: number of trials; 30 where neither trials nor seconds are given. The same rows and seed then give
    the same model."""
    seconds: float | None = Field(default=None, gt=0)
    """For `automl`: time for trials; the search ends with whichever of the two is reached first. How many trials fit
    in depends on the machine, and so does the model."""

    @model_validator(mode="after")
    def _budget_is_for_automl(self) -> Self:
        if self.method != "automl" and (self.trials is not None or self.seconds is not None):
            raise ValueError(f"trials and seconds are for head automl, not {self.method}")
        return self

    @property
    def most_trials(self) -> int | None:
        """Most trials of AutoML; `None` where only the time counts."""
        return DEFAULT_TRIALS if self.trials is None and self.seconds is None else self.trials


@dataclass(frozen=True)
class FittedHead:
    """A fitted head: the best trial, its estimator trained on all rows, and a record of each trial, in order."""

    won: Trial
    trained: TrainedModel
    thresholds: tuple[float, ...] | None
    """Between the labels it was trained on, on the scale of their values; for objective `qwk`."""
    trials: tuple[dict[str, Any], ...]

    @property
    def state(self) -> dict[str, Any]:
        """What is needed to read the model, as JSON values."""
        choice = self.won.choice
        return {
            "estimator": choice.estimator,
            "as": choice.output,
            "settings": plain(choice.settings),
            "spread": self.won.spread,
        }


def fit_head(
    head: Head,
    training_set: TrainingSet,
    objective: Objective | None,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> Conversation[FittedHead]:
    """Chooses the head's settings by cross-validation on the training rows, then trains it on all of them.

    Trials are scored by the objective; `clock` gives monotonic seconds.
    """
    scorer = HeadScorer(training_set.values, objective)
    runner = TrialRunner(training_set, scorer, seed, "AutoML" if head.method == "automl" else "head", clock)
    if head.method == "automl":
        check_parts()
        yield from search_estimators(runner, trials=head.most_trials, seconds=head.seconds)
    else:
        yield from run_paths(runner, PATHS[head.method])
    trained = yield from runner.train_best()
    won = runner.best
    assert won is not None
    thresholds = (
        None if won.score is None else scorer.thresholds(training_set.targets[training_set.judged], won.probabilities)
    )
    return FittedHead(won, trained, thresholds, tuple(runner.trials))
