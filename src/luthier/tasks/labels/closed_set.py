"""A closed set of labels: classes, or ratings from lowest to highest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from luthier.tasks.labels.answers import LabelReader
from luthier.tasks.labels.hierarchy import HIERARCHY_METRICS, LabelPaths, PathReader, hierarchy_metrics
from luthier.tasks.labels.label_guessing import guessed_classes, guessed_rating
from luthier.tasks.labels.label_questions import label_question, label_specs
from luthier.tasks.labels.label_settings import ClassSettings, LabelSettings, LabelType, described_labels
from luthier.tasks.labels.set_guessing import guessed_hierarchy, guessed_sets
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import listed_labels
from luthier.tasks.spellings import number_of
from luthier.tasks.types import (
    AnswerRead,
    Column,
    Floats,
    GuessedSettings,
    Judged,
    Measure,
    Plots,
    StartingSpec,
    TaskType,
    TypeSettings,
)

if TYPE_CHECKING:
    from luthier.tasks.labels.label_metrics import LabelArrays

__all__ = ["Classes", "ClosedSet", "Ratings"]


class ClosedSet(LabelType):
    """Labels of which every answer is one."""

    value_name: ClassVar[str] = "label"
    counted_once = True
    ordered = False
    paths: LabelPaths | None = None
    """The labels as paths, where their names are built of levels."""
    Settings: ClassVar[type[TypeSettings]] = LabelSettings

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task with these labels.

        Raises:
            ValueError: labels are too few, empty or repeated, or something that is no label is described.
        """
        made = cls(labels)
        made.settings = settings
        if isinstance(settings, LabelSettings):
            made.descriptions = described_labels(made.labels, settings.descriptions)
            if isinstance(settings, ClassSettings) and settings.hierarchy is not None:
                made.paths = LabelPaths(made.labels, settings.hierarchy)
                made.headline = ("weighted_f1", "hierarchical_f1", "first_level_accuracy", "accuracy", "log_loss")
        return made

    @cached_property
    def values(self) -> tuple[float, ...]:
        """A number per label: the label itself if all labels are numbers and differ, else its rank from 1."""
        numbers = [number for number in map(number_of, self.labels) if number is not None]
        if len(set(numbers)) == len(self.labels):
            return tuple(numbers)
        return tuple(float(rank) for rank in range(1, len(self.labels) + 1))

    def read_truth(self, cell: object) -> str | None:
        """The label a cell stands for, `None` if it stands for none of them."""
        return self.spellings.find(cell)

    def allowed(self, cells: Sequence[object]) -> str:
        """The labels, and what to do about cells that hold none of them."""
        folded = {label.casefold() for label in self.labels}
        cure = (
            "They differ from the labels in upper and lower case only; write them as the task does."
            if all(str(cell).strip().casefold() in folded for cell in cells)
            else "Correct the rows, leave them out, or add the label to the task."
        )
        return f"Labels are: {listed_labels(self.labels)}. {cure}"

    def parts_of(self, truth: Any) -> Sequence[str]:
        """The label."""
        return (truth,)

    def strata(self, truths: Sequence[Any]) -> Sequence[int]:
        """The label of each row, by its position."""
        return [self.positions[label] for label in truths]

    @cached_property
    def _reader(self) -> LabelReader:
        return self.reader(self.labels)

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The label a free answer names."""
        return self._reader.read(text, cut=cut)

    def reader(self, *spellings: Sequence[str]) -> LabelReader:
        """Reads these words and the labels; where a label is another label's word, the word counts."""
        names: dict[str, str] = {}
        for said in (*spellings, self.labels):
            taken = {name.casefold() for name in names}
            names |= {n: label for n, label in zip(said, self.labels, strict=True) if n.casefold() not in taken}
        return LabelReader(names) if self.paths is None else PathReader(names, self.paths)

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """One of the words."""
        return {"type": "string", "enum": list(words)}

    def question(self) -> str:
        """Which of the labels, or of the words for them, fits."""
        return label_question(self)

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """A baseline, an embedding spec and two prompts whose answers are compared by probability."""
        return label_specs(self)

    @property
    def columns(self) -> dict[str, Column]:
        """The label, its probability and one per label, for ratings the expected rating, state and error."""
        numbers = ("probability", *(f"p_{label}" for label in self.labels), *(("expected",) if self.ordered else ()))
        return {"label": "text"} | dict.fromkeys(numbers, "number") | {"state": "text", "error": "text"}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction under the names of its columns, `None` where there is no value."""
        label, shares = prediction.value, prediction.scores
        own = None if shares is None or label is None else shares[self.positions[label]]
        values: dict[str, Any] = {"label": label, "probability": own}
        for position, name in enumerate(self.labels):
            values[f"p_{name}"] = None if shares is None else shares[position]
        if self.ordered:
            values["expected"] = self.expected(shares)
        return values | {"state": prediction.state, "error": prediction.error}

    def expected(self, shares: Sequence[float] | None) -> float | None:
        """Mean of the labels' values under these probabilities."""
        return None if shares is None else sum(p * value for p, value in zip(shares, self.values, strict=True))

    def arrays(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> LabelArrays:
        """Truths and predictions as arrays."""
        from luthier.tasks.labels.label_metrics import LabelArrays

        return LabelArrays.of(self.labels, self.values, self.ordered, truths, predictions)

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions against the true labels.

        Raises:
            DataError: a truth is no label, or probabilities have another length.
        """
        import numpy as np

        found = self.arrays(truths, predictions)
        rates = {}
        if found.probabilities is not None:
            labelled = int((found.predicted < len(self.labels)).sum())
            rates["probability_coverage"] = (int(found.covered.sum()), labelled)
        return Judged(
            distances=found.absolute_error if self.ordered else (~found.correct).astype(float),
            sums=found.sums() | ({} if self.paths is None else self.paths.sums(truths, predictions)),
            groups=found.groups(),
            rates=rates,
            confidences=np.where(found.covered, found.confidence, np.nan),
        )

    @cached_property
    def metrics(self) -> Mapping[str, Measure]:
        """Every metric of labels; see `label_metrics.py`."""
        from luthier.tasks.labels.label_metrics import LABEL_METRICS, RATING_METRICS

        own = {name: one for name, one in LABEL_METRICS.items() if self.ordered or name not in RATING_METRICS}
        return own if self.paths is None else own | HIERARCHY_METRICS

    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics; see `label_metrics.py`."""
        from luthier.tasks.labels.label_metrics import label_metrics

        flat = label_metrics(sums, max(self.values) - min(self.values) if self.ordered else None)
        return flat if self.paths is None else flat | hierarchy_metrics(sums)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """The best and the worst value a quality metric can take on a row."""
        from math import log

        from luthier.tasks.labels.label_metrics import EPSILON

        if metric.endswith("qwk"):
            return 1.0, -1.0
        one = self.metrics.get(metric)
        if one is not None and one.better == "higher":
            return 1.0, 0.0
        span = max(self.values) - min(self.values)
        worst = {"mse": span**2, "mae": span, "log_loss": -log(EPSILON), "brier": 2.0}
        name = metric.removeprefix("expected_")
        return (0.0, worst[name]) if name in worst else None

    constant_note: ClassVar[str] = "The most frequent label"

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """The most frequent label, with the labels' shares as probabilities."""
        counts = Counter(truths)
        shares = tuple(counts[name] / len(truths) for name in self.labels)
        return Prediction(max(self.labels, key=lambda name: counts[name]), "ok", shares)

    def score(self, objective: str | None, prediction: Prediction, truth: Any) -> float:
        """1 for the true label and 0 for any other; under `mse` and `qwk` minus the squared distance from it.

        Kappa itself is no sum over rows; for given shares of labels it falls with that sum. A row without a label
        counts as wrong, and as the farthest label.

        Examples:
            >>> stars = Ratings(["1", "2", "3", "4", "5"])
            >>> stars.score("mse", Prediction("2", "ok"), "4"), stars.score(None, Prediction("2", "ok"), "4")
            (-4.0, 0.0)
            >>> stars.score("mse", Prediction(None, "refused"), "2")
            -9.0
        """
        if objective in (None, "accuracy"):
            return float(prediction.value is not None and prediction.value == truth)
        true = self.values[self.positions[truth]]
        if prediction.value is None:
            return -float(max((value - true) ** 2 for value in self.values))
        return -float((self.values[self.positions[prediction.value]] - true) ** 2)

    def score_name(self, objective: str | None) -> str:
        """What `score` averages to, in words for a table."""
        return "accuracy" if objective in (None, "accuracy") else "minus the squared error"

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        """The confusion matrix, and confidence against truth where there are probabilities."""
        found = self.arrays(truths, predictions)
        return Plots(found.confusion(), found.calibration())


class Classes(ClosedSet):
    """Labels without an order."""

    Settings: ClassVar[type[TypeSettings]] = ClassSettings
    headline = ("weighted_f1", "accuracy", "balanced_accuracy", "log_loss")

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The labels there are: several for a row where cells are lists, paths where all names have levels."""
        several = guessed_sets(table[label])
        if several is not None:
            return several
        found = guessed_classes(table[label])
        mark = guessed_hierarchy(found.settings["labels"])
        if mark is None:
            return found
        reason = f"their names are paths with {mark!r} between (hierarchy: {mark!r})"
        return GuessedSettings({**found.settings, "hierarchy": mark}, (*found.reasons, reason), found.counts)

    @classmethod
    def variant(cls, given: Mapping[str, Any]) -> type[TaskType]:
        """Sets of labels where a text may have several."""
        if given.get("multilabel") is not True:
            return cls
        from luthier.tasks.labels.multilabel import MultiLabel

        return MultiLabel

    def ranking(self) -> str:
        """F1 by label, weighted by how often each is true."""
        return "weighted_f1"


class Ratings(ClosedSet):
    """Labels from lowest to highest."""

    ordered = True
    headline = ("qwk", "mae", "accuracy", "weighted_f1", "log_loss")

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The labels there are, lowest first."""
        return guessed_rating(table[label])

    def ranking(self) -> str:
        """Quadratic weighted kappa.

        Like the squared error it counts a far miss more than a near one, but it does not reward answers that hide in
        the middle of the scale, and a constant answer gets 0.
        """
        return "qwk"
