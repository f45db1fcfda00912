"""The vectors of texts, and what it means for a row when its text got none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from luthier.engine.report import call_record
from luthier.providers.exchange import Answer
from luthier.tasks.prediction import Prediction
from luthier.techniques.conversations import all_there, unanswered

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["training_vectors", "without_vector"]


def without_vector(answer: Answer) -> Prediction | None:
    """The prediction of a row whose text got no usable vector; `None` if it got one."""
    import numpy as np

    broken = unanswered([answer])
    if broken is None and not np.isfinite(answer.vector).all():
        error = "the vector holds values that are no numbers"
        return Prediction(None, "failed", error=error, call=replace(call_record([answer]), raw=None))
    return broken


def training_vectors(name: str, answers: Sequence[Answer]) -> tuple[dict[int, npt.NDArray[np.float32]], str]:
    """The vectors of training texts by position, and why the first of the others has none, in brackets.

    Raises:
        Partial: some have no vector yet, for a reason that may pass.
    """
    broken = [without_vector(answer) for answer in answers]
    why = all_there(name, broken, "training texts have no vector")
    return {place: answer.vector for place, answer in enumerate(answers) if broken[place] is None}, why
