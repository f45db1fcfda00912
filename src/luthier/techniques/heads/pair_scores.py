"""Scores of pairs from two vectors: a curve over their cosine, and a ridge regression on how they differ."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.providers.exchange import Conversation, ProgressEvent
from luthier.spec import Spec
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.task import Rows
from luthier.techniques.heads.learners import one_thread
from luthier.techniques.heads.row_texts import RowTexts, labelled_texts
from luthier.techniques.heads.training_set import FOLDS, assign_folds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = [
    "PairScorer",
    "PairTrial",
    "cosines_of",
    "fit_pair_scorer",
    "fitted_curve",
    "kind_of",
    "straight_curve",
    "training_pairs",
    "unit_rows",
]

PENALTIES = (100_000.0, 30_000.0, 10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0)
"""Of the ridge regression on standardised features, from strong to weak; stronger ones change nothing."""


@dataclass(frozen=True)
class PairScorer:
    """Scores pairs of vectors; as plain arrays, so that no pickle is read. Both orders of a pair get one score.

    Attributes:
        arrays: `cosines`, `scores`: the curve, by its corners; `coef`, `intercept`: of the regression, if there is one.
        low: the lowest score.
        high: the highest score.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    low: float
    high: float

    def scores(self, first: Floats, second: Floats) -> Floats:
        """A score per pair, within the scale; it does not depend on the other pairs.

        Args:
            first: vectors of the first texts, shape (pairs, dimensions).
            second: of the second texts.
        """
        import numpy as np

        first, second = unit_rows(first), unit_rows(second)
        found = self.of_cosines(cosines_of(first, second))
        if "coef" in self.arrays:
            # Not a matrix product: the last digits of one depend on the number of rows.
            said = np.einsum("rd,d->r", pair_features(first, second), self.arrays["coef"])
            found = found + said + float(self.arrays["intercept"])
        return np.asarray(np.clip(found, self.low, self.high))

    def of_cosines(self, cosines: Floats) -> Floats:
        """The curve at these cosines."""
        import numpy as np

        return np.asarray(np.interp(cosines, self.arrays["cosines"], self.arrays["scores"]))


@dataclass(frozen=True)
class PairTrial:
    """A regression, scored by cross-validation.

    Attributes:
        penalty: of the ridge regression; `None` for the curve alone.
        error: mean squared error on held-out pairs; `None` where none could be held out.
    """

    penalty: float | None
    error: float | None


def kind_of(spec: Spec) -> Similarity:
    """The task type of a spec for pairs."""
    kind = spec.task.kind
    assert isinstance(kind, Similarity)
    return kind


def training_pairs(spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[float]]:
    """Texts and scores of the training rows that have all of them.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column, or all have one score.
    """
    pairs, scores = labelled_texts(spec, rows)
    if len(set(scores)) < 2:
        assert rows is not None
        raise DataError(
            f"spec {spec.name!r} needs training rows with at least 2 different scores; the {len(rows)} training rows "
            f"hold {len(set(scores))}. Give more rows with --train."
        )
    return pairs, scores


def unit_rows(vectors: Floats) -> Floats:
    """The vectors scaled to length 1; zero vectors stay as they are."""
    import numpy as np

    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def cosines_of(first: Floats, second: Floats) -> Floats:
    """The cosine of each pair of vectors of length 1."""
    found: Floats = (first * second).sum(axis=1)
    return found


def pair_features(first: Floats, second: Floats) -> Floats:
    """What a pair is like, in whichever order: distance and product of the vectors, number by number."""
    import numpy as np

    return np.hstack([abs(first - second), first * second])


def straight_curve(low: float, high: float) -> dict[str, Floats]:
    """From the lowest score at cosine 0 and below to the highest at cosine 1."""
    import numpy as np

    return {"cosines": np.array([0.0, 1.0]), "scores": np.array([low, high], dtype=float)}


def fitted_curve(cosines: Floats, scores: Floats) -> dict[str, Floats]:
    """The rising curve with the least squared error: an isotonic regression of scores on cosines."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(cosines, scores)
    return {"cosines": fitted.X_thresholds_, "scores": fitted.y_thresholds_}


def fit_pair_scorer(
    first: Floats, second: Floats, scores: Floats, keys: Sequence[Hashable], ends: tuple[float, float], seed: int
) -> Conversation[tuple[PairScorer, tuple[PairTrial, ...]]]:
    """Fits the curve, and on what it leaves over a ridge regression, if one does better on held-out pairs.

    Args:
        first: vectors of the first texts, shape (pairs, dimensions).
        second: of the second texts.
        scores: the true score of each pair.
        keys: equal for pairs that have to be held out together, such as two with the same texts.
        ends: the lowest and the highest score.
        seed: of the folds.
    """
    import numpy as np

    first, second = unit_rows(first), unit_rows(second)
    cosines, features = cosines_of(first, second), pair_features(first, second)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    features -= mean
    features /= scale
    fifths = np.minimum(4, (scores - ends[0]) / (ends[1] - ends[0]) * 5).astype(int).tolist()
    folds = np.array(assign_folds(keys, fifths, seed))
    squared: dict[float | None, list[Floats]] = {}
    for fold in range(FOLDS):
        held, taught = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        yield ProgressEvent("head", fold, FOLDS, f"fold {fold + 1} of {FOLDS}")
        if not len(held) or not len(taught):
            continue
        curve = PairScorer(fitted_curve(cosines[taught], scores[taught]), *ends)
        rest = scores[taught] - curve.of_cosines(cosines[taught])
        base = curve.of_cosines(cosines[held])
        answers: dict[float | None, Floats] = {None: base}
        with one_thread():
            for penalty, coef, intercept in _ridges(features[taught], rest, PENALTIES):
                answers[penalty] = base + features[held] @ coef + intercept
        for tried, said in answers.items():
            squared.setdefault(tried, []).append((np.clip(said, *ends) - scores[held]) ** 2)
    errors = {penalty: np.concatenate(parts) for penalty, parts in squared.items()}
    trials = tuple(PairTrial(penalty, float(found.mean())) for penalty, found in errors.items())
    trials = trials or (PairTrial(None, None),)
    won = _worth_it(errors)
    arrays: dict[str, npt.NDArray[Any]] = dict(fitted_curve(cosines, scores))
    if won is not None:
        rest = scores - PairScorer(arrays, *ends).of_cosines(cosines)
        with one_thread():
            [(_, coef, intercept)] = _ridges(features, rest, [won])
        coef = coef / scale
        arrays |= {"coef": coef, "intercept": np.array(intercept - float(coef @ mean))}
    return PairScorer(arrays, *ends), trials


def _worth_it(errors: Mapping[float | None, Floats]) -> float | None:
    """The penalty with the least error, unless its gain over the curve alone is less than its standard error."""
    import numpy as np

    best = min(errors, key=lambda penalty: float(errors[penalty].mean()), default=None)
    if best is None:
        return None
    gain = errors[None] - errors[best]
    return best if len(gain) > 1 and gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else None


def _ridges(features: Floats, targets: Floats, penalties: Sequence[float]) -> list[tuple[float, Floats, float]]:
    """For each penalty the weights and the intercept of a ridge regression; products are made once for all of them."""
    import numpy as np
    from scipy.linalg import solve

    mean, level = features.mean(axis=0), float(targets.mean())
    centred, rest = features - mean, targets - level
    rows, columns = centred.shape
    wide = columns > rows
    product = centred @ centred.T if wide else centred.T @ centred
    right = rest if wide else centred.T @ rest
    found = []
    for penalty in penalties:
        solved = solve(product + penalty * np.eye(len(product)), right, assume_a="pos")
        coef = centred.T @ solved if wide else solved
        found.append((penalty, coef, level - float(coef @ mean)))
    return found
