"""Figures of a job as MLflow takes them: their names, and those of a result file by step."""

from __future__ import annotations

import io
import math
import re

__all__ = ["Point", "metric_key", "points_of"]

SPELLINGS = {"validation_mean_token_accuracy": "valid_mean_token_accuracy"}
"""Metrics that Azure's result files spell otherwise than its events."""

MOST_POINTS = 1000
"""Steps of a result file that become points of a metric; the file itself is kept whole."""

Point = tuple[str, float, float, int]
"""Name, value, Unix time and step of a metric."""


def metric_key(name: str) -> str:
    """What MLflow calls a figure that a service reported: MLflow takes no other characters, and one word for a thing.

    Examples:
        >>> metric_key("eval@last"), metric_key("validation_mean_token_accuracy")
        ('eval_last', 'valid_mean_token_accuracy')
    """
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", SPELLINGS.get(name, name))


def points_of(text: str, created: float) -> list[Point]:
    """The finite figures of a result file by step; of a long file some steps, the last among them."""
    import pandas as pd

    try:
        frame = pd.read_csv(io.StringIO(text), on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        return []
    if "step" not in frame:
        return []
    stride = -(-len(frame) // MOST_POINTS)
    kept = [place for place in range(len(frame)) if place % stride == 0 or place == len(frame) - 1]
    return [
        (str(name), float(line[name]), created, int(line["step"]))
        for line in frame.iloc[kept].to_dict("records")
        if math.isfinite(line["step"])
        for name in line
        if name != "step" and math.isfinite(line[name])
    ]
