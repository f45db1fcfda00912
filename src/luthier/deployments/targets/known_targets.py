"""The targets by name, each imported when it is used."""

from __future__ import annotations

from importlib import import_module

from luthier.deployments.plan import Target
from luthier.errors import UserError

__all__ = ["TARGETS", "target_named"]

TARGETS = {
    "local": "local:LocalTarget",
    "container": "container:ContainerTarget",
    "kubernetes": "kubernetes:KubernetesTarget",
    "azure-ml": "azure_ml:AzureMlTarget",
    "azure-openai": "azure_openai:AzureOpenAiTarget",
}
"""Module in this folder and class, by the name that `--target` takes."""


def target_named(name: str) -> Target:
    """The target of a name.

    Raises:
        UserError: there is none.
    """
    if name not in TARGETS:
        raise UserError(f"no target {name!r}; there are: {', '.join(TARGETS)}.")
    module, _, cls = TARGETS[name].partition(":")
    target: Target = getattr(import_module(f"luthier.deployments.targets.{module}"), cls)()
    return target
