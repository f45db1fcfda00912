"""Watching: everything the service says is in the run, once; a job is never left without an owner."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import BudgetReached, EndpointError, Interrupted, ModelError, Partial, UserError
from luthier.providers.prices import dollars
from luthier.tuning.job_list import list_jobs
from luthier.tuning.job_runs import TUNE_TAGS
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.tune import look_at
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuning_plan import plan_tuning
from luthier.tuning.watch import JobProgress
from luthier.tuning.watch_driver import JobLine
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY, reviews
from tests.patience import PATIENCE_SECONDS
from tests.tuning.conftest import BASE, make_spec

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """Its jobs train until they are told to stop, or nearly; a test may give the seconds it rests after every step."""
    monkeypatch.setenv("STARS_KEY", KEY)
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    seconds = getattr(request, "param", 0.02)
    with LocalServer(models=[base], api_key=KEY, training_step_seconds=seconds) as running:
        yield running


@pytest.fixture
def long(task: lt.Task, slow_server: LocalServer) -> lt.FineTune:
    return make_spec(task, slow_server, tuning={"epochs": 50, "batch_size": 1})


def history(run_id: str, metric: str) -> list[int]:
    return [point.step for point in mlflow.MlflowClient().get_metric_history(run_id, metric)]


def status_of(run_id: str) -> str:
    return str(mlflow.get_run(run_id).info.status)


class Until:
    """A watcher that presses Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def show(self, said: JobProgress) -> None:
        if (said.step or 0) >= self.step:
            raise KeyboardInterrupt


def test_the_run_holds_all_that_was_said(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing, tmp_path: Path
) -> None:
    job = lt.tune(spec, train, reviews(20, seed=9), timing=timing)
    run = mlflow.get_run(job.run_id)
    assert run.info.status == "FINISHED"
    assert history(job.run_id, "train_loss") == list(range(1, 21))
    assert {"valid_loss", "full_valid_loss"} <= set(run.data.metrics)
    assert run.data.params["sent.epochs"] == run.data.params["resolved.epochs"] == "2"
    assert run.data.tags["luthier.job"] == job.id
    assert run.data.tags["luthier.tuned_model"] == job.state.tuned_model
    assert run.data.metrics["trained_tokens"] == job.state.trained_tokens
    assert run.data.metrics["cost_usd"] == pytest.approx((job.state.trained_tokens or 0) * 10 / 1e6)
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {"train", "validation"}
    folder = Path(mlflow.artifacts.download_artifacts(run_id=job.run_id, dst_path=str(tmp_path / "a")))
    events = [json.loads(line) for line in (folder / "tune" / "events.jsonl").read_text().splitlines()]
    assert len({event["id"] for event in events}) == len(events) > 20
    assert [event["created"] for event in events] == sorted(event["created"] for event in events)
    assert len(json.loads((folder / "tune" / "checkpoints.json").read_text())) == 2
    assert list((folder / "tune" / "results").glob("*.csv"))


@pytest.mark.slow
def test_a_watch_that_was_stopped_leaves_the_job_and_the_next_one_has_no_gap(
    long: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    with pytest.raises(Interrupted, match=r"luthier tune attach ftjob-.*luthier tune cancel ftjob-"):
        lt.tune(long, train, timing=timing, watcher=Until(5))
    job = lt.tune(long, train, timing=timing, detach=True)
    assert not job.state.ended
    assert status_of(job.run_id) == "RUNNING"
    before = history(job.run_id, "train_loss")
    with pytest.raises(Interrupted):
        lt.tune(long, train, timing=timing, watcher=Until(before[-1] + 10))
    after = history(job.run_id, "train_loss")
    # Long jobs report every so many steps.
    assert after == list(range(after[0], after[-1] + 1, after[0]))
    assert len(after) > len(before)
    job.cancel(timing=timing)


def test_cancelling_is_confirmed_and_ends_the_run_killed(
    long: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(long, train, detach=True, timing=timing)
    ended = lt.attach_job(job.id).cancel(timing=timing)
    assert ended.state.status == "cancelled"
    assert status_of(job.run_id) == "KILLED"
    with pytest.raises(Partial, match="cancelled.*luthier tune SPEC"):
        lt.attach_job(job.id).watch(timing=timing)


@pytest.mark.slow
def test_a_paused_job_waits_and_goes_on(long: lt.FineTune, train: pd.DataFrame, timing: Timing) -> None:
    job = lt.tune(long, train, detach=True, timing=timing)
    with pytest.raises(Interrupted):
        lt.tune(long, train, timing=timing, watcher=Until(2))
    assert job.pause(timing=timing).state.status == "paused"
    assert job.resume(timing=timing).state.status in ("queued", "running")
    job.cancel(timing=timing)


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_is_asked_again(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    server.faults.add(Fault("status", status=503, path=job.id, times=2))
    server.faults.add(Fault("reset", path=f"{job.id}/events", times=2))
    assert job.watch(timing=timing).state.status == "succeeded"


def test_a_key_that_expires_in_the_middle_ends_the_watch_and_not_the_job(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    server.faults.add(Fault("status", status=401, message=f"expired {KEY}", path=job.id, times=1))
    with pytest.raises(EndpointError, match=f"STARS_KEY.*luthier tune attach {job.id}") as refused:
        job.watch(timing=timing)
    assert KEY not in str(refused.value)
    assert status_of(job.run_id) == "RUNNING"
    assert lt.attach_job(job.id).watch(timing=timing).state.status == "succeeded"
    assert status_of(job.run_id) == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("slow_server", [300.0], indirect=True)
def test_epochs_the_service_chose_may_not_cost_more_than_the_budget(
    task: lt.Task, slow_server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    spec = make_spec(task, slow_server, tuning={})
    with pytest.raises(BudgetReached, match="was cancelled: the service chose"):
        lt.tune(spec, train, timing=timing, budget_usd=0.02)
    (job,) = list_jobs()
    assert job.status == "cancelled"
    assert status_of(job.run_id or "") == "KILLED"


@pytest.mark.slow
@pytest.mark.parametrize("slow_server", [300.0], indirect=True)
def test_a_budget_is_held_by_a_watch_that_is_taken_up_later(
    task: lt.Task, slow_server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    spec = make_spec(task, slow_server, tuning={})
    plan = plan_tuning(spec, train)
    job = submit(plan, budget_usd=0.02, timing=timing)
    with pytest.raises(BudgetReached, match="was cancelled"):
        lt.attach_job(job.id).watch(timing=timing)
    assert status_of(job.run_id) == "KILLED"


@pytest.mark.slow
def test_a_job_nobody_owns_is_listed_and_can_be_taken_over(
    spec: lt.FineTune, train: pd.DataFrame, empty_store: Path, timing: Timing
) -> None:
    import shutil

    first = lt.tune(spec, train, detach=True, timing=timing)
    shutil.copy(str(empty_store), "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/other.db")
    assert spec.endpoint is not None
    (seen,) = list_jobs(tuner_for(spec.endpoint))
    assert (seen.job, seen.owner, seen.run_id) == (first.id, "luthier", None)
    with pytest.raises(ModelError, match="--spec SPEC"):
        lt.attach_job(first.id)
    owned = lt.attach_job(first.id, spec=spec).watch(timing=timing)
    assert owned.state.status == "succeeded"
    (listed,) = list_jobs(tuner_for(spec.endpoint))
    assert (listed.owner, listed.run_id) == ("run", owned.run_id)


def test_a_job_that_does_not_exist_is_named(spec: lt.FineTune, timing: Timing) -> None:
    with pytest.raises(EndpointError, match="no job 'ftjob-nope'"):
        lt.attach_job("ftjob-nope", spec=spec)
    with pytest.raises(EndpointError, match="no job 'ftjob-nope'"):
        look_at("ftjob-nope", spec.endpoint, timing=timing)


@pytest.mark.slow
def test_a_look_writes_nothing_down(spec: lt.FineTune, train: pd.DataFrame, timing: Timing) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    assert look_at(job.id, spec.endpoint, timing=timing).status == "succeeded"
    assert status_of(job.run_id) == "RUNNING"
    assert history(job.run_id, "train_loss") == []


def test_a_look_knows_the_price_of_a_job_that_has_ended(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing, capsys: pytest.CaptureFixture[str]
) -> None:
    job = lt.tune(spec, train, timing=timing)
    capsys.readouterr()
    look_at(job.id, spec.endpoint, timing=timing)
    said = capsys.readouterr().err
    assert job.cost_usd is not None
    assert f"tokens, {dollars(job.cost_usd)}" in said


@pytest.mark.slow
def test_the_result_compares_with_its_checkpoints_on_one_board(
    spec: lt.FineTune, train: pd.DataFrame, table: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, to="stars-tuned.yaml", timing=timing)
    board = lt.compare_checkpoints(job, table)
    assert set(board.frame["name"]) == {"tuned-stars-step-10", "stars-tuned"}


@pytest.mark.slow
def test_the_result_is_packaged_from_its_run(
    spec: lt.FineTune, train: pd.DataFrame, table: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, to="stars-tuned.yaml", timing=timing)
    model = lt.log(f"runs:/{job.run_id}")
    board = lt.compare([lt.read_spec("stars-tuned.yaml"), lt.Baseline(job.base.task, name="b")], table, train=train)
    scored = model.score(table)
    assert scored["label"].tolist() == board.answers("stars-tuned")["label"].tolist()


@pytest.mark.slow
def test_the_line_says_how_far_it_is(spec: lt.FineTune, train: pd.DataFrame, timing: Timing) -> None:
    import io

    written = io.StringIO()
    lt.tune(spec, train, timing=replace(timing, poll_seconds=0.001), watcher=JobLine(written))
    last = written.getvalue().splitlines()[-1]
    assert "succeeded, step 20/20, loss" in last
    assert "tokens, $0.0" in last


def delete_job(folder: Path, job: str) -> None:
    """As if somebody had deleted it at the service."""
    with closing(sqlite3.connect(folder / "jobs.db", timeout=PATIENCE_SECONDS)) as database, database:
        database.execute("delete from jobs where id = ?", (job,))


@pytest.fixture
def kept_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Its folder is known."""
    monkeypatch.setenv("STARS_KEY", KEY)
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    with LocalServer(models=[base], api_key=KEY, folder=tmp_path / "jobs") as running:
        yield running


def test_a_job_deleted_at_the_service_ends_its_run_and_says_what_to_type(
    task: lt.Task, kept_server: LocalServer, train: pd.DataFrame, timing: Timing, tmp_path: Path
) -> None:
    spec = make_spec(task, kept_server)
    assert spec.endpoint is not None
    job = lt.tune(spec, train, detach=True, timing=timing)
    look_at(job.id, spec.endpoint, timing=timing)
    delete_job(tmp_path / "jobs", job.id)
    assert [(one.job, one.status) for one in list_jobs(tuner_for(spec.endpoint))] == [(job.id, "gone from the service")]
    with pytest.raises(EndpointError, match=r"no job.*ended as FAILED.*--again"):
        job.watch(timing=timing)
    assert status_of(job.run_id) == "FAILED"
    assert [one.status for one in list_jobs()] == ["gone"]
    with pytest.raises(EndpointError, match="no job"):
        lt.attach_job(job.id)


@pytest.mark.slow
def test_an_order_whose_job_is_unknown_is_submitted_anew_only_where_that_is_said(
    task: lt.Task, kept_server: LocalServer, train: pd.DataFrame, timing: Timing, tmp_path: Path
) -> None:
    spec = make_spec(task, kept_server)
    first = lt.tune(spec, train, detach=True, timing=timing)
    look_at(first.id, spec.endpoint, timing=timing)
    delete_job(tmp_path / "jobs", first.id)
    with pytest.raises(EndpointError, match=r"(?s)another account.*--again"):
        lt.tune(spec, train, timing=timing)
    second = lt.tune(spec, train, again=True, timing=timing)
    assert second.bought and second.id != first.id
    assert [status_of(job.run_id) for job in (first, second)] == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("by", ["list", "run"])
def test_a_job_whose_order_was_interrupted_is_owned_by_its_run(
    by: str, spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    mlflow.MlflowClient().delete_tag(job.run_id, TUNE_TAGS["job"])
    assert spec.endpoint is not None
    if by == "list":
        (listed,) = list_jobs(tuner_for(spec.endpoint))
        assert (listed.job, listed.owner, listed.run_id) == (job.id, "run", job.run_id)
    found = lt.attach_job(job.id if by == "list" else job.run_id)
    assert (found.id, found.run_id) == (job.id, job.run_id)


def test_a_file_that_could_not_be_written_is_refused_when_attaching(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    with pytest.raises(UserError, match="no folder gone for stars.yaml"):
        lt.attach_job(job.id, to="gone/stars.yaml")
    Path("stars.yaml").write_text("technique: prompt\n")
    with pytest.raises(UserError, match=r"stars\.yaml.*this job"):
        lt.attach_job(job.id, to="stars.yaml")


@pytest.mark.slow
def test_a_run_whose_order_was_never_written_down_says_so(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    for file in Path("mlruns").rglob("intent.json"):
        file.unlink()
    with pytest.raises(ModelError, match=r"luthier tune.*again"):
        lt.attach_job(job.run_id)


@pytest.mark.slow
def test_a_job_that_succeeded_before_it_could_be_cancelled_is_no_cancelled_one(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    look_at(job.id, spec.endpoint, timing=timing)
    with pytest.raises(EndpointError, match="has succeeded and can no longer be cancelled"):
        job.cancel(timing=timing)
    assert status_of(job.run_id) == "FINISHED"


@pytest.mark.slow
def test_a_tracking_store_that_cannot_be_written_ends_the_watch_and_nothing_is_missing_later(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("create trigger full before insert on metrics begin select raise(abort, 'no room'); end")
        with pytest.raises(Partial, match=f"tracking store.*luthier tune attach {job.id}"):
            job.watch(timing=timing)
        database.execute("drop trigger full")
        database.commit()
    lt.attach_job(job.id).watch(timing=timing)
    steps = history(job.run_id, "train_loss")
    assert steps == list(range(1, steps[-1] + 1))
    assert status_of(job.run_id) == "FINISHED"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_tells_neither_events_nor_checkpoints_is_watched_to_the_end(
    status: int, spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    for path in ("/events", "/checkpoints"):
        message = "Invalid URL (GET /v1/fine_tuning/jobs)"
        server.faults.add(Fault("status", status=status, message=message, path=path))
    job = lt.tune(spec, train, timing=timing)
    assert (job.state.status, status_of(job.run_id)) == ("succeeded", "FINISHED")
    assert job.checkpoints() == []


@pytest.mark.slow
def test_a_key_that_may_not_read_checkpoints_loses_nothing_else(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.add(Fault("status", status=403, message="Missing scopes: api.fine_tuning", path="/checkpoints"))
    job = lt.tune(spec, train, timing=timing)
    assert (job.state.status, status_of(job.run_id)) == ("succeeded", "FINISHED")
    assert "its checkpoints are not kept" in caplog.text


def test_a_route_that_is_gone_is_not_taken_for_a_job_that_is(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    job = lt.tune(spec, train, detach=True, timing=timing)
    message = f"Invalid URL (GET /v1/fine_tuning/jobs/{job.id})"
    server.faults.add(Fault("status", status=404, message=message, path=job.id, method="GET"))
    with pytest.raises(EndpointError, match=f"luthier tune attach {job.id}"):
        job.watch(timing=timing)
    assert status_of(job.run_id) == "RUNNING"


@pytest.mark.slow
def test_a_job_over_its_budget_is_cancelled_though_the_service_is_away_for_a_moment(
    task: lt.Task, slow_server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    spec = make_spec(task, slow_server, tuning={})
    slow_server.faults.add(Fault("status", status=503, path="cancel", times=2))
    with pytest.raises(BudgetReached, match="was cancelled: the service chose"):
        lt.tune(spec, train, timing=timing, budget_usd=0.05)
    (listed,) = list_jobs()
    assert (listed.status, status_of(str(listed.run_id))) == ("cancelled", "KILLED")


@pytest.mark.slow
def test_several_who_watch_one_job_write_everything_once_and_neither_falls_over(
    task: lt.Task, slow_server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    spec = make_spec(task, slow_server, tuning={"epochs": 10, "batch_size": 1})
    job = lt.tune(spec, train.head(12), timing=timing, detach=True)
    watches = [lt.attach_job(job.id) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ended = [
            watch.result() for watch in [pool.submit(one.watch, timing=timing, watcher=Quiet()) for one in watches]
        ]
    assert {one.state.status for one in ended} == {"succeeded"}
    steps = history(job.run_id, "train_loss")
    assert sorted(steps) == sorted(set(steps))
    assert status_of(job.run_id) == "FINISHED"


class Quiet:
    """Looks on."""

    def show(self, said: JobProgress) -> None:
        pass
