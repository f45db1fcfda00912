"""Proposes instructions that a model rewrites from the rows a prompt answered wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from luthier.improving.instructions import Instructions, NoPrompt, instructions_of, plain_text, shown_text
from luthier.improving.named_answers import unnamed_answers
from luthier.improving.records import MeasuredPrompt, PromptSearch, Proposal
from luthier.improving.telling_rows import ToldRow, telling_rows
from luthier.improving.writer_request import ANGLES, SHORTER, Angle, read_instructions, writer_request
from luthier.providers.exchange import Answer, Request
from luthier.tasks.spellings import same_text
from luthier.techniques import Prompt

__all__ = ["Rewriting", "copies", "most_characters"]

WRONG_ROWS, RIGHT_ROWS = 12, 4
"""Rows a request tells of; another request tells of others."""

MOST_TRIED = 4
"""Earlier instructions a request tells of."""

COPIED_WORDS = 8
"""Words in a row that instructions may not share with a training text; of scripts without spaces twice as many
characters."""

WHOLE_TEXT = 4
"""Words of a text from which on it counts as copied when instructions hold all of it; shorter ones are phrases."""

USUAL = 3
"""Of so many of the rows told a run of words is no one's text, but how texts of this kind begin or end."""

LONGEST, BASE, PER_LABEL = 3, 1500, 100
"""See `most_characters`."""

TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|\w+")


class Rewriting:
    """A model is told a prompt's instructions and rows it answered wrong, and writes other instructions.

    Each request goes about it in another way (`ANGLES`) and tells of other rows, so that prompts differ. Every third
    starts from the second best prompt.
    """

    name: ClassVar[str] = "rewrite"
    needs_writer: ClassVar[bool] = True

    def propose(self, search: PromptSearch, count: int) -> Sequence[Proposal]:
        """At most `count` prompts, one from each answer of the writer that can be used; why others cannot is noted.

        Raises:
            BudgetReached: the budget does not reach.
            EndpointError: the writer cannot be asked.
        """
        asked = [one for one in (_rewrite(search, number) for number in range(count)) if one is not None]
        if not asked:
            search.note("No row was answered wrong, so there is nothing to rewrite instructions from.")
            return []
        answers = search.ask_writer([one.request() for one in asked])
        known = {_said(one.spec) for one in search.measured} | {_said(search.start)}
        found: list[Proposal] = []
        for one, answer in zip(asked, answers, strict=True):
            made = one.read(answer)
            if not isinstance(made, NoPrompt) and _said(made.spec) in known:
                made = NoPrompt("it says what was measured already")
            if isinstance(made, NoPrompt):
                search.note(f"An answer of the writer became no prompt: {made.why}.")
                continue
            known.add(_said(made.spec))
            found.append(made)
        return found


@dataclass(frozen=True)
class _Rewrite:
    """One request: which prompt, from which rows, how."""

    parent: MeasuredPrompt
    instructions: Instructions
    told: Sequence[ToldRow]
    tried: Sequence[str]
    angle: Angle
    most: int

    def request(self) -> Request:
        return writer_request(self.instructions, self.told, self.tried, self.angle, self.most)

    def read(self, answer: Answer) -> Proposal | NoPrompt:
        written = read_instructions(answer)
        if isinstance(written, NoPrompt):
            return written
        text = plain_text(written)
        made = prompt_saying(text, self.instructions, self.told, self.instructions.text, self.most)
        return made if isinstance(made, NoPrompt) else Proposal(made, self.parent.spec.name, self._how(text))

    def _how(self, text: str) -> str:
        wrong = sum(row.is_wrong for row in self.told)
        source = f"from {wrong} wrong row{'' if wrong == 1 else 's'}" if wrong else "though no row was wrong"
        before = len(self.instructions.text)
        longer = f"{len(text):,} characters in place of {before:,}"
        return f"instructions rewritten {source} ({self.angle.name}): {longer}"


def most_characters(start: Prompt) -> int:
    """Characters that instructions may have: they are paid for with every row, for as long as the prompt is used.

    Three times those the search began with, or room for a paragraph and a line for each label where that is more: 2,000
    characters for 5 labels, about 500 tokens, which is what a short review takes. Rewritten ones do not count as the
    beginning, so instructions cannot grow from round to round.
    """
    return max(LONGEST * len(instructions_of(start).text), BASE + PER_LABEL * len(start.task.labels))


def prompt_saying(
    text: str, instructions: Instructions, told: Sequence[ToldRow], present: str, most: int
) -> Prompt | NoPrompt:
    """The prompt with new instructions, or why they make none.

    Args:
        text: the new instructions, as plain text.
        instructions: those in whose place they stand.
        told: rows that the writer was told of.
        present: instructions that the writer was given, whose words are free.
        most: characters that instructions may have.
    """
    if len(text) > most:
        return NoPrompt(f"it has {len(text):,} characters, and {most:,} are allowed")
    if copies(text, told, present):
        return NoPrompt("it copies the words of a training text")
    made = instructions.replaced(text)
    if isinstance(made, NoPrompt):
        return made
    unnamed = unnamed_answers(instructions.spec, made)
    if unnamed:
        return NoPrompt(f"it does not name the answer {', '.join(map(repr, unnamed))}, as the prompt did")
    return made


def copies(text: str, told: Sequence[ToldRow], present: str = "") -> bool:
    """Whether instructions copy words in a row, or a whole text, from the rows their writer was told of.

    Instructions that hold training texts do well on those and on no others, and keep what customers wrote.

    Args:
        text: the instructions.
        told: the rows.
        present: instructions there were before, whose words are free.
    """
    cells = [_tokens(cell) for row in told for cell in row.cells.values()]
    held = Counter(run for cell in cells for run in set(_runs(cell)))
    usual = {run for run, count in held.items() if count >= USUAL} | set(_runs(_tokens(present)))
    said = _tokens(text)
    if any(run in held and run not in usual for run in _runs(said)):
        return True
    new, old = f" {' '.join(said)} ", f" {' '.join(_tokens(present))} "
    wholes = [f" {' '.join(cell)} " for cell in cells if len(cell) >= WHOLE_TEXT * _scale(cell)]
    return any(whole in new and whole not in old for whole in wholes)


def _rewrite(search: PromptSearch, number: int) -> _Rewrite | None:
    """The request of this number in a round; `None` where there is nothing to ask."""
    measured = search.measured
    parent = measured[1] if number % 3 == 2 and len(measured) > 1 else measured[0]
    turn = len(measured) - 1 + number
    told = telling_rows(parent, search.rows, wrong=WRONG_ROWS, right=RIGHT_ROWS, seed=f"{search.seed}/{turn}")
    is_wrong = any(row.is_wrong for row in told)
    if not is_wrong and number:
        return None
    instructions = instructions_of(parent.spec)
    others = (instructions_of(one.spec).text for one in measured if one is not parent)
    tried = [text for text in dict.fromkeys(others) if text not in ("", instructions.text)][:MOST_TRIED]
    angle = ANGLES[turn % len(ANGLES)] if is_wrong else SHORTER
    return _Rewrite(parent, instructions, told, tried, angle, most_characters(search.start))


def _said(spec: Prompt) -> str:
    """What makes two prompts of a search the same: their examples and words, without case and white space."""
    return f"{same_text(shown_text(spec))}\n{spec.prompt.examples!r}"


def _tokens(text: str) -> list[str]:
    return TOKEN.findall(text.casefold())


def _runs(tokens: Sequence[str]) -> list[tuple[str, ...]]:
    length = COPIED_WORDS * _scale(tokens)
    return [tuple(tokens[begin : begin + length]) for begin in range(len(tokens) - length + 1)]


def _scale(tokens: Sequence[str]) -> int:
    """2 where most tokens are single characters of a script without spaces, which says half as much."""
    return 2 if sum(map(len, tokens)) < 2 * len(tokens) else 1
