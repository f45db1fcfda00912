"""Explained rows: the text of each, its passages tinted by what they did to the prediction."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.evaluation.explanations import Explanation
from luthier.reporting.table import Block, Highlighted

__all__ = ["explanation_examples"]


def explanation_examples(explanations: Sequence[Explanation]) -> tuple[Block, ...]:
    """What the weights mean, then a block per explained row; nothing where no row is explained.

    Args:
        explanations: the rows, in the order they are shown.
    """
    if not explanations:
        return ()
    return (_meaning(all(one.by_probability for one in explanations)), *map(_example, explanations))


def _meaning(by_probability: bool) -> str:
    change = (
        "how much less likely the predicted label is when this passage alone is left out"
        if by_probability
        else "1 if the label changes when this passage alone is left out, else 0: this model gives no probabilities"
    )
    return (
        "A passage with a weight above 0 (blue) speaks for the predicted label, one below 0 (orange) against it. The "
        f"weight is {change}. Within a text the strongest passage has the full colour; a pointer that rests on a "
        "passage shows its weight. Weights say what this model reacts to, not whether it should."
    )


def _example(one: Explanation) -> Highlighted:
    truth = () if one.truth is None else (", is ", one.truth)
    missing = sum(weight is None for weight in one.for_prediction)
    lost = (
        f" {missing} of {len(one.passages)} passages have no weight: their question got no answer." if missing else ""
    )
    return Highlighted(
        about=(f"row {one.row:,}, {one.why}: predicted ", one.prediction, *truth, *([f".{lost}"] if lost else [])),
        passages=tuple(zip(one.passages, one.for_prediction, strict=True)),
    )
