"""Imported models as spec files: written once, then the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from luthier.errors import UserError
from luthier.outputs import write_file
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques.registry import read_spec
from luthier.techniques.spec_writing import plain_name

__all__ = ["SpecFile", "write_imported_spec"]

TASK_FILE = "task.yaml"

MOST_TASKS = 100
"""Tasks of one name in a folder, which differ in their labels."""


@dataclass(frozen=True)
class SpecFile:
    """A spec as its file has it.

    Attributes:
        path: where it is.
        spec: what the file says; the user's words where they were changed since.
        happened: whether it was written just now.
        note: empty where the file is as the import would write it.
    """

    path: Path
    spec: Spec
    happened: Literal["new", "unchanged"]
    note: str = ""


def write_imported_spec(spec: Spec, folder: Path, stem: str, origin: str) -> SpecFile:
    """Writes `STEM.yaml` and its `task.yaml`; a file of the same model is read instead, and never replaced.

    The folder holds specs of one task, so that they can be compared; of each further task it has a folder.

    Args:
        spec: the recipe.
        folder: made if there is none.
        stem: a suffix, a deployment's name, or whatever else the model is called.
        origin: where it comes from, for the first line, as in "job ftjob-1".

    Raises:
        UserError: the folder cannot be written to, or a file of the same model is there and cannot be read.
    """
    name = plain_name(stem) or "imported"
    try:
        for place in (folder, *sorted(one for one in folder.glob("*") if one.is_dir())):
            found = next((one for path in _taken(place, name) if (one := _same_model(path, spec))), None)
            if found is not None:
                return found
        home = _folder_of(spec.task, folder)
        number = len(_taken(home, name)) + 1
        path = home / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")
        document = {**spec.document(), "name": plain_name(path.stem), "task": TASK_FILE}
        head = f"# Written by luthier import: {origin}. Yours to edit: imports never replace it.\n"
        write_file(path, head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror}); give another --folder.") from error
    return SpecFile(path, read_spec(path), "new")


def _taken(folder: Path, name: str) -> list[Path]:
    """The files NAME.yaml, NAME-2.yaml and so on, without a gap."""
    found: list[Path] = []
    path = folder / f"{name}.yaml"
    while path.exists() or path.is_symlink():
        found.append(path)
        path = folder / f"{name}-{len(found) + 1}.yaml"
    return found


def _same_model(path: Path, spec: Spec) -> SpecFile | None:
    """The spec in a file, if it asks the same model; a file that is no spec belongs to something else."""
    try:
        given: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    tuned = getattr(spec, "tuned", None)
    block = given.get("tuned") if isinstance(given, dict) else None
    ours = tuned is not None and isinstance(block, dict) and block.get("model") == tuned.model
    try:
        found = read_spec(path)
    except UserError:
        if ours:
            # Someone's words about this model: another file of it beside them would be as good as replacing them.
            raise
        return None
    if _asked(found) != _asked(spec):
        return None
    changed = found.digest != spec.digest or found.task != spec.task
    return SpecFile(path, found, "unchanged", f"{path} was edited, and its words count" if changed else "")


def _asked(spec: Spec) -> tuple[Any, ...]:
    endpoint = spec.endpoint
    return spec.technique, None if endpoint is None else (endpoint.address, endpoint.model)


def _folder_of(task: Task, folder: Path) -> Path:
    """The folder of the specs of this task, with its task file: the given one, or one in it where that has another."""
    places = [folder, folder / task.name, *(folder / f"{task.name}-{number}" for number in range(2, MOST_TASKS))]
    for place in places:
        path = place / TASK_FILE
        if not (path.exists() or path.is_symlink()):
            place.mkdir(parents=True, exist_ok=True)
            document = {"name": task.name, "type": task.type, **task.model_dump(mode="json", exclude_defaults=True)}
            write_file(path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
            return place
        try:
            known = Task.read(path)
        except UserError:
            continue  # what is no task belongs to something else
        if known == task:
            return place
    raise UserError(f"{folder} has {MOST_TASKS} other tasks called {task.name!r}; give another --folder.")
