"""Metrics of scores, each a function of sums over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["ScoreArrays", "score_metrics"]

DECIMALS = 9
"""Scores that agree in so many decimals of the scale are tied: 0.1 + 0.2 and 0.3 are one score."""

LEAST_VARIANCE = 1e-13
"""Of values between -1 and 1; below it they are constant, but for rounding."""


@dataclass(frozen=True)
class ScoreArrays:
    """Truths and answers of the evaluated rows.

    Attributes:
        truths: shape (rows,).
        answers: shape (rows,), with something in place of what is missing.
        low: the lowest score.
        high: the highest score.
    """

    truths: Floats
    answers: Floats
    low: float
    high: float

    @classmethod
    def of(cls, truths: Sequence[float], answers: Sequence[float], low: float, high: float) -> ScoreArrays:
        """From plain numbers."""
        import numpy as np

        return cls(np.array(truths, dtype=float), np.array(answers, dtype=float), low, high)

    @property
    def distances(self) -> Floats:
        """How far each answer is off, in points of the scale."""
        found: Floats = abs(self.answers - self.truths)
        return found

    def sums(self) -> dict[str, Floats]:
        """What is summed over the rows.

        Moments of scores and of ranks are taken about their means over all rows, with the scale and the number of
        rows as the unit, so that differences of sums lose no digits. Ranks are taken once, over all rows: a bootstrap
        sample keeps the ranks that its rows have in the whole table.
        """
        distances = self.distances
        found = {"absolute": distances, "squared": distances**2}
        for name, truths, answers in (
            ("score", self._share(self.truths), self._share(self.answers)),
            ("rank", self._ranks(self.truths), self._ranks(self.answers)),
        ):
            x, y = truths - truths.mean(), answers - answers.mean()
            found |= {f"{name}_x": x, f"{name}_y": y, f"{name}_xx": x * x, f"{name}_yy": y * y, f"{name}_xy": x * y}
        return found

    def _share(self, values: Floats) -> Floats:
        shares: Floats = (values - self.low) / (self.high - self.low)
        return shares

    def _ranks(self, values: Floats) -> Floats:
        """Ranks, of ties their mean, as shares of the rows."""
        from scipy.stats import rankdata

        ranks: Floats = rankdata(self._share(values).round(DECIMALS)) / len(values)
        return ranks


def score_metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """The metrics from sums over rows.

    Args:
        sums: `rows`, the number of rows, and what `ScoreArrays.sums` names; shape (samples,).
    """
    rows = sums["rows"]
    return {
        "spearman": _correlation(sums, "rank"),
        "pearson": _correlation(sums, "score"),
        "mse": sums["squared"] / rows,
        "mae": sums["absolute"] / rows,
    }


def _correlation(sums: Mapping[str, Floats], name: str) -> Floats:
    """Pearson's coefficient of two columns; 0 where one of them is constant."""
    import numpy as np

    rows = np.asarray(sums["rows"], dtype=float)
    x, y = sums[f"{name}_x"] / rows, sums[f"{name}_y"] / rows
    spread_x, spread_y = sums[f"{name}_xx"] / rows - x * x, sums[f"{name}_yy"] / rows - y * y
    together = sums[f"{name}_xy"] / rows - x * y
    varies = (spread_x > LEAST_VARIANCE) & (spread_y > LEAST_VARIANCE)
    root = np.sqrt(np.where(varies, spread_x * spread_y, 1.0))
    found: Floats = np.clip(np.where(varies, together / root, 0.0), -1.0, 1.0)
    return found
