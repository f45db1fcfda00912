"""The baseline for pairs of texts: how many pieces of words the two share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.spec import Conversation, Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.answering import kept_while_used
from luthier.techniques.heads.pair_scores import PairScorer, fitted_curve
from luthier.techniques.heads.pairs import Pair, kind_of, pair_of, training_pairs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["fit_words_of_pairs", "predict_words_of_pairs"]

MOST_FEATURES = 50_000
"""Most pieces of words, the most frequent ones; limits the size of a packaged model."""


def fit_words_of_pairs(spec: Spec, rows: Rows | None) -> Conversation[Fitted]:
    """Fits the weights of the pieces and the curve from cosines to scores; calls no model.

    Pieces of three to five characters, not words: `forgot` and `forgotten` share some. Measured in docs/similarity.md.

    Raises:
        SpecError: there are no training rows.
        DataError: they all have one score.
    """
    import numpy as np

    yield from ()
    pairs, scores = training_pairs(spec, rows)
    assert rows is not None
    vectorizer = _vectorizer(max_features=MOST_FEATURES)
    vectorizer.fit([text for pair in pairs for text in pair])
    curve = fitted_curve(_cosines(vectorizer, pairs), np.array(scores))
    return Fitted(
        spec=spec,
        train_digest=rows.digest_of(spec.columns),
        state={"vocabulary": [str(term) for term in vectorizer.get_feature_names_out()]},
        arrays={"idf": vectorizer.idf_, **curve},
    )


def predict_words_of_pairs(rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
    """Predictions from the stored arrays alone; nothing is sent anywhere."""
    yield from ()
    pairs = [pair_of(fitted.spec, row) for row in rows.inputs]
    known = [pair for pair in pairs if pair is not None]
    found = iter(kept_while_used(fitted, _SharedPieces).scores(known) if known else ())
    free = CallRecord(cost_usd=0.0)
    return [Prediction(None, "empty") if pair is None else Prediction(next(found), "ok", call=free) for pair in pairs]


class _SharedPieces:
    """The model rebuilt from arrays, so that no pickle is read."""

    def __init__(self, fitted: Fitted) -> None:
        kind = kind_of(fitted.spec)
        self._vectorizer = _vectorizer(vocabulary={term: i for i, term in enumerate(fitted.state["vocabulary"])})
        self._vectorizer.idf_ = fitted.arrays["idf"]
        self._scorer = PairScorer(fitted.arrays, kind.low, kind.high)

    def scores(self, pairs: Sequence[Pair]) -> list[float]:
        found: list[float] = self._scorer.of_cosines(_cosines(self._vectorizer, pairs)).tolist()
        return found


def _cosines(vectorizer: Any, pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """Of the weighted pieces of both texts; 0 where one has none that is known."""
    import numpy as np

    first, second = (vectorizer.transform([pair[side] for pair in pairs]) for side in (0, 1))
    return np.asarray(first.multiply(second).sum(axis=1), dtype=float).ravel()


def _vectorizer(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, **settings)
