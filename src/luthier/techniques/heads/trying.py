"""Candidates are tried on the training rows alone: cross-validated, judged alike, and noted down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.providers.exchange import Conversation, ProgressEvent
from luthier.techniques.heads.learners import Candidate, Learned, Predictor, teach
from luthier.techniques.heads.lesson import Lesson
from luthier.techniques.heads.readings import Judge

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Bench", "Tried", "cross_validated", "walked"]

Result = TypeVar("Result")

SAID_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Tried:
    """A candidate and what it is worth.

    Attributes:
        candidate: what was tried.
        score: on rows it did not learn from; `None` where no row could be held out.
        probabilities: of those rows, shape (judged rows, labels).
        spread: standard deviation of a regressor's errors on them.
        seconds: it took.
    """

    candidate: Candidate
    score: float | None
    probabilities: npt.NDArray[np.float64]
    spread: float
    seconds: float = 0.0


def cross_validated(candidate: Candidate, lesson: Lesson, judge: Judge, seed: int) -> Generator[None, None, Tried]:
    """Answers every judged row by a model that did not learn from its fold."""
    import numpy as np

    judged = lesson.judged
    said: npt.NDArray[np.float64] | None = None
    for teaching, held in lesson.parts():
        learned = yield from teach(candidate, lesson.take(teaching), seed)
        answers = Predictor(learned, candidate.reading, lesson.values).raw(lesson.vectors[held])
        if said is None:
            said = np.zeros((len(lesson.targets), answers.shape[1]))
        said[held] = answers
    values = np.asarray(lesson.values)
    if said is None:
        # Nothing could be held out: a regressor is then as unsure as the labels are apart.
        return Tried(candidate, None, np.zeros((0, len(lesson.labels))), float(values[lesson.targets].std()))
    said = said[judged]
    spread = 0.0
    if candidate.reading == "regressor":
        spread = float(np.sqrt(((said[:, 0] - values[lesson.targets[judged]]) ** 2).mean()))
    probabilities = Predictor(Learned(), candidate.reading, lesson.values, spread).read(said)
    return Tried(candidate, judge.score(lesson.targets[judged], probabilities), probabilities, spread)


class Bench:
    """Where candidates are tried one after the other; says about twice a second how far it is.

    Nothing runs beside the conversation: closing it between two steps ends the work.

    Args:
        lesson: the training rows.
        judge: what candidates are compared by.
        seed: of everything drawn.
        what: the work, in a word, for the progress display.
        clock: seconds that only grow.
    """

    def __init__(
        self, lesson: Lesson, judge: Judge, seed: int, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lesson, self.judge, self.seed = lesson, judge, seed
        self.trials: list[dict[str, Any]] = []
        """What was tried, in order: plain values."""
        self.best: Tried | None = None
        self._what, self._clock = what, clock
        self._began = clock()
        self._said = self._began

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return self._clock() - self._began

    def try_out(
        self, candidate: Candidate, *, trials: int | None, until: float | None = None
    ) -> Conversation[Tried | None]:
        """Tries a candidate and notes it down.

        Args:
            candidate: what to try.
            trials: how many there will be in all, for the bar; `None` when that is not known.
            until: when the bench's `seconds` are over; a trial under way is then dropped, unless it is the first.
        """
        began = self.seconds
        steps = cross_validated(candidate, self.lesson, self.judge, self.seed)
        tried = yield from self._watched(steps, f"trying {candidate.estimator}", trials, until)
        if tried is None:
            return None
        tried = Tried(candidate, tried.score, tried.probabilities, tried.spread, self.seconds - began)
        if self.best is None or self.best.score is None or self._loss(tried) < self._loss(self.best):
            self.best = tried
        self.trials.append(
            {
                "trial": len(self.trials) + 1,
                "estimator": candidate.estimator,
                "as": candidate.reading,
                "settings": plain(candidate.settings),
                "measure": self.judge.measure,
                "score": tried.score,
                "best": self.best.score,
                "seconds": round(tried.seconds, 3),
            }
        )
        return tried

    def settle(self) -> Conversation[Learned]:
        """The best candidate, taught on all rows."""
        assert self.best is not None
        steps = teach(self.best.candidate, self.lesson, self.seed)
        learned = yield from self._watched(steps, f"fitting {self.best.candidate.estimator}", None, None)
        assert learned is not None
        return learned

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
        return f"best {self.judge.measure} {self.best.score:.3f} by {self.best.candidate.estimator}"

    def _loss(self, tried: Tried) -> float:
        return math.inf if tried.score is None else self.judge.loss(tried.score)


def walked(bench: Bench, paths: Sequence[Sequence[Candidate]]) -> Conversation[None]:
    """Tries short lists of candidates, each ordered from simple to wild, and leaves a list where it gets worse."""
    most = sum(map(len, paths))
    for path in paths:
        before = math.inf
        for candidate in path:
            tried = yield from bench.try_out(candidate, trials=most)
            if tried is None or tried.score is None:
                return
            loss = bench.judge.loss(tried.score)
            if loss > before:
                break
            before = loss


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON has them."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in settings.items()}
