"""The baseline for pairs of texts: how many pieces of words the two share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.pair_scores import PairScorer, fitted_curve, kind_of, training_pairs
from luthier.techniques.heads.row_texts import RowTexts
from luthier.techniques.heads.words import terms_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PairWords"]

MOST_FEATURES = 50_000
"""Most pieces of words, the most frequent ones; limits the size of a packaged model."""


class PairWords:
    """Scores a pair by the pieces of words that its texts share; rebuilt from arrays, so that no pickle is read.

    Pieces of three to five characters, not words: `forgot` and `forgotten` share some. Measured in docs/similarity.md.
    """

    base_model: ClassVar[str] = "tf-idf cosine"

    def __init__(self, fitted: Fitted) -> None:
        kind = kind_of(fitted.spec)
        self._vectorizer = _vectorizer(vocabulary={term: i for i, term in enumerate(fitted.state["vocabulary"])})
        self._vectorizer.idf_ = fitted.arrays["idf"]
        self._scorer = PairScorer(fitted.arrays, kind.low, kind.high)

    @classmethod
    def fit(cls, spec: Spec, rows: Rows | None) -> Fitted:
        """Fits the weights of the pieces and the curve from cosines to scores.

        Raises:
            SpecError: there are no training rows.
            DataError: they all have one score.
        """
        import numpy as np

        pairs, scores = training_pairs(spec, rows)
        assert rows is not None
        vectorizer = _vectorizer(max_features=MOST_FEATURES)
        vectorizer.fit([text for pair in pairs for text in pair])
        curve = fitted_curve(_cosines(vectorizer, pairs), np.array(scores))
        return Fitted(
            spec=spec,
            train_digest=rows.digest_of(spec.columns),
            state={"vocabulary": terms_of(vectorizer)},
            arrays={"idf": vectorizer.idf_, **curve},
        )

    def predictions(self, texts: Sequence[RowTexts]) -> list[Prediction]:
        """One score per pair."""
        scores = self._scorer.of_cosines(_cosines(self._vectorizer, texts)).tolist()
        return [Prediction(score, "ok", call=CallRecord(cost_usd=0.0)) for score in scores]


def _cosines(vectorizer: Any, pairs: Sequence[RowTexts]) -> npt.NDArray[np.float64]:
    """Of the weighted pieces of both texts; 0 where one has none that is known."""
    import numpy as np

    first, second = (vectorizer.transform([pair[side] for pair in pairs]) for side in (0, 1))
    return np.asarray(first.multiply(second).sum(axis=1), dtype=float).ravel()


def _vectorizer(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, **settings)
