"""The body of a fine-tuning job's creation: what is allowed, and what `auto` becomes."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

from luthier_local.api_errors import invalid_value
from luthier_local.jobs.job_store import now
from luthier_local.jobs.paging import read_metadata
from luthier_local.json_bodies import read_whole, refuse_unknown

__all__ = ["HASHED", "WORDLLAMA_TABLE", "MOST_BATCH", "MOST_EPOCHS", "new_record", "resolved"]

MOST_EPOCHS, MOST_BATCH = 50, 256
WORDLLAMA_TABLE = "wordllama"
HASHED = "hashed"
"""Tables of token vectors that a base model may start from."""

_LONGEST_SUFFIX = 64
_LARGEST_SEED = 2**31 - 1
_KNOWN = {
    "hyperparameters", "integrations", "metadata", "method", "model", "seed", "suffix", "training_file",
    "trainingType", "validation_file",
}  # fmt: skip
_TRAINING_TYPES = ("Standard", "GlobalStandard", "Developer")
_KNOBS = ("batch_size", "learning_rate_multiplier", "n_epochs")


def new_record(body: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The job object of the protocol for a new job.

    Args:
        body: The decoded request; its model and files were looked up before.
        table: Table of token vectors behind the model; kept with the job.

    Raises:
        ApiError: 400, what is wrong with the request.
    """
    refuse_unknown(body, _KNOWN)
    if body.get("integrations"):
        raise invalid_value("integrations", "this server has none to offer; leave it away.", "unsupported_value")
    kind = body.get("trainingType")
    if kind is not None and str(kind).lower().removesuffix("tier") not in {known.lower() for known in _TRAINING_TYPES}:
        raise invalid_value("trainingType", f"expected one of {', '.join(_TRAINING_TYPES)}.")
    knobs = _knobs(body)
    seed = read_whole(body.get("seed"), "seed", 0, _LARGEST_SEED)
    record = {
        "id": f"ftjob-{secrets.token_hex(12)}",
        "object": "fine_tuning.job",
        "model": body["model"],
        "created_at": now(),
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "org-luthier",
        "result_files": [],
        "validation_file": body.get("validation_file"),
        "training_file": body["training_file"],
        "hyperparameters": knobs,
        "method": {"type": "supervised", "supervised": {"hyperparameters": knobs}},
        "trained_tokens": None,
        "error": None,
        "estimated_finish": None,
        "integrations": [],
        "seed": secrets.randbelow(_LARGEST_SEED) if seed is None else seed,
        "suffix": _suffix(body),
        "metadata": read_metadata(body),
        "_table": table,
    }
    return record if kind is None else {**record, "trainingType": kind}


def resolved(record: Mapping[str, Any], examples: int) -> dict[str, Any]:
    """Hyperparameters with a number in place of every `auto`, as two fields of the job's object."""
    knobs = dict(record["hyperparameters"])
    if knobs["batch_size"] == "auto":
        knobs["batch_size"] = min(64, max(4, examples // 128))
    if knobs["n_epochs"] == "auto":
        # About a thousand steps: more for few examples, fewer for many.
        knobs["n_epochs"] = min(25, max(3, round(1000 * knobs["batch_size"] / examples)))
    if knobs["learning_rate_multiplier"] == "auto":
        knobs["learning_rate_multiplier"] = 0.3
    return {
        "hyperparameters": knobs,
        "method": {"type": "supervised", "supervised": {"hyperparameters": knobs}},
    }


def _knobs(body: Mapping[str, Any]) -> dict[str, Any]:
    given, where = body.get("hyperparameters"), "hyperparameters"
    method = body.get("method")
    if method is not None:
        kind = method.get("type") if isinstance(method, dict) else None
        if kind != "supervised":
            raise invalid_value("method.type", f"this server tunes by 'supervised' only, got {str(kind)[:20]!r}.")
        if given:
            raise invalid_value("hyperparameters", "give them under `method`, or here, not both.")
        supervised = method.get("supervised") or {}
        if not isinstance(supervised, dict):
            raise invalid_value("method.supervised", "expected an object.", "invalid_type")
        given, where = supervised.get("hyperparameters"), "method.supervised.hyperparameters"
    given = given or {}
    if not isinstance(given, dict):
        raise invalid_value(where, "expected an object.", "invalid_type")
    refuse_unknown(given, _KNOBS, where)
    knobs = {name: given[name] if given.get(name) is not None else "auto" for name in _KNOBS}
    for name, most in (("batch_size", MOST_BATCH), ("n_epochs", MOST_EPOCHS)):
        if knobs[name] != "auto":
            read_whole(knobs[name], f"{where}.{name}", 1, most, "'auto' or a whole number")
    name, multiplier = f"{where}.learning_rate_multiplier", knobs["learning_rate_multiplier"]
    if multiplier != "auto":
        if isinstance(multiplier, bool) or not isinstance(multiplier, int | float) or not math.isfinite(multiplier):
            raise invalid_value(name, "expected 'auto' or a number.", "invalid_type")
        if multiplier <= 0:
            raise invalid_value(name, f"expected more than 0, got {multiplier:g}.", "decimal_below_min_value")
    return knobs


def _suffix(body: Mapping[str, Any]) -> str | None:
    value = body.get("suffix")
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_SUFFIX:
        raise invalid_value(
            "suffix", f"expected a text of 1 to {_LONGEST_SUFFIX} characters.", "string_above_max_length"
        )
    if not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in value):
        raise invalid_value("suffix", "expected letters, digits, '-', '_' and '.' only.")
    return value
