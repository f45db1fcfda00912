"""An embedding spec on pairs of texts: both texts are embedded, and the score is read from the two vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from luthier.engine.report import call_record
from luthier.errors import DataError, UnusableAnswers
from luthier.providers.exchange import Answer, Conversation
from luthier.spec import Fitted, Spec
from luthier.tasks.pairs.similarity import Similarity
from luthier.tasks.prediction import Prediction
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows, is_blank
from luthier.techniques.heads.pair_scores import (
    PairScorer,
    PairTrial,
    cosines_of,
    fit_pair_scorer,
    fitted_curve,
    straight_curve,
    unit_rows,
)
from luthier.techniques.training_rows import training_rows
from luthier.techniques.vectors import TextVectors, without_vector

__all__ = ["fit_pairs", "kind_of", "pair_of", "predict_pairs", "training_pairs"]

Pair = tuple[str, str]


def kind_of(spec: Spec) -> Similarity:
    """The task type of a spec for pairs."""
    kind = spec.task.kind
    assert isinstance(kind, Similarity)
    return kind


def pair_of(spec: Spec, row: Any) -> Pair | None:
    """The two texts of a row; `None` where one is missing or blank."""
    first, second = (row[column] for column in spec.task.text_columns)
    return None if is_blank(first) or is_blank(second) else (str(first), str(second))


def training_pairs(spec: Spec, rows: Rows | None) -> tuple[list[Pair], list[float]]:
    """Texts and scores of the training rows that have all of them.

    Raises:
        SpecError: there are no training rows.
        DataError: they lack a column, or all have one score.
    """
    rows = training_rows(spec, rows)
    pairs = [pair_of(spec, row) for row in rows.inputs]
    known = [(pair, score) for pair, score in zip(pairs, rows.labels, strict=True) if pair and score is not None]
    if len({score for _, score in known}) < 2:
        raise DataError(
            f"spec {spec.name!r} needs training rows with at least 2 different scores; the {len(rows)} training rows "
            f"hold {len({score for _, score in known})}. Give more rows with --train."
        )
    return [pair for pair, _ in known], [score for _, score in known]


def pair_key(pair: Pair) -> tuple[str, ...]:
    """Equal for pairs of the same texts, in whichever order."""
    return tuple(sorted(map(same_text, pair)))


def fit_pairs(spec: Spec, method: str, embedded: TextVectors, rows: Rows | None) -> Conversation[Fitted]:
    """Embeds the texts of the training pairs, each once, and fits what the head says.

    Args:
        spec: the recipe.
        method: of its head: `cosine`, `isotonic` or `regression`.
        embedded: asks for vectors.
        rows: labelled training rows; not read for `cosine`.

    Raises:
        SpecError: there are no training rows.
        DataError: they all have one score.
        UnusableAnswers: so many texts are refused that one score is left, or vectors differ in length.
        Partial: some texts have no vector yet for a reason that may pass.
    """
    import numpy as np

    if method == "cosine":
        return Fitted(spec=spec)
    pairs, scores = training_pairs(spec, rows)
    assert rows is not None
    distinct = list(dict.fromkeys(text for pair in pairs for text in pair))
    answers = yield [embedded.request(text) for text in distinct]
    vectors, notes = embedded.read(distinct, answers)
    known = [place for place, pair in enumerate(pairs) if pair[0] in vectors and pair[1] in vectors]
    if len({scores[place] for place in known}) < 2:
        raise UnusableAnswers(f"spec {spec.name!r}: {notes[0]} Too few are left to learn from: ask another model.")
    first, second = (np.array([vectors[pairs[i][side]] for i in known], dtype=float) for side in (0, 1))
    truths = np.array([scores[place] for place in known])
    kind = kind_of(spec)
    trials: tuple[PairTrial, ...] = ()
    if method == "isotonic":
        scorer = PairScorer(fitted_curve(cosines_of(unit_rows(first), unit_rows(second)), truths), kind.low, kind.high)
    else:
        keys = [pair_key(pairs[place]) for place in known]
        scorer, trials = yield from fit_pair_scorer(first, second, truths, keys, (kind.low, kind.high), spec.seed)
    return Fitted(
        spec=spec,
        train_digest=rows.digest_of(spec.columns),
        state={
            "dimensions": first.shape[1],
            "trials": _records(trials),
            "notes": [*notes, *_chosen(trials, "coef" in scorer.arrays)],
        },
        arrays=scorer.arrays,
    )


def predict_pairs(embedded: TextVectors, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
    """One prediction per row: both texts of all rows are embedded in one round.

    Raises:
        UnusableAnswers: two vectors differ in length, or from those the head was fitted on.
    """
    pairs = [pair_of(fitted.spec, row) for row in rows.inputs]
    requests = [embedded.request(text) for pair in pairs if pair for text in pair]
    answers: Sequence[Answer] = (yield requests) if requests else ()
    given = iter(zip(answers[::2], answers[1::2], strict=True))
    found: list[Prediction | None] = []
    asked: dict[int, tuple[Answer, Answer]] = {}
    for place, pair in enumerate(pairs):
        if pair is None:
            found.append(Prediction(None, "empty"))
            continue
        both = next(given)
        found.append(without_vector(*both))
        if found[place] is None:
            asked[place] = both
    scores = iter(_scores(embedded, fitted, list(asked.values())))
    return [
        Prediction(next(scores), "ok", call=replace(call_record(asked[place]), raw=None)) if one is None else one
        for place, one in enumerate(found)
    ]


def _scores(embedded: TextVectors, fitted: Fitted, asked: Sequence[tuple[Answer, Answer]]) -> list[float]:
    import numpy as np

    if not asked:
        return []
    wanted = fitted.state.get("dimensions") or len(asked[0][0].vector)
    for answer in (answer for both in asked for answer in both):
        embedded.check_length(len(answer.vector), wanted)
    first, second = (np.array([both[side].vector for both in asked], dtype=float) for side in (0, 1))
    kind = kind_of(fitted.spec)
    arrays = fitted.arrays or straight_curve(kind.low, kind.high)
    scores: list[float] = PairScorer(arrays, kind.low, kind.high).scores(first, second).tolist()
    return scores


def _records(trials: Sequence[PairTrial]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for number, trial in enumerate(trials, 1):
        errors = [one.error for one in trials[:number] if one.error is not None]
        records.append(
            {
                "trial": number,
                "estimator": "isotonic" if trial.penalty is None else "isotonic + ridge",
                "as": "regressor",
                "settings": {} if trial.penalty is None else {"alpha": trial.penalty},
                "measure": "mse",
                "score": trial.error,
                "best": min(errors, default=None),
            }
        )
    return records


def _chosen(trials: Sequence[PairTrial], is_ridge: bool) -> list[str]:
    """What the cross-validation chose, as a sentence."""
    if not trials:
        return []
    if trials[0].error is None:
        return ["Too few training rows to hold any out: the curve over the cosine was taken without a comparison."]
    alone = f"the curve over the cosine alone (mse {trials[0].error:.4f})"
    if not is_ridge:
        return [
            f"On held-out training rows no regression on the vectors was surely better than {alone}; that was taken."
        ]
    won = min(trials, key=lambda trial: trial.error or 0.0)
    return [
        f"The regression on the vectors is the best of {len(trials) - 1} cross-validated on the training rows: "
        f"ridge with alpha {won.penalty:g} (mse {won.error:.4f}), against {alone}."
    ]
