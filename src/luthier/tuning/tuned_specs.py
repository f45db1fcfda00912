"""The result of a job as a spec file, which is compared, logged and scored like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import SpecError, UserError
from luthier.outputs import check_file, write_file
from luthier.techniques.finetune import FineTune, Tuned
from luthier.techniques.spec_writing import plain_name, spec_text

__all__ = ["TunedSpecFile", "tuned_spec", "write_spec", "write_unreplaced"]


@dataclass(frozen=True)
class TunedSpecFile:
    """Where the result is written: a file that the user named (`exact`), else the next free name from `path` on."""

    path: Path
    exact: bool = True

    @classmethod
    def beside(cls, spec: str | Path) -> TunedSpecFile:
        """NAME-tuned.yaml next to the spec's own file; one of a grid, FILE#NAME, has a NAME of its own.

        Examples:
            >>> TunedSpecFile.beside("models/few.yaml").path.name
            'few-tuned.yaml'
            >>> TunedSpecFile.beside("models/few.yaml#few.epochs-2").path.name
            'few.epochs-2-tuned.yaml'
        """
        path = Path(spec)
        file, _, name = str(spec).rpartition("#")
        if file and not path.exists():
            return cls(Path(file).with_name(f"{name}-tuned.yaml"), exact=False)
        return cls(path.with_name(f"{path.stem.removesuffix('-tuned')}-tuned.yaml"), exact=False)

    def check(self, job: str | None = None) -> None:
        """Refuses, before anything is paid, a file that could not be written in the end.

        Raises:
            UserError: there is another file or a symbolic link of this name, or no folder for it.
        """
        if not self.path.parent.is_dir():
            raise UserError(f"no folder {self.path.parent} for {self.path.name}; make it, or give another --to.")
        if self.exact:
            check_file(self.path)
            found = _document(self.path)
            block = found.get("tuned") if isinstance(found, dict) else None
            own = isinstance(block, dict) and job is not None and block.get("job") == job
            if self.path.exists() and not own:
                raise UserError(f"{self.path} is there already and is not the result of this job; give another --to.")

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {"path": str(self.path.absolute()), "exact": self.exact}


def tuned_spec(spec: FineTune, tuned: Tuned, name: str | None = None) -> FineTune:
    """The recipe with its result, under a name of its own so that both stand on one leaderboard.

    Args:
        spec: the recipe.
        tuned: what a job made of it.
        name: what it is called, a file's name for instance; the recipe's name and `-tuned` when absent.
    """
    given = name if name is not None else f"{spec.untuned().name}-tuned"
    return spec.with_tuned(tuned, name=plain_name(given) or "tuned")


def write_spec(spec: FineTune, target: TunedSpecFile) -> Path:
    """Writes a tuned spec under the first name that is free or holds it already; returns where it is.

    An existing file is never replaced, and the new one appears whole or not at all.
    """
    assert spec.tuned is not None
    try:
        return write_unreplaced(target.path, lambda path: _text_of(spec, path))
    except OSError as error:
        path, result = target.path, spec.tuned.model
        raise UserError(f"{path} cannot be written ({error.strerror}); the result is {result}.") from error


def write_unreplaced(file: Path, text_of: Callable[[Path], str]) -> Path:
    """Writes YAML under the first name that is free or holds the same already; returns where it is.

    Args:
        file: the first name; NAME-2 and so on come after it.
        text_of: the text under a name, which may be in it.

    Raises:
        OSError: it cannot be written.
    """
    path, number = file, 1
    text = text_of(path)
    while path.exists() or path.is_symlink():
        if _document(path) == parse_yaml(text):
            return path
        number += 1
        path = file.with_name(f"{file.stem}-{number}{file.suffix}")
        text = text_of(path)
    write_file(path, text)
    return path


def _text_of(spec: FineTune, path: Path) -> str:
    assert spec.tuned is not None
    named = tuned_spec(spec, spec.tuned, path.stem)
    head = f"Written by luthier tune: job {spec.tuned.job}. Compare, log and score it like any other spec."
    # The name alone is new: the endpoint may be that of a deployment.
    return spec_text(spec, path, head, named.name)


def _document(path: Path) -> Any:
    """What a YAML file holds; `None` where there is none or it is not YAML."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def need_finetune(spec: object) -> FineTune:
    """The spec, if it can be tuned.

    Raises:
        SpecError: it is of another technique.
    """
    if not isinstance(spec, FineTune):
        technique = getattr(spec, "technique", type(spec).__name__)
        name = getattr(spec, "name", "the spec")
        raise SpecError(
            f"spec {name!r} has technique {technique}, which is not tuned at a service. Write "
            "`technique: fine-tune` with the same prompt, answer and endpoint."
        )
    return spec
