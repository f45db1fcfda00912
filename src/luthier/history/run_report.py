"""The page of one run, whatever its kind: made anew from what the run keeps, so that old runs get today's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from luthier.errors import ModelError, UserError
from luthier.evaluation.leaderboard import Candidate
from luthier.evaluation.ranking import build_leaderboard
from luthier.history.artifacts import (
    across_of,
    answers_of,
    audit_of,
    board_of,
    improvement_of,
    judgement_of,
    score_of,
    scorecard_of,
    sweep_of,
)
from luthier.history.judged_answers import with_judgements
from luthier.history.run_curves import curves_section
from luthier.history.run_tables import figures_section, moment, parts_section, run_section
from luthier.history.runs import LoggedRun, run_with_id, runs_beneath
from luthier.improving.improvement_report import improvement_page
from luthier.judging.judgement_report import judgement_page
from luthier.reporting.across_report import across_page
from luthier.reporting.audit_report import audit_page
from luthier.reporting.board_report import board_page
from luthier.reporting.score_report import score_page
from luthier.reporting.scorecard_report import scorecard_page
from luthier.reporting.table import Page, Section
from luthier.sweeps.sweep_report import sweep_page
from luthier.tracking.runs import fitted_of_run

__all__ = ["page_of_run", "run_page"]


def run_page(run_id: str) -> Page:
    """The page of a run of Luthier.

    Args:
        run_id: MLflow's id of it.

    Raises:
        ModelError: there is no such run, it was deleted, or another tool wrote it.
        UserError: the store cannot be reached.
    """
    return page_of_run(run_with_id(run_id))


def page_of_run(run: LoggedRun) -> Page:
    """The page of a run, from what it keeps.

    A run that keeps no result, such as an interrupted one, gets a page of its settings and figures, which says why.
    """
    try:
        made = PAGES.get(run.kind, _plain_page)(run)
    except UserError as error:
        made = _plain_page(run, (f"This page shows settings and figures only: {error}",))
    return replace(made, footer=" ".join(filter(None, (made.footer, f"MLflow run {run.run_id}."))))


def _compare_page(run: LoggedRun) -> Page:
    if run.test_digest is None:
        return _tables_page(run)
    kept = board_of(run)
    page = with_judgements(board_page(kept.board, kept.rows), kept.board, runs_beneath(run))
    if not kept.without_answers or kept.rows is None:
        return page
    missing = f"The answers of {', '.join(kept.without_answers)} are not in this store, so their rows are not shown."
    return replace(page, said=(*page.said, missing))


def _tables_page(run: LoggedRun) -> Page:
    tables = [part for part in reversed(runs_beneath(run)) if part.kind == "compare"]
    boards = {part.name: board_of(part).board for part in tables}
    if not boards:
        raise ModelError(f"run {run.run_id} ({run.name}) has no run of a table beneath it.")
    return across_page(boards, across_of(run, next(iter(boards.values())).measure))


def _candidate_page(run: LoggedRun) -> Page:
    fitted = fitted_of_run(run.run_id)
    spec = fitted.spec
    rows, predictions = answers_of(run, spec.task)
    candidate = Candidate(
        name=spec.name,
        technique=spec.technique,
        model=spec.base_model,
        spec_digest=spec.digest,
        fitted_digest=fitted.digest,
        predictions=predictions,
        notes=(*spec.notes(), *fitted.state.get("notes", ())),
    )
    page = board_page(build_leaderboard(spec.task, rows, [candidate]), rows)
    whole = "" if run.parent is None else f" The comparison that it is part of: luthier report {run.parent}."
    return replace(page, title=f"{spec.name}: {spec.task.name}", lead=f"Measured {moment(run.started)}.{whole}")


def _audit_page(run: LoggedRun) -> Page:
    return audit_page(audit_of(run))


def _rai_page(run: LoggedRun) -> Page:
    return scorecard_page(scorecard_of(run))


def _score_page(run: LoggedRun) -> Page:
    return score_page(score_of(run))


def _sweep_page(run: LoggedRun) -> Page:
    return sweep_page(sweep_of(run))


def _improve_page(run: LoggedRun) -> Page:
    return improvement_page(improvement_of(run))


def _judge_page(run: LoggedRun) -> Page:
    return judgement_page(judgement_of(run))


def _plain_page(run: LoggedRun, said: Sequence[str] = ()) -> Page:
    parts = runs_beneath(run)
    sections: list[Section] = [run_section(run)]
    found = (curves_section(run), figures_section(run), parts_section(parts))
    sections += [one for one in found if one is not None]
    return Page(
        f"{run.kind}: {run.name}", f"A run of kind {run.kind}, {moment(run.started)}.", tuple(said), tuple(sections)
    )


PAGES: dict[str, Callable[[LoggedRun], Page]] = {
    "compare": _compare_page,
    "candidate": _candidate_page,
    "audit": _audit_page,
    "improve": _improve_page,
    "judge": _judge_page,
    "rai": _rai_page,
    "score": _score_page,
    "sweep": _sweep_page,
}
"""Kinds of runs that keep a result with a page of its own."""
