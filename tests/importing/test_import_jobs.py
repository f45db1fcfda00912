"""Jobs of an account become runs: whatever state they are in, with their own times, and never twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from luthier.errors import EndpointError, UserError
from luthier.importing.import_report import ImportReport
from luthier.importing.import_setup import ImportSetup
from luthier.tuning.job_runs import TUNE_TAGS
from luthier.tuning.timing import Timing
from luthier_local import Fault, ModelCard
from luthier_local.jobs.stored_job import StoredJob
from tests.importing.account import BASE, DAY, FIRST, HOUR, JOBS, SUCCEEDED, Account

pytestmark = pytest.mark.usefixtures("store")

TIMING = Timing(wait=lambda seconds: None)

MIXED = ("stars-[01]", "stars-1[2-4]", "other-*")
"""Names of five jobs that succeeded, of three of which something was deleted, and of all that did not."""


def setup(account: Account, **given: Any) -> ImportSetup:
    return ImportSetup(account.endpoint, timing=TIMING, **given)


def runs() -> list[Run]:
    found: list[Run] = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return found


def by_job(found: Sequence[Run]) -> dict[str, Run]:
    return {run.data.tags[TUNE_TAGS["job"]]: run for run in found}


def artifacts(run: Run) -> set[str]:
    return {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "tune")}


def lacking(report: ImportReport) -> list[tuple[str, bool]]:
    return [(one.id, one.passes) for one in report.missing]


def test_a_job_in_whatever_state_becomes_a_run_with_its_own_times(account: Account) -> None:
    report = setup(account, name=MIXED).run()
    found = by_job(runs())
    assert report.count("job", "new") == len(found) == 5 + len(JOBS) - SUCCEEDED
    status = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
    for place, (job, state) in enumerate(zip(account.ids(), JOBS, strict=True)):
        if job not in found:
            continue
        info = found[job].info
        assert info.status == status.get(state, "RUNNING")
        assert info.start_time == 1000 * (FIRST + place * DAY)
        assert info.end_time == (info.start_time + 1000 * HOUR if state in status else None)
        assert found[job].data.tags[TUNE_TAGS["job_status"]] == state


def test_a_second_import_changes_nothing(account: Account) -> None:
    setup(account, name=MIXED).run()
    before = {run.info.run_id: run.to_dictionary() for run in runs()}
    report = setup(account, name=MIXED).run()
    assert report.count("job", "unchanged") == len(before) == 5 + len(JOBS) - SUCCEEDED
    assert {run.info.run_id: run.to_dictionary() for run in runs()} == before


def test_a_run_has_the_figures_of_each_step_at_the_time_when_they_were_reported(account: Account) -> None:
    first = account.ids()[5]
    setup(account, name=first).run()
    run = by_job(runs())[first]
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    figures = account.store.rows("select step, figures from steps where job = ?", first)
    assert {point.step: point.value for point in points} == {
        row["step"]: json.loads(row["figures"])["train_loss"] for row in figures
    }
    started = run.info.start_time
    assert all(started <= point.timestamp <= started + 1000 * HOUR for point in points)


def test_a_run_has_the_settings_files_and_cost_of_its_job(account: Account) -> None:
    job = account.job(account.ids()[0])
    setup(account, name=job["id"]).run()
    run = by_job(runs())[job["id"]]
    assert run.data.params["resolved.epochs"] == "1"
    assert run.data.params["training_file.name"] == "stars-train.jsonl"
    assert run.data.params["training_file.rows"] == "60"
    assert run.data.tags[TUNE_TAGS["training_file"]] == job["training_file"]
    datasets = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert datasets["training"].name == "stars-train.jsonl"
    assert datasets["training"].digest == datasets["training"].digest.lower()
    assert set(datasets) == {"training", "validation"}
    assert run.data.metrics["cost_usd"] == pytest.approx(job["trained_tokens"] * 10 / 1e6)
    assert {"tune/events.jsonl", "tune/checkpoints.json", "tune/results"} <= artifacts(run)


def test_what_was_deleted_at_the_service_is_named_and_the_rest_is_there(account: Account) -> None:
    without_file, without_result = account.ids()[SUCCEEDED - 3], account.ids()[SUCCEEDED - 1]
    report = setup(account, name=[without_file, without_result]).run()
    of_jobs = [one for one in report.missing if one.kind == "job"]
    assert [(one.id, one.passes) for one in of_jobs] == [(without_result, False), (without_file, False)]
    assert "deleted at the service, or expired" in report.missing[0].why
    found = by_job(runs())
    assert found[without_result].info.status == "FINISHED"
    assert "result file" in found[without_result].data.tags[TUNE_TAGS["import_missing"]]
    assert found[without_file].data.params["training_file"] == account.job(without_file)["training_file"]
    assert {one.tags[0].value for one in found[without_file].inputs.dataset_inputs} == {"validation"}


def test_a_fine_tuned_model_whose_job_is_not_listed_any_more_is_named(account: Account) -> None:
    orphan = "ft:gpt-4o-mini-2024-07-18:luthier:old:0a1b2c3d"
    account.server.put_model(ModelCard(orphan))
    (named,) = [one for one in setup(account).plan().missing if one.id == orphan]
    assert "its job is not listed any more" in named.why
    assert "luthier log" in named.cure


def test_a_list_of_models_that_may_not_be_read_leaves_the_jobs_as_they_are(account: Account) -> None:
    account.server.faults.add(Fault("status", path="/models", status=403))
    report = setup(account, name=account.ids()[5]).run()
    assert [item.happened for item in report.items] == ["new"]
    assert ("account", account.endpoint.address) in [(one.kind, one.id) for one in report.missing]


def test_a_part_that_the_service_could_not_give_just_then_comes_with_the_next_import(account: Account) -> None:
    job = account.ids()[5]
    account.server.faults.add(Fault("status", path=f"{job}/checkpoints", status=503, times=5))
    report = setup(account, name=job).run()
    assert lacking(report) == [(job, True)]
    assert setup(account, name=job).run().complete
    (run,) = runs()
    assert run.data.tags[TUNE_TAGS["import_missing"]] == ""
    assert "tune/checkpoints.json" in {
        file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "tune")
    }


def test_a_job_that_ran_at_the_first_import_is_completed_by_the_second(account: Account) -> None:
    job = account.ids("running")[0]
    setup(account, name=job).run()
    StoredJob(account.store, job).cancel(["running"])
    report = setup(account, name=job).run()
    assert [item.happened for item in report.items] == ["updated"]
    (run,) = runs()
    assert run.info.status == "KILLED"


def test_the_pages_before_one_that_fails_are_brought_and_the_account_is_named(account: Account) -> None:
    newest = account.add_jobs(100)[-1]
    oldest = account.ids()[0]
    # The first page is given, and the second at none of five tries.
    account.server.faults.add(Fault("status", path="fine_tuning/jobs", method="GET", nth=range(2, 7)))
    report = setup(account, name=[newest, oldest]).run()
    assert [item.id for item in report.items] == [newest]
    (named,) = report.missing
    assert (named.kind, named.passes) == ("account", True)
    again = setup(account, name=[newest, oldest]).run()
    assert [(item.id, item.happened) for item in again.items] == [(newest, "unchanged"), (oldest, "new")]


def test_a_wrong_key_is_one_error_and_nothing_is_written(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-wrong")
    with pytest.raises(EndpointError, match="STARS_KEY"):
        setup(account).run()
    assert not runs()


def test_an_account_whose_jobs_may_not_be_read_is_named(account: Account) -> None:
    account.server.faults.add(Fault("closed", path="fine_tuning/jobs"))
    report = setup(account).run()
    assert [(one.kind, one.id) for one in report.missing] == [("account", account.endpoint.address)]
    assert not report.complete


def test_a_plan_reads_everything_and_writes_nothing(account: Account) -> None:
    report = setup(account).plan()
    assert report.dry_run
    assert report.count("job", "new") == len(JOBS)
    assert len(report.missing) == 4
    assert not runs()
    assert not Path("models").exists()
    assert [one.name for one in mlflow.search_experiments()] == ["Default"]


def test_jobs_are_chosen_by_day_and_by_name(account: Account) -> None:
    assert len(setup(account, since="2026-02-01").plan().items) == 3
    names = [item.id for item in setup(account, name="mood*").plan().items]
    assert names == account.ids()[11:8:-1]
    tuned = account.job(account.ids()[0])["fine_tuned_model"]
    assert [item.id for item in setup(account, name=[tuned, "other-29"]).plan().items] == [
        account.ids()[29],
        account.ids()[0],
    ]
    with pytest.raises(UserError, match="YYYY-MM-DD"):
        setup(account, since="yesterday")


def test_runs_go_to_an_experiment_named_after_the_place(account: Account) -> None:
    setup(account, name="mood*").run()
    (experiment,) = {run.info.experiment_id for run in runs()}
    assert mlflow.get_experiment(experiment).name == f"imported from 127.0.0.1:{account.server.port}"
    assert Counter(run.data.tags["luthier.base_model"] for run in runs()) == {BASE: 3}
