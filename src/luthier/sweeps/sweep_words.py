"""How settings, figures and states of trials are written: in tables, on axes, on lines of a log."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.reporting.numbers import Unit, metric_format, metric_title, number
from luthier.sweeps.trial import SweepObjective, TrialStatus

__all__ = [
    "STATUS_WORDS",
    "figure_title",
    "figure_unit",
    "written_seconds",
    "written_values",
]

STATUS_WORDS: dict[TrialStatus, str] = {
    "running": "running",
    "paused": "paused",
    "interrupted": "interrupted",
    "complete": "complete",
    "pruned": "stopped early",
    "failed": "failed",
}
"""What people read for a status."""

COST = "cost_usd"
"""What a trial cost: an objective that is no metric of a task."""


def figure_title(metric: str) -> str:
    """The title of a metric or of an objective.

    Examples:
        >>> figure_title("weighted_f1"), figure_title("cost_usd"), figure_title("valid_loss")
        ('weighted F1', 'cost of the trial', 'valid_loss')
    """
    return "cost of the trial" if metric == COST else metric_title(metric)


def figure_unit(metric: str) -> Unit:
    """How its values are written: with three decimals, as the best trials differ in the third.

    Examples:
        >>> figure_unit("weighted_f1"), figure_unit("cost_usd"), figure_unit("latency_p50_seconds")
        ('fine', 'usd', 'seconds')
    """
    unit = "usd" if metric == COST else metric_format(metric)
    return "fine" if unit in ("share", "number") else unit


def written_values(objectives: Sequence[SweepObjective], values: Sequence[float]) -> str:
    """What a trial reached, by the titles of the objectives.

    Examples:
        >>> written_values([SweepObjective("qwk", "maximize"), SweepObjective("cost_usd", "minimize")], [0.6, 0.04])
        'QWK .600, cost of the trial $0.04'
    """
    pairs = zip(objectives, values, strict=False)
    return ", ".join(f"{figure_title(one.metric)} {_written(value, figure_unit(one.metric))}" for one, value in pairs)


def written_seconds(seconds: float) -> str:
    """A time as a clock shows it.

    Examples:
        >>> written_seconds(8.2), written_seconds(130), written_seconds(7205)
        ('0:08', '2:10', '2:00:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _written(value: float, unit: Unit) -> str:
    return f"{'$' if unit == 'usd' else ''}{number(value, unit)}"
