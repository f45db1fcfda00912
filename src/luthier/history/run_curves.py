"""What a job reported by step, as curves: its losses, and its accuracies and scores."""

from __future__ import annotations

import re
from collections.abc import Mapping

from luthier.history.runs import LoggedRun
from luthier.reporting.charts.chart import Axis, Chart, Curve
from luthier.reporting.numbers import number
from luthier.reporting.table import Section

__all__ = ["curves_section"]

REPORTED = re.compile(r"(train|valid|full_valid|training|eval|validation)[_@].*|.*/.*")
"""Names of figures that services report while they train."""

LOSS = re.compile(r"loss|perplexity")
SCORE = re.compile(r"accuracy|f1|auc|precision|recall")

MOST_CURVES = 6
"""Lines of a figure; more cannot be told apart."""

Points = Mapping[int, float]
"""Value by step."""


def curves_section(run: LoggedRun) -> Section | None:
    """The figures of a run that have several steps; `None` where it has none, as with a run that trained nothing."""
    names = sorted(name for name in run.metrics if REPORTED.fullmatch(name))
    curves = {name: points for name in names if len(points := _points(run, name)) > 1}
    losses = {name: curves[name] for name in curves if LOSS.search(name)}
    scores = {name: curves[name] for name in curves if SCORE.search(name) and name not in losses}
    charts = [_chart("loss (lower is better)", losses, lower=True) if losses else None]
    charts += [_chart("score (higher is better)", scores, lower=False) if scores else None]
    drawn = tuple(chart for chart in charts if chart is not None)
    return Section("Training, step by step", drawn) if drawn else None


def _points(run: LoggedRun, name: str) -> dict[int, float]:
    import mlflow

    # Of a step that was logged twice, the last counts.
    found = sorted(mlflow.MlflowClient().get_metric_history(run.run_id, name), key=lambda one: one.timestamp)
    return dict(sorted({one.step: one.value for one in found}.items()))


def _chart(title: str, curves: Mapping[str, Points], *, lower: bool) -> Chart:
    marks = tuple(
        Curve(tuple(map(float, points)), tuple(points.values()), name, look)
        for look, (name, points) in enumerate(list(curves.items())[:MOST_CURVES])
    )
    # What is measured on rows that are not trained on says whether more training helps.
    judged = next((name for name in curves if "valid" in name or "eval" in name), next(iter(curves)))
    points = curves[judged]
    step = (min if lower else max)(points, key=lambda one: points[one])
    last = max(points)
    said = f"{judged} is best at step {step:,} with {number(points[step], 'fine')}"
    said += ", its last." if step == last else f" and ends at step {last:,} with {number(points[last], 'fine')}."
    if len(curves) > MOST_CURVES:
        said += f" The first {MOST_CURVES} of {len(curves)} figures are drawn."
    return Chart("", said, Axis("step", "count"), Axis(title, "fine"), marks)
