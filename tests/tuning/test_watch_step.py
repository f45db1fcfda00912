"""A watch without I/O: what follows from each answer of a service, on a clock that only the test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest

from luthier.errors import BudgetReached, EndpointError, Partial
from luthier.tuning.timing import Timing
from luthier.tuning.tuners.tuner import JobEvent, JobNotFound, JobState, ServiceUnavailable
from luthier.tuning.watch import (
    Accepted,
    Ask,
    CostForecast,
    Finish,
    Keep,
    Looked,
    PauseRequested,
    Refused,
    ResumeRequested,
    Show,
    StopRequested,
    Watch,
    WatchAction,
    WatchEvent,
    WatchState,
)
from luthier.tuning.watch_driver import WatchDriver, WatchedJob, take_turn

RUNNING = JobState("ftjob-1", "running", "base", hyperparameters={"epochs": 4})
SUCCEEDED = replace(RUNNING, status="succeeded", tuned_model="ft:base", trained_tokens=4000)

A_DOLLAR_A_TOKEN = CostForecast(lambda model, tokens, epochs: float(tokens * (epochs or 1)), tokens=1000)
WATCH = Watch("ftjob-1", A_DOLLAR_A_TOKEN)


def after(
    events: Sequence[WatchEvent], watch: Watch = WATCH, state: WatchState | None = None
) -> tuple[WatchState, list[WatchAction], list[float]]:
    """The state, all actions and all pauses of a watch whose looks end so, each made when it is due."""
    state, now = state or WatchState(), 100.0
    actions: list[WatchAction] = []
    pauses: list[float] = []
    for event in events:
        state, done, due = watch.step(state, [event], now)
        actions += done
        if due is not None:
            pauses.append(due - now)
            now = due
    return state, actions, pauses


def step(number: int, of: int = 10) -> JobEvent:
    return JobEvent(f"e{number}", 100.0 + number, f"step {number}", number, {"train_loss": 1 / number}, of)


def test_polls_start_at_half_a_second_and_grow_to_fifteen() -> None:
    _, _, pauses = after([Looked(RUNNING)] * 20)
    assert pauses[:3] == pytest.approx([0.5, 0.65, 0.845])
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15.0


def test_a_job_that_waited_for_its_turn_is_looked_at_closely_once_it_trains() -> None:
    queued = replace(RUNNING, status="queued")
    _, _, pauses = after([Looked(queued)] * 20 + [Looked(RUNNING)] * 2)
    assert pauses[19] == 15.0
    assert pauses[20:] == pytest.approx([0.5, 0.65])


def test_a_poll_that_was_asked_for_does_not_grow() -> None:
    _, _, pauses = after([Looked(RUNNING)] * 5, replace(WATCH, poll_seconds=2.0))
    assert pauses == [2.0] * 5


def test_a_job_that_tells_its_steps_is_looked_at_twenty_times_at_least() -> None:
    # A step takes a second, so a twentieth of the hundred takes five.
    looks = [Looked(RUNNING, [step(number, of=100)]) for number in range(1, 60)]
    pauses: list[float] = []
    state = WatchState()
    for look in looks:
        now = look.events[0].created
        state, _, due = WATCH.step(state, [look], now)
        assert due is not None
        pauses.append(due - now)
    assert max(pauses) == pytest.approx(5.0)


def test_what_was_heard_is_kept_before_it_is_shown_and_told_once() -> None:
    state, actions, _ = after([Looked(RUNNING, [step(1)]), Looked(RUNNING, [step(2)])])
    assert [type(action) for action in actions] == [Keep, Show, Keep, Show]
    assert state.known == {"e1", "e2"}
    shown = actions[-1]
    assert isinstance(shown, Show)
    assert (shown.progress.step, shown.progress.steps, shown.progress.loss) == (2, 10, 0.5)


def test_progress_says_tokens_price_and_the_time_that_is_left() -> None:
    _, actions, _ = after([Looked(RUNNING, [step(1), step(5)])])
    shown = actions[-1]
    assert isinstance(shown, Show)
    # Half of four epochs of 1,000 tokens; from step 1 at second 101 to step 5 at second 105 is a second a step.
    assert (shown.progress.tokens, shown.progress.cost_usd) == (2000, 2000.0)
    later = WATCH.step(WatchState(), [Looked(RUNNING, [step(1), step(5)])], 105.0).actions[-1]
    assert isinstance(later, Show)
    assert later.progress.seconds_left == pytest.approx(5.0)


def test_an_ended_job_finishes_the_watch() -> None:
    end = WATCH.step(WatchState(), [Looked(SUCCEEDED)], 100.0)
    assert end.actions[-1] == Finish(None)
    assert end.due is None


def test_a_watch_may_end_before_the_job_does() -> None:
    until_paused = replace(WATCH, until=lambda job: job.status == "paused")
    assert until_paused.step(WatchState(), [Looked(RUNNING)], 100.0).due is not None
    assert until_paused.step(WatchState(), [Looked(replace(RUNNING, status="paused"))], 100.0).due is None


def test_an_unavailable_service_is_asked_again_after_twice_the_time_and_no_longer_than_an_hour() -> None:
    away = ServiceUnavailable("status 503")
    _, actions, pauses = after([away] * 66)
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert sum(pauses) >= 3600 > sum(pauses[:-1])
    end = actions[-1]
    assert isinstance(end, Finish)
    assert isinstance(end.error, Partial)
    assert "status 503" in str(end.error)
    assert "luthier tune attach ftjob-1" in str(end.error)


def test_patience_starts_anew_with_every_answer() -> None:
    away = ServiceUnavailable("status 503")
    state, actions, pauses = after([*[away] * 60, Looked(RUNNING), away])
    assert pauses[-1] == 1.0
    assert state.unanswered_seconds == 1.0
    said = actions[-1]
    assert isinstance(said, Show)
    assert "asking again in 1 s" in said.progress.news


def test_a_refusal_ends_the_watch_and_says_how_to_go_on() -> None:
    end = WATCH.step(WatchState(), [EndpointError("the key has expired.")], 100.0)
    (finish,) = end.actions
    assert isinstance(finish, Finish)
    assert "the key has expired" in str(finish.error)
    assert "luthier tune attach ftjob-1" in str(finish.error)
    gone = JobNotFound("no job 'ftjob-1'")
    assert WATCH.step(WatchState(), [gone], 100.0).actions == (Finish(gone),)


def test_a_job_over_its_budget_is_cancelled_until_the_service_accepts_and_watched_until_it_has_ended() -> None:
    held = replace(WATCH, forecast=replace(A_DOLLAR_A_TOKEN, budget_usd=3999.0))
    state, actions, _ = after([Looked(RUNNING), Looked(RUNNING)], held)
    assert [type(action) for action in actions].count(Ask) == 2
    state, actions, pauses = after([Accepted("cancel"), Looked(RUNNING)], held, state)
    assert Ask("cancel") not in actions
    assert all(pause < 15 for pause in pauses)
    _, actions, _ = after([Looked(replace(RUNNING, status="cancelled"))], held, state)
    end = actions[-1]
    assert isinstance(end, Finish)
    assert isinstance(end.error, BudgetReached)
    assert "4 epochs" in str(end.error)


def test_a_job_within_its_budget_or_of_unknown_price_goes_on() -> None:
    within = replace(WATCH, forecast=replace(A_DOLLAR_A_TOKEN, budget_usd=4000.0))
    unknown = replace(WATCH, forecast=CostForecast(lambda *_: None, tokens=1000, budget_usd=1.0))
    auto = Looked(replace(RUNNING, hyperparameters={"epochs": "auto"}))
    for watch, event in ((within, Looked(RUNNING)), (unknown, Looked(RUNNING)), (within, auto)):
        assert Ask("cancel") not in watch.step(WatchState(), [event], 100.0).actions


def asked(actions: Sequence[WatchAction]) -> list[str]:
    return [action.change for action in actions if isinstance(action, Ask)]


def test_a_job_that_is_to_stop_is_cancelled_with_every_look_until_the_service_accepts() -> None:
    _, actions, _ = after([StopRequested("loss"), Looked(RUNNING), ServiceUnavailable("status 503"), Looked(RUNNING)])
    assert asked(actions) == ["cancel", "cancel"]
    state, actions, pauses = after([StopRequested("loss"), Accepted("cancel"), *[Looked(RUNNING)] * 10])
    # The confirmation is looked for at once, then as often as at first.
    assert pauses[:4] == pytest.approx([0, 0, 0.5, 0.65])
    assert (asked(actions), state.reason) == ([], "loss")
    _, actions, _ = after([Looked(replace(RUNNING, status="cancelled"))], state=state)
    assert actions[-1] == Finish(None)


def test_a_job_that_the_service_does_not_cancel_is_watched_to_its_end() -> None:
    refused = Refused("cancel", EndpointError("a job that is nearly done cannot be cancelled."))
    state, actions, pauses = after([StopRequested("loss"), Looked(RUNNING), refused, Looked(RUNNING)])
    assert asked(actions) == ["cancel"]
    assert all(pause > 0 for pause in pauses[1:])
    said = actions[-1]
    assert isinstance(said, Show)
    assert "not cancelled: a job that is nearly done" in said.progress.news
    end = WATCH.step(state, [Looked(SUCCEEDED)], 100.0)
    assert end.actions[-1] == Finish(None)
    assert end.state.refused_cancel == "a job that is nearly done cannot be cancelled."


@pytest.mark.parametrize("answer", [Accepted("cancel"), Refused("cancel", EndpointError("files are validated."))])
def test_a_service_that_does_not_cancel_is_asked_again_after_a_minute(answer: WatchEvent) -> None:
    now_and_then = replace(WATCH, poll_seconds=20.0)
    state, _, _ = after([StopRequested("loss"), answer], now_and_then)
    _, actions, _ = after([Looked(RUNNING)] * 3, now_and_then, state)
    assert asked(actions) == []
    _, actions, _ = after([Looked(RUNNING)] * 4, now_and_then, state)
    assert asked(actions) == ["cancel"]
    ended, _, _ = after([Looked(replace(RUNNING, status="cancelled"))], state=state)
    assert ended.refused_cancel is None


def test_a_job_over_its_budget_that_is_not_cancelled_says_so_at_its_end() -> None:
    held = replace(WATCH, forecast=replace(A_DOLLAR_A_TOKEN, budget_usd=3999.0))
    refused = Refused("cancel", EndpointError("not any more"))
    _, actions, _ = after([Looked(RUNNING), refused, Looked(SUCCEEDED)], held)
    end = actions[-1]
    assert isinstance(end, Finish)
    assert isinstance(end.error, BudgetReached)
    assert "has succeeded and could not be cancelled (not any more)" in str(end.error)


def test_a_paused_job_is_watched_on_and_may_be_resumed() -> None:
    paused = replace(RUNNING, status="paused")
    pausing = replace(RUNNING, status="pausing")
    events: list[WatchEvent] = [PauseRequested(), Looked(RUNNING), Accepted("pause"), Looked(pausing), Looked(paused)]
    state, actions, pauses = after([*events, Looked(paused)])
    assert asked(actions) == ["pause"]
    assert state.wanted is None
    assert pauses[-1] > 0
    events = [ResumeRequested(), Looked(paused), Accepted("resume"), Looked(paused), Looked(RUNNING)]
    for begun in (WatchState(), state):
        resumed, actions, _ = after(events, state=begun)
        assert asked(actions) == ["resume"]
        assert resumed.wanted is None
        assert Finish(None) not in actions


def test_a_request_to_stop_stands_above_one_to_pause() -> None:
    _, actions, _ = after([PauseRequested(), StopRequested("loss"), PauseRequested(), Looked(RUNNING)])
    assert asked(actions) == ["cancel"]
    _, actions, _ = after([StopRequested("loss"), Looked(replace(RUNNING, status="paused"))])
    assert asked(actions) == ["cancel"]


def test_a_job_that_the_service_does_not_pause_goes_on() -> None:
    refused = Refused("pause", EndpointError("no step was taken yet."))
    state, actions, _ = after([PauseRequested(), Looked(RUNNING), refused, Looked(RUNNING), Looked(RUNNING)])
    assert asked(actions) == ["pause"]
    assert state.refused_pause == "no step was taken yet."


def test_a_job_that_the_service_does_not_resume_ends_the_watch() -> None:
    refused = Refused("resume", EndpointError("the account is suspended."))
    _, actions, _ = after([ResumeRequested(), Looked(replace(RUNNING, status="paused")), refused])
    end = actions[-1]
    assert isinstance(end, Finish)
    assert "the account is suspended" in str(end.error)


def test_the_bill_of_a_stopped_job_follows_from_its_last_step_unless_the_service_says_it() -> None:
    cancelled = replace(RUNNING, status="cancelled")

    def bill(*events: WatchEvent) -> tuple[object, ...]:
        found = WATCH.bill(after(events)[0])
        return (found.trained_tokens, found.saved_tokens, found.estimated, found.cost_usd, found.saved_usd)

    assert bill(Looked(RUNNING, [step(3)]), Looked(cancelled)) == (1200, 2800, True, 1200.0, 2800.0)
    assert bill(Looked(RUNNING, [step(3)]), Looked(replace(cancelled, trained_tokens=1300)))[:3] == (1300, 3033, False)
    # The service counted 100 tokens a step where 400 were estimated.
    counted = [replace(step(3), metrics={"elapsed_tokens": 300.0})]
    assert bill(Looked(RUNNING, counted), Looked(cancelled))[:3] == (300, 700, True)
    # A job that never trained is not paid for; of one that trained unheard nothing is known.
    assert bill(Looked(replace(RUNNING, status="queued")), Looked(cancelled)) == (0, 4000, True, 0.0, 4000.0)
    assert bill(Looked(RUNNING), Looked(cancelled)) == (None, None, False, None, None)
    assert bill(Looked(SUCCEEDED)) == (4000, 0, False, 4000.0, 0.0)


@dataclass
class Clock:
    """Passes only where something waits."""

    now: float = 100.0
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@dataclass
class Scripted:
    """A service of many jobs: each ends after so many seconds, and the service is unavailable now and then."""

    clock: Clock
    lasts: dict[str, float]
    asked: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    place = "scripted"

    def poll(self, job: str) -> JobState:
        self.asked[job] += 1
        if self.asked[job] % 7 == 3:
            raise ServiceUnavailable("status 503")
        if job == "job-13":
            raise EndpointError("the key has expired.")
        over = self.clock.now - 100.0 >= self.lasts[job] or job in self.cancelled
        ended = "cancelled" if job in self.cancelled else "succeeded"
        return JobState(job, ended if over else "running", "base", hyperparameters={"epochs": 2})

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        told = [JobEvent(f"{job}-{n}", 100.0 + n, "step", n) for n in range(int(self.clock.now - 100.0))]
        return [event for event in told if event.id not in known]

    def cancel(self, job: str) -> JobState:
        self.cancelled.add(job)
        return JobState(job, "running", "base")


def test_one_driver_watches_fifty_jobs_each_in_its_own_time() -> None:
    clock = Clock()
    service = Scripted(clock, {f"job-{n}": 10.0 * n for n in range(50)})
    driver = WatchDriver(Timing(wait=clock.wait, clock=clock.clock))
    dear = CostForecast(lambda model, tokens, epochs: 5.0, tokens=1000, budget_usd=4.0)
    cheap = CostForecast(lambda *_: 0.0)
    for name in service.lasts:
        driver.add(WatchedJob(service, Watch(name, dear if name == "job-40" else cheap)))  # type: ignore[arg-type]
    seen = {one.watch.job: (one, clock.now - 100.0) for one in driver.ended()}

    assert set(seen) == set(service.lasts)
    failed = {name: type(one.error) for name, (one, _) in seen.items() if one.error is not None}
    assert failed == {"job-13": EndpointError, "job-40": BudgetReached}
    assert service.cancelled == {"job-40"}
    # Each is seen to end within its longest pause of 15 s and one back-off of 1 s, whatever the others do.
    late = {name: at - service.lasts[name] for name, (_, at) in seen.items() if name not in failed}
    assert all(0 <= seconds <= 16 for seconds in late.values()), late
    # Nobody is asked more often than alone: 490 s of polls that grow to 15 s are fewer than 60.
    assert max(service.asked.values()) < 60
    assert all(pause > 0 for pause in clock.waits)


def test_a_request_is_part_of_the_next_turn() -> None:
    clock = Clock()
    service = Scripted(clock, {"job-1": 1000.0})
    job = WatchedJob(service, Watch("job-1", CostForecast(lambda *_: 0.0)))  # type: ignore[arg-type]
    timing = Timing(wait=clock.wait, clock=clock.clock)
    assert take_turn(job, timing) is not None
    job.request(StopRequested("loss"))
    # The turn asks for the cancellation, and then looks for its confirmation.
    assert take_turn(job, timing) == clock.now
    assert service.cancelled == {"job-1"}
    while take_turn(job, timing) is not None:
        pass
    assert job.error is None
    assert job.state.job is not None and job.state.job.status == "cancelled"


def test_a_job_may_be_added_when_another_has_ended() -> None:
    clock = Clock()
    service = Scripted(clock, {"job-1": 1.0, "job-2": 2.0})
    driver = WatchDriver(Timing(wait=clock.wait, clock=clock.clock))
    driver.add(WatchedJob(service, Watch("job-1", CostForecast(lambda *_: 0.0))))  # type: ignore[arg-type]
    names = []
    for one in driver.ended():
        names.append(one.watch.job)
        if one.watch.job == "job-1":
            driver.add(WatchedJob(service, Watch("job-2", CostForecast(lambda *_: 0.0))))  # type: ignore[arg-type]
    assert names == ["job-1", "job-2"]


def test_the_price_a_service_names_holds_against_the_budget_whatever_its_tokens_cost() -> None:
    quoted = replace(RUNNING, quoted_usd=12.5)
    held = replace(WATCH, forecast=CostForecast(lambda *_: None, tokens=1000, budget_usd=12.0))
    cancelled = replace(quoted, status="cancelled")
    _, actions, _ = after([Looked(quoted), Accepted("cancel"), Looked(cancelled)], held)
    ended = actions[-1]
    assert isinstance(ended, Finish)
    assert "names a price of $12.50, more than the budget of $12.00" in str(ended.error)


def test_a_job_of_a_named_price_costs_its_share_of_the_steps_or_all_of_it_once_it_has_succeeded() -> None:
    unpriced = replace(WATCH, forecast=CostForecast(lambda *_: None, tokens=1000))
    quoted = replace(RUNNING, quoted_usd=12.0)
    state, _, _ = after([Looked(quoted, [step(5)])], unpriced)
    assert unpriced.bill(state).cost_usd == pytest.approx(6.0)
    state, _, _ = after([Looked(replace(quoted, status="succeeded"))], unpriced)
    assert unpriced.bill(state).cost_usd == 12.0
