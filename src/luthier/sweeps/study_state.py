"""A study at one moment, as plain records: its trials, the best of them, its jobs, its money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from luthier.evaluation.resampling import Interval, plain
from luthier.evaluation.trials import undominated
from luthier.providers.prices import sum_if_known
from luthier.sweeps.trial import StudyFacts, SweepObjective, SweepTrial

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FinalistFigures", "StudyState", "WinnerFigures", "is_ended"]

BOUNDS = ("_low", "_high")


@dataclass(frozen=True)
class FinalistFigures:
    """A trial that was measured on holdout rows.

    Attributes:
        number: of the trial.
        selection: the metric that it was chosen by, on the selection rows.
        holdout: the same on the holdout rows.
    """

    number: int
    selection: Interval
    holdout: Interval

    @property
    def shrinkage(self) -> float:
        """The figure on selection rows minus that on holdout rows."""
        return self.selection.value - self.holdout.value


@dataclass(frozen=True)
class WinnerFigures:
    """The winner of a sweep and those it cannot be told from, on rows that selection never saw.

    Attributes:
        number: of the winning trial.
        metric: by which it was chosen.
        finalists: everything that was measured, the winner first.
        selection_rows: number of rows that trials were chosen by.
        holdout_rows: number of rows that selection never saw.
        said: how the winner was chosen, where that needs words.
        run_id: the MLflow run with the winner's figures on the holdout rows.
    """

    number: int
    metric: str
    finalists: tuple[FinalistFigures, ...]
    selection_rows: int
    holdout_rows: int
    said: str = ""
    run_id: str | None = None

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        found: dict[str, Any] = plain(self)
        return found

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> WinnerFigures:
        """The figures that `document` wrote."""
        finalists = [
            FinalistFigures(one["number"], Interval(*one["selection"]), Interval(*one["holdout"]))
            for one in document["finalists"]
        ]
        return cls(**{**document, "finalists": tuple(finalists)})


@dataclass(frozen=True)
class StudyState:
    """What there is of a sweep.

    Attributes:
        facts: what the study is about.
        trials: every trial by number, imported ones among them.
        spent_usd: what the study has cost, all machines together.
        reserved_usd: what is set aside for the trials that run.
        winner: measured on holdout rows; `None` before that.
        storage: where the study is, without a password.
    """

    facts: StudyFacts
    trials: tuple[SweepTrial, ...]
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    winner: WinnerFigures | None = None
    storage: str = ""

    @cached_property
    def own(self) -> tuple[SweepTrial, ...]:
        """The trials of this sweep, without imported ones."""
        return tuple(trial for trial in self.trials if trial.source is None)

    @cached_property
    def ranked(self) -> tuple[SweepTrial, ...]:
        """The best first, imported ones among them; then those without a value, by number."""
        return tuple(sorted(self.trials, key=self._rank))

    @property
    def best(self) -> SweepTrial | None:
        """The winner on holdout rows; before there is one, the best complete trial by the first objective."""
        if self.winner is not None:
            return next((trial for trial in self.own if trial.number == self.winner.number), None)
        return min(self.complete, key=self._rank, default=None)

    @property
    def complete(self) -> tuple[SweepTrial, ...]:
        """The trials of this sweep that have their values."""
        return tuple(trial for trial in self.own if trial.status == "complete" and trial.values)

    @property
    def front(self) -> tuple[SweepTrial, ...]:
        """The complete trials that no other one beats in all objectives, the best in the first one first."""
        is_kept = undominated([self._costs(trial) for trial in self.complete])
        kept = [trial for trial, kept in zip(self.complete, is_kept, strict=True) if kept]
        return tuple(sorted(kept, key=self._rank))

    @property
    def with_jobs(self) -> tuple[SweepTrial, ...]:
        """The trials that have a job at a service, those whose job is alive first."""
        return tuple(
            sorted((one for one in self.own if one.job is not None), key=lambda one: (is_ended(one), one.number))
        )

    @property
    def stopped_early(self) -> tuple[SweepTrial, ...]:
        """The trials that early stopping ended."""
        return tuple(trial for trial in self.own if trial.status == "pruned")

    @property
    def saved_tokens(self) -> int | None:
        """Tokens that the stopped trials did not train; `None` where a service did not say, which is not 0."""
        saved = sum_if_known(_untrained(trial) for trial in self.stopped_early)
        return None if saved is None else round(saved)

    @property
    def saved_usd(self) -> float | None:
        """What the stopped trials would have cost beyond what they did; `None` where a price is unknown."""
        return sum_if_known(_unpaid(trial) for trial in self.stopped_early)

    @property
    def sums(self) -> dict[str, float]:
        """What there is to count and to add up of the trials; an amount that is not wholly known is absent."""
        states = Counter(trial.status for trial in self.own)
        found: dict[str, float | None] = {
            "trials_complete": states["complete"],
            "trials_stopped_early": states["pruned"],
            "trials_failed": states["failed"],
            "spent_usd": self.spent_usd if self.costs_known else None,
            "saved_usd": self.saved_usd,
            "saved_tokens": self.saved_tokens,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def costs_known(self) -> bool:
        """Whether what every trial that has ended cost is known, and so is the sum."""
        return all(trial.cost_usd is not None for trial in self.own if is_ended(trial))

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The dotted path of every setting that is searched, in the order of the space."""
        space = self.facts.document.get("space", {})
        return tuple(dict.fromkeys([*space, *(path for trial in self.trials for path in trial.settings)]))

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """Every figure that was measured, without its bounds; the objectives first."""
        names = dict.fromkeys(one.metric for one in self.facts.objectives)
        names |= dict.fromkeys(name for trial in self.trials for name in trial.measured)
        return tuple(name for name in names if not _is_bound(name, names))

    @cached_property
    def reported(self) -> tuple[str, ...]:
        """Every figure that a service reported."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.reported))

    def figure(self, trial: SweepTrial, metric: str) -> Interval | None:
        """A measured figure of a trial with its bounds; that of an objective also where only it is known."""
        place = next((place for place, one in enumerate(self.facts.objectives) if one.metric == metric), None)
        value = trial.measured.get(metric)
        if value is None and place is not None and place < len(trial.values):
            value = trial.values[place]
        if value is None:
            return None
        low, high = (trial.measured.get(metric + bound) for bound in BOUNDS)
        return Interval(value, low, high) if low is not None and high is not None else Interval(value)

    def frame(self) -> pd.DataFrame:
        """A row per trial by number: its settings by dotted path, then every figure there is of it.

        Figures that a service reported are called `reported.NAME`; times are UTC.
        """
        import pandas as pd

        lines = [self._line(trial) for trial in self.trials]
        columns = list(dict.fromkeys(name for line in lines for name in line)) or list(
            self._line(SweepTrial(0, {}, "running"))
        )
        frame = pd.DataFrame(lines, columns=columns).set_index("number")
        for name in ("started", "ended"):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        return frame

    def document(self) -> dict[str, Any]:
        """The state as JSON values."""
        best, facts = self.best, self.facts
        return {
            "sweep": facts.name,
            "digest": facts.digest,
            "created": facts.created,
            "run_id": facts.run_id,
            "storage": self.storage,
            "objectives": [{"metric": one.metric, "direction": one.direction} for one in facts.objectives],
            "definition": plain(facts.document),
            "tables": plain(facts.tables),
            "trials_wanted": facts.trials,
            "budget_usd": facts.budget_usd,
            "spent_usd": self.spent_usd,
            "reserved_usd": self.reserved_usd,
            "saved_tokens": self.saved_tokens,
            "saved_usd": self.saved_usd,
            "best": None if best is None else best.number,
            "front": [trial.number for trial in self.front],
            "winner": None if self.winner is None else _with_shrinkage(self.winner),
            "trials": [plain(trial.document() | {"duration_seconds": trial.duration_seconds}) for trial in self.trials],
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> StudyState:
        """The state that `document` wrote, such as that in a sweep's `sweep.json`.

        Figures that are no numbers are left out. What earlier versions did not write, the space and the tables, is
        empty.
        """
        winner = document["winner"]
        return cls(
            facts=StudyFacts(
                name=document["sweep"],
                digest=document.get("digest", ""),
                objectives=tuple(SweepObjective(one["metric"], one["direction"]) for one in document["objectives"]),
                document=document.get("definition", {}),
                tables=document.get("tables", {}),
                run_id=document["run_id"],
                created=document.get("created", 0.0),
                trials=document["trials_wanted"],
                budget_usd=document["budget_usd"],
            ),
            trials=tuple(map(SweepTrial.of_document, document["trials"])),
            spent_usd=document["spent_usd"],
            reserved_usd=document["reserved_usd"],
            winner=None if winner is None else WinnerFigures.of_document(winner),
            storage=document["storage"],
        )

    def _line(self, trial: SweepTrial) -> dict[str, Any]:
        line: dict[str, Any] = {"number": trial.number, "status": trial.status}
        line |= {path: trial.settings.get(path) for path in self.paths}
        values = dict(zip((one.metric for one in self.facts.objectives), trial.values, strict=False))
        line |= {one.metric: values.get(one.metric) for one in self.facts.objectives}
        line |= trial.measured
        line |= {f"reported.{name}": value for name, value in trial.reported.items()}
        kept = (
            *("planned_tokens", "trained_tokens", "planned_usd", "training_usd", "cost_usd", "reserved_usd"),
            *("started", "ended", "duration_seconds", "job", "job_status", "run_id", "reason", "owner", "source"),
        )
        # An objective may be what a trial cost.
        line |= {name: getattr(trial, name) for name in kept if line.get(name) is None}
        return line

    def _costs(self, trial: SweepTrial) -> tuple[float, ...]:
        """The values of the objectives, so that less is better."""
        pairs = zip(self.facts.objectives, trial.values, strict=False)
        return tuple(-value if one.direction == "maximize" else value for one, value in pairs)

    def _rank(self, trial: SweepTrial) -> tuple[bool, float, int]:
        costs = self._costs(trial)
        valued = bool(costs) and trial.status == "complete"
        return (not valued, costs[0] if valued else 0.0, trial.number)


def is_ended(trial: SweepTrial) -> bool:
    """Whether nothing of a trial runs or will go on."""
    return trial.status in ("complete", "pruned", "failed")


def _with_shrinkage(winner: WinnerFigures) -> dict[str, Any]:
    document = winner.document()
    for one, found in zip(document["finalists"], winner.finalists, strict=True):
        one["shrinkage"] = found.shrinkage
    return document


def _untrained(trial: SweepTrial) -> float | None:
    if trial.planned_tokens is None or trial.trained_tokens is None:
        return None
    return max(0, trial.planned_tokens - trial.trained_tokens)


def _unpaid(trial: SweepTrial) -> float | None:
    if trial.planned_usd is None or trial.training_usd is None:
        return None
    return max(0.0, trial.planned_usd - trial.training_usd)


def _is_bound(name: str, names: Mapping[str, Any]) -> bool:
    return any(name.endswith(bound) and name.removesuffix(bound) in names for bound in BOUNDS)
