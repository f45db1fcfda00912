"""The answers that a prompt names to the model, which a rewritten one has to name too."""

from __future__ import annotations

import re

from luthier.improving.instructions import shown_text
from luthier.tasks.spellings import number_of
from luthier.techniques import Prompt

__all__ = ["named_answers", "unnamed_answers"]


def named_answers(spec: Prompt) -> list[str]:
    """Answers that a prompt names and that a model could not know of otherwise.

    Of a scale of numbers the ends are enough. Where the form of the answer is forced, or letters stand for it, no
    answer needs a name. Of a task without labels it is the key in JSON, where the prompt has it in quotes.
    """
    if spec.answer_mode in ("json", "letters"):
        return []
    names = spec.words or (f'"{spec.task.kind.value_name}"',)
    text = shown_text(spec)
    named = [name for name in names if _names(text, name)]
    numbers = [number for number in map(number_of, names) if number is not None]
    if len(numbers) == len(names):
        named = [name for name in named if number_of(name) in (min(numbers), max(numbers))]
    return named


def unnamed_answers(before: Prompt, after: Prompt) -> list[str]:
    """Answers that a prompt named and another no longer does."""
    text = shown_text(after)
    return [name for name in named_answers(before) if not _names(text, name)]


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I) is not None
