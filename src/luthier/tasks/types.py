"""The seam for task types: how truths and answers are read, what a prediction's columns are, how it is judged."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

from luthier.tables import text_series
from luthier.tasks.json_objects import MOST_READ, NoObject, alternatives, as_json, is_whole, values_under
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import short
from luthier.tasks.starting_specs import GuessedSettings, StartingSpec
from luthier.tasks.thoughts import spoken

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = [
    "AnswerPart",
    "AnswerReader",
    "AnswerRead",
    "CalibrationBin",
    "Column",
    "Format",
    "Judged",
    "GuessedSettings",
    "NO_PLOTS",
    "Measure",
    "Plots",
    "StartingSpec",
    "TaskType",
    "TypeSettings",
]

Floats: TypeAlias = "npt.NDArray[np.float64]"
Positions: TypeAlias = "npt.NDArray[np.intp]"
Counts = tuple[tuple[int, ...], ...]
Format = Literal["share", "number", "usd", "seconds"]
Column = Literal["text", "number"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric.

    Attributes:
        title: short name for a table's head.
        better: which way is better.
        format: `share` (0 to 1 or -1 to 1, two decimals without the leading zero), `number`, `usd` or `seconds`.
        description: one sentence for a reader who meets it for the first time.
        kind: `quality` metrics can rank a leaderboard; `rate` counts states of rows; `cost` is money and time.
        is_share: a plain share of the rows, whose interval is Wilson's and not the bootstrap's.
        is_biased: bootstrap samples miss it by more than the rows themselves do, so its interval takes plain
            percentiles: correcting for that bias would add it.
    """

    title: str
    better: Literal["higher", "lower"]
    format: Format
    description: str
    kind: Literal["quality", "rate", "cost"] = "quality"
    is_share: bool = False
    is_biased: bool = False


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """What was read from an answer: a value, or why there is none."""

    value: Any
    why: str | None = None


class AnswerReader(Protocol):
    """Reads what a model wrote."""

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The value a free answer states; a `cut` one had more to say."""

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The value in an answer of method `json`; a `cut` one had more to say."""

    def unfinished(self, text: str) -> bool:
        """Whether this cut answer could have become another one: `1` before `10`."""


@dataclass(frozen=True)
class Judged:
    """Predictions held against the truth, row by row: all that evaluation computes from.

    Attributes:
        distances: how far each row is off, 0 where it is right, the worst it can be where there is no value; shape
            (rows,). Paired tests, races and the list of worst rows go by it.
        sums: name to what is summed over the rows, shape (rows,).
        groups: name to (column of each row or -1 for none, what it adds there, number of columns), for sums by label;
            both of shape (rows,), or (rows, entries) where a row adds to several columns.
        rates: metric of kind `rate` to (rows counted, rows in all).
        confidences: how sure each prediction says it is, NaN where it does not; shape (rows,).
    """

    distances: Floats
    sums: Mapping[str, Floats]
    groups: Mapping[str, tuple[Positions, Floats, int]] = field(default_factory=dict)
    rates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    confidences: Floats | None = None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows of like confidence: how many, their mean confidence, the share of them that was right."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """One of the things an answer consists of, such as a field, and how well it was found.

    Attributes:
        name: of the field, of the kind of spans, of the label.
        figures: column of a table to a share or `None`, the same columns for every part.
        support: how often it is true.
        answered: how often it was answered.
    """

    name: str
    figures: Mapping[str, float | None]
    support: int
    answered: int


@dataclass(frozen=True, slots=True)
class Plots:
    """What a report may draw; a type fills what makes sense for it.

    Attributes:
        confusion: rows per true label (line) and answer (column, the last for rows without a label).
        calibration: confidence against the share that was right.
        points: truth and prediction of single rows.
        parts: how well each part of an answer was found; a table under the type's `parts_title`.
    """

    confusion: Counts = ()
    calibration: tuple[CalibrationBin, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    parts: tuple[AnswerPart, ...] = ()


NO_PLOTS = Plots()


class TypeSettings(BaseModel):
    """What a task of a type says beside its name and its columns; a type with settings has a subclass with fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @cached_property
    def given(self) -> dict[str, Any]:
        """Settings that differ from their defaults, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @cached_property
    def _key(self) -> tuple[str, str]:
        return type(self).__qualname__, self.model_dump_json()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeSettings) and self._key == other._key


class TaskType(ABC):
    """A kind of question, such as which of a closed set of labels fits; docs/tasks.md writes one in full."""

    Settings: ClassVar[type[TypeSettings]] = TypeSettings
    """Settings of a task of this type; its keys stand beside `name` and `type` in task.yaml."""
    settings: TypeSettings = TypeSettings()
    """Those of this task."""
    descriptions: Mapping[str, str] = MappingProxyType({})
    """What some of `parts` mean, in the task's words; templates see them."""
    value_column: ClassVar[Column] = "number"
    """Type of the prediction column that holds a value."""
    value_name: ClassVar[str] = "value"
    """What a value is called: the prediction column, the key of an answer in JSON, and the word in messages."""
    made_by: ClassVar[str] = ""
    """The setting that makes this type of another one of the same name, for messages: ` with multilabel: true`."""
    headline: Sequence[str] = ()
    """Metrics a narrow table shows beside the one that ranks; all of them when empty."""
    ordered: bool = True
    """Whether a wrong value can be more or less wrong."""
    graded: bool = False
    """Whether an answer is hardly ever equal to the truth, only nearer or farther, as scores and free texts are:
    reports then speak of the rows that are farthest off, and not of wrong ones."""
    counted_once: bool = False
    """Whether each value has exactly one of `counted`; otherwise several or none."""
    several_lines: bool = False
    """Whether an answer may have several lines. Of a model that continues a text the first one is read otherwise; here
    examples stand between lines of `###`, and an answer ends at such a line."""
    completion_stop: str = "\n\n"
    """Where a model that continues a text is stopped, if an answer has one line."""
    answer_cue: str = "Answer"
    """Word at the end of a plain prompt, after which the answer begins."""
    parts_title: ClassVar[str] = "Part by part"
    """Head of the table of `Plots.parts`."""
    part_name: ClassVar[str] = "part"
    """What one of `parts` is called in messages."""
    partial_rate: ClassVar[str] = ""
    """The metric, of kind `rate`, of rows whose value is_partial, where a type has such."""
    partial_note: ClassVar[str] = ""
    """What is left out of such a value, in words."""

    variant_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that make a variant of the task, beside those of `Settings`."""

    @classmethod
    def variant(cls, given: Mapping[str, Any]) -> type[TaskType]:
        """The class of a task with these settings: itself, unless a setting makes another type of it."""
        return cls

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task.

        Args:
            labels: every label that may come back; for closed sets.
            settings: an instance of `Settings`.

        Raises:
            ValueError: labels were given and it takes none, or a setting contradicts another.
        """
        if labels:
            raise ValueError("labels belong to a closed set of labels, and this type is none; leave them out")
        made = cls()
        made.settings = settings
        return made

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Columns of texts beside `text`, such as the second text of a pair; a row needs all of them."""
        return ()

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Measure]:
        """Metrics of its own by name, in the order tables show them; the first ranks a leaderboard."""

    @abstractmethod
    def read_truth(self, cell: object) -> Any | None:
        """The value a cell of a labelled table states, `None` if it states none.

        Raises:
            ValueError: it states none either; says why, for the message about the row.
        """

    def allowed(self, cells: Sequence[object]) -> str:
        """What these cells, which were not read, should have held: sentences that end a message."""
        return f"Correct the rows, or leave them out; a cell is read by {type(self).__name__}.read_truth."

    @property
    def answer_bytes(self) -> int:
        """Bytes of the longest answer that is expected; what `max_tokens` is when a spec does not say."""
        return 40

    def in_row(self, value: Any, row: Mapping[str, Any], text: str) -> AnswerRead:
        """What a truth or an answer that was read becomes in its row, or why it is none there.

        Args:
            value: what `read_truth`, `read` or `read_json` gave.
            row: the row, by column.
            text: name of the column that is read.
        """
        return AnswerRead(value)

    @property
    def parts(self) -> Sequence[str]:
        """What truths consist of, where the task says it: labels, kinds of spans, fields. Rows are counted by them."""
        return ()

    def parts_of(self, truth: Any) -> Iterable[str]:
        """Those of `parts` that are in a truth."""
        return ()

    @property
    def counted(self) -> Sequence[str]:
        """What the values of a scored table are counted by, to be held against those of training: parts, or bins."""
        return self.parts

    def counted_in(self, value: Any) -> Iterable[str]:
        """Those of `counted` that a value has."""
        return self.parts_of(value)

    def strata(self, truths: Sequence[Any]) -> Sequence[int]:
        """A number per row; a split into tables keeps the shares of equal numbers."""
        return [0] * len(truths)

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The value a free answer states, by itself one in JSON; a `cut` one had more to say."""
        return self.read_json(text, cut=cut)

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The value in an answer of method `json`: what `read_truth` makes of what stands under `value_name`."""
        said = spoken(text)[-MOST_READ:]
        try:
            given = values_under(self.value_name, said)
            if cut and not is_whole(said):
                return AnswerRead(None, f"the answer was cut: {short(said)}")
            found = [self.read_truth(as_json(value)) for value in given]
            if None in found:
                found = [self.read_truth(as_json(one)) for value in given for one in alternatives(value)]
        except NoObject:
            return AnswerRead(None, f"the answer is not the JSON that was asked for: {short(said)}")
        except (ValueError, OverflowError, RecursionError) as why:
            return AnswerRead(None, f"the JSON states no {self.value_name} ({short(str(why))}): {short(said)}")
        if not found or any(value is None or value != found[0] for value in found):
            return AnswerRead(None, f"the JSON states no {self.value_name}, or several: {short(said)}")
        return AnswerRead(found[0])

    def unfinished(self, text: str) -> bool:
        """Whether this cut answer could have become another one."""
        return False

    def reader(self, *spellings: Sequence[str]) -> AnswerReader:
        """What reads answers.

        Args:
            spellings: each a word per label for a closed set; an earlier one wins over a later.
        """
        return self

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """The JSON schema of a value; `words` are what a closed set of labels is answered with."""
        return {"type": "string"}

    def answer_schema(self, words: Sequence[str]) -> dict[str, Any]:
        """The JSON schema of an answer of method `json`: an object whose one key holds a value."""
        return {
            "type": "object",
            "properties": {self.value_name: self.schema(words)},
            "required": [self.value_name],
            "additionalProperties": False,
        }

    def written(self, value: Any) -> str:
        """A value as text, in a column of text and in messages; `read_truth` reads it back."""
        return str(value)

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """A value as a model is to answer it, in few-shot examples and in lines to train on.

        Args:
            value: a truth.
            as_json: whether answers are JSON, as `answer_schema` says; where a type has no `read` of its own, all are.
        """
        as_json = as_json or type(self).read is TaskType.read
        return json.dumps({self.value_name: value}, ensure_ascii=False) if as_json else self.written(value)

    def question(self) -> str:
        """What a plain prompt asks, before any text: the system turn of the specs that `luthier init` writes.

        It is a template: `{{ words | join(', ') }}` lists what a closed set is answered with.
        """
        return f"What is the {self.value_name} of each text?"

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """The specs `luthier init` writes for a task of this type, cheapest first."""
        return (
            StartingSpec("zero-shot", "The prompt alone.", {"technique": "prompt", "answer": {"method": "json"}}),
            StartingSpec(
                "few-shot",
                "The prompt with labelled examples in front, taken from the training rows.",
                {"technique": "prompt", "answer": {"method": "json"}},
                examples=4,
            ),
        )

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The settings of a task, guessed from a labelled table.

        Args:
            table: columns by name, of plain values; a missing cell is `None`.
            text: the column that is read.
            label: the column with the truth.

        Raises:
            ValueError: it holds nothing of this type; says what it should hold, without a full stop. Without `--type`
                and without labels, `luthier init` names the types that raise none.
        """
        return GuessedSettings({})

    def cell(self, value: Any) -> Any:
        """A value as it stands in a table, `None` where there is none."""
        return self.written(value) if value is not None and self.value_column == "text" else value

    @property
    def columns(self) -> dict[str, Column]:
        """Names and types of the prediction columns, in order."""
        return {self.value_name: self.value_column, "state": "text", "error": "text"}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction under the names of its columns, `None` where there is no value."""
        return {self.value_name: self.cell(prediction.value), "state": prediction.state, "error": prediction.error}

    def recorded(self, record: Mapping[str, Any]) -> Any:
        """The value that `record` wrote, read back."""
        said = record[self.value_name]
        return None if said is None else self.read_truth(said)

    def is_partial(self, value: Any) -> bool:
        """Whether a part of the answer did not fit its row and was left out, as a span that is not in the text."""
        return False

    def frame(self, predictions: Sequence[Prediction]) -> pd.DataFrame:
        """The predictions as the table every command, model and server returns."""
        import pandas as pd

        records = [self.record(prediction) for prediction in predictions]
        return pd.DataFrame(
            {
                name: text_series(record[name] for record in records)
                if kind == "text"
                else pd.Series([record[name] for record in records], dtype="float64")
                for name, kind in self.columns.items()
            }
        )

    def check_parts(self) -> None:  # noqa: B027  (nothing to check)
        """Whether the packages that judging takes are installed, asked before anything is paid.

        Raises:
            MissingPart: one is not.
        """

    @abstractmethod
    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions, none of them `empty`, against the truths of their rows.

        Raises:
            DataError: a truth is none of this type's.
        """

    @abstractmethod
    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics from what `judge` has summed, over all rows or over bootstrap samples.

        Args:
            sums: `rows`, the number of rows, and every sum by name, shape (samples,); groups have (columns, samples).
        """

    def ranking(self) -> str:
        """The metric a leaderboard is ranked by unless told otherwise."""
        return next(iter(self.metrics))

    def ends(self, metric: str) -> tuple[float, float] | None:
        """The best and the worst value a metric can take on a row, `None` where they are not known."""
        return None

    @abstractmethod
    def constant(self, truths: Sequence[Any]) -> Prediction:
        """The best prediction that has not read the text, from truths such as these; what a spec must beat."""

    constant_note: ClassVar[str] = "The best constant"
    """What that prediction is, to go on with "of the training rows, for every row"."""
    constant_learns: ClassVar[bool] = True
    """Whether it depends on the truths; otherwise its note goes on with "for every row"."""

    def score(self, objective: str | None, prediction: Prediction, truth: Any) -> float:
        """How good one answer is: a race of few-shot examples adds these up. Higher is better."""
        return -float(self.judge([truth], [prediction]).distances[0])

    def score_name(self, objective: str | None) -> str:
        """What `score` averages to, in words for a table."""
        return "minus the distance"

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        """What a report may draw of these rows."""
        return NO_PLOTS
