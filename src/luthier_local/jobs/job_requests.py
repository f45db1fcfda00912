"""The body of a fine-tuning job's creation: what is allowed, and what `auto` becomes."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

from luthier_local.api_errors import ApiError, invalid_value
from luthier_local.jobs.job_store import now
from luthier_local.jobs.paging import read_metadata

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
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        raise ApiError(
            400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0], code="unknown_parameter"
        )
    if body.get("integrations"):
        raise invalid_value("integrations", "this server has none to offer; leave it away.", "unsupported_value")
    kind = body.get("trainingType")
    if kind is not None and str(kind).lower().removesuffix("tier") not in {known.lower() for known in _TRAINING_TYPES}:
        raise invalid_value("trainingType", f"expected one of {', '.join(_TRAINING_TYPES)}.")
    knobs = _knobs(body)
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
        "seed": _seed(body),
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
    unknown = sorted(set(given) - set(_KNOBS))
    if unknown:
        raise invalid_value(f"{where}.{unknown[0]}", f"expected one of {', '.join(_KNOBS)}.", "unknown_parameter")
    return {
        "batch_size": _whole(given, "batch_size", MOST_BATCH, where),
        "learning_rate_multiplier": _multiplier(given, where),
        "n_epochs": _whole(given, "n_epochs", MOST_EPOCHS, where),
    }


def _whole(given: Mapping[str, Any], name: str, most: int, where: str) -> Any:
    value = given.get(name)
    if value is None or value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_value(f"{where}.{name}", "expected 'auto' or a whole number.", "invalid_type")
    if not 1 <= value <= most:
        code = "integer_below_min_value" if value < 1 else "integer_above_max_value"
        raise invalid_value(f"{where}.{name}", f"expected 1 to {most}, got {value}.", code)
    return value


def _multiplier(given: Mapping[str, Any], where: str) -> Any:
    value = given.get("learning_rate_multiplier")
    if value is None or value == "auto":
        return "auto"
    name = f"{where}.learning_rate_multiplier"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid_value(name, "expected 'auto' or a number.", "invalid_type")
    if value <= 0:
        raise invalid_value(name, f"expected more than 0, got {value:g}.", "decimal_below_min_value")
    return value


def _seed(body: Mapping[str, Any]) -> int:
    value = body.get("seed")
    if value is None:
        return secrets.randbelow(_LARGEST_SEED)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_SEED:
        raise invalid_value("seed", f"expected a whole number from 0 to {_LARGEST_SEED}.")
    return value


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
