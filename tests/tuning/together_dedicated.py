"""The part of the stand-in for Together that deploys and answers: endpoints, deployments, chat."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

PROJECT, SLUG = "proj_1", "stars-team"
BASE_IN_REGISTRY = "projects/proj_public/models/ml_base"

INSTANCES = [
    {"id": "it_1", "name": "1xnvidia-h200-140gb", "priceCentsPerHour": 499},
    {"id": "it_2", "name": "1xnvidia-h100-80gb", "priceCentsPerHour": 336},
]


def _config(ident: str, kind: str) -> dict[str, Any]:
    selectors = [{"key": "accelerator_type", "value": kind}, {"key": "accelerator_count", "value": "1"}]
    return {"id": ident, "projectId": "proj_public", "selectors": selectors, "referenceModel": BASE_IN_REGISTRY}


CONFIGS = [_config("cr_large", "nvidia-h200-140gb"), _config("cr_small", "nvidia-h100-80gb")]


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DedicatedStandIn:
    """Deployments that take a while to be ready, to be routed to and to go; a running one cannot be deleted."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.looks_until_ready = 3
        self.looks_until_stopped = 2
        self.calls_until_routed = 2
        self.deployments_end_as = "DEPLOYMENT_STATE_READY"
        self.has_project = True
        self.one_block_of_logprobs = False
        self._numbers = itertools.count(1)

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        """Method, path and what is answered."""
        project = f"/v2/projects/{PROJECT}"
        endpoint = project + r"/endpoints/([^/]+)"
        deployment = endpoint + r"/deployments/([^/]+)"
        return [
            ("GET", "/v3/whoami", lambda query, given: self._whoami()),
            ("GET", "/v1/projects", lambda query, given: {"data": [{"id": PROJECT, "slug": SLUG, "name": "Stars"}]}),
            ("GET", "/v2/public/inference-instance-types", lambda query, given: {"data": INSTANCES}),
            (
                "GET",
                project + r"/models/([^/]+)",
                lambda ident, query, given: {"id": ident, "baseModel": BASE_IN_REGISTRY},
            ),
            ("GET", project + r"/configs", lambda query, given: self._configs(query)),
            ("GET", project + r"/endpoints", lambda query, given: self._endpoint_list(query)),
            ("POST", project + r"/endpoints", lambda query, given: self._endpoint_create(given)),
            ("PATCH", endpoint, self._endpoint_update),
            ("GET", endpoint, lambda ident, query, given: self._endpoint(ident)),
            ("DELETE", endpoint, lambda ident, query, given: self._endpoint_delete(ident)),
            (
                "GET",
                endpoint + "/deployments",
                lambda ident, query, given: {"data": self._endpoint(ident)["deployments"]},
            ),
            ("POST", endpoint + "/deployments", lambda ident, query, given: self._deploy(ident, given)),
            ("GET", deployment, lambda ident, one, query, given: self._deployment_now(ident, one)),
            ("PATCH", deployment, lambda ident, one, query, given: self._scale(ident, one, given)),
            ("DELETE", deployment, lambda ident, one, query, given: self._deployment_delete(ident, one)),
            ("POST", "/v1/chat/completions", lambda query, given: self._chat(given)),
        ]

    def _whoami(self) -> dict[str, Any]:
        who: dict[str, Any] = {"type": "org_api_key", "api_key": {"id": "key_1"}, "organization": {"id": "org_1"}}
        if self.has_project:
            who |= {"type": "project_api_key", "project": {"id": PROJECT, "slug": SLUG, "name": "Stars"}}
        return who

    def _configs(self, query: dict[str, str]) -> dict[str, Any]:
        assert query["referenceModel"] == BASE_IN_REGISTRY
        # One a page: the second is the cheaper.
        place = int(query.get("after", 0))
        return {"data": CONFIGS[place : place + 1], "next_cursor": str(place + 1) if place + 1 < len(CONFIGS) else None}

    def _endpoint_list(self, query: dict[str, str]) -> dict[str, Any]:
        everything = list(self.endpoints.values())
        place = int(query.get("after", 0))
        return {
            "data": everything[place : place + 1],
            "next_cursor": str(place + 1) if place + 1 < len(everything) else None,
        }

    def _endpoint_create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"{SLUG}/{given['name']}"
        if any(one["name"] == name for one in self.endpoints.values()):
            raise Refused(409, f"endpoint {name} exists")
        ident = f"ep_{next(self._numbers)}"
        self.endpoints[ident] = {"id": ident, "name": name, "projectId": PROJECT, "deployments": [], "trafficSplit": []}
        return self.endpoints[ident]

    def _endpoint(self, ident: str) -> dict[str, Any]:
        if ident not in self.endpoints:
            raise Refused(404, f"endpoint {ident} not found")
        return self.endpoints[ident]

    def _endpoint_update(self, ident: str, query: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        assert query == {"updateMask": "trafficSplit"}
        self._endpoint(ident)["trafficSplit"] = given["trafficSplit"]
        self._endpoint(ident)["calls_left"] = self.calls_until_routed
        return self._endpoint(ident)

    def _endpoint_delete(self, ident: str) -> dict[str, Any]:
        if self._endpoint(ident)["deployments"]:
            raise Refused(400, "endpoint has deployments")
        del self.endpoints[ident]
        return {"id": ident}

    def _deploy(self, ident: str, given: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._endpoint(ident)
        if endpoint["deployments"]:
            raise Refused(409, f"deployment {given['name']} exists")
        assert given["autoscaling"] == {"minReplicas": 1, "maxReplicas": 1}
        made = {
            "id": f"dep_{next(self._numbers)}",
            "name": f"{endpoint['name']}/{given['name']}",
            "model": f"{given['model']}/revisions/rv_1",
            "config": given["config"],
            "state": "DEPLOYMENT_STATE_PROVISIONING",
            "looks_left": self.looks_until_ready,
        }
        endpoint["deployments"].append(made)
        return made

    def _deployment(self, ident: str, one: str) -> dict[str, Any]:
        made_there: list[dict[str, Any]] = self._endpoint(ident)["deployments"]
        found = next((made for made in made_there if made["id"] == one), None)
        if found is None:
            raise Refused(404, f"deployment {one} not found")
        return found

    def _deployment_now(self, ident: str, one: str) -> dict[str, Any]:
        made = self._deployment(ident, one)
        made["looks_left"] -= 1
        if made["looks_left"] <= 0 and made["state"] == "DEPLOYMENT_STATE_PROVISIONING":
            made["state"] = self.deployments_end_as
        return {**made, "status": {"state": made["state"], "message": "no capacity for 1x H100"}}

    def _scale(self, ident: str, one: str, given: dict[str, Any]) -> dict[str, Any]:
        made, replicas = self._deployment(ident, one), given["autoscaling"]["minReplicas"]
        if replicas == 0 and made["state"] not in ("DEPLOYMENT_STATE_STOPPING", "DEPLOYMENT_STATE_STOPPED"):
            made |= {"state": "DEPLOYMENT_STATE_STOPPING", "looks_left": self.looks_until_stopped}
        if replicas == 1:
            made |= {"state": "DEPLOYMENT_STATE_PROVISIONING", "looks_left": self.looks_until_ready}
        return made

    def _deployment_delete(self, ident: str, one: str) -> dict[str, Any]:
        made = self._deployment(ident, one)
        made["looks_left"] -= 1
        if made["state"] != "DEPLOYMENT_STATE_STOPPING" or made["looks_left"] > 0:
            raise Refused(400, f"deployment {one} has running replicas")
        self._endpoint(ident)["deployments"].remove(made)
        return {"id": one}

    def _chat(self, given: dict[str, Any]) -> dict[str, Any]:
        if "top_logprobs" in given or not 0 <= given.get("logprobs", 0) <= 20 or given.get("logprobs") is True:
            raise Refused(400, "logprobs must be an integer between 0 and 20")
        endpoint = next((one for one in self.endpoints.values() if one["name"] == given["model"]), None)
        if endpoint is None or not endpoint["trafficSplit"]:
            raise Refused(404, f"Unable to access model {given['model']}")
        endpoint["calls_left"] -= 1
        if endpoint["calls_left"] >= 0:
            raise Refused(503, "no replicas are routed yet")
        text = "5" if "good" in given["messages"][-1]["content"] else "1"
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
        }
        if "logprobs" in given:
            likely = {text: math.log(0.7), "3": math.log(0.2), "2": math.log(0.1)}
            tops: Any = likely if self.one_block_of_logprobs else [likely]
            logprobs = {"tokens": [text], "token_ids": [11], "token_logprobs": [likely[text]], "top_logprobs": tops}
            choice["logprobs"] = logprobs
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        return {"id": "c", "object": "chat.completion", "model": given["model"], "choices": [choice], "usage": usage}
