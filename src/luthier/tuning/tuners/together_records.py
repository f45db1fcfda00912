"""What Together answers about fine-tuning, as records: limits of a base model, jobs, events, metrics, checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from luthier.tuning.tuners.records import finite_number, token_in
from luthier.tuning.tuners.tuner import Checkpoint, Hyperparameter, JobEvent, JobState

__all__ = [
    "ModelLimits",
    "checkpoints_of",
    "job_event",
    "job_state",
    "last_step",
    "metric_event",
    "reason_in",
    "registry_id",
]

STATUSES = {"completed": "succeeded", "error": "failed", "user_error": "failed"}
"""Together's words for the ends of a job; `cancelled` is the same, and with any other word a job is alive."""

NANODOLLAR = 1e-9
"""Unit of the price of a job."""

SETTINGS = {
    "epochs": "n_epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "warmup_ratio": "warmup_ratio",
    "weight_decay": "weight_decay",
    "evaluations": "n_evals",
    "saved_checkpoints": "n_checkpoints",
}
"""Together's names of our settings; those of the adapter are in a block of their own."""

ADAPTER = {"lora_rank": "lora_r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout"}

METRICS = {"train/loss": "train_loss", "eval/loss": "valid_loss"}
"""Together's names of the losses, and those they have at every service."""

PLACES = ("timestamp", "step", "global_step", "epoch", "logged_at")
"""Columns of a row of metrics that say when it was measured."""

LEVELS = {"warning": "warn", "iwarning": "warn", "error": "error", "ierror": "error"}

FAILED = ("job_error", "job_user_error")
"""Types of the event that says why a job failed: the job itself does not."""

METRIC_ID = "step-"


@dataclass(frozen=True)
class ModelLimits:
    """What can be set for a base model, as `GET /v1/fine-tunes/models/limits` says; `None` where it does not.

    Attributes:
        trains_adapters: whether the model can be trained by LoRA, which is how every job here is trained.
        default_rank: rank of an adapter, unless told otherwise.
        most_tokens_a_line: longest training sequence.
    """

    most_epochs: int | None = None
    most_evaluations: int | None = None
    most_checkpoints: int | None = None
    least_learning_rate: float | None = None
    most_learning_rate: float | None = None
    least_batch_size: int | None = None
    most_batch_size: int | None = None
    trains_adapters: bool = True
    default_rank: int | None = None
    most_rank: int | None = None
    most_tokens_a_line: int | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ModelLimits:
        """The limits in an answer."""
        lora = document.get("lora_training")
        adapters = lora if isinstance(lora, Mapping) else {}
        return cls(
            most_epochs=_whole(document.get("max_num_epochs")),
            most_evaluations=_whole(document.get("max_num_evals")),
            most_checkpoints=_whole(document.get("max_num_checkpoints")),
            least_learning_rate=finite_number(document.get("min_learning_rate")),
            most_learning_rate=finite_number(document.get("max_learning_rate")),
            least_batch_size=_whole(adapters.get("min_batch_size")),
            most_batch_size=_whole(adapters.get("max_batch_size")),
            trains_adapters=bool(adapters),
            default_rank=_whole(adapters.get("default_rank")),
            most_rank=_whole(adapters.get("max_rank")),
            most_tokens_a_line=_whole(document.get("max_seq_length_sft")),
        )

    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """The settings with these bounds."""
        rank = self.default_rank
        # The first evaluation is the one that the next are held against.
        patience = None if self.most_evaluations is None else self.most_evaluations - 1
        return (
            Hyperparameter("epochs", "integer", 1, self.most_epochs, 1),
            Hyperparameter("batch_size", "integer", self.least_batch_size or 1, self.most_batch_size),
            Hyperparameter("learning_rate", "real", self.least_learning_rate or 0, self.most_learning_rate, 1e-5),
            Hyperparameter("lr_scheduler", "choice", default="cosine", options=("cosine", "linear", "constant")),
            Hyperparameter("warmup_ratio", "real", 0, 1, 0.0, zero=True),
            Hyperparameter("weight_decay", "real", 0, None, 0.0, zero=True),
            Hyperparameter("lora_rank", "integer", 1, self.most_rank, rank),
            Hyperparameter("lora_alpha", "integer", 1, None, None if rank is None else 2 * rank),
            Hyperparameter("lora_dropout", "real", 0, 1, 0.0, zero=True),
            Hyperparameter("evaluations", "integer", 0, self.most_evaluations, None, zero=True),
            Hyperparameter("saved_checkpoints", "integer", 1, self.most_checkpoints, 1),
            Hyperparameter("early_stopping_patience", "integer", 1, patience, None),
        )


def job_state(job: Mapping[str, Any], now: float) -> JobState:
    """A job, from any of the calls that answer with one.

    Args:
        job: the answer.
        now: Unix time; the service says how many seconds are left.
    """
    said = str(job.get("status") or "unknown")
    status = STATUSES.get(said, said)
    ended = status in ("succeeded", "failed", "cancelled")
    price = finite_number(job.get("total_price"))
    files = (job.get("training_file"), job.get("validation_file"))
    return JobState(
        id=str(job["id"]),
        status=status,
        base_model=str(job.get("model") or ""),
        tuned_model=registry_id(job) if status == "succeeded" else None,
        hyperparameters=_resolved(job),
        # What both mean before the end is not documented.
        trained_tokens=_whole(job.get("token_count")) if ended else None,
        billed_usd=price * NANODOLLAR if ended and price is not None else None,
        error=reason_in(job.get("events") or ()) if status == "failed" else None,
        created=_time(job.get("created_at")),
        estimated_finish=_finish(job, now) if said == "running" else None,
        token=token_in(job),
        files=tuple(str(file) for file in files if file),
        seed=job.get("random_seed"),
    )


def registry_id(job: Mapping[str, Any]) -> str | None:
    """What is deployed: the id of the merged model where there is one, else of the adapter, else the result's name."""
    names = ("model_object_id", "adapter_object_id", "model_output_name")
    return next((str(job[name]) for name in names if job.get(name)), None)


def reason_in(events: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a job failed, in the words of its last event that says so."""
    said = [str(event["message"]) for event in events if event.get("type") in FAILED and event.get("message")]
    return said[-1] if said else None


def job_event(event: Mapping[str, Any]) -> JobEvent:
    """An event; it has no id of its own, so one is made of what it says."""
    kind, message = str(event.get("type") or ""), str(event.get("message") or "")
    step = _whole(event.get("step"))
    facts = [kind, event.get("created_at"), step, message]
    words = kind.replace("_", " ")
    return JobEvent(
        id=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        created=_time(event.get("created_at")) or 0.0,
        # What is kept of a job is read again when an event speaks of a checkpoint.
        message=message
        if message and ("checkpoint" in message.lower() or "checkpoint" not in kind)
        else ": ".join(filter(None, (words, message))),
        step=step,
        total_steps=_whole(event.get("total_steps")),
        level=LEVELS.get(str(event.get("level") or "").lower().removeprefix("legacy_"), "info"),
    )


def metric_event(row: Mapping[str, Any], now: float) -> JobEvent | None:
    """A row of metrics as an event; `None` for one without a step.

    Rows of training and of evaluation at one step are events of their own. A loss that is no number is said, not kept.

    Args:
        row: figures by Together's names.
        now: Unix time, for rows that do not say when they were measured.
    """
    step = _whole(row.get("train/global_step", row.get("global_step", row.get("step"))))
    if step is None:
        return None
    figures = {str(name): value for name, value in row.items() if not _is_place(str(name)) and _is_figure(value)}
    metrics = {METRICS.get(name, name.replace("/", "_")): finite_number(value) for name, value in figures.items()}
    finite = {name: value for name, value in metrics.items() if value is not None}
    lost = sorted(name for name, value in metrics.items() if value is None)
    kinds = "+".join(sorted({name.partition("/")[0] for name in figures}))
    said = ", ".join(
        [*(f"{name} {value:.4g}" for name, value in finite.items()), *(f"{name} is no number" for name in lost)]
    )
    return JobEvent(
        id=f"{METRIC_ID}{step}-{kinds}",
        created=_time(row.get("logged_at")) or _time(row.get("timestamp")) or now,
        message=f"step {step}: {said}",
        step=step,
        metrics=finite,
        level="warn" if lost else "info",
    )


def last_step(known: Sequence[str]) -> int | None:
    """The last step whose metrics are among events with these ids."""
    steps = [event.removeprefix(METRIC_ID).partition("-")[0] for event in known if event.startswith(METRIC_ID)]
    return max((int(step) for step in steps if step.isdecimal()), default=None)


def checkpoints_of(kept: Sequence[Mapping[str, Any]], measured: Sequence[JobEvent]) -> list[Checkpoint]:
    """The checkpoints by step, with the figures measured at the same step.

    Where a step has a merged model and an adapter, the merged model is the checkpoint, as it is of the result.
    """
    figures: dict[int, dict[str, float]] = {}
    for event in measured:
        if event.step is not None:
            figures.setdefault(event.step, {}).update(event.metrics)
    found: dict[int, Checkpoint] = {}
    for item in sorted(kept, key=lambda item: item.get("checkpoint") == "model"):
        step, model = _whole(item.get("step")), item.get("object_id") or item.get("object_name")
        if step is not None and model:
            found[step] = Checkpoint(step, str(model), figures.get(step, {}))
    return [found[step] for step in sorted(found)]


def _resolved(job: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by our names. `max`, the largest batch that fits, is the service's choice."""
    adapter = job.get("training_type")
    given = {name: job.get(theirs) for name, theirs in SETTINGS.items()}
    given |= {name: adapter.get(theirs) for name, theirs in ADAPTER.items()} if isinstance(adapter, Mapping) else {}
    given["lr_scheduler"] = _scheduler(job.get("lr_scheduler"))
    return {name: "auto" if value == "max" else value for name, value in given.items() if value is not None}


def _scheduler(block: Any) -> str | None:
    if not isinstance(block, Mapping):
        return None
    kind, settings = block.get("lr_scheduler_type"), block.get("lr_scheduler_args")
    level = kind == "linear" and isinstance(settings, Mapping) and settings.get("min_lr_ratio") == 1
    return "constant" if level else str(kind)


def _finish(job: Mapping[str, Any], now: float) -> float | None:
    progress = job.get("progress")
    if not isinstance(progress, Mapping) or not progress.get("estimate_available"):
        return None
    left = finite_number(progress.get("seconds_remaining"))
    return None if left is None else now + left


def _is_place(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last in PLACES or last.endswith(("_step", "_epoch"))


def _is_figure(value: Any) -> bool:
    """Whether a value is a number or stands for one that JSON cannot write."""
    words = ("nan", "inf", "-inf", "infinity", "-infinity")
    return value is None or isinstance(value, int | float) or str(value).lower() in words


def _whole(value: Any) -> int | None:
    number = finite_number(value)
    return None if number is None else int(number)


def _time(value: Any) -> float | None:
    """Unix time of a number or an ISO 8601 text; a text without a zone is UTC."""
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    return finite_number(value)
