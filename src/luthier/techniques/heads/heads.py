"""The head of an embedding spec: what is learned on top of the vectors, from the setting to the fitted model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from luthier.evaluation.deciding import Objective
from luthier.providers.exchange import Conversation
from luthier.techniques.heads.automl import check_parts, searched
from luthier.techniques.heads.learners import Candidate, Learned, Predictor
from luthier.techniques.heads.lesson import Lesson
from luthier.techniques.heads.readings import Judge
from luthier.techniques.heads.trying import Bench, Tried, plain, walked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Head", "HeadMethod", "Taught", "predictor_of", "taught"]

HeadMethod = Literal["logistic", "ordinal", "regression", "automl"]

DEFAULT_TRIALS = 30

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse regularisation of logistic regressions on standardised vectors, from strong to weak."""

PENALTIES = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0)
"""Of ridge regression, likewise."""

PATHS: Mapping[str, tuple[tuple[Candidate, ...], ...]] = {
    "logistic": tuple(
        tuple(Candidate("logistic", "classifier", {"C": strength, "class_weight": weight}) for strength in STRENGTHS)
        for weight in (None, "balanced")
    ),
    "ordinal": (tuple(Candidate("ordinal", "ordinal", {"C": strength}) for strength in STRENGTHS),),
    "regression": (tuple(Candidate("ridge", "regressor", {"alpha": penalty}) for penalty in PENALTIES),),
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
class Taught:
    """A head that is fitted, and how it was found.

    Attributes:
        won: the best candidate with its held-out answers.
        learned: the same, taught on all rows.
        cuts: where the expected rating is cut for objective `qwk`, on the scale of the labels it was taught.
        trials: what was tried, in order.
    """

    won: Tried
    learned: Learned
    cuts: tuple[float, ...] | None
    trials: tuple[dict[str, Any], ...]

    @property
    def state(self) -> dict[str, Any]:
        """How the model is read, as JSON."""
        candidate = self.won.candidate
        return {
            "estimator": candidate.estimator,
            "as": candidate.reading,
            "settings": plain(candidate.settings),
            "spread": self.won.spread,
        }


def taught(
    head: Head,
    lesson: Lesson,
    objective: Objective | None,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> Conversation[Taught]:
    """Finds the head's settings on the training rows and teaches it on all of them.

    Args:
        head: which kind, and how long AutoML may look.
        lesson: the training rows.
        objective: what the label will be chosen to be best at; candidates are judged by the same.
        seed: of everything drawn.
        clock: seconds that only grow.
    """
    judge = Judge(lesson.values, objective)
    bench = Bench(lesson, judge, seed, "AutoML" if head.method == "automl" else "head", clock)
    if head.method == "automl":
        check_parts()
        yield from searched(bench, trials=head.most_trials, seconds=head.seconds)
    else:
        yield from walked(bench, PATHS[head.method])
    learned = yield from bench.settle()
    won = bench.best
    assert won is not None
    cuts = None if won.score is None else judge.cuts(lesson.targets[lesson.judged], won.probabilities)
    return Taught(won, learned, cuts, tuple(bench.trials))


def predictor_of(
    state: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[np.float64]],
    files: Mapping[str, bytes],
    values: tuple[float, ...],
) -> Predictor:
    """A fitted head as it was kept, ready to answer."""
    return Predictor(Learned(arrays=arrays, files=files), state["as"], values, state["spread"])
