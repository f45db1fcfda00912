"""The baseline for one label a row: TF-IDF and logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from luthier.spec import Fitted, Spec
from luthier.tasks.labels.deciding import qwk_thresholds
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.answering import label_values, share_predictions
from luthier.techniques.heads.learners import FEW_ROWS
from luthier.techniques.heads.row_texts import RowTexts
from luthier.techniques.heads.training_set import assign_folds, labels_present, training_labels
from luthier.techniques.heads.words import fitted_words, terms_of, words_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LabelWords"]

INVERSE_REGULARISATION = 3.0
"""Chosen, with the class weights, on the Yelp validation rows (figures in docs/spec.md)."""

MOST_ITERATIONS = 1000


class LabelWords:
    """Gives the label that the words speak for; rebuilt from arrays, so that no pickle is read."""

    base_model: ClassVar[str] = "tf-idf + logistic regression"

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self._vectorizer = words_of(fitted.state["vocabulary"], fitted.arrays["idf"])
        self._coef = fitted.arrays["coef"].T
        self._intercept = fitted.arrays["intercept"]

    @classmethod
    def fit(cls, spec: Spec, rows: Rows | None) -> Fitted:
        """Fits vocabulary and weights, and for objective `qwk` thresholds.

        Raises:
            SpecError: there are no training rows.
            DataError: the rows hold fewer than two labels, or no words.
        """
        known, labels = training_labels(spec, rows)
        assert rows is not None
        texts = [text for (text,) in known]
        present = list(labels_present(spec, labels))
        targets = [present.index(label) for label in labels]
        vectorizer, regression = fit_sklearn(texts, targets, spec)
        thresholds = _thresholds(texts, targets, present, spec) if spec.objective == "qwk" else None
        return Fitted(
            spec=spec,
            train_digest=rows.digest_of(spec.columns),
            state={"labels": present, "vocabulary": terms_of(vectorizer)}
            | ({} if thresholds is None else {"cuts": list(thresholds)}),
            arrays={"idf": vectorizer.idf_, "coef": regression.coef_, "intercept": regression.intercept_},
        )

    def predictions(self, texts: Sequence[RowTexts]) -> list[Prediction]:
        """One prediction per row, with the probability of each label."""
        shares = self._probabilities([text for (text,) in texts])
        return share_predictions(self._fitted, shares, [CallRecord(cost_usd=0.0)] * len(texts))

    def _probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        import numpy as np
        from scipy.special import expit, softmax

        decision = self._vectorizer.transform(texts) @ self._coef + self._intercept
        if decision.shape[1] > 1:
            shares: npt.NDArray[np.float64] = softmax(decision, axis=1)
            return shares
        second = expit(decision)
        return np.hstack([1 - second, second])


def fit_sklearn(texts: Sequence[str], targets: Sequence[int], spec: Spec) -> tuple[Any, Any]:
    """The fitted vectorizer and regression of scikit-learn.

    Raises:
        DataError: the texts hold no words.
    """
    from sklearn.linear_model import LogisticRegression

    vectorizer, matrix = fitted_words(texts, spec)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", FEW_ROWS)
        return vectorizer, regression.fit(matrix, list(targets))


def _thresholds(
    texts: Sequence[str], targets: Sequence[int], labels: Sequence[str], spec: Spec
) -> tuple[float, ...] | None:
    """Thresholds on the expected rating, fitted on held-out training rows."""
    import numpy as np

    folds = np.array(assign_folds(texts, targets, spec.seed))
    expected = np.zeros(len(texts))
    values = label_values(spec.task, labels)
    for fold in sorted({fold for fold in folds.tolist() if fold >= 0}):
        teaching, held = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        vectorizer, regression = fit_sklearn([texts[i] for i in teaching], [targets[i] for i in teaching], spec)
        answers = regression.predict_proba(vectorizer.transform([texts[i] for i in held]))
        expected[held] = answers @ np.asarray(values)
    judged = folds >= 0
    return qwk_thresholds(values, np.array(targets)[judged], expected[judged]) if judged.any() else None
