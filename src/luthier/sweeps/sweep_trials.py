"""The trials of a sweep as a table of trials: what figures of any search are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from luthier.evaluation.trials import TrialRow, TrialTable
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.trial import SweepTrial, TrialStatus

__all__ = ["trial_table"]

STATES: dict[TrialStatus, Literal["complete", "stopped early", "failed", "running"]] = {
    "complete": "complete",
    "pruned": "stopped early",
    "failed": "failed",
    "running": "running",
    "paused": "running",
    "interrupted": "running",
}

MODELS = ("endpoint.model", "endpoint", "model")
"""What names the base model in a spec, the most telling path first."""


def trial_table(state: StudyState) -> TrialTable:
    """The trials of this sweep, judged by its first objective.

    Trials that the sampler knows from elsewhere are left out: they were measured on other rows.
    """
    aim = state.facts.objectives[0]
    space = state.facts.document.get("space", {})
    ours = {path for trial in state.own for path in trial.settings}
    paths = tuple(path for path in state.paths if path in ours)
    imported = len(state.trials) - len(state.own)
    said = f"Trials that the sampler knows from elsewhere, {imported:,}, are left out: other rows measured them."
    return TrialTable(
        source=state.facts.name,
        metric=aim.metric,
        better=aim.better,
        settings=paths,
        trials=tuple(_row(state, trial) for trial in state.own),
        cost="cost_usd" if any(trial.cost_usd is not None for trial in state.complete) else "trained_tokens",
        model_setting=next((path for path in MODELS if path in paths), None),
        log_settings=tuple(path for path in paths if _is_log(space.get(path))),
        notes=(said,) if imported else (),
    )


def _row(state: StudyState, trial: SweepTrial) -> TrialRow:
    aim = state.facts.objectives[0].metric
    figures = {name: trial.measured[name] for name in state.measured if name in trial.measured and name != aim}
    figures |= {f"reported.{name}": value for name, value in trial.reported.items()}
    figures |= {} if trial.trained_tokens is None else {"trained_tokens": float(trial.trained_tokens)}
    return TrialRow(
        name=str(trial.number),
        settings=trial.settings,
        value=state.figure(trial, aim) if trial.status == "complete" else None,
        figures=figures,
        state=STATES[trial.status],
        cost_usd=trial.cost_usd,
    )


def _is_log(rule: Any) -> bool:
    """Whether a setting is searched by its logarithm."""
    return isinstance(rule, Mapping) and ("log_uniform" in rule or bool(rule.get("log")))
