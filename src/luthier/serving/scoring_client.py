"""Rows sent to a server as any client sends them, over TCP or over the private socket of a server on this machine.

Tables go and come as `Model.predict` takes and gives them.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from luthier.errors import LuthierError
from luthier.packaging.model import rows_of
from luthier.spec import Spec
from luthier.tables import frame_of, text_series

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NotAnswered", "ScoringClient", "predictions_for"]


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


class ScoringClient:
    """Asks a server about tables of any length, in requests of as many rows as it takes.

    Args:
        address: `http://HOST:PORT`, or the path of a unix socket, which asks for no key.
        spec: the recipe of the model that answers; `None` where Luthier did not log it.
        most_rows: rows in one request.
        timeout_seconds: longest wait for a part of an answer.
        key: an API key of the server.
    """

    def __init__(
        self, address: str | Path, spec: Spec | None, *, most_rows: int, timeout_seconds: float, key: str | None = None
    ) -> None:
        self._address, self._spec, self._key = address, spec, key
        self._most_rows, self._timeout_seconds = most_rows, timeout_seconds

    def predict(self, rows: Any) -> pd.DataFrame:
        """The prediction columns, as `Model.predict` gives them.

        Args:
            rows: a table with the columns the model reads, in any form that `luthier.score` takes.

        Raises:
            DataError: a column is missing.
            NotAnswered: the server does not run, or refuses the rows.
        """
        import pandas as pd

        frame = frame_of(rows, "the input", text="text" if self._spec is None else self._spec.task.text)
        answers = self.predicted_records(frame)
        predictions = pd.DataFrame(answers) if self._spec is None else _frame_of_answers(self._spec, answers)
        if len(predictions) == len(frame):
            predictions.index = frame.index
        return predictions

    def predicted_records(self, rows: Any) -> list[Any]:
        """As `predict`, as the JSON values that the server gives."""
        spec = self._spec
        frame = frame_of(rows, "the input", text="text" if spec is None else spec.task.text)
        inputs = frame.to_dict("records") if spec is None else rows_of(spec, frame).inputs
        columns = list(frame.columns) if spec is None else list(spec.columns)
        records = [{str(name): _json_cell(row[name]) for name in columns} for row in inputs]
        answers: list[Any] = []
        for first in range(0, len(records), self._most_rows):
            some = records[first : first + self._most_rows]
            answers += predictions_for(self._address, some, key=self._key, timeout_seconds=self._timeout_seconds)
        return answers


def _json_cell(cell: Any) -> Any:
    """A cell as it is sent; what JSON does not have is spelled as a template spells it."""
    if cell is None or isinstance(cell, str | bool | int | list | dict):
        return cell
    if isinstance(cell, float):
        return cell if abs(cell) < float("inf") else None if cell != cell else str(cell)
    return str(cell)


def _frame_of_answers(spec: Spec, answers: list[Any]) -> pd.DataFrame:
    """Records of a server as the table every command returns."""
    import pandas as pd

    return pd.DataFrame(
        {
            name: text_series(row.get(name) for row in answers)
            if kind == "text"
            else pd.Series([row.get(name) for row in answers], dtype="float64")
            for name, kind in spec.task.kind.columns.items()
        }
    )
