"""Writes a JSON value that satisfies a schema, choosing enumerated values by how the row sounds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from luthier_local.lexicon import VALENCE
from luthier_local.prompt_reading import PromptReading

__all__ = ["Piece", "write_json"]

Piece = tuple[str, Sequence[tuple[str, float]]]
"""A stretch of the text, with its rivals and their unnormalised log-probabilities, if any."""

Pick = Callable[[list[tuple[str, float]]], int]

_DEEPEST = 12


def write_json(schema: dict[str, Any], reading: PromptReading, pick: Pick) -> list[Piece]:
    """The pieces of one JSON object; joined, they satisfy the schema (its common keywords)."""
    if not schema:
        best = max(reading.answers, key=lambda scored: scored[1])[0]
        return [('{"label": ', ()), *_choice([best], reading, pick), ("}", ())]

    def write(part: dict[str, Any], depth: int) -> list[Piece]:
        if depth > _DEEPEST:
            return [("null", ())]
        if "$ref" in part:
            target: Any = schema
            for name in str(part["$ref"]).lstrip("#/").split("/"):
                target = target.get(name, {}) if isinstance(target, dict) else {}
            return write(target, depth + 1)
        if "const" in part:
            return [(json.dumps(part["const"], ensure_ascii=False), ())]
        if part.get("enum"):
            return _choice(part["enum"], reading, pick)
        for union in ("anyOf", "oneOf"):
            if part.get(union):
                consts = [branch["const"] for branch in part[union] if "const" in branch]
                if len(consts) == len(part[union]):
                    return _choice(consts, reading, pick)
                return write(part[union][0], depth + 1)
        kind = part.get("type", "object" if "properties" in part else "string")
        if isinstance(kind, list):
            kind = kind[0]
        if kind == "object":
            pieces: list[Piece] = [("{", ())]
            for i, (name, value) in enumerate(part.get("properties", {}).items()):
                pieces.append((f"{', ' if i else ''}{json.dumps(name, ensure_ascii=False)}: ", ()))
                pieces += write(value, depth + 1)
            return [*pieces, ("}", ())]
        if kind == "array":
            pieces = [("[", ())]
            for i in range(int(part.get("minItems", 0))):
                pieces += [(", ", ())] if i else []
                pieces += write(part.get("items", {"type": "string"}), depth + 1)
            return [*pieces, ("]", ())]
        if kind == "boolean":
            return _choice([True, False], reading, pick)
        if kind == "integer":
            low, high = _bounds(part, 1)
            if high - low <= 1000:
                return _choice(list(range(math.ceil(low), math.floor(high) + 1)), reading, pick)
            return [(str(math.ceil(low)), ())]
        if kind == "number":
            low, high = _bounds(part, 0.001)
            share = min(1.0, max(0.0, (reading.polarity + 1) / 2))
            return [(json.dumps(round(low + share * (high - low), 4)), ())]
        if kind == "null":
            return [("null", ())]
        said = "good" if reading.polarity > 0 else "bad"
        said = said.ljust(int(part.get("minLength", 0)), ".")[: int(part.get("maxLength", 1 << 20))]
        return [(json.dumps(said), ())]

    return write(schema, 0)


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    low: float | None = schema.get("minimum")
    high: float | None = schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is None:
        return (1, 5) if high is None else (high - 4, high)
    return low, (low + 4 if high is None else high)


def _choice(values: Sequence[Any], reading: PromptReading, pick: Pick) -> list[Piece]:
    known = dict(reading.answers)
    scored: list[tuple[str, float]] = []
    numeric = sorted(float(value) for value in map(str, values) if value.replace(".", "", 1).lstrip("-").isdigit())
    for i, value in enumerate(values):
        name = str(value)
        valence = VALENCE.get(name.lower())
        if valence is None and len(numeric) == len(values) and numeric[0] < numeric[-1]:
            valence = 2 * (float(name) - numeric[0]) / (numeric[-1] - numeric[0]) - 1
        wobble = reading.noise[(i * 7 + len(name)) & 63] / 127.5 - 1
        if valence is not None:
            logit = 0.6 * wobble - 3 * (reading.polarity - valence) ** 2
        else:
            logit = max(-8.0, known.get(name, -6.0)) / 4 + wobble
        scored.append((json.dumps(value, ensure_ascii=False), logit))
    scored.sort(key=lambda pair: (-pair[1], pair[0]))
    return [(scored[pick(scored)][0], scored)]
