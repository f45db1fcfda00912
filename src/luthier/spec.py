"""A spec: a hand-written recipe to answer a task, and what it becomes on training rows."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from luthier.engine.estimates import NO_FOLLOW_UPS, FollowUps
from luthier.engine.groups import Recalled
from luthier.engine.report import Report
from luthier.errors import DataError, SpecError
from luthier.evaluation.deciding import Objective
from luthier.outputs import write_folder
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Conversation, Operation, Request
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import NAME_PATTERN, Rows, Task, readable_validation_error

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from luthier.estimator import Estimator

__all__ = [
    "FILES",
    "SCHEMA",
    "Conversation",
    "Fitted",
    "PlannedRequests",
    "GridPoint",
    "Probe",
    "JournalReplay",
    "Spec",
]

Result = TypeVar("Result")

SCHEMA = 1
"""Version of the files a spec and a fitted folder are written as; every later Luthier reads it."""

FILES = "files"
"""Where in a fitted folder a technique's own files lie."""

TRANSPORT_FIELDS = {"limits", "price", "priced_as", "timeout_seconds", "api_key_env", "auth", "resource"}
"""Settings of an endpoint that change how an answer is fetched, never what it says."""

LATER_SETTINGS = {"max_characters"}
"""Settings that were added when specs of this schema were in use. One that is not given is left out of the digest, so
that runs, journals and packaged models of earlier versions belong to the same spec as before."""


@dataclass(frozen=True)
class Probe:
    """What a spec asks of an endpoint: which call, how, and whether log-probabilities are read.

    Attributes:
        endpoint: whom it asks.
        operation: which call of the protocol.
        settings: fields it puts into the body beside the text.
        reads_logprobs: whether it asks for log-probabilities.
        roles: whose turns come before the question.
    """

    endpoint: Endpoint
    operation: Operation
    settings: Mapping[str, Any]
    reads_logprobs: bool = False
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridPoint:
    """Which point of a grid a spec stands for.

    Attributes:
        grid: the file or spec that holds the grid.
        settings: those that vary, by dotted path.
        name: what the names of the grid's specs begin with; tells two files of one name apart.
    """

    grid: str
    settings: Mapping[str, Any]
    name: str = ""


class Spec(BaseModel):
    """A recipe to answer a task: one technique with its settings. Each technique is a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=False)

    technique: str
    """`baseline`, `prompt`, ..."""
    name: str = Field(default="", pattern=rf"^$|{NAME_PATTERN}", max_length=64)
    """Unique among the specs that are compared; made up from the settings when absent."""
    task: Task
    """The task, in place or as the path of a task.yaml next to the spec."""
    endpoint: Endpoint | None = None
    """Where the model answers; absent for techniques that call none."""
    seed: int = 7
    """Seed of everything this spec draws."""
    objective: Objective | None = None
    """What the label is chosen to be best at: `accuracy` takes the likeliest, `mse` the one nearest to the
    expected rating, `qwk` cuts the expected rating where training rows agree best; the last two for ratings."""
    endpoint_block: ClassVar[str] = "endpoint"
    """Block of an endpoint file that says who answers specs of this technique."""
    # Where it came from, not what it is: neither written nor part of the digest.
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
            # So pydantic calls it, which gathers the faults of the whole document.
            super().__init__(**data)
            return
        try:
            super().__init__(**{**data, "task": task})
        except ValidationError as error:
            kind = type(self)
            raise SpecError(f"{kind.__name__}: {readable_validation_error(error, kind)}") from error

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if self.objective in ("mse", "qwk") and not self.task.ordered:
            raise ValueError(f"objective {self.objective} is for ratings; task {self.task.name!r} has no order")
        return self

    @model_validator(mode="after")
    def _name_it(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", f"{self.technique}-{self.digest[:6]}")
        return self

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
        """Remembers the point of a grid it was made for; changes nothing that is written, asked or packaged."""
        self._grid_point = point

    @property
    @abstractmethod
    def needs_training(self) -> bool:
        """Whether the spec must see training rows before it can answer."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row the spec reads, the text column first."""
        return (self.task.text,)

    @property
    def base_model(self) -> str:
        """Name of the model behind the spec, for tables and tags."""
        return self.endpoint.model if self.endpoint is not None else "none"

    @abstractmethod
    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Turns the spec into something that answers.

        Args:
            rows: labelled training rows; `None` is fine for specs that need none.

        Raises:
            SpecError: the spec needs training rows and there are none, or too few.
        """

    @abstractmethod
    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """One prediction per row, in order; a row's answer does not depend on its neighbours."""

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[Sequence[Request], Sequence[Request]]:
        """What fitting and what answering these rows would ask, as far as it is known before any answer.

        With `fitted` there is nothing left to fit; without it `train` are the rows it would be fitted on.
        """
        return (), ()

    def planned_requests(
        self, rows: Rows, train: Rows | None, fitted: Fitted | None, recall: JournalReplay
    ) -> tuple[Sequence[PlannedRequests], Sequence[PlannedRequests]]:
        """What fitting and what answering these rows will ask, given what the journal knows (`recall`).

        With `fitted` there is nothing left to fit; without it `train` are the rows it would be fitted on.
        """
        fitting, answering = self.first_requests(rows, train, fitted)
        return [PlannedRequests(fitting)], [PlannedRequests(answering)]

    def follow_ups(self, answer: Answer) -> int:
        """How many further requests an answer to a first request brings."""
        return 0

    def preview(self, rows: pd.DataFrame, train: pd.DataFrame | None = None) -> Any:
        """What would be sent for these rows, with tokens and price; sends nothing."""
        raise SpecError(f"technique {self.technique} sends nothing, so there is nothing to preview.")

    @property
    def prompt_text(self) -> str | None:
        """The prompt as a registry shows it; `None` for techniques without one."""
        return None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint the spec asks, its own first."""
        return () if self.endpoint is None else (self.endpoint,)

    def probes(self) -> tuple[Probe, ...]:
        """What to try each of its endpoints with; none for techniques that call none."""
        return ()

    def tables(self, fitted: Fitted) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What fitting found that a person wants to look at, by name: trials, samples; JSON values."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """What a reader of this spec's figures should know, a sentence each."""
        return ()

    @property
    def params(self) -> dict[str, Any]:
        """What a caller of the packaged model may set per call, with the values it has otherwise."""
        return {}

    def with_params(self, given: Mapping[str, Any]) -> Self:
        """The same recipe with some of `params` set otherwise."""
        if given:
            raise SpecError(f"a {self.technique} model takes no params; given: {', '.join(given)}.")
        return self

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, nested as in YAML, without name and task."""
        return self.model_dump(mode="json", exclude={"name", "task", "technique"})

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same recipe with some settings otherwise.

        Args:
            settings: a value for each dotted path, such as `prompt.examples.count`.

        Raises:
            SpecError: there is no such setting, or it contradicts another.
        """
        document = self.model_dump(mode="json", exclude_defaults=True, exclude={"name", "task", "technique"})
        for path, value in settings.items():
            *above, last = path.split(".")
            block = document
            for part in above:
                if not isinstance(block.get(part), dict):
                    block[part] = {}
                block = block[part]
            block[last] = value
        if self.name != f"{self.technique}-{self.digest[:6]}":
            document["name"] = self.name
        return self.make({**document, "technique": self.technique, "task": self.task}, f"spec {self.name!r}")

    def estimator(self, *, budget_usd: float | None = None) -> Estimator:
        """The spec as a scikit-learn classifier, for pipelines, cross-validation and searches.

        Args:
            budget_usd: most that one call of its `fit` or `predict` may spend.
        """
        from luthier.estimator import Estimator

        return Estimator(self, budget_usd=budget_usd)

    def with_endpoint(self, endpoint: Endpoint) -> Self:
        """The same recipe answered elsewhere; specs that call no model stay as they are."""
        if self.endpoint is None:
            return self
        return type(self).model_validate({**self._fields(), "endpoint": endpoint})

    def relocation_warnings(self, fitted: Fitted) -> tuple[str, ...]:
        """What no longer holds when this recipe answers at its endpoint with what was fitted at another."""
        before = fitted.spec.endpoint
        if before is None or self.endpoint is None or before.model == self.endpoint.model:
            return ()
        cure = "Fit it there: luthier log SPEC --endpoint FILE --train TABLE"
        broken = self._tied_to_model(fitted, f"{before.model} and is asked at {self.endpoint.model}")
        return tuple(f"{what}. {cure}" for what in broken)

    def _tied_to_model(self, fitted: Fitted, models: str) -> tuple[str, ...]:
        """What of a fitted state is only right for the model it was fitted with; `models` names both."""
        return ()

    def check_ready(self) -> None:
        """Refuses a recipe that cannot answer yet.

        Raises:
            SpecError: says what has to be done first.
        """

    def check_columns(self, columns: Iterable[object], source: str = "the table") -> None:
        """Refuses a table that lacks a column the spec reads.

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
        """sha256 of everything that changes an answer: not the name, not limits, prices or keys."""
        document = self.model_dump(mode="json", exclude={"name", "task"})
        facts = [SCHEMA, self.task.digest, digested(document)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


def digested(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what only says how answers are fetched, in every endpoint, and without later settings."""
    kept = {
        name: digested(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if value is not None or name not in LATER_SETTINGS
    }
    if kept.get("endpoint"):
        kept["endpoint"] = {name: value for name, value in kept["endpoint"].items() if name not in TRANSPORT_FIELDS}
    return kept


@dataclass(frozen=True)
class PlannedRequests:
    """Requests that a spec will make, as far as that is known before the answers are.

    Attributes:
        requests: what is asked; where the wording hangs on answers to come, as long as it can get.
        follow: what each answer may lead to.
        shortest: where the wording hangs on answers to come, as short as it can get.
        sure: whether they will be asked, unless the journal has them.
    """

    requests: Sequence[Request]
    follow: FollowUps = NO_FOLLOW_UPS
    shortest: Sequence[Request] | None = None
    sure: bool = True


class JournalReplay(Protocol):
    """Tells how far the journal takes a conversation."""

    def __call__(self, conversation: Conversation[Result], /) -> Recalled[Result]:
        """Holds it as far as the journal has answers."""


@dataclass(frozen=True)
class Fitted:
    """What a spec became on training rows: enough to answer, no pickle in it.

    Attributes:
        spec: the recipe.
        train_digest: digest of the training rows, `None` when none were needed.
        state: JSON values the technique keeps (chosen examples, calibration, vocabulary).
        arrays: numeric arrays the technique keeps.
        files: what it keeps in a format of its own, by file name, such as a booster's text; never a pickle.
        report: calls, tokens and money of this fitting; not saved, and `None` for what was loaded.
    """

    spec: Spec
    train_digest: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    report: Report | None = field(default=None, compare=False, repr=False)

    @property
    def spent_usd(self) -> float | None:
        """US dollars that fitting spent; `None` where a price is unknown, or it was fitted earlier."""
        return None if self.report is None else self.report.spent_now_usd

    @property
    def digest(self) -> str:
        """sha256 of spec, training rows and seed: what is fitted alike has the same digest."""
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
        (folder / "fitted.json").write_text(
            json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8"
        )
