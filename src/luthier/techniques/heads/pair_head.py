"""The head over pairs of texts: a score read from the two vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.providers.exchange import Conversation
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows, Task
from luthier.techniques.heads.head import FOR_PAIRS, Head, HeadMethod, LearnedHead
from luthier.techniques.heads.pair_scores import (
    PairScorer,
    PairTrial,
    cosines_of,
    fit_pair_scorer,
    fitted_curve,
    kind_of,
    straight_curve,
    training_pairs,
    unit_rows,
)
from luthier.techniques.heads.row_texts import RowTexts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["PairHead"]


def pair_key(pair: RowTexts) -> tuple[str, ...]:
    """Equal for pairs of the same texts, in whichever order."""
    return tuple(sorted(map(same_text, pair)))


class PairHead:
    """Scores pairs of texts; the methods are `cosine`, `isotonic` and `regression`."""

    def refusal(self, method: HeadMethod, task: Task) -> str | None:
        """The methods that choose among labels cannot."""
        if method in FOR_PAIRS:
            return None
        return (
            f"head {method} chooses among labels; for pairs of texts, as in task {task.name!r}, write head: "
            f"{', '.join(FOR_PAIRS[:-1])} or {FOR_PAIRS[-1]}"
        )

    def training_rows(self, spec: Spec, rows: Rows | None) -> tuple[list[RowTexts], list[float]]:
        """Texts and scores of the training rows that have all of them."""
        return training_pairs(spec, rows)

    def can_learn(self, spec: Spec, truths: Sequence[float]) -> bool:
        """Whether there are two different scores."""
        return len(set(truths)) > 1

    def learn(
        self, spec: Spec, head: Head, texts: Sequence[RowTexts], truths: Sequence[float], vectors: Sequence[Floats]
    ) -> Conversation[LearnedHead]:
        """Fits the curve over the cosine and, for `regression`, a ridge where it does better on held-out rows."""
        import numpy as np

        first, second = vectors
        scores, kind = np.array(truths), kind_of(spec)
        trials: tuple[PairTrial, ...] = ()
        arrays: Mapping[str, npt.NDArray[Any]]
        if head.method == "isotonic":
            arrays = fitted_curve(cosines_of(unit_rows(first), unit_rows(second)), scores)
        else:
            keys = [pair_key(pair) for pair in texts]
            scorer, trials = yield from fit_pair_scorer(first, second, scores, keys, (kind.low, kind.high), spec.seed)
            arrays = scorer.arrays
        return LearnedHead(arrays, _records(trials), _chosen(trials, "coef" in arrays))

    def predictions(self, fitted: Fitted, vectors: Sequence[Floats], calls: Sequence[CallRecord]) -> list[Prediction]:
        """A score within the scale."""
        kind = kind_of(fitted.spec)
        scorer = PairScorer(fitted.arrays or straight_curve(kind.low, kind.high), kind.low, kind.high)
        scores = scorer.scores(*vectors).tolist()
        return [Prediction(score, "ok", call=call) for score, call in zip(scores, calls, strict=True)]


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
