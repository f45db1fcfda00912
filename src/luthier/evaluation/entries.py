"""The lines of a leaderboard and the comparisons between them, as plain records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from luthier.evaluation.resampling import Interval
from luthier.evaluation.tables import CalibrationBin, Counts
from luthier.tasks.prediction import STATES, Prediction, State

__all__ = ["Candidate", "Comparison", "Entry", "states_of"]


@dataclass(frozen=True)
class Candidate:
    """A spec and what it answered.

    Attributes:
        name: unique on the leaderboard.
        technique: `baseline`, `prompt`, ...
        model: the base model behind it.
        spec_digest: of the recipe.
        fitted_digest: of what the recipe became on training rows.
        predictions: one per row of the test table, in its order.
        notes: sentences a reader of the leaderboard should know about this spec.
    """

    name: str
    technique: str
    model: str
    spec_digest: str
    fitted_digest: str
    predictions: tuple[Prediction, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A line of the leaderboard.

    Attributes:
        candidate: who.
        metrics: name to value and interval; absent where it cannot be had.
        states: rows per state, all rows of the table counted.
        from_journal_share: share of the evaluated rows that were answered from the journal.
        rank: 1 is best; `None` for the majority and the human ceiling, which do not compete.
        group: letters; entries that share one cannot be told apart. Empty where there is no rank.
        above_majority: whether it is better than always answering the most frequent label, by the ranking metric
            and after correction; `None` where that was not tested.
        confusion: rows per true label (line) and answer (column, the last for rows without a label).
        calibration: confidence against truth; empty without probabilities.
    """

    candidate: Candidate
    metrics: dict[str, Interval]
    states: dict[State, int]
    from_journal_share: float
    rank: int | None
    group: str
    above_majority: bool | None = None
    confusion: Counts = ()
    calibration: tuple[CalibrationBin, ...] = ()

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two specs on the same rows.

    Attributes:
        first, second: names, the better ranked first.
        metric: the ranking metric.
        difference: first minus second in it, with its 95% interval (uncorrected).
        p: two-sided paired bootstrap p-value for the difference.
        corrected: the same after Holm's correction over all pairs of the leaderboard.
        accuracy_p, accuracy_corrected: McNemar's exact test on being right.
        error_p, error_corrected: sign-flip test on the distance from the true rating; `None` for unordered labels.
        disagreement: share of rows on which exactly one of them is right.
    """

    first: str
    second: str
    metric: str
    difference: Interval
    p: float
    corrected: float
    accuracy_p: float
    accuracy_corrected: float
    error_p: float | None
    error_corrected: float | None
    disagreement: float


def states_of(candidate: Candidate) -> dict[State, int]:
    """Rows per state, every state named."""
    counts = Counter(p.state for p in candidate.predictions)
    return {state: counts.get(state, 0) for state in STATES}
