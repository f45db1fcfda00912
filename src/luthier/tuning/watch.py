"""Following a job: what is heard goes into its run, one line says how far it is."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from luthier.errors import BudgetReached, EndpointError, Interrupted, Partial
from luthier.processes import ending_signals
from luthier.providers.prices import dollars
from luthier.tuning.job_runs import JobRecord
from luthier.tuning.submission import Timing
from luthier.tuning.tuners.tuner import PAUSED, JobEvent, JobState, NoSuchJob, ServiceUnavailable, Tuner

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["JobLine", "CostForecast", "JobProgress", "figures_of", "follow", "stoppable", "wait_for"]

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 15.0
SLOWER = 1.3
"""Polls begin close together, because small jobs end soon, and come apart for long ones."""

LONGEST_BACKOFF_SECONDS = 60.0
PATIENCE_SECONDS = 3600.0
"""How long a service may be away before watching ends. The job is not touched."""

LOSSES = ("train_loss", "training_loss", "loss")


@dataclass(frozen=True)
class CostForecast:
    """What is known before a job starts, to judge it by while it runs.

    Attributes:
        tokens: estimated tokens of one epoch.
        price: US dollars for so many tokens and epochs; `None` when unknown.
        budget_usd: most it may cost.
    """

    tokens: int | None = None
    price: Callable[[int, int | None], float | None] = lambda tokens, epochs: None
    budget_usd: float | None = None

    def cost_usd(self, epochs: Any) -> float | None:
        """What all epochs will cost, once the service has said how many."""
        if self.tokens is None or not isinstance(epochs, int | float):
            return None
        return self.price(self.tokens, int(epochs))


@dataclass(frozen=True)
class JobProgress:
    """One look at a job, as it is shown."""

    job: JobState
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    seconds_left: float | None = None
    news: str = ""

    def __str__(self) -> str:
        parts = [self.job.status]
        if self.step is not None:
            parts.append(f"step {self.step:,}" + (f"/{self.steps:,}" if self.steps else ""))
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.tokens is not None:
            parts.append(f"{self.tokens:,} tokens" if self.job.ended else f"about {self.tokens:,} tokens")
            parts.append("price unknown" if self.cost_usd is None else dollars(self.cost_usd))
        if self.seconds_left is not None and not self.job.ended:
            minutes, seconds = divmod(round(self.seconds_left), 60)
            parts.append(f"{minutes}:{seconds:02} left")
        if self.news:
            parts.append(self.news)
        return ", ".join(parts)


class Watcher(Protocol):
    """Is shown each look."""

    def show(self, said: JobProgress) -> None:
        """The job now."""


class JobLine:
    """One line about a job on standard error: rewritten on a terminal, a new one when something changed elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._last = ""
        self._status: Status | None = None

    def show(self, said: JobProgress) -> None:
        """Writes the line."""
        text = f"{said.job.id}: {said}"
        if not self._stream.isatty():
            # Progress by the tenth is enough for a log.
            tenth = 10 * (said.step or 0) // said.steps if said.steps else said.step
            mark = f"{said.job.status} {tenth} {said.news}"
            if mark != self._last:
                self._last = mark
                print(text, file=self._stream, flush=True)
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(file=self._stream).status(text)
            self._status.start()
        self._status.update(text)
        self._last = text

    def close(self) -> None:
        """Leaves the last state on the screen."""
        if self._status is not None:
            self._status.stop()
            self._status = None
            print(self._last, file=self._stream)


def follow(
    tuner: Tuner,
    record: JobRecord | None,
    job: str,
    *,
    forecast: CostForecast | None = None,
    timing: Timing | None = None,
    watcher: Watcher | None = None,
    until: Callable[[JobState], bool] = lambda state: state.ended,
) -> JobState:
    """Looks at a job until it has ended; a service that is away for a while is asked again.

    Args:
        tuner: the service.
        record: where everything that is heard is kept; nowhere when absent.
        job: the service's id.
        forecast: what it was expected to cost.
        timing: how time passes.
        watcher: is shown each look.
        until: ends the watch sooner.

    Raises:
        BudgetReached: the epochs the service chose cost more than the budget; the job was cancelled.
        Partial: the service was away for an hour, or the tracking store cannot be written to.
        EndpointError: the service refuses, as with a key that has expired.
    """
    timing = timing or Timing()
    known: set[str] = set()
    if forecast is None:
        # Of a job that is only looked at nothing was expected, and what it cost is known all the same.
        forecast = CostForecast(price=lambda tokens, epochs: tuner.estimate(trail.base_model, tokens, epochs))
    trail = ProgressTracker(timing, forecast)
    poll = timing.poll_seconds or FIRST_POLL_SECONDS
    while True:
        state, events = _patient(tuner, job, known, timing, watcher, trail)
        known |= {event.id for event in events}
        if record is not None:
            _keep(record, tuner, state, events)
        said = trail.look(state, events)
        if watcher is not None:
            watcher.show(said)
        if until(state):
            return state
        cost = forecast.cost_usd(state.hyperparameters.get("epochs"))
        if forecast.budget_usd is not None and cost is not None and cost > forecast.budget_usd:
            # Of a service that is away just now it is asked again after the next look: the job costs money meanwhile.
            with suppress(ServiceUnavailable):
                tuner.cancel(job)
                raise BudgetReached(
                    f"job {job} was cancelled: the service chose {state.hyperparameters['epochs']} epochs, which cost "
                    f"about {dollars(cost)}, more than the budget of {dollars(forecast.budget_usd)}. Raise --budget, "
                    "or set tuning.epochs."
                )
        timing.wait(poll)
        if timing.poll_seconds is None:
            poll = min(LONGEST_POLL_SECONDS, poll * SLOWER)


def _keep(record: JobRecord, tuner: Tuner, state: JobState, events: list[JobEvent]) -> None:
    def write() -> None:
        record.see(state)
        new = [event for event in events if event.id not in record.known_events]
        record.hear(new)
        if any("checkpoint" in event.message.lower() for event in new):
            # They are read once more when the job has ended.
            with suppress(EndpointError):
                record.checkpoints(tuner.checkpoints(state.id))

    record.settle(write)


def wait_for(
    tuner: Tuner, job: str, reached: Callable[[JobState], bool], timing: Timing, watcher: Watcher | None = None
) -> JobState:
    """Looks at a job until the service confirms what was asked of it."""
    return follow(tuner, None, job, timing=timing, watcher=watcher, until=lambda state: state.ended or reached(state))


def figures_of(state: JobState, forecast: CostForecast) -> float | None:
    """What an ended job cost in US dollars, by the tokens the service says it trained; `None` when unknown."""
    if state.trained_tokens is None:
        return None
    return forecast.price(state.trained_tokens, 1)


class ProgressTracker:
    """What was seen so far of one job: enough to say how far it is."""

    def __init__(self, timing: Timing, forecast: CostForecast) -> None:
        self._timing, self._forecast = timing, forecast
        self._step: int | None = None
        self._steps: int | None = None
        self._loss: float | None = None
        self._first: tuple[float, int] | None = None
        self.last: JobState | None = None

    @property
    def base_model(self) -> str:
        return self.last.base_model if self.last is not None else ""

    def look(self, state: JobState, events: list[Any]) -> JobProgress:
        self.last = state
        for event in events:
            self._steps = event.total_steps or self._steps
            if event.step is None:
                continue
            self._step = max(self._step or 0, event.step)
            self._loss = next((event.metrics[name] for name in LOSSES if name in event.metrics), self._loss)
            self._first = self._first or (event.created, event.step)
        return JobProgress(
            state,
            step=self._step,
            steps=self._steps,
            loss=self._loss,
            tokens=self._tokens(state),
            cost_usd=self._cost(state),
            seconds_left=self._left(state),
            news=state.error or "",
        )

    def _tokens(self, state: JobState) -> int | None:
        if state.trained_tokens is not None:
            return state.trained_tokens
        epochs = state.hyperparameters.get("epochs")
        if self._forecast.tokens is None or not self._steps or not isinstance(epochs, int | float):
            return None
        return round(self._forecast.tokens * epochs * (self._step or 0) / self._steps)

    def _cost(self, state: JobState) -> float | None:
        tokens = self._tokens(state)
        return None if tokens is None else self._forecast.price(tokens, 1)

    def _left(self, state: JobState) -> float | None:
        now = self._timing.clock()
        if state.estimated_finish is not None:
            return max(0.0, state.estimated_finish - now)
        if self._first is None or not self._steps or self._step is None or self._step <= self._first[1]:
            return None
        each = (now - self._first[0]) / (self._step - self._first[1])
        return max(0.0, each * (self._steps - self._step))


def _patient(
    tuner: Tuner, job: str, known: set[str], timing: Timing, watcher: Watcher | None, trail: ProgressTracker
) -> tuple[JobState, list[Any]]:
    """One look, however often the service is away meanwhile."""
    wait, waited = 1.0, 0.0
    while True:
        try:
            # Events after the state: what is heard of an ended job is all there will be.
            state = tuner.poll(job)
            return state, tuner.events(job, known)
        except ServiceUnavailable as error:
            if waited >= PATIENCE_SECONDS:
                raise Partial(
                    f"{error}. It has been away for an hour; the job, if it runs, goes on. "
                    f"Type: luthier tune attach {job}"
                ) from error
            if watcher is not None and trail.last is not None:
                watcher.show(JobProgress(trail.last, news=f"the service is away, asking again in {wait:.0f} s"))
            timing.wait(wait)
            waited += wait
            wait = min(LONGEST_BACKOFF_SECONDS, wait * 2)
        except NoSuchJob:
            raise
        except EndpointError as error:
            raise EndpointError(
                f"{error} Watching job {job} ended, the job did not. When this is solved, type: "
                f"luthier tune attach {job}"
            ) from error


@contextmanager
def stoppable(job: Callable[[], str | None]) -> Iterator[None]:
    """While inside, Ctrl-C, SIGTERM and SIGHUP stop the watching and leave the job, which was paid for, alone.

    Args:
        job: its id, as soon as there is one.

    Raises:
        Interrupted: says how to go on and how to cancel.
    """
    main = threading.current_thread() is threading.main_thread()

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in ending_signals()} if main else {}
    try:
        yield
    except KeyboardInterrupt as error:
        known = job()
        if known is None:
            raise Interrupted(
                "interrupted before the service confirmed a job. Type the same command again: it goes on where it was, "
                "and if a job was submitted it is found, not bought twice."
            ) from error
        raise Interrupted(
            f"stopped watching; job {known} goes on. Go on watching: luthier tune attach {known}   "
            f"End it: luthier tune cancel {known}"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_paused(state: JobState) -> bool:
    """Whether the service has confirmed a pause."""
    return state.status == PAUSED
