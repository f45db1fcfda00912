"""The record of an explained row: its passages, and what each one did to the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Explanation"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each passage of a row's text contributed to its prediction.

    The weight of a passage for a label is p(label | whole text) - p(label | text without the passage): above 0 it
    speaks for the label, below 0 against it. Where the model gives no probabilities, p is 1 for the predicted label
    and 0 for the others, so that a weight says whether the label changed. What passages do only together is not seen:
    of two passages that say the same, each alone may have weight 0.

    Attributes:
        row: number of the row in its table, counted from 1.
        why: why this row was chosen, such as `far miss` or `unsure`.
        passages: the text, cut; joined, they are the text.
        weights: label to one weight per passage, from -1 to 1; `None` for a passage whose question got no answer.
        prediction: the predicted label.
        truth: the true label; `None` where it is not known.
        by_probability: whether the weights are differences of probabilities, or changes of the label.
    """

    row: int
    why: str
    passages: tuple[str, ...]
    weights: Mapping[str, tuple[float | None, ...]]
    prediction: str
    truth: str | None = None
    by_probability: bool = True

    @property
    def for_prediction(self) -> tuple[float | None, ...]:
        """The weights for the predicted label, one per passage."""
        return self.weights[self.prediction]
