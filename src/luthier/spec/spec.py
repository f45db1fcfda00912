"""A spec, the hand-written recipe for a task, and the fitted spec, which can answer."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from luthier.documents import described
from luthier.engine.estimates import NO_FOLLOW_UPS, FollowUps
from luthier.engine.report import Report
from luthier.engine.rounds import Recalled
from luthier.errors import DataError, SpecError
from luthier.outputs import write_folder
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Conversation, Operation, Request
from luthier.spec.digests import NOT_DIGESTED, answering_settings
from luthier.spec.endpoint_lists import pooled_settings
from luthier.spec.setting_paths import check_path, with_setting
from luthier.tasks.crossed_names import SPEC_NAME
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.labels.deciding import Objective
from luthier.tasks.prediction import Prediction
from luthier.tasks.readable_errors import readable_validation_error
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from luthier.estimator import Estimator

__all__ = ["FILES", "SCHEMA", "Fitted", "GridPoint", "JournalReplay", "PlannedRequests", "Probe", "Spec"]

Result = TypeVar("Result")

SCHEMA = 1
"""Version of the files a spec and a fitted folder are written as; every later Luthier reads it."""

FILES = "files"
"""Folder of a technique's own files within a fitted folder."""


@dataclass(frozen=True)
class Probe:
    """One kind of call a spec makes, so that `luthier check` can try it.

    Attributes:
        endpoint: the endpoint that is called.
        operation: the call of the protocol.
        settings: fields of the body beside the text.
        reads_logprobs: whether log-probabilities are asked for.
        roles: roles of the turns before the question.
    """

    endpoint: Endpoint
    operation: Operation
    settings: Mapping[str, Any]
    reads_logprobs: bool = False
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridPoint:
    """The point of a grid that a spec was made for.

    Attributes:
        grid: the file or spec that holds the grid.
        settings: the settings that vary, by dotted path.
        name: the prefix of the names of the grid's specs; tells two files of one name apart.
    """

    grid: str
    settings: Mapping[str, Any]
    name: str = ""


class Spec(BaseModel):
    """A recipe to answer a task: one technique with its settings. Each technique is a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    technique: str
    """`baseline`, `prompt`, ..."""
    name: str = Field(default="", pattern=rf"^$|{SPEC_NAME}")
    """Unique among the specs that are compared; made up from the settings when absent. `PROMPT@MODEL` says which of
    several prompts and models it is."""
    task: Task
    """The task, in place or as the path of a task.yaml next to the spec."""
    endpoint: Endpoint | None = None
    """Where the model answers; absent for techniques that call none. `endpoints:` in its place lists several endpoints
    of one model, which share the work."""
    seed: int = 7
    """Seed of everything this spec draws."""
    objective: Objective | None = None
    """What the label is chosen for: `accuracy` takes the likeliest label, `mse` the one nearest to the expected
    rating, `qwk` the one between thresholds on the expected rating that suit training rows best; the last two for
    ratings."""
    gates: tuple[str, ...] = ()
    """What its figures must reach, as in `accuracy_low >= 0.8`; judged by `luthier rai`, and not part of the digest."""
    endpoint_block: ClassVar[str] = "endpoint"
    """Block of an endpoint file that holds the endpoint of specs of this technique."""
    task_types: ClassVar[tuple[type[TaskType], ...]] = (ClosedSet,)
    """The task types it answers, with their subclasses."""
    # Neither written to files nor part of the digest.
    _grid_point: GridPoint | None = PrivateAttr(default=None)

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        """A recipe for a task.

        Args:
            task: the task.
            data: the settings, as in YAML.

        Raises:
            SpecError: a setting is unknown, missing or contradicts another.
        """
        if task is None:
            # Pydantic calls it like this, and collects the errors of the whole document.
            super().__init__(**data)
            return
        try:
            super().__init__(**{**data, "task": task})
        except ValidationError as error:
            kind = type(self)
            raise SpecError(f"{kind.__name__}: {readable_validation_error(error, kind)}") from error

    @model_validator(mode="before")
    @classmethod
    def _from_several_endpoints(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "endpoints" not in given:
            return given
        if given.get("endpoint") is not None:
            raise ValueError("give either endpoint: or endpoints:, not both")
        rest = {name: value for name, value in given.items() if name != "endpoints"}
        return {**rest, "endpoint": pooled_settings(given["endpoints"])}

    @field_validator("gates", mode="before")
    @classmethod
    def _are_a_list(cls, given: Any) -> Any:
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise ValueError(
                f"holds a list of requirements, as in gates: [accuracy_low >= 0.8]; given: {described(given)}"
            )
        return given

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        task = self.task
        if not isinstance(task.kind, self.task_types):
            raise ValueError(
                f"technique {self.technique} does not answer task {task.name!r}, which is of type "
                f"{task.type!r}{task.kind.made_by}; use technique: prompt with answer: text or json"
            )
        for column in (task.label, *task.raters):
            if column in self.columns:
                raise ValueError(f"the template shows the column {column!r}, which holds what is asked for")
        if self.objective in ("mse", "qwk") and not task.ordered:
            raise ValueError(
                f"objective {self.objective} is for ratings; task {task.name!r} has no order: leave it out"
            )
        if self.objective is not None and not isinstance(task.kind, ClosedSet):
            raise ValueError(f"objective is what a label is chosen for, and task {task.name!r} has none; leave it out")
        if self.gates:
            # Loads what computes metrics, which specs without gates need not wait for.
            from luthier.evaluation.figures import check_requirement

            for gate in self.gates:
                check_requirement(gate, task)
        return self

    @model_validator(mode="after")
    def _name_it(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self._made_up_name)
        return self

    @property
    def _made_up_name(self) -> str:
        return f"{self.technique}-{self.digest[:6]}"

    @classmethod
    def make(cls, document: Mapping[str, Any], source: str = "the spec") -> Self:
        """The spec a document describes.

        Raises:
            SpecError: a key is unknown, missing or contradicts another; the message says what is allowed.
        """
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            raise SpecError(f"{source}: {readable_validation_error(error, cls)}") from error

    @property
    def grid_point(self) -> GridPoint | None:
        """The point of a grid it was made for; `None` for a spec of its own."""
        return self._grid_point

    def mark_grid_point(self, point: GridPoint) -> None:
        """Remembers the point of a grid it was made for; changes nothing that is written, sent or packaged."""
        self._grid_point = point

    @property
    @abstractmethod
    def needs_training(self) -> bool:
        """Whether the spec must see training rows before it can answer."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row that the spec reads, the text column first."""
        return self.task.text_columns

    @property
    def base_model(self) -> str:
        """Name of the model that answers, for tables and tags."""
        return self.endpoint.model if self.endpoint is not None else "none"

    def check_ready(self) -> None:
        """Refuses to answer as long as the model is still to be made.

        Raises:
            SpecError: it is; the message says what to type.
        """

    @abstractmethod
    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Fits the spec on training rows.

        Args:
            rows: labelled training rows; `None` for specs that need none.

        Raises:
            SpecError: the spec needs training rows and there are none, or too few.
        """

    @abstractmethod
    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row, in order; a row's answer does not depend on its neighbours."""

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[Sequence[Request], Sequence[Request]]:
        """The requests of fitting and of answering these rows, as far as they are known before any answer.

        Args:
            rows: the rows to answer.
            train: the rows the spec would be fitted on; not read where `fitted` is given.
            fitted: the fitted spec, if it is fitted already.

        Raises:
            SpecError: training rows are needed and there are none.
            DataError: there are too few of them, or a column is missing.
        """
        if self.endpoint is None:
            return (), ()
        fitting = () if fitted is not None or not self.needs_training else next(self.fit(train), ())
        return fitting, next(self.predict(rows, fitted or Fitted(spec=self)), ())

    def planned_requests(
        self, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
    ) -> tuple[Sequence[PlannedRequests], Sequence[PlannedRequests]]:
        """All requests of fitting and of answering these rows, or bounds on them, given the journal's answers.

        Args:
            rows: the rows to answer.
            train: the rows the spec would be fitted on; not read where `fitted` is given.
            fitted: the fitted spec, if it is fitted already.
            recall: replays a conversation with the journal's answers.
        """
        fitting, answering = self.first_requests(rows, train, fitted)
        return [PlannedRequests(fitting)], [PlannedRequests(answering)]

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Any:
        """The requests these rows would make, with tokens and price; sends nothing.

        Raises:
            SpecError: the technique calls no model.
        """
        raise SpecError(f"technique {self.technique} sends nothing, so there is nothing to preview.")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint the spec calls, its own first."""
        return () if self.endpoint is None else (self.endpoint,)

    @property
    def all_endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint that may be called, those that share the work of another too."""
        return tuple(one for endpoint in self.endpoints for one in endpoint.pool)

    def probes(self) -> tuple[Probe, ...]:
        """The kinds of calls it makes, to be tried once each; none for techniques that call no model."""
        return ()

    def tables(self, fitted: Fitted) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Tables of what fitting tried, by name (`trials`, `samples`); JSON values."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures of this spec should know; a sentence each."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, nested as in YAML, without name and task."""
        return self.model_dump(mode="json", exclude={"name", "task", "technique"})

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same recipe with some settings changed.

        A name that was made up from the settings is made up anew; a name of one's own is kept.

        Args:
            settings: a value for each dotted path, as in a grid: `{"prompt.examples.count": 3}`.

        Raises:
            SpecError: a path names no setting, and the message lists those there are; or a value contradicts others.

        Examples:
            >>> import luthier as lt
            >>> mood = lt.Task("mood", labels=["good", "bad"])
            >>> few = lt.Prompt(mood, "{{ text }}", examples=1, endpoint=lt.openai("some-model"), name="few")
            >>> warmer = few.with_settings({"decoding.temperature": 0.7, "prompt.examples.count": 3})
            >>> warmer.name, warmer.decoding.temperature, warmer.prompt.examples.count
            ('few', 0.7, 3)
        """
        source = f"spec {self.name!r}"
        if not isinstance(settings, Mapping):
            raise SpecError(
                f"{source}: settings are a value for each dotted path, as in "
                f'{{"prompt.examples.count": 3}}; given: {described(settings)}.'
            )
        document = self.model_dump(mode="json", exclude_defaults=True, exclude={"name"}) | {"task": self.task}
        for path, value in settings.items():
            check_path(str(path), type(self), f"{source}: {path}")
            document = with_setting(document, str(path), value, f"{source}: {path}")
        if self.name != self._made_up_name:
            document["name"] = self.name
        return self.make({**document, "technique": self.technique}, source)

    def estimator(self, *, budget_usd: float | None = None) -> Estimator:
        """The spec as a scikit-learn classifier, for pipelines, cross-validation and searches.

        Args:
            budget_usd: most that one call of its `fit` or `predict` may spend.
        """
        from luthier.estimator import Estimator

        return Estimator(self, budget_usd=budget_usd)

    def with_endpoint(self, endpoint: Endpoint) -> Self:
        """The same recipe with another endpoint; a spec that calls no model stays as it is."""
        if self.endpoint is None:
            return self
        return type(self).model_validate({**self._fields(), "endpoint": endpoint})

    def relocation_warnings(self, fitted: Fitted) -> tuple[str, ...]:
        """Warnings for a recipe that answers at its endpoint with what was fitted at another: what no longer holds."""
        before = fitted.spec.endpoint
        if before is None or self.endpoint is None or before.model == self.endpoint.model:
            return ()
        cure = "Fit it there: luthier log SPEC --endpoint FILE --train TABLE"
        broken = self._tied_to_model(fitted, f"{before.model} and is asked at {self.endpoint.model}")
        return tuple(f"{what}. {cure}" for what in broken)

    def _tied_to_model(self, fitted: Fitted, models: str) -> tuple[str, ...]:
        """The parts of a fitted state that fit only the model it was fitted with; `models` names both models."""
        return ()

    def check_columns(self, columns: Iterable[object], source: str = "the table") -> None:
        """Refuses a table that lacks a column of the spec.

        Raises:
            DataError: names the missing columns and the ones there are.
        """
        present = [str(column) for column in columns]
        missing = [column for column in self.columns if column not in present]
        if missing:
            raise DataError(
                f"spec {self.name!r} reads column {', '.join(map(repr, missing))}, which {source} does not have; "
                f"its columns are: {', '.join(present) or 'none'}. Correct the template or the task's `text:`."
            )

    def document(self) -> dict[str, Any]:
        """The spec as YAML has it, with the task in place."""
        document: dict[str, Any] = {"schema": SCHEMA}
        document |= self.model_dump(mode="json", exclude_defaults=True, exclude={"task"})
        document |= {"technique": self.technique, "name": self.name, "task": self.task.document()}
        return document

    @property
    def digest(self) -> str:
        """sha256 of all that changes an answer: without name, limits, prices and keys."""
        facts = [SCHEMA, self.task.digest, answering_settings(self._digested())]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def _digested(self) -> dict[str, Any]:
        """The settings the digest is taken of; `answering_settings` leaves out those that change no answer."""
        return self.model_dump(mode="json", exclude=NOT_DIGESTED)

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


@dataclass(frozen=True)
class PlannedRequests:
    """Requests that a spec will make, or bounds on them where they depend on answers to come.

    Attributes:
        requests: the requests; where their text depends on answers to come, as long as it can be.
        follow: the requests that each answer may lead to.
        shortest: where their text depends on answers to come, the same requests as short as they can be.
        sure: whether they will be made unless the journal has their answers; otherwise some may not be.
    """

    requests: Sequence[Request]
    follow: FollowUps = NO_FOLLOW_UPS
    shortest: Sequence[Request] | None = None
    sure: bool = True


class JournalReplay(Protocol):
    """Replays a conversation as far as the journal has its answers."""

    def __call__(self, conversation: Conversation[Result], /) -> Recalled[Result]:
        """The requests up to there, those that lack an answer, and the result if there is one."""


@dataclass(frozen=True)
class Fitted:
    """A spec fitted on training rows: all that is needed to answer, without a pickle.

    Attributes:
        spec: the recipe.
        train_digest: digest of the training rows; `None` if none were needed.
        state: JSON values of the technique (examples, calibration, vocabulary).
        arrays: numeric arrays of the technique.
        files: files of the technique in a format of their own, by name, such as a booster's text; never a pickle.
        train_labels: training rows with each label, kind, field or bin of scores, of `train_rows` that were counted.
        report: calls, tokens and money of this fitting; not saved, `None` for a fitted spec that was loaded.
    """

    spec: Spec
    train_digest: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    train_labels: Mapping[str, int] = field(default_factory=dict, compare=False)
    train_rows: int = field(default=0, compare=False)
    report: Report | None = field(default=None, compare=False, repr=False)

    @property
    def spent_usd(self) -> float | None:
        """US dollars that fitting spent; `None` where a price is unknown or the spec was fitted earlier."""
        return None if self.report is None else self.report.spent_now_usd

    @property
    def digest(self) -> str:
        """sha256 of spec, training rows and seed; equal for specs that are fitted alike."""
        facts = json.dumps([self.spec.digest, self.train_digest, self.spec.seed])
        return hashlib.sha256(facts.encode()).hexdigest()

    def predict(self, rows: Rows) -> Conversation[list[Prediction]]:
        """One prediction per row, in order."""
        return self.spec.predict(rows, self)

    def save(self, folder: str | Path) -> Path:
        """Writes `spec.yaml`, `fitted.json`, `arrays.npz` and `files/`; the folder appears whole or not at all.

        Raises:
            DataError: something that Luthier did not write is there, or the disk refuses.
        """
        return write_folder(folder, self._write)

    def _write(self, folder: Path) -> None:
        import numpy as np

        document = yaml.safe_dump(self.spec.document(), sort_keys=False, allow_unicode=True)
        (folder / "spec.yaml").write_text(document, encoding="utf-8")
        digests: dict[str, str] = {}
        if self.arrays:
            np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **dict(self.arrays))
            digests["arrays.npz"] = hashlib.sha256((folder / "arrays.npz").read_bytes()).hexdigest()
        for name, content in self.files.items():
            (folder / FILES).mkdir(exist_ok=True)
            (folder / FILES / name).write_bytes(content)
            digests[f"{FILES}/{name}"] = hashlib.sha256(content).hexdigest()
        facts = {"schema": SCHEMA, "digest": self.digest, "train_digest": self.train_digest, "state": self.state}
        facts |= {"sha256": digests} if digests else {}
        facts |= {"train_labels": dict(self.train_labels), "train_rows": self.train_rows} if self.train_labels else {}
        (folder / "fitted.json").write_text(
            json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8"
        )
