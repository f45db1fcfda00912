"""Labels of a task: what it says of them beside their names, and what types that consist of labels share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, StrictBool, field_validator

from luthier.tasks.spellings import Labels, Spellings, composed, labels_as_text
from luthier.tasks.types import Column, TaskType, TypeSettings

__all__ = [
    "ClassSettings",
    "Descriptions",
    "LabelSetSettings",
    "LabelSettings",
    "LabelType",
    "described_labels",
]


def descriptions_as_text(given: Any) -> dict[str, str]:
    """Descriptions as YAML or Python gives them, by label as text.

    Raises:
        ValueError: it is no mapping, a label is a boolean or twice there, or a description is empty.
    """
    if not isinstance(given, Mapping):
        raise ValueError('descriptions says what labels mean, as in descriptions: {"1": would never return}')
    if any(isinstance(label, bool) for label in given):
        raise ValueError("a label is a boolean: YAML reads yes, no, on, off so; put it in quotes")
    labels = labels_as_text(list(given))
    found = {}
    for label, said in zip(labels, given.values(), strict=True):
        if not isinstance(said, str) or not said.strip():
            raise ValueError(f"the description of label {label} is a sentence or a few words; given: {said!r}")
        # One line each: prompts list them.
        found[label] = " ".join(said.split())
    if len(found) < len(labels):
        raise ValueError("descriptions has a label twice")
    return found


Descriptions = Annotated[dict[str, str], BeforeValidator(descriptions_as_text)]
"""Descriptions of labels in a model of pydantic."""


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a task.

    Raises:
        ValueError: they are too few, empty or repeated.
    """
    if len(labels) < 2:
        raise ValueError(f"labels has {len(labels)} entry; a task needs at least 2")
    if "" in labels:
        raise ValueError("a label is empty")
    times = Counter(map(composed, labels))
    repeated = sorted(label for label, count in times.items() if count > 1)
    if repeated:
        raise ValueError(f"labels repeats {', '.join(repeated)}")
    return tuple(labels)


def described_labels(labels: Iterable[str], descriptions: Mapping[str, str], what: str = "label") -> dict[str, str]:
    """The descriptions by the task's own spelling of each label, in the task's order.

    Args:
        labels: the task's.
        descriptions: by label in any spelling that stands for it.
        what: what these are called in a message.

    Raises:
        ValueError: one describes none of them; the message lists what there is.
    """
    labels = tuple(labels)
    spellings = Spellings(labels)
    by_label = {spellings.find(label): said for label, said in descriptions.items()}
    unknown = [label for label in descriptions if spellings.find(label) is None]
    if unknown:
        raise ValueError(
            f"descriptions has {', '.join(map(repr, unknown))}, which is no {what}; {what}s: {', '.join(labels)}"
        )
    return {label: by_label[label] for label in labels if label in by_label}


class LabelSettings(TypeSettings):
    """Settings of every task with labels."""

    descriptions: Descriptions = Field(default_factory=dict)
    """What labels mean, for those whose name does not say it, as in {refund: The customer wants money back}. Prompts
    that ask for `descriptions` show them to the model."""


class ClassSettings(LabelSettings):
    """Settings of type `classification`."""

    multilabel: StrictBool = False
    """Whether a text may have several labels, or none."""
    hierarchy: str | None = None
    """What separates the levels of a label's name: "/" where labels are called billing/refund."""

    @field_validator("hierarchy")
    @classmethod
    def _separates(cls, given: str | None) -> str | None:
        if given is not None and (not given.strip() or any(mark.isalnum() for mark in given)):
            raise ValueError(f'is what separates levels, as "/" does in billing/refund; given: {given!r}')
        return given


class LabelSetSettings(LabelSettings):
    """Settings of type `classification` with `multilabel: true`."""

    multilabel: StrictBool = False
    """`true`: a text may have several labels, or none."""
    labels: Labels = ()
    """Every label that may come back, in order."""


class LabelType(TaskType):
    """A type whose truths consist of labels that the task lists.

    Args:
        labels: every label that may come back, in the task's order.

    Raises:
        ValueError: labels are too few, empty or repeated.
    """

    value_column: ClassVar[Column] = "text"
    part_name: ClassVar[str] = "label"

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = checked_labels(labels)
        self.spellings = Spellings(self.labels)
        self.positions = {label: position for position, label in enumerate(self.labels)}

    @property
    def parts(self) -> Sequence[str]:
        """The labels."""
        return self.labels
