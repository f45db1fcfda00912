"""Deployments at Fireworks: made, asked until they answer, deleted until they are gone.

    creating --> ready --> answers --> no replica after five quiet minutes --> wakes up when asked
                   |
                   +--> deleting --> gone

A replica is billed by the second; a deployment without one costs nothing. A checkpoint has to become a model first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from luthier.errors import EndpointError, SpecError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.fireworks_account import FireworksAccount
from luthier.tuning.tuners.fireworks_records import (
    checkpoint_job,
    last_part,
    promoted_model,
    resource_id,
)
from luthier.tuning.tuners.http_json import ServiceRefused
from luthier.tuning.tuners.tuner import billed_by_the_hour

__all__ = ["FireworksDeployments"]

IDLE_SECONDS = 300
"""After so long without a request a deployment gives its replica back; the service takes no less."""

LEAVING = ("DELETING", "DELETED")

NOT_LOADED = (404, 412)
"""Statuses of a request to a deployment whose model is not loaded yet."""


class FireworksDeployments:
    """The deployments of an account."""

    def __init__(self, account: FireworksAccount) -> None:
        self._account, self._service = account, account.service
        self._operations: dict[str, str | None] = {}

    def check_name(self, name: str, model: str) -> None:
        """Refuses a name that is no id at the service, or answers with another model.

        Raises:
            SpecError: says why.
        """
        self._check_id(name)
        found = self.find(name)
        if found is not None:
            self._check_served(found, name, model)

    def find(self, name: str) -> Mapping[str, Any] | None:
        """A deployment as the service tells it; `None` when there is none, or it is deleted and has no replica left."""
        found = self._account.known(self._path(name), f"looking at deployment {name}")
        if found is None or (found.get("state") == "DELETED" and not found.get("replicaCount")):
            return None
        return found

    def make(self, model: str, name: str) -> None:
        """Deploys a model or a checkpoint and returns when it answers. An existing deployment of both is used.

        Raises:
            SpecError: the name answers with another model.
            EndpointError: the service refuses, or it failed.
            ServiceUnavailable: it does not answer after an hour.
        """
        self._check_id(name)
        late = (
            f"deployment {name} at {self._account.place} does not answer after an hour. It may be billed; delete it: "
            "luthier tune undeploy JOB"
        )
        job = checkpoint_job(model)
        if job is not None:
            self._account.until(lambda: self._is_promoted(model, job), f"{model} is not a model after an hour")
        self._account.until(lambda: self._is_made(name, model), late)
        self._account.until(lambda: self._is_up(name), late)

    def at(self, name: str, model: str) -> Endpoint:
        """The endpoint of a deployment of a model, which belongs to the same account."""
        account = "/".join(model.split("/")[:2]) if model.startswith("accounts/") else self._account.name
        return billed_by_the_hour(self._account.endpoint, f"{account}/deployments/{name}", model)

    def remove(self, name: str) -> None:
        """Deletes a deployment, also while it is in use, and returns when it is gone.

        Raises:
            ServiceUnavailable: it is still there after an hour.
        """
        late = (
            f"deployment {name} at {self._account.place} is not gone after an hour; while it has a replica it is billed"
        )
        self._account.until(lambda: self._is_gone(name), late)

    def _check_id(self, name: str) -> None:
        if resource_id(name) != name:
            raise SpecError(
                f"{name!r} cannot be the name of a deployment at {self._account.place}: a small letter, then small "
                f"letters, digits and hyphens, 63 at most. Type: --name {resource_id(name)}"
            )

    def _check_served(self, found: Mapping[str, Any], name: str, model: str) -> None:
        served = found.get("baseModel")
        if served is not None and served != promoted_model(model):
            raise SpecError(
                f"deployment {name} at {self._account.place} answers with {served}, not with {model}; give another "
                "--name."
            )

    def _path(self, name: str) -> str:
        return self._account.path("deployments", name)

    def _is_promoted(self, checkpoint: str, job: str) -> bool:
        """Whether a checkpoint has become a model; requests it first."""
        target, doing = promoted_model(checkpoint), f"making checkpoint {last_part(checkpoint)} a model"
        made = self._account.known(f"/v1/{target}", doing)
        if made is None:
            trained = self._service.get(self._account.path("supervisedFineTuningJobs", job), doing, job=job)
            body = {"output_model": target, "base_model": trained.get("baseModel"), "async_promotion": True}
            # 409: the model has come up since.
            reply = self._service.ask(
                "POST", f"/v1/{checkpoint}:promote", doing, body=body, changes=False, expected=(409,)
            )
            self._operations[target] = (reply.document.get("operation") or {}).get("name")
        elif made.get("state") == "READY":
            return True
        operation = self._operations.get(target)
        failed = None if operation is None else self._service.get(f"/v1/{operation}", doing).get("error")
        if failed:
            raise EndpointError(f"{self._account.place} failed ({doing}): {failed.get('message') or failed}")
        return False

    def _is_made(self, name: str, model: str) -> bool:
        """Whether there is a deployment; requests one, once an earlier one of this name is gone."""
        found = self.find(name)
        if found is not None and found.get("state") not in LEAVING:
            self._check_served(found, name, model)
            return True
        if found is None:
            body = {
                "baseModel": promoted_model(model),
                # Without a shape the service does not check that model and machine go together.
                "deploymentShape": "default",
                "minReplicaCount": 0,
                "maxReplicaCount": 1,
                "autoscalingPolicy": {"scaleToZeroWindow": f"{IDLE_SECONDS}s"},
            }
            query = {"deploymentId": name}
            doing = f"deploying {model}"
            self._service.ask("POST", self._account.path("deployments"), doing, body=body, query=query, changes=False)
        return found is None

    def _is_up(self, name: str) -> bool:
        """Whether a deployment answers; asking also wakes one that has no replica."""
        now = self.find(name)
        if now is None or now.get("state") == "FAILED":
            told = ((now or {}).get("status") or {}).get("message") or "the service gives no reason"
            said = "is not there" if now is None else f"has failed ({told})"
            raise EndpointError(f"deployment {name} at {self._account.place} {said}.")
        return now.get("state") in ("READY", "UPDATING") and self._answers(name)

    def _answers(self, name: str) -> bool:
        model = f"{self._account.name}/deployments/{name}"
        body = {"model": model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
        path = f"{urlsplit(self._account.place).path}/chat/completions"
        try:
            # Not ready is 503 at most times, which `until` waits for.
            self._service.ask("POST", path, f"asking deployment {name}", body=body, changes=False)
        except ServiceRefused as refused:
            if refused.status in NOT_LOADED and "suspend" not in refused.said.lower():
                return False
            # Some models refuse so short an answer, and are ready all the same.
            if refused.status != 400:
                raise
        return True

    def _is_gone(self, name: str) -> bool:
        found = self.find(name)
        if found is not None and found.get("state") not in LEAVING:
            # For good: a deployment that can be brought back keeps its name.
            query = {"hard": "true", "ignoreChecks": "true"}
            self._service.ask("DELETE", self._path(name), f"deleting deployment {name}", query=query, expected=(404,))
        return found is None
