"""A model without a model, for tests of what is around it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from luthier.engine.loop import wait_for
from luthier.serving.listening import listening_socket
from luthier.serving.refusals import Refusal
from luthier.serving.served_model import (
    PaidCalls,
    Readiness,
    ScoringAnswer,
    ScoringRequest,
    ServedModel,
    ServedModelFacts,
)
from luthier.serving.server import RunningServer
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS

WITHOUT_KEY = ServerSettings(port=0, without_key=True)


class EchoModel:
    """Answers each row with its text's length, after `seconds` and once it is not `held`; texts can make it fail."""

    def __init__(self, seconds: float = 0.0, version: str | None = "3") -> None:
        self.seconds = seconds
        self.held = False
        self.facts = ServedModelFacts(
            uri="models:/stars/3",
            name="stars",
            version=version,
            columns={"text": "string"},
            outputs={"length": "long"},
            example=({"text": "it's good"},),
        )
        self.asked: list[ScoringRequest] = []
        self.given_seconds: list[float] = []
        self.cancelled = 0
        self.is_started = self.is_closed = False
        self.checks: dict[str, str | None] = {"upstream": None}
        self.paid_calls: PaidCalls | None = PaidCalls()

    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        self.asked.append(request)
        self.given_seconds.append(timeout_seconds)
        texts = texts_of(request)
        if "bug" in texts:
            raise RuntimeError("a bug, with the row 'secret cell' in it")
        if "busy" in texts:
            raise Refusal(429, "REQUEST_LIMIT_EXCEEDED", "The queue is full.", retry_after_seconds=1.2)
        try:
            await asyncio.sleep(self.seconds)
            while self.held:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ScoringAnswer([{"length": len(text), "score": float("nan")} for text in texts], len(texts))

    def readiness(self) -> Readiness:
        return Readiness(self.checks)

    def paid(self) -> PaidCalls | None:
        return self.paid_calls

    async def start(self) -> None:
        self.is_started = True

    async def close(self) -> None:
        self.is_closed = True


def texts_of(request: ScoringRequest) -> list[str]:
    data: Any = request.data
    if request.form == "table":
        return [row["text"] for row in data.to_pylist()]
    if request.form == "dataframe_split":
        return [row[0] for row in data["data"]]
    if isinstance(data, dict):
        return list(data["text"])
    return [row["text"] if isinstance(row, dict) else row for row in data]


@contextmanager
def running(
    model: ServedModel, settings: ServerSettings = WITHOUT_KEY, **options: Any
) -> Iterator[tuple[RunningServer, socket.socket]]:
    """A server on a free port, and the socket that it listens at."""
    with listening_socket("127.0.0.1", 0) as listening:
        server = RunningServer(model, settings, **options)
        wait_for(server.start())
        wait_for(server.accept(listening))
        try:
            yield server, listening
        finally:
            wait_for(server.drain())


@dataclass(frozen=True)
class Reply:
    """An answer that has been read."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask(listening: socket.socket, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """Asks once on a connection of its own; `content_type` is the header Content-Type, json when absent."""
    sent = {
        "Content-Type": "application/json",
        **{name.replace("_", "-").title(): value for name, value in headers.items()},
    }
    given = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    host, port = listening.getsockname()
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, given, sent)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def ask_raw(listening: socket.socket, sent: bytes, *, seconds: float = PATIENCE_SECONDS) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection(listening.getsockname(), timeout=seconds) as client:
        client.sendall(sent)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """All that comes until the other side closes, by whatever means."""
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def read_answer(client: socket.socket) -> bytes:
    """One answer with predictions of a connection that goes on."""
    got = b""
    while not got.endswith(b"}]}"):
        piece = client.recv(65536)
        assert piece, got
        got += piece
    return got
