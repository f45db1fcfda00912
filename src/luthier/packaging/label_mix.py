"""The labels or scores a packaged model was trained on, or else measured on: what a scored table is held against."""

from __future__ import annotations

from luthier.evaluation.population_stability import LabelMix
from luthier.packaging.folder import ModelFolder
from luthier.packaging.recorded_answers import read_recorded
from luthier.spec import Fitted

__all__ = ["label_mix", "trained_mix"]


def label_mix(fitted: Fitted, folder: ModelFolder) -> LabelMix | None:
    """The labels of a packaged model's training rows, or else of those it was measured on.

    A model that needs no training rows, such as a prompt without examples, has the second only. An earlier Luthier
    kept no counts of training rows.

    Returns:
        `None` where the model kept neither, or its task counts no values.

    Raises:
        ModelError: what the model recorded is damaged.
    """
    trained = trained_mix(fitted)
    if trained is not None or not folder.is_ours:
        return trained
    recorded = read_recorded(folder.data)
    if recorded is None or not any(recorded.labels.values()):
        return None
    return LabelMix("rows it was measured on", dict(recorded.labels), recorded.rows_measured)


def trained_mix(fitted: Fitted) -> LabelMix | None:
    """The labels of the training rows; `None` where none were needed, or none were counted."""
    rows = fitted.train_rows or sum(fitted.train_labels.values())
    if not any(fitted.train_labels.values()):
        return None
    return LabelMix("training rows", {label: count / rows for label, count in fitted.train_labels.items()}, rows)
