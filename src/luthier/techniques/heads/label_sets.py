"""Heads for sets of labels: a logistic regression per label, and one threshold above which a label is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.engine.report import call_record
from luthier.errors import DataError, UnusableAnswers
from luthier.providers.exchange import Answer, Conversation, ProgressEvent
from luthier.spec import Fitted, Spec
from luthier.tasks.labels.multilabel import MultiLabel
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.heads.learners import one_thread
from luthier.techniques.heads.training_set import FOLDS, assign_folds
from luthier.techniques.training_rows import training_rows
from luthier.techniques.vectors import TextVectors, without_vector

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Truth = npt.NDArray[np.bool_]

__all__ = [
    "LabelWeights",
    "best_threshold",
    "fit_label_weights",
    "fit_sets",
    "held_out_shares",
    "predict_sets",
    "set_predictions",
    "sets_kind",
    "training_sets",
]

STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse regularisation on standardised vectors; the best on held-out rows is taken."""

MOST_ITERATIONS = 300

CERTAIN = 1000.0
"""An intercept whose logistic function is 0 or 1."""


def sets_kind(spec: Spec) -> MultiLabel:
    """The task type of a spec for sets of labels."""
    kind = spec.task.kind
    assert isinstance(kind, MultiLabel)
    return kind


def training_sets(spec: Spec, rows: Rows | None) -> tuple[list[str], list[list[str]]]:
    """Texts and labels of the training rows that have both.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column, or no label is true of some rows and not of others.
    """
    rows = training_rows(spec, rows)
    known = [(text, value) for text, value in zip(rows.texts, rows.labels, strict=True) if text and value is not None]
    counts = [sum(label in value for _, value in known) for label in sets_kind(spec).labels]
    if not any(0 < count < len(known) for count in counts):
        raise DataError(
            f"spec {spec.name!r} needs training rows that differ in their labels; of the {len(known)} rows there are, "
            "each label is true of all or of none. Give more rows with --train."
        )
    return [text for text, _ in known], [value for _, value in known]


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
    texts: Sequence[str], strata: Sequence[int], seed: int, shares_of: Any
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


def fit_sets(embedded: TextVectors, spec: Spec, rows: Rows | None) -> Conversation[Fitted]:
    """Embeds the training texts, each once, and fits a regression per label on the vectors.

    Raises:
        SpecError: there are no training rows.
        DataError: their labels do not differ.
        UnusableAnswers: so many texts are refused that too few are left, or vectors differ in length.
        Partial: some texts have no vector yet for a reason that may pass.
    """
    import numpy as np

    from luthier.tasks.labels.multilabel_metrics import indicators

    texts, values = training_sets(spec, rows)
    assert rows is not None
    distinct = list(dict.fromkeys(texts))
    answers = yield [embedded.request(text) for text in distinct]
    vectors, notes = embedded.read(distinct, answers)
    known = [place for place, text in enumerate(texts) if text in vectors]
    truth = indicators(sets_kind(spec).labels, [values[place] for place in known])
    if notes and not (truth.any(axis=0) & ~truth.all(axis=0)).any():
        raise UnusableAnswers(f"spec {spec.name!r}: {notes[0]} Too few are left to learn from: ask another model.")
    features = np.array([vectors[texts[place]] for place in known], dtype=float)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    scaled = (features - mean) / scale
    strata = sets_kind(spec).strata([values[place] for place in known])
    trials: list[dict[str, Any]] = []
    best: tuple[float, float, float] | None = None
    for strength in STRENGTHS:
        yield ProgressEvent("head", len(trials), len(STRENGTHS) + 1, f"logistic regression per label, C {strength:g}")

        def shares_of(taught: Any, held: Any, strength: float = strength) -> Floats:
            return fit_label_weights(scaled[taught], truth[taught], strength).shares(scaled[held])

        shares, judged = held_out_shares([texts[i] for i in known], strata, spec.seed, shares_of)
        threshold, score = best_threshold(truth[judged], shares)
        if best is None or (score is not None and score > best[0]):
            best = (score or 0.0, strength, threshold)
        settings = {"C": strength}
        trials.append(
            {
                "trial": len(trials) + 1,
                "estimator": "logistic per label",
                "as": "classifier",
                "settings": settings,
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
    return Fitted(
        spec=spec,
        train_digest=rows.digest_of(spec.columns),
        state={
            "dimensions": features.shape[1],
            "threshold": best[2],
            "trials": trials,
            "notes": [*notes, *label_notes(spec, truth), _chosen(trials, best)],
        },
        arrays={"coef": np.ascontiguousarray(coef), "intercept": weights.intercept - coef @ mean},
    )


def predict_sets(embedded: TextVectors, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
    """One prediction per row: the texts are embedded in one round.

    Raises:
        UnusableAnswers: a vector has another length than the head was fitted on.
    """
    import numpy as np

    requests = [embedded.request(text) for text in rows.texts if text is not None]
    answers = iter((yield requests)) if requests else iter(())
    found: list[Prediction | None] = []
    asked: list[Answer] = []
    for text in rows.texts:
        answer = None if text is None else next(answers)
        found.append(Prediction(None, "empty") if answer is None else without_vector(answer))
        if answer is not None and found[-1] is None:
            embedded.check_length(len(answer.vector), fitted.state["dimensions"])
            asked.append(answer)
    given: Iterator[Prediction] = iter(())
    if asked:
        weights = LabelWeights(fitted.arrays["coef"], fitted.arrays["intercept"])
        shares = weights.shares(np.array([answer.vector for answer in asked], dtype=float))
        calls = [replace(call_record([answer]), raw=None) for answer in asked]
        given = iter(set_predictions(fitted.spec, shares, fitted.state["threshold"], calls))
    return [next(given) if one is None else one for one in found]


def label_notes(spec: Spec, truth: Truth) -> list[str]:
    """What a reader should know of labels that were hardly seen."""
    counts = dict(zip(sets_kind(spec).labels, truth.sum(axis=0).tolist(), strict=True))
    missing = [label for label, count in counts.items() if not count]
    return [f"No training row has {', '.join(missing)}: never given."] if missing else []


def _chosen(trials: Sequence[dict[str, Any]], best: tuple[float, float, float]) -> str:
    if trials[0]["score"] is None:
        return "Too few training rows to hold any out: a label is given from a probability of one half."
    return (
        f"A logistic regression per label with C {best[1]:g}, and labels given from a probability of {best[2]:.2f}: "
        f"the best of {len(trials)} on held-out training rows (micro F1 {best[0]:.4f})."
    )
