"""What `--config` says of a managed online endpoint of Azure Machine Learning, and what its machines cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.errors import UserError

__all__ = ["AzureMlSettings"]

USD_PER_HOUR = {
    "Standard_F2s_v2": 0.0846,
    "Standard_F4s_v2": 0.169,
    "Standard_F8s_v2": 0.338,
    "Standard_DS3_v2": 0.229,
}
"""Azure's pay-as-you-go price of a Linux machine in East US 2, US dollars an hour, as published in September 2026.

Azure ML adds nothing for a machine without GPU. Other regions cost up to a quarter more.
"""

USUAL_INSTANCE = "Standard_F2s_v2"
"""Two cores and 4 GiB: a server waits for its upstream most of the time."""

REFERENCE = re.compile(r"azureml://connections/[\w-]+/[\w/.-]+|keyvault:https://[\w.-]+/secrets/[\w/-]+")
"""Where Azure finds a secret when it starts the container; never the secret itself."""

OPERATIONS = ("deploy", "rollback", "delete-old", "delete")


@dataclass(frozen=True, slots=True)
class AzureMlSettings:
    """What `--config` says of an Azure ML endpoint.

    Attributes:
        subscription: its id.
        group: resource group of the workspace.
        workspace: its name.
        image: of the container target, pushed to a registry, with a tag of its own.
        instance_type: machine of each instance.
        instances: how many.
        traffic: percentage of requests that the new deployment gets; all of the first one, none of the next.
        key_from: where Azure finds the key that the model needs.
        server_key_env: variable of this machine with a key that the server in the image lets in; it is read for the one
            row, and sent as X-API-Key.
        usd_per_hour: price of one instance, where it is not in the table.
        operation: `deploy`, `rollback`, `delete-old` (the deployment without traffic) or `delete` (the endpoint).

    Raises:
        UserError: a setting is missing, unknown or not allowed.
    """

    subscription: str
    group: str
    workspace: str
    image: str = ""
    instance_type: str = USUAL_INSTANCE
    instances: int = 1
    traffic: int | None = None
    key_from: str | None = None
    server_key_env: str | None = None
    usd_per_hour: float | None = None
    operation: str = "deploy"

    @classmethod
    def read(cls, config: Mapping[str, str]) -> AzureMlSettings:
        """The settings from texts."""
        known = cls.__dataclass_fields__
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise UserError(f"target azure-ml has no setting {', '.join(unknown)}; it has: {', '.join(known)}.")
        missing = [name for name in ("subscription", "group", "workspace") if not config.get(name)]
        if missing:
            raise UserError(
                f"target azure-ml needs {', '.join(missing)}; add "
                + " ".join(f"--config {name}=..." for name in missing)
                + ". `az ml workspace list` shows them."
            )
        given: dict[str, Any] = dict(config)
        for name, kind in (("instances", int), ("traffic", int), ("usd_per_hour", float)):
            if name in given:
                given[name] = _number(name, given[name], kind)
        return cls(**given)

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise UserError(f"operation={self.operation} is none; allowed: {', '.join(OPERATIONS)}.")
        for name in ("subscription", "group", "workspace"):
            if not re.fullmatch(r"[\w().-]+", getattr(self, name)):
                raise UserError(f"{name}={getattr(self, name)!r} is no name at Azure; correct it in --config.")
        if self.instances < 1:
            raise UserError(f"instances={self.instances}: give 1 or more.")
        if self.traffic is not None and not 0 <= self.traffic <= 100:
            raise UserError(f"traffic={self.traffic}: give a percentage from 0 to 100.")
        if self.key_from is not None and not REFERENCE.fullmatch(self.key_from):
            # Not repeated: it may be the key itself.
            raise UserError(
                "key_from is no reference to a secret. Never give a key; give where Azure finds it: "
                "azureml://connections/NAME/credentials/NAME or keyvault:https://VAULT.vault.azure.net/secrets/NAME."
            )
        if self.server_key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.server_key_env):
            raise UserError(
                "server_key_env is the NAME of an environment variable, such as STARS_SERVER_KEY, not a key."
            )
        tag = self.image.rpartition("/")[2].partition(":")[2]
        if self.operation == "deploy" and (not tag or tag == "latest"):
            raise UserError(
                f"image={self.image or '(none)'}: give the image of this model with a tag of its own, such as "
                "image=NAME.azurecr.io/stars:2. To make one: luthier deploy MODEL_URI --target container --to FOLDER, "
                "then az acr build --registry NAME --image stars:2 FOLDER."
            )

    @property
    def workspace_path(self) -> str:
        """Of the workspace, at Resource Manager."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"
        )

    def price_of(self, instance_type: str) -> float | None:
        """US dollars an hour for one instance; `None` where that is not known."""
        if self.usd_per_hour is not None and instance_type == self.instance_type:
            return self.usd_per_hour
        return USD_PER_HOUR.get(instance_type)


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text)
    except ValueError:
        raise UserError(f"{name}={text!r} is no number.") from None
    return number
