"""A stand-in for Fireworks, made from the schema its SDK publishes: datasets, jobs, models, deployments, answers.

Whatever takes time there takes looks here: a job, a dataset or a deployment is one state further each time it is asked
for. Bodies with a field that the schema lacks are refused.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

ACCOUNT = "accounts/stars-team"
BASE = "accounts/fireworks/models/tunable-base"
FIXED = "accounts/fireworks/models/fixed-base"
KEY = "fw-hunter22-hunter22"
INFERENCE_KEY = "fw-inference-only-22"

JOB_FIELDS = {
    *("dataset", "evaluationDataset", "evalAutoCarveout", "baseModel", "warmStartFrom", "outputModel", "displayName"),
    *("epochs", "learningRate", "loraRank", "batchSizeSamples", "learningRateWarmupSteps", "optimizerWeightDecay"),
    *("maxContextLength", "samplerCheckpointSaveIntervalSteps", "earlyStop", "region", "useReservation"),
}
DEPLOYMENT_FIELDS = {
    *("baseModel", "deploymentShape", "minReplicaCount", "maxReplicaCount", "autoscalingPolicy", "displayName"),
    "enableAddons",
}
RUN = ("CREATING", "VALIDATING", "PENDING", "RUNNING", "RUNNING", "WRITING_RESULTS", "COMPLETED")
ENDED = ("COMPLETED", "EARLY_STOPPED", "FAILED", "EXPIRED", "CANCELLED")
ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MOST_LOGPROBS = 5


@dataclass
class Trouble:
    """The next request of this method and path goes wrong; `status` 0 ends the connection.

    Attributes:
        after: whether the request is carried out all the same, so that only its answer is lost.
    """

    method: str
    path: str
    status: int = 0
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "trouble of the tests"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class FireworksStandIn:
    """One account."""

    def __init__(self) -> None:
        self.accounts = [ACCOUNT]
        self.datasets: dict[str, dict[str, Any]] = {}
        self.uploaded: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {
            BASE: {"name": BASE, "state": "READY", "tunable": True, "trainingContextLength": 8192},
            FIXED: {"name": FIXED, "state": "READY"},
        }
        self.deployments: dict[str, dict[str, Any]] = {}
        self.checkpoints: list[dict[str, Any]] = []
        self.operations: dict[str, int] = {}
        self.run: tuple[str, ...] = RUN
        """States of new jobs, one a look; the last one stays."""
        self.metrics: list[str] = []
        """Lines of every metrics file; one more is there with each look at a running job, and all at its end."""
        self.estimated_cost: dict[str, Any] | None = None
        self.dataset_status: dict[str, str] = {"code": "OK"}
        self.job_status: dict[str, str] = {}
        self.looks_until_usable = 1
        self.looks_cancelling = 2
        self.looks_until_made = 2
        self.looks_until_gone = 2
        self.cold_answers = 2
        """How often a deployment that has no replica yet answers 503 before it has one."""
        self.made_as = "READY"
        self.answer = "5"
        self.choices = {"5": 0.5, "4": 0.2, "3": 0.15, "2": 0.1, "1": 0.04, "6": 0.01}
        self.troubles: list[Trouble] = []
        self.asked: list[Asked] = []
        self._cancelled: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def sent(self, method: str, end: str) -> list[Asked]:
        return [one for one in self.asked if one.method == method and one.path.endswith(end)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # Head and body in one piece: in two, each answer takes 40 ms.

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = outer.told(Asked(self.command, parts.path, query, headers, body))
                if told is None:
                    self.close_connection = True
                    return
                status, more, content = told
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the names http.server looks for

            def log_message(self, *given: object) -> None: ...

        return Handler

    def told(self, asked: Asked) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body of the answer; `None` for a connection that ends without one."""
        with self._lock:
            self.asked.append(asked)
            found = next((t for t in self.troubles if t.method == asked.method and re.search(t.path, asked.path)), None)
            if found is not None:
                self.troubles.remove(found)
                if found.after:
                    self._answer(asked)
                return (found.status, found.headers, _error(14, found.message)) if found.status else None
            try:
                document = self._answer(asked)
            except Refused as no:
                return no.status, {}, _error(no.code, no.message)
        if isinstance(document, bytes):
            return 200, {"content-type": "application/octet-stream"}, document
        return 200, {"content-type": "application/json"}, json.dumps(document).encode()

    def _answer(self, asked: Asked) -> dict[str, Any] | bytes:
        if asked.path.startswith("/storage/"):
            return self._stored(asked)
        key = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in (KEY, INFERENCE_KEY) or (key == INFERENCE_KEY and "FineTuning" in asked.path):
            raise Refused(401, "UNAUTHENTICATED", "the API key is not valid for this request")
        if asked.path == "/inference/v1/chat/completions":
            return self._chat(asked.json)
        if asked.path == "/v1/accounts":
            return {"accounts": [{"name": name, "email": "stars@example.org"} for name in self.accounts]}
        path = asked.path.removeprefix("/v1/")
        if asked.method == "GET" and path in self.operations:
            return self._operation(path)
        if asked.method == "GET" and path in self.models:
            return self.models[path]
        if path.startswith(f"{ACCOUNT}/"):
            kind, _, rest = path.removeprefix(f"{ACCOUNT}/").partition("/")
            match re.split("[/:]", kind)[0]:
                case "datasets":
                    return self._dataset(asked, rest)
                case "supervisedFineTuningJobs":
                    return self._job(asked, rest)
                case "deployments":
                    return self._deployment(asked, rest)
        raise Refused(404, "NOT_FOUND", f"{path} not found")

    def _dataset(self, asked: Asked, rest: str) -> dict[str, Any]:
        if asked.method == "POST" and not rest:
            given = asked.json
            name = given["datasetId"]
            if name in self.datasets:
                raise Refused(409, "ALREADY_EXISTS", f"dataset {name} already exists")
            _need(ID.fullmatch(name) and given["dataset"].get("exampleCount"), "datasetId or exampleCount is not valid")
            self.datasets[name] = {**given["dataset"], "name": f"{ACCOUNT}/datasets/{name}", "state": "UPLOADING"}
            return self.datasets[name]
        name, _, verb = rest.partition(":")
        kept = self._kept(self.datasets, name)
        if verb == "upload":
            self.uploaded[name] = asked.body
            kept["looks"] = self.looks_until_usable
        elif kept["state"] == "UPLOADING" and name in self.uploaded:
            kept["looks"] -= 1
            kept["status"] = self.dataset_status
            if kept["looks"] < 0 and self.dataset_status["code"] == "OK":
                kept["state"] = "READY"
        return kept

    def _job(self, asked: Asked, rest: str) -> dict[str, Any]:
        if not rest and asked.method == "POST":
            return self._create(asked)
        if not rest:
            return self._page(asked, "supervisedFineTuningJobs", list(self.jobs.values()))
        if rest.endswith("/checkpoints"):
            return self._page(asked, "checkpoints", self.checkpoints)
        if rest.endswith(":promote"):
            return self._promote(asked, f"{ACCOUNT}/supervisedFineTuningJobs/{rest.removesuffix(':promote')}")
        name, _, verb = rest.partition(":")
        kept = self._kept(self.jobs, name)
        if verb == "cancel":
            if kept["state"].removeprefix("JOB_STATE_") in ENDED:
                raise Refused(400, "FAILED_PRECONDITION", "the job has ended")
            self._cancelled[name] = self.looks_cancelling
            kept["state"] = "JOB_STATE_CANCELLING"
            return {}
        if verb == "resume":
            kept["left"], kept["state"] = ["RUNNING", "COMPLETED"], "JOB_STATE_PENDING"
            return {}
        self._advance(name, kept)
        return {field: value for field, value in kept.items() if field not in ("left", "lines")}

    def _create(self, asked: Asked) -> dict[str, Any]:
        given, name = asked.json, asked.query["supervisedFineTuningJobId"]
        if name in self.jobs:
            raise Refused(409, "ALREADY_EXISTS", f"job {name} already exists")
        unknown = set(given) - JOB_FIELDS
        _need(not unknown and ID.fullmatch(name), f"unknown fields {sorted(unknown)}, or id {name} is not valid")
        _need(len(given.get("displayName", "")) < 64, "displayName must be fewer than 64 characters")
        for dataset in (given["dataset"], given.get("evaluationDataset")):
            kept = self.datasets.get((dataset or "").removeprefix(f"{ACCOUNT}/datasets/"))
            _need(dataset is None or (kept and kept["state"] == "READY"), f"dataset {dataset} is not ready")
        self.jobs[name] = {
            **given,
            "name": f"{ACCOUNT}/supervisedFineTuningJobs/{name}",
            "state": f"JOB_STATE_{self.run[0]}",
            "createTime": f"2026-11-28T20:{len(self.jobs):02}:00.123456789Z",
            "metricsFileSignedUrl": f"{self.url}/storage/{name}?signature=of-storage",
            "left": list(self.run[1:]),
            "lines": 0,
            **({"estimatedCost": self.estimated_cost} if self.estimated_cost else {}),
        }
        return self.jobs[name]

    def _advance(self, name: str, kept: dict[str, Any]) -> None:
        if name in self._cancelled:
            self._cancelled[name] -= 1
            if self._cancelled[name] < 0:
                kept["state"] = "JOB_STATE_CANCELLED"
        elif kept["left"]:
            kept["state"] = f"JOB_STATE_{kept['left'].pop(0)}"
        kept["status"] = self.job_status
        if kept["state"] == "JOB_STATE_RUNNING":
            kept["lines"] += 1
        if kept["state"] == "JOB_STATE_COMPLETED":
            kept["lines"] = len(self.metrics)
            model = f"{ACCOUNT}/models/{name}"
            self.models[model] = {"name": model, "state": "READY", "kind": "HF_PEFT_ADDON"}

    def _stored(self, asked: Asked) -> bytes:
        if "authorization" in asked.headers:
            raise Refused(400, "InvalidArgument", "only one auth mechanism is allowed")
        lines = self.jobs[asked.path.rsplit("/", 1)[1]]["lines"]
        if not lines or not self.metrics:
            raise Refused(404, "NoSuchKey", "the specified key does not exist")
        return "".join(f"{line}\n" for line in self.metrics[:lines]).encode()

    def _promote(self, asked: Asked, checkpoint: str) -> dict[str, Any]:
        given = asked.json
        target = given["output_model"]
        if target in self.models:
            raise Refused(409, "ALREADY_EXISTS", f"model {target} already exists")
        known = [row for row in self.checkpoints if row["name"] == checkpoint]
        _need(known and known[0]["promotable"] and given["base_model"] == BASE, "the checkpoint is not promotable")
        self.models[target] = {"name": target, "state": "UPLOADING", "kind": "HF_PEFT_ADDON"}
        operation = f"{target}/operations/1"
        self.operations[operation] = 1
        return {"operation": {"name": operation, "done": False}}

    def _operation(self, name: str) -> dict[str, Any]:
        self.operations[name] -= 1
        if self.operations[name] >= 0:
            return {"name": name, "done": False}
        model = name.removesuffix("/operations/1")
        self.models[model]["state"] = "READY"
        return {"name": name, "done": True, "response": self.models[model]}

    def _deployment(self, asked: Asked, rest: str) -> dict[str, Any]:
        if asked.method == "POST":
            given, name = asked.json, asked.query["deploymentId"]
            if name in self.deployments:
                raise Refused(409, "ALREADY_EXISTS", f"deployment {name} already exists")
            unknown = set(given) - DEPLOYMENT_FIELDS
            _need(not unknown and ID.fullmatch(name), f"unknown fields {sorted(unknown)}, or id {name} is not valid")
            _need(given["baseModel"] in self.models, f"there is no model {given['baseModel']}")
            shown = {"name": f"{ACCOUNT}/deployments/{name}", "state": "CREATING"}
            self.deployments[name] = {**given, **shown, "looks": self.looks_until_made, "cold": self.cold_answers}
            return self.deployments[name]
        kept = self._kept(self.deployments, rest)
        if asked.method == "DELETE":
            _need(asked.query.get("ignoreChecks") == "true", "the deployment is in use")
            kept |= {"state": "DELETING", "looks": self.looks_until_gone}
            return {}
        kept["looks"] -= 1
        if kept["looks"] < 0 and kept["state"] == "DELETING":
            del self.deployments[rest]
            raise Refused(404, "NOT_FOUND", f"deployment {rest} not found")
        if kept["looks"] < 0 and kept["state"] == "CREATING":
            kept["state"] = self.made_as
            if self.made_as == "FAILED":
                kept["status"] = {"code": "RESOURCE_EXHAUSTED", "message": "no H100 is free"}
        return kept

    def _chat(self, given: Mapping[str, Any]) -> dict[str, Any]:
        name = given["model"].removeprefix(f"{ACCOUNT}/deployments/")
        kept = self.deployments.get(name)
        if kept is None or kept["state"] != "READY":
            raise Refused(404, "NOT_FOUND", f"Model not found, inaccessible, and/or not deployed: {given['model']}")
        if kept["cold"]:
            kept["cold"] -= 1
            raise Refused(503, "DEPLOYMENT_SCALING_UP", "the deployment is scaling up, try again later")
        top = given.get("top_logprobs") or 0
        _need(top <= MOST_LOGPROBS, f"top_logprobs must be at most {MOST_LOGPROBS}")
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": self.answer}}
        if given.get("logprobs"):
            likeliest = [{"token": t, "token_id": 7, "logprob": math.log(p)} for t, p in self.choices.items()][:top]
            choice["logprobs"] = {"content": [{**likeliest[0], "top_logprobs": likeliest}]}
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        return {"id": "1", "model": given["model"], "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}

    def _page(self, asked: Asked, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Two entries a page, whatever is asked for."""
        start = int(asked.query.get("pageToken", "0"))
        page: dict[str, Any] = {name: rows[start : start + 2], "totalSize": len(rows)}
        return page | ({"nextPageToken": str(start + 2)} if start + 2 < len(rows) else {})

    def _kept(self, known: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in known:
            raise Refused(404, "NOT_FOUND", f"{name} not found")
        return known[name]


def _need(holds: Any, message: str) -> None:
    if not holds:
        raise Refused(400, "INVALID_ARGUMENT", message)


def _error(code: str | int, message: str) -> bytes:
    """Bare, as gRPC's gateway has it."""
    return json.dumps({"code": code, "message": message, "details": []}).encode()
