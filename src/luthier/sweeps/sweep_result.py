"""What a sweep gives back: its trials with every figure, the best, the front, the money, the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from luthier.errors import DataError, ModelError
from luthier.evaluation.setting_importance import importance_of
from luthier.reporting.charts.chart import Figure, Strips
from luthier.reporting.html import fragment, write_page
from luthier.reporting.shown_figure import ShownFigure
from luthier.reporting.terminal import show, text_of
from luthier.reporting.trials_figures import distribution_chart, importance_strips, parallel_chart
from luthier.sweeps.study_state import StudyState, WinnerFigures
from luthier.sweeps.sweep_figures import (
    best_over_cost_figure,
    best_over_trials_figure,
    curves_figure,
    front_figure,
)
from luthier.sweeps.sweep_report import best_trial_sections, status_sections, sweep_page, sweep_sections
from luthier.sweeps.sweep_trials import trial_table
from luthier.sweeps.trial import StudyFacts, SweepTrial

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from rich.console import Console

__all__ = ["Plot", "StudySource", "Sweep"]

Plot = Literal["trials", "cost", "distribution", "settings", "importance", "curves", "front"]
"""The best so far by trial or by cost, the distribution of results, all settings together and what they matter,
learning curves, cost against quality."""


def _importance(state: StudyState) -> Strips | None:
    table = trial_table(state)
    return importance_strips(importance_of(table), table.settings, title="Which settings matter")


FIGURES: dict[Plot, Callable[[StudyState], Figure | None]] = {
    "trials": best_over_trials_figure,
    "cost": best_over_cost_figure,
    "distribution": lambda state: distribution_chart(trial_table(state), title="How results are distributed"),
    "settings": lambda state: parallel_chart(trial_table(state), title="All settings together"),
    "importance": _importance,
    "curves": curves_figure,
    "front": front_figure,
}


class StudySource(Protocol):
    """Where a sweep's trials are: the part of a `StoredStudy` that is read."""

    @property
    def facts(self) -> StudyFacts:
        """What the study is about."""

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""

    def trials(self) -> Sequence[SweepTrial]:
        """Every trial."""

    def spent_usd(self) -> float:
        """What the study has cost, all machines together."""

    def reserved_usd(self) -> float:
        """What is set aside for the trials that run."""


class Sweep:
    """A sweep as its storage had it when this was made; a notebook shows it as a report, a terminal as text.

    Args:
        source: the stored study.
        storage: where the study is, as people may see it.
        winner: measured on holdout rows.
        ended_early: why not all of its trials were run; `None` where they were.
    """

    def __init__(
        self,
        source: StudySource,
        *,
        storage: str = "",
        winner: WinnerFigures | None = None,
        ended_early: str | None = None,
    ) -> None:
        self._source, self.ended_early = source, ended_early
        self.state = StudyState(
            facts=source.facts,
            trials=tuple(sorted(source.trials(), key=lambda trial: trial.number)),
            spent_usd=source.spent_usd(),
            reserved_usd=source.reserved_usd(),
            winner=winner,
            storage=storage,
        )

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.state.facts.name

    @property
    def study(self) -> optuna.Study:
        """The Optuna study, for everything that Optuna does with one."""
        return self._source.study

    @property
    def trials(self) -> tuple[SweepTrial, ...]:
        """Every trial by number, imported ones among them."""
        return self.state.trials

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per trial, its number as the index: status, every setting by its path, every figure, money and times.

        Figures that a service reported are called `reported.NAME`.
        """
        return self.state.frame()

    @property
    def best(self) -> SweepTrial:
        """The winner on holdout rows; before there is one, the best trial by the first objective.

        Raises:
            ModelError: no trial is complete yet.
        """
        best = self.state.best
        if best is None:
            raise ModelError(
                f"no trial of sweep {self.name!r} is complete, so there is no best one. How far it is: "
                f"luthier sweep status {self.name}"
            )
        return best

    @property
    def best_run_id(self) -> str:
        """The MLflow run that can be packaged: the one that measured the winner, or the best trial's own.

        Raises:
            ModelError: no trial is complete yet, or the best one has no run.
        """
        best, winner = self.best, self.state.winner
        run_id = best.run_id if winner is None or winner.run_id is None else winner.run_id
        if run_id is None:
            raise ModelError(
                f"trial {best.number} of sweep {self.name!r} has no MLflow run, so nothing can be packaged."
            )
        return run_id

    def best_document(self) -> dict[str, Any]:
        """The best trial and what is known of the winner, as JSON values.

        Raises:
            ModelError: no trial is complete yet.
        """
        number, whole = self.best.number, self.document()
        (trial,) = (one for one in whole["trials"] if one["number"] == number)
        return {"sweep": self.name, **trial, "winner": whole["winner"]}

    @property
    def front(self) -> tuple[SweepTrial, ...]:
        """The complete trials that no other one beats in all objectives, the best in the first one first."""
        return self.state.front

    @property
    def spent_usd(self) -> float:
        """What the sweep has cost, all machines together; costs that are not known are not in it."""
        return self.state.spent_usd

    @property
    def saved_tokens(self) -> int | None:
        """Tokens that early stopping saved; `None` where a service did not say, which is not 0."""
        return self.state.saved_tokens

    @property
    def saved_usd(self) -> float | None:
        """US dollars that early stopping saved; `None` where a price is unknown."""
        return self.state.saved_usd

    def plot(self, what: Plot = "trials") -> ShownFigure:
        """A figure: see `Plot` for what there is.

        A notebook shows it; `.save("figure.svg")` writes it.

        Raises:
            DataError: there is no such figure, or not enough trials for it.
        """
        if what not in FIGURES:
            raise DataError(f"there is no figure {what!r}; choose one of: {', '.join(FIGURES)}.")
        figure = FIGURES[what](self.state)
        if figure is None:
            raise DataError(f"the trials of sweep {self.name!r} do not have what a figure of {what!r} shows.")
        return ShownFigure(figure)

    def document(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return self.state.document()

    def write_page(self, path: str | Path) -> Path:
        """Writes the report as one HTML file that needs no network."""
        return write_page(sweep_page(self.state), path)

    def show(self, console: Console | None = None) -> None:
        """Prints what the sweep found; on standard output where no console is given."""
        show(*sweep_sections(self.state), console=console)

    def show_status(self, console: Console | None = None) -> None:
        """Prints how far the sweep is, and every remote job with its state and bill."""
        show(*status_sections(self.state), console=console)

    def show_best(self, console: Console | None = None) -> None:
        """Prints the best trial: what is said of it, its settings, its figures."""
        show(*best_trial_sections(self.state, self.best), console=console)

    def _repr_html_(self) -> str:
        return fragment(*sweep_sections(self.state, wide=True))

    def __str__(self) -> str:
        return text_of(*sweep_sections(self.state))

    def __repr__(self) -> str:
        return str(self)
