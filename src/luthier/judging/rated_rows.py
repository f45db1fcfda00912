"""Rows to look at: those on which a judge rates the specs most differently, with the answers and its own words."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.judging.answers_to_judge import ANSWER, AnswersToJudge
from luthier.judging.judge_spec import score_values
from luthier.judging.judgement_facts import RatedAnswer, RatedRow
from luthier.tables.cells import utf8_safe
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt

__all__ = ["MOST_BESIDE", "rated_rows"]

MOST_ROWS = 20

MOST_BESIDE = 6
"""Specs whose answers stand beside each other, the best."""

LONGEST_TEXT, LONGEST_ANSWER, LONGEST_SAID = 900, 600, 300
"""Characters that are kept of a row's text, of a reference or an answer, and of the judge's own words."""


def rated_rows(
    judge: Prompt, answers: AnswersToJudge, ratings: Sequence[Prediction], specs: Sequence[str]
) -> tuple[RatedRow, ...]:
    """The rows with the largest difference between two specs, then those rated lowest.

    Args:
        judge: whose ratings they are.
        answers: that were judged.
        ratings: one per answer, in the same order.
        specs: names in the order in which their answers stand beside each other; those of the first few are kept.
    """
    by_label = dict(zip(judge.task.labels, score_values(judge), strict=True))
    shown = [answers.specs.index(name) for name in specs[:MOST_BESIDE]]
    places = [[spec * answers.rows + row for spec in shown] for row in range(answers.rows)]

    def urgency(row: int) -> tuple[float, float]:
        scores = [by_label[ratings[place].value] for place in places[row] if ratings[place].value is not None]
        # Rows that the judge rated nothing of come last.
        return (min(scores) - max(scores), min(scores)) if scores else (1.0, 0.0)

    worth = sorted(range(answers.rows), key=urgency)[:MOST_ROWS]
    return tuple(_row(row, answers, ratings, places[row]) for row in worth)


def _row(row: int, answers: AnswersToJudge, ratings: Sequence[Prediction], places: Sequence[int]) -> RatedRow:
    first = answers.records[places[0]]
    number = first["row"]
    return RatedRow(
        number if isinstance(number, int) else row + 1,
        _cut(first["text"], LONGEST_TEXT),
        _cut(first["truth"], LONGEST_ANSWER),
        tuple(
            RatedAnswer(
                _cut(answers.records[place][ANSWER], LONGEST_ANSWER),
                ratings[place].value or "",
                _cut(ratings[place].call.raw, LONGEST_SAID),
            )
            for place in places
        ),
    )


def _cut(text: str | None, longest: int) -> str:
    kept = "" if text is None else text if len(text) <= longest else f"{text[:longest]}…"
    return str(utf8_safe(kept))
