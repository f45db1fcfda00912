"""The baseline: TF-IDF and what can be learned from it, which any paid model has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.extraction.span_extraction import SpanExtraction
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.labels.deciding import qwk_thresholds
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import TaskType
from luthier.techniques.heads.answering import kept_while_used, label_values, share_predictions
from luthier.techniques.heads.known_names import fit_names, predict_names
from luthier.techniques.heads.pair_words import fit_words_of_pairs, predict_words_of_pairs
from luthier.techniques.heads.set_words import fit_words_of_sets, predict_words_of_sets
from luthier.techniques.heads.training_set import assign_folds, labelled_texts, labels_present
from luthier.techniques.heads.words import fitted_words, words_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Baseline"]

INVERSE_REGULARISATION = 3.0
"""Chosen, with the class weights, on the Yelp validation rows (figures in docs/spec.md)."""

MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class Learner:
    """What is learned for a task type that is no closed set of labels, and how it answers."""

    base_model: str
    fit: Callable[[Spec, Rows | None], Conversation[Fitted]]
    predict: Callable[[Rows, Fitted], Conversation[list[Prediction]]]


LEARNERS: Mapping[type[TaskType], Learner] = {
    MultiLabel: Learner("tf-idf + logistic regression", fit_words_of_sets, predict_words_of_sets),
    SpanExtraction: Learner("names of the training rows", fit_names, predict_names),
    Similarity: Learner("tf-idf cosine", fit_words_of_pairs, predict_words_of_pairs),
}


class Baseline(Spec):
    """Logistic regression on words and word pairs weighted by TF-IDF; calls no model.

    Labels are weighted so that rare ones count as much as frequent ones. A label without training rows gets
    probability 0. For pairs of texts: the cosine of their TF-IDF weights, mapped to a score. For spans: the names that
    training rows mark.

    Examples:
        >>> mood = Task("mood", labels=["good", "bad"])
        >>> Baseline(mood).needs_training
        True
        >>> Baseline.make({"technique": "baseline", "task": mood, "name": "words"}).name
        'words'
    """

    task_types: ClassVar[tuple[type[TaskType], ...]] = (ClosedSet, *LEARNERS)
    technique: Literal["baseline"] = "baseline"

    def __init__(self, task: Task | None = None, /, **data: Any) -> None:
        # Written out, as type checkers would make one of keywords alone from the fields.
        super().__init__(task, **data)

    @property
    def needs_training(self) -> bool:
        """Always."""
        return True

    @property
    def base_model(self) -> str:
        """The kind of model."""
        return "tf-idf + logistic regression" if self._learner is None else self._learner.base_model

    @property
    def _learner(self) -> Learner | None:
        return next((one for kind, one in LEARNERS.items() if isinstance(self.task.kind, kind)), None)

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """Fits vocabulary and weights; the same rows give the same weights.

        Raises:
            SpecError: there are no training rows.
            DataError: the rows hold fewer than two labels, or no words.
        """
        if self._learner is not None:
            return (yield from self._learner.fit(self, rows))
        yield from ()
        texts, labels = labelled_texts(self, rows)
        assert rows is not None
        present = list(labels_present(self, labels))
        targets = [present.index(label) for label in labels]
        vectorizer, regression = fit_sklearn(texts, targets, self)
        thresholds = self._thresholds(texts, targets, present) if self.objective == "qwk" else None
        vocabulary = [str(term) for term in vectorizer.get_feature_names_out()]
        return Fitted(
            spec=self,
            train_digest=rows.digest_of(self.columns),
            state={"labels": present, "vocabulary": vocabulary}
            | ({} if thresholds is None else {"cuts": list(thresholds)}),
            arrays={"idf": vectorizer.idf_, "coef": regression.coef_, "intercept": regression.intercept_},
        )

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """Predictions from the stored arrays alone; nothing is sent anywhere."""
        if self._learner is not None:
            return (yield from self._learner.predict(rows, fitted))
        yield from ()
        sent = [text for text in rows.texts if text is not None]
        found: Iterator[Prediction] = iter(())
        if sent:
            shares = kept_while_used(fitted, _Words).probabilities(sent)
            found = iter(share_predictions(fitted, shares, [CallRecord(cost_usd=0.0)] * len(sent)))
        return [Prediction(None, "empty") if text is None else next(found) for text in rows.texts]

    def _thresholds(
        self, texts: Sequence[str], targets: Sequence[int], labels: Sequence[str]
    ) -> tuple[float, ...] | None:
        """Thresholds on the expected rating, fitted on held-out training rows."""
        import numpy as np

        folds = np.array(assign_folds(texts, targets, self.seed))
        expected = np.zeros(len(texts))
        values = label_values(self.task, labels)
        for fold in sorted({fold for fold in folds.tolist() if fold >= 0}):
            teaching, held = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
            vectorizer, regression = fit_sklearn([texts[i] for i in teaching], [targets[i] for i in teaching], self)
            answers = regression.predict_proba(vectorizer.transform([texts[i] for i in held]))
            expected[held] = answers @ np.asarray(values)
        judged = folds >= 0
        return qwk_thresholds(values, np.array(targets)[judged], expected[judged]) if judged.any() else None


def fit_sklearn(texts: Sequence[str], targets: Sequence[int], spec: Spec) -> tuple[Any, Any]:
    """The fitted vectorizer and regression of scikit-learn.

    Raises:
        DataError: the texts hold no words.
    """
    from sklearn.linear_model import LogisticRegression

    vectorizer, matrix = fitted_words(texts, spec)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=MOST_ITERATIONS)
    return vectorizer, regression.fit(matrix, list(targets))


class _Words:
    """The model rebuilt from arrays, so that no pickle is read."""

    def __init__(self, fitted: Fitted) -> None:
        arrays = fitted.arrays
        self._vectorizer = words_of(fitted.state["vocabulary"], arrays["idf"])
        self._coef = arrays["coef"].T
        self._intercept = arrays["intercept"]

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        from scipy.special import expit, softmax

        decision = self._vectorizer.transform(texts) @ self._coef + self._intercept
        if decision.shape[1] > 1:
            shares: npt.NDArray[np.float64] = softmax(decision, axis=1)
            return shares
        second = expit(decision)
        import numpy as np

        return np.hstack([1 - second, second])
