"""A running server: sockets it takes up and lets go of, drains, keys of its own."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.request
from typing import Any

import pytest

from luthier.errors import UserError
from luthier.serving.server import listening_socket, serve_in_background
from luthier.serving.settings import ServerSettings
from tests.serving.served import EchoModel

WITHOUT_KEY = ServerSettings(port=0, without_key=True)


def asked(url: str, document: Any, **headers: str) -> Any:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(document).encode(), {"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_server_beside_a_notebook_answers_until_it_is_stopped() -> None:
    model = EchoModel()
    with serve_in_background(model, WITHOUT_KEY) as server:
        assert asked(server.url, {"inputs": ["good", "bad"]}) == {
            "predictions": [{"length": 4, "score": None}, {"length": 3, "score": None}]
        }
        assert model.is_started
        assert not model.is_closed
    assert model.is_closed
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=5)


def test_a_server_without_settings_of_keys_makes_one_for_this_run() -> None:
    with serve_in_background(EchoModel(), ServerSettings(port=0)) as server:
        assert server.key is not None
        assert server.key.startswith("lk_")
        asked(server.url, {"inputs": ["a"]}, Authorization=f"Bearer {server.key}")
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/invocations", b"{}", {"Authorization": "Bearer lk_wrong"})
        assert connection.getresponse().status == 401
        connection.close()


def test_a_port_that_is_taken_is_said() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=str(port)):
            serve_in_background(EchoModel(), ServerSettings(port=port, without_key=True))
