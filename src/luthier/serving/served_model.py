"""What a server asks of the model it serves; the HTTP side knows nothing else of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["PaidCalls", "Readiness", "ScoringAnswer", "ScoringRequest", "ServedModel", "ServedModelFacts"]

Form = Literal["dataframe_split", "dataframe_records", "inputs", "instances", "table"]


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """A body of `/invocations`, decoded but not yet read by a schema.

    Attributes:
        form: the key of MLflow's protocol; `table` for csv and parquet.
        data: what stood under that key as decoded JSON, or the `pyarrow.Table` of a csv or parquet body.
        params: of the params schema.
    """

    form: Form
    data: Any
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoringAnswer:
    """What `/invocations` answers with, and what the metrics count of it.

    Attributes:
        predictions: JSON-ready; a list of records for a model that Luthier logged.
        rows: how many were asked about.
        states: rows by state; empty for a model that Luthier did not log.
        labels: rows by predicted label.
        upstream_seconds: what each call took that was sent for these rows.
    """

    predictions: Any
    rows: int
    states: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    upstream_seconds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class PaidCalls:
    """What all calls to the service took since the server started, those of refused requests too.

    Attributes:
        input_tokens: sent.
        output_tokens: received.
        usd: US dollars paid, as far as prices are known.
        unpriced: calls of unknown price.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class ServedModelFacts:
    """What the server says of its model.

    Attributes:
        uri: what it was asked to serve.
        name: of the registered model, or of the spec.
        version: of the registered model; `None` where it is not registered.
        technique: `None` for a model that Luthier did not log.
        columns: inputs by name with their MLflow types, such as `{"text": "string"}`.
        params: names with their MLflow types.
        outputs: prediction columns with their MLflow types.
        labels: of the task, where it has some.
        training_labels: share of each label in what the model was fitted or measured on; empty where unknown.
        example: rows that the model takes.
    """

    uri: str
    name: str
    version: str | None = None
    technique: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    training_labels: Mapping[str, float] = field(default_factory=dict)
    example: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests would be answered now.

    Attributes:
        checks: what was looked at, such as `upstream`, with a sentence where it is not well, else `None`.
    """

    checks: Mapping[str, str | None]

    @property
    def is_ready(self) -> bool:
        """Whether every check is well."""
        return all(why is None for why in self.checks.values())


class ServedModel(Protocol):
    """A model as the server has it."""

    facts: ServedModelFacts

    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        """The predictions, in the order of the rows.

        Raises:
            Refusal: the rows do not fit the model, it has no capacity, money or upstream now, or time is over.
        """
        ...

    def readiness(self) -> Readiness:
        """Whether it would answer now; returns at once, from what has been seen last."""
        ...

    def paid(self) -> PaidCalls | None:
        """What its calls took so far; `None` for a model whose calls are not known."""
        ...

    async def start(self) -> None:
        """Begins what runs beside the requests, such as looking at the upstream."""
        ...

    async def close(self) -> None:
        """Ends that; called when nothing is in flight any more."""
        ...
