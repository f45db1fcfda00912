"""The dashboard of explained rows: each text with its passages tinted by weight. No model is called.

RAITextInsights asks its model for every text several times, and its own explainer for hundreds of answers a row. Here
the model is a table of the stored predictions, and the weights were computed before, by leaving one passage out.
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from isolated.inputs import DashboardRows
from isolated.page import Dashboard, plain

__all__ = ["text_dashboard"]

TEXT, TARGET = "text", "label"
ROW, WHY, BEGINNING = "row", "chosen as", "text begins"
UNKNOWN = "(not known)"
"""Stands for the truth of a row that has none."""

LONGEST_BEGINNING = 60
"""Characters of a text in the table of rows."""


class StoredPredictions:
    """Looks up the answer to each text."""

    def __init__(self, texts: list[str], labels: np.ndarray[Any, Any], chances: np.ndarray[Any, Any]) -> None:
        self._places = {text: place for place, text in enumerate(texts)}
        self._labels, self._chances = labels, chances

    def predict(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """A label per text."""
        return self._labels[self._of(texts)]

    def predict_proba(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """Probabilities, a row per text and a column per label."""
        return self._chances[self._of(texts)]

    def _of(self, texts: list[str]) -> list[int]:
        return [self._places[text] for text in texts]


def text_dashboard(rows: DashboardRows, explanations: Path) -> Dashboard:
    """The dashboard of the explained rows.

    Args:
        rows: the rows that are explained, at least one.
        explanations: file with a JSON object per row: `row`, `why`, `passages`, and `weights` per label.
    """
    explained = {one["row"]: one for one in map(json.loads, explanations.read_text(encoding="utf-8").splitlines())}
    frame = rows.frame
    found = [explained[row] for row in frame["row"]]
    labels = [*rows.labels, *([UNKNOWN] if frame["truth"].isna().any() else [])]
    own = {ROW: frame["row"], WHY: [one["why"] for one in found], BEGINNING: list(map(_beginning, frame["text"]))}
    features = pd.concat([pd.DataFrame(own), frame[[name for name in rows.features if name not in own]]], axis=1)
    table = pd.DataFrame({TEXT: frame["text"], TARGET: frame["truth"].fillna(UNKNOWN)}).astype(object)
    predicted = frame["prediction"].to_numpy(dtype=object)
    chances = np.array([[float(label == one) for label in labels] for one in predicted])
    if rows.probabilities is not None:
        known = np.isfinite(rows.probabilities).all(axis=1)
        chances[known, : len(rows.labels)] = rows.probabilities[known]
    model = StoredPredictions(list(frame["text"]), predicted, chances)
    data = _data(model, pd.concat([table, features], axis=1), labels, [*rows.categorical, WHY, BEGINNING])
    data["dataset"]["probability_y"] = chances.round(4).tolist()
    data["modelExplanationData"] = [_weights(found, predicted, labels)]
    # A tree of errors among rows that were chosen because they are wrong would say nothing about the model.
    data["errorAnalysisData"] = []
    notes = _notes(found, rows.probabilities is not None)
    return Dashboard("Texts, passage by passage", data, answer=None, explained=True, notes=notes)


def _data(model: StoredPredictions, table: pd.DataFrame, labels: list[str], categorical: list[str]) -> dict[str, Any]:
    insights_of, metadata = _text_insights()
    with warnings.catch_warnings():
        # Each is about a way of use that is not ours.
        warnings.simplefilter("ignore")
        insights = insights_of(
            model,
            table,
            TARGET,
            "text_classification",
            classes=np.array(labels, dtype=object),
            maximum_rows_for_test=len(table),
            text_column=TEXT,
            feature_metadata=metadata(categorical_features=categorical),
        )
        data: dict[str, Any] = plain(insights.get_data())
    return data


def _text_insights() -> tuple[Any, Any]:
    """RAITextInsights that takes the features it is given; its own need spaCy, and a file from the network."""
    name = "responsibleai_text.utils.feature_extractors"
    stand_in: Any = types.ModuleType(name)
    stand_in.extract_features = _features
    stand_in.get_text_columns = lambda frame, column: frame[[column]]
    sys.modules[name] = stand_in
    from responsibleai import FeatureMetadata
    from responsibleai_text import RAITextInsights

    return RAITextInsights, FeatureMetadata


def _features(table: pd.DataFrame, target: str, *_: Any) -> tuple[list[list[Any]], list[str]]:
    features = table.drop(columns=[TEXT, target])
    return features.to_numpy(dtype=object).tolist(), list(features.columns)


def _weights(found: list[dict[str, Any]], predicted: np.ndarray[Any, Any], labels: list[str]) -> dict[str, Any]:
    """The weights as the changed widget reads them: per passage one for each label, then that for the prediction."""
    texts = []
    for one, label in zip(found, predicted, strict=True):
        columns = [*(one["weights"].get(each) for each in labels), one["weights"][label]]
        scores = [[round(weight or 0.0, 4) for weight in column or [0.0] * len(one["passages"])] for column in columns]
        texts.append({"text": one["passages"], "localExplanations": np.array(scores).T.tolist()})
    # Not shown, but read.
    overall = {"featureNames": ["passages"], "scores": [0.0], "intercept": [0.0] * len(labels)}
    return {"precomputedExplanations": {"textFeatureImportance": texts, "globalFeatureImportance": overall}}


def _beginning(text: str) -> str:
    one_line = " ".join(text[: 4 * LONGEST_BEGINNING].split())
    return one_line if len(one_line) <= LONGEST_BEGINNING else f"{one_line[: LONGEST_BEGINNING - 1]}…"


def _notes(found: list[dict[str, Any]], by_probability: bool) -> tuple[str, ...]:
    weight = (
        "how much less likely a label is when the passage alone is left out"
        if by_probability
        else "1 or -1 where the label changes when the passage alone is left out, else 0, as the model gives no "
        "probabilities"
    )
    lost = sum(weight is None for one in found for weight in next(iter(one["weights"].values())))
    notes = [
        f"The {len(found):,} rows were chosen because they matter (wrong, unsure, of a cohort or group): shares and "
        "metrics of them say nothing about the model.",
        f"The weight of a passage is {weight}. Choose a row under Feature importances, Individual.",
    ]
    if lost:
        notes.append(f"{lost:,} passages have no weight, as their question got no answer; they are shown with 0.")
    return tuple(notes)
