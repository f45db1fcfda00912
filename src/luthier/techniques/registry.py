"""The techniques by name, and the specs in files that name them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.documents import path_of
from luthier.errors import SpecError
from luthier.spec import SCHEMA, Spec
from luthier.tasks.task import Task
from luthier.techniques.baseline import Baseline
from luthier.techniques.decision import Decision
from luthier.techniques.embedding import Embedding
from luthier.techniques.endpoint_files import override_endpoint, read_yaml, unmoved, why_unmoved
from luthier.techniques.finetune import FineTune
from luthier.techniques.grid import MOST_SPECS, Grid, too_many
from luthier.techniques.prompt.prompt import Prompt

__all__ = [
    "TECHNIQUES",
    "SpecFile",
    "build_specs",
    "grid",
    "read_spec_files",
    "read_spec",
    "read_specs",
]

TECHNIQUES: dict[str, type[Spec]] = {
    "baseline": Baseline,
    "decision": Decision,
    "embedding": Embedding,
    "fine-tune": FineTune,
    "prompt": Prompt,
}
"""Every technique by the name it has in a spec."""

NAMED = 4
"""So many specs of a grid are named in a message before the rest are counted."""


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


@dataclass(frozen=True)
class SpecFile:
    """A spec file that was read and not yet built: one spec, or the grid it stands for.

    Attributes:
        source: the file.
        document: what is in it, without the grid, its task read.
        technique: the class that makes specs of it.
        grid: the settings it varies; `None` for a plain spec.
        only: name of the one spec of the grid that was asked for.
    """

    source: str
    document: dict[str, Any]
    technique: type[Spec]
    grid: Grid | None = None
    only: str | None = None

    @property
    def count(self) -> int:
        """How many specs it stands for; counted, not built."""
        return 1 if self.grid is None or self.only is not None else self.grid.size

    def specs(self) -> list[Spec]:
        """The specs it stands for.

        Raises:
            SpecError: one of them is no spec, or they are too many.
        """
        if self.grid is None:
            return [self.technique.make(self.document, self.source)]
        found = self.grid.specs(self.document, self.technique.make, self.only)
        if not found:
            raise SpecError(f"{self.source}: its grid has no spec {self.only!r}; it has: {self.some_names()}.")
        return found

    def some_names(self) -> str:
        """The first names of the grid, for a message."""
        assert self.grid is not None
        names = self.grid.names(NAMED)
        more = self.grid.size - len(names)
        return ", ".join(names) + (f" and {more:,} more" if more else "")


def read_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SpecFile:
    """What a YAML file, or `FILE#NAME` for one spec of its grid, describes; nothing is built.

    Raises:
        SpecError: the file is not there, is no YAML, or its grid is not one.
    """
    file, only = path_of(path, "a spec", SpecError), None
    if "#" in str(path) and not file.exists():
        before, _, only = str(path).rpartition("#")
        file = Path(before)
    if file.is_dir():
        inside = sorted(str(path) for path in file.glob("*.yaml") if path.name != "task.yaml")[:NAMED]
        raise SpecError(
            f"{file} is a folder, and one spec is wanted. Give a file of it: {', '.join(inside) or '(none)'}."
        )
    document = read_yaml(file, "spec", "`luthier init --data TABLE --text COLUMN --label COLUMN` writes some.")
    if isinstance(document, dict):
        document = override_endpoint(document, overrides or {}, TECHNIQUES.get(str(document.get("technique"))))
        if "task" not in document and (file.parent / "task.yaml").is_file():
            document = {**document, "task": "task.yaml"}
        document = {"name": file.stem, **document}
    checked, technique = check_document(document, str(file), file.parent)
    given = checked.pop("grid", None)
    grid = Grid.read(given, str(checked["name"]), technique, str(file)) if given is not None else None
    if only is not None and grid is None:
        raise SpecError(f"{file} has no grid, so it holds no spec {only!r} of one; give {file} alone.")
    return SpecFile(str(file), checked, technique, grid, only)


def read_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec in a YAML file.

    Args:
        path: the file, or `FILE#NAME` for one spec of the grid in it.
        overrides: what `read_endpoint` gave, to ask another endpoint than the spec's own.

    Raises:
        SpecError: the file is not there, is no YAML, is not a spec, or holds a grid of several; or `overrides`
            has no endpoint for such a spec.
    """
    recipe = read_recipe(path, overrides)
    if recipe.count > 1:
        assert recipe.grid is not None
        raise SpecError(
            f"{recipe.source} holds a grid of {recipe.count:,} specs, and one is wanted here: {recipe.some_names()}. "
            f"Name it, as in {recipe.source}#{recipe.grid.names(1)[0]}; one that was compared is also "
            "packaged by its run: luthier log runs:/RUN_ID."
        )
    spec = recipe.specs()[0]
    if overrides and unmoved([spec], overrides):
        raise SpecError(why_unmoved(spec))
    return spec


def read_spec_files(
    paths: Sequence[str | Path] | str | Path, overrides: Mapping[str, Any] | None = None
) -> list[SpecFile]:
    """The spec files among files, globs and folders, read and not built; a `task.yaml` among them is the task.

    Raises:
        SpecError: nothing was found, or a file is no spec.
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
    return [read_recipe(file, overrides) for file in files]


def build_specs(recipes: Sequence[SpecFile]) -> list[Spec]:
    """The specs of some files, their grids expanded.

    Raises:
        SpecError: they are too many, two share a name, or they answer different tasks.
    """
    count = sum(recipe.count for recipe in recipes)
    if count > MOST_SPECS:
        raise too_many(count, " and ".join(r.source for r in recipes if r.count > 1) or "this")
    specs = [spec for recipe in recipes for spec in recipe.specs()]
    check_comparable(specs)
    return specs


def read_specs(paths: Sequence[str | Path] | str | Path, overrides: Mapping[str, Any] | None = None) -> list[Spec]:
    """The specs in files, globs and folders, grids expanded; a `task.yaml` among them is the task, not a spec.

    Raises:
        SpecError: nothing was found, two specs share a name, they are too many, or they answer different tasks.
    """
    return build_specs(read_spec_files(paths, overrides))


def grid(spec: Spec, options: Mapping[str, Sequence[Any]]) -> list[Spec]:
    """The specs that come of a spec when some of its settings take several values, in every combination.

    Args:
        spec: the recipe they have in common.
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
    return Grid.read(dict(options), spec.name, technique, spec.name).specs(checked, technique.make)


def check_comparable(specs: Sequence[Spec]) -> None:
    """Refuses specs that cannot stand on one leaderboard."""
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
