"""Shows how far a sweep is: a live table on a terminal; elsewhere a line per trial, and one in between now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TextIO

from luthier.providers.prices import dollars
from luthier.reporting.numbers import printable
from luthier.reporting.setting_words import written_settings
from luthier.sweeps.sweep_words import STATUS_WORDS, written_seconds, written_values
from luthier.sweeps.trial import SweepObjective, SweepTrial, TrialStatus
from luthier.terminals import visible
from luthier.tuning.watch import JobProgress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = ["SweepProgress"]

ENDED: tuple[TrialStatus, ...] = ("complete", "pruned", "failed")

LINE_SECONDS = 30.0
"""Without a terminal, a line about the running trials this often at most."""

REDRAWS_A_SECOND = 2

LINES_AROUND = 6
"""Lines of a terminal that the table leaves to what is above and beneath it."""


@dataclass
class _Running:
    """A trial that runs here, since when, and how far it is."""

    settings: Mapping[str, Any]
    since: float
    said: str = "starting"


class SweepProgress:
    """Trials done, running and stopped, the best so far, money and time left, on standard error.

    Its methods may be called from several threads.

    Args:
        stream: where it is written; standard error when absent.
        silent: write nothing at all.
        clock: counts seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, *, silent: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._silent, self._clock = stream, silent, clock
        # Never held while something is printed: rich has a lock of its own, which its thread holds while it draws.
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._begin(0, None, (), ())

    def _begin(
        self,
        trials: int,
        budget_usd: float | None,
        objectives: Sequence[SweepObjective],
        known: Collection[SweepTrial],
    ) -> None:
        self._trials, self._objectives = trials, tuple(objectives)
        own = [trial for trial in known if trial.source is None]
        self._imported = len(known) - len(own)
        # Those that run are driven by another machine, or are about to be taken over here.
        self._seen: dict[int, TrialStatus] = {trial.number: trial.status for trial in own if trial.status != "running"}
        self._running: dict[int, _Running] = {}
        self._seconds: list[float] = []
        self._best: SweepTrial | None = None
        for trial in own:
            self._compare(trial)
        self._spent_usd = sum(trial.cost_usd or 0.0 for trial in own)
        self._reserved_usd, self._budget_usd = 0.0, budget_usd
        self._shown = -LINE_SECONDS

    @contextmanager
    def open(
        self,
        trials: int,
        budget_usd: float | None = None,
        objectives: Sequence[SweepObjective] = (),
        known: Collection[SweepTrial] = (),
    ) -> Iterator[Self]:
        """While inside, the sweep is shown; the last state stays on the screen where the block ends with an error.

        Args:
            trials: of the study.
            budget_usd: most that it may cost.
            objectives: the first one decides what the best trial is; without one, none is shown.
            known: the trials of the study so far, imported ones among them.
        """
        with self._lock:
            self._begin(trials, budget_usd, objectives, known)
        stream = self._stream or sys.stderr
        if not self._silent and stream.isatty():
            self._open_live(stream)
        try:
            yield self
        except BaseException:
            self._close(wipe=False)
            raise
        self._close(wipe=True)

    def trial_started(self, number: int, settings: Mapping[str, Any]) -> None:
        """A trial runs here from now on, begun anew or taken over."""
        with self._lock:
            self._seen[number] = "running"
            self._running[number] = _Running(settings, self._clock())

    def looked(self, number: int, progress: JobProgress) -> None:
        """The service was asked about a trial's job."""
        with self._lock:
            if number in self._running:
                self._running[number].said = str(progress)
            if self._live is not None or self._clock() - self._shown < LINE_SECONDS:
                return
            self._shown = self._clock()
            text = "; ".join([*(f"trial {place}: {one.said}" for place, one in self._running.items()), self.line()])
        self.say(text)

    def trial_ended(self, trial: SweepTrial) -> None:
        """A trial has ended, or is left for a later start."""
        with self._lock:
            begun = self._running.pop(trial.number, None)
            self._seen[trial.number] = trial.status
            if begun is not None and trial.status in ("complete", "pruned"):
                self._seconds.append(self._clock() - begun.since)
            self._compare(trial)
            self._spent_usd += trial.cost_usd or 0.0
            self._shown = self._clock()
            text = self._said(trial)
            if self._live is None:
                text += f"; {self.line()}"
        self.say(text)

    def money(self, spent_usd: float, reserved_usd: float, budget_usd: float | None) -> None:
        """What the study has cost and set aside by now, on all machines together.

        Until the next call, the cost of trials that end here is added.
        """
        with self._lock:
            self._spent_usd, self._reserved_usd, self._budget_usd = spent_usd, reserved_usd, budget_usd

    def say(self, text: str) -> None:
        """A line of its own, such as what a service answered; above the table on a terminal."""
        if self._silent:
            return
        live = self._live
        if live is None:
            print(visible(text), file=self._stream or sys.stderr, flush=True)
            return
        from rich.text import Text

        # `Text` keeps rich from reading markup in the words of a service.
        live.console.print(Text(printable(text)), soft_wrap=True)

    def line(self) -> str:
        """The state of the whole sweep in words."""
        with self._lock:
            parts = [self._counts()]
            if self._best is not None:
                parts.append(f"best {written_values(self._objectives, self._best.values)} (trial {self._best.number})")
            if self._spent_usd or self._reserved_usd or self._budget_usd is not None:
                of = "" if self._budget_usd is None else f" of {dollars(self._budget_usd)}"
                aside = f", {dollars(self._reserved_usd)} reserved" if self._reserved_usd else ""
                parts.append(f"{dollars(self._spent_usd)}{of} spent{aside}")
            left = self.seconds_left()
            if left is not None:
                parts.append(f"about {written_seconds(left)} left")
            return "; ".join(parts)

    def seconds_left(self) -> float | None:
        """A guess by the trials that ended here; `None` before the first of them."""
        if not self._seconds or not self._running:
            return None
        waiting = max(0, self._trials - self._ended() - len(self._running) - self._elsewhere())
        mean = sum(self._seconds) / len(self._seconds)
        now = self._clock()
        under_way = sum(max(0.0, mean - (now - one.since)) for one in self._running.values())
        return (mean * waiting + under_way) / len(self._running)

    def _ended(self) -> int:
        return sum(status in ENDED for status in self._seen.values())

    def _elsewhere(self) -> int:
        """Trials that other machines have begun: numbers are given out across the study."""
        return max(0, max(self._seen, default=-1) + 1 - self._imported - len(self._seen))

    def _counts(self) -> str:
        counts = Counter(self._seen.values())
        kinds = [f"{counts[status]:,} {STATUS_WORDS[status]}" for status in ENDED if counts[status]]
        done = f"{self._ended():,} of {self._trials:,} trials done"
        parts = [f"{done} ({', '.join(kinds)})" if len(kinds) > 1 or counts["complete"] < self._ended() else done]
        parts += [f"{len(self._running):,} running"] if self._running else []
        waiting = counts["paused"] + counts["interrupted"]
        parts += [f"{waiting:,} left for a later start"] if waiting else []
        parts += [f"{self._elsewhere():,} on other machines"] if self._elsewhere() else []
        return ", ".join(parts)

    def _compare(self, trial: SweepTrial) -> None:
        if not self._objectives or trial.status != "complete" or not trial.values:
            return
        sign = 1 if self._objectives[0].direction == "maximize" else -1
        if self._best is None or sign * trial.values[0] > sign * self._best.values[0]:
            self._best = trial

    def _said(self, trial: SweepTrial) -> str:
        parts = [f"trial {trial.number} {STATUS_WORDS[trial.status]}"]
        if trial.status == "complete" and trial.values and self._objectives:
            parts[0] += f", {written_values(self._objectives, trial.values)}"
        elif trial.reason:
            parts[0] += f", {printable(trial.reason)}"
        parts += [written_settings(trial.settings)] if trial.settings else []
        parts += [dollars(trial.cost_usd)] if trial.cost_usd is not None else []
        return "; ".join(parts)

    def _open_live(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream)
        self._live = Live(
            console=console,
            get_renderable=partial(self._drawn, console),
            refresh_per_second=REDRAWS_A_SECOND,
            transient=True,
        )
        self._live.start()

    def _close(self, *, wipe: bool) -> None:
        live = self._live
        if live is not None:
            live.transient = wipe
            live.stop()
            self._live = None

    def _drawn(self, console: Console) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            most = max(1, console.height - LINES_AROUND)
            shown = list(self._running.items())[:most]
            longest = max((len(one.said) for _, one in shown), default=0)
            lines = []
            for place, one in shown:
                said = f"trial {place:<4} {printable(one.said):<{longest}}  "
                settings = (written_settings(one.settings), "dim")
                lines.append(Text.assemble(said, settings, no_wrap=True, overflow="ellipsis"))
            more = len(self._running) - len(shown)
            lines += [Text(f"and {more:,} more", "dim")] if more else []
            return Group(*lines, Text(self.line(), "bold"))
