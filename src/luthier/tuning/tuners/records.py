"""What a service of OpenAI's protocol answers, as records: jobs, events, checkpoints, files."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Any

from luthier.tuning.tuners.tuner import Checkpoint, JobEvent, JobState

__all__ = [
    "THEIRS",
    "TOKEN",
    "checkpoint_of",
    "event_of",
    "finite_number",
    "plain",
    "state_of",
    "token_in",
]

TOKEN = "luthier"
"""Metadata key that carries the token of a job."""

THEIRS = {"epochs": "n_epochs", "batch_size": "batch_size", "learning_rate_multiplier": "learning_rate_multiplier"}
"""The service's names of our settings."""

OUR_TOKEN = re.compile(r"([0-9a-f]{16}-\d+)(?:$|:)")

STEP = re.compile(r"\bstep\s+(\d+)\s*/\s*(\d+)", re.I)


def state_of(job: Mapping[str, Any]) -> JobState:
    """A job."""
    error = job.get("error") or {}
    said = error.get("message") if isinstance(error, Mapping) else str(error)
    files = (job.get("training_file"), job.get("validation_file"))
    return JobState(
        id=str(job.get("id") or ""),
        status=str(job.get("status") or "unknown"),
        base_model=str(job.get("model") or ""),
        tuned_model=job.get("fine_tuned_model") or None,
        hyperparameters=_resolved(job),
        trained_tokens=_whole(job.get("trained_tokens")),
        error=str(said) if said else None,
        created=finite_number(job.get("created_at")),
        estimated_finish=finite_number(job.get("estimated_finish")),
        result_files=tuple(str(file) for file in job.get("result_files") or ()),
        token=token_in(job),
        files=tuple(str(file) for file in files if file),
        seed=_whole(job.get("seed")),
        finished=finite_number(job.get("finished_at")),
        suffix=str(job.get("user_provided_suffix") or job.get("suffix") or "") or None,
    )


def token_in(job: Mapping[str, Any]) -> str | None:
    """The token of a job: in its metadata, else at the end of its suffix or in the result's name."""
    told = (job.get("metadata") or {}).get(TOKEN)
    if told is not None:
        return str(told)
    fields = ("user_provided_suffix", "suffix", "fine_tuned_model")
    found = filter(None, (OUR_TOKEN.search(str(job.get(field) or "")) for field in fields))
    return next((match[1] for match in found), None)


def _resolved(job: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters by our names; a number takes precedence over `auto`, wherever the service puts it."""
    inside = ((job.get("method") or {}).get("supervised") or {}).get("hyperparameters") or {}
    outside = job.get("hyperparameters") or {}
    found: dict[str, Any] = {}
    for name, theirs in THEIRS.items():
        values = [given.get(theirs) for given in (outside, inside) if given.get(theirs) is not None]
        if values:
            found[name] = next((value for value in values if value != "auto"), "auto")
    return found


def event_of(event: Mapping[str, Any]) -> JobEvent:
    """An event; where its data hold no step, its message may."""
    data = event.get("data")
    if not isinstance(data, Mapping):
        data = {}
    message = str(event.get("message") or "")
    counted = STEP.search(message)
    step, total = data.get("step"), data.get("total_steps")
    if counted:
        step, total = (counted[1] if step is None else step), (counted[2] if total is None else total)
    return JobEvent(
        id=str(event.get("id")),
        created=finite_number(event.get("created_at")) or 0.0,
        message=message,
        step=None if step is None else int(float(step)),
        metrics=_figures(data) if step is not None else {},
        total_steps=None if total is None else int(float(total)),
        level=str(event.get("level") or "info"),
    )


def checkpoint_of(item: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint with its figures."""
    step, model = int(item.get("step_number") or 0), str(item.get("fine_tuned_model_checkpoint"))
    return Checkpoint(step, model, _figures(item.get("metrics")))


def _figures(data: Any) -> dict[str, float]:
    """The finite numbers of a metrics block, without the step they belong to."""
    if not isinstance(data, Mapping):
        return {}
    numbers = {str(name): finite_number(value) for name, value in data.items() if name not in ("step", "total_steps")}
    return {name: value for name, value in numbers.items() if value is not None}


def _whole(value: Any) -> int | None:
    """A whole number; `None` for anything else."""
    number = finite_number(value)
    return None if number is None else int(number)


def finite_number(value: Any) -> float | None:
    """A finite number; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def plain(content: bytes) -> bytes:
    """A result file as text; some services send its base64."""
    if b"," in content or b"\n" in content.strip():
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return content
