"""Texts as weights of their words: TF-IDF over words and word pairs, fitted here and rebuilt from what was stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.errors import DataError
from luthier.spec import Spec

__all__ = ["fitted_words", "terms_of", "words_of"]

MOST_FEATURES = 100_000
"""Most words and word pairs, the most frequent ones; limits the size of a packaged model."""

SINGLE_WORDS_COUNT_BELOW = 200
"""With fewer training rows than this, words that occur in one row only are used as well."""


def fitted_words(texts: Sequence[str], spec: Spec) -> tuple[Any, Any]:
    """The fitted vectorizer of scikit-learn, and the weights of these texts, shape (texts, words).

    Raises:
        DataError: the texts hold no words.
    """
    least = 1 if len(texts) < SINGLE_WORDS_COUNT_BELOW else 2
    vectorizer = _vectorizer(min_df=least, max_features=MOST_FEATURES)
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError as error:
        raise DataError(
            f"spec {spec.name!r}: the {len(texts)} training texts hold no words to learn from ({error}). "
            f"Is {spec.task.text!r} the right text column?"
        ) from error


def words_of(vocabulary: Sequence[str], idf: Any) -> Any:
    """The vectorizer rebuilt from its words and their weights."""
    vectorizer = _vectorizer(vocabulary={term: place for place, term in enumerate(vocabulary)})
    vectorizer.idf_ = idf
    return vectorizer


def terms_of(vectorizer: Any) -> list[str]:
    """The vocabulary of a fitted vectorizer, as JSON values."""
    return [str(term) for term in vectorizer.get_feature_names_out()]


def _vectorizer(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **settings)
