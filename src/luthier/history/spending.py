"""What a task has cost: by day and by what it was for. What is not known is counted apart and is never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from luthier.history.runs import LoggedRun

__all__ = ["SpentOn", "TaskSpending", "spending_of"]

PURPOSES = {
    "compare": "comparisons",
    "fit": "fits",
    "improve": "better prompts",
    "judge": "judged answers",
    "tune": "fine-tuning",
    "trial": "sweeps",
    "score": "scored tables",
    "rai": "assessments",
    "audit": "audits",
}
"""Kinds of runs, as what the money was for."""


@dataclass(frozen=True, slots=True)
class SpentOn:
    """What was spent on one day (UTC) for one purpose, and by how many runs."""

    day: date
    purpose: str
    usd: float
    runs: int


@dataclass(frozen=True)
class TaskSpending:
    """What a task has cost.

    Attributes:
        lines: the oldest day first; days and purposes without a cost are not in it.
        unknown: purpose to the number of runs whose cost is not known.
        free: number of runs that cost nothing.
    """

    lines: tuple[SpentOn, ...]
    unknown: Mapping[str, int]
    free: int = 0

    @property
    def known_usd(self) -> float:
        """The sum of what is known; the whole cost is at least that."""
        return sum(line.usd for line in self.lines)

    @property
    def purposes(self) -> tuple[str, ...]:
        """What money was spent on, the dearest first."""
        sums: dict[str, float] = {}
        for line in self.lines:
            sums[line.purpose] = sums.get(line.purpose, 0.0) + line.usd
        return tuple(sorted(sums, key=lambda purpose: (-sums[purpose], purpose)))

    def spent_on(self, purpose: str) -> float:
        """US dollars known to have been spent for a purpose."""
        return sum(line.usd for line in self.lines if line.purpose == purpose)


def spending_of(runs: Sequence[LoggedRun]) -> TaskSpending:
    """What these runs have cost. A run that goes on, such as a job in training, counts as unknown."""
    spent: dict[tuple[date, str], list[float]] = {}
    unknown: Counter[str] = Counter()
    free = 0
    for run in runs:
        if not run.is_priced:
            continue
        purpose, usd = _purpose(run), run.spent_usd
        if usd is None:
            unknown[purpose] += 1
        elif usd == 0:
            free += 1
        else:
            paid = datetime.fromtimestamp(run.started if run.ended is None else run.ended, UTC).date()
            spent.setdefault((paid, purpose), []).append(usd)
    lines = [SpentOn(paid, purpose, sum(each), len(each)) for (paid, purpose), each in sorted(spent.items())]
    return TaskSpending(tuple(lines), dict(unknown), free)


def _purpose(run: LoggedRun) -> str:
    # The job of a trial is the trial's run.
    return PURPOSES["trial"] if "luthier.trial" in run.tags else PURPOSES[run.kind]
