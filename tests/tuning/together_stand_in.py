"""A stand-in for Together AI, built from the types of its published Python package: files, limits, jobs.

It is as strict as the types are, and does what makes the real service hard: it answers late, sends uploads elsewhere,
leaves fields out, loses answers after it has acted, and takes a while to cancel, to deploy, to route and to delete.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.tuning.together_dedicated import SLUG, DedicatedStandIn, Refused

BASE = "meta-llama/Stars-8B-Instruct"
NANODOLLARS_A_TOKEN = 480
TOKENS_A_LINE = 20
NOON = "2026-11-28T12:00:00Z"

LIMITS = {
    "model_name": BASE,
    "max_num_epochs": 20,
    "max_num_evals": 100,
    "max_num_checkpoints": 10,
    "min_learning_rate": 1e-8,
    "max_learning_rate": 0.01,
    "max_seq_length_sft": 8192,
    "max_seq_length_dpo": 8192,
    "min_max_seq_length": 256,
    "default_gradient_accumulation_steps": 1,
    "merge_output_lora": False,
    "supports_full_training": False,
    "supports_reasoning": False,
    "supports_tools": True,
    "supports_vision": False,
    "lora_training": {
        "default_rank": 16,
        "max_rank": 64,
        "min_batch_size": 8,
        "max_batch_size": 64,
        "max_batch_size_dpo": 32,
        "target_modules": ["q_proj", "v_proj"],
    },
}

CREATE: dict[str, Callable[[Any], bool]] = {
    "training_file": lambda value: isinstance(value, str),
    "validation_file": lambda value: isinstance(value, str),
    "model": lambda value: isinstance(value, str),
    "n_epochs": lambda value: type(value) is int and 1 <= value <= 20,
    "n_evals": lambda value: type(value) is int and 0 <= value <= 100,
    "n_checkpoints": lambda value: type(value) is int and 1 <= value <= 10,
    "batch_size": lambda value: value == "max" or (type(value) is int and 8 <= value <= 64),
    "learning_rate": lambda value: 1e-8 <= value <= 0.01,
    "lr_scheduler": lambda value: value["lr_scheduler_type"] in ("linear", "cosine"),
    "warmup_ratio": lambda value: 0 <= value <= 1,
    "weight_decay": lambda value: value >= 0,
    "random_seed": lambda value: type(value) is int,
    "suffix": lambda value: len(value) <= 40,
    "training_method": lambda value: value["method"] == "sft",
    "training_type": lambda value: value["type"] == "Lora" and 1 <= value["lora_r"] <= 64,
    "early_stopping_enabled": lambda value: type(value) is bool,
    "early_stopping_patience": lambda value: value >= 1,
    "early_stopping_min_delta": lambda value: value >= 0,
    "early_stopping_warmup_evals": lambda value: value >= 0,
}
"""Fields of a job, and what the service takes for each."""

LISTED_ONLY = ("suffix", "random_seed", "max_seq_length", "packing", "wandb_name")
"""Fields that the typed answer of one job lacks."""

NON_CANCELLABLE = ("cancel_requested", "cancelled", "error", "completed")

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Fault:
    """The next request of this method whose path matches: refused with a status, or carried out and not answered.

    Attributes:
        status: 0 loses the answer.
    """

    method: str
    path: str
    status: int = 0
    message: str = "busy"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class File:
    name: str
    checksum: str
    content: bytes | None = None
    looks: int = 0


@dataclass
class Job:
    document: dict[str, Any]
    body: dict[str, Any]
    steps: int
    script: list[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0


class TogetherStandIn(DedicatedStandIn):
    """The service, on a port of its own.

    Args:
        key: the key it takes.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.files: dict[str, File] = {}
        self.jobs: dict[str, Job] = {}
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, bytes]] = []
        """Method, path with query and body of every request, in order."""
        self.limits: dict[str, Any] | None = dict(LIMITS)
        self.looks_until_valid = 2
        self.invalid: str | None = None
        self.quote: dict[str, Any] = {}
        self.ends_as = "completed"
        self.looks_until_cancelled = 3
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def sent(self, method: str, path: str) -> list[Any]:
        """JSON bodies of the requests whose path ends like this."""
        found = [body for how, asked, body in self.asked if how == method and urlsplit(asked).path.endswith(path)]
        return [json.loads(body) for body in found]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with outer._lock:
                    outer.asked.append((self.command, self.path, body))
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    answer = outer._answer(self.command, self.path, headers, body)
                if answer is None:
                    self.close_connection = True
                    return
                status, extra, content = answer
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the names http.server looks for

            def log_message(self, *given: object) -> None: ...

        return Handler

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer | None:
        path, query = urlsplit(target).path, {name: one[-1] for name, one in parse_qs(urlsplit(target).query).items()}
        fault = next((one for one in self.faults if one.method == method and re.search(one.path, path)), None)
        if fault is not None:
            self.faults.remove(fault)
            if fault.status:
                return fault.status, fault.headers, _error(fault.message)
        if path.startswith("/storage/"):
            if "authorization" in headers:
                return 400, {}, b"<Error>only one way to sign</Error>"
            self.files[path.rsplit("/", 1)[-1]].content = body
            answer: Answer = (200, {}, b"")
        elif headers.get("authorization") != f"Bearer {self.key}":
            return 401, {}, _error("Invalid API key provided")
        else:
            try:
                answer = self._routed(method, path, query, headers, body)
            except Refused as refused:
                answer = (refused.status, {}, _error(str(refused)))
        return None if fault is not None else answer

    def _routed(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if (method, path) == ("POST", "/v1/files"):
            return self._upload(headers, body)
        given = json.loads(body) if body else {}
        for verb, pattern, act in [*self.routes(), *super().routes()]:
            found = re.fullmatch(pattern, path)
            if verb == method and found is not None:
                return 200, {}, json.dumps(act(*found.groups(), query, given)).encode()
        raise Refused(404, f"no such route: {method} {path}")

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        job = r"/v1/fine-tunes/(ft-[^/]+)"
        return [
            ("POST", r"/v1/files/([^/]+)/preprocess", lambda file, query, given: self._file(file)),
            ("GET", r"/v1/files/([^/]+)", lambda file, query, given: self._file(file)),
            ("GET", r"/v1/fine-tunes/models/limits", lambda query, given: self._model_limits(query)),
            ("POST", r"/v1/fine-tunes/estimate-price", lambda query, given: self._estimate(given)),
            ("POST", r"/v1/fine-tunes", lambda query, given: self._create(given)),
            ("GET", r"/v1/fine-tunes", lambda query, given: {"data": [one.document for one in self.jobs.values()]}),
            ("GET", job, lambda ident, query, given: self._retrieve(ident)),
            ("POST", job + "/cancel", lambda ident, query, given: self._cancel(ident)),
            ("GET", job + "/events", lambda ident, query, given: {"data": self._job(ident).events}),
            ("GET", job + "/metrics", lambda ident, query, given: self._metrics(ident, query)),
            ("GET", job + "/checkpoints", lambda ident, query, given: {"data": self._checkpoints(ident)}),
        ]

    def _upload(self, headers: dict[str, str], body: bytes) -> Answer:
        boundary = headers["content-type"].partition("boundary=")[2]
        parts = [part.partition("\r\n\r\n") for part in body.decode().split(f"--{boundary}")[1:-1]]
        fields = {re.findall(r'name="([^"]+)"', head)[0]: value.removesuffix("\r\n") for head, _, value in parts}
        assert (fields["purpose"], fields["file_type"]) == ("fine-tune", "jsonl")
        for file, known in self.files.items():
            if known.checksum == fields["checksum"] and known.content is not None:
                return 409, {}, json.dumps({"file_id": file}).encode()
        file = f"file-{len(self.files) + 1}"
        self.files[file] = File(fields["file_name"], fields["checksum"])
        return 302, {"location": f"{self.url}/storage/{file}?sig=secret", "X-Together-File-Id": file}, b""

    def _file(self, file: str) -> dict[str, Any]:
        if file not in self.files:
            raise Refused(404, f"file {file} not found")
        known = self.files[file]
        known.looks += 1
        state = "PENDING" if known.content is None or known.looks <= self.looks_until_valid else "COMPLETED"
        document = {"id": file, "object": "file", "filename": known.name, "purpose": "fine-tune", "FileType": "jsonl"}
        if self.invalid is not None and state == "COMPLETED":
            report = {"valid": False, "error": self.invalid, "error_type": "INVALID_FORMAT"}
            return {**document, "processing_status": "INVALID_FORMAT", "validation_report": report}
        return {**document, "processing_status": state}

    def _model_limits(self, query: dict[str, str]) -> dict[str, Any]:
        if self.limits is None or query["model_name"] != BASE:
            raise Refused(404, f"model {query['model_name']} is not available for fine-tuning")
        return self.limits

    def _lines(self, file: str | None) -> int:
        known = self.files.get(file or "")
        return 0 if known is None else len((known.content or b"").splitlines())

    def _tokens(self, given: dict[str, Any]) -> int:
        trained = self._lines(given["training_file"]) * int(given.get("n_epochs", 1))
        return TOKENS_A_LINE * (trained + self._lines(given.get("validation_file")) * int(given.get("n_evals", 0)))

    def _estimate(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["training_file"] not in self.files:
            return {"estimation_available": False, "unavailable_reason": "train_file_not_validated"}
        price = self._tokens(given) * NANODOLLARS_A_TOKEN * 1e-9
        told = {"estimation_available": True, "estimated_total_price": price, "allowed_to_proceed": True}
        return told | {"user_limit": 50.0} | self.quote

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in given.items():
            if name not in CREATE or not CREATE[name](value):
                raise Refused(400, f"{name}: {value!r} is not valid")
        missing = {"training_file", "model"} - set(given)
        if missing:
            raise Refused(400, f"missing: {missing}")
        if given.get("early_stopping_enabled"):
            least = given.get("early_stopping_patience", 2) + given.get("early_stopping_warmup_evals", 1) + 1
            if not given.get("validation_file") or given.get("n_evals", 0) < least:
                raise Refused(400, f"early stopping requires validation_file and n_evals >= {least}")
        ident = f"ft-{len(self.jobs) + 1}"
        steps = 4 * int(given.get("n_epochs", 1))
        document = {
            "id": ident,
            "status": "pending",
            "created_at": f"2026-11-28T12:{len(self.jobs):02}:00Z",
            "updated_at": NOON,
            "user_id": "u-1",
            "learning_rate": 1e-5,
            "n_epochs": 1,
            "n_evals": 0,
            "n_checkpoints": 1,
            **given,
            "model_output_name": f"{SLUG}/Stars-8B-{given.get('suffix', '')}-1a2b3c",
            "token_count": None,
            "total_price": 0,
        }
        script = ["queued", "running", "running", "running", "running", "compressing", "uploading", self.ends_as]
        self.jobs[ident] = Job(document, given, steps, script)
        self._say(ident, "job_pending", "Job created")
        return document

    def _say(self, ident: str, kind: str, message: str, **fields: Any) -> None:
        event = {"object": "fine-tune-event", "created_at": NOON, "type": kind, "message": message, "level": "info"}
        self.jobs[ident].events.append(event | fields)

    def _job(self, ident: str) -> Job:
        if ident not in self.jobs:
            raise Refused(404, f"fine-tune job {ident} not found")
        return self.jobs[ident]

    def _retrieve(self, ident: str) -> dict[str, Any]:
        job = self._job(ident)
        if job.script:
            self._move(ident, job, job.script.pop(0))
        return {name: value for name, value in job.document.items() if name not in LISTED_ONLY}

    def _move(self, ident: str, job: Job, status: str) -> None:
        job.document["status"] = status
        if status == "running":
            job.document["progress"] = {"estimate_available": True, "seconds_remaining": 90}
            self._train(ident, job)
        if status == "completed":
            early = bool(job.body.get("early_stopping_enabled"))
            tokens = self._tokens(job.body) // (2 if early else 1)
            job.document |= {
                "token_count": tokens,
                "total_price": tokens * NANODOLLARS_A_TOKEN,
                "adapter_object_id": f"ml_{ident}",
                "adapter_object_name": f"{SLUG}/{ident}-adapter",
            }
            if early:
                job.document |= {"early_stopped": True, "early_stopping_best_step": 2}
                self._say(ident, "early_stopped", "Validation loss has not improved", early_stopping_best_step=2)
            self._say(ident, "job_complete", "Job finished")
        if status == "error":
            self._say(ident, "job_error", "CUDA out of memory on 8 GPUs", level="error")
        if status == "cancelled":
            tokens = self._tokens(job.body) * job.step // job.steps
            job.document |= {"token_count": tokens, "total_price": tokens * NANODOLLARS_A_TOKEN}
            self._say(ident, "job_stopped", "Job was cancelled")

    def _train(self, ident: str, job: Job) -> None:
        """A quarter of the steps, each with a row of metrics; an evaluation and a checkpoint at the end of it."""
        for _ in range(max(1, job.steps // 4)):
            job.step += 1
            loss = math.nan if job.step == 1 else 2.0 / job.step
            row = {"train/global_step": job.step, "train/loss": loss, "train/learning_rate": 1e-5}
            job.metrics.append(row | {"train/grad_norm": 0.5})
        if job.body.get("n_evals"):
            job.metrics.append({"train/global_step": job.step, "eval/loss": 2.5 / job.step})
        self._say(ident, "checkpoint_save", f"Saved at step {job.step}", step=job.step, total_steps=job.steps)

    def _cancel(self, ident: str) -> dict[str, Any]:
        job = self._job(ident)
        if job.document["status"] in NON_CANCELLABLE:
            raise Refused(400, f"job cannot be cancelled in status {job.document['status']}")
        job.document["status"] = "cancel_requested"
        job.script = ["cancel_requested"] * self.looks_until_cancelled + ["cancelled"]
        self._say(ident, "cancel_requested", "Cancellation requested")
        return job.document

    def _metrics(self, ident: str, query: dict[str, str]) -> dict[str, Any]:
        job, since = self._job(ident), int(query.get("global_step_from", 0))
        if not job.metrics:
            raise Refused(404, "no metrics yet")
        return {"metrics": [row for row in job.metrics if row["train/global_step"] >= since]}

    def _checkpoints(self, ident: str) -> list[dict[str, Any]]:
        job = self._job(ident)
        kept = {event["step"] for event in job.events if event["type"] == "checkpoint_save"}
        fields = {"created_at": NOON, "path": "s3://elsewhere", "checkpoint": "adapter"}
        return [
            {**fields, "step": step, "checkpoint_type": f"Step {step}", "object_id": f"ml_{ident}-step-{step}"}
            for step in sorted(kept)
        ]


def _error(message: str) -> bytes:
    return json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    ).encode()
