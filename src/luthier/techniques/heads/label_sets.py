"""Sets of labels: a logistic regression per label, and one threshold above which a label is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.spec import Spec
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.learners import one_thread
from luthier.techniques.heads.row_texts import RowTexts, labelled_texts
from luthier.techniques.heads.training_set import FOLDS, assign_folds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Truth = npt.NDArray[np.bool_]

__all__ = [
    "LabelWeights",
    "best_threshold",
    "fit_label_weights",
    "held_out_shares",
    "label_notes",
    "set_predictions",
    "sets_differ",
    "sets_kind",
    "training_sets",
]

MOST_ITERATIONS = 300

CERTAIN = 1000.0
"""An intercept whose logistic function is 0 or 1."""


def sets_kind(spec: Spec) -> MultiLabel:
    """The task type of a spec for sets of labels."""
    kind = spec.task.kind
    assert isinstance(kind, MultiLabel)
    return kind


def training_sets(spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[list[str]]]:
    """Texts and labels of the training rows that have both.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column, or no label is true of some rows and not of others.
    """
    texts, values = labelled_texts(spec, rows)
    if not sets_differ(spec, values):
        raise DataError(
            f"spec {spec.name!r} needs training rows that differ in their labels; of the {len(texts)} rows there are, "
            "each label is true of all or of none. Give more rows with --train."
        )
    return texts, values


def sets_differ(spec: Spec, values: Sequence[Sequence[str]]) -> bool:
    """Whether some label is true of some rows and not of others."""
    counts = [sum(label in value for value in values) for label in sets_kind(spec).labels]
    return any(0 < count < len(values) for count in counts)


@dataclass(frozen=True)
class LabelWeights:
    """A logistic regression per label: `coef` has shape (labels, features), `intercept` (labels,).

    A label that is true of no training row, or of all, has probability 0 or 1.
    """

    coef: Floats
    intercept: Floats

    def shares(self, features: Any) -> Floats:
        """The probability of each label, shape (rows, labels); a row's do not depend on the other rows."""
        import numpy as np

        # Not a matrix product of dense rows: the last digits of one depend on the number of rows.
        said = features @ self.coef.T if hasattr(features, "tocsr") else np.einsum("rd,od->ro", features, self.coef)
        found: Floats = (1 + np.tanh((said + self.intercept) / 2)) / 2
        return found


def fit_label_weights(features: Any, truth: Truth, strength: float) -> LabelWeights:
    """Fits each label by itself; the same rows give the same weights.

    Args:
        features: shape (rows, features), sparse or dense.
        truth: whether a row has each label, shape (rows, labels).
        strength: inverse regularisation.
    """
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    labels = truth.shape[1]
    coef, intercept = np.zeros((labels, features.shape[1])), np.zeros(labels)
    with warnings.catch_warnings(), one_thread():
        # A fit that stops early is judged on held-out rows like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for label in range(labels):
            wanted = truth[:, label]
            if wanted.all() or not wanted.any():
                intercept[label] = CERTAIN if wanted.all() else -CERTAIN
                continue
            model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(features, wanted)
            coef[label], intercept[label] = model.coef_[0], model.intercept_[0]
    return LabelWeights(coef, intercept)


def held_out_shares(
    texts: Sequence[RowTexts], strata: Sequence[int], seed: int, shares_of: Any
) -> tuple[Floats | None, npt.NDArray[np.intp]]:
    """Probabilities of rows that were not learned from, and which rows these are.

    Args:
        texts: of the training rows.
        strata: a number per row; folds keep the shares of equal numbers.
        seed: of the folds.
        shares_of: given positions to learn from and positions held out, the probabilities of the latter.

    Returns:
        The probabilities of the held-out rows, `None` where there are none, and their positions in ascending order.
    """
    import numpy as np

    folds = np.array(assign_folds(texts, strata, seed))
    judged = np.flatnonzero(folds >= 0)
    found: Floats | None = None
    for fold in range(FOLDS):
        held = np.flatnonzero(folds == fold)
        if not len(held):
            continue
        shares = shares_of(np.flatnonzero(folds != fold), held)
        if found is None:
            found = np.zeros((len(texts), shares.shape[1]))
        found[held] = shares
    return (None if found is None else found[judged]), judged


def best_threshold(truth: Truth, shares: Floats | None) -> tuple[float, float | None]:
    """The probability from which on a label is given, for the best micro F1, and that F1.

    Args:
        truth: of the held-out rows, shape (rows, labels).
        shares: their probabilities; without them it is one half.
    """
    import numpy as np

    if shares is None or not truth.any():
        return 0.5, None
    flat = shares.ravel()
    order = np.argsort(-flat, kind="stable")
    ranked, hits = flat[order], np.cumsum(truth.ravel()[order])
    scores = 2 * hits / (np.arange(1, len(flat) + 1) + int(truth.sum()))
    # Equal probabilities are given together.
    last = np.append(ranked[:-1] > ranked[1:], True)
    best = int(np.argmax(np.where(last, scores, -1.0)))
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else 0.0
    return (float(ranked[best]) + below) / 2, float(scores[best])


def set_predictions(spec: Spec, shares: Floats, threshold: float, calls: Sequence[CallRecord]) -> list[Prediction]:
    """One prediction per row: the labels whose probability reaches the threshold."""
    labels = sets_kind(spec).labels
    return [
        Prediction(
            [label for label, share in zip(labels, row, strict=True) if share >= threshold], "ok", tuple(row), call=call
        )
        for row, call in zip(shares.tolist(), calls, strict=True)
    ]


def label_notes(spec: Spec, truth: Truth) -> list[str]:
    """What a reader should know of labels that were hardly seen."""
    counts = dict(zip(sets_kind(spec).labels, truth.sum(axis=0).tolist(), strict=True))
    missing = [label for label, count in counts.items() if not count]
    return [f"No training row has {', '.join(missing)}: never given."] if missing else []
