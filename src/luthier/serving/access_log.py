"""The log of a server: a JSON line for each request and for each message of Luthier; no text of a row, no key."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from luthier.errors import LuthierError
from luthier.serving.served_model import ServedModelFacts
from luthier.serving.served_request import ServedRequest
from luthier.terminals import visible

__all__ = ["AccessLog", "server_log"]

log = logging.getLogger("luthier.serving.access")

MOST_BYTES = 50 * 2**20
KEPT_FILES = 5
"""Of a log file that is full; it is renamed to `server.log.1` and so on."""

MOST_WAITING = 10_000
"""Lines that wait to be written; beyond that lines are lost, and their number is written."""

GATHER_SECONDS = 0.1
"""Lines are written this much later at most."""

MOST_TOGETHER = 1_000

LOCK_SECONDS = 5.0

END_SECONDS = 5.0
"""What is left to write when the server ends has this long."""

PROBES = frozenset({"/ping", "/health", "/ready", "/metrics"})
"""Are asked every few seconds, so they are logged only where they fail."""


class AccessLog:
    """An observer that logs requests.

    Args:
        facts: of the model that answers.
        revision: of the deployment.
    """

    def __init__(self, facts: ServedModelFacts, revision: int | None = None) -> None:
        self._model = {"model": facts.name, "model_version": facts.version, "revision": revision}

    def began(self, path: str) -> None:
        """Nothing: a request is logged when it ends."""

    def observed(self, request: ServedRequest) -> None:
        """Logs one request; probes that went well are left out."""
        if request.path in PROBES and request.status < 400:
            return
        answer = request.answer
        fields = {
            "request_id": request.request_id,
            "method": request.method,
            "path": request.path,
            "status": request.status,
            "milliseconds": round(1000 * request.seconds, 1),
            "rows": None if answer is None else answer.rows,
            "states": {} if answer is None else dict(answer.states),
            "error_code": request.error_code,
            "key": request.key,
            **self._model,
        }
        log.info("%s", _Request(fields))


@contextmanager
def server_log(file: Path | None) -> Iterator[None]:
    """Writes what Luthier logs, in a thread of its own, to a file or to standard error.

    Several processes may write one file. On a terminal a line is short and not JSON.

    Args:
        file: renamed when it is full, and five of them are kept; standard error when absent.

    Raises:
        OSError: the file cannot be opened.
    """
    on_terminal = file is None and sys.stderr.isatty()
    writer = logging.StreamHandler(sys.stderr) if file is None else _SharedFile(file)
    lines: queue.Queue[Any] = queue.Queue(MOST_WAITING)
    waiting = _Waiting(lines)
    thread = _Batches(lines, writer, _TerminalLine() if on_terminal else _JsonLine())
    luthier = logging.getLogger("luthier")
    level, propagate = luthier.level, luthier.propagate
    luthier.addHandler(waiting)
    luthier.setLevel(logging.INFO)
    # Handlers of the root logger would write each line again, in a form that untrusted bytes may break.
    luthier.propagate = False
    thread.start()
    try:
        yield
    finally:
        luthier.removeHandler(waiting)
        luthier.setLevel(level)
        luthier.propagate = propagate
        thread.end()
        if file is not None:
            writer.close()


class _Request:
    """The fields of a request's line."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __str__(self) -> str:
        said = {name: value for name, value in self.fields.items() if value not in (None, {})}
        rows = f", {said['rows']} rows" if "rows" in said else ""
        states = {state: count for state, count in said.get("states", {}).items() if state != "ok"}
        apart = "".join(f", {count} {state}" for state, count in states.items())
        code = f" {said['error_code']}" if "error_code" in said else ""
        key = f", key {said['key']}" if "key" in said else ""
        return f"{said['method']} {said['path']} {said['status']}{code} {said['milliseconds']} ms{rows}{apart}{key}"


class _Waiting(logging.handlers.QueueHandler):
    """Hands lines to the thread that writes them; never waits, since it is called on the server's loop."""

    def __init__(self, waiting: queue.Queue[Any]) -> None:
        super().__init__(waiting)
        self._lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                lost = logging.LogRecord(
                    log.name, logging.WARNING, "", 0, "%d lines of the log are lost", (self._lost,), None
                )
                self.queue.put_nowait(lost)
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1


class _Batches(threading.Thread):
    """Writes the lines of a moment together: each wake-up takes the interpreter's lock from the server's loop."""

    def __init__(self, waiting: queue.Queue[Any], writer: logging.Handler, lines: logging.Formatter) -> None:
        super().__init__(name="luthier-log", daemon=True)
        self._waiting, self._writer, self._lines = waiting, writer, lines

    def run(self) -> None:
        ended = False
        while not ended:
            records = [self._waiting.get()]
            time.sleep(GATHER_SECONDS)
            with suppress(queue.Empty):
                while len(records) < MOST_TOGETHER:
                    records.append(self._waiting.get_nowait())
            ended = None in records
            lines = [self._lines.format(record) for record in records if record is not None]
            if lines:
                self._writer.handle(logging.makeLogRecord({"msg": "\n".join(lines)}))

    def end(self) -> None:
        """Writes what waits; a reader of standard error that is stuck does not hold the end of the server."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=END_SECONDS)
            self.join(END_SECONDS)


class _SharedFile(logging.handlers.RotatingFileHandler):
    """A log file that several processes write and rename when it is full: each then goes on in the new one."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, maxBytes=MOST_BYTES, backupCount=KEPT_FILES, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_moved():
            self._reopen()
        super().emit(record)

    def doRollover(self) -> None:  # noqa: N802
        from filelock import FileLock, Timeout

        # Where another process is renaming the files for longer, the next line tries again.
        with suppress(Timeout), FileLock(f"{self.baseFilename}.lock", LOCK_SECONDS):
            if self._is_moved():
                self._reopen()
            else:
                super().doRollover()

    def _is_moved(self) -> bool:
        try:
            there = Path(self.baseFilename).stat()
        except FileNotFoundError:
            return True
        return self.stream is not None and not os.path.samestat(there, os.fstat(self.stream.fileno()))

    def _reopen(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.stream = self._open()


class _JsonLine(logging.Formatter):
    """One line of ASCII, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], _Request):
            line.update(record.args[0].fields)
        else:
            line["message"] = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = exception_without_texts(record.exc_info[1])
        return json.dumps(line, default=str)


class _TerminalLine(logging.Formatter):
    """A short line whose text the terminal does not interpret."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f" {record.levelname}"
        line = visible(f"{at}{level} {record.getMessage()}").replace("\n", "\\n")
        if record.exc_info and record.exc_info[1] is not None:
            line += f"\n{visible(exception_without_texts(record.exc_info[1]))}"
        return line


def exception_without_texts(error: BaseException) -> str:
    """A traceback without what the errors say, which may be the text of a row; what Luthier says of its own stays."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        said = f": {seen}" if isinstance(seen, LuthierError) else ""
        frames = "".join(traceback.format_tb(seen.__traceback__))
        parts.append(f"{frames}{type(seen).__module__}.{type(seen).__qualname__}{said}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\ncaused the one below\n".join(reversed(parts))
