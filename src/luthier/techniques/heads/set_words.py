"""The baseline for sets of labels: TF-IDF and a logistic regression per label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.label_sets import (
    LabelWeights,
    best_threshold,
    fit_label_weights,
    held_out_shares,
    label_notes,
    set_predictions,
    sets_kind,
    training_sets,
)
from luthier.techniques.heads.row_texts import RowTexts
from luthier.techniques.heads.words import fitted_words, terms_of, words_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LabelSetWords"]

INVERSE_REGULARISATION = 30.0
"""Weaker than for single labels: a label of few rows is all but unlearned otherwise."""


class LabelSetWords:
    """Gives the labels that the words speak for; rebuilt from arrays, so that no pickle is read."""

    base_model: ClassVar[str] = "tf-idf + logistic regression"

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self._vectorizer = words_of(fitted.state["vocabulary"], fitted.arrays["idf"])
        self._weights = LabelWeights(fitted.arrays["coef"], fitted.arrays["intercept"])

    @classmethod
    def fit(cls, spec: Spec, rows: Rows | None) -> Fitted:
        """Fits vocabulary, weights and threshold.

        Raises:
            SpecError: there are no training rows.
            DataError: their labels do not differ, or they hold no words.
        """
        from luthier.tasks.labels.multilabel_metrics import indicators

        known, values = training_sets(spec, rows)
        assert rows is not None
        texts = [text for (text,) in known]
        truth = indicators(sets_kind(spec).labels, values)

        def shares_of(taught: Any, held: Any) -> npt.NDArray[np.float64]:
            vectorizer, matrix = fitted_words([texts[i] for i in taught.tolist()], spec)
            weights = fit_label_weights(matrix, truth[taught], INVERSE_REGULARISATION)
            return weights.shares(vectorizer.transform([texts[i] for i in held.tolist()]))

        shares, judged = held_out_shares(known, sets_kind(spec).strata(values), spec.seed, shares_of)
        threshold, _ = best_threshold(truth[judged], shares)
        vectorizer, matrix = fitted_words(texts, spec)
        weights = fit_label_weights(matrix, truth, INVERSE_REGULARISATION)
        return Fitted(
            spec=spec,
            train_digest=rows.digest_of(spec.columns),
            state={"vocabulary": terms_of(vectorizer), "threshold": threshold, "notes": label_notes(spec, truth)},
            arrays={"idf": vectorizer.idf_, "coef": weights.coef, "intercept": weights.intercept},
        )

    def predictions(self, texts: Sequence[RowTexts]) -> list[Prediction]:
        """One prediction per row: the labels whose probability reaches the threshold."""
        shares = self._weights.shares(self._vectorizer.transform([text for (text,) in texts]))
        free = [CallRecord(cost_usd=0.0)] * len(texts)
        return set_predictions(self._fitted.spec, shares, self._fitted.state["threshold"], free)
