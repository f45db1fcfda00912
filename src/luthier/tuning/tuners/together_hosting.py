"""Dedicated endpoints of a project at Together, each with one deployment of one tuned model.

    endpoint made -> deployment made -> PROVISIONING -> READY -> routed: the endpoint's name answers
    routes cleared -> scaled to zero -> STOPPED -> deployment deleted -> endpoint deleted: nothing is billed

A replica is billed while it runs. Names are unique within a project, so each request may be sent again: what exists
already is refused as a conflict, and then looked up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from luthier.errors import EndpointError, SpecError
from luthier.tuning.tuners.http_json import JsonService, ServiceRefused
from luthier.tuning.tuners.records import finite_number
from luthier.tuning.tuners.waiting import look_until

__all__ = ["DedicatedEndpoints"]

Result = TypeVar("Result")

PROJECT_VARIABLE = "TOGETHER_PROJECT_ID"
"""Names the project where a key is not of one."""

DEPLOYMENT = "tuned"
"""Name of the one deployment of each endpoint."""

READY = "DEPLOYMENT_STATE_READY"
FAILED = "DEPLOYMENT_STATE_FAILED"
AT_REST = frozenset({"DEPLOYMENT_STATE_STOPPED", "DEPLOYMENT_STATE_STOPPING"})

PAGE = 100
CONFLICT = 409
NOT_FOUND = 404

Document = Mapping[str, Any]


class DedicatedEndpoints:
    """The endpoints of the project that a key belongs to, or of the one that TOGETHER_PROJECT_ID names.

    Args:
        service: Together's management address.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        service: JsonService,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._wait, self._clock = service, wait, clock
        self._known_project: tuple[str, str] | None = None

    def make(self, name: str, model: str) -> None:
        """Returns when an endpoint of this name sends requests to a running deployment of the model.

        Args:
            name: of the endpoint.
            model: id of a model or adapter in the registry; an adapter is merged into its base model.

        Raises:
            SpecError: the endpoint has another model.
            EndpointError: Together refuses, or the deployment failed.
        """
        endpoint = self._until(lambda: self.find(name) or self._create(name), f"endpoint {name} was not made")
        self.check_model(endpoint, model)
        place = f"{self._endpoints}/{endpoint['id']}"
        (deployment, *_) = endpoint.get("deployments") or [None]
        if deployment is not None and deployment.get("state") == FAILED:
            delete = partial(self._stopped_and_deleted, place, deployment)
            self._until(delete, f"deployment {name} is still there")
            deployment = None
        if deployment is None:
            deployment = self._until(lambda: self._deploy(place, name, model), f"deployment {name} was not made")
        elif deployment.get("state") in AT_REST:
            self._scale(place, deployment, 1)
        self._until(lambda: self._ready(place, str(deployment["id"]), name), f"deployment {name} is not ready")
        split = [{"deploymentId": deployment["id"], "weight": 1}]
        self._until(lambda: self._route(place, split), f"endpoint {name} does not route requests")

    def find(self, name: str) -> Document | None:
        """The endpoint of this name; `None` when Together has none."""
        listed = self._listed(self._endpoints, "looking for the endpoint")
        return next((one for one in listed if str(one.get("name")).rsplit("/", 1)[-1] == name), None)

    def remove(self, name: str) -> None:
        """Deletes an endpoint with its deployments, and returns when Together says that there is none.

        Raises:
            ServiceUnavailable: it is still there after an hour.
        """

        def removed() -> bool | None:
            endpoint = self.find(name)
            if endpoint is None:
                return True
            place = f"{self._endpoints}/{endpoint['id']}"
            if endpoint.get("trafficSplit"):
                self._route(place, [])
            for deployment in endpoint.get("deployments") or ():
                self._stopped_and_deleted(place, deployment)
            return self._deleted(place)

        self._until(removed, f"endpoint {name} is still there")

    def address_of(self, name: str) -> str:
        """What an endpoint is asked by, as `model` of a request."""
        return f"{self._project[1]}/{name}"

    def check_model(self, endpoint: Document, model: str) -> None:
        """Refuses an endpoint that has another model.

        Raises:
            SpecError: says which.
        """
        for deployment in endpoint.get("deployments") or ():
            served = str(deployment.get("model") or "")
            if served and model not in served.split("/"):
                raise SpecError(
                    f"endpoint {endpoint.get('name')} at Together answers with {served}, not with {model}; "
                    "give another --name."
                )

    @property
    def _project(self) -> tuple[str, str]:
        """Id and slug of the project.

        Raises:
            EndpointError: the key is of an organisation, and no variable names a project.
        """
        if self._known_project is None:
            wanted = os.environ.get(PROJECT_VARIABLE, "").strip()
            own = self._service.get("/v3/whoami", "asking whose key it is").get("project") or {}
            if wanted and wanted != own.get("id"):
                all_projects = self._listed("/v1/projects", "looking for the project")
                own = next((one for one in all_projects if wanted in (one.get("id"), one.get("slug"))), {})
            if not own.get("id") or not own.get("slug"):
                given = f"{PROJECT_VARIABLE}={wanted} is none the key may use" if wanted else "the key is of no project"
                raise EndpointError(
                    f"a tuned model is deployed in a project at Together, and {given}. Use a key of a project, or "
                    f"type: export {PROJECT_VARIABLE}=ID"
                )
            self._known_project = str(own["id"]), str(own["slug"])
        return self._known_project

    @property
    def _endpoints(self) -> str:
        return f"/v2/projects/{self._project[0]}/endpoints"

    def _create(self, name: str) -> Document | None:
        """The new endpoint; `None` where there is one of this name already."""
        body = {"name": name}
        reply = self._service.ask(
            "POST", self._endpoints, f"making endpoint {name}", body=body, changes=False, expected=(CONFLICT,)
        )
        return None if reply.status == CONFLICT else reply.document

    def _deploy(self, place: str, name: str, model: str) -> Document | None:
        """The new deployment, or the one that an earlier request has made."""
        body = {
            "name": DEPLOYMENT,
            "model": f"projects/{self._project[0]}/models/{model}",
            "config": self._configuration(model),
            "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
        }
        reply = self._service.ask(
            "POST", f"{place}/deployments", f"deploying {model}", body=body, changes=False, expected=(CONFLICT,)
        )
        if reply.status != CONFLICT:
            return reply.document
        return next(self._listed(f"{place}/deployments", f"looking for deployment {name}"), None)

    def _configuration(self, model: str) -> str:
        """Resource name of the cheapest configuration that runs the model."""
        project = self._project[0]
        registered = self._service.get(f"/v2/projects/{project}/models/{model}", f"looking up {model}")
        if registered.get("baseModel"):
            query = {"referenceModel": registered["baseModel"]}
        else:
            query = {"referenceModelId": registered.get("baseModelId") or model}
        found = self._listed(f"/v2/projects/{project}/configs", f"looking for hardware for {model}", **query)
        configs = list(found)
        if not configs:
            raise EndpointError(f"Together has no configuration that runs {model}; it cannot be deployed there.")
        prices = self._prices() if len(configs) > 1 else {}
        # Where a price is not known, the order is Together's.
        cheapest = min(configs, key=lambda config: prices.get(_hardware(config), float("inf")))
        return f"projects/{cheapest['projectId']}/configs/{cheapest['id']}"

    def _prices(self) -> dict[str, float]:
        """US cents an hour of a replica, by hardware."""
        listed = self._listed("/v2/public/inference-instance-types", "asking for prices of hardware")
        known = {str(one.get("name")): finite_number(one.get("priceCentsPerHour")) for one in listed}
        return {name: cents for name, cents in known.items() if cents is not None}

    def _ready(self, place: str, deployment: str, name: str) -> bool | None:
        status = self._service.get(f"{place}/deployments/{deployment}", f"looking at {name}").get("status") or {}
        if status.get("state") == FAILED:
            why = str(status.get("message") or "Together gives no reason").rstrip(". ")
            raise EndpointError(f"deployment {name} at Together failed: {why}.")
        return True if status.get("state") == READY else None

    def _route(self, place: str, split: list[dict[str, Any]]) -> bool:
        query = {"updateMask": "trafficSplit"}
        self._service.ask("PATCH", place, "routing requests", body={"trafficSplit": split}, query=query)
        return True

    def _scale(self, place: str, deployment: Document, replicas: int) -> None:
        body = {"autoscaling": {"minReplicas": replicas, "maxReplicas": replicas}}
        path = f"{place}/deployments/{deployment['id']}"
        self._service.ask(
            "PATCH", path, "scaling", body=body, query={"updateMask": "autoscaling"}, expected=(NOT_FOUND,)
        )

    def _stopped_and_deleted(self, place: str, deployment: Document) -> bool | None:
        """Stops a deployment and deletes it; one that still runs is refused, and is deleted when it has stopped."""
        self._scale(place, deployment, 0)
        return self._deleted(f"{place}/deployments/{deployment['id']}")

    def _deleted(self, path: str) -> bool | None:
        """Deletes; `True` when Together knows nothing at the path any more."""
        try:
            self._service.ask("DELETE", path, "deleting", expected=(NOT_FOUND,))
            gone = self._service.ask("GET", path, "looking whether it is deleted", expected=(NOT_FOUND,))
        except ServiceRefused as error:
            if error.status in (400, CONFLICT, 412):
                # What runs, or has something in it that runs, cannot be deleted yet.
                return None
            raise
        return True if gone.status == NOT_FOUND else None

    def _listed(self, path: str, doing: str, **query: Any) -> Iterator[Document]:
        """The items of a list, page after page."""
        after: str | None = None
        while True:
            page = self._service.get(path, doing, query={**query, "after": after, "limit": PAGE})
            yield from page.get("data") or ()
            following = page.get("next_cursor")
            if not following or following == after:
                return
            after = str(following)

    def _until(self, look: Callable[[], Result | None], unless: str) -> Result:
        """The result of a look, as soon as there is one; everything here may be repeated."""
        late = f"{unless} after an hour. While a replica runs it is billed; delete it: luthier tune undeploy JOB"
        return look_until(look, late, wait=self._wait, clock=self._clock)


def _hardware(config: Document) -> str:
    """Name of the hardware of a configuration, as prices are listed by: `1xnvidia-h100-80gb`."""
    chosen = {one.get("key"): one.get("value") for one in config.get("selectors") or ()}
    return f"{chosen.get('accelerator_count')}x{chosen.get('accelerator_type')}"
