"""A trial of a sweep, as it is kept, listed and reported; and the facts of the study it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = ["SETTINGS_ATTRIBUTE", "SOURCE_ATTRIBUTE", "StudyFacts", "SweepObjective", "SweepTrial", "TrialStatus"]

SETTINGS_ATTRIBUTE, SOURCE_ATTRIBUTE = "luthier.settings", "luthier.source"
"""User attributes of Optuna trials that were imported: their settings, and where they are from."""

TrialStatus = Literal["running", "paused", "interrupted", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class SweepObjective:
    """What a sweep searches for.

    Attributes:
        metric: a metric of the task, also of money and time, such as `cost_per_1000_rows_usd`; or `cost_usd`, what the
            trial cost.
        direction: as Optuna has it.
    """

    metric: str
    direction: Literal["maximize", "minimize"]

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which way is better."""
        return "higher" if self.direction == "maximize" else "lower"


@dataclass(frozen=True)
class StudyFacts:
    """What a study is about; every machine that joins it must agree on `digest`.

    Attributes:
        name: of the sweep.
        digest: sha256 of task, spec, space, objectives and rows: of all that makes two trials comparable.
        objectives: one, or several for a front.
        document: the sweep as YAML has it, the spec and its task in place.
        tables: path, digest and number of rows of `train`, `validation` and `holdout`, by name; a path is `None` for
            a DataFrame.
        run_id: the sweep's parent run in MLflow.
        created: Unix time.
        trials: most trials of the study, those of every machine together.
        budget_usd: most that the study may cost, all machines together.
    """

    name: str
    digest: str
    objectives: tuple[SweepObjective, ...]
    document: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]
    run_id: str
    created: float
    trials: int
    budget_usd: float | None = None


@dataclass(frozen=True)
class SweepTrial:
    """A trial.

    Attributes:
        number: within the study, from 0.
        settings: what the trial is about, by the dotted path of the spec.
        status: `paused` and `interrupted` trials go on with the next `luthier sweep`.
        values: of the objectives, in their order; empty before the end, and of trials that did not get there.
        measured: figures on the selection rows, with their bounds as `NAME_low` and `NAME_high`.
        reported: the last value of each figure that the service reported.
        curve: what early stopping judged by: value by step.
        job: the service's id; `None` for a spec that trains at no service.
        job_status: the service's word, as last heard.
        run_id: the trial's run in MLflow.
        planned_tokens: tokens that the whole job would be paid for.
        trained_tokens: tokens that are paid for.
        tokens_estimated: whether that follows from the last step heard of, where the service bills none.
        planned_usd: what training the whole job would cost.
        training_usd: what training cost; `None` when unknown, which is not 0.
        cost_usd: what training, answers and hosting cost; `None` when unknown, which is not 0.
        reserved_usd: what is set aside for it in the budget.
        started: Unix time, as is `ended`.
        reason: why it was pruned, failed or interrupted.
        owner: host and process that drive it.
        source: where an imported trial is from; `None` for a trial of this sweep.
    """

    number: int
    settings: Mapping[str, Any]
    status: TrialStatus
    values: tuple[float, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    job: str | None = None
    job_status: str | None = None
    run_id: str | None = None
    planned_tokens: int | None = None
    trained_tokens: int | None = None
    tokens_estimated: bool = False
    planned_usd: float | None = None
    training_usd: float | None = None
    cost_usd: float | None = None
    reserved_usd: float | None = None
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    owner: str | None = None
    source: str | None = None

    @property
    def duration_seconds(self) -> float | None:
        """From its start to its end; `None` before that."""
        return None if self.started is None or self.ended is None else self.ended - self.started

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> SweepTrial:
        """The trial that `document` wrote as JSON, with steps as texts; figures that are no numbers are left out."""
        kept = {item.name: document[item.name] for item in fields(cls) if item.name in document}
        for name in ("measured", "reported", "curve"):
            kept[name] = {key: value for key, value in kept.get(name, {}).items() if value is not None}
        kept["curve"] = {int(step): value for step, value in kept["curve"].items()}
        return cls(**kept | {"values": tuple(document["values"])})
