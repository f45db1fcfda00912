"""The task: which question is asked of which column, and which answers count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from luthier.documents import described, path_of, read_yaml
from luthier.errors import DataError, SpecError
from luthier.tables import frame_of, row_numbers
from luthier.tasks.connected_rows import connected
from luthier.tasks.known_types import name_of_type, settings_class, task_type, type_of_name
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.quoting import short
from luthier.tasks.readable_errors import ReadableErrors, readable_validation_error, unknown_keys
from luthier.tasks.spellings import Labels, labels_as_written
from luthier.tasks.types import AnswerRead, TaskType, TypeSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rows", "Task", "check_cell", "is_blank", "plain_records"]

FOLDS = 5
"""Of a split into three tables: three for training, one each for validation and test."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as techniques see them: plain values, no pandas.

    Attributes:
        inputs: one mapping per row, column name to value; a missing cell is `None`, never `nan`.
        labels: the truth of each row, such as a label of the task; `None` where it is not known.
        text: name of the text column.
        further: names of the other columns of texts, such as the second text of a pair.
        numbers: the row each one is in the table it comes from, counted from 1; all of them in order when empty.
        index: the label each one has in the index of the DataFrame it comes from; its place in there when empty.
        index_names: names of the levels of that index.
    """

    inputs: tuple[Mapping[str, Any], ...]
    labels: tuple[Any | None, ...]
    text: str
    numbers: tuple[int, ...] = ()
    index: tuple[Any, ...] = ()
    index_names: tuple[str | None, ...] = (None,)
    further: tuple[str, ...] = ()
    _digest: list[str] = field(default_factory=list, repr=False, compare=False)
    _texts: list[tuple[str | None, ...]] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The text of each row, several of a row with a blank line between; `None` where a row lacks one to send."""
        if not self._texts:
            columns = (self.text, *self.further)
            self._texts.append(tuple(text_of(row, columns) for row in self.inputs))
        return self._texts[0]

    @property
    def digest(self) -> str:
        """sha256 over texts and labels in order: equal digests mean the same labelled rows."""
        if not self._digest:
            digest = hashlib.sha256()
            for text, label in zip(self.texts, self.labels, strict=True):
                digest.update(json.dumps([text, label], ensure_ascii=True).encode())
            self._digest.append(digest.hexdigest())
        return self._digest[0]

    def digest_of(self, columns: Sequence[str]) -> str:
        """sha256 over these columns and the labels, in order: what was fitted on equal ones is the same.

        Args:
            columns: names of the columns that are read.
        """
        digest = hashlib.sha256(json.dumps(list(columns)).encode())
        for row, label in zip(self.inputs, self.labels, strict=True):
            cells = [None if row.get(column) is None else str(row[column]) for column in columns]
            digest.update(json.dumps([cells, label], ensure_ascii=True).encode())
        return digest.hexdigest()

    def take(self, positions: Iterable[int]) -> Rows:
        """The rows at these positions, in this order."""
        chosen = list(positions)
        return Rows(
            inputs=tuple(self.inputs[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            text=self.text,
            numbers=tuple(self.numbers[i] if self.numbers else i + 1 for i in chosen),
            index=tuple(self.index[i] for i in chosen) if self.index else (),
            index_names=self.index_names,
            further=self.further,
        )

    def number(self, position: int) -> int:
        """The row that stands at this position, as its table counts it from 1."""
        return self.numbers[position] if self.numbers else position + 1

    def keys(self, position: int) -> dict[str, Any]:
        """The labels of the row at this position in the index of its table, by level; none where they are its place."""
        if not self.index:
            return {}
        label = self.index[position]
        levels = label if len(self.index_names) > 1 else (label,)
        names = [name or f"index{place or ''}" for place, name in enumerate(self.index_names)]
        return dict(zip(names, levels, strict=True))


class Task(BaseModel, metaclass=ReadableErrors):
    """The question, named: which column is read, which labels may come back, whether they are ordered.

    Examples:
        >>> task = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
        >>> task.labels
        ('1', '2', '3', '4', '5')
        >>> task.values
        (1.0, 2.0, 3.0, 4.0, 5.0)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME_PATTERN, max_length=64)
    """Short name; the MLflow experiment is called by it."""
    type: str = "classification"
    """`classification`, `rating` when the labels are ordered from lowest to highest, another of docs/tasks.md, or
    `module:NAME` for a type of your own, in Python also the type itself."""
    text: str = "text"
    """Column that is read. Rows where it is null or blank are never sent."""
    label: str = "label"
    """Column that holds the truth in labelled tables."""
    labels: Labels = ()
    """Every label that may come back, in order; of a closed set, of which an answer is one."""
    raters: tuple[str, ...] = ()
    """Columns that hold the labels of single people, if there are any; they give the human ceiling."""
    settings: SerializeAsAny[TypeSettings] = TypeSettings()
    """What else the type lets a task say; its keys stand beside the others, in YAML as in Python."""

    def __init__(self, name: str | None = None, /, **data: Any) -> None:
        """A question.

        Args:
            name: short name; the MLflow experiment is called by it.
            data: the other settings, as in YAML.

        Raises:
            SpecError: a setting is unknown, missing or contradicts another.
        """
        super().__init__(**(data if name is None else {**data, "name": name}))

    @model_validator(mode="before")
    @classmethod
    def _settings_of_the_type(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if isinstance(settings := given.get("settings"), TypeSettings):
            given = {**{key: value for key, value in given.items() if key != "settings"}, **settings.given}
        name = name_of_type(given.get("type", "classification"))
        kind = settings_class(name, given) if isinstance(name, str) else TypeSettings
        own, fields = set(kind.model_fields), set(cls.model_fields) - {"settings"}
        unknown = [key for key in given if key not in own | fields]
        if unknown:
            others = set(type_of_name(name).variant_settings) if isinstance(name, str) else set()
            raise unknown_keys({key: given[key] for key in unknown}, sorted(own | fields | others), cls.__name__)
        made = kind(**{key: value for key, value in given.items() if key in own})
        return {**{key: value for key, value in given.items() if key not in own}, "settings": made}

    @model_serializer(mode="wrap")
    def _settings_beside_the_others(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = fields(self)
        document.pop("settings", None)
        return document | self.settings.given

    @field_validator("type", mode="before")
    @classmethod
    def _type_by_name(cls, given: Any) -> Any:
        return name_of_type(given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        assert self.kind is not None
        columns = (*self.text_columns, self.label)
        repeated = next((column for place, column in enumerate(columns) if column in columns[:place]), None)
        if repeated is not None and self.text == self.label:
            raise ValueError(f"text and label are the same column {self.text!r}")
        if repeated is not None:
            raise ValueError(f"column {repeated!r} is named twice")
        return self

    @property
    def kind(self) -> TaskType:
        """The task type: how truths and answers are read, and predictions judged."""
        return task_type(self.type, self.labels, self.settings)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of texts that every row needs, `text` first."""
        return (self.text, *self.kind.further_columns)

    def text_of(self, row: Mapping[str, Any]) -> str | None:
        """The text of a row, several with a blank line between; `None` where one is missing or blank."""
        return text_of(row, self.text_columns)

    @property
    def closed_set(self) -> ClosedSet:
        """The task type, where it is a closed set of labels.

        Raises:
            SpecError: it is another.
        """
        if not isinstance(self.kind, ClosedSet):
            raise SpecError(
                f"task {self.name!r} is of type {self.type!r}{self.kind.made_by}, which has no single labels"
            )
        return self.kind

    @property
    def ordered(self) -> bool:
        """Whether the labels are ordered from lowest to highest."""
        return isinstance(self.kind, ClosedSet) and self.kind.ordered

    @property
    def values(self) -> tuple[float, ...]:
        """A number per label: the label itself if all labels are numbers and differ, else its rank from 1."""
        return self.closed_set.values

    @property
    def ascending(self) -> tuple[str, ...]:
        """The labels from the lowest value to the highest, however the task lists them.

        Examples:
            >>> Task("share", type="rating", labels=[0, 100, 10]).ascending
            ('0', '10', '100')
        """
        return tuple(self.labels[position] for position in sorted(range(len(self.labels)), key=self.values.__getitem__))

    def position(self, label: str) -> int:
        """Position of a label in `labels`."""
        return self.closed_set.positions[label]

    @property
    def digest(self) -> str:
        """sha256 of everything that changes what an answer means."""
        facts: list[Any] = [self.type, self.text, self.label, list(self.labels)]
        if self.settings.given:
            facts.append(self.settings.given)
        return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()

    def canonical_label(self, value: object) -> Any | None:
        """The task's label a cell stands for, `None` if it stands for none of them; of other types the value.

        Examples:
            >>> task = Task("stars", labels=[1, 2, 3])
            >>> task.canonical_label(2.0), task.canonical_label(" 3 "), task.canonical_label("4")
            ('2', '3', None)
            >>> Task("code", labels=["001", "002"]).canonical_label(1)
            '001'
        """
        return self.kind.read_truth(value)

    def truth_of(self, row: Mapping[str, Any], column: str | None = None) -> AnswerRead:
        """The truth that a row states, or why it states none.

        Args:
            row: by column; also what the truth is about, such as the text that it quotes.
            column: that holds the truth; the label column when absent.
        """
        try:
            value = self.kind.read_truth(row.get(column or self.label))
        except (ValueError, OverflowError, RecursionError) as why:
            return AnswerRead(None, f"which cannot be read: {short(str(why))}")
        return AnswerRead(None) if value is None else self.kind.in_row(value, row, self.text)

    def rows_of(self, inputs: Sequence[Mapping[str, Any]], labels: Sequence[Any | None] | None = None) -> Rows:
        """These rows under the task.

        Args:
            inputs: a mapping per row, column name to value.
            labels: the truth of each row; not known when absent.
        """
        known = (None,) * len(inputs) if labels is None else tuple(labels)
        return Rows(tuple(inputs), known, self.text, further=self.kind.further_columns)

    def rows(self, table: Any, *, labelled: bool = False, source: str = "the table") -> Rows:
        """The rows of a table, checked against the task.

        Args:
            table: a DataFrame with the task's text column, or what `luthier.tables.frame_of` makes one of.
            labelled: whether every row must carry a label of the task.
            source: what the table is called in error messages.

        Raises:
            DataError: a column is missing or twice, the table is empty, a text is a list or bytes, or a label is not
                one of the task's.
            MissingPart: rows are to carry truths, and a package that judging takes is not installed.
        """
        if labelled:
            self.kind.check_parts()
        frame = frame_of(table, source, text=self.text)
        columns = list(frame.columns)
        for column in self.text_columns:
            if column not in columns:
                setting = "text" if column == self.text else next(k for k, v in self.settings if v == column)
                raise DataError(
                    f"{source} has no text column {column!r}; its columns are: {', '.join(columns) or 'none'}. "
                    f"Name the right one as `{setting}:` in the task."
                )
        if len(frame) == 0:
            raise DataError(f"{source} has no rows.")
        if labelled and self.label not in columns:
            raise DataError(
                f"{source} has no label column {self.label!r}; its columns are: {', '.join(columns)}. "
                f"Name the right one as `label:` in the task."
            )
        inputs = plain_records(frame)
        numbers = row_numbers(frame)
        numbered = numbers or range(1, len(inputs) + 1)
        for number, row in zip(numbered, inputs, strict=True):
            for column in self.text_columns:
                check_cell(row[column], column, f"{source}, row {number}")
            if self.label in columns:
                check_truth(row[self.label], self.label, f"{source}, row {number}")
        truths = [self.truth_of(row) for row in inputs] if self.label in columns else [AnswerRead(None)] * len(inputs)
        labels = [truth.value for truth in truths]
        if labelled:
            wrong = [i for i, label in enumerate(labels) if label is None]
            if wrong:
                shown = ", ".join(
                    f"row {numbered[i]}: {_cell(inputs[i][self.label])}"
                    + ("" if truths[i].why is None else f", {truths[i].why}")
                    for i in wrong[:5]
                )
                raise DataError(
                    f"{source} has {len(wrong)} rows whose {self.label!r} holds no {self.kind.value_name} of task "
                    f"{self.name!r} ({shown}). {self.kind.allowed([inputs[i][self.label] for i in wrong])}"
                )
        names = tuple(None if name is None else str(name) for name in frame.index.names)
        index = tuple(frame.index)
        if names == (None,) and all(label == number - 1 for label, number in zip(index, numbered, strict=True)):
            index = ()
        return Rows(tuple(inputs), tuple(labels), self.text, numbers, index, names, self.kind.further_columns)

    def split(
        self, table: Any, *, seed: int = 7, group: str | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Train, validation and test (60, 20 and 20 of 100), with the labels in equal shares.

        Rows with the same text never land in two tables; neither do rows with the same `group`.

        Args:
            table: a labelled table.
            seed: the same seed gives the same tables.
            group: column whose equal values belong together, such as a review or a customer.

        Raises:
            DataError: the table is too small, a label is wrong, or `group` is not a column.
        """
        import numpy as np
        from sklearn.model_selection import StratifiedGroupKFold

        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
            raise DataError(f"seed is {described(seed)}; give a whole number from 0 to {2**32 - 1}.")
        frame = frame_of(table)
        rows = self.rows(frame, labelled=True)
        if group is not None and group not in frame.columns:
            raise DataError(f"the table has no column {group!r} to group by: {', '.join(map(str, frame.columns))}.")
        if len(rows) < 10:
            raise DataError(f"the table has {len(rows)} rows; a split into three tables needs at least 10.")
        groups = connected(rows.texts, None if group is None else [row[group] for row in rows.inputs])
        if len(set(groups)) < 5:
            raise DataError(
                f"the table has {len(set(groups))} different texts or groups, and a split into three tables needs at "
                "least 5: rows with one text, or of one group, stay together."
            )
        folds = StratifiedGroupKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
        labels = np.array(self.kind.strata(rows.labels))
        if np.unique(labels, return_counts=True)[1].max() < FOLDS:
            # No label can be in every fold, and scikit-learn refuses to try.
            labels = np.zeros(len(rows), dtype=int)
        import warnings

        with warnings.catch_warnings():
            # A label with fewer than five rows cannot be in every fold; the split is still right.
            warnings.filterwarnings("ignore", message="The least populated class")
            parts = [held_out for _, held_out in folds.split(labels, labels, groups)]
        train = np.sort(np.concatenate(parts[2:]))
        return frame.iloc[train], frame.iloc[np.sort(parts[1])], frame.iloc[np.sort(parts[0])]

    @classmethod
    def read(cls, path: str | Path) -> Task:
        """The task in a YAML file.

        Raises:
            SpecError: the file is not there, is no YAML, or is not a task.
        """
        file = path_of(path, "a task", SpecError)
        given = read_yaml(file, "task", "`luthier init --data TABLE --text COLUMN --label COLUMN` writes one.")
        if not isinstance(given, dict):
            raise SpecError(f"{file} is not a task: it needs name, text, label and labels.")
        try:
            return cls.model_validate(labels_as_written(given, file.read_text(encoding="utf-8")))
        except ValidationError as error:
            said = readable_validation_error(error, cls).removeprefix(f"{cls.__name__}: ")
            raise SpecError(f"{file}: {said}") from error

    def document(self) -> dict[str, Any]:
        """The task as YAML has it."""
        document = self.model_dump(mode="json")
        if not document["labels"]:
            del document["labels"]
        if not self.raters:
            del document["raters"]
        return document


def text_of(row: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """The texts in these columns with a blank line between; `None` where one is missing or blank."""
    cells = [row[column] for column in columns]
    return None if any(map(is_blank, cells)) else "\n\n".join(map(str, cells))


def is_blank(value: object) -> bool:
    """Whether a text cell holds nothing to send."""
    return value is None or not str(value).strip()


def check_cell(value: object, column: str, where: str) -> None:
    """Refuses a cell that is no text, of which a model would be sent the Python form.

    Raises:
        DataError: names the place and how to make a text of it.
    """
    if isinstance(value, bytes | bytearray):
        cure = f"decode it: df[{column!r}].str.decode('utf-8')"
    elif isinstance(value, list | tuple | set | dict) or getattr(value, "shape", None):
        cure = f"make one text of it, as df[{column!r}].str.join(' ') does for lists of words, or a row for each"
    else:
        return
    raise DataError(f"{where}: {column!r} holds {type(value).__name__}, such as {str(value)[:60]}; {cure}.")


def check_truth(value: object, column: str, where: str) -> None:
    """Refuses a cell that cannot be written as text: one nested a thousand deep, or a number of thousands of digits.

    Raises:
        DataError: names the place.
    """
    if isinstance(value, list | tuple | set | dict | int):
        try:
            str(value)
        except (ValueError, RecursionError):
            what = "a number of thousands of digits" if isinstance(value, int) else "a value nested too deep to be read"
            raise DataError(f"{where}: {column!r} holds {what}. Correct the row, or leave it out.") from None


def _cell(value: object) -> str:
    """A cell as a message quotes it."""
    return short(value) if isinstance(value, str) else short(repr(value))[1:-1]


def plain_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as plain Python values, missing cells as `None`."""
    import pandas as pd

    columns = {}
    for position, name in enumerate(frame.columns):
        series = frame.iloc[:, position]
        missing = pd.isna(series).to_numpy()
        cells = series.astype(object).tolist()
        columns[str(name)] = [
            None if gone else cell.item() if hasattr(cell, "item") and getattr(cell, "ndim", 1) == 0 else cell
            for cell, gone in zip(cells, missing, strict=True)
        ]
    names = list(columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
