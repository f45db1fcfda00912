"""The plainest prompt for a task: its labels named, no examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.tasks.spellings import number_of
from luthier.tasks.task import Task
from luthier.techniques.prompt.template import cell_expression

__all__ = ["FOR_REASONING", "words_for", "zero_shot_document", "zero_shot_prompt"]

WORDS = {
    3: ("poor", "okay", "excellent"),
    4: ("terrible", "poor", "good", "excellent"),
    5: ("terrible", "poor", "okay", "good", "excellent"),
}
"""Words for short number scales; all begin differently, so the first token of an answer tells them apart."""

FOR_REASONING: Mapping[str, Any] = {"decoding": {"temperature": None, "max_tokens": 2000}}
"""What a model that thinks before it answers needs: room for its thoughts, and no temperature, which it refuses."""


def words_for(task: Task) -> dict[str, str] | None:
    """Words a model can say for labels that are bare numbers; `None` where the labels are words already."""
    if not task.ordered or len(task.labels) not in WORDS or None in map(number_of, task.labels):
        return None
    return dict(zip(task.ascending, WORDS[len(task.labels)], strict=True))


def zero_shot_prompt(task: Task, *, cut_after: int | None = None) -> dict[str, str]:
    """The `prompt:` of a spec: a system turn that is the same for all rows, which services cache, and a template.

    Args:
        task: the question.
        cut_after: characters of a text that are sent; all when absent.

    Examples:
        >>> zero_shot_prompt(Task("mood", labels=["good", "bad"]))["template"]
        'Text: {{ text }}\\nAnswer:'
    """
    cell = cell_expression(task.text)
    cell += "" if cut_after is None else f" | truncate({cut_after})"
    asked = (
        "Which label fits each text? Answer with one of:"
        if words_for(task) is None
        else "How does the writer of each text feel about it? Answer with one word:"
    )
    return {"system": f"{asked} {{{{ words | join(', ') }}}}.", "template": f"Text: {{{{ {cell} }}}}\nAnswer:"}


def zero_shot_document(task: Task) -> dict[str, Any]:
    """A spec of technique `prompt` that lacks nothing but its endpoint; answers are read from what the model writes."""
    words = words_for(task)
    answer = {"method": "text"} | ({} if words is None else {"words": words})
    named = {"name": f"{task.name}-zero-shot", "task": task, "technique": "prompt"}
    return {**named, "prompt": zero_shot_prompt(task), "answer": answer}
