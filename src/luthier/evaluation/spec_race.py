"""What a race of whole specs leaves on a leaderboard: who was stopped when, and what that saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.evaluation.resampling import Interval, record_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SpecRace", "SpecTrack", "StoppedSpec"]


@dataclass(frozen=True, slots=True)
class StoppedSpec:
    """A spec that was asked no more rows.

    Attributes:
        name: of the spec.
        technique: `baseline`, `prompt`, ...
        model: the base model behind it.
        look: the look after which it was stopped, from 1.
        rows: rows it answered.
        metrics: on these rows, with their intervals.
        leader: the spec that leads at the end.
        difference: this spec minus the leader in the ranking metric, on the same rows, with its 95% interval.
        p: two-sided paired bootstrap p-value of that difference, uncorrected.
        spec_digest: of the recipe.
    """

    name: str
    technique: str
    model: str
    look: int
    rows: int
    metrics: Mapping[str, Interval]
    leader: str
    difference: Interval
    p: float
    spec_digest: str = ""


@dataclass(frozen=True, slots=True)
class SpecTrack:
    """The ranking metric of a spec after each look it was there for: its value and what it is sure to lie between.

    The bounds hold for the metric on all rows, so that they close at the end.
    """

    name: str
    rows: tuple[int, ...]
    values: tuple[Interval, ...]


@dataclass(frozen=True)
class SpecRace:
    """A race of specs that is over.

    Attributes:
        rows: rows with a text; what every spec would have answered.
        alpha: the most by which the probability that a spec was stopped which belongs to the best is meant to be held.
        looks: after how many rows specs could be stopped.
        answers: rows answered, over all specs that call a model.
        full_answers: the same without stopping.
        stopped: the specs that were stopped, the longest asked first.
        tracks: how the ranking metric of each spec went.
        pairs: pairs of specs with a stopped one, for which p-values are corrected too.
        tables: how many tables specs were raced on, by the mean over them.
    """

    rows: int
    alpha: float
    looks: tuple[int, ...]
    answers: int
    full_answers: int
    stopped: tuple[StoppedSpec, ...]
    tracks: tuple[SpecTrack, ...] = ()
    pairs: int = 0
    tables: int = 1

    @property
    def saved_share(self) -> float:
        """Share of the answers that were not asked for."""
        return 1 - self.answers / self.full_answers if self.full_answers else 0.0

    def frame(self) -> pd.DataFrame:
        """One row per stopped spec: rows seen, every metric with `_low` and `_high`, how far behind the leader."""
        import pandas as pd

        lines = []
        for one in self.stopped:
            line: dict[str, Any] = {"name": one.name, "technique": one.technique, "model": one.model}
            line |= {"look": one.look, "rows": one.rows, "leader": one.leader}
            line |= {"difference": one.difference.value, "difference_low": one.difference.low}
            line |= {"difference_high": one.difference.high, "p": one.p}
            for metric, found in one.metrics.items():
                line |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
            lines.append(line | {"spec_digest": one.spec_digest})
        return pd.DataFrame(lines, columns=None if lines else ["name", "rows", "difference", "p"])

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> SpecRace:
        """The race that `plain` wrote.

        Raises:
            DataError: the document is no race.
        """
        return record_of(cls, document)
