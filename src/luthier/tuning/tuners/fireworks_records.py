"""What Fireworks answers, as records: jobs, lines of a metrics file as events, checkpoints; and its names.

The fields are those of its SDK. It documents neither the lines of a metrics file nor the ids of checkpoints: both are
read as public scripts read them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from luthier.tuning.tuners.tuner import PAUSED, Checkpoint, JobEvent, JobState

__all__ = [
    "THEIRS",
    "checkpoint_of",
    "checkpoint_job",
    "job_events",
    "job_id",
    "last_part",
    "promoted_model",
    "resource_id",
    "state_of",
    "status_of",
]

THEIRS = {
    "epochs": "epochs",
    "batch_size": "batchSizeSamples",
    "learning_rate": "learningRate",
    "lora_rank": "loraRank",
    "weight_decay": "optimizerWeightDecay",
}
"""The service's names of our settings."""

STATUSES = {
    "COMPLETED": "succeeded",
    "EARLY_STOPPED": "succeeded",
    "FAILED": "failed",
    "EXPIRED": "failed",
    "DELETED": "failed",
    "ARCHIVED": "failed",
    "CANCELLED": "cancelled",
    "PAUSED": PAUSED,
    "CREATING": "validating_files",
    "VALIDATING": "validating_files",
    "CREATING_INPUT_DATASET": "validating_files",
    "PENDING": "queued",
    "RE_QUEUEING": "queued",
}
"""The words of `Tuner` for states of a job; any other state is alive, under the service's own word."""

WHY_PAUSED = "Fireworks has paused it, as it does with all jobs of an account that has reached its spending limit"

OUR_JOB = re.compile(r"luthier-([0-9a-f]{16}-\d+)")

CHECKPOINT = re.compile(r"(accounts/[^/]+)/supervisedFineTuningJobs/([^/]+)/checkpoints/([^/]+)")

LONGEST_ID = 63

VALIDATION = re.compile(r"^(?:eval|evaluation|val|validation)[/_]")
NANO = 1e-9


def job_id(token: str) -> str:
    """The id of the job with a token. The service refuses a second job of the same id.

    Examples:
        >>> job_id("0123456789abcdef-1")
        'luthier-0123456789abcdef-1'
    """
    return f"luthier-{token}"


def resource_id(text: str) -> str:
    """A name as the service takes it for an id: a letter, then letters, digits and hyphens, 63 at most.

    Examples:
        >>> resource_id("Tuned_Stars.v2"), resource_id("7-days")
        ('tuned-stars-v2', 'luthier-7-days')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"luthier-{plain}")[:LONGEST_ID].rstrip("-")


def last_part(name: str) -> str:
    """The id in a full name.

    Examples:
        >>> last_part("accounts/stars/datasets/reviews")
        'reviews'
    """
    return name.rsplit("/", 1)[-1]


def checkpoint_job(model: str) -> str | None:
    """The job whose checkpoint has this name, which must become a model to be deployed; `None` for a model."""
    found = CHECKPOINT.fullmatch(model)
    return None if found is None else found[2]


def promoted_model(model: str) -> str:
    """The model that a checkpoint becomes; any other model is itself.

    Examples:
        >>> promoted_model("accounts/stars/supervisedFineTuningJobs/luthier-0123456789abcdef-1/checkpoints/step-40")
        'accounts/stars/models/luthier-0123456789abcdef-1-step-40'
    """
    found = CHECKPOINT.fullmatch(model)
    if found is None:
        return model
    account, job, checkpoint = found.groups()
    return f"{account}/models/{resource_id(f'{job}-{checkpoint}')}"


def status_of(state: Any) -> str:
    """The word of `Tuner` for a state of a job.

    Examples:
        >>> status_of("JOB_STATE_EARLY_STOPPED"), status_of("JOB_STATE_WRITING_RESULTS"), status_of("JOB_STATE_NEW")
        ('succeeded', 'writing_results', 'new')
    """
    word = str(state or "JOB_STATE_UNSPECIFIED").removeprefix("JOB_STATE_")
    return STATUSES.get(word, word.lower())


def state_of(job: Mapping[str, Any]) -> JobState:
    """A job."""
    name, status = str(job.get("name") or ""), status_of(job.get("state"))
    token = OUR_JOB.fullmatch(last_part(name))
    files = (job.get("dataset"), job.get("evaluationDataset"))
    return JobState(
        id=last_part(name),
        status=status,
        base_model=str(job.get("baseModel") or job.get("warmStartFrom") or ""),
        tuned_model=_result(job, name) if status == "succeeded" else None,
        hyperparameters={ours: job[theirs] for ours, theirs in THEIRS.items() if job.get(theirs)},
        error=_said(job, status),
        created=_time(job.get("createTime")),
        token=token[1] if token is not None else None,
        files=tuple(last_part(str(file)) for file in files if file),
        quoted_usd=_dollars(job.get("estimatedCost")),
    )


def _result(job: Mapping[str, Any], name: str) -> str:
    """The full name of the tuned model, which has the id of its job where no other was asked for."""
    model = str(job.get("outputModel") or last_part(name))
    return model if "/" in model else f"{'/'.join(name.split('/')[:2])}/models/{model}"


def _said(job: Mapping[str, Any], status: str) -> str | None:
    told = job.get("status") or {}
    said = str(told.get("message") or "") if told.get("code") not in (None, "OK") else ""
    if not said and job.get("state") in ("JOB_STATE_DELETED", "JOB_STATE_ARCHIVED"):
        said = f"it was {str(job['state']).removeprefix('JOB_STATE_').lower()} at Fireworks"
    if status == PAUSED:
        return f"{WHY_PAUSED}{f' ({said})' if said else ''}"
    return said or None


def _dollars(money: Any) -> float | None:
    """An amount of `google.type.Money`; `None` for none, for 0, and for another currency."""
    if not isinstance(money, Mapping) or money.get("currencyCode") != "USD":
        return None
    return int(money.get("units") or 0) + int(money.get("nanos") or 0) * NANO or None


def job_events(job: Mapping[str, Any], metrics: bytes, total_steps: int | None) -> list[JobEvent]:
    """The state of a job and the lines of its metrics file as events, oldest first; the service itself has none.

    Args:
        job: as the service tells it.
        metrics: JSON lines; empty while there is no file.
        total_steps: number of steps the job will have, where it is known.
    """
    now = _time(job.get("updateTime")) or _time(job.get("createTime")) or 0.0
    found = list(_measured(metrics, now, total_steps))
    status = status_of(job.get("state"))
    message, said = f"Job is {status.replace('_', ' ')}", _said(job, status)
    level = "error" if status == "failed" else "info"
    told = JobEvent(f"state-{job.get('state')}", now, f"{message}: {said}" if said else message, level=level)
    return sorted([*found, told], key=lambda event: event.created)


def _measured(metrics: bytes, now: float, total_steps: int | None) -> Iterator[JobEvent]:
    for line in metrics.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            # The file is read while it is written: its last line may be cut, and is whole at the next look.
            continue
        step = _number(row.get("step")) if isinstance(row, Mapping) else None
        if step is None:
            continue
        inside = row.get("data")
        figures = _figures(inside if isinstance(inside, Mapping) else row)
        message = ", ".join([f"Step {step:.0f}", *(f"{name} {value:.4g}" for name, value in figures.items())])
        created = _time(row.get("timestamp"))
        yield JobEvent(
            # Lines have no ids. Of one step there may be several: of training and of validation.
            f"metrics-{hashlib.sha256(line).hexdigest()[:16]}",
            now if created is None else created,
            message,
            int(step),
            figures,
            total_steps,
        )


def _figures(data: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers by the names OpenAI gives them: `train_loss`, `valid_loss`."""
    found = {}
    for name, given in data.items():
        value = _number(given)
        if value is not None and name not in ("step", "timestamp"):
            found[VALIDATION.sub("valid_", name).replace("/", "_")] = value
    return found


def checkpoint_of(row: Mapping[str, Any], metrics: Mapping[int, Mapping[str, float]]) -> Checkpoint | None:
    """A checkpoint that can become a model; `None` for one that cannot, or whose step is not known.

    Args:
        row: as the service tells it.
        metrics: figures by step.
    """
    counted = re.search(r"(\d+)\D*$", last_part(str(row.get("name") or "")))
    if not row.get("promotable") or counted is None:
        return None
    step = int(counted[1])
    return Checkpoint(step, str(row["name"]), metrics.get(step, {}))


def _time(given: Any) -> float | None:
    """Unix time of a moment in RFC 3339 or in Unix time."""
    if not isinstance(given, str):
        return _number(given)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _number(value: Any) -> float | None:
    """A finite number; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
