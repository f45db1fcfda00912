"""The verb `deploy`: a model that goes on answering HTTP when this process has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.deployments.deployment import Deployment, deployment
from luthier.deployments.deployment_setup import Deployed, DeploymentSetup
from luthier.scoring.scored_model import Model
from luthier.serving.settings import ServerSettings, server_settings

__all__ = ["deploy"]


def deploy(
    model: Model | str,
    target: str = "local",
    name: str | None = None,
    *,
    settings: ServerSettings | None = None,
    endpoint: Mapping[str, Any] | None = None,
    trust: bool = False,
    to: str | Path | None = None,
    config: Mapping[str, str] | None = None,
    **server: Any,
) -> Deployment | Deployed:
    """Deploys a packaged model, or updates the deployment of that name to it.

    Args:
        model: what `luthier.log` or `luthier.load` gave, or its URI. An alias is followed by the target `local`.
        target: `local` (this machine, supervised), `container`, `kubernetes`, `azure-ml` or `azure-openai`.
        name: of the deployment; that of the registered model when absent.
        settings: where it listens, whom it lets in, and what it refuses.
        endpoint: settings that point the model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        to: folder for the files that the target writes.
        config: what only the target knows, such as `{"replicas": "3"}`.
        server: fields of `ServerSettings` that replace those of `settings`, as in `port=8000`.

    Returns:
        For the target `local` a deployment with `url`, `predict`, `status`, `rollback` and `stop`; for the others what
        was done.

    Raises:
        GateFailed: the model does not give its recorded answers, or did worse than the one before, which goes on.
        UserError: it cannot be deployed there, with what to change.
    """
    setup = DeploymentSetup(
        model.uri if isinstance(model, Model) else model,
        target,
        name=name,
        settings=server_settings(settings, **server),
        endpoint=endpoint,
        trust=trust,
        to=None if to is None else Path(to),
        config=config,
    )
    deployed = setup.run()
    return deployment(deployed.plan.request.name) if target == "local" else deployed
