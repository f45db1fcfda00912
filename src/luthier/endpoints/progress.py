"""Shows how far a run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from luthier.endpoints.exchange import Answer
from luthier.endpoints.flight import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Ahead", "TerminalProgress", "shown"]

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
REDRAW_SECONDS = 0.2


class TerminalProgress:
    """Calls done, rate, cost, time left and retries, on standard error. Short runs show nothing.

    Use it as a context manager around one or several calls of the engine:

        with TerminalProgress("scoring") as progress:
            engine.run(requests, endpoint, progress=progress)

    Args:
        what: first word of the line.
        stream: where it is written; standard error when absent.
        silent: write nothing at all.
        quiet_seconds: how long a run may be that shows nothing.
    """

    def __init__(
        self,
        what: str = "asking",
        *,
        stream: TextIO | None = None,
        silent: bool = False,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._what, self._stream, self._silent, self._quiet_seconds = what, stream, silent, quiet_seconds
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._shown = self._began + quiet_seconds - LINE_SECONDS
        self._expected = self._landed = self._fetched = self._retried = self._failed = 0
        self._cost_usd: float | None = 0.0
        self._work: _Work | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def expect(self, requests: int) -> None:
        """So many more requests will be asked."""
        with self._lock:
            self._expected += requests
            self._work = None

    def landed(self, answer: Answer) -> None:
        """One of them has its answer, or none for good."""
        with self._lock:
            self._landed += 1
            self._work = None
            if answer.failure is not None:
                self._failed += 1
            elif not answer.from_journal:
                self._fetched += 1
                # Unknown is never zero: one unknown price makes the sum unknown.
                known = self._cost_usd is not None and answer.cost_usd is not None
                self._cost_usd = (self._cost_usd or 0.0) + (answer.cost_usd or 0.0) if known else None
            self._show()

    def retried(self, wait_seconds: float) -> None:
        """One of them will be sent again."""
        with self._lock:
            self._retried += 1
            self._show()

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """A technique has come so far with work of its own; the bar is that work's until requests follow."""
        with self._lock:
            work = self._work
            if work is None or work.what != what or done < work.done:
                work = self._work = _Work(what, time.monotonic(), done)
            work.done, work.total, work.said = done, total, said
            self._show()

    def close(self) -> None:
        """Draws the last state and leaves the line."""
        with self._lock:
            if self._bar is not None and self._task is not None:
                self._draw(self._bar, self._task)
                self._bar.stop()
                self._bar = self._task = None

    def line(self) -> str:
        """The state in words."""
        if self._work is not None:
            return self._work.line()
        seconds = max(1e-9, time.monotonic() - self._began)
        rate = self._fetched / seconds
        parts = [f"{self._landed:,}/{self._expected:,} calls", f"{rate:.1f}/s"]
        parts.append("price unknown" if self._cost_usd is None else f"${self._cost_usd:.4f}")
        left = self._expected - self._landed
        if left > 0 and self._landed:
            parts.append(f"{_clock(left * seconds / self._landed)} left")
        if self._retried:
            parts.append(f"{self._retried} retries")
        if self._failed:
            parts.append(f"{self._failed} without answer")
        return ", ".join(parts)

    def _show(self) -> None:
        now = time.monotonic()
        if self._silent or now - self._began < self._quiet_seconds:
            return
        stream = self._stream or sys.stderr
        if not stream.isatty():
            if now - self._shown >= LINE_SECONDS:
                self._shown = now
                print(f"{self._named()}: {self.line()}", file=stream, flush=True)
            return
        if self._bar is None:
            self._open(stream)
        elif now - self._shown < REDRAW_SECONDS:
            return
        self._shown = now
        if self._bar is not None and self._task is not None:
            self._draw(self._bar, self._task)

    def _named(self) -> str:
        return self._what if self._work is None else self._work.what

    def _draw(self, bar: Bar, task: TaskID) -> None:
        done: float = self._landed
        total: float | None = self._expected
        if self._work is not None:
            done, total = self._work.done, self._work.total
        bar.update(task, description=self._named(), completed=done, total=total, said=self.line())
        if total is None:
            # For `update` no total means the one before.
            bar.tasks[bar.task_ids.index(task)].total = None

    def _open(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        # What a technique says may hold brackets, which would be read as markup.
        what, said = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[said]}", markup=False)
        columns = (what, BarColumn(), said)
        self._bar = RichProgress(*columns, console=Console(file=stream), transient=False)
        self._task = self._bar.add_task(self._what, total=self._expected, said="")
        self._bar.start()


@dataclass(slots=True)
class _Work:
    """A technique's own work, from when it was first heard of."""

    what: str
    began: float
    first: float
    done: float = 0.0
    total: float | None = None
    said: str = ""

    def line(self) -> str:
        seconds = time.monotonic() - self.began
        parts = []
        if self.total:
            parts.append(f"{min(1.0, self.done / self.total):.0%}")
            if seconds > 0 and self.first < self.done < self.total:
                left = seconds * (self.total - self.done) / (self.done - self.first)
                parts.append(f"{_clock(left)} left")
        else:
            parts.append(f"{_clock(seconds)} so far")
        return ", ".join(filter(None, [*parts, self.said]))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def shown(progress: Progress | None, what: str) -> Iterator[Progress]:
    """The progress that was given, else a bar of this name that ends with the block."""
    if progress is not None:
        yield progress
        return
    with TerminalProgress(what) as bar:
        yield bar


class Ahead:
    """A progress that knows the whole from the start, where the requests are made piece by piece.

    Args:
        progress: shows it.
        requests: how many will come in all, as far as it is known.
    """

    def __init__(self, progress: Progress, requests: int) -> None:
        self._progress = progress
        self._announced = requests
        progress.expect(requests)

    def expect(self, requests: int) -> None:
        """Passes on only what goes beyond the announced whole."""
        beyond = max(0, requests - self._announced)
        self._announced -= requests - beyond
        if beyond:
            self._progress.expect(beyond)

    def landed(self, answer: Answer) -> None:
        """Passes it on."""
        self._progress.landed(answer)

    def retried(self, wait_seconds: float) -> None:
        """Passes it on."""
        self._progress.retried(wait_seconds)

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """Passes it on."""
        self._progress.working(what, done, total, said)
