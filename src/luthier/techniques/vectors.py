"""The vectors of texts, and what it means for a row when its text got none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.engine.report import call_record
from luthier.errors import UnusableAnswers
from luthier.providers.exchange import Answer, Request
from luthier.tasks.prediction import Prediction
from luthier.techniques.conversations import all_there, unanswered

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TextVectors", "training_vectors", "without_vector"]


@dataclass(frozen=True, slots=True)
class TextVectors:
    """Asks a model for the vectors of texts and reads them.

    Attributes:
        name: of the spec, for messages.
        model: name of the model.
        dimensions: length that is asked for; the model's own when `None`.
    """

    name: str
    model: str
    dimensions: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of a request beside its text."""
        return {} if self.dimensions is None else {"dimensions": self.dimensions}

    def request(self, text: str) -> Request:
        """The request for the vector of a text."""
        return Request("embedding", {"input": text, **self.settings})

    def read(self, texts: Sequence[str], answers: Sequence[Answer]) -> tuple[dict[str, Any], list[str]]:
        """The vector of every training text that has one, and a note on the others.

        Raises:
            UnusableAnswers: vectors differ in length, or have another length than was asked for.
            Partial: some have no vector yet, for a reason that may pass.
        """
        found, why = training_vectors(self.name, answers)
        vectors = {texts[place]: vector for place, vector in found.items()}
        lengths = sorted(set(map(len, vectors.values())))
        wanted = self.dimensions if self.dimensions is not None else lengths[0] if lengths else 0
        for length in lengths:
            self.check_length(length, wanted)
        if len(vectors) == len(texts):
            return vectors, []
        left_out = f"{len(texts) - len(vectors)} of {len(texts)} training texts{why}"
        return vectors, [f"{self.model} would not embed {left_out}: left out."]

    def check_length(self, found: int, wanted: int) -> None:
        """Refuses a vector that is not as long as the others.

        Raises:
            UnusableAnswers: it is not, or is empty; the message says why that may be.
        """
        if found == wanted and found:
            return
        if self.dimensions == wanted != found:
            raise UnusableAnswers(
                f"spec {self.name!r}: {self.model} gave a vector of {found} numbers where dimensions: {wanted} "
                "was asked for. It cannot shorten vectors: leave `dimensions:` out."
            )
        raise UnusableAnswers(
            f"spec {self.name!r}: {self.model} gave a vector of {found} numbers, the others have {wanted}: the "
            "service changed its model. Fit again on vectors asked anew: luthier compare SPEC --fresh, or write "
            "another `identity:` into the endpoint and type luthier log SPEC --train TABLE."
        )


def without_vector(*answers: Answer) -> Prediction | None:
    """The prediction of a row one of whose texts got no usable vector; `None` if all got one."""
    import numpy as np

    broken = unanswered(answers)
    if broken is None and not all(np.isfinite(answer.vector).all() for answer in answers):
        error = "the vector holds values that are no numbers"
        return Prediction(None, "failed", error=error, call=replace(call_record(answers), raw=None))
    return broken


def training_vectors(name: str, answers: Sequence[Answer]) -> tuple[dict[int, npt.NDArray[np.float32]], str]:
    """The vectors of training texts by position, and why the first of the others has none, in brackets.

    Raises:
        Partial: some have no vector yet, for a reason that may pass.
    """
    broken = [without_vector(answer) for answer in answers]
    why = all_there(name, broken, "training texts have no vector")
    return {place: answer.vector for place, answer in enumerate(answers) if broken[place] is None}, why
