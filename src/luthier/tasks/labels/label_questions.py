"""What `luthier init` writes for a closed set of labels: its question and its specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from luthier.tasks.labels.hierarchy import LabelPaths
from luthier.tasks.spellings import number_of
from luthier.tasks.types import StartingSpec

__all__ = ["label_question", "label_specs", "words_of"]

WORDS = {
    3: ("poor", "okay", "excellent"),
    4: ("terrible", "poor", "good", "excellent"),
    5: ("terrible", "poor", "okay", "good", "excellent"),
}
"""Words for short number scales; all begin differently, so the first token of an answer tells them apart."""

CALIBRATION_ROWS = 60

MOST_SCORED = 50
"""Telling more labels apart by probability takes many calls for a row: up to 1,500 were foreseen for 150 labels."""

MOST_EXAMPLES = 40
"""More would make every prompt long and expensive; with more labels some have no example, and the spec says so."""


class LabelsInOrder(Protocol):
    """A closed set of labels."""

    labels: tuple[str, ...]
    ordered: bool
    positions: dict[str, int]
    descriptions: Mapping[str, str]
    paths: LabelPaths | None

    @property
    def values(self) -> tuple[float, ...]:
        """A number per label."""


def words_of(kind: LabelsInOrder) -> dict[str, str] | None:
    """Words a model can say for labels that are bare numbers; `None` where the labels are words already."""
    if not kind.ordered or len(kind.labels) not in WORDS or None in map(number_of, kind.labels):
        return None
    ascending = sorted(kind.labels, key=lambda label: kind.values[kind.positions[label]])
    return dict(zip(ascending, WORDS[len(kind.labels)], strict=True))


def label_question(kind: LabelsInOrder) -> str:
    """Which of the words of a spec fits."""
    asked = (
        "Which label fits each text? Answer with one of:"
        if words_of(kind) is None
        else "How does the writer of each text feel about it? Answer with one word:"
    )
    if kind.descriptions:
        # One line each, so that a description is not taken for part of the next label.
        return (
            f"{asked}\n{{% for label in labels %}}- {{{{ words[loop.index0] }}}}"
            "{% if label in descriptions %}: {{ descriptions[label] }}{% endif %}\n{% endfor %}"
        )
    return f"{asked} {{{{ words | join(', ') }}}}."


def label_specs(kind: LabelsInOrder) -> tuple[StartingSpec, ...]:
    """A baseline, an embedding spec with the head that measured best on such tasks (docs/embedding.md), two prompts."""
    words = words_of(kind)
    said: Mapping[str, Any] = {} if words is None else {"words": words}
    scored = {"method": "score", **said, "calibration_rows": CALIBRATION_ROWS}
    # Paths begin alike and are of many tokens: a service has to be asked several times a row to tell them apart.
    told_apart = len(kind.labels) <= MOST_SCORED and kind.paths is None
    prompt = {"technique": "prompt", "answer": scored if told_apart else {"method": "text", **said}}
    head, others = ("ordinal", "logistic, regression, automl") if kind.ordered else ("logistic", "automl")
    count = max(4, min(len(kind.labels), MOST_EXAMPLES))
    return (
        StartingSpec(
            "baseline",
            "TF-IDF and logistic regression: free, fast, and what a language model has to beat.",
            {"technique": "baseline"},
        ),
        StartingSpec(
            "embedding",
            "Texts as vectors of an embedding model, and a small model learned on them: one cheap call per text.",
            {"technique": "embedding", "head": head},
            remarks={"head": f"or {others}"},
        ),
        StartingSpec("zero-shot", "The prompt alone.", prompt),
        StartingSpec(
            "few-shot",
            f"The prompt with {count} labelled examples in front, taken evenly from the training rows.",
            prompt,
            examples=count,
            select="balanced",
        ),
    )
