"""Extraction: spans of a text, or fields of an object; what both kinds share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from luthier.tasks.json_documents import NOT_JSON, NoValue, answer_documents, cell_document, compact
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import short
from luthier.tasks.types import AnswerRead, Column, Floats, Judged, Measure, Plots, TaskType

if TYPE_CHECKING:
    from luthier.tasks.extraction.extraction_metrics import Count, PartCounts

__all__ = ["Extraction", "in_template"]


def in_template(text: str) -> str:
    """A text as a template has it: what names of the user's own hold must not be taken for one.

    Examples:
        >>> in_template('{"a": {{b}}')
        '{"a": {{ "{{" }}b}}'
    """
    return re.sub(r"\{[{%#]", lambda found: f'{{{{ "{found[0]}" }}}}', text)


class Extraction(TaskType):
    """Finds in a text what the task names: spans of some kinds, or the values of fields.

    A value is judged part by part: by kind of span, or by field.
    """

    value_column: ClassVar[Column] = "text"
    headline = ("f1", "partial_f1", "exact_match")

    @property
    def metrics(self) -> Mapping[str, Measure]:
        """Those of both kinds; see `extraction_metrics.py`."""
        from luthier.tasks.extraction.extraction_metrics import EXTRACTION_METRICS

        return EXTRACTION_METRICS

    @abstractmethod
    def value_of(self, document: Any, *, answered: bool) -> Any:
        """The value that a JSON document states.

        Args:
            document: lists, mappings and single values.
            answered: whether a model wrote it, rather than a person or Luthier.

        Raises:
            NoValue: it states none; the message says why.
        """

    @abstractmethod
    def held(self, value: Any, text: str) -> Any:
        """The value held against its text.

        Raises:
            NoValue: it does not fit.
        """

    @abstractmethod
    def counts(self, truth: Any, value: Any | None) -> Mapping[str, Count]:
        """What is right in a row, by part; `None` where nothing was answered."""

    def read_truth(self, cell: object) -> Any | None:
        """What a cell states: a mapping or a list, or one as JSON."""
        return self._stated(cell).value

    def _stated(self, cell: object) -> AnswerRead:
        try:
            return AnswerRead(self.value_of(cell_document(cell), answered=False))
        except NoValue as why:
            return AnswerRead(None, str(why))

    def in_row(self, value: Any, row: Mapping[str, Any], text: str) -> AnswerRead:
        """The value held against the text of its row."""
        cell = row.get(text)
        try:
            return AnswerRead(self.held(value, "" if cell is None else str(cell)))
        except NoValue as why:
            return AnswerRead(None, str(why))

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The value in an answer; a cut one counts where its JSON is whole all the same."""
        try:
            documents, whole = answer_documents(text)
            read = [self._answered(document) for document in documents]
            if not whole and all(one.value is None for one in read):
                read = [AnswerRead(None, NOT_JSON)]
        except NoValue as fault:
            read = [AnswerRead(None, str(fault))]
        found = [one for one in read if one.value is not None]
        if not found:
            why = "the answer was cut" if cut else str(read[0].why)
            return AnswerRead(None, f"{why}: {short(text[:1000])}")
        if any(one.value != found[0].value for one in found):
            return AnswerRead(None, f"the JSON states several {self.value_name}: {short(text[:1000])}")
        return found[0]

    def _answered(self, document: Any) -> AnswerRead:
        try:
            return AnswerRead(self.value_of(document, answered=True))
        except NoValue as why:
            return AnswerRead(None, str(why))

    def strata(self, truths: Sequence[Any]) -> Sequence[int]:
        """The rarest part of each row."""
        rows = [set(self.parts_of(truth)) for truth in truths]
        times = Counter(part for row in rows for part in row)
        rank = {part: place for place, part in enumerate(sorted(times, key=lambda part: (times[part], part)), 1)}
        return [min((rank[part] for part in row), default=0) for row in rows]

    def written(self, value: Any) -> str:
        """The value as JSON on one line."""
        return compact(value)

    def part_counts(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> PartCounts:
        """Everything that is counted in these rows; a row without a value counts as one where nothing was found."""
        from luthier.tasks.extraction.extraction_metrics import PartCounts

        counts = (self.counts(truth, p.value) for truth, p in zip(truths, predictions, strict=True))
        return PartCounts.of(self.parts, counts, [p.value is not None for p in predictions])

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions against truths, part by part."""
        found = self.part_counts(truths, predictions)
        return Judged(distances=found.distances, sums=found.sums())

    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics; see `extraction_metrics.py`."""
        from luthier.tasks.extraction.extraction_metrics import metrics_of

        return metrics_of(sums, self.parts)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """1 and 0."""
        return (1.0, 0.0) if metric in self.metrics and metric != self.partial_rate else None

    def score(self, objective: str | None, prediction: Prediction, truth: Any) -> float:
        """The partial F1 of the row; 1 where nothing is to be found and nothing was."""
        return 1.0 + super().score(objective, prediction, truth)

    def score_name(self, objective: str | None) -> str:
        """What `score` averages to."""
        return "mean partial F1 of a row"

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        """A table of the parts."""
        return Plots(parts=self.part_counts(truths, predictions).answer_parts())
