"""Task types of the tests' own: objects with fields, and numbers that are only nearer or farther."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerPart, Column, Judged, Measure, Plots, TaskType


class Form(TaskType):
    """An object with any fields, each right or wrong."""

    value_name: ClassVar[str] = "form"
    value_column: ClassVar[Column] = "text"
    parts_title: ClassVar[str] = "Field by field"
    part_name: ClassVar[str] = "field"
    metrics: ClassVar[Mapping[str, Measure]] = {
        "fields": Measure("fields", "higher", "share", "Share of the fields that are right.")
    }

    def read_truth(self, cell: object) -> dict[str, Any] | None:
        try:
            found = json.loads(cell) if isinstance(cell, str) else cell
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        return {"type": "object"}

    def written(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def _right(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> list[dict[str, bool]]:
        answers = [p.value or {} for p in predictions]
        return [{f: f in a and a[f] == t[f] for f in t} for t, a in zip(truths, answers, strict=True)]

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        right = self._right(truths, predictions)
        found, whole = np.array([sum(one.values()) for one in right]), np.array([len(one) for one in right])
        return Judged(distances=1 - found / whole, sums={"found": found, "whole": whole})

    def from_sums(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        return {"fields": sums["found"] / sums["whole"]}

    def constant(self, truths: Sequence[Any]) -> Prediction:
        return Prediction(truths[0], "ok")

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        right = self._right(truths, predictions)
        parts = []
        for name in dict.fromkeys(name for truth in truths for name in truth):
            hits = [one[name] for one in right if name in one]
            said = sum(name in (p.value or {}) for p in predictions)
            figures = {"precision": sum(hits) / said if said else None, "recall": sum(hits) / len(hits)}
            parts.append(AnswerPart(name, figures, len(hits), said))
        return Plots(parts=tuple(parts))


class Grade(TaskType):
    """A number from 0 to 10."""

    value_name: ClassVar[str] = "grade"
    graded = True
    metrics: ClassVar[Mapping[str, Measure]] = {
        "mae": Measure("MAE", "lower", "number", "Mean distance from the true grade.")
    }

    def read_truth(self, cell: object) -> float | None:
        try:
            return float(str(cell))
        except ValueError:
            return None

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        return {"type": "number"}

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        off = np.abs(np.array([10.0 if p.value is None else p.value for p in predictions]) - np.array(truths))
        return Judged(distances=off, sums={"absolute": off})

    def from_sums(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        return {"mae": sums["absolute"] / sums["rows"]}

    def constant(self, truths: Sequence[Any]) -> Prediction:
        return Prediction(float(np.median(truths)), "ok")

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        return Plots(
            points=tuple((t, p.value) for t, p in zip(truths, predictions, strict=True) if p.value is not None)
        )
