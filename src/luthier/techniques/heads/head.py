"""The head of an embedding spec: what is learned on top of the vectors, from the setting to the fitted model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from luthier.providers.exchange import Conversation
from luthier.tasks.deciding import Objective
from luthier.techniques.heads.automl import check_parts, search_estimators
from luthier.techniques.heads.learners import EstimatorChoice, Predictor, TrainedModel
from luthier.techniques.heads.probabilities import HeadScorer
from luthier.techniques.heads.training_set import TrainingSet
from luthier.techniques.heads.trials import Trial, TrialRunner, plain, run_paths

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Head", "HeadMethod", "FittedHead", "load_predictor", "fit_head"]

HeadMethod = Literal["logistic", "ordinal", "regression", "automl"]

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


class Head(BaseModel):
    """What is learned on top of the vectors; `head: ordinal` is short for `head: {method: ordinal}`.

    Settings are chosen by cross-validation on the training rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: HeadMethod = "logistic"
    """`logistic` (regression over the labels); for ratings also `ordinal` (a logistic regression per bound
    between labels) and `regression` (ridge, on the labels' values); `automl` (FLAML chooses among these,
    LightGBM and XGBoost; needs the extra `automl`)."""
    trials: int | None = Field(default=None, ge=1)
    """For `automl`: candidates to try; 30 where neither trials nor seconds are given. The same rows and seed
    then give the same model."""
    seconds: float | None = Field(default=None, gt=0)
    """For `automl`: time to try candidates in, whichever of the two ends first. How many fit in depends on the
    machine, and so does the model."""

    @model_validator(mode="after")
    def _budget_is_for_automl(self) -> Self:
        if self.method != "automl" and (self.trials is not None or self.seconds is not None):
            raise ValueError(f"trials and seconds are for head automl, not {self.method}")
        return self

    @property
    def most_trials(self) -> int | None:
        """Candidates AutoML tries at most; `None` where only the time counts."""
        return DEFAULT_TRIALS if self.trials is None and self.seconds is None else self.trials


@dataclass(frozen=True)
class FittedHead:
    """A head that is fitted, and how it was found.

    Attributes:
        won: the best candidate with its held-out answers.
        trained: the same, taught on all rows.
        thresholds: where the expected rating is cut for objective `qwk`, on the scale of the labels it was taught.
        trials: what was tried, in order.
    """

    won: Trial
    trained: TrainedModel
    thresholds: tuple[float, ...] | None
    trials: tuple[dict[str, Any], ...]

    @property
    def state(self) -> dict[str, Any]:
        """How the model is read, as JSON."""
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
    """Finds the head's settings on the training rows and teaches it on all of them.

    Args:
        head: which kind, and how long AutoML may look.
        training_set: the training rows.
        objective: what the label will be chosen to be best at; candidates are judged by the same.
        seed: of everything drawn.
        clock: seconds that only grow.
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


def load_predictor(
    state: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[np.float64]],
    files: Mapping[str, bytes],
    values: tuple[float, ...],
) -> Predictor:
    """A fitted head as it was kept, ready to answer."""
    return Predictor(TrainedModel(arrays=arrays, files=files), state["as"], values, state["spread"])
