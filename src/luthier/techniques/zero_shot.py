"""The plainest prompt for a task: its question and the texts of a row, no examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.tasks.task import Task
from luthier.techniques.prompt.template import cell_expression

__all__ = ["FOR_REASONING", "starts_with_probabilities", "zero_shot_document", "zero_shot_prompt"]

FOR_REASONING: Mapping[str, Any] = {"decoding": {"temperature": None, "max_tokens": 2000}}
"""What a model that thinks before it answers needs: room for its thoughts, and no temperature, which it refuses."""


def zero_shot_prompt(task: Task, *, cut_after: int | None = None) -> dict[str, str]:
    """The `prompt:` of a spec: a system turn that is the same for all rows, which services cache, and a template.

    Args:
        task: the question.
        cut_after: characters of each text that are sent; all when absent.

    Examples:
        >>> zero_shot_prompt(Task("mood", labels=["good", "bad"]))["template"]
        'Text: {{ text }}\\nAnswer:'
    """
    cut = "" if cut_after is None else f" | truncate({cut_after})"
    cells = [f"{{{{ {cell_expression(column)}{cut} }}}}" for column in task.text_columns]
    texts = (
        [f"Text {place}: {cell}" for place, cell in enumerate(cells, 1)] if len(cells) > 1 else [f"Text: {cells[0]}"]
    )
    return {"system": task.kind.question(), "template": "\n".join([*texts, f"{task.kind.answer_cue}:"])}


def zero_shot_document(task: Task) -> dict[str, Any]:
    """A spec of technique `prompt` that lacks nothing but its endpoint.

    A label is read from what the model writes, which every model can; other answers are held to their schema.
    """
    named = {"name": f"{task.name}-zero-shot", "task": task, "technique": "prompt"}
    return {**named, "prompt": zero_shot_prompt(task), "answer": zero_shot_answer(task)}


def zero_shot_answer(task: Task) -> dict[str, Any]:
    """The `answer:` of the first prompt that the type starts with, without what needs probabilities."""
    first = dict(_starting_answer(task))
    first.pop("calibration_rows", None)
    method = first.pop("method", "text")
    return {"method": "text" if method == "score" else method} | first


def starts_with_probabilities(task: Task) -> bool:
    """Whether prompts of the task compare labels by probability to begin with: it has labels, and not too many."""
    return _starting_answer(task).get("method") == "score"


def _starting_answer(task: Task) -> Mapping[str, Any]:
    prompts = [spec.settings for spec in task.kind.starting_specs() if spec.settings["technique"] == "prompt"]
    return prompts[0].get("answer", {}) if prompts else {}
