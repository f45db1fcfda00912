"""The rows that the best spec got wrong, with what other specs answered beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from luthier.engine.report import counted
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.mistakes import Mistake, mistakes
from luthier.reporting.board_sentences import named
from luthier.reporting.numbers import number
from luthier.reporting.table import Answered, AnsweredRow, Section, SideBySide
from luthier.tasks.prediction import Prediction
from luthier.tasks.spellings import with_article
from luthier.tasks.task import Rows
from luthier.tasks.types import TaskType
from luthier.truncation import one_line, truncated

__all__ = ["mistakes_section"]

MOST_BESIDE = 6
"""Specs whose answers stand beside each other, the best."""

ROOM = 160_000
"""Characters of texts and answers on a page: it is mailed."""

LONGEST_TEXT, LONGEST_VALUE, LONGEST_SAID = 900, 600, 300
"""Characters that a page shows of a row's text, of a truth or an answer, and of a model's own words."""

LONGEST_LINE = 200
"""Characters of one part of an answer, such as a field."""


def mistakes_section(board: Leaderboard, rows: Rows | None, most: int) -> Section:
    """The rows that the best spec got wrong, the worst first, then the worst of the other specs shown.

    Args:
        board: with predictions, or there are no rows.
        rows: the test rows; `None` where the page is made without them.
        most: rows of the best spec at most; of each other one a sixth as many.
    """
    shown = [entry for entry in board.entries if entry.candidate.predictions][:MOST_BESIDE]
    graded = board.task.kind.graded
    title = "Farthest from the truth" if graded else "Wrong answers"
    if rows is None or not shown:
        none = "This page was made without the rows and the answers, so it has no examples."
        return Section(title, (none,))
    wrong = [{one.row: one for one in mistakes(board.task, rows, entry.candidate.predictions)} for entry in shown]
    if not any(wrong):
        return Section(title, (f"{named([entry.name for entry in shown])} got no row wrong.",))
    value = with_article(board.task.kind.value_name)
    if graded:
        intro = (
            f"The rows on which {shown[0].name} is farthest from the truth, then those without {value}"
            f"{'; after them those of the other specs' if len(shown) > 1 else ''}. Reading ten of them often shows "
            "more than any number above."
        )
        return Section(title, (intro, _side_by_side(board, shown, wrong, most)))
    order = "farthest off first, then the most confident" if board.task.kind.ordered else "the most confident first"
    intro = (
        f"The rows that {shown[0].name} got wrong, {order}, then those without {value}"
        f"{'; after them the worst rows of the other specs' if len(shown) > 1 else ''}. Reading ten of them often "
        "shows more than any number above."
    )
    return Section(title, (intro, *_agreement(shown, wrong), _side_by_side(board, shown, wrong, most)))


Wrong = Sequence[dict[int, Mistake]]


def _agreement(shown: Sequence[Entry], wrong: Wrong) -> list[str]:
    """Whether another spec is right where the best one is wrong."""
    own = wrong[0]
    if len(shown) < 2 or not own:
        return []
    every = sum(all(row in found for found in wrong) for row in own)
    rescued = len(own) - every
    others = f"all {len(shown)} specs" if len(shown) > 2 else "both specs"
    said = f"{shown[0].name} is wrong on {counted(len(own), 'row')}. On {rescued:,} of them another spec shown is right"
    if not every:
        return [f"{said}."]
    return [f"{said}; {others} are wrong on {every:,}: look there first whether the table's own {_truth(every)} right."]


def _truth(count: int) -> str:
    return "label is" if count == 1 else "labels are"


def _side_by_side(board: Leaderboard, shown: Sequence[Entry], wrong: Wrong, most: int) -> SideBySide:
    found: dict[int, Mistake] = {}
    for place, of_spec in enumerate(wrong):
        part = most if place == 0 else max(1, most // MOST_BESIDE)
        found |= {row: one for row, one in list(of_spec.items())[:part] if row not in found}
    drawn: list[AnsweredRow] = []
    room = ROOM
    for row, one in found.items():
        answers = tuple(
            _answered(board.task.kind, entry.candidate.predictions[row], of_spec.get(row))
            for entry, of_spec in zip(shown, wrong, strict=True)
        )
        truth = _readable(board.task.kind, one.truth)
        room -= min(len(one.text), LONGEST_TEXT) + min(len(truth), LONGEST_VALUE)
        room -= sum(min(len(a.told), LONGEST_SAID) + min(len(a.value), LONGEST_VALUE) for a in answers if a)
        if room < 0 and drawn:
            break
        parted = isinstance(one.truth, dict | list)
        drawn.append(AnsweredRow(one.number, one.text, truth, answers, one.known_by, parted))
    notes = tuple(_notes(board, shown, wrong, drawn))
    return SideBySide(tuple(entry.name for entry in shown), tuple(drawn), notes, board.task.kind.graded)


def _answered(kind: TaskType, given: Prediction, mistake: Mistake | None) -> Answered | None:
    if given.state == "empty":
        return None
    value = given.state.replace("_", " ") if given.value is None else _readable(kind, given.value)
    sure = None if mistake is None else mistake.confidence
    said = (None if sure is None else f"{number(sure, 'percent')} sure", given.call.raw, given.error)
    right = None if kind.graded and given.value is not None else mistake is None
    return Answered(value, right, " · ".join(filter(None, said)))


def _readable(kind: TaskType, value: Any) -> str:
    """A value as text: an object has a line per key, a list one per entry, a number six digits."""
    if isinstance(value, dict) and value:
        return "\n".join(f"{_line(key)}: {_line(one)}" for key, one in value.items())
    if isinstance(value, list) and value:
        return "\n".join(map(_entry, value))
    return f"{value:g}" if isinstance(value, float) else kind.written(value)


def _entry(value: Any) -> str:
    """An entry of a list; a span of a text as its kind, its words and its place."""
    if isinstance(value, dict) and {"label", "text", "start", "end"} <= set(value):
        return _line(f"{value['label']}: {value['text']} ({value['start']}–{value['end']})")
    return _line(value)


def _line(value: Any) -> str:
    if isinstance(value, str):
        return one_line(value, LONGEST_LINE)
    return truncated(json.dumps(value, ensure_ascii=False), LONGEST_LINE)


def _notes(board: Leaderboard, shown: Sequence[Entry], wrong: Wrong, drawn: Sequence[AnsweredRow]) -> Iterator[str]:
    whole = len({row for found in wrong for row in found})
    if whole > len(drawn):
        what = "on which a spec shown here is off" if board.task.kind.graded else "that a spec shown here got wrong"
        yield f"{len(drawn):,} of {whole:,} rows {what}."
    if len(board.entries) > len(shown):
        yield f"Answers of {named([entry.name for entry in shown])}, of {len(board.entries)} specs."
