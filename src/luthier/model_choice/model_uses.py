"""What depends on a model at a service: the registered versions, and the deployments of this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from luthier.deployments.deployment import deployment_records, status_of
from luthier.deployments.records import Revision, revision_folder
from luthier.errors import LuthierError, ModelError
from luthier.history.versions import RegisteredVersion, registered_versions
from luthier.packaging.folder import read_model_folder
from luthier.packaging.loading import find_model
from luthier.packaging.model import read_relocated
from luthier.spec import Spec
from luthier.tracking.asked_models import AskedModel, asked_models, read_asks
from luthier.tracking.store_file import REGISTERED, missing_store, store_uri
from luthier.tracking.stores import connect

__all__ = ["DeploymentUse", "ModelUse", "model_uses"]


@dataclass(frozen=True)
class DeploymentUse:
    """A deployment of this machine.

    Attributes:
        name: as `luthier deploy status` lists it.
        url: where it answers.
        status: as there, such as `serving`.
    """

    name: str
    url: str
    status: str


@dataclass(frozen=True)
class ModelUse:
    """A registered version, or a deployment of something else, with the models that it asks.

    Attributes:
        kind: what it is.
        name: `NAME/VERSION` of a version, the name of a deployment.
        model: name of the registered model; empty for a deployment of a folder or of a model in another store.
        version: its number; 0 where there is none.
        aliases: such as `champion`.
        task: name of the task.
        technique: `prompt`, `fine-tune`, ...
        spec: name of the spec.
        asked: the models that it asks; `None` where its files cannot be read.
        deployments: those that answer by it.
        is_newest: whether it is the newest version of its registered model.
    """

    kind: Literal["version", "deployment"]
    name: str
    model: str = ""
    version: int = 0
    aliases: tuple[str, ...] = ()
    task: str = ""
    technique: str = ""
    spec: str = ""
    asked: tuple[AskedModel, ...] | None = ()
    deployments: tuple[DeploymentUse, ...] = ()
    is_newest: bool = False

    @property
    def is_in_use(self) -> bool:
        """Whether something is likely to ask it: it has an alias, is deployed, or is the newest of its name."""
        return bool(self.aliases or self.deployments) or self.is_newest

    @property
    def title(self) -> str:
        """How sentences name it, such as `stars@champion`."""
        return f"{self.model}@{self.aliases[0]}" if self.aliases else self.name

    @property
    def uri(self) -> str:
        """The address of a version."""
        return f"models:/{self.name}"


def model_uses(task: str | None = None, model: str | None = None) -> list[ModelUse]:
    """Every registered version of the tracking store, and what this machine has deployed beside.

    Args:
        task: of this task only.
        model: of this registered model only: `NAME`, `NAME@ALIAS` or `NAME/VERSION`.

    Raises:
        UserError: the store cannot be reached.
        ModelError: there is no such registered model, version or alias.
    """
    versions: tuple[RegisteredVersion, ...] = ()
    if missing_store() is None:
        connect()
        versions = registered_versions()
    newest: dict[str, int] = {}
    for version in versions:
        newest[version.model] = max(version.version, newest.get(version.model, 0))
    found = {version.name: _of_version(version, newest[version.model]) for version in versions}
    beside = []
    for record in deployment_records():
        revision = record.serving or record.wanted
        if revision is None:
            continue
        use = DeploymentUse(record.name, record.url, status_of(record))
        known = found.get(_version_behind(revision) or "")
        spec = _spec_of(record.name, revision)
        if known is not None and (spec is None or asked_models(spec) == known.asked):
            found[known.name] = replace(known, deployments=(*known.deployments, use))
        else:
            beside.append(_of_deployment(use, spec))
    uses = [one for one in (*found.values(), *beside) if task is None or one.task == task]
    if model is None:
        return uses
    chosen = [one for one in uses if model.removeprefix("models:/") in _called(one)]
    if not chosen:
        names = ", ".join(sorted({one.model for one in uses if one.model})) or "none"
        raise ModelError(f"no registered model {model!r}; give NAME, NAME@ALIAS or NAME/VERSION of: {names}.")
    return chosen


def _called(use: ModelUse) -> set[str]:
    return {use.model, use.name, *(f"{use.model}@{alias}" for alias in use.aliases)}


def _of_version(version: RegisteredVersion, newest: int) -> ModelUse:
    asked = read_asks(version.tags)
    return ModelUse(
        "version",
        version.name,
        version.model,
        version.version,
        version.aliases,
        version.task,
        version.technique,
        version.spec,
        _of_files(f"models:/{version.name}") if asked is None else asked,
        is_newest=version.version == newest,
    )


def _of_files(uri: str) -> tuple[AskedModel, ...] | None:
    """The models of a version of an earlier Luthier, whose tags do not name them."""
    try:
        return asked_models(find_model(uri).fitted.spec)
    except LuthierError:
        # A registered version may outlive its files; it is counted among those whose date is not known.
        return None


def _of_deployment(use: DeploymentUse, spec: Spec | None) -> ModelUse:
    """A deployment of what is not registered here, or whose settings point it to another model."""
    if spec is None:
        return ModelUse("deployment", use.name, asked=None, deployments=(use,))
    return ModelUse(
        "deployment",
        use.name,
        task=spec.task.name,
        technique=spec.technique,
        spec=spec.name,
        asked=asked_models(spec),
        deployments=(use,),
    )


def _version_behind(revision: Revision) -> str | None:
    """The version of this tracking store that a revision answers with, as `NAME/VERSION`."""
    named = REGISTERED.fullmatch(revision.model.uri)
    if named is None or revision.model.tracking_uri != store_uri():
        return None
    return f"{named.group(1)}/{revision.model.version}"


def _spec_of(name: str, revision: Revision) -> Spec | None:
    """The recipe that a revision answers by, with the endpoint that it was deployed with; `None` without its files."""
    folder = revision_folder(name, revision.number) / "model"
    try:
        model = read_model_folder(folder, str(folder))
        return read_relocated(model.data, {**model.config, **revision.endpoint}).spec if model.is_ours else None
    except LuthierError:
        # It is still being fetched, or could not be.
        return None
