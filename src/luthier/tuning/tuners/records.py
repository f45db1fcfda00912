"""What a service of OpenAI's protocol answers, read into our records: lists, jobs, events, checkpoints, files."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from luthier.tuning.tuners.tuner import Checkpoint, JobEvent

__all__ = [
    "THEIRS",
    "TOKEN",
    "carries",
    "checkpoint_of",
    "created",
    "event_of",
    "every",
    "number",
    "pages",
    "plain",
    "resolved",
    "token_of",
]

TOKEN = "luthier"
"""Metadata key that carries the token of a job."""

THEIRS = {"epochs": "n_epochs", "batch_size": "batch_size", "learning_rate_multiplier": "learning_rate_multiplier"}
"""The service's names of our settings."""

OUR_TOKEN = re.compile(r"([0-9a-f]{16}-\d+)(?:$|:)")

STEP = re.compile(r"\bstep\s+(\d+)\s*/\s*(\d+)", re.I)


def pages(first: Any) -> Iterator[list[dict[str, Any]]]:
    """Page after page of a list, until one repeats: some servers give all at once, whatever page they are asked for."""
    seen: set[str] = set()
    for page in first.iter_pages():
        items = [item.to_dict() for item in page.data]
        new = [item for item in items if str(item.get("id")) not in seen]
        if items and not new:
            return
        seen |= {str(item.get("id")) for item in new}
        yield new


def every(first: Any) -> Iterator[dict[str, Any]]:
    """Every item of a list, page after page."""
    for page in pages(first):
        yield from page


def carries(job: Mapping[str, Any], token: str) -> bool:
    """Whether a job was submitted with this token: its metadata say so, its suffix, or the name of its result."""
    if (job.get("metadata") or {}).get(TOKEN) == token:
        return True
    suffix = str(job.get("user_provided_suffix") or job.get("suffix") or "")
    return suffix.endswith(token) or f"{token}:" in f"{job.get('fine_tuned_model') or ''}:"


def token_of(job: Mapping[str, Any]) -> str | None:
    """The token of a job: in its metadata, else at the end of its suffix, or of the name of what it made."""
    told = (job.get("metadata") or {}).get(TOKEN)
    if told is not None:
        return str(told)
    for field in ("user_provided_suffix", "suffix", "fine_tuned_model"):
        found = OUR_TOKEN.search(str(job.get(field) or ""))
        if found:
            return found.group(1)
    return None


def resolved(job: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters by our names; a number wins over `auto`, wherever the service puts it."""
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
    data = event.get("data") if isinstance(event.get("data"), Mapping) else {}
    assert isinstance(data, Mapping)
    message = str(event.get("message") or "")
    counted = STEP.search(message)
    step, total = data.get("step"), data.get("total_steps")
    if step is None and counted:
        step = counted.group(1)
    if total is None and counted:
        total = counted.group(2)
    return JobEvent(
        id=str(event.get("id")),
        created=created(event),
        message=message,
        step=None if step is None else int(float(step)),
        metrics=figures(data) if step is not None else {},
        total_steps=None if total is None else int(float(total)),
        level=str(event.get("level") or "info"),
    )


def checkpoint_of(item: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint with its figures."""
    step, model = int(item.get("step_number") or 0), str(item.get("fine_tuned_model_checkpoint"))
    return Checkpoint(step, model, figures(item.get("metrics")))


def figures(data: Any) -> dict[str, float]:
    """The finite numbers of a metrics block, without the step they belong to."""
    if not isinstance(data, Mapping):
        return {}
    numbers = {str(name): number(value) for name, value in data.items() if name not in ("step", "total_steps")}
    return {name: value for name, value in numbers.items() if value is not None}


def number(value: Any) -> float | None:
    """A finite number, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def created(event: Mapping[str, Any]) -> float:
    """Unix time of an event."""
    return number(event.get("created_at")) or 0.0


def plain(content: bytes) -> bytes:
    """A result file as text; some services send its base64."""
    if b"," in content or b"\n" in content.strip():
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return content
