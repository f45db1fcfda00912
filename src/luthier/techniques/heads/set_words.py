"""The baseline for sets of labels: TF-IDF and a logistic regression per label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.answering import kept_while_used
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
from luthier.techniques.heads.words import fitted_words, words_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["fit_words_of_sets", "predict_words_of_sets"]

INVERSE_REGULARISATION = 30.0
"""Weaker than for single labels: a label of few rows is all but unlearned otherwise."""


def fit_words_of_sets(spec: Spec, rows: Rows | None) -> Conversation[Fitted]:
    """Fits vocabulary, weights and threshold; calls no model.

    Raises:
        SpecError: there are no training rows.
        DataError: their labels do not differ, or they hold no words.
    """
    from luthier.tasks.labels.multilabel_metrics import indicators

    yield from ()
    texts, values = training_sets(spec, rows)
    assert rows is not None
    truth = indicators(sets_kind(spec).labels, values)

    def shares_of(taught: Any, held: Any) -> npt.NDArray[np.float64]:
        vectorizer, matrix = fitted_words([texts[i] for i in taught.tolist()], spec)
        weights = fit_label_weights(matrix, truth[taught], INVERSE_REGULARISATION)
        return weights.shares(vectorizer.transform([texts[i] for i in held.tolist()]))

    shares, judged = held_out_shares(texts, sets_kind(spec).strata(values), spec.seed, shares_of)
    threshold, _ = best_threshold(truth[judged], shares)
    vectorizer, matrix = fitted_words(texts, spec)
    weights = fit_label_weights(matrix, truth, INVERSE_REGULARISATION)
    return Fitted(
        spec=spec,
        train_digest=rows.digest_of(spec.columns),
        state={
            "vocabulary": [str(term) for term in vectorizer.get_feature_names_out()],
            "threshold": threshold,
            "notes": label_notes(spec, truth),
        },
        arrays={"idf": vectorizer.idf_, "coef": weights.coef, "intercept": weights.intercept},
    )


def predict_words_of_sets(rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
    """Predictions from the stored arrays alone; nothing is sent anywhere."""
    yield from ()
    sent = [text for text in rows.texts if text is not None]
    found: Iterator[Prediction] = iter(())
    if sent:
        shares = kept_while_used(fitted, _WordsOfSets).shares(sent)
        free = [CallRecord(cost_usd=0.0)] * len(sent)
        found = iter(set_predictions(fitted.spec, shares, fitted.state["threshold"], free))
    return [Prediction(None, "empty") if text is None else next(found) for text in rows.texts]


class _WordsOfSets:
    """The model rebuilt from arrays, so that no pickle is read."""

    def __init__(self, fitted: Fitted) -> None:
        self._vectorizer = words_of(fitted.state["vocabulary"], fitted.arrays["idf"])
        self._weights = LabelWeights(fitted.arrays["coef"], fitted.arrays["intercept"])

    def shares(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return self._weights.shares(self._vectorizer.transform(texts))
