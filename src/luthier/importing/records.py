"""What was brought from a service, and what was not and why: an item of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Happened", "ImportedItem", "ItemKind", "NotImported"]

ItemKind = Literal["job", "model", "deployment"]
Happened = Literal["new", "updated", "unchanged"]


@dataclass(frozen=True)
class ImportedItem:
    """A job, model or deployment that is in MLflow now.

    Attributes:
        kind: what it is at the service.
        id: what the service calls it.
        happened: what this import changed of it.
        run_id: MLflow run of a job, or of the deployment.
        version: registered version as `NAME/VERSION`; `None` for a job without a usable model.
        spec_file: the spec that was written; `None` where there is none.
        note: what a reader should know, such as that a registry takes no alias.
        status: of a job or deployment, in the service's word.
        base_model: what was trained; empty where the service does not say.
        created: Unix time; `None` where the service does not say.
    """

    kind: ItemKind
    id: str
    happened: Happened
    run_id: str | None = None
    version: str | None = None
    spec_file: str | None = None
    note: str = ""
    status: str = ""
    base_model: str = ""
    created: float | None = None


@dataclass(frozen=True)
class NotImported:
    """Something of the account that was not brought, or not whole.

    Attributes:
        kind: what it is at the service; `account` where a whole list could not be read.
        id: what the service calls it.
        why: a sentence.
        cure: what to do, so that the next import brings it; empty where nothing can be done.
        passes: whether the same command may succeed later without a change.
    """

    kind: ItemKind | Literal["account"]
    id: str
    why: str
    cure: str = ""
    passes: bool = False
