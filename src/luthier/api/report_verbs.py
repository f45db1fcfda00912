"""The verb that reads back what was measured and makes one page of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import UserError
from luthier.experiments.trial_files import trials_of_table
from luthier.history.run_ids import run_id_of
from luthier.history.run_report import run_page
from luthier.history.task_report import task_page_of
from luthier.reporting.report_page import ReportPage
from luthier.reporting.trials_report import trials_page

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["report"]


def report(
    run: str | None = None,
    *,
    task: str | None = None,
    trials: str | Path | pd.DataFrame | None = None,
    metric: str | None = None,
) -> ReportPage:
    """One page of what was measured: everything of a task, one run, or a table of trials; no model is called.

    Args:
        run: id of a run of Luthier, whatever its kind, or a registered model as `models:/NAME@ALIAS`. Everything of the
            task when absent.
        task: name of the task; needed where the tracking store has several.
        trials: a table of trials from anywhere, a line each: columns of settings and of the figures that came out.
        metric: its column that says how good a trial is; found by its name when absent.

    Returns:
        The report: a notebook shows it, `report.write_page("report.html")` writes it as one file that needs no
        network, `report.document()` is the data behind every figure.

    Raises:
        ModelError: there is no such run, it is none of Luthier's, or the store has nothing of the task.
        DataError: the table has no metric, fewer than two trials, or text where a number should be.
        UserError: what is asked for contradicts itself.
    """
    if trials is not None:
        if run is not None or task is not None:
            raise UserError("a table of trials is reported by itself; leave the run and the task out.")
        return ReportPage(trials_page(trials_of_table(trials, metric)))
    if metric is not None:
        raise UserError("metric names a column of a table of trials; give that table too.")
    if run is not None:
        if task is not None:
            raise UserError(f"run {run} says itself what its task is; leave the task out.")
        return ReportPage(run_page(run_id_of(run)))
    return ReportPage(task_page_of(task))
