"""A job is bought once: whatever is lost on the way, the same call finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import BudgetReached, EndpointError, SpecError, UserError
from luthier.tuning.job_runs import TUNE_TAGS, tune_runs
from luthier.tuning.timing import Timing
from luthier.tuning.tune import look_at
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.openai import OpenAITuner
from luthier.tuning.tuners.tuner import JobState, Submission
from luthier.tuning.tuning_plan import plan_tuning
from luthier_local import Fault, LocalServer
from tests.conftest import reviews
from tests.tuning.conftest import BASE, make_spec

pytestmark = pytest.mark.usefixtures("store")

Jobs = Callable[[], list[str]]
ORDERS = '"method"'
"""Stands in the body of an order and not in that of the question whether one would be taken."""
LONG_STEP_SECONDS = 0.02
"""Jobs of 4,000 steps take more than a minute then, so that every machine meets them in the middle."""


@pytest.fixture
def held_out() -> pd.DataFrame:
    return reviews(20, seed=9)


def submit(spec: lt.FineTune, train: pd.DataFrame, timing: Timing, **settings: object) -> lt.Job:
    return lt.tune(spec, train, detach=True, timing=timing, **settings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_same_call_finds_its_job(
    spec: lt.FineTune, train: pd.DataFrame, held_out: pd.DataFrame, jobs_at: Jobs, timing: Timing
) -> None:
    first = lt.tune(spec, train, held_out, timing=timing)
    second = lt.tune(spec, train, held_out, timing=timing)
    assert (first.bought, second.bought) == (True, False)
    assert second.id == first.id
    assert second.run_id == first.run_id
    assert len(jobs_at()) == 1


@pytest.mark.slow
def test_another_way_of_decoding_is_the_same_job(
    spec: lt.FineTune, task: lt.Task, server: LocalServer, train: pd.DataFrame, jobs_at: Jobs, timing: Timing
) -> None:
    submit(spec, train, timing)
    submit(make_spec(task, server, decoding={"temperature": 1.0}, name="warmer"), train, timing)
    assert len(jobs_at()) == 1


@pytest.mark.slow
def test_another_hyperparameter_is_another_job(
    spec: lt.FineTune, task: lt.Task, server: LocalServer, train: pd.DataFrame, jobs_at: Jobs, timing: Timing
) -> None:
    submit(spec, train, timing)
    submit(make_spec(task, server, tuning={"epochs": 3}), train, timing)
    submit(spec, train.head(40), timing)
    assert len(jobs_at()) == 3


def test_an_answer_that_is_lost_does_not_buy_a_second_job(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("done_reset", path="fine_tuning/jobs", contains=ORDERS, times=1))
    job = submit(spec, train, timing)
    assert jobs_at() == [job.id]


@pytest.mark.slow
def test_an_order_that_was_not_taken_is_sent_again(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=503, path="fine_tuning/jobs", contains=ORDERS, times=2))
    job = submit(spec, train, timing)
    assert jobs_at() == [job.id]


@pytest.mark.slow
def test_an_order_that_never_gets_an_answer_stays_open_and_the_same_call_goes_on(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=500, path="fine_tuning/jobs", contains=ORDERS, times=3))
    with pytest.raises(EndpointError, match="same command again"):
        submit(spec, train, timing)
    (run,) = tune_runs()
    assert run.pending
    job = submit(spec, train, timing)
    assert job.run_id == run.run_id
    assert jobs_at() == [job.id]


@pytest.mark.slow
def test_a_lost_tracking_store_does_not_buy_a_second_job(
    spec: lt.FineTune, train: pd.DataFrame, empty_store: object, jobs_at: Jobs, timing: Timing
) -> None:
    import shutil

    first = submit(spec, train, timing)
    shutil.copy(str(empty_store), "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/other.db")
    second = submit(spec, train, timing)
    assert (second.id, second.bought) == (first.id, False)
    assert len(jobs_at()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("server", [LONG_STEP_SECONDS], indirect=True)
def test_after_a_cancelled_job_the_same_call_submits_a_new_one(
    spec: lt.FineTune, train: pd.DataFrame, jobs_at: Jobs, timing: Timing, task: lt.Task, server: LocalServer
) -> None:
    long = make_spec(task, server, tuning={"epochs": 50, "batch_size": 1})
    first = submit(long, train, timing).cancel(timing=timing)
    assert first.state.status == "cancelled"
    second = submit(long, train, timing)
    second.cancel(timing=timing)
    assert second.bought
    assert second.id != first.id
    assert second.run_id != first.run_id


@pytest.mark.slow
@pytest.mark.parametrize("server", [LONG_STEP_SECONDS], indirect=True)
def test_again_submits_another_job_only_once_the_last_has_ended(
    spec: lt.FineTune, train: pd.DataFrame, jobs_at: Jobs, timing: Timing, task: lt.Task, server: LocalServer
) -> None:
    long = make_spec(task, server, tuning={"epochs": 50, "batch_size": 1})
    alive = submit(long, train, timing)
    assert submit(long, train, timing, again=True).id == alive.id
    alive.cancel(timing=timing)
    done = lt.tune(spec, train, timing=timing)
    anew = lt.tune(spec, train, timing=timing, again=True)
    assert anew.id != done.id
    assert len(jobs_at()) == 3


@pytest.mark.slow
def test_the_result_of_an_order_that_was_interrupted_is_kept_though_another_was_wanted_meanwhile(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    first = submit(spec, train, timing)
    assert spec.endpoint is not None
    look_at(first.id, spec.endpoint, timing=timing)
    mlflow.MlflowClient().delete_tag(first.run_id, TUNE_TAGS["job"])
    second = lt.tune(spec, train, timing=timing, again=True)
    assert second.id != first.id
    kept = lt.attach_job(first.id).watch(timing=timing)
    run = mlflow.get_run(first.run_id)
    assert (kept.run_id, run.info.status) == (first.run_id, "FINISHED")
    assert run.data.metrics["trained_tokens"] == kept.state.trained_tokens


@pytest.mark.slow
def test_files_that_are_there_are_not_uploaded_again(
    spec: lt.FineTune, train: pd.DataFrame, held_out: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    lt.tune(spec, train, held_out, timing=timing)
    lt.tune(spec, train, held_out, timing=timing, again=True)
    assert server.received.by_path.get("files", 0) == 2


def test_an_account_that_may_not_is_told_before_anything_is_uploaded_and_nothing_is_written(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    server.faults.add(Fault("closed", path="fine_tuning/jobs", method="POST"))
    with pytest.raises(EndpointError, match=r"fine-tuning.*closed.*provider: local"):
        submit(spec, train, timing)
    assert server.received.by_path.get("files", 0) == 0
    assert mlflow.get_experiment_by_name("stars") is None


@pytest.mark.slow
def test_a_model_that_cannot_be_tuned_is_named_with_those_that_can(
    task: lt.Task, server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    spec = make_spec(task, server)
    assert spec.endpoint is not None
    elsewhere = spec.with_endpoint(spec.endpoint.model_copy(update={"model": "stars-model"}))
    with pytest.raises(EndpointError, match=r"stars-model.*fine-tuning.*tunable-base"):
        submit(elsewhere, train, timing)


@pytest.mark.slow
def test_a_server_without_fine_tuning_is_named(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=404, message="Not Found", path="fine_tuning/jobs"))
    with pytest.raises(EndpointError, match="does not offer"):
        submit(spec, train, timing)


def test_the_intent_is_written_before_anything_is_uploaded(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=400, message="no room", path="files", method="POST"))
    with pytest.raises(EndpointError, match="no room"):
        submit(spec, train, timing)
    (run,) = tune_runs()
    assert (run.job, run.sent) == (None, None)
    assert run.token.startswith(run.digest[:16])
    assert run.submission()["preflight"]["train"]["rows"] == 80
    assert run.spec() == spec


def test_a_file_that_is_refused_ends_its_run_with_the_services_word(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=400, message="line 3 is bad", path="files", method="POST", times=1))
    with pytest.raises(EndpointError, match="line 3 is bad"):
        submit(spec, train, timing)
    (run,) = tune_runs()
    assert (run.status, run.job_status) == ("FAILED", "refused")
    assert "line 3 is bad" in mlflow.get_run(run.run_id).data.tags["luthier.job_error"]
    job = submit(spec, train, timing)
    assert job.run_id != run.run_id
    assert jobs_at() == [job.id]


class AtTheSameMoment(OpenAITuner):
    """Another machine sends the same order right before this one."""

    def submit(self, submission: Submission) -> JobState:
        super().submit(submission)
        return super().submit(submission)


@pytest.mark.slow
@pytest.mark.parametrize("server", [LONG_STEP_SECONDS], indirect=True)
def test_of_two_machines_that_order_at_the_same_moment_one_job_is_left(
    task: lt.Task, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    spec = make_spec(task, server, tuning={"epochs": 50, "batch_size": 1})
    assert spec.endpoint is not None
    tuner = AtTheSameMoment(spec.endpoint)
    job = submit(spec, train, timing, tuner=tuner)
    younger, older = jobs_at()
    assert job.id == older
    assert tuner.poll(younger).status == "cancelled"
    assert submit(spec, train, timing).id == older
    job.cancel(timing=timing)


@pytest.mark.slow
def test_a_job_that_turns_up_after_its_order_was_refused_is_taken_over(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    """The first try is taken though it seems lost, and the second is refused for the key."""
    server.faults.add(Fault("status", status=500, path="fine_tuning/jobs", contains=ORDERS, times=1))
    server.faults.add(Fault("status", status=401, path="fine_tuning/jobs", contains=ORDERS, times=1))
    with pytest.raises(EndpointError, match="401"):
        submit(spec, train, timing)
    (run,) = tune_runs()
    check = plan_tuning(spec, train).check
    tuner = tuner_for(spec.endpoint)  # type: ignore[arg-type]
    file = tuner.upload(check.train.name, check.train.content)
    late = tuner.submit(Submission(BASE, file, None, spec.tuning.hyperparameters, 7, None, run.token))
    job = submit(spec, train, timing)
    assert (job.id, job.bought) == (late.id, False)
    assert jobs_at() == [late.id]


@pytest.mark.slow
def test_a_job_is_found_among_more_than_a_page_of_others(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    first = submit(spec, train, timing)
    assert spec.endpoint is not None
    tuner = tuner_for(spec.endpoint)
    for number in range(101):
        tuner.cancel(tuner.submit(Submission(BASE, first.state.files[0], None, {}, 7, None, f"other-{number}")).id)
    (found,) = tuner.find(first.run.token)
    assert found.id == first.id


@pytest.mark.slow
def test_an_order_whose_process_died_before_it_was_written_down_whole_goes_on(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=503, path="files", method="POST", times=5))
    with pytest.raises(EndpointError):
        submit(spec, train, timing)
    (run,) = tune_runs()
    intent = Path(mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path="tune/intent.json"))
    intent.unlink()
    job = submit(spec, train, timing)
    assert job.run_id == run.run_id
    assert lt.attach_job(job.id).base == spec


@pytest.mark.slow
def test_an_order_that_is_refused_ends_its_run(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("status", status=400, message="too many jobs", path="fine_tuning/jobs", contains=ORDERS))
    with pytest.raises(EndpointError, match="too many jobs"):
        submit(spec, train, timing)
    (run,) = tune_runs()
    assert run.status == "FAILED"
    assert jobs_at() == []


def test_a_price_above_the_budget_uploads_nothing(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, timing: Timing
) -> None:
    with pytest.raises(BudgetReached, match="Nothing was uploaded"):
        submit(spec, train, timing, budget_usd=0.0001)
    assert server.received.by_path.get("files", 0) == 0


def test_where_the_service_chooses_the_epochs_a_budget_is_held_by_watching(
    task: lt.Task, server: LocalServer, train: pd.DataFrame, timing: Timing
) -> None:
    """One epoch costs about 1.8 cents."""
    left_to_it = make_spec(task, server, tuning={})
    with pytest.raises(UserError, match="only a watch can stop"):
        submit(left_to_it, train, timing, budget_usd=0.03)
    with pytest.raises(BudgetReached, match="one epoch alone"):
        submit(left_to_it, train, timing, budget_usd=0.01)
    assert server.received.by_path.get("files", 0) == 0


def test_a_budget_for_an_unknown_price_says_where_to_put_it(
    spec: lt.FineTune, train: pd.DataFrame, timing: Timing
) -> None:
    assert spec.endpoint is not None
    unpriced = spec.with_endpoint(spec.endpoint.model_copy(update={"price": None}))
    with pytest.raises(UserError, match="training_usd_per_million"):
        submit(unpriced, train, timing, budget_usd=5)


@pytest.mark.parametrize(
    ("tuning", "says"), [({"epochs": 51}, "1 to 50"), ({"batch_size": 257}, "1 to 256")], ids=["epochs", "batch"]
)
def test_hyperparameters_out_of_bounds_are_refused_with_the_bounds(
    task: lt.Task, server: LocalServer, train: pd.DataFrame, timing: Timing, tuning: dict[str, int], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        submit(make_spec(task, server, tuning=tuning), train, timing)


def test_another_technique_cannot_be_tuned(task: lt.Task, train: pd.DataFrame, timing: Timing) -> None:
    with pytest.raises(SpecError, match="technique: fine-tune"):
        lt.tune(lt.Baseline(task, name="b"), train, timing=timing)


@pytest.mark.slow
def test_while_the_service_cannot_say_whether_the_job_exists_no_second_one_is_ordered(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    server.faults.add(Fault("done_reset", path="fine_tuning/jobs", contains=ORDERS, times=1))
    # The plan and the submission look once each; from then on the list is away.
    server.faults.add(Fault("status", status=503, path="fine_tuning/jobs", method="GET", nth=range(3, 100)))
    with pytest.raises(EndpointError, match="same command again"):
        submit(spec, train, timing)
    server.faults.clear()
    assert submit(spec, train, timing).id in jobs_at()
    assert len(jobs_at()) == 1


@pytest.mark.slow
def test_an_order_that_was_under_way_when_its_process_died_is_waited_for(
    spec: lt.FineTune, train: pd.DataFrame, server: LocalServer, jobs_at: Jobs, timing: Timing
) -> None:
    """Killed after sending: the service takes the order only while the next process looks for it."""
    server.faults.add(Fault("status", status=500, path="fine_tuning/jobs", contains=ORDERS, times=3))
    with pytest.raises(EndpointError):
        submit(spec, train, timing)
    (run,) = tune_runs()
    check = plan_tuning(spec, train).check
    tuner = tuner_for(spec.endpoint)  # type: ignore[arg-type]
    file = tuner.upload(check.train.name, check.train.content)
    late = Submission(BASE, file, None, spec.tuning.hyperparameters, 7, None, run.token)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            tuner.submit(late)

    job = submit(spec, train, replace(timing, wait=wait))
    assert jobs_at() == [job.id]
    assert len(waits) >= 3
