"""Early stopping: what a trial's job is judged by while it trains, and whether it trains on.

    events of the job --> reports: value by step --> kept in the study --> verdict: go, stop, pause

A step is a hundredth of the job's own training, and values are reported at every fifth step. So trials of other epochs
and batch sizes are compared when the same part of their training is done, and the pruners of Optuna find values of the
same steps. A value is the best one so far: in a long training the validation loss rises again, and the metric that the
study is about does not fall with it. `docs/early-stopping.md` has the figures that the defaults were chosen by.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, model_validator

from luthier.errors import SpecError
from luthier.spec.setting_paths import SettingsBlock
from luthier.sweeps.rungs import furthest, goes_on, promising, rung_of, rung_steps
from luthier.sweeps.trial import SweepObjective
from luthier.tuning.tuners.tuner import Checkpoint, JobEvent, JobState, Rules

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["EarlyStopping", "EarlyStoppingSettings"]

Verdict = Literal["go", "stop", "pause"]

GRID = 5
"""Values are reported at every step that is a multiple of this, in hundredths of the training."""

LAST_STOP = 80
"""After so many hundredths no trial is stopped: the rest costs little, and a trained model teaches the sampler more."""

FIRST_RUNG = 10
"""Where halving and Hyperband compare for the first time, unless the warmup is longer."""

FACTOR = 3
"""One in so many trials passes a rung of halving and Hyperband."""

WHOLE, SAMPLED = "full_valid_loss", "valid_loss"
"""Figures of an event: the loss on the whole validation file, and at many services only on a few rows of it."""

LIKE_FOR_LIKE = ("tuning.", "decoding.")
"""Settings that leave validation losses comparable. Other models, templates and answers have losses of other scales."""

COSTS = frozenset({"cost_usd", "cost_per_1000_rows_usd"})
"""Objectives that no validation figure tells anything about."""


class EarlyStoppingSettings(SettingsBlock):
    """How poor trials are found before their jobs have ended."""

    short_form = "pruner"

    pruner: Literal["median", "halving", "hyperband", "none"] = "median"
    """`median` stops a trial whose best value is below the median of the completed trials at that step; `halving` lets
    the best third pass at each rung; `hyperband` is halving whose rungs begin at several steps; `none` stops none."""
    watch: Literal["valid_loss", "checkpoints"] = "valid_loss"
    """`valid_loss` judges by the validation loss that the service reports; `checkpoints` measures the objective of each
    new checkpoint on the selection rows, which is paid for like any answer."""
    pause: bool = False
    """With halving: jobs are paused rather than stopped, and go on once they belong to the best."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Part of the training before which no trial is judged."""
    startup_trials: int = Field(default=3, ge=1)
    """Trials that have to be there to compare with before one is stopped."""

    @model_validator(mode="after")
    def _can_pause(self) -> EarlyStoppingSettings:
        if self.pause and self.pruner != "halving":
            raise ValueError(f"pause: true goes with pruner: halving, not with {self.pruner}")
        return self

    @property
    def is_on(self) -> bool:
        """Whether any trial may be stopped early."""
        return self.pruner != "none"

    def check(self, paths: Collection[str], rules: Rules | None = None) -> None:
        """Refuses what could not work with the settings that are searched, or at the service.

        Args:
            paths: the settings that are searched.
            rules: of the service; `None` where none trains.

        Raises:
            SpecError: says what to choose instead.
        """
        if self.pause and rules is not None and not rules.pauses:
            raise SpecError("early_stopping.pause: this service cannot pause jobs. Leave pause out: jobs are stopped.")
        apart = sorted(path for path in paths if not path.startswith(LIKE_FOR_LIKE))
        if self.pruner == "hyperband" and self.watch == "valid_loss" and apart:
            raise SpecError(
                f"early_stopping: hyperband compares all trials, and the validation losses of trials that differ in "
                f"{', '.join(apart)} cannot be compared. Choose pruner: median or halving, which compare only trials "
                "that agree in those, or watch: checkpoints."
            )


@dataclass
class _Curve:
    """What one job has reported, as part of its training and value; larger is better."""

    whole: list[tuple[float, float]] = field(default_factory=list)
    sampled: list[tuple[float, float]] = field(default_factory=list)
    best: float | None = None
    reported: int = 0
    done: float = 0.0

    def next_reports(self, until: float) -> list[tuple[int, float]]:
        """The reports that are due once that part of the training is done."""
        reports = []
        while self.reported + GRID <= until * 100 + 1e-6:
            self.reported += GRID
            self._improve(self.reported / 100 + 1e-9)
            if self.best is not None:
                reports.append((self.reported, self.best))
        return reports

    def _improve(self, part: float) -> None:
        found = [value for when, value in self.whole if when <= part]
        # Losses of a few rows are too noisy for a minimum: the mean over the second half of the training so far.
        some = [value for when, value in self.sampled if part / 2 < when <= part]
        if some:
            found.append(sum(some) / len(some))
        self.best = max((value for value in (self.best, *found) if value is not None), default=None)


class EarlyStopping:
    """Judges the trials of one study. `reports` and `measured` belong to one thread; the rest may be called by several.

    Args:
        settings: how.
        objective: what the study searches for; values are reported in its direction.
    """

    def __init__(self, settings: EarlyStoppingSettings, objective: SweepObjective) -> None:
        self.settings, self.objective = settings, objective
        self._on = settings.is_on and objective.metric not in COSTS
        self._sign = 1.0 if objective.direction == "maximize" else -1.0
        self._curves: dict[str, _Curve] = {}
        self._rungs = rung_steps(max(FIRST_RUNG, self._warmup), FACTOR, LAST_STOP)
        self._judged: set[tuple[int, int]] = set()
        self._pruner: Any = None
        self._lock = threading.Lock()

    @property
    def _warmup(self) -> int:
        """The first step that is judged."""
        return max(GRID, round(self.settings.warmup * 100))

    def reports(self, job: JobState, events: Sequence[JobEvent], steps: int | None) -> list[tuple[int, float]]:
        """What to report of a job now, each step once.

        Args:
            job: as the service last told it.
            events: those that are new since the last call for this job.
            steps: number of steps of the job; without it nothing can be compared.

        Returns:
            Steps in hundredths of the training, and the best validation loss until then: as it is where the objective
            is minimized, negative where it is maximized. Empty where checkpoints are measured; see `measured`.
        """
        if not self._on or not steps or self.settings.watch == "checkpoints":
            return []
        curve = self._curves.setdefault(job.id, _Curve())
        for event in events:
            if event.step is None:
                continue
            part = event.step / steps
            curve.done = max(curve.done, part)
            for name, kept in ((WHOLE, curve.whole), (SAMPLED, curve.sampled)):
                if name in event.metrics:
                    kept.append((part, -event.metrics[name]))
        return self._signed(curve.next_reports(curve.done))

    def checkpoint_to_measure(
        self, kept: Sequence[Checkpoint], steps: int | None, measured: int = 0
    ) -> Checkpoint | None:
        """The checkpoint that is to be measured next: the newest, unless a value so late stops no trial.

        Args:
            kept: those that the service has.
            steps: number of steps of the job.
            measured: training step of the last one that was measured.

        Returns:
            `None` when there is none to measure now.
        """
        if not self._on or not steps or self.settings.watch != "checkpoints":
            return None
        useful = [one for one in kept if one.step > measured and self._step_of(one, steps) <= LAST_STOP]
        newest = max(useful, key=lambda one: one.step, default=None)
        return newest if newest is not None and self._step_of(newest, steps) >= self._warmup else None

    def measured(self, job: JobState, checkpoint: Checkpoint, steps: int, value: float) -> list[tuple[int, float]]:
        """What to report once a checkpoint was measured.

        Args:
            job: whose checkpoint it is.
            checkpoint: from `checkpoint_to_measure`.
            steps: number of steps of the job.
            value: of the objective, on the selection rows.

        Returns:
            The checkpoint's step and the best value so far, and before it those steps that had none reported yet.
        """
        curve, until = self._curves.setdefault(job.id, _Curve()), self._step_of(checkpoint, steps) / 100
        curve.whole.append((until, self._sign * value))
        return self._signed(curve.next_reports(until))

    def verdict(self, study: optuna.Study, number: int) -> Verdict:
        """Whether a trial's job trains on.

        Args:
            study: with what was reported of its trials.
            number: of the trial.
        """
        if not self._on or len(study.directions) > 1:
            return "go"
        trials = study.get_trials(deepcopy=False)
        trial = trials[number]
        if trial.last_step is None or not self._warmup <= trial.last_step < LAST_STOP:
            return "go"
        alike = [one for one in trials if self._apart(one) == self._apart(trial)]
        # The pruners keep state, and several trials may be judged at a time.
        with self._lock:
            if self.settings.pruner == "halving":
                return self._halved(alike, trial)
            if self._pruner is None:
                self._pruner = self._optuna_pruner()
            seen = study if self.settings.pruner == "hyperband" else cast("optuna.Study", _Comparable(study, alike))
            return "stop" if self._pruner.prune(seen, trial) and self._started(alike) else "go"

    def resumable(self, study: optuna.Study, paused: Collection[int]) -> list[int]:
        """The paused trials that belong to the best by now and are to go on, the most promising first.

        Args:
            study: with what was reported of its trials.
            paused: numbers of the trials whose jobs are paused.
        """
        found = [
            promising(curves, numbers, self._rungs, FACTOR) for curves, numbers in self._paused_groups(study, paused)
        ]
        return [number for numbers in found for number in numbers]

    def finalists(self, study: optuna.Study, paused: Collection[int]) -> list[int]:
        """The paused trials that go on where nothing else runs any more: the best of those that can be compared."""
        found = [furthest(curves, numbers, self._rungs) for curves, numbers in self._paused_groups(study, paused)]
        return [number for number in found if number is not None]

    def _paused_groups(
        self, study: optuna.Study, paused: Collection[int]
    ) -> list[tuple[dict[int, Mapping[int, float]], list[int]]]:
        """Of each group of trials that can be compared, and of which some are paused: all curves, and those numbers."""
        if not paused or not self._on:
            return []
        trials = study.get_trials(deepcopy=False)
        groups = []
        for group in {self._apart(trials[number]) for number in paused}:
            curves = self._curves_of([one for one in trials if self._apart(one) == group])
            groups.append((curves, [number for number in paused if number in curves]))
        return groups

    def reason(self, study: optuna.Study, number: int) -> str:
        """Why a trial was stopped or paused, for people."""
        trials = study.get_trials(deepcopy=False)
        trial = trials[number]
        step = trial.last_step or 0
        alike = [one for one in trials if self._apart(one) == self._apart(trial) and step in one.intermediate_values]
        value = trial.intermediate_values[step]
        best = (max if self._sign > 0 else min)(one.intermediate_values[step] for one in alike)
        what = self.objective.metric
        if self.settings.watch == "valid_loss":
            what, value, best = "validation loss", abs(value), abs(best)
        return (
            f"{self.settings.pruner}: after {step} % of the training its best {what} was {value:.4g}; the best of "
            f"{len(alike)} trials had {best:.4g}"
        )

    def _halved(self, alike: Sequence[FrozenTrial], trial: FrozenTrial) -> Verdict:
        rung = rung_of(trial.intermediate_values, self._rungs)
        # Judged once a rung: who has passed it, or was paused there and resumed, goes on to the next.
        if rung is None or (trial.number, rung) in self._judged:
            return "go"
        self._judged.add((trial.number, rung))
        least = None if self.settings.pause else self.settings.startup_trials
        if goes_on(self._curves_of(alike), trial.number, rung, FACTOR, least=least):
            return "go"
        return "pause" if self.settings.pause else "stop"

    def _curves_of(self, trials: Sequence[FrozenTrial]) -> dict[int, Mapping[int, float]]:
        """By trial, its values, larger ones better."""
        if self._sign > 0:
            return {trial.number: trial.intermediate_values for trial in trials}
        return {trial.number: {step: -value for step, value in trial.intermediate_values.items()} for trial in trials}

    def _started(self, alike: Sequence[FrozenTrial]) -> bool:
        """Whether there are enough trials to compare with."""
        return sum(bool(trial.intermediate_values) for trial in alike) > self.settings.startup_trials

    def _optuna_pruner(self) -> optuna.pruners.BasePruner:
        import optuna

        if self.settings.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=max(FIRST_RUNG, self._warmup), max_resource=100, reduction_factor=FACTOR
            )
        startup = self.settings.startup_trials
        return optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=self._warmup, n_min_trials=startup)

    def _apart(self, trial: FrozenTrial) -> frozenset[tuple[str, str]]:
        """The settings that two trials must agree in for their values to be compared."""
        if self.settings.watch == "checkpoints":
            return frozenset()
        return frozenset(
            (name, str(value)) for name, value in trial.params.items() if not name.startswith(LIKE_FOR_LIKE)
        )

    def _step_of(self, checkpoint: Checkpoint, steps: int) -> int:
        """The step that a checkpoint is reported at: the next one of the grid."""
        return min(100, -(-checkpoint.step * 100 // (steps * GRID)) * GRID)

    def _signed(self, reports: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """Reports in the direction of the objective."""
        return [(step, self._sign * value) for step, value in reports]


@dataclass(frozen=True)
class _Comparable:
    """What the median pruner sees of a study: the trials whose values can be compared with those of one trial."""

    study: optuna.Study
    alike: Sequence[FrozenTrial]

    @property
    def direction(self) -> Any:
        """Of the study."""
        return self.study.direction

    def get_trials(self, deepcopy: bool = True, states: Collection[Any] | None = None) -> list[FrozenTrial]:
        """As `optuna.Study.get_trials`."""
        return [trial for trial in self.alike if states is None or trial.state in states]
