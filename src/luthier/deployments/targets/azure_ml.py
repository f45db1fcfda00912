"""A managed online endpoint of Azure Machine Learning, with two deployments that take turns: blue and green.

    environment (the image) --> endpoint --> deployment beside the old one --> rows are asked --> traffic

The image is that of the container target, so that what answers at Azure is the server that answers everywhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from luthier.deployments.fetching import resolved_model
from luthier.deployments.parity import compare_live, recorded_rows
from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.targets.azure_ml_settings import AzureMlSettings
from luthier.deployments.targets.resource_manager import ArmRequest, ResourceManager
from luthier.errors import GateFailed, UserError
from luthier.packaging.loading import find_model

__all__ = ["AzureMlTarget"]

API_VERSION = "2025-12-01"
"""Of the resource types used here, as azure-ai-ml 1.35 sends it."""

COLOURS = ("blue", "green")
PORT = 8080
"""Where the server of the image listens."""

LONGEST_REQUEST_SECONDS = 180
"""Azure ends every request of a managed endpoint after this time."""

MARGIN_SECONDS = 5
"""By how much Azure waits longer than the server, so that the server's own refusal reaches the client."""

READ_ONLY = frozenset({"provisioningState", "scoringUri", "swaggerUri"})
MODEL_TAG, DIGEST_TAG, REVISION_TAG = "luthier-model", "luthier-digest", "luthier-revision"


class AzureMlTarget:
    """Managed online endpoints of Azure Machine Learning.

    Args:
        manager: Azure Resource Manager; the real one with `DefaultAzureCredential` when absent.
    """

    name = "azure-ml"

    def __init__(self, manager: ResourceManager | None = None) -> None:
        self._manager = manager or ResourceManager()

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What would be sent. Reads the workspace and the endpoint as they are now, and changes nothing.

        Raises:
            UserError: a setting is missing or not allowed, or the endpoint is in a state that does not allow it.
        """
        asked = AzureMlSettings.read(request.config)
        if len(request.name) < 3:
            raise UserError(f"--name {request.name}: the name of an endpoint at Azure has 3 to 32 characters.")
        workspace = self._manager.find(_versioned(asked.workspace_path))
        if workspace is None:
            raise UserError(
                f"there is no workspace {asked.workspace} in group {asked.group}; `az ml workspace list` shows them."
            )
        there = _Endpoint.read(self._manager, asked, request.name)
        if asked.operation == "deploy":
            # An alias may mean another version when the plan is carried out.
            request = replace(request, model_uri=resolved_model(request.model_uri).uri)
            return _plan_deploy(request, asked, str(workspace["location"]), there)
        if asked.operation == "rollback":
            return _plan_rollback(request, asked, there)
        return _plan_delete(request, asked, there)

    def apply(self, plan: DeploymentPlan) -> str:
        """Sends the requests of a plan in their order, each when the one before is done.

        Raises:
            EndpointError: Azure refuses. What was made stays, and the same command goes on from there.
            GateFailed: the new deployment does not answer as it must; traffic stays where it is.
        """
        key: dict[str, Any] = {}
        for document in plan.documents.values():
            asked = ArmRequest.parse(document) if " /subscriptions/" in document.partition("\n")[0] else None
            if asked is None:
                self._ask_rows(plan, document, str(key["primaryKey"]))
            elif asked.target.partition("?")[0].endswith("/listKeys"):
                key = self._manager.send(asked)
            else:
                self._manager.send(asked)
        return plan.steps[-1]

    def _ask_rows(self, plan: DeploymentPlan, document: str, key: str) -> None:
        """Asks the new deployment alone, by the header that names it, before it gets any traffic."""
        from azure.core import PipelineClient
        from azure.core.exceptions import AzureError
        from azure.core.pipeline import policies
        from azure.core.rest import HttpRequest

        request = plan.request
        asked = AzureMlSettings.read(request.config)
        endpoint = self._manager.find(_versioned(_endpoint_path(asked, request.name)))
        address = str((endpoint or {}).get("properties", {}).get("scoringUri", ""))
        head, _, body = document.partition("\n\n")
        colour = head.splitlines()[1].partition(": ")[2]
        headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": colour}
        if asked.server_key_env is not None:
            headers["X-API-Key"] = _server_key(asked.server_key_env)
        sent = HttpRequest("POST", address, json=json.loads(body), headers=headers)
        stays = f"Traffic stays where it is. Its log: az ml online-deployment get-logs --name {colour} " + (
            f"--endpoint-name {request.name} --workspace-name {asked.workspace} --resource-group {asked.group}"
        )
        try:
            # A row is paid for: it is sent again only where the connection was not made.
            once = policies.RetryPolicy(retry_status=0, retry_read=0)
            with PipelineClient(address, policies=[once, policies.ProxyPolicy()]) as client:
                response = client.send_request(sent)
        except AzureError as error:
            raise GateFailed(f"deployment {colour} does not answer at {address} ({error}). {stays}") from error
        if response.status_code == 401:
            raise GateFailed(
                f"deployment {colour} refused the key (status 401). The server in the image has keys of its own: give "
                f"the variable that holds one, as in --config server_key_env=STARS_SERVER_KEY. {stays}"
            )
        if response.status_code != 200:
            raise GateFailed(f"deployment {colour} answered its rows with status {response.status_code}. {stays}")
        try:
            predictions = [dict(row) for row in response.json()["predictions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise GateFailed(f"deployment {colour} does not answer by MLflow's scoring protocol. {stays}") from error
        failed = next((str(row.get("error")) for row in predictions if row.get("state") == "failed"), None)
        because = "" if failed is None else f" A row failed: {failed.rstrip('.')}."
        model = find_model(request.model_uri, trust=request.trust).folder.path
        if recorded_rows(model):
            found = compare_live(model, predictions, request.endpoint)
            if not found.passed:
                raise GateFailed(
                    f"deployment {colour} does not answer as {request.model_uri} did when it was measured "
                    f"({found.words}).{because} Is {asked.image} the image of that version? {stays}"
                )
        elif failed is not None or not predictions:
            raise GateFailed(f"deployment {colour} answers, and its model does not.{because} {stays}")


@dataclass(frozen=True)
class _Endpoint:
    """An endpoint with its deployments as Azure shows them; `found` is `None` while there is none."""

    name: str
    found: dict[str, Any] | None
    deployments: Mapping[str, dict[str, Any]]

    @classmethod
    def read(cls, manager: ResourceManager, asked: AzureMlSettings, name: str) -> _Endpoint:
        path = _endpoint_path(asked, name)
        found = manager.find(_versioned(path))
        names = COLOURS if found is not None else ()
        looked = {one: manager.find(_versioned(f"{path}/deployments/{one}")) for one in names}
        return cls(name, found, {one: kept for one, kept in looked.items() if kept is not None})

    @property
    def traffic(self) -> dict[str, int]:
        """Percentages above 0."""
        shares = (self.found or {}).get("properties", {}).get("traffic") or {}
        return {one: int(share) for one, share in shares.items() if share}

    @property
    def live(self) -> str | None:
        """The deployment with the most traffic."""
        return max(self.traffic, key=lambda one: self.traffic[one], default=None)

    def tag(self, colour: str, name: str) -> str:
        return str((self.deployments[colour].get("tags") or {}).get(name, ""))

    def revision(self, colour: str) -> int:
        kept = self.tag(colour, REVISION_TAG)
        return int(kept) if kept.isdigit() else 0

    def is_up(self, colour: str) -> bool:
        return bool(self.deployments[colour]["properties"].get("provisioningState") == "Succeeded")

    def usd_per_hour(self, asked: AzureMlSettings, without: str = "") -> float | None:
        """What its deployments cost an hour; `None` when a price is not known."""
        total: float | None = 0.0
        for colour, one in self.deployments.items():
            if colour != without and total is not None:
                kind = str(one["properties"].get("instanceType"))
                price = asked.price_of(kind)
                total = None if price is None else total + price * int((one.get("sku") or {}).get("capacity") or 1)
        return total

    def with_traffic(self, asked: AzureMlSettings, traffic: Mapping[str, int]) -> ArmRequest:
        """The request that shares the traffic out so; everything else of the endpoint stays as it is."""
        assert self.found is not None
        kept = {name: self.found[name] for name in ("location", "tags", "kind", "sku") if self.found.get(name)}
        identity = {
            name: value
            for name, value in (self.found.get("identity") or {}).items()
            if name in ("type", "userAssignedIdentities")
        }
        properties = {
            name: value
            for name, value in self.found["properties"].items()
            if name not in READ_ONLY and value is not None
        }
        body = {**kept, "identity": identity, "properties": {**properties, "traffic": dict(traffic)}}
        return ArmRequest("PUT", _versioned(_endpoint_path(asked, self.name)), body)


def _plan_deploy(request: DeploymentRequest, asked: AzureMlSettings, location: str, there: _Endpoint) -> DeploymentPlan:
    # The endpoint is that of the image, which was built with the same --endpoint.
    found = find_model(request.model_uri, request.endpoint, trust=request.trust)
    fitted, recorded = found.fitted, recorded_rows(found.folder.path)
    rows = [dict(row.inputs) for row in recorded] or [dict.fromkeys(fitted.spec.columns, "An example text.")]
    environment = _environment(asked, request.name)
    body = _deployment(request, asked, location, environment, _secrets(request, asked, fitted.spec.all_endpoints))
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    colour = next((one for one in there.deployments if there.tag(one, DIGEST_TAG) == digest and there.is_up(one)), None)
    is_there = colour is not None
    if colour is None:
        colour = next(one for one in COLOURS if one != there.live)
        if there.traffic.get(colour):
            raise UserError(
                f"both deployments of {request.name} have traffic ({_shares(there.traffic)}); finish that first: give "
                "the image of one of them with --config traffic=100, or add --config operation=rollback."
            )
    endpoint_path = _endpoint_path(asked, request.name)
    documents: dict[str, str] = {}
    steps: list[str] = []
    now = there
    if there.found is None:
        made = _endpoint(asked, location)
        documents["endpoint"] = str(ArmRequest("PUT", _versioned(endpoint_path), made))
        steps.append(f"Create the endpoint {request.name} in workspace {asked.workspace}, {location}.")
        now = replace(there, found=made)
    price = asked.price_of(asked.instance_type)
    if not is_there:
        revision = max((there.revision(one) for one in there.deployments), default=0) + 1
        tags = {MODEL_TAG: request.model_uri, DIGEST_TAG: digest, REVISION_TAG: str(revision)}
        target = _versioned(f"{endpoint_path}/deployments/{colour}")
        idle = there.deployments.get(colour)
        if idle is not None and idle["properties"].get("instanceType") != asked.instance_type:
            # Azure does not change the machine of a deployment.
            documents[f"earlier {colour}"] = str(ArmRequest("DELETE", target))
            steps.append(f"Delete the earlier {colour}, which has no traffic and another machine.")
        documents["environment"] = str(environment)
        documents[f"deployment {colour}"] = str(ArmRequest("PUT", target, {**body, "tags": tags}))
        beside = f" beside {there.live}" if there.live else ""
        steps += [
            f"Name the image {asked.image} as an environment of the workspace.",
            f"Create deployment {colour}{beside} (revision {revision}): {request.model_uri} on {asked.instances} x "
            f"{asked.instance_type}, {_money(price)} an hour each. This takes Azure about ten minutes.",
        ]
    share = asked.traffic if asked.traffic is not None else (100 if there.live in (None, colour) else 0)
    if share < 100 and there.live in (None, colour):
        raise UserError(f"traffic={share}: there is no other deployment of {request.name} to take the rest.")
    traffic = {colour: share} | ({there.live: 100 - share} if there.live not in (None, colour) else {})
    traffic = {one: part for one, part in traffic.items() if part or one in there.traffic}
    moves = {one: part for one, part in traffic.items() if part} != there.traffic
    if moves or not is_there:
        documents["key of the endpoint"] = str(ArmRequest("POST", _versioned(f"{endpoint_path}/listKeys")))
        documents["rows"] = _rows(request.name, asked, location, colour, rows)
        compared = "; the answers must be the recorded ones, within what chance allows" if recorded else ""
        billed = ", billed as any other" if fitted.spec.endpoints else ""
        steps.append(f"Ask {colour} for {len(rows)} row{'' if len(rows) == 1 else 's'}{billed}{compared}.")
    if moves:
        documents["traffic"] = str(now.with_traffic(asked, traffic))
        steps.append(f"Traffic: {_shares(there.traffic)} -> {_shares(traffic)}.")
    steps.append(_what_next(request.name, asked, colour, share, there))
    total = there.usd_per_hour(asked, without=colour)
    own = None if price is None else price * asked.instances
    return DeploymentPlan(
        request, AzureMlTarget.name, tuple(steps), documents, None if total is None or own is None else total + own
    )


def _plan_rollback(request: DeploymentRequest, asked: AzureMlSettings, there: _Endpoint) -> DeploymentPlan:
    older = sorted((one for one in there.deployments if there.is_up(one)), key=there.revision)
    if len(older) < 2:
        raise UserError(f"endpoint {request.name} has no earlier deployment that could take the traffic.")
    back, newer = older[0], older[-1]
    if there.traffic == {back: 100}:
        raise UserError(f"all traffic of {request.name} is at {back}, the earlier deployment, already.")
    return DeploymentPlan(
        request,
        AzureMlTarget.name,
        (
            f"Traffic: {_shares(there.traffic)} -> {back} 100%.",
            f"{back} answers alone ({there.tag(back, MODEL_TAG)}). {newer} stays, and is billed: "
            "--config operation=delete-old deletes it.",
        ),
        {"traffic": str(there.with_traffic(asked, {back: 100, newer: 0}))},
        there.usd_per_hour(asked),
    )


def _plan_delete(request: DeploymentRequest, asked: AzureMlSettings, there: _Endpoint) -> DeploymentPlan:
    if there.found is None:
        raise UserError(f"there is no endpoint {request.name} in workspace {asked.workspace}.")
    path = _endpoint_path(asked, request.name)
    if asked.operation == "delete":
        steps = (
            f"Delete the endpoint {request.name} with {', '.join(there.deployments) or 'no deployment'}.",
            f"{request.name} is gone, and nothing of it is billed any more.",
        )
        return DeploymentPlan(
            request, AzureMlTarget.name, steps, {"endpoint": str(ArmRequest("DELETE", _versioned(path)))}, 0.0
        )
    idle = [one for one in there.deployments if not there.traffic.get(one)]
    if not idle:
        raise UserError(f"every deployment of {request.name} has traffic ({_shares(there.traffic)}).")
    return DeploymentPlan(
        request,
        AzureMlTarget.name,
        (f"Delete {idle[0]}, which has no traffic.", f"{idle[0]} is gone, and is not billed any more."),
        {f"deployment {idle[0]}": str(ArmRequest("DELETE", _versioned(f"{path}/deployments/{idle[0]}")))},
        there.usd_per_hour(asked, without=idle[0]),
    )


def _endpoint_path(asked: AzureMlSettings, name: str) -> str:
    return f"{asked.workspace_path}/onlineEndpoints/{name}"


def _versioned(path: str) -> str:
    return f"{path}?api-version={API_VERSION}"


def _environment(asked: AzureMlSettings, name: str) -> ArmRequest:
    """The image as an environment. Its version comes from the image's name, as Azure keeps a version as it is."""
    version = hashlib.sha256(asked.image.encode()).hexdigest()[:12]
    routes = {"livenessRoute": "/health", "readinessRoute": "/ready", "scoringRoute": "/invocations"}
    properties = {
        "image": asked.image,
        "osType": "Linux",
        "inferenceConfig": {route: {"path": path, "port": PORT} for route, path in routes.items()},
    }
    path = f"{asked.workspace_path}/environments/luthier-{name}/versions/{version}"
    return ArmRequest("PUT", _versioned(path), {"properties": properties})


def _endpoint(asked: AzureMlSettings, location: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"authMode": "Key", "publicNetworkAccess": "Enabled"}
    if (asked.key_from or "").startswith("azureml:"):
        # Lets the endpoint's identity read the workspace's connections.
        properties["properties"] = {"enforce_access_to_default_secret_stores": "enabled"}
    return {"location": location, "identity": {"type": "SystemAssigned"}, "properties": properties}


def _deployment(
    request: DeploymentRequest,
    asked: AzureMlSettings,
    location: str,
    environment: ArmRequest,
    variables: Mapping[str, str],
) -> dict[str, Any]:
    seconds = request.settings.timeout_seconds + MARGIN_SECONDS
    if seconds > LONGEST_REQUEST_SECONDS:
        raise UserError(
            f"--timeout {request.settings.timeout_seconds:g}: Azure ends a request after {LONGEST_REQUEST_SECONDS} "
            f"seconds; give at most {LONGEST_REQUEST_SECONDS - MARGIN_SECONDS}."
        )
    return {
        "location": location,
        "sku": {"name": "Default", "capacity": asked.instances},
        "properties": {
            "endpointComputeType": "Managed",
            "instanceType": asked.instance_type,
            "environmentId": environment.target.partition("?")[0],
            "environmentVariables": dict(variables),
            "requestSettings": {
                "requestTimeout": f"PT{seconds:g}S",
                "maxConcurrentRequestsPerInstance": request.settings.most_requests,
            },
            "livenessProbe": {"initialDelay": "PT10S", "period": "PT10S", "timeout": "PT5S", "failureThreshold": 6},
            "readinessProbe": {"initialDelay": "PT10S", "period": "PT10S", "timeout": "PT5S", "failureThreshold": 3},
            "scaleSettings": {"scaleType": "Default"},
            "egressPublicNetworkAccess": "Enabled",
        },
    }


def _secrets(request: DeploymentRequest, asked: AzureMlSettings, endpoints: Any) -> dict[str, str]:
    """Variables of the container that hold a key, each as a reference that Azure follows when it starts."""
    names = sorted({one.key_variable for one in endpoints if one.key_variable is not None})
    if not names:
        return {}
    if asked.key_from is None or len(names) > 1:
        raise UserError(
            f"{request.model_uri} reads its key from {', '.join(names)}, which must come from a secret at Azure; "
            + (
                "only models with one key can be deployed there."
                if len(names) > 1
                else "add --config key_from=azureml://connections/NAME/credentials/NAME, or key_from=keyvault:"
                "https://VAULT.vault.azure.net/secrets/NAME, or use an endpoint with auth: entra."
            )
        )
    return {names[0]: "${{" + asked.key_from + "}}"}


def _rows(name: str, asked: AzureMlSettings, location: str, colour: str, rows: list[dict[str, Any]]) -> str:
    if asked.server_key_env is not None:
        _server_key(asked.server_key_env)
    server_key = "" if asked.server_key_env is None else f"X-API-Key: (the value of {asked.server_key_env})\n"
    return (
        f"POST https://{name}.{location}.inference.ml.azure.com/invocations (the scoringUri that Azure gives)\n"
        f"azureml-model-deployment: {colour}\n"
        f"Authorization: Bearer (the key read before; kept nowhere)\n{server_key}\n"
        + json.dumps({"dataframe_records": rows}, indent=2)
    )


def _server_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"the environment variable {variable}, with a key of the server, is not set. Type: export {variable}=..."
        )
    return key


def _what_next(name: str, asked: AzureMlSettings, colour: str, share: int, there: _Endpoint) -> str:
    if share == 100:
        other = there.live if there.live not in (None, colour) else None
        kept = (
            f" {other} stays for a rollback, and is billed; --config operation=delete-old deletes it." if other else ""
        )
        keys = f"az ml online-endpoint get-credentials --name {name} --workspace-name {asked.workspace}"
        return f"{name} answers with {colour} alone.{kept} Its keys: {keys} --resource-group {asked.group}"
    more = "10" if share == 0 else "100"
    return f"{colour} gets {share}% of the requests. When it does well, type the same with --config traffic={more}."


def _money(usd: float | None) -> str:
    return "at a price that is not known" if usd is None else f"${usd:.4g}"


def _shares(traffic: Mapping[str, int]) -> str:
    return ", ".join(f"{one} {share}%" for one, share in sorted(traffic.items())) or "none"
