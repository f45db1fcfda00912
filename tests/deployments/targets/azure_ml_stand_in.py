"""A small stand-in for Azure ML: Resource Manager's answers as Azure documents them, and an endpoint."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from luthier.deployments.targets.resource_manager import ResourceManager
from tests.tuning.azure_stand_in import ARM_TOKEN, GROUP, SUBSCRIPTION, OverLoopback, Refusal

WORKSPACE, LOCATION = "ml-stars", "eastus2"
ENDPOINT_KEY = "endpoint-key-of-the-tests"

ROOT = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
)
OPERATION = re.compile(r"/operations/(\d+)$")

Answer = tuple[int, dict[str, str], Any]


@dataclass
class Sent:
    """A request as it arrived."""

    method: str
    path: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def end(self) -> str:
        return self.path.removeprefix(ROOT)


class AzureMlStandIn:
    """One workspace. What is made takes a few looks; one operation on an endpoint at a time, else 409."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.asked: list[Sent] = []
        self.refusals: list[Refusal] = []
        self.looks_until_done = 2
        self.ends_as = "Succeeded"
        self.row_answer: Answer = (200, {}, {"predictions": [{"label": "4", "state": "ok"}]})
        self._operations: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def manager(self) -> ResourceManager:
        """Azure's own client, pointed here."""
        return ResourceManager(
            address=self.url, authentication_policy=OverLoopback(), polling_seconds=0.01, backoff_seconds=0.01
        )

    def changes(self) -> list[str]:
        """What was sent beside looks, in order: method and path within the workspace."""
        return [f"{one.method} {one.end}" for one in self.asked if one.method != "GET"]

    def traffic(self, name: str) -> dict[str, int]:
        return dict(self.resources[f"{ROOT}/onlineEndpoints/{name}"]["properties"].get("traffic", {}))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet, else each answer waits for an acknowledgement

            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                parts = urlsplit(self.path)
                sent = Sent(self.command, parts.path, json.loads(raw) if raw else None, dict(self.headers))
                with outer._lock:
                    outer.asked.append(sent)
                    status, headers, body = outer._answer(sent, parse_qs(parts.query))
                answer = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in ({"content-type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - the names http.server looks for

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
                pass

        return Handler

    def _answer(self, sent: Sent, query: dict[str, list[str]]) -> Answer:
        if sent.path == "/invocations":
            if sent.headers.get("Authorization") != f"Bearer {ENDPOINT_KEY}":
                return 401, {}, {"message": "no key"}
            return self.row_answer
        if sent.headers.get("Authorization") != f"Bearer {ARM_TOKEN}":
            return _error(401, "InvalidAuthenticationToken", "the token is not known")
        operation = OPERATION.search(sent.path)
        if operation is not None:
            return self._look(self._operations[int(operation[1])])
        if query.get("api-version") != ["2025-12-01"]:
            return _error(400, "MissingApiVersionParameter", "the api-version query parameter is required")
        if sent.path == ROOT and sent.method == "GET":
            return 200, {}, {"id": ROOT, "name": WORKSPACE, "location": LOCATION}
        if not sent.path.startswith(f"{ROOT}/"):
            return _error(404, "ResourceGroupNotFound", "the resource group could not be found")
        if sent.method != "GET" and self.refusals:
            no = self.refusals.pop(0)
            status, headers, body = _error(no.status, no.code, no.message)
            return status, headers | no.headers, body
        return {"GET": self._get, "PUT": self._put, "DELETE": self._delete, "POST": self._post}[sent.method](sent)

    def _get(self, sent: Sent) -> Answer:
        kept = self.resources.get(sent.path)
        return _error(404, "ResourceNotFound", f"{sent.end} was not found") if kept is None else (200, {}, kept)

    def _post(self, sent: Sent) -> Answer:
        if not sent.path.endswith("/listKeys") or sent.path.removesuffix("/listKeys") not in self.resources:
            return _error(404, "ResourceNotFound", f"{sent.end} was not found")
        return 200, {}, {"primaryKey": ENDPOINT_KEY, "secondaryKey": "other"}

    def _put(self, sent: Sent) -> Answer:
        kind, wrong = sent.end.split("/")[-2], ""
        properties = sent.body["properties"]
        if kind == "versions":
            if sent.path in self.resources and self.resources[sent.path]["properties"] != properties:
                return _error(409, "Conflict", "a version of an environment cannot be changed")
            self.resources[sent.path] = {"id": sent.path, "properties": properties}
            return 201, {}, self.resources[sent.path]
        if self._busy(sent.path):
            return _error(409, "Conflict", "another operation on the endpoint is in progress")
        if sent.body.get("location") != LOCATION:
            wrong = "the location must be that of the workspace"
        elif kind == "deployments":
            if properties["environmentId"] not in self.resources:
                wrong = f"{properties['environmentId']} does not exist"
            elif sent.path.rpartition("/deployments/")[0] not in self.resources:
                return _error(404, "ResourceNotFound", "the endpoint does not exist")
            kept = self.resources.get(sent.path, {"properties": properties})["properties"]["instanceType"]
            wrong = wrong or ("" if kept == properties["instanceType"] else "the instance type cannot be changed")
        else:
            traffic = properties.get("traffic", {})
            absent = [one for one in traffic if f"{sent.path}/deployments/{one}" not in self.resources]
            if {"provisioningState", "scoringUri"} & set(properties) or absent or sum(traffic.values()) not in (0, 100):
                wrong = f"traffic {traffic} or a read-only property is not allowed"
        if wrong:
            return _error(400, "UserError", wrong)
        shown = {**properties, "provisioningState": "Creating"}
        if kind == "onlineEndpoints":
            shown["scoringUri"] = f"{self.url}/invocations"
        new = sent.path not in self.resources
        made = {**sent.body, "id": sent.path, "name": sent.path.rpartition("/")[2], "properties": shown}
        self.resources[sent.path] = made
        return (201 if new else 200), self._started(sent.path, "PUT"), made

    def _delete(self, sent: Sent) -> Answer:
        if sent.path not in self.resources:
            return 204, {}, None
        return 202, self._started(sent.path, "DELETE"), None

    def _busy(self, path: str) -> bool:
        endpoint = path.split("/deployments/")[0]
        return any(one["path"].startswith(endpoint) and one["looks"] > 0 for one in self._operations)

    def _started(self, path: str, method: str) -> dict[str, str]:
        self._operations.append({"path": path, "method": method, "looks": self.looks_until_done})
        where = f"{self.url}{ROOT}/operations/{len(self._operations) - 1}"
        return (
            {"Azure-AsyncOperation": where, "Location": where}
            if method == "DELETE"
            else {"Azure-AsyncOperation": where}
        )

    def _look(self, operation: dict[str, Any]) -> Answer:
        operation["looks"] -= 1
        if operation["looks"] > 0:
            return 200, {}, {"status": "InProgress"}
        path = operation["path"]
        if operation["method"] == "DELETE":
            for one in [one for one in self.resources if one == path or one.startswith(f"{path}/")]:
                del self.resources[one]
            return 200, {}, {"status": "Succeeded"}
        if path in self.resources:
            self.resources[path]["properties"]["provisioningState"] = self.ends_as
        if self.ends_as == "Succeeded":
            return 200, {}, {"status": "Succeeded"}
        said = {"code": "ResourceNotReady", "message": "User container has crashed or terminated"}
        return 200, {}, {"status": self.ends_as, "error": said}


def _error(status: int, code: str, message: str) -> Answer:
    return status, {}, {"error": {"code": code, "message": message}}
