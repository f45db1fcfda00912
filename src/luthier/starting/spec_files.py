"""Writes a task and the specs that refer to it as commented YAML files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import DataError
from luthier.outputs import check_file, write_file
from luthier.starting.sizing import CALIBRATION_ROWS, Sizes
from luthier.tasks.task import Task
from luthier.tasks.types import StartingSpec
from luthier.techniques.registry import TECHNIQUES
from luthier.techniques.zero_shot import zero_shot_prompt

__all__ = ["EMBEDDED", "EXAMPLE_ENDPOINTS", "asks_embedded", "example_count", "write_specs"]

METHODS = {
    "score": "the label the model finds likeliest; text and json read what it writes",
    "text": "the label is read from what the model writes; score compares probabilities",
    "json": "the model writes JSON with a label in it; score compares probabilities",
}

METHODS_WITHOUT_LABELS = {
    "json": "answers are held to a JSON schema; text reads what the model writes",
    "text": "the answer is what the model writes; json holds it to a schema",
}

EXAMPLE_ENDPOINTS = Path(__file__).resolve().parent / "endpoints"
"""An endpoint file for each provider, for `--endpoint`."""

EMBEDDED = {"provider": "local", "model": "wordllama-256"}
"""The default endpoint of the embedding spec."""

DEFAULT_BLOCKS = {"endpoint": {"provider": "local", "model": "smollm2-135m-instruct"}}
"""By default prompts ask the embedded server, which needs no key."""

ASKING = tuple(name for name in TECHNIQUES if name != "baseline")
"""Techniques that ask a model."""

MOST_ON_A_LINE = 50
"""More labels stand one below the other."""


def asks_embedded(overrides: Mapping[str, Any] | None) -> bool:
    """Whether prompts with these overrides are answered by the embedded server."""
    return overrides is None or overrides["endpoint"].get("provider") == "local"


def example_count(task: Task) -> int:
    """The most examples that a starting spec of the task shows."""
    return max((spec.examples for spec in task.kind.starting_specs()), default=0)


def write_specs(
    task: Task,
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    replace: bool = False,
    sizes: Sizes | None = None,
) -> list[Path]:
    """Writes `task.yaml`, the specs its type starts with, and `endpoints/` to ask them elsewhere.

    Args:
        task: the task the specs refer to.
        folder: where they go.
        overrides: blocks of the prompts as an endpoint file has them, with the `embedding` block of specs that embed;
            what is absent asks the embedded server.
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
        **{f"{task.name}-{one.name}.yaml": spec_text(task, one, blocks, sizes) for one in task.kind.starting_specs()},
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
    labels, raters = document.pop("labels", None), document.pop("raters", None)
    lines = [
        "# The question. Specs refer to this file; every row, model and figure is read under it.",
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True).strip(),
    ]
    if labels:
        order = "lowest first" if task.ordered else "in any order"
        what = f"every answer that counts, {order}" if task.labels else "all there are, in any order"
        lines += _listed_labels(labels, what)
    if raters:
        lines.append(f"raters: {json.dumps(raters)}   # single people's labels: the human ceiling of the leaderboard")
    return "\n".join(lines) + "\n"


def _listed_labels(labels: Sequence[str], what: str) -> list[str]:
    quoted = [json.dumps(label, ensure_ascii=False) for label in labels]
    if len(labels) <= MOST_ON_A_LINE:
        return [f"labels: [{', '.join(quoted)}]   # {what}"]
    return [f"labels:   # {what}", *(f"  - {label}" for label in quoted)]


def spec_text(task: Task, spec: StartingSpec, blocks: Mapping[str, Any], sizes: Sizes | None = None) -> str:
    """A spec as a commented YAML file.

    Args:
        task: the question, in `task.yaml` beside it.
        spec: what it is.
        blocks: as an endpoint file has them.
        sizes: limits on texts and examples for the embedded model.
    """
    settings = dict(spec.settings)
    technique = settings.pop("technique")
    answer = settings.pop("answer", {})
    lines = [f"# {spec.comment}", f"name: {task.name}-{spec.name}", "task: task.yaml", f"technique: {technique}"]
    if technique == "prompt":
        lines += _prompt_lines(task, spec, sizes)
        lines += _answer_lines(task, answer, blocks)
        room = None if sizes is None else sizes.answer_tokens
        if "decoding" in blocks:
            settings = {"decoding": blocks["decoding"], **settings}
        elif room is not None and room < task.kind.answer_bytes:
            lines.append("# max_tokens: the embedded model fills what room it has; a service stops by itself.")
            settings = {"decoding": {"max_tokens": room}, **settings}
    for key, value in settings.items():
        remark = f"            # {spec.remarks[key]}" if key in spec.remarks else ""
        lines.append(_block(key, value) + remark)
    if technique in ASKING and "endpoint" not in settings:
        block = TECHNIQUES[technique].endpoint_block
        lines.append(_block("endpoint", blocks.get(block, EMBEDDED)))
    return "\n".join(lines) + "\n"


def _prompt_lines(task: Task, spec: StartingSpec, sizes: Sizes | None) -> list[str]:
    written = zero_shot_prompt(task, cut_after=None if sizes is None else sizes.text_characters)
    # What is the same for all rows comes first: services cache it.
    lines = ["prompt:", "  system: |-", *(f"    {line}" for line in written["system"].splitlines())]
    if sizes is not None and sizes.text_characters is not None:
        lines.append("  # truncate: texts are cut after so many characters, to ask the embedded model less.")
    lines += ["  template: |-", *(f"    {line}" for line in written["template"].splitlines())]
    shown = f"count: {spec.examples}, select: {spec.select}, seed: 7"
    if spec.examples and sizes is not None:
        lines.append(f"  examples: {{{shown}, max_characters: {sizes.example_characters}}}")
        lines.append("  # max_characters: only texts as short as that are examples, to ask the embedded model less.")
    elif spec.examples:
        lines.append(f"  examples: {{{shown}}}")
    return lines


def _answer_lines(task: Task, given: Mapping[str, Any], blocks: Mapping[str, Any]) -> list[str]:
    # What an endpoint file says of answers is for models without log-probabilities; a schema stays one.
    answer = dict(given)
    if "calibration_rows" in answer and asks_embedded(blocks):
        answer["calibration_rows"] = CALIBRATION_ROWS
    if answer.get("method") == "score":
        answer |= blocks.get("answer", {})
    methods = METHODS if task.labels else METHODS_WITHOUT_LABELS
    lines = ["answer:"]
    for key, value in answer.items():
        if key == "method":
            lines.append(f"  method: {value}            # {methods[value]}")
        elif key == "words":
            pairs = ", ".join(f"{json.dumps(label)}: {word}" for label, word in value.items())
            lines.append(f"  words: {{{pairs}}}")
        elif key == "calibration_rows":
            told = "training rows that show how much the model likes each word"
            lines += [f"  calibration_rows: {value}     # {told}"] if value else []
        else:
            lines += [f"  {line}" for line in _block(key, value).splitlines()]
    return lines


def _block(name: str, value: Any) -> str:
    plain = dict(value) if isinstance(value, Mapping) else value
    return yaml.safe_dump({name: plain}, sort_keys=False, allow_unicode=True).strip()
