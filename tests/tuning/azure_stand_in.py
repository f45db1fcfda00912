"""A small stand-in for an Azure OpenAI resource: its Resource Manager here, its data plane by the embedded server."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from azure.core.credentials import AccessToken
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient

from tests.patience import PATIENCE_SECONDS

SUBSCRIPTION, GROUP, ACCOUNT = "00000000-0000-0000-0000-000000000000", "rg-stars", "stars-account"
ARM_TOKEN = "arm-token-of-the-tests"

ACCOUNT_PATH = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.CognitiveServices/accounts/(?P<account>[^/]+)/(?P<kind>deployments|models)(/(?P<name>[^/]+))?$"
)


@dataclass
class Refusal:
    """One request at the Resource Manager is refused so."""

    status: int
    code: str
    message: str = "refused by the tests"
    headers: dict[str, str] = field(default_factory=dict)


class Credential:
    """Gives one token for everything."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **settings: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self.token, 4_102_444_800)


class OverLoopback(SansIOHTTPPolicy):  # type: ignore[misc]  # azure has no types here
    """The client's own policy refuses to send a token over plain HTTP, which is all a test has."""

    def on_request(self, request: PipelineRequest) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {ARM_TOKEN}"


class AzureStandIn:
    """Deployments that take a few looks to come and to go, in front of a data plane.

    Args:
        data_plane: base URL of the embedded server.
        key: the key it takes.
    """

    def __init__(self, data_plane: str, key: str) -> None:
        self.data_plane, self.key = data_plane.rstrip("/"), key
        self.deployments: dict[str, dict[str, Any]] = {}
        self.account_models: list[dict[str, Any]] = []
        """What `accounts.list_models` tells, as Azure spells it."""
        self.data_models: list[dict[str, Any]] | None = None
        """What `GET /openai/v1/models` tells; `None`: what the embedded server does."""
        self.page_size = 100
        """Entries in a page of any list."""
        self.refusals: list[Refusal] = []
        """Of the next writes, in order."""
        self.read_refusals: list[Refusal | None] = []
        """Of the next reads, in order; `None` lets one pass, so that a page in the middle can fail."""
        self.looks_until_made = 2
        self.looks_until_gone = 2
        self.calls_until_ready = 2
        self.ends_as = "Succeeded"
        self.keeps_metadata = True
        self.asked: list[tuple[str, str, bytes]] = []
        """Method, path and body of every request, in order."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http = httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def arm_client(self) -> CognitiveServicesManagementClient:
        """The real client of azure-mgmt-cognitiveservices, pointed here."""
        return CognitiveServicesManagementClient(
            Credential(ARM_TOKEN),
            SUBSCRIPTION,
            base_url=self.url,
            authentication_policy=OverLoopback(),
            retry_total=0,
        )

    def deploy(self, name: str, model: str, version: str = "1", **changes: Any) -> None:
        """Puts a deployment there that has long been made.

        Args:
            name: what it is asked by.
            model: what answers.
            version: the model's, in Azure's words.
            changes: of `format`, `state`, `sku`, `capacity`, `createdAt`, `tags`, `capabilities`.
        """
        self.deployments[name] = {
            "sku": {"name": changes.get("sku", "GlobalStandard"), "capacity": changes.get("capacity", 50)},
            "properties": {
                "model": {"format": changes.get("format", "OpenAI"), "name": model, "version": version},
                "capabilities": changes.get("capabilities", {"chatCompletion": "true"}),
            },
            "tags": changes.get("tags", {}),
            "systemData": {"createdAt": changes.get("createdAt", "2026-03-01T12:00:00Z")},
            "looks": 0,
            "state": changes.get("state", "Succeeded"),
        }

    def bodies(self, method: str, end: str) -> list[bytes]:
        return [body for how, path, body in self.asked if how == method and path.endswith(end)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = urlsplit(self.path).path
                outer.asked.append((self.command, path, body))
                status, headers, answer = outer.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - the names http.server looks for

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
                pass

        return Handler

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        path = urlsplit(target).path
        if path.startswith("/openai/v1"):
            return self._data(method, target, headers, body)
        with self._lock:
            return self._arm(method, target, headers, body)

    def _arm(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        found = ACCOUNT_PATH.match(urlsplit(target).path)
        if headers.get("Authorization") != f"Bearer {ARM_TOKEN}":
            return _error(401, "InvalidAuthenticationToken", "the token is not known")
        if found is None or found["account"] != ACCOUNT or found["group"] != GROUP:
            return _error(404, "ParentResourceNotFound", "the account is not here")
        name = found["name"]
        scripted = self.read_refusals if method == "GET" else self.refusals
        if scripted and (no := scripted.pop(0)) is not None:
            status, kept, answer = _error(no.status, no.code, no.message)
            return status, kept | no.headers, answer
        if method == "PUT":
            wanted = json.loads(body)
            self.deployments[name] = {**wanted, "looks": self.looks_until_made, "state": "Creating"}
            return 201, {"content-type": "application/json"}, self._shown(name)
        if found["kind"] == "models":
            return self._page(self.account_models, target)
        if name is None:
            return self._page([json.loads(self._shown(one)) for one in self.deployments], target)
        if name not in self.deployments:
            return _error(404, "ResourceNotFound", f"the deployment {name} was not found")
        kept_here = self.deployments[name]
        if method == "DELETE":
            kept_here |= {"looks": self.looks_until_gone, "state": "Deleting"}
            return 202, {"location": f"{self.url}/operations/1"}, b""
        kept_here["looks"] -= 1
        if kept_here["looks"] < 0 and kept_here["state"] == "Deleting":
            del self.deployments[name]
            return _error(404, "ResourceNotFound", f"the deployment {name} was not found")
        if kept_here["looks"] < 0:
            kept_here["state"] = self.ends_as
        return 200, {"content-type": "application/json"}, self._shown(name)

    def _shown(self, name: str) -> bytes:
        kept = self.deployments[name]
        properties = {**kept["properties"], "provisioningState": kept["state"]}
        told = {key: kept[key] for key in ("sku", "tags", "systemData") if key in kept}
        return json.dumps({"id": f"/{name}", "name": name, "properties": properties} | told).encode()

    def _page(self, items: Sequence[dict[str, Any]], target: str) -> tuple[int, dict[str, str], bytes]:
        """A page of a list, with the address of the next one, as Resource Manager gives it."""
        query = dict(parse_qsl(urlsplit(target).query))
        start = int(query.pop("$skipToken", 0))
        end = start + self.page_size
        body: dict[str, Any] = {"value": list(items[start:end])}
        if end < len(items):
            body["nextLink"] = f"{self.url}{urlsplit(target).path}?{urlencode(query | {'$skipToken': str(end)})}"
        return 200, {"content-type": "application/json"}, json.dumps(body).encode()

    def _data_page(self, items: Sequence[dict[str, Any]], target: str) -> tuple[int, dict[str, str], bytes]:
        """A page of a list, as servers of OpenAI's protocol give it where they have pages."""
        after = dict(parse_qsl(urlsplit(target).query)).get("after")
        start = 1 + [item["id"] for item in items].index(after) if after else 0
        page = items[start : start + self.page_size]
        body = {"object": "list", "data": list(page), "has_more": start + len(page) < len(items)}
        return 200, {"content-type": "application/json"}, json.dumps(body).encode()

    def _data(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if urlsplit(target).path.endswith("/v1/models") and self.data_models is not None:
            given = {name.lower(): value for name, value in headers.items()}
            if self.key not in (given.get("authorization", "").removeprefix("Bearer "), given.get("api-key")):
                return _error(401, "invalid_api_key", "the key is not known")
            return self._data_page(self.data_models, target)
        if target.endswith("/chat/completions"):
            given = json.loads(body)
            with self._lock:
                kept = self.deployments.get(given["model"])
                if kept is None or kept["state"] != "Succeeded":
                    return _error(404, "DeploymentNotFound", "the API deployment does not exist")
                if self.calls_until_ready:
                    self.calls_until_ready -= 1
                    return _error(404, "DeploymentNotReady", "the deployment is not ready")
            body = json.dumps({**given, "model": kept["properties"]["model"]["name"]}).encode()
        ordered = method == "POST" and target.endswith("/fine_tuning/jobs")
        if ordered and not self.keeps_metadata and b'"metadata"' in body:
            return _error(400, "unknown_parameter", "Unrecognized request argument supplied: metadata")
        reply = self._http.request(
            method,
            self.data_plane + target.removeprefix("/openai/v1"),
            content=body,
            headers={
                name: value
                for name, value in headers.items()
                if name.lower() in ("authorization", "api-key", "content-type")
            },
        )
        return reply.status_code, {"content-type": reply.headers.get("content-type", "")}, reply.content


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    return (
        status,
        {"content-type": "application/json"},
        json.dumps({"error": {"code": code, "message": message}}).encode(),
    )
