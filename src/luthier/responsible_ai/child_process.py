"""Programs that run below this process, and end when it ends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ChildProcess"]

LAUNCHER = Path(__file__).parent / "isolated" / "launch.py"
STOP_SECONDS = 10.0
"""How long a program may take to end by itself before it is killed."""
TAIL_BYTES = 16_384


class ChildProcess:
    """A program with its output as lines; leaving the block stops it.

    The program is killed with this process too, even by SIGKILL: `isolated/launch.py` runs it and watches for that. It
    gets no Ctrl-C from the terminal, as this process stops it.

    Args:
        python: the Python that runs `isolated/launch.py`.
        what: the launcher's arguments: `("command", PROGRAM, ...)` or `("module", FOLDER, MODULE, ...)`.
        environment: all variables that it sees.
        joined: standard error comes with the lines too, rather than being kept for `errors`.
    """

    def __init__(
        self, python: str | Path, what: Sequence[str | Path], environment: Mapping[str, str], *, joined: bool = False
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `stop`)
        self._process = subprocess.Popen(
            [python, "-I", "-X", "utf8", LAUNCHER, *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if joined else self._errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(environment),
            start_new_session=sys.platform != "win32",
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the launcher, which is the program itself where that is a module."""
        return self._process.pid

    def lines(self, tick_seconds: float) -> Iterator[str | None]:
        """The lines of standard output until it is closed; `None` whenever none came for `tick_seconds`."""
        while True:
            try:
                line = self._lines.get(timeout=tick_seconds)
            except queue.Empty:
                yield None
                continue
            if line is None:
                self._lines.put(None)  # whoever reads on finds the end too
                return
            yield line

    def wait(self) -> int:
        """Waits for the end; the exit code, negative for a signal."""
        return self._process.wait()

    def errors(self) -> str:
        """The end of what it wrote to standard error, once it has ended."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - TAIL_BYTES))
        return self._errors.read().decode("utf-8", "replace")

    def stop(self) -> None:
        """Asks it to end, and kills it after `STOP_SECONDS`; nothing if it has been stopped."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if self._process.returncode is None:
            killer = threading.Timer(STOP_SECONDS, self._kill)
            killer.start()
            try:
                self.wait()
            except BaseException:
                # A second Ctrl-C does not wait.
                self._kill()
                raise
            finally:
                killer.cancel()
        self._reader.join(STOP_SECONDS)  # what it started may hold the pipe open
        self._process.stdout.close()
        self._errors.close()

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)
