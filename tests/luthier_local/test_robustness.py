"""What reaches the embedded server from outside a client library: other hosts, idle sockets, odd bodies."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket

import pytest

from luthier_local import LocalServer, ModelCard
from tests.patience import PATIENCE_SECONDS


def status_of(server: LocalServer, path: str, body: bytes | None = None, host: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {server.api_key}"} | ({"Host": host} if host is not None else {})
    connection.request("POST" if body is not None else "GET", path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "localhost", "LOCALHOST.", "[::1]:{port}", "127.8.8.8"]
)
def test_names_of_this_machine_are_answered(server: LocalServer, host: str) -> None:
    assert status_of(server, "/v1/models", host=host.format(port=server.port)) == 200


@pytest.mark.parametrize(
    "host",
    ["attacker.example", "attacker.example:{port}", "127.0.0.1.attacker.example", "10.0.0.1", "localhost.example", ""],
)
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/nowhere"])
def test_another_host_name_is_refused(server: LocalServer, host: str, path: str) -> None:
    assert status_of(server, path, host=host.format(port=server.port)) == 403


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/embeddings", "/tokenize", "/_luthier/faults", "/v1/decisions"]
)
@pytest.mark.parametrize("body", [DEEP, b'{"model": "stars", "messages": ' + DEEP + b"}", b"{", b"\xff"])
def test_json_that_cannot_be_read_is_the_client_s_mistake(server: LocalServer, path: str, body: bytes) -> None:
    assert status_of(server, path, body) == 400


@pytest.mark.parametrize("depth", [100, 500, 900, 2_000])
def test_json_that_is_nested_as_deep_as_can_be_read_is_no_bug_of_the_server(server: LocalServer, depth: int) -> None:
    nested: object = "text"
    for _ in range(depth):
        nested = [nested]
    try:
        body = json.dumps({"model": "stars", "messages": [{"role": "user", "content": nested}]}).encode()
    except RecursionError:
        body = b'{"model": "stars", "messages": ' + b"[" * depth + b"]" * depth + b"}"
    assert status_of(server, "/v1/chat/completions", body) == 400


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127"])
def test_a_connection_without_a_request_is_closed(sent: bytes) -> None:
    with LocalServer(models=[ModelCard("stars")], idle_seconds=0.2) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as idle:
            # A busy machine may send so late that it is closed already, and hears of it by a reset.
            with contextlib.suppress(ConnectionError):
                idle.sendall(sent)
                while idle.recv(4096):
                    pass
