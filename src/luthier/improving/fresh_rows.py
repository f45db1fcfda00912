"""The last measurement: the first prompt, the winner and its close rivals on rows that the choice never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from luthier.engine.options import RunOptions
from luthier.engine.progress import shown
from luthier.errors import Partial
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.sample_size import plan_from_difference
from luthier.evaluation.statistics import ALPHA, Difference, holm, paired_difference
from luthier.experiments.board import SpecResult
from luthier.experiments.labelled_tables import LabelledTable
from luthier.experiments.spec_results import answer_rows, candidate_of
from luthier.improving.search import RacedSearch, TriedPrompt

__all__ = ["FreshFigures", "FreshMeasurement", "finalists_of", "measure_finalists"]

RIVALS = 2
"""Prompts next to the winner that are measured beside it, where the budget reaches for them."""


@dataclass(frozen=True)
class FreshFigures:
    """A prompt on fresh rows.

    Attributes:
        score: the metric prompts are chosen by.
        gain: the score minus that of the first prompt, on the same rows; `None` for that one itself.
        p: two-sided, for "there is no difference to the first prompt".
        corrected: the same after Holm's correction over all prompts that were measured here.
    """

    score: Interval
    gain: Interval | None = None
    p: float | None = None
    corrected: float | None = None


@dataclass(frozen=True)
class FreshMeasurement:
    """What was found on fresh rows.

    Attributes:
        figures: by the name of the prompt.
        board: the prompts as a leaderboard.
        results: what each answered, the first prompt first.
        rows_needed: rows it would take to tell the winner from the first prompt, if the difference seen is the true
            one; `None` where there is none.
    """

    figures: dict[str, FreshFigures]
    board: Leaderboard
    results: tuple[SpecResult, ...]
    rows_needed: int | None = None


def finalists_of(search: RacedSearch) -> list[TriedPrompt]:
    """The first prompt, the winner, and the next best that were asked all rows, as far as the budget reaches."""
    whole = search.whole()
    start = next(one for one in whole if not one.parent)
    sure = [start] if whole[0] is start else [start, whole[0]]
    rivals = [one for one in whole[1:] if one is not start][: RIVALS if len(sure) > 1 else 0]

    def price(finalists: Sequence[TriedPrompt]) -> float:
        return sum(search.money.expected(search.most_usd(one.spec, fresh_rows=True)) for one in finalists)

    while rivals and not search.money.reaches(price([*sure, *rivals]), 0.0):
        rivals.pop()
    return [*sure, *rivals]


def measure_finalists(
    search: RacedSearch, finalists: Sequence[TriedPrompt], table: LabelledTable, metric: str, options: RunOptions
) -> FreshMeasurement:
    """Asks finalists about all rows of the table and compares each with the first of them.

    Raises:
        Partial: a row has no answer yet.
        BudgetReached: answers were longer than all before; what was paid for is in the journal.
    """
    search.money.kept_usd = 0.0
    results = []
    for one in finalists:
        with shown(options.progress, f"{one.spec.name} on fresh rows") as progress, search.money.using():
            result = answer_rows(one.fitted, table.rows, replace(options, progress=progress))
        waiting = sum(prediction.transient for prediction in result.predictions)
        if waiting:
            raise Partial(
                f"{waiting} of {len(table.rows)} rows of {table.name} have no answer of {one.spec.name} yet. Run the "
                "same again; answers so far are kept."
            )
        results.append(result)
    task = search.start.task
    board = build_leaderboard(
        task,
        table.rows,
        [candidate_of(result) for result in results],
        train_labels=search.train.labels,
        rank_by=metric,
        seed=search.seed,
    )
    start, *others = [result.spec.name for result in results]
    score = {name: board.entry(name).metrics[metric] for name in (start, *others)}
    differences = {
        name: paired_difference(score[name].value, score[start].value, board.draws[name], board.draws[start])
        for name in others
    }
    corrected = dict(zip(others, holm([differences[name].p for name in others]), strict=True))
    figures = {start: FreshFigures(score[start])}
    for name in others:
        figures[name] = FreshFigures(score[name], differences[name].interval, differences[name].p, corrected[name])
    needed = _rows_needed(board, differences[others[0]], start, others[0]) if others else None
    return FreshMeasurement(figures, board, tuple(results), needed)


def _rows_needed(board: Leaderboard, difference: Difference, start: str, winner: str) -> int | None:
    apart = next(pair.disagreement for pair in board.pairs if {pair.first, pair.second} == {start, winner})
    return plan_from_difference(
        difference,
        board.rows_evaluated,
        metric=board.ranked_by,
        names=(winner, start),
        disagreement=apart,
        alpha=ALPHA,
    ).rows_needed
