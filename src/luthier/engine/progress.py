"""Shows how far the work is: a bar on a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from luthier.engine.ask_options import Progress
from luthier.engine.report import Report
from luthier.providers.exchange import Answer
from luthier.providers.prices import dollars

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bar

__all__ = ["ProgressForecast", "TerminalProgress", "shown"]

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
REDRAW_SECONDS = 0.2
TELLING_SHARE = 0.01
"""No time left is shown before this share is done: the first call waits for connections and models."""


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
        self._bar: Bar | None = None
        self._above: RenderableType | None = None
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._asking_since: float | None = None
        self._shown = self._began + self._quiet_seconds - LINE_SECONDS
        self._expected, self._report = 0, Report()
        self._work: _Work | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def turn_to(self, what: str) -> None:
        """Starts counting again for the next piece of work, in the same place."""
        with self._lock:
            self._what = what
            self._start()
            if self._bar is not None:
                self._draw(self._bar)

    def keep_above(self, above: RenderableType) -> None:
        """Shows something above the bar from now on, on a terminal; replaces what stood there."""
        stream = self._stream or sys.stderr
        with self._lock:
            if self._silent or not stream.isatty():
                return
            self._above = above
            if self._bar is None:
                self._open(stream)
            if self._bar is not None:
                self._bar.refresh()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def expect(self, requests: int) -> None:
        """So many more requests will be asked; a negative number corrects the total downwards."""
        with self._lock:
            if self._asking_since is None:
                self._asking_since = time.monotonic()
            self._expected += requests
            self._work = None

    def completed(self, answer: Answer) -> None:
        """One of them has its answer, or none for good."""
        with self._lock:
            self._work = None
            self._report.completed(answer)
            self._show()

    def retried(self, wait_seconds: float) -> None:
        """One of them will be sent again."""
        with self._lock:
            self._report.retries += 1
            self._show()

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """A technique reports on work of its own, which the bar shows until requests follow."""
        with self._lock:
            work = self._work
            if work is None or work.what != what or done < work.done:
                work = self._work = _Work(what, time.monotonic(), done)
            work.done, work.total, work.said = done, total, said
            self._show()

    def close(self, *, wipe: bool = False) -> None:
        """Draws the last state and leaves it there.

        Args:
            wipe: clear it away instead, as the result is printed next.
        """
        with self._lock:
            if self._bar is not None:
                self._draw(self._bar)
                self._bar.live.transient = wipe
                self._bar.stop()
                self._bar = None

    def line(self) -> str:
        """The state in words."""
        if self._work is not None:
            return self._work.line()
        if not self._expected:
            return "working"
        seconds = max(1e-9, time.monotonic() - (self._asking_since or self._began))
        report, completed = self._report, self._completed
        cost_usd = report.spent_now_usd
        parts = [f"{completed:,}/{self._expected:,} calls", f"{report.fetched / seconds:.1f}/s"]
        parts.append("price unknown" if cost_usd is None else dollars(cost_usd))
        left = self._expected - completed
        if left > 0 and report.fetched and completed >= TELLING_SHARE * self._expected:
            # Answers from the journal took no time, and say nothing about those still to be fetched.
            parts.append(f"{_clock(left * seconds / report.fetched)} left")
        if report.retries:
            parts.append(f"{report.retries} retries")
        if report.failed:
            parts.append(f"{report.failed.total()} without answer")
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
        if self._bar is not None:
            self._draw(self._bar)

    @property
    def _completed(self) -> int:
        return self._report.answered + self._report.failed.total()

    def _named(self) -> str:
        return self._what if self._work is None else self._work.what

    def _draw(self, bar: Bar) -> None:
        done: float = self._completed
        total: float | None = self._expected
        if self._work is not None:
            done, total = self._work.done, self._work.total
        bar.update(bar.task_ids[0], description=self._named(), completed=done, total=total, said=self.line())
        if total is None:
            # `update(total=None)` keeps the previous total.
            bar.tasks[0].total = None

    def _open(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        owner = self

        class Beneath(RichProgress):
            """A bar beneath what is to stand above it."""

            def get_renderables(self) -> Iterable[RenderableType]:
                if owner._above is not None:
                    yield owner._above
                yield from super().get_renderables()

        # A technique's text may hold brackets, which rich would read as markup.
        what, said = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[said]}", markup=False)
        columns = (what, BarColumn(), said)
        self._bar = Beneath(*columns, console=Console(file=stream), transient=False)
        self._bar.add_task(self._what, total=self._expected, said="")
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


def shown(progress: Progress | None, what: str) -> AbstractContextManager[Progress]:
    """The progress that was given, or a bar of this name that ends with the block."""
    return TerminalProgress(what) if progress is None else nullcontext(progress)


class ProgressForecast:
    """Tells a display the expected total from the first request on, though requests are made piece by piece.

    Fitting may ask (calibration, a search), then every row is asked, and an answer may lead to further requests (the
    next token of a label). The total is extrapolated: the answers so far tell which share of rows is followed up, and
    the steps of a search so far tell how many requests each further step takes.

    Args:
        progress: shows it.
        answering: first requests of the rows, as far as they are known.
        fitting: requests of fitting, as far as they are known; `answer_rows` ends it.
        follow_ups: how many further requests an answer leads to; none when absent.
    """

    def __init__(
        self,
        progress: Progress,
        answering: int,
        *,
        fitting: int = 0,
        follow_ups: Callable[[Answer], int] | None = None,
    ) -> None:
        self._progress, self._answering, self._fitting = progress, answering, fitting
        self._follow_ups = follow_ups
        self._told = self._asked = self._asked_before = 0
        self._is_fitting = fitting > 0
        self._read = self._followed = self._read_here = 0
        self._work_from: tuple[float, int] | None = None
        self._work_left: float | None = None

    def answer_rows(self) -> None:
        """Fitting is over; requests from now on are those of the rows."""
        self._is_fitting, self._asked_before, self._read_here = False, self._asked, 0

    def expect(self, requests: int) -> None:
        """Passes on the change of the expected total."""
        self._asked += requests
        # Also where the total stays the same: requests follow, so the bar shows them again.
        self._progress.expect(self._news())

    def completed(self, answer: Answer) -> None:
        """Passes it on, and learns the share of answers that are followed up."""
        first_round = self._fitting if self._is_fitting else self._answering
        if self._follow_ups is not None and answer.choices and self._read_here < first_round:
            self._read += 1
            self._read_here += 1
            self._followed += self._follow_ups(answer)
            if news := self._news():
                self._progress.expect(news)
        self._progress.completed(answer)

    def retried(self, wait_seconds: float) -> None:
        """Passes it on."""
        self._progress.retried(wait_seconds)

    def working(self, what: str, done: float, total: float | None, said: str) -> None:
        """Passes it on, and learns how many requests each step of a search takes."""
        if self._work_from is not None and total is not None and done > self._work_from[0]:
            per_step = (self._asked - self._work_from[1]) / (done - self._work_from[0])
            self._work_left = per_step * (total - done)
        self._work_from = (done, self._asked)
        self._progress.working(what, done, total, said)

    def _news(self) -> int:
        """The change of the expected total since the display was last told."""
        before, self._told = self._told, self._whole()
        return self._told - before

    def _whole(self) -> int:
        followed = 1 + (self._followed / self._read if self._read else 0.0)
        rows = round(self._answering * followed)
        if self._is_fitting:
            if self._work_left is not None:
                # The step under way is part of what was left; how much it asks is not known yet.
                assert self._work_from is not None
                fitting = self._work_from[1] + max(round(self._work_left), self._asked - self._work_from[1])
            else:
                fitting = max(round(self._fitting * followed), self._asked)
            return fitting + rows
        here = self._asked - self._asked_before
        # Once more than the first requests were asked, the follow-ups are known: they are sent in one round.
        return self._asked_before + (here if here > self._answering else max(here, rows))
