"""Deploying in two steps: what it would do is known before anything is changed, sent or paid."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.deployments.plan import LONGEST_NAME, DeploymentPlan, DeploymentRequest, checked_name
from luthier.deployments.targets.known_targets import target_named
from luthier.errors import UserError
from luthier.serving.settings import ServerSettings

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
        """Makes or updates the deployment.

        Raises:
            GateFailed: the model does not give its recorded answers, or did worse than the one before; that goes on.
            UserError: it cannot be deployed there.
        """
        plan = self.plan()
        return DeploymentResult(plan, self._target.apply(plan))


def _name_for(model_uri: str) -> str:
    named = re.match(r"models:/([^/@]+)", model_uri)
    rough = named[1] if named else Path(model_uri).name
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
