"""Cross-validated trials of estimators on the training rows, one after the other, each recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.providers.exchange import Conversation, ProgressEvent
from luthier.techniques.heads.learners import EstimatorChoice, Predictor, TrainedModel, train_model
from luthier.techniques.heads.probabilities import HeadScorer
from luthier.techniques.heads.training_set import TrainingSet

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TrialRunner", "Trial", "cross_validated", "run_paths"]

Result = TypeVar("Result")

SAID_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Trial:
    """An estimator, scored by cross-validation.

    Attributes:
        score: on held-out rows; `None` where no row could be held out.
        probabilities: of the held-out rows, shape (held-out rows, labels).
        spread: standard deviation of a regressor's errors on them.
    """

    choice: EstimatorChoice
    score: float | None
    probabilities: npt.NDArray[np.float64]
    spread: float
    seconds: float = 0.0


def cross_validated(
    choice: EstimatorChoice, training_set: TrainingSet, scorer: HeadScorer, seed: int
) -> Generator[None, None, Trial]:
    """Predicts every held-out row by a model trained without its fold, and scores the predictions."""
    import numpy as np

    judged = training_set.judged
    said: npt.NDArray[np.float64] | None = None
    for teaching, held in training_set.parts():
        trained = yield from train_model(choice, training_set.take(teaching), seed)
        answers = Predictor(trained, choice.output, training_set.values).raw(training_set.vectors[held])
        if said is None:
            said = np.zeros((len(training_set.targets), answers.shape[1]))
        said[held] = answers
    values = np.asarray(training_set.values)
    if said is None:
        # Nothing could be held out: the spread of the labels stands in for a regressor's errors.
        return Trial(choice, None, np.zeros((0, len(training_set.labels))), float(values[training_set.targets].std()))
    said = said[judged]
    spread = 0.0
    if choice.output == "regressor":
        spread = float(np.sqrt(((said[:, 0] - values[training_set.targets[judged]]) ** 2).mean()))
    probabilities = Predictor(TrainedModel(), choice.output, training_set.values, spread).read(said)
    return Trial(choice, scorer.score(training_set.targets[judged], probabilities), probabilities, spread)


class TrialRunner:
    """Runs trials one after the other and reports progress about twice a second.

    No thread is started: closing the conversation between two steps ends the work. `what` names it on the progress
    display; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        scorer: HeadScorer,
        seed: int,
        what: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.training_set, self.scorer, self.seed = training_set, scorer, seed
        self.trials: list[dict[str, Any]] = []
        """A record of each trial, in order: plain values."""
        self.best: Trial | None = None
        self._what, self._clock = what, clock
        self._began = clock()
        self._said = self._began

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._began

    def run(
        self, choice: EstimatorChoice, *, trials: int | None, until: float | None = None
    ) -> Conversation[Trial | None]:
        """Runs one trial and records it.

        Args:
            choice: the estimator.
            trials: how many trials there will be, for the progress bar; `None` when that is not known.
            until: value of `seconds` at which the time is over; the trial in progress is then dropped and `None`
                returned, unless it is the first.
        """
        began = self.seconds
        steps = cross_validated(choice, self.training_set, self.scorer, self.seed)
        trial = yield from self._watched(steps, f"trying {choice.estimator}", trials, until)
        if trial is None:
            return None
        trial = replace(trial, seconds=self.seconds - began)
        if self.best is None or self.best.score is None or self._loss(trial) < self._loss(self.best):
            self.best = trial
        self.trials.append(
            {
                "trial": len(self.trials) + 1,
                "estimator": choice.estimator,
                "as": choice.output,
                "settings": plain(choice.settings),
                "measure": self.scorer.measure,
                "score": trial.score,
                "best": self.best.score,
                "seconds": round(trial.seconds, 3),
            }
        )
        return trial

    def train_best(self) -> Conversation[TrainedModel]:
        """The best estimator, trained on all rows."""
        assert self.best is not None
        steps = train_model(self.best.choice, self.training_set, self.seed)
        trained = yield from self._watched(steps, f"fitting {self.best.choice.estimator}", None, None)
        assert trained is not None
        return trained

    def _watched(
        self,
        steps: Generator[None, None, Result],
        said: str,
        trials: int | None,
        until: float | None,
    ) -> Conversation[Result | None]:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            now = self._clock()
            if until is not None and now - self._began >= until and self.best is not None:
                steps.close()
                return None
            if now - self._said >= SAID_EVERY_SECONDS:
                self._said = now
                done, total = (len(self.trials), trials) if until is None else (min(now - self._began, until), until)
                yield ProgressEvent(self._what, done, total, f"{said}, {self._so_far()}")

    def _so_far(self) -> str:
        if self.best is None or self.best.score is None:
            return "none done yet"
        return f"best {self.scorer.measure} {self.best.score:.3f} by {self.best.choice.estimator}"

    def _loss(self, trial: Trial) -> float:
        return math.inf if trial.score is None else self.scorer.loss(trial.score)


def run_paths(runner: TrialRunner, paths: Sequence[Sequence[EstimatorChoice]]) -> Conversation[None]:
    """Tries lists of estimators, each from strong to weak regularisation, and leaves a list once scores get worse."""
    most = sum(map(len, paths))
    for path in paths:
        before = math.inf
        for choice in path:
            trial = yield from runner.run(choice, trials=most)
            if trial is None or trial.score is None:
                return
            loss = runner.scorer.loss(trial.score)
            if loss > before:
                break
            before = loss


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON values."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in settings.items()}
