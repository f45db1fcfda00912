"""Jobs of the embedded server that are stopped, paused and resumed while a driver watches them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import Partial
from luthier.tuning.job import Job
from luthier.tuning.timing import Timing
from luthier.tuning.watch import PauseRequested, ResumeRequested, StopRequested
from luthier.tuning.watch_driver import WatchedJob, take_turn
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.tuning.conftest import BASE, make_spec

pytestmark = pytest.mark.usefixtures("store")

MOST_TURNS = 2000
"""At a hundredth of a second each: no job here trains longer."""


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Its jobs take a second to train."""
    monkeypatch.setenv("STARS_KEY", KEY)
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    with LocalServer(models=[base], api_key=KEY, training_step_seconds=0.02) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    """Real time, with a look every hundredth of a second."""
    return Timing(poll_seconds=0.01)


@pytest.fixture
def job(task: lt.Task, slow_server: LocalServer, timing: Timing) -> Job:
    """50 steps, 25 an epoch."""
    spec = make_spec(task, slow_server, tuning={"epochs": 2, "batch_size": 4})
    table: pd.DataFrame = reviews(100, seed=3)
    return lt.tune(spec, table, detach=True, timing=timing)


def turns(job: WatchedJob, timing: Timing, until_step: int | None = None, until_status: str = "") -> None:
    """Looks until a step or a status was reported, or until the watch has finished."""
    for _ in range(MOST_TURNS):
        due = take_turn(job, timing)
        reached = until_step is not None and (job.state.step or 0) >= until_step
        if due is None or reached or (job.state.job is not None and job.state.job.status == until_status):
            return
        timing.wait(max(0.0, due - timing.clock()))
    raise AssertionError(f"still {job.state}")


def test_a_stopped_job_ends_before_its_last_step_and_is_billed_for_those_it_took(job: Job, timing: Timing) -> None:
    watched = job.watched(timing=timing)
    turns(watched, timing, until_step=5)
    watched.request(StopRequested("its loss is above the median"))
    turns(watched, timing)
    assert watched.error is None
    assert job.tuner.poll(job.id).status == "cancelled"
    bill = watched.bill
    assert watched.state.step is not None and 5 <= watched.state.step < 50
    assert bill.estimated and bill.planned_tokens and bill.trained_tokens
    assert bill.trained_tokens / bill.planned_tokens == pytest.approx(watched.state.step / 50, rel=0.01)
    assert bill.saved_usd == pytest.approx((bill.saved_tokens or 0) * 10 / 1e6)
    with pytest.raises(Partial, match="was cancelled"):
        job.finish(watched, timing=timing)
    assert mlflow.get_run(job.run_id).info.status == "KILLED"


def test_a_cancel_is_asked_for_until_the_service_is_back(job: Job, slow_server: LocalServer, timing: Timing) -> None:
    slow_server.faults.add(Fault("status", status=503, path="cancel", times=2))
    slow_server.faults.add(Fault("done_reset", path="cancel", times=1))
    watched = job.watched(timing=timing)
    watched.request(StopRequested("not wanted"))
    turns(watched, timing)
    assert watched.state.job is not None and watched.state.job.status == "cancelled"
    assert watched.state.refused_cancel is None


def test_a_job_whose_cancel_is_refused_is_watched_to_its_end(
    job: Job, slow_server: LocalServer, timing: Timing
) -> None:
    slow_server.faults.add(Fault("status", status=400, message="jobs are not cancelled here", path="cancel"))
    watched = job.watched(timing=timing)
    watched.request(StopRequested("not wanted"))
    turns(watched, timing)
    assert "jobs are not cancelled here" in (watched.state.refused_cancel or "")
    assert job.finish(watched, timing=timing).state.status == "succeeded"
    assert watched.bill.saved_tokens == 0


def test_a_paused_job_is_resumed_by_another_watch_and_reports_every_step_once(job: Job, timing: Timing) -> None:
    first = job.watched(timing=timing)
    turns(first, timing, until_step=3)
    first.request(PauseRequested())
    turns(first, timing, until_status="paused")
    assert job.tuner.poll(job.id).status == "paused"
    second = replace(job.watched(timing=timing), record=first.record)
    second.request(ResumeRequested())
    turns(second, timing)
    assert job.finish(second, timing=timing).state.status == "succeeded"
    steps = [point.step for point in mlflow.MlflowClient().get_metric_history(job.run_id, "train_loss")]
    assert steps == list(range(1, 51))
