"""The verb `deploy`: a model that goes on answering HTTP when this process has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.deployments.deployment import Deployment, deployment
from luthier.deployments.deployment_setup import DeploymentResult, DeploymentSetup
from luthier.scoring.scored_model import Model
from luthier.serving.settings import ServerSettings, server_settings

__all__ = ["deploy"]


def deploy(
    model: Model | str,
    target: str = "local",
    name: str | None = None,
    *,
    port: int | None = None,
    keys_file: str | Path | None = None,
    without_key: bool = False,
    settings: ServerSettings | None = None,
    endpoint: Mapping[str, Any] | None = None,
    trust: bool = False,
    to: str | Path | None = None,
    config: Mapping[str, str] | None = None,
) -> Deployment | DeploymentResult:
    """Deploys a packaged model, or updates the deployment of that name to it.

    Args:
        model: what `luthier.log` or `luthier.load` gave, or its URI. An alias is followed by the target `local`.
        target: `local` (this machine, supervised), `container`, `kubernetes`, `azure-ml` or `azure-openai`.
        name: of the deployment; that of the registered model when absent.
        port: where it answers; 8080 when absent, or as before.
        keys_file: API keys that it lets in, as `luthier keys add` writes them.
        without_key: lets every program on this machine in.
        settings: what else a server is told; the three above replace theirs.
        endpoint: settings that point the model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        to: folder for the files that the target writes.
        config: what only the target knows, such as `{"replicas": "3"}`.

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
        settings=server_settings(settings, port, keys_file, without_key),
        endpoint=endpoint,
        trust=trust,
        to=None if to is None else Path(to),
        config=config,
    )
    deployed = setup.run()
    return deployment(deployed.plan.request.name) if target == "local" else deployed
