"""What judges said of the answers of a comparison, beside its leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from luthier.errors import UserError
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.history.artifacts import judgement_of
from luthier.history.runs import LoggedRun
from luthier.judging.judgement_facts import JudgementFacts
from luthier.judging.judgement_report import judgement_sentences
from luthier.reporting.numbers import Unit
from luthier.reporting.table import Cell, Column, Lines, Page, Section, Table
from luthier.tracking.runs import tag_of

__all__ = ["with_judgements"]

MOST_JUDGES = 4
"""Judges that have a column, those that rated last."""


def with_judgements(page: Page, board: Leaderboard, runs: Sequence[LoggedRun]) -> Page:
    """The page of a comparison with what judges said of its answers, after the leaderboard.

    Args:
        page: of the comparison.
        board: its leaderboard.
        runs: beneath that of the comparison, the newest first; of a judge that rated again the last run counts.
    """
    found: dict[str, tuple[LoggedRun, JudgementFacts]] = {}
    for run in runs:
        judge = tag_of(run.tags, "spec_digest") or run.run_id
        if run.kind != "judge" or judge in found or len(found) == MOST_JUDGES:
            continue
        try:
            found[judge] = run, judgement_of(run)
        except UserError:
            # It was interrupted, or its files are gone; an older run of this judge may be there.
            continue
    if not found:
        return page
    first, *others = page.sections
    return replace(page, sections=(first, _section(board, list(found.values())), *others))


def _section(board: Leaderboard, judged: Sequence[tuple[LoggedRun, JudgementFacts]]) -> Section:
    said = tuple(
        f"{judgement_sentences(facts)[0]} It was given {facts.rows:,} rows. Its own page: luthier report {run.run_id}"
        for run, facts in judged
    )
    columns: list[tuple[Column, Callable[[Entry], Cell]]] = [
        (Column("spec", kind="name", least=16), lambda entry: entry.name),
        (Column(board.measure.title, board.measure.format), lambda entry: entry.metrics.get(board.ranked_by)),
    ]
    for _, facts in judged:
        unit: Unit = "number" if facts.ordered else "share"
        columns.append((Column(f"{facts.judge}, {facts.measure}", unit), _score(facts)))
    return Section("Rated by a model", (Table.of(board.entries, columns), Lines(said)))


def _score(facts: JudgementFacts) -> Callable[[Entry], Cell]:
    scores = {one.name: one.score for one in facts.specs if one.score.value == one.score.value}
    return lambda entry: scores.get(entry.name)
