"""Watching a job, without I/O: what the service's answer means, what to do about it, and when to ask again.

    look (poll, events) --> Watch.step --> actions: keep, show, cancel, finish
         ^                      |
         +---- next due <-------+

`Watch.step` is a pure function of a state, events and a time, so that one driver (`watch_driver.py`) can watch any
number of jobs, and so that tests need neither a network nor a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from luthier.errors import BudgetReached, EndpointError, Partial
from luthier.providers.prices import dollars
from luthier.tuning.tuners.tuner import JobEvent, JobNotFound, JobState, ServiceUnavailable

__all__ = [
    "CancelAccepted",
    "CancelJob",
    "CostForecast",
    "Finish",
    "JobProgress",
    "Keep",
    "Looked",
    "Show",
    "Watch",
    "WatchState",
]

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 15.0
POLL_GROWTH = 1.3
"""Polls start close together, because small jobs end soon, and grow apart for long ones."""

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
PATIENCE_SECONDS = 3600.0
"""How long a service may be unavailable before watching ends. The job itself is not touched."""

LOSSES = ("train_loss", "training_loss", "loss")


@dataclass(frozen=True)
class CostForecast:
    """What a job is expected to cost, and how much it may.

    Attributes:
        price: `Tuner.estimate`.
        model: the base model as the spec names it; the service's own name for it when empty.
        tokens: estimated tokens of one epoch.
    """

    price: Callable[[str, int, int | None], float | None]
    model: str = ""
    tokens: int | None = None
    budget_usd: float | None = None

    def cost_usd(self, job: JobState) -> float | None:
        """Price of all epochs, once the service has said how many there are."""
        epochs = job.hyperparameters.get("epochs")
        if self.tokens is None or not isinstance(epochs, int | float):
            return None
        return self.price(self.model or job.base_model, self.tokens, int(epochs))

    def cost_of_tokens_usd(self, job: JobState, tokens: int | None) -> float | None:
        """What the service says it charges, else the price of so many trained tokens."""
        if job.billed_usd is not None:
            return job.billed_usd
        return None if tokens is None else self.price(self.model or job.base_model, tokens, 1)


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


@dataclass(frozen=True)
class Looked:
    """Event: the service told the job's state, and what it had not said before."""

    job: JobState
    events: Sequence[JobEvent] = ()


@dataclass(frozen=True)
class CancelAccepted:
    """Event: the service took the request to cancel; the job ends some time later."""


WatchEvent = Looked | EndpointError | CancelAccepted
"""What happened: also `ServiceUnavailable`, where a later look may be answered, or another error, which is for good."""


@dataclass(frozen=True)
class Keep:
    """Action: write a state and new events into the job's run."""

    job: JobState
    events: Sequence[JobEvent]


@dataclass(frozen=True)
class Show:
    """Action: show how far the job is."""

    progress: JobProgress


@dataclass(frozen=True)
class CancelJob:
    """Action: ask the service to cancel the job; where it is unavailable, the next look leads to another try."""


@dataclass(frozen=True)
class Finish:
    """Action: stop watching; with an error, unless the job has reached what was waited for."""

    error: Exception | None = None


WatchAction = Keep | Show | CancelJob | Finish


@dataclass(frozen=True)
class WatchState:
    """What a watch knows of its job between two steps.

    Attributes:
        known: ids of the events that were heard.
        step: the last training step that was reported, of `steps` if the service says how many there will be.
        first: time and number of the first reported step; the speed is measured from there.
        backoff_seconds: time until the next look, should this one get no answer.
        over_budget: the error to end with, once the service has accepted to cancel a job that is too expensive.
    """

    job: JobState | None = None
    known: frozenset[str] = frozenset()
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    first: tuple[float, int] | None = None
    poll_seconds: float = FIRST_POLL_SECONDS
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    unanswered_seconds: float = 0.0
    over_budget: BudgetReached | None = None


class WatchStep(NamedTuple):
    """The result of a step: the next state, what to do now in this order, and when to look again.

    `due` is on the clock that `now` was read from, and `None` once the watch is finished.
    """

    state: WatchState
    actions: tuple[WatchAction, ...]
    due: float | None


@dataclass(frozen=True)
class Watch:
    """Follows a job until it has ended, or until `until` says so. Holds no state of its own and does no I/O.

    The time between looks starts small and grows where `poll_seconds` is absent.
    """

    job: str
    forecast: CostForecast
    until: Callable[[JobState], bool] = lambda state: False
    poll_seconds: float | None = None

    def step(self, state: WatchState, events: Sequence[WatchEvent], now: float) -> WatchStep:
        """What follows from events.

        Args:
            state: as the last step left it; `WatchState()` at first.
            events: what happened since.
            now: Unix time.

        Returns:
            The next state, the actions in the order they are to be done, and when the next look is due.
        """
        actions: list[WatchAction] = []
        due: float | None = now
        for event in events:
            match event:
                case Looked():
                    state, done, due = self._looked(state, event, now)
                case ServiceUnavailable():
                    state, done, due = self._unanswered(state, event, now)
                case EndpointError():
                    done, due = (Finish(self._refused(event)),), None
                case CancelAccepted():
                    state, done, due = replace(state, over_budget=self._over_budget(state.job)), (), now
            actions += done
        return WatchStep(state, tuple(actions), due)

    def _looked(self, state: WatchState, event: Looked, now: float) -> WatchStep:
        job = event.job
        state = replace(
            _with_events(state, event.events), job=job, backoff_seconds=FIRST_BACKOFF_SECONDS, unanswered_seconds=0.0
        )
        actions: list[WatchAction] = [Keep(job, event.events), Show(self._progress(state, job, now))]
        if job.ended or self.until(job):
            actions.append(Finish(state.over_budget))
            return WatchStep(state, tuple(actions), None)
        if state.over_budget is None and self._over_budget(job) is not None:
            actions.append(CancelJob())
        pause = self.poll_seconds or state.poll_seconds
        state = replace(state, poll_seconds=min(LONGEST_POLL_SECONDS, state.poll_seconds * POLL_GROWTH))
        return WatchStep(state, tuple(actions), now + pause)

    def _unanswered(self, state: WatchState, error: ServiceUnavailable, now: float) -> WatchStep:
        if state.unanswered_seconds >= PATIENCE_SECONDS:
            gone = Partial(
                f"{error}. It has been unavailable for an hour; the job, if it runs, goes on. "
                f"Type: luthier tune attach {self.job}"
            )
            gone.__cause__ = error
            return WatchStep(state, (Finish(gone),), None)
        pause = state.backoff_seconds
        news = f"the service is unavailable, asking again in {pause:.0f} s"
        actions = () if state.job is None else (Show(JobProgress(state.job, news=news)),)
        state = replace(
            state,
            backoff_seconds=min(LONGEST_BACKOFF_SECONDS, pause * 2),
            unanswered_seconds=state.unanswered_seconds + pause,
        )
        return WatchStep(state, actions, now + pause)

    def _refused(self, error: EndpointError) -> EndpointError:
        if isinstance(error, JobNotFound):
            return error
        refused = EndpointError(
            f"{error} Watching job {self.job} ended, the job did not. When this is solved, type: "
            f"luthier tune attach {self.job}"
        )
        refused.__cause__ = error
        return refused

    def _over_budget(self, job: JobState | None) -> BudgetReached | None:
        """The error to end with if all epochs of the job cost more than the budget."""
        cost = None if job is None else self.forecast.cost_usd(job)
        budget = self.forecast.budget_usd
        if job is None or cost is None or budget is None or cost <= budget:
            return None
        return BudgetReached(
            f"job {self.job} was cancelled: the service chose {job.hyperparameters['epochs']} epochs, which cost "
            f"about {dollars(cost)}, more than the budget of {dollars(budget)}. Raise --budget, or set tuning.epochs."
        )

    def _progress(self, state: WatchState, job: JobState, now: float) -> JobProgress:
        tokens, an_epoch, epochs = job.trained_tokens, self.forecast.tokens, job.hyperparameters.get("epochs")
        if tokens is None and an_epoch is not None and isinstance(epochs, int | float) and state.steps:
            tokens = round(an_epoch * epochs * (state.step or 0) / state.steps)
        return JobProgress(
            job,
            step=state.step,
            steps=state.steps,
            loss=state.loss,
            tokens=tokens,
            cost_usd=self.forecast.cost_of_tokens_usd(job, tokens),
            seconds_left=_seconds_left(state, job, now),
            news=job.error or "",
        )


def _with_events(state: WatchState, events: Sequence[JobEvent]) -> WatchState:
    step, steps, loss, first = state.step, state.steps, state.loss, state.first
    for event in events:
        steps = event.total_steps or steps
        if event.step is None:
            continue
        step = max(step or 0, event.step)
        loss = next((event.metrics[name] for name in LOSSES if name in event.metrics), loss)
        first = first or (event.created, event.step)
    known = state.known | {event.id for event in events}
    return replace(state, known=known, step=step, steps=steps, loss=loss, first=first)


def _seconds_left(state: WatchState, job: JobState, now: float) -> float | None:
    if job.estimated_finish is not None:
        return max(0.0, job.estimated_finish - now)
    if state.first is None or not state.steps or state.step is None or state.step <= state.first[1]:
        return None
    seconds_a_step = (now - state.first[0]) / (state.step - state.first[1])
    return max(0.0, seconds_a_step * (state.steps - state.step))
