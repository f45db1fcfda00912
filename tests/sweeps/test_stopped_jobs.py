"""Jobs of the embedded server under early stopping: a poor one is cancelled in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest

import luthier as lt
from luthier.sweeps.early_stopping import EarlyStopping, EarlyStoppingSettings
from luthier.sweeps.trial import SweepObjective
from luthier.tuning.job import Job
from luthier.tuning.timing import Timing
from luthier.tuning.watch import StopRequested
from luthier.tuning.watch_driver import WatchedJob, take_turn
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.tuning.conftest import BASE, make_spec

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

MOST_TURNS = 3000
"""Looks at one job, a hundredth of a second apart."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Trains slowly enough for a look to fall between two steps."""
    monkeypatch.setenv("STARS_KEY", KEY)
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    with LocalServer(models=[base], api_key=KEY, training_step_seconds=0.01) as running:
        yield running


def train(job: Job, trial: optuna.Trial, stopping: EarlyStopping, study: optuna.Study) -> WatchedJob:
    """Follows the job to its end and stops it when the verdict says so."""
    timing = Timing(poll_seconds=0.01)
    watched, heard = job.watched(timing=timing), 0
    for _ in range(MOST_TURNS):
        due = take_turn(watched, timing)
        if due is None:
            return watched
        assert watched.state.job is not None and watched.record is not None
        new, heard = watched.record.events[heard:], len(watched.record.events)
        for step, value in stopping.reports(watched.state.job, new, watched.state.steps):
            trial.report(value, step)
        if stopping.verdict(study, trial.number) == "stop":
            watched.request(StopRequested("poor"))
        timing.wait(max(0.0, due - timing.clock()))
    raise AssertionError(f"still {watched.state}")


def test_a_job_that_learns_too_slowly_is_cancelled_and_billed_for_a_part(task: lt.Task, server: LocalServer) -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(startup_trials=2), SweepObjective("weighted_f1", "maximize"))
    study = optuna.create_study(direction="maximize")
    table, validation = reviews(48, seed=8), reviews(40, seed=9)
    for number, (rate, epochs) in enumerate([(0.8, 2), (1.0, 3), (0.001, 4)]):
        tuning = {"epochs": epochs, "batch_size": 4, "learning_rate_multiplier": rate}
        job = lt.tune(make_spec(task, server, tuning=tuning), table, validation, detach=True)
        trial = study.ask()
        watched = train(job, trial, stopping, study)
        assert watched.state.job is not None
        if number < 2:
            assert watched.state.job.status == "succeeded"
            study.tell(trial, 0.9)
    # What the service itself has of it: cancelled, and no step after the one it was cancelled at.
    assert job.tuner.poll(job.id).status == "cancelled"
    last = max(event.step or 0 for event in job.tuner.events(job.id))
    assert 0 < last < 48
    bill = watched.bill
    assert bill.estimated
    assert bill.planned_tokens is not None and watched.state.step is not None
    assert bill.trained_tokens == pytest.approx(bill.planned_tokens * watched.state.step / 48, rel=0.01)
    assert bill.cost_usd is not None and bill.planned_usd is not None
    assert bill.cost_usd < bill.planned_usd
