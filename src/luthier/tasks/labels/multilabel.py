"""Sets of labels: a text has several of the task's labels, one, or none."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from luthier.tasks.json_objects import MOST_READ, NoObject, as_json, is_whole, values_under
from luthier.tasks.labels.answers import LabelReader
from luthier.tasks.labels.label_settings import LabelSetSettings, LabelType, described_labels
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import listed_labels, short
from luthier.tasks.spellings import composed, missing
from luthier.tasks.thoughts import spoken
from luthier.tasks.types import (
    AnswerRead,
    Column,
    Floats,
    Judged,
    Measure,
    Plots,
    StartingSpec,
    TypeSettings,
)

if TYPE_CHECKING:
    from luthier.tasks.labels.multilabel_metrics import SetArrays

__all__ = ["MultiLabel", "labels_in", "listed"]

SEPARATOR = re.compile(r"\s*[;|,\n\t]\s*")
"""What stands between the labels of a cell."""

BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+", re.M)
HEAD = re.compile(r"^\s*(?:the\s+)?(?:labels?|answer|tags?|categories)\s*(?:are|is)?\s*:\s*", re.I)
NOTHING = re.compile(r"\b(?:none|no\s+labels?)\b", re.I)

NO_LABEL = ("none", "no label", "no labels", "[]", "{}")
"""How a cell or an answer says that no label fits, unless the task has such a label."""

ROOM_FOR = 12
"""An answer has room for this many of the longest labels; one that lists more is most likely never to end."""

MOST_PIECES = 1000


class MultiLabel(LabelType):
    """Labels of which every answer is a set. A value is a list of them in the task's order.

    Examples:
        >>> topics = MultiLabel(["billing", "login", "refund"])
        >>> [topics.read_truth(cell) for cell in ("login; billing", '["refund"]', "none", "weather")]
        [['billing', 'login'], ['refund'], [], None]
        >>> topics.read("This is about a refund and billing, not login.").value
        ['billing', 'refund']
    """

    Settings: ClassVar[type[TypeSettings]] = LabelSetSettings
    value_name: ClassVar[str] = "labels"
    made_by: ClassVar[str] = " with multilabel: true"
    parts_title: ClassVar[str] = "Label by label"
    constant_note: ClassVar[str] = "The most frequent labels"
    headline = ("micro_f1", "macro_f1", "exact_match", "hamming_loss")

    def __init__(self, labels: Sequence[str]) -> None:
        if not labels:
            raise ValueError("labels is missing: multilabel: true lists every label, as in labels: [billing, login]")
        super().__init__(labels)

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task.

        Raises:
            ValueError: labels are too few, empty or repeated, or something that is no label is described.
        """
        assert isinstance(settings, LabelSetSettings)
        made = cls(settings.labels)
        made.settings = settings
        made.descriptions = described_labels(made.labels, settings.descriptions)
        return made

    def parts_of(self, truth: Any) -> Sequence[str]:
        """The labels of a row."""
        return tuple(truth)

    @cached_property
    def answer_bytes(self) -> int:
        """Room for the longest labels in JSON."""
        longest = sorted((len(label.encode("utf-8", "replace")) for label in self.labels), reverse=True)
        return len(self.value_name) + sum(length + 4 for length in longest[:ROOM_FOR])

    def read_truth(self, cell: object) -> list[str] | None:
        """The labels a cell states: a list, one in JSON, or labels between `;`, `|` or commas; `none` for no label."""
        if isinstance(cell, Sequence | set | frozenset) and not isinstance(cell, str | bytes):
            return self._all(list(cell), self.spellings.find)
        if hasattr(cell, "tolist") and getattr(cell, "ndim", 0) == 1:
            return self._all(cell.tolist(), self.spellings.find)
        if missing(cell):
            return None
        if isinstance(cell, str):
            return self._in_text(cell, self.spellings.find)
        return self._all([cell], self.spellings.find)

    def allowed(self, cells: Sequence[object]) -> str:
        """The labels, and how a cell lists them."""
        return (
            f"Labels are: {listed_labels(self.labels)}. A cell lists them as in {self.as_text(self.labels[:2])!r} or "
            f"{self.written(self.labels[:2])}, and [] stands for no label. Correct the rows, leave them out, or add "
            "the label to the task."
        )

    def strata(self, truths: Sequence[Any]) -> Sequence[int]:
        """The rarest label of each row, so that each label is shared out evenly."""
        times = Counter(label for truth in truths for label in truth)
        return [
            1 + min((self.positions[label] for label in truth), key=lambda place: (times[self.labels[place]], place))
            if truth
            else 0
            for truth in truths
        ]

    @cached_property
    def _reader(self) -> LabelReader:
        return LabelReader({label: label for label in self.labels})

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The labels a free answer lists or names; `none` is an answer too. One that was cut is not read."""
        said = spoken(text)[-MOST_READ:].strip()
        if not said:
            return AnswerRead(
                None, "the model answered nothing" if not text.strip() else "the model only thought aloud"
            )
        if cut:
            return AnswerRead(None, f"the answer was cut: {short(said)}")
        if said.lstrip("` \njson")[:1] in ("{", "["):
            found = self.read_json(said)
            if found.value is not None:
                return found
        listed_there = self._in_text(HEAD.sub("", BULLET.sub("", said)), self._reader.exactly)
        if listed_there is not None:
            return AnswerRead(listed_there)
        named, denied = self._reader.named(said)
        if named:
            return AnswerRead(self._in_order(named))
        if denied or (NOTHING.search(said) and not self._is_label("none")):
            return AnswerRead([])
        return AnswerRead(None, f"the answer names none of the labels: {short(said)}")

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The labels in an answer of method `json`: a list under `labels`, or by itself."""
        said = spoken(text)[-MOST_READ:]
        try:
            given = [as_json(value) for value in values_under(self.value_name, said)]
            given = given or [as_json(value) for value in values_under("label", said)]
        except NoObject:
            given = _bare_lists(said)
            if not given:
                return AnswerRead(None, f"the answer is not the JSON that was asked for: {short(said)}")
        if cut and not is_whole(said):
            return AnswerRead(None, f"the answer was cut: {short(said)}")
        if not given:
            return AnswerRead(None, f"the JSON has no {self.value_name!r}: {short(said)}")
        sets = []
        for value in given:
            if isinstance(value, str):
                found = self._in_text(value, self._reader.exactly)
            else:
                found = self._all(value if isinstance(value, list) else [], self._one) if value != {} else []
            if found is None or (not isinstance(value, list | str) and value is not None):
                return AnswerRead(None, f"{self.value_name!r} names what is none of the labels: {short(str(value))}")
            sets.append(found)
        if any(one != sets[0] for one in sets):
            return AnswerRead(None, f"the JSON gives several answers: {short(said)}")
        return AnswerRead(sets[0])

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """A list of labels."""
        return {"type": "array", "items": {"type": "string", "enum": list(self.labels)}}

    def written(self, value: Any) -> str:
        """The labels as a list in JSON, which no label can be mistaken in."""
        return json.dumps(list(value), ensure_ascii=False)

    def as_text(self, value: Sequence[str]) -> str:
        """The labels as a person lists them."""
        if not value:
            return next((word for word in NO_LABEL if not self._is_label(word)), "[]")
        mark = next(
            (mark for mark in (", ", "; ", " | ") if not any(mark.strip() in label for label in self.labels)), ""
        )
        return mark.join(value) if mark else self.written(value)

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """A truth as the model is to answer it: JSON, or the labels with commas between."""
        return super().as_answer(list(value), as_json=True) if as_json else self.as_text(value)

    def question(self) -> str:
        """What a plain prompt asks."""
        shown = (
            "{% for label in labels %}- {{ label }}"
            "{% if label in descriptions %}: {{ descriptions[label] }}{% endif %}\n{% endfor %}"
            if self.descriptions
            else "{{ labels | join(', ') }}.\n"
        )
        return (
            "Which of these labels fit each text? A text may have several of them, or none.\n"
            f"{shown}Answer with the labels that fit, as in \"{{{{ labels[:2] | join(', ') }}}}\", or with "
            f'"{self.as_text(())}" where none does.'
        )

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """What answers by words and vectors first, then prompts whose answers are held to the labels."""
        return (
            StartingSpec(
                "baseline",
                "TF-IDF and a logistic regression per label: free, fast, and what a language model has to beat.",
                {"technique": "baseline"},
            ),
            StartingSpec(
                "embedding",
                "Texts as vectors of an embedding model, and a logistic regression per label: one cheap call per text.",
                {"technique": "embedding"},
            ),
            *super().starting_specs(),
        )

    @property
    def columns(self) -> dict[str, Column]:
        """The labels, a probability per label, state and error."""
        found: dict[str, Column] = {self.value_name: "text"}
        found |= dict.fromkeys((f"p_{label}" for label in self.labels), "number")
        return found | {"state": "text", "error": "text"}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction under the names of its columns, `None` where there is no value."""
        shares = prediction.scores or (None,) * len(self.labels)
        own = dict(zip((f"p_{label}" for label in self.labels), shares, strict=True))
        return (
            {self.value_name: self.cell(prediction.value)}
            | own
            | {
                "state": prediction.state,
                "error": prediction.error,
            }
        )

    def arrays(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> SetArrays:
        """Truths and predictions as arrays."""
        from luthier.tasks.labels.multilabel_metrics import SetArrays

        return SetArrays.of(self.labels, truths, predictions)

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions against the true sets; a row is as far off as its F1 is from 1.

        Raises:
            DataError: a truth names what is no label.
        """
        found = self.arrays(truths, predictions)
        return Judged(distances=1.0 - found.row_f1, sums=found.sums(), groups=found.groups())

    @cached_property
    def metrics(self) -> Mapping[str, Measure]:
        """Metrics of sets of labels; see `multilabel_metrics.py`."""
        from luthier.tasks.labels.multilabel_metrics import MULTILABEL_METRICS

        return MULTILABEL_METRICS

    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics; see `multilabel_metrics.py`."""
        from luthier.tasks.labels.multilabel_metrics import set_metrics

        return set_metrics(sums)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """The best and the worst value; all metrics are shares."""
        one = self.metrics.get(metric)
        return None if one is None else (1.0, 0.0) if one.better == "higher" else (0.0, 1.0)

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """The set with the best micro F1, with the labels' shares as probabilities."""
        from luthier.tasks.labels.multilabel_metrics import best_constant

        value, shares = best_constant(self.labels, truths)
        return Prediction(value, "ok", shares)

    def score_name(self, objective: str | None) -> str:
        """What `score` averages to, in words for a table."""
        return "F1 of the row minus 1"

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        """Precision, recall and F1 of each label."""
        return Plots(parts=self.arrays(truths, predictions).parts())

    def _is_label(self, word: str) -> bool:
        return self._reader.exactly(word) is not None

    def _one(self, value: object) -> str | None:
        """The label that an element of a list in JSON stands for."""
        if isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        if not isinstance(value, str | int | float):
            return None
        label: str | None = self._reader.read(str(value)).value
        return label

    def _in_order(self, labels: Sequence[str]) -> list[str]:
        return sorted(set(labels), key=self.positions.__getitem__)

    def _all(self, cells: Sequence[Any], find: Callable[[Any], str | None]) -> list[str] | None:
        found = [find(cell) for cell in cells]
        return None if None in found else self._in_order([label for label in found if label is not None])

    def _in_text(self, text: str, find: Callable[[Any], str | None]) -> list[str] | None:
        text = text.strip()
        alone = find(text) if len(text) <= MOST_READ else None
        if alone is not None:
            return [alone]
        if text.casefold().strip(" .") in NO_LABEL:
            return []
        given = listed(text)
        if given is not None:
            plain = all(isinstance(one, str | int | float) for one in given)
            return self._all([str(one) for one in given], find) if plain else None
        found = labels_in(text, find, self._most_separators)
        return None if found is None else self._in_order(found)

    @cached_property
    def _most_separators(self) -> int:
        return max(len(SEPARATOR.findall(composed(label))) for label in self.labels)


def listed(text: str) -> list[Any] | None:
    """A list written in JSON or in Python, as `to_csv` writes a column of lists; `None` where the text is none."""
    if not text.startswith("[") or not text.endswith("]") or len(text) > MOST_READ:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list) else None
    return None


def labels_in(text: str, find: Callable[[Any], str | None], most_separators: int) -> list[str] | None:
    """The labels between separators, `None` where a piece is none; a label may itself hold separators.

    Args:
        text: the cell.
        find: the label of a piece.
        most_separators: how many separators the names of labels hold at most.

    Examples:
        >>> known = {"hot, dry": "hot, dry", "hot": "hot", "cold": "cold"}
        >>> [labels_in(cell, known.get, 1) for cell in ("cold, hot, dry", "cold | hot", "cold, a")]
        [['cold', 'hot, dry'], ['cold', 'hot'], None]
    """
    gaps = [match.span() for match in SEPARATOR.finditer(text)]
    if len(gaps) > MOST_PIECES:
        return None
    begins, ends = [0, *(end for _, end in gaps)], [*(begin for begin, _ in gaps), len(text)]
    found: list[str] = []
    place = 0
    while place < len(begins):
        if begins[place] >= ends[place]:
            place += 1  # nothing between two separators, or after the last
            continue
        # The longest label that begins here.
        for last in range(min(place + most_separators, len(ends) - 1), place - 1, -1):
            label = find(text[begins[place] : ends[last]])
            if label is not None:
                break
        else:
            return None
        found.append(label)
        place = last + 1
    return found or None


def _bare_lists(text: str) -> list[Any]:
    begin, end = text.find("["), text.rfind("]")
    found = listed(text[begin : end + 1]) if 0 <= begin < end else None
    return [] if found is None else [found]
