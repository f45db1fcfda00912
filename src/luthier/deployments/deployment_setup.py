"""Deploying in two steps: what it would do is known before anything is changed, sent or paid."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.deployments.plan import LONGEST_NAME, DeploymentPlan, DeploymentRequest, checked_name
from luthier.deployments.store import DeploymentStore
from luthier.deployments.targets.known_targets import target_named
from luthier.errors import UserError
from luthier.packaging.folder import read_model_folder
from luthier.packaging.loading import is_of_the_store, located
from luthier.serving.settings import ServerSettings
from luthier.techniques import read_fitted
from luthier.tracking.model_runs import deployment_run, log_later, log_model_run

logger = logging.getLogger(__name__)

__all__ = ["DeploymentResult", "DeploymentSetup", "settings_of"]


@dataclass(frozen=True, slots=True)
class DeploymentResult:
    """What became of a deployment that was asked for.

    Attributes:
        plan: what was done.
        message: where it answers, or what to type next.
    """

    plan: DeploymentPlan
    message: str

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        request = self.plan.request
        return {"name": request.name, "target": self.plan.target, "model_uri": request.model_uri, "said": self.message}

    def __str__(self) -> str:
        return self.message


class DeploymentSetup:
    """A deployment that is to be made or updated, checked; `plan` says what that does, `run` does it.

    Args:
        model_uri: a packaged model, as `luthier.load` takes it.
        target: `local`, `container`, `kubernetes`, `azure-ml` or `azure-openai`.
        name: of the deployment; that of the registered model when absent.
        settings: of each server.
        endpoint: settings that point the model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        to: folder for the files that a target writes.
        config: what only the target knows.

    Raises:
        UserError: there is no such target, or the name is not allowed.
    """

    def __init__(
        self,
        model_uri: str,
        target: str = "local",
        *,
        name: str | None = None,
        settings: ServerSettings | None = None,
        endpoint: Mapping[str, Any] | None = None,
        trust: bool = False,
        to: Path | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._target = target_named(target)
        self._request = DeploymentRequest(
            name=_name_for(model_uri) if name is None else checked_name(name),
            model_uri=model_uri,
            settings=settings or ServerSettings(),
            endpoint=dict(endpoint or {}),
            trust=trust,
            to=to,
            config=dict(config or {}),
        )
        self._plan: DeploymentPlan | None = None

    def plan(self) -> DeploymentPlan:
        """What `run` would do; changes and sends nothing.

        Raises:
            UserError: it could not work, with what to change.
        """
        if self._plan is None:
            self._plan = self._target.plan(self._request)
        return self._plan

    def run(self) -> DeploymentResult:
        """Makes or updates the deployment, and leaves an MLflow run linked to the model that says so.

        Raises:
            GateFailed: the model does not give its recorded answers, or did worse than the one before; that goes on.
            UserError: it cannot be deployed there.
        """
        plan = self.plan()
        done = DeploymentResult(plan, self._target.apply(plan))
        _log(plan)
        return done


def _log(plan: DeploymentPlan) -> None:
    """Writes the MLflow run of a deployment of a model that the tracking store knows, or has it written in a moment."""
    request = plan.request
    if not is_of_the_store(request.model_uri):
        return
    model = read_model_folder(located(request.model_uri), request.model_uri)
    if not model.is_ours:
        return
    spec = read_fitted(model.data).spec
    run = deployment_run(request.name, plan.target, request.model_uri, model.model_id, spec, _params(plan))
    if "mlflow" not in sys.modules:
        log_later(run)
        return
    try:
        log_model_run(run)
    except UserError as error:
        # It answers; that it has no run is no reason to say that it failed.
        logger.warning("%s is deployed, but no run says so: %s", request.name, error)


def _params(plan: DeploymentPlan) -> dict[str, str]:
    """What is known of a deployment that was just made, for its run."""
    request = plan.request
    params = {"deployment": request.name, **{f"config.{key}": value for key, value in request.config.items()}}
    if request.to is not None:
        params["folder"] = str(request.to)
    if plan.target == "local":
        with DeploymentStore() as store:
            found = store.one(request.name)
        params["url"] = found.url
        if found.serving is not None:
            params["revision"] = str(found.serving.number)
    return params


def _name_for(model_uri: str) -> str:
    named = re.match(r"models:/([^/@]+)", model_uri)
    rough = named[1] if named else Path(model_uri).name.removesuffix(".yaml").removesuffix(".yml")
    name = re.sub(r"[^a-z0-9]+", "-", rough.lower()).strip("-")[:LONGEST_NAME].strip("-")
    try:
        return checked_name(name)
    except UserError:
        raise UserError(f"{model_uri} has no name that a deployment could take; add --name NAME.") from None


def settings_of(given: Sequence[str]) -> dict[str, str]:
    """The settings of a target from `KEY=VALUE`.

    Raises:
        UserError: one has no `=`, or a key is given twice.
    """
    found: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--config {one!r} is no setting; give KEY=VALUE, as in --config replicas=3.")
        if key.strip() in found:
            raise UserError(f"--config gives {key.strip()} twice; leave one of them out.")
        found[key.strip()] = value
    return found
