"""Scores whose rows are in batches that still run, so that `luthier score --attach` can go on with them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from luthier.errors import UserError
from luthier.home import luthier_home
from luthier.outputs import write_file
from luthier.scoring.scored_model import Model

__all__ = ["SubmittedScore", "forget_score", "remember_score", "submitted_scores"]


@dataclass(frozen=True, slots=True)
class SubmittedScore:
    """What `luthier score --mode batch` was told; holds names of files and of variables, never a key.

    Attributes:
        model_uri: the model. An alias may move meanwhile: where the model has an id, that is its name here.
        digest: of what is fitted in the model.
        source: the table to score.
        target: the file to write.
        folder: the working folder of the command, from which the paths and the tracking store are found.
        endpoint: the endpoint file it was given.
        budget_usd: the most it may spend; `None` without a budget.
        overwrite: whether the target may be replaced.
        trust: whether the model may run code of its own.
        escape_formulas: whether cells are written so that a spreadsheet does not run them.
        submitted_at: when, in seconds since 1970.
    """

    model_uri: str
    digest: str
    source: str
    target: str
    folder: str
    endpoint: str | None = None
    budget_usd: float | None = None
    overwrite: bool = False
    trust: bool = False
    escape_formulas: bool = False
    submitted_at: float = 0.0

    def of_model(self, model: Model) -> SubmittedScore:
        """The same for the model as it is now, though its alias may move."""
        uri = self.model_uri if model.model_id is None else f"models:/{model.model_id}"
        return replace(self, model_uri=uri, digest=model.fitted.digest)

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.submitted_at))
        return f"{self.source} -> {self.target} by {self.model_uri}, submitted {when} in {self.folder}"


def remember_score(score: SubmittedScore) -> None:
    """Keeps a score until `forget_score`; one for the same target is replaced."""
    file = _file(score.target, score.folder)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(file, json.dumps(asdict(score), indent=1))


def forget_score(target: str | Path, folder: str | Path | None = None) -> None:
    """The target is written: nothing is left to go on with."""
    _file(target, folder).unlink(missing_ok=True)


def submitted_scores() -> list[SubmittedScore]:
    """Those whose target is not written yet, the oldest first.

    Raises:
        UserError: a file of them cannot be read.
    """
    found = []
    for file in _folder().glob("*.json"):
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            known = {field.name for field in fields(SubmittedScore)}
            found.append(SubmittedScore(**{name: value for name, value in document.items() if name in known}))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file} is no record of a score ({error}). Remove it, and type the score again: what its batches "
                "have answered is in the journal."
            ) from error
    return sorted(found, key=lambda score: (score.submitted_at, score.target))


def _folder() -> Path:
    return luthier_home() / "submitted"


def _file(target: str | Path, folder: str | Path | None) -> Path:
    place = os.path.normpath(Path(folder or Path.cwd()) / target)
    return _folder() / f"{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"
