"""The head over sets of labels: a logistic regression per label on the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.providers.exchange import Conversation, ProgressEvent
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.heads.head import Head, HeadMethod, LearnedHead, refused_of_single_texts
from luthier.techniques.heads.label_sets import (
    LabelWeights,
    best_threshold,
    fit_label_weights,
    held_out_shares,
    label_notes,
    set_predictions,
    sets_differ,
    sets_kind,
    training_sets,
)
from luthier.techniques.heads.row_texts import RowTexts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["LabelSetHead"]

STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse regularisation on standardised vectors; the best on held-out rows is taken."""


class LabelSetHead:
    """Gives any number of labels to a row, by a logistic regression per label on the vectors."""

    def refusal(self, method: HeadMethod, task: Task) -> str | None:
        """`logistic` alone can."""
        if method in ("ordinal", "regression", "automl"):
            return f"head {method} chooses one label; task {task.name!r} gives several: take logistic"
        return refused_of_single_texts(method, task)

    def training_rows(self, spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[list[str]]]:
        """Texts and labels of the training rows that have both."""
        return training_sets(spec, rows)

    def can_learn(self, spec: Spec, truths: Sequence[Sequence[str]]) -> bool:
        """Whether some label is true of some rows and not of others."""
        return sets_differ(spec, truths)

    def learn(
        self, spec: Spec, head: Head, texts: Sequence[RowTexts], truths: Sequence[list[str]], vectors: Sequence[Floats]
    ) -> Conversation[LearnedHead]:
        """Chooses regularisation and threshold on held-out rows, then fits each label on all rows."""
        import numpy as np

        from luthier.tasks.labels.multilabel_metrics import indicators

        (features,) = vectors
        truth = indicators(sets_kind(spec).labels, truths)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale < 1e-12] = 1.0
        scaled = (features - mean) / scale
        strata = sets_kind(spec).strata(truths)
        trials: list[dict[str, Any]] = []
        best: tuple[float, float, float] | None = None
        for strength in STRENGTHS:
            yield ProgressEvent(
                "head", len(trials), len(STRENGTHS) + 1, f"logistic regression per label, C {strength:g}"
            )

            def shares_of(taught: Any, held: Any, strength: float = strength) -> Floats:
                return fit_label_weights(scaled[taught], truth[taught], strength).shares(scaled[held])

            shares, judged = held_out_shares(texts, strata, spec.seed, shares_of)
            threshold, score = best_threshold(truth[judged], shares)
            if best is None or (score is not None and score > best[0]):
                best = (score or 0.0, strength, threshold)
            trials.append(
                {
                    "trial": len(trials) + 1,
                    "estimator": "logistic per label",
                    "as": "classifier",
                    "settings": {"C": strength},
                    "measure": "micro F1",
                    "score": score,
                    "best": best[0],
                }
            )
            if score is None:
                break
        assert best is not None
        weights = fit_label_weights(scaled, truth, best[1])
        coef = weights.coef / scale
        return LearnedHead(
            arrays={"coef": np.ascontiguousarray(coef), "intercept": weights.intercept - coef @ mean},
            trials=trials,
            notes=[*label_notes(spec, truth), _chosen(trials, best)],
            state={"threshold": best[2]},
        )

    def predictions(self, fitted: Fitted, vectors: Sequence[Floats], calls: Sequence[CallRecord]) -> list[Prediction]:
        """The labels whose probability reaches the threshold."""
        weights = LabelWeights(fitted.arrays["coef"], fitted.arrays["intercept"])
        return set_predictions(fitted.spec, weights.shares(vectors[0]), fitted.state["threshold"], calls)


def _chosen(trials: Sequence[dict[str, Any]], best: tuple[float, float, float]) -> str:
    if trials[0]["score"] is None:
        return "Too few training rows to hold any out: a label is given from a probability of one half."
    return (
        f"A logistic regression per label with C {best[1]:g}, and labels given from a probability of {best[2]:.2f}: "
        f"the best of {len(trials)} on held-out training rows (micro F1 {best[0]:.4f})."
    )
