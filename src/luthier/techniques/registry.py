"""The techniques by name, and the specs in files that name them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.documents import path_of, read_yaml
from luthier.errors import SpecError
from luthier.spec import SCHEMA, Spec
from luthier.tasks.task import Task
from luthier.techniques.baseline import Baseline
from luthier.techniques.decision import Decision
from luthier.techniques.embedding import Embedding
from luthier.techniques.endpoint_files import override_endpoint, unmoved, why_unmoved
from luthier.techniques.finetune import FineTune
from luthier.techniques.grid import MOST_SPECS, expand, read_options, too_many
from luthier.techniques.prompt.prompt import Prompt

__all__ = ["TECHNIQUES", "grid", "parse_spec", "read_spec", "read_specs"]

TECHNIQUES: dict[str, type[Spec]] = {
    "baseline": Baseline,
    "decision": Decision,
    "embedding": Embedding,
    "fine-tune": FineTune,
    "prompt": Prompt,
}
"""Every technique by the name it has in a spec."""

NAMED = 4
"""Specs of a grid that a message names before it counts the rest."""


def parse_spec(document: Any, source: str, folder: Path) -> Spec:
    """The spec a parsed YAML document describes; `task` may be a path relative to `folder`."""
    checked, technique = check_document(document, source, folder)
    return technique.make(checked, source)


def check_document(document: Any, source: str, folder: Path) -> tuple[dict[str, Any], type[Spec]]:
    """The document with its task read, and the technique it names."""
    if not isinstance(document, dict) or "technique" not in document:
        raise SpecError(f"{source} is not a spec: it needs `technique:`, one of {', '.join(TECHNIQUES)}.")
    document = dict(document)
    schema = document.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise SpecError(f"{source} has schema {schema!r}; this luthier reads {SCHEMA}. Install a newer luthier.")
    technique = document["technique"]
    if technique not in TECHNIQUES:
        raise SpecError(f"{source}: technique {technique!r} is unknown; allowed: {', '.join(TECHNIQUES)}.")
    if isinstance(document.get("task"), str):
        task = folder / document["task"]
        if not task.is_file():
            raise SpecError(
                f"{source} says `task: {document['task']}`, and there is no file {task}. Keep the spec in the folder "
                "of its task file, or write the path from the spec to the task."
            )
        document["task"] = Task.read(task)
    return document, TECHNIQUES[technique]


def read_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec in a YAML file.

    Args:
        path: the file, or `FILE#NAME` for one spec of the grid in it.
        overrides: from `read_endpoint`, to use another endpoint than that of the spec.

    Raises:
        SpecError: the file is not there, is no YAML, is not a spec, or holds a grid of several; or `overrides`
            has no endpoint for such a spec.
    """
    file = path_of(path, "a spec", SpecError)
    if file.is_dir():
        inside = sorted(str(path) for path in file.glob("*.yaml") if path.name != "task.yaml")[:NAMED]
        raise SpecError(
            f"{file} is a folder, and one spec is wanted. Give a file of it: {', '.join(inside) or '(none)'}."
        )
    spec, *others = _specs_in(path, overrides)
    if others:
        raise SpecError(
            f"{path} holds a grid of {1 + len(others):,} specs, and one is wanted here: {_named([spec, *others])}. "
            f"Name it, as in {path}#{spec.name}; one that was compared is also packaged by its run: "
            "luthier log runs:/RUN_ID."
        )
    if overrides and unmoved([spec], overrides):
        raise SpecError(why_unmoved(spec))
    return spec


def read_specs(paths: Sequence[str | Path] | str | Path, overrides: Mapping[str, Any] | None = None) -> list[Spec]:
    """The specs in files, globs and folders, grids expanded; a `task.yaml` among them is the task, not a spec.

    Raises:
        SpecError: nothing was found, two specs share a name, they are too many, or they answer different tasks.
    """
    files: list[Path] = []
    several = paths if isinstance(paths, Iterable) and not isinstance(paths, str | os.PathLike) else [paths]
    for given in several:
        path = path_of(given, "a spec", SpecError)
        if path.is_dir():
            found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        elif any(mark in str(given) for mark in "*?["):
            found = [Path(name) for name in sorted(glob.glob(str(given)))]  # noqa: PTH207  (a pattern may be absolute)
        else:
            found = [path]
        files += [file for file in found if file.name not in ("task.yaml", "task.yml") and file not in files]
    if not files:
        tasks = [path for path in map(Path, several) if path.is_file()]
        what = f"{tasks[0]} is a task, not a spec" if tasks else f"no spec in {', '.join(map(str, several))}"
        raise SpecError(f"{what}. Give spec files, globs or a folder, as in {tasks[0].parent if tasks else 'models/'}.")
    specs = [spec for file in files for spec in _specs_in(file, overrides)]
    check_comparable(specs)
    return specs


def _specs_in(path: str | Path, overrides: Mapping[str, Any] | None) -> list[Spec]:
    """The spec in a YAML file, all specs of its grid, or for `FILE#NAME` the one of that name."""
    file, only = path_of(path, "a spec", SpecError), None
    if "#" in str(path) and not file.exists():
        before, _, only = str(path).rpartition("#")
        file = Path(before)
    document = read_yaml(file, "spec", "`luthier init --data TABLE --text COLUMN --label COLUMN` writes some.")
    if isinstance(document, dict):
        document = override_endpoint(document, overrides or {}, TECHNIQUES.get(str(document.get("technique"))))
        if "task" not in document and (file.parent / "task.yaml").is_file():
            document = {**document, "task": "task.yaml"}
        document = {"name": file.stem, **document}
    checked, technique = check_document(document, str(file), file.parent)
    given = checked.pop("grid", None)
    if given is None:
        if only is not None:
            raise SpecError(f"{file} has no grid, so it holds no spec {only!r} of one; give {file} alone.")
        return [technique.make(checked, str(file))]
    specs = expand(checked, technique, read_options(given, technique, str(file)), str(file))
    chosen = [spec for spec in specs if only in (None, spec.name)]
    if not chosen:
        raise SpecError(f"{file}: its grid has no spec {only!r}; it has: {_named(specs)}.")
    return chosen


def _named(specs: Sequence[Spec]) -> str:
    more = len(specs) - NAMED
    return ", ".join(spec.name for spec in specs[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def grid(spec: Spec, options: Mapping[str, Sequence[Any]]) -> list[Spec]:
    """The specs of a grid: a spec with every combination of values for some of its settings.

    Args:
        spec: the recipe they share.
        options: dotted paths of settings, as in the spec's YAML, with the values to try.

    Raises:
        SpecError: a path names no setting, a list is none or empty, or the specs are too many for one leaderboard.

    Examples:
        >>> from luthier.providers.endpoint import openai
        >>> mood = Task("mood", labels=["good", "bad"])
        >>> few = Prompt(mood, "{{ text }}", examples=1, endpoint=openai("some-model"), name="few")
        >>> [one.name for one in grid(few, {"prompt.examples.count": [1, 3], "decoding.temperature": [0, 0.7]})][:3]
        ['few.count-1.temperature-0', 'few.count-1.temperature-0.7', 'few.count-3.temperature-0']
    """
    document = spec.document() | {"task": spec.task}
    checked, technique = check_document(document, spec.name, Path())
    return expand(checked, technique, read_options(dict(options), technique, spec.name), spec.name)


def check_comparable(specs: Sequence[Spec]) -> None:
    """Refuses specs that cannot be on one leaderboard.

    Raises:
        SpecError: they are too many, two share a name, or they answer different tasks.
    """
    if len(specs) > MOST_SPECS:
        raise too_many(len(specs), "this")
    repeated = sorted(name for name, times in Counter(spec.name for spec in specs).items() if times > 1)
    if repeated:
        raise SpecError(f"two specs are called {', '.join(repeated)}; give each its own `name:`.")
    tasks = {spec.task.digest: spec for spec in specs}
    if len(tasks) > 1:
        first, second = list(tasks.values())[:2]
        raise SpecError(
            f"specs {first.name!r} and {second.name!r} answer different tasks, so they cannot be compared; "
            "let both refer to the same task.yaml."
        )
