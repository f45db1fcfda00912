"""Imported models as registered versions: one for each recipe of a model, however often it is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import ModelError
from luthier.importing.records import Happened
from luthier.packaging.lacking_stores import is_lacking
from luthier.packaging.versions import log_fitted_model
from luthier.spec import Fitted, Spec
from luthier.techniques import Prompt
from luthier.tracking.runs import TAGS, model_versions
from luthier.tracking.store_file import missing_store
from luthier.tracking.stores import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

__all__ = [
    "IMPORTED",
    "MODEL_KEY",
    "ImportedVersion",
    "imported_versions",
    "quoted",
    "register_imported",
    "registered_name",
]

IMPORTED = "luthier.imported_from"
"""Tag of an imported version: the account's address, and what the model is called there."""

MODEL_KEY = TAGS["model_key"]
"""Tag of the model's canonical name, equal for all names of one model."""

ALIAS = "luthier.alias"
"""Tag that stands for an alias in a registry that has none."""

LONGEST_NAME = 100


@dataclass(frozen=True)
class ImportedVersion:
    """A registered version of an imported model.

    Attributes:
        name: of the registered model.
        version: its version.
        happened: what this import changed of it.
        note: what the store lacks, or why there is a new version; empty otherwise.
        model_id: MLflow's id of the logged model; `None` in a store that has none.
    """

    name: str
    version: str
    happened: Happened
    note: str = ""
    model_id: str | None = None

    @property
    def label(self) -> str:
        """Name and version as one text."""
        return f"{self.name}/{self.version}"

    @property
    def model_uri(self) -> str:
        """What `luthier score` takes."""
        return f"models:/{self.label}"


def registered_name(*wishes: str | None) -> str:
    """A name for a registered model: the first of these that is given, without the characters a registry refuses.

    Examples:
        >>> registered_name(None, "stars/prod: v2"), registered_name("", "..."), registered_name("日本")
        ('stars-prod-v2', 'imported', '日本')
    """
    for wish in wishes:
        plain = re.sub(r"[^\w.-]+", "-", wish or "").strip("-._")
        if plain:
            return plain[:LONGEST_NAME].rstrip("-._")
    return "imported"


def register_imported(
    spec: Spec,
    run_id: str,
    *,
    place: str,
    model: str,
    name: str,
    tags: Mapping[str, str] | None = None,
    alias: str | None = None,
) -> ImportedVersion:
    """Registers what an import found; the same model with the same recipe is registered once and brought up to date.

    Args:
        spec: asks the model; it needs no training.
        run_id: the run that the version comes from: of the job, or of the deployment.
        place: address of the account.
        model: what the account calls it.
        name: of the registered model, where the model has no version yet.
        tags: what is known of the model.
        alias: set to this version, where the registry has aliases.

    Raises:
        ModelError: the spec needs training, or the registry refuses the version.
    """
    from mlflow.exceptions import MlflowException

    spec.check_ready()
    if spec.needs_training:
        raise ModelError(f"spec {spec.name!r} must be fitted before it is registered: luthier fit.")
    connect()
    key = f"{place} {model}"
    given = {**(tags or {}), IMPORTED: key}
    try:
        known = imported_versions(place, model, name)
        same = [version for version in known if version.tags.get(TAGS["spec_digest"]) == spec.digest]
        if same:
            return _brought_up_to_date(same[-1], given, alias)
        return _new_version(spec, run_id, name, given, alias, known)
    except MlflowException as error:
        raise ModelError(f"MLflow refused the version of {model}: {_first_line(error)}") from error


def _new_version(
    spec: Spec, run_id: str, name: str, tags: Mapping[str, str], alias: str | None, known: list[ModelVersion]
) -> ImportedVersion:
    notes = []
    if known:
        name = known[-1].name
        notes.append(f"a new version, because its recipe is not that of version {known[-1].version} any more")
    logged = log_fitted_model(Fitted(spec=spec), run_id=run_id, register=name, version_tags=tags)
    assert logged.version is not None
    if logged.model_id is None:
        notes.append("this store has no logged models: the model is in the artifacts of its run")
    if logged.prompt_uri is None and isinstance(spec, Prompt):
        notes.append("this store has no prompt registry: the prompt is in the model")
    if alias is not None:
        notes += _set_alias(name, logged.version, alias)[1]
    return ImportedVersion(name, logged.version, "new", "; ".join(notes), logged.model_id)


def _brought_up_to_date(version: ModelVersion, tags: Mapping[str, str], alias: str | None) -> ImportedVersion:
    import mlflow

    client = mlflow.MlflowClient()
    changed = {tag: value for tag, value in tags.items() if version.tags.get(tag) != value}
    for tag, value in changed.items():
        client.set_model_version_tag(version.name, version.version, tag, value)
    moved, notes = (False, []) if alias is None else _set_alias(version.name, str(version.version), alias)
    happened: Happened = "updated" if changed or moved else "unchanged"
    return ImportedVersion(version.name, str(version.version), happened, "; ".join(notes), _model_id(version))


def _model_id(version: ModelVersion) -> str | None:
    """The logged model that a version was made of."""
    named = re.fullmatch(r"models:/(m-\w+)", version.source or "")
    return None if named is None else named[1]


def _set_alias(name: str, version: str, alias: str) -> tuple[bool, list[str]]:
    """Whether the alias was elsewhere, and what to say where there are no aliases."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        if str(client.get_registered_model(name).aliases.get(alias)) == version:
            return False, []
        client.set_registered_model_alias(name, alias, version)
    except MlflowException as error:
        if not is_lacking(error):
            raise
        client.set_model_version_tag(name, version, ALIAS, alias)
        return False, [f"this registry has no aliases: the tag {ALIAS} says {alias}"]
    return True, []


def imported_versions(place: str, model: str, name: str) -> list[ModelVersion]:
    """The versions of an imported model, oldest first, whatever their registered model is called now.

    Args:
        place: address of the account.
        model: what the account calls it.
        name: of the registered model that is searched where the registry finds no versions by their tags.
    """
    if missing_store() is not None:
        return []
    from mlflow.exceptions import MlflowException

    connect()
    key = f"{place} {model}"
    text = quoted(key)
    found: list[ModelVersion] = []
    by_tag = text is not None
    if by_tag:
        try:
            found = model_versions(f"tags.`{IMPORTED}` = {text}")
        except MlflowException as error:
            if error.get_http_status_code() >= 500 and not is_lacking(error):
                raise
            by_tag = False
    if not by_tag:
        found = model_versions("name = '" + name + "'")
    own = [version for version in found if version.tags.get(IMPORTED) == key]
    return sorted(own, key=lambda version: int(version.version))


def quoted(text: str) -> str | None:
    """A text as a condition of a search has it; `None` for one with both kinds of quotation marks."""
    mark = next((mark for mark in "'\"" if mark not in text), None)
    return None if mark is None else f"{mark}{text}{mark}"


def _first_line(error: MlflowException) -> str:
    return (error.message or str(error)).splitlines()[0][:200]
