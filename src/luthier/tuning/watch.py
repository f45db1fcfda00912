"""Watching a job, without I/O: what the service's answer means, what to do about it, and when to ask again.

    look (poll, events) --> Watch.step --> actions: keep, show, ask, finish
         ^                      ^   |
         |            requests: stop, pause, resume
         +---- next due <-----------+

`Watch.step` is a pure function of a state, events and a time, so that one driver (`watch_driver.py`) can watch any
number of jobs, and so that tests need neither a network nor a clock.

A request is kept in the state until the service confirms it: a stopped job has ended, a paused one is paused, a resumed
one is neither. Until then the service is asked with every look, unless it has accepted or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from luthier.errors import BudgetReached, EndpointError, Partial
from luthier.providers.prices import dollars
from luthier.tuning.training_costs import CostForecast, TrainingBill
from luthier.tuning.tuners.tuner import PAUSED, JobEvent, JobNotFound, JobState, ServiceUnavailable

__all__ = [
    "Accepted",
    "Ask",
    "Change",
    "CostForecast",
    "Finish",
    "JobProgress",
    "JobRequest",
    "Keep",
    "Looked",
    "PauseRequested",
    "Refused",
    "ResumeRequested",
    "Show",
    "StopRequested",
    "TrainingBill",
    "Watch",
    "WatchState",
]

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 15.0
POLL_GROWTH = 1.3
"""Polls start close together, because small jobs end soon, and grow apart for long ones."""

LEAST_LOOKS = 20
"""Looks at a job whose speed is known, at least: early stopping judges it by every twentieth of its training."""

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
PATIENCE_SECONDS = 3600.0
"""How long a service may be unavailable before watching ends. The job itself is not touched."""

ASK_AGAIN_SECONDS = 60.0
"""When a service that accepted or refused a request, without effect on the job, is asked once more."""

WAITING = frozenset({"validating_files", "queued", "pending"})
"""Statuses of a job that does not train yet."""

PAUSING = "pausing"

Change = Literal["cancel", "pause", "resume"]
"""What a service can be asked to do to a job; the names are those of the methods of `Tuner`."""

LOSSES = ("train_loss", "training_loss", "loss")

TOKENS = "elapsed_tokens"
"""Figure of a step that counts the tokens read so far."""


@dataclass(frozen=True)
class JobProgress:
    """One look at a job, as it is shown."""

    job: JobState
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    tokens: int | None = None
    estimated: bool = False
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
            parts.append(f"about {self.tokens:,} tokens" if self.estimated else f"{self.tokens:,} tokens")
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
class StopRequested:
    """Event: the job is wanted no longer. It overrides a request to pause or resume, and is never taken back."""

    reason: str


@dataclass(frozen=True)
class PauseRequested:
    """Event: the job is to pause; the watch goes on, and shows when it is paused."""


@dataclass(frozen=True)
class ResumeRequested:
    """Event: the paused job is to go on."""


@dataclass(frozen=True)
class Accepted:
    """Event: the service accepted what it was asked for; the job changes some time later."""

    change: Change


@dataclass(frozen=True)
class Refused:
    """Event: the service refused what it was asked for."""

    change: Change
    error: EndpointError


JobRequest = StopRequested | PauseRequested | ResumeRequested

WatchEvent = JobRequest | Looked | EndpointError | Accepted | Refused
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
class Ask:
    """Action: ask the service for a change; where it is unavailable, the next look leads to another try."""

    change: Change


@dataclass(frozen=True)
class Finish:
    """Action: stop watching; with an error, unless the job has reached what was waited for."""

    error: Exception | None = None


WatchAction = Keep | Show | Ask | Finish


@dataclass(frozen=True)
class WatchState:
    """What a watch knows of its job between two steps.

    Attributes:
        known: ids of the events that were heard.
        step: the last training step that was reported, of `steps` if the service says how many there will be.
        tokens: read until that step, where the service counts them.
        first: time and number of the first reported step; the speed is measured from there.
        backoff_seconds: time until the next look, should this one get no answer.
        wanted: what the service is asked for until it confirms it.
        reason: why the job is to stop.
        answered: when the service last accepted or refused that; `None` before it has.
        refused_cancel: why the service did not cancel the job, which therefore goes on.
        refused_pause: why it did not pause it.
        over_budget: whether the job is stopped because it is too expensive.
        started: whether the job was seen to train; a job that was not has no bill.
    """

    job: JobState | None = None
    known: frozenset[str] = frozenset()
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    tokens: int | None = None
    first: tuple[float, int] | None = None
    poll_seconds: float = FIRST_POLL_SECONDS
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    unanswered_seconds: float = 0.0
    wanted: Change | None = None
    reason: str = ""
    answered: float | None = None
    refused_cancel: str | None = None
    refused_pause: str | None = None
    over_budget: bool = False
    started: bool = False


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
            done: tuple[WatchAction, ...] = ()
            match event:
                case Looked():
                    state, done, due = self._looked(state, event, now)
                case ServiceUnavailable():
                    state, done, due = self._unanswered(state, event, now)
                case EndpointError():
                    done, due = (Finish(self._ended_by(event)),), None
                case StopRequested(reason):
                    state = _wanting(state, "cancel", reason)
                case PauseRequested():
                    state = _wanting(state, "pause")
                case ResumeRequested():
                    state = _wanting(state, "resume")
                case Accepted():
                    # The confirmation is looked for at once, then as closely as at first.
                    state, due = replace(state, answered=now, poll_seconds=FIRST_POLL_SECONDS, refused_cancel=None), now
                case Refused():
                    state, done, due = self._refused(state, event, now)
            actions += done
        return WatchStep(state, tuple(actions), due)

    def bill(self, state: WatchState) -> TrainingBill:
        """What the job is paid for so far, or in all once it has ended."""
        job = state.job
        if job is None:
            return TrainingBill()
        planned, share = self.forecast.planned_tokens(job), _share(state)
        trained = state.tokens if job.trained_tokens is None else job.trained_tokens
        if trained is not None and share:
            # What the service counts corrects what was estimated before it was asked.
            planned = round(trained / share)
        elif planned is not None and share is not None:
            trained = round(planned * share)
        elif trained is None and job.ended and not state.started:
            trained = 0
        estimated = trained is not None and job.trained_tokens is None
        cost = self.forecast.cost_of_tokens_usd(job, trained)
        return TrainingBill(planned, trained, estimated, cost, self.forecast.planned_usd(job, planned))

    def _looked(self, state: WatchState, event: Looked, now: float) -> WatchStep:
        job = event.job
        if state.job is not None and job.status != state.job.status:
            # A job that waited for its turn is looked at closely again once it trains.
            state = replace(state, poll_seconds=FIRST_POLL_SECONDS)
        state = replace(
            _with_events(state, event.events), job=job, backoff_seconds=FIRST_BACKOFF_SECONDS, unanswered_seconds=0.0
        )
        if not job.ended and job.status not in WAITING:
            state = replace(state, started=True)
        if job.status == "cancelled":
            state = replace(state, refused_cancel=None)
        if not job.ended and self._over_budget(job):
            state = replace(_wanting(state, "cancel", "it would cost more than the budget"), over_budget=True)
        paused = job.status == PAUSED
        if (state.wanted == "pause" and paused) or (state.wanted == "resume" and not paused and job.status != PAUSING):
            state = replace(state, wanted=None)
        actions: list[WatchAction] = [Keep(job, event.events), Show(self._progress(state, job, now))]
        if job.ended or self.until(job):
            actions.append(Finish(self._overspent(job, state) if state.over_budget else None))
            return WatchStep(state, tuple(actions), None)
        if state.wanted is not None and _is_to_be_asked(state, job, now):
            actions.append(Ask(state.wanted))
        due = now + self._pause_seconds(state)
        longest = LONGEST_POLL_SECONDS
        if state.steps and (seconds_a_step := _seconds_a_step(state, now)) is not None:
            longest = min(longest, max(FIRST_POLL_SECONDS, seconds_a_step * state.steps / LEAST_LOOKS))
        state = replace(state, poll_seconds=min(longest, state.poll_seconds * POLL_GROWTH))
        return WatchStep(state, tuple(actions), due)

    def _refused(self, state: WatchState, refused: Refused, now: float) -> WatchStep:
        """The watch goes on with a job that is not cancelled or paused; a job that is not resumed would never end."""
        error = refused.error
        if refused.change == "resume":
            return WatchStep(state, (Finish(self._ended_by(error)),), None)
        if refused.change == "cancel":
            state = replace(state, answered=now, refused_cancel=str(error))
        elif state.wanted == "pause":
            state = replace(state, wanted=None, refused_pause=str(error))
        return WatchStep(state, (), now + self._pause_seconds(state))

    def _pause_seconds(self, state: WatchState) -> float:
        return self.poll_seconds or state.poll_seconds

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

    def _ended_by(self, error: EndpointError) -> EndpointError:
        if isinstance(error, JobNotFound):
            return error
        refused = EndpointError(
            f"{error} Watching job {self.job} ended, the job did not. When this is solved, type: "
            f"luthier tune attach {self.job}"
        )
        refused.__cause__ = error
        return refused

    def _over_budget(self, job: JobState) -> bool:
        cost, budget = self.forecast.cost_usd(job), self.forecast.budget_usd
        return cost is not None and budget is not None and cost > budget

    def _overspent(self, job: JobState, state: WatchState) -> BudgetReached:
        """The error to end with when all epochs of the job cost more than the budget."""
        cost, budget = self.forecast.cost_usd(job), self.forecast.budget_usd
        assert cost is not None and budget is not None
        epochs = job.hyperparameters.get("epochs")
        asked = f"the service chose {epochs} epochs, which cost about {dollars(cost)}"
        if job.quoted_usd is not None:
            asked = f"the service names a price of {dollars(cost)}"
        why = f"{asked}, more than the budget of {dollars(budget)}. Raise --budget, or set tuning.epochs."
        if job.status == "cancelled":
            return BudgetReached(f"job {self.job} was cancelled: {why}")
        unstopped = state.refused_cancel or "it ended before that"
        return BudgetReached(f"job {self.job} {job.said} and could not be cancelled ({unstopped}): {why}")

    def _progress(self, state: WatchState, job: JobState, now: float) -> JobProgress:
        bill = self.bill(state)
        unstopped = "" if state.refused_cancel is None or job.ended else f"not cancelled: {state.refused_cancel}"
        return JobProgress(
            job,
            step=state.step,
            steps=state.steps,
            loss=state.loss,
            tokens=bill.trained_tokens,
            estimated=bill.estimated,
            cost_usd=bill.cost_usd,
            seconds_left=_seconds_left(state, job, now),
            news=job.error or unstopped,
        )


def _wanting(state: WatchState, change: Change, reason: str = "") -> WatchState:
    """The state with a request in it. A request to stop stands above the others."""
    if state.wanted in (change, "cancel"):
        return state
    return replace(state, wanted=change, reason=reason, answered=None, refused_pause=None)


def _is_to_be_asked(state: WatchState, job: JobState, now: float) -> bool:
    """Whether the service is asked for what is wanted: not while it is at it, or has answered just now."""
    if (state.wanted == "pause" and job.status == PAUSING) or (state.wanted == "resume" and job.status != PAUSED):
        return False
    return state.answered is None or now - state.answered >= ASK_AGAIN_SECONDS


def _share(state: WatchState) -> float | None:
    """How much of the job is done; `None` where the service does not say how many steps there are."""
    if state.job is not None and state.job.status == "succeeded":
        return 1.0
    return (state.step or 0) / state.steps if state.steps else None


def _with_events(state: WatchState, events: Sequence[JobEvent]) -> WatchState:
    step, steps, loss, tokens, first = state.step, state.steps, state.loss, state.tokens, state.first
    for event in events:
        steps = event.total_steps or steps
        if event.step is None:
            continue
        step = max(step or 0, event.step)
        loss = next((event.metrics[name] for name in LOSSES if name in event.metrics), loss)
        tokens = max(tokens or 0, round(event.metrics[TOKENS])) if TOKENS in event.metrics else tokens
        first = first or (event.created, event.step)
    known = state.known | {event.id for event in events}
    return replace(state, known=known, step=step, steps=steps, loss=loss, tokens=tokens, first=first)


def _seconds_left(state: WatchState, job: JobState, now: float) -> float | None:
    if job.estimated_finish is not None:
        return max(0.0, job.estimated_finish - now)
    seconds_a_step = _seconds_a_step(state, now)
    if seconds_a_step is None or state.steps is None or state.step is None:
        return None
    return max(0.0, seconds_a_step * (state.steps - state.step))


def _seconds_a_step(state: WatchState, now: float) -> float | None:
    """How long a step takes, since the first that was heard of; `None` before a second one."""
    if state.first is None or state.step is None or state.step <= state.first[1]:
        return None
    return (now - state.first[0]) / (state.step - state.first[1])
