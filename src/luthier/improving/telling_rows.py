"""Rows that tell what is wrong with a prompt: some it answered wrong, of each kind of mistake, and some right ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.improving.records import MeasuredPrompt
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.prompt.recipe import PromptRecipe

__all__ = ["MOST_CHARACTERS", "ToldRow", "shortened", "telling_rows", "told_row", "wrong_positions"]

MOST_CHARACTERS = 600
"""Of a cell or an answer; of longer ones the beginning and the end are told."""


@dataclass(frozen=True)
class ToldRow:
    """A row as the writer is told it.

    Attributes:
        cells: the columns the prompt shows, by name.
        truth: the true answer, in the word the model should have answered with.
        answer: what it answered; where that was no answer the task allows, its own words.
        is_wrong: whether the answer is not the truth.
    """

    cells: dict[str, str]
    truth: str
    answer: str
    is_wrong: bool


def telling_rows(measured: MeasuredPrompt, rows: Rows, *, wrong: int, right: int, seed: str) -> list[ToldRow]:
    """Wrong rows, kinds of mistakes in turn and the most frequent first, then right ones of different answers.

    Args:
        measured: the prompt and its answers.
        rows: the rows its positions are places in.
        wrong: most wrong rows.
        right: most right rows.
        seed: equal seeds draw equal rows.
    """
    off = _distances(measured, rows)
    drawn = random.Random(f"telling rows/{seed}")
    mistakes, hits = [place for place in off if off[place] > 0], [place for place in off if off[place] <= 0]
    labelled = bool(measured.spec.task.labels)
    if not labelled:
        # Of numbers hardly one is right: the half that is farthest off are the mistakes, the nearest ones the hits.
        mistakes.sort(key=lambda place: -off[place])
        hits = hits or mistakes[max(wrong, len(mistakes) - right) :]
        mistakes = mistakes[: max(wrong, len(mistakes) // 2)]

    def kind(place: int) -> tuple[object, ...]:
        truth = rows.labels[measured.positions[place]]
        return (truth, measured.predictions[place].value) if labelled else ()

    chosen = [(place, True) for place in _in_turn(mistakes, kind, wrong, drawn)]
    chosen += [(place, False) for place in _in_turn(hits, kind, right, drawn)]
    return [
        told_row(measured.spec, rows, measured.positions[place], measured.predictions[place], is_wrong=is_wrong)
        for place, is_wrong in chosen
    ]


def wrong_positions(measured: MeasuredPrompt, rows: Rows) -> list[int]:
    """Places in `rows` of what a prompt answered wrong, the worst first."""
    off = _distances(measured, rows)
    return [measured.positions[place] for place in sorted(off, key=lambda place: -off[place]) if off[place] > 0]


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The beginning and the end of a long text.

    Examples:
        >>> shortened("0123456789" * 4, 20)
        '0123456789012 [...] 789'
    """
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 2]} [...] {text[len(text) - end + 2 :]}"


def told_row(spec: PromptRecipe, rows: Rows, position: int, found: Prediction, *, is_wrong: bool) -> ToldRow:
    """A row and what a prompt answered, as the writer is told them."""
    inputs = rows.inputs[position]
    cells = {name: shortened(str(inputs[name])) for name in spec.columns if inputs.get(name) is not None}
    answer = found.call.raw or "" if found.value is None else _word(spec, found.value)
    return ToldRow(cells, shortened(_word(spec, rows.labels[position])), shortened(answer), is_wrong)


def _distances(measured: MeasuredPrompt, rows: Rows) -> dict[int, float]:
    """How far off each answer is, by its place; rows without an answer tell nothing of the prompt and are left out."""
    there = [place for place, found in enumerate(measured.predictions) if found.state in ("ok", "off_label")]
    if not there:
        return {}
    truths = [rows.labels[measured.positions[place]] for place in there]
    judged = measured.spec.task.kind.judge(truths, [measured.predictions[place] for place in there])
    return dict(zip(there, map(float, judged.distances), strict=True))


def _word(spec: PromptRecipe, value: Any) -> str:
    return spec.words[spec.task.position(value)] if spec.task.labels else spec.task.kind.written(value)


def _in_turn(
    places: Sequence[int], kind: Callable[[int], tuple[object, ...]], count: int, drawn: random.Random
) -> list[int]:
    """So many places, one of each kind in turn; kinds with more places come first."""
    waiting: dict[tuple[object, ...], list[int]] = {}
    for place in drawn.sample(list(places), len(places)):
        waiting.setdefault(kind(place), []).append(place)
    turn = sorted(waiting.values(), key=len, reverse=True)
    chosen: list[int] = []
    while len(chosen) < count and any(turn):
        for left in turn:
            if left and len(chosen) < count:
                chosen.append(left.pop())
    return chosen
