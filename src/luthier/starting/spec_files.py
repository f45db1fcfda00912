"""Writes a task and the specs that refer to it as commented YAML files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import DataError
from luthier.outputs import check_file, write_file
from luthier.starting.sizing import CALIBRATION_ROWS, Sizes
from luthier.tasks.task import Task
from luthier.techniques.zero_shot import words_for, zero_shot_prompt

__all__ = ["EMBEDDED", "EXAMPLE_ENDPOINTS", "asks_embedded", "example_count", "write_specs"]

CALIBRATION_ROWS_OF_A_SERVICE = 60

METHODS = {
    "score": "the label the model finds likeliest; text and json read what it writes",
    "text": "the label is read from what the model writes; score compares probabilities",
    "json": "the model writes JSON with a label in it; score compares probabilities",
}

EXAMPLE_ENDPOINTS = Path(__file__).resolve().parent / "endpoints"
"""An endpoint file for each provider, for `--endpoint`."""

EMBEDDED = {"provider": "local", "model": "wordllama-256"}
"""The default endpoint of the embedding spec."""

DEFAULT_BLOCKS = {"endpoint": {"provider": "local", "model": "smollm2-135m-instruct"}}
"""By default prompts ask the embedded server, which needs no key."""

MOST_DEFAULT_EXAMPLES = 40
"""More would make every prompt long and expensive; with more labels some have no example, and the spec says so."""


def asks_embedded(overrides: Mapping[str, Any] | None) -> bool:
    """Whether prompts with these overrides are answered by the embedded server."""
    return overrides is None or overrides["endpoint"].get("provider") == "local"


def example_count(task: Task) -> int:
    """Number of examples in the few-shot spec: one per label, at most `MOST_DEFAULT_EXAMPLES`."""
    return max(4, min(len(task.labels), MOST_DEFAULT_EXAMPLES))


def write_specs(
    task: Task,
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    replace: bool = False,
    sizes: Sizes | None = None,
) -> list[Path]:
    """Writes `task.yaml`, a baseline, an embedding spec, two prompts, and `endpoints/` to ask them elsewhere.

    Args:
        task: the task the specs refer to.
        folder: where they go.
        overrides: blocks of the prompts as an endpoint file has them, with the `embedding` block of the embedding
            spec; what is absent asks the embedded server.
        replace: whether files of these names may be written over.
        sizes: limits on texts and examples for prompts to the embedded model.

    Raises:
        DataError: files are there already, or the folder cannot be written.
    """
    blocks = overrides or DEFAULT_BLOCKS
    if not asks_embedded(overrides):
        sizes = None
    texts = {
        "task.yaml": task_text(task),
        f"{task.name}-baseline.yaml": baseline_text(task),
        f"{task.name}-embedding.yaml": embedding_text(task, blocks),
        f"{task.name}-zero-shot.yaml": prompt_text(task, blocks, examples=0, sizes=sizes),
        f"{task.name}-few-shot.yaml": prompt_text(task, blocks, examples=example_count(task), sizes=sizes),
    }
    there = [name for name in texts if (folder / name).exists()]
    if there and not replace:
        raise DataError(
            f"{folder} already has {', '.join(there)}. Choose another --folder, or --force to write over them."
        )
    for name in texts:
        check_file(folder / name)
    try:
        (folder / "endpoints").mkdir(parents=True, exist_ok=True)
        for example in sorted(EXAMPLE_ENDPOINTS.glob("*.yaml")):
            # Settings that a user made in them are kept.
            kept = folder / "endpoints" / example.name
            if not kept.exists() and not kept.is_symlink():
                write_file(kept, example.read_text(encoding="utf-8"))
        return [write_file(folder / name, text) for name, text in texts.items()]
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}. Choose another --folder.") from error


def task_text(task: Task) -> str:
    """The task as a commented YAML file."""
    document = task.document()
    labels, raters = document.pop("labels"), document.pop("raters", None)
    order = "lowest first" if task.ordered else "in any order"
    lines = [
        "# The question. Specs refer to this file; every row, model and figure is read under it.",
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True).strip(),
        f"labels: {json.dumps(labels, ensure_ascii=False)}   # every answer that counts, {order}",
    ]
    if raters:
        lines.append(f"raters: {json.dumps(raters)}   # single people's labels: the human ceiling of the leaderboard")
    return "\n".join(lines) + "\n"


def baseline_text(task: Task) -> str:
    """The spec that every other one has to beat."""
    return (
        "# TF-IDF and logistic regression: free, fast, and what a language model has to beat.\n"
        f"name: {task.name}-baseline\ntask: task.yaml\ntechnique: baseline\n"
    )


def embedding_text(task: Task, blocks: Mapping[str, Any]) -> str:
    """An embedding spec with the head that measured best on such tasks (docs/embedding.md)."""
    head, others = ("ordinal", "logistic, regression, automl") if task.ordered else ("logistic", "automl")
    return (
        "# Texts as vectors of an embedding model, and a small model learned on them: one cheap call per text.\n"
        f"name: {task.name}-embedding\ntask: task.yaml\ntechnique: embedding\n"
        f"head: {head}            # or {others}\n" + _block("endpoint", blocks.get("embedding", EMBEDDED)) + "\n"
    )


def prompt_text(task: Task, blocks: Mapping[str, Any], *, examples: int, sizes: Sizes | None = None) -> str:
    """A prompt spec, zero-shot or with examples from the training rows."""
    words = words_for(task)
    written = zero_shot_prompt(task, cut_after=None if sizes is None else sizes.text_characters)
    cut = sizes is not None and sizes.text_characters is not None
    shown = f"count: {examples}, select: balanced, seed: 7"
    rows = CALIBRATION_ROWS if asks_embedded(blocks) else CALIBRATION_ROWS_OF_A_SERVICE
    answer = {"method": "score", "calibration_rows": rows, **blocks.get("answer", {})}
    lines = [
        f"# The prompt with {examples} labelled examples in front, taken evenly from the training rows."
        if examples
        else "# The prompt alone.",
        f"name: {task.name}-{'few' if examples else 'zero'}-shot",
        "task: task.yaml",
        "technique: prompt",
        "prompt:",
        # What is the same for all rows comes first: services cache it.
        "  system: |-",
        f"    {written['system']}",
    ]
    if sizes is not None and cut:
        lines.append("  # truncate: texts are cut after so many characters, to ask the embedded model less.")
    lines += ["  template: |-", *(f"    {line}" for line in written["template"].splitlines())]
    if examples and sizes is not None:
        lines.append(f"  examples: {{{shown}, max_characters: {sizes.example_characters}}}")
        lines.append("  # max_characters: only texts as short as that are examples, to ask the embedded model less.")
    elif examples:
        lines.append(f"  examples: {{{shown}}}")
    lines += ["answer:", f"  method: {answer['method']}            # {METHODS[answer['method']]}"]
    if words:
        pairs = ", ".join(f"{json.dumps(label)}: {word}" for label, word in words.items())
        lines.append(f"  words: {{{pairs}}}")
    if rows := answer["calibration_rows"]:
        lines.append(f"  calibration_rows: {rows}     # training rows that show how much the model likes each word")
    lines += [_block(name, blocks[name]) for name in ("decoding", "endpoint") if name in blocks]
    return "\n".join(lines) + "\n"


def _block(name: str, values: Mapping[str, Any]) -> str:
    return yaml.safe_dump({name: dict(values)}, sort_keys=False, allow_unicode=True).strip()
