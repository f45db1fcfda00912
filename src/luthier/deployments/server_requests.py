"""Rows sent to a server as any client sends them, over TCP or over the private socket of a server on this machine."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from luthier.errors import LuthierError

__all__ = ["NotAnswered", "predictions_for"]


class NotAnswered(LuthierError):
    """A server that cannot be reached, or that refused the rows.

    Args:
        message: what it said.
        status: of its answer; `None` where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _PrivateConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def predictions_for(
    address: str | Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    params: Mapping[str, Any] | None = None,
    key: str | None = None,
    timeout_seconds: float = 70.0,
) -> Any:
    """What a server predicts for rows, by MLflow's scoring protocol.

    Args:
        address: `http://HOST:PORT`, or the path of a unix socket, which asks for no key.
        rows: columns by name; JSON values.
        params: of the params schema.
        key: an API key of the server.
        timeout_seconds: longest wait for a part of the answer.

    Raises:
        NotAnswered: there is no server, or it refused the rows.
    """
    body = {"dataframe_records": [dict(row) for row in rows]} | ({"params": dict(params)} if params else {})
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    connection: http.client.HTTPConnection
    if isinstance(address, Path):
        connection = _PrivateConnection(address, timeout_seconds)
    else:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("POST", "/invocations", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
    except TimeoutError as error:
        raise NotAnswered(f"the server at {address} did not answer within {timeout_seconds:g} s.") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswered(f"the server at {address} cannot be reached: {error or type(error).__name__}.") from error
    finally:
        connection.close()
    try:
        document = json.loads(content)
        if status == 200:
            return document["predictions"]
        said = str(document["message"])
    except (ValueError, KeyError, TypeError):
        said = "it gave no answer of MLflow's scoring protocol."
    raise NotAnswered(f"the server answered {status}: {said}", status)
