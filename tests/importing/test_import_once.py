"""No job has two runs: kills, imports side by side, and jobs that Luthier submitted itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run

import luthier as lt
from luthier.engine.progress import TerminalProgress
from luthier.errors import ModelError
from luthier.tuning.job_runs import TUNE_TAGS, run_of_job
from luthier.tuning.timing import Timing
from luthier.tuning.watch_lock import WatchLock
from luthier_local.jobs.stored_job import StoredJob
from tests.conftest import REPOSITORY
from tests.importing.account import JOBS, SUCCEEDED, Account
from tests.importing.test_import_jobs import MIXED, TIMING, by_job, runs, setup
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("store")


def start(file: Path, store: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own, for the jobs named `MIXED`."""
    with open("import.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "luthier.cli.main", "import", "compatible", "--endpoint", str(file),
             *(word for name in MIXED for word in ("--name", name))],
            stdout=log, stderr=log,
            env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(REPOSITORY / "src")},
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("so_many", [1, 12])
def test_killed_in_the_middle_the_next_import_completes_it(
    account: Account, store: str, empty_store: Path, tmp_path: Path, so_many: int
) -> None:
    process = start(account.write_endpoint(tmp_path / "account.yaml"), store)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(runs()) < so_many:
        assert process.poll() is None, Path("import.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    setup(account, name=MIXED).run()
    killed = by_job(runs())
    assert len(killed) == len(runs()) == 5 + len(JOBS) - SUCCEEDED
    shutil.copy(empty_store, "whole.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/whole.db")
    setup(account, name=MIXED).run()
    whole = by_job(runs())
    for job, run in killed.items():
        assert run.data.metrics == whole[job].data.metrics
        assert run.data.params == whole[job].data.params
        assert run.info.status == whole[job].info.status
        assert run.info.end_time == whole[job].info.end_time
        assert len(run.inputs.dataset_inputs) == len(whole[job].inputs.dataset_inputs)
        assert unlike(run, whole[job]) == set()


def unlike(run: Run, other: Run) -> set[str]:
    """Tags that differ beside times and artifacts' places."""
    ours = {name: value for name, value in run.data.tags.items() if name.startswith("luthier.")}
    return {name for name in ours if name != TUNE_TAGS["imported"] and ours[name] != other.data.tags.get(name)}


@pytest.mark.slow
def test_two_imports_at_the_same_moment_make_one_run_of_each_job(account: Account, store: str, tmp_path: Path) -> None:
    file = account.write_endpoint(tmp_path / "account.yaml")
    both = [start(file, store) for _ in range(2)]
    assert {process.wait(PATIENCE_SECONDS) for process in both} == {3}
    assert len(by_job(runs())) == len(runs()) == 5 + len(JOBS) - SUCCEEDED


def test_an_import_on_another_machine_meanwhile_makes_no_second_run(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meanwhile(TerminalProgress):
        """Once the first job is written, another machine, which has a lock of its own, imports the same account."""

        began = False

        def working(self, what: str, done: float, total: float | None, said: str) -> None:
            if what == "importing" and done == 1 and not self.began:
                self.began = True
                with monkeypatch.context() as there:
                    there.setenv("LUTHIER_HOME", str(tmp_path / "elsewhere"))
                    setup(account).run()

    setup(account, progress=Meanwhile("importing")).run()
    assert len(by_job(runs())) == len(runs()) == len(JOBS)


def test_a_job_that_is_being_watched_is_left_to_its_watch(account: Account) -> None:
    job = account.ids("running")[0]
    setup(account, name=job).run()
    (run,) = runs()
    StoredJob(account.store, job).cancel(["running"])
    lock = WatchLock(run.info.run_id)
    assert lock.take()
    (item,) = setup(account, name=job).run().items
    assert (item.happened, "left to its watch" in item.note) == ("unchanged", True)
    lock.release()
    (item,) = setup(account, name=job).run().items
    assert item.happened == "updated"


@pytest.fixture
def spec(account: Account, task: lt.Task) -> lt.FineTune:
    return lt.FineTune(task, "Stars for: {{ text }}", answer="score", endpoint=account.endpoint, name="mine")


def test_a_watch_holds_its_run_until_it_ends(account: Account, spec: lt.FineTune) -> None:
    job = account.ids()[0]
    seen = []

    class Looking:
        def show(self, progress: object) -> None:
            found = run_of_job(job)
            assert found is not None
            seen.append(setup(account, name=job).run().items[0].note)

    attached = lt.attach_job(job, spec=spec)
    attached.watch(watcher=Looking(), timing=TIMING)
    assert seen
    assert all("left to its watch" in note for note in seen)
    (item,) = setup(account, name=job).run().items
    assert (item.run_id, item.note) == (attached.run_id, "")


def test_a_job_that_was_submitted_here_keeps_its_run(account: Account, spec: lt.FineTune, train: pd.DataFrame) -> None:
    account.goes_on()
    job = lt.tune(spec, train, detach=True)
    (item,) = setup(account, name=job.id).run().items
    assert item.run_id == job.run_id
    job.watch(timing=Timing(wait=lambda seconds: time.sleep(min(seconds, 0.01))))
    (item,) = setup(account, name=job.id).run().items
    assert (item.run_id, item.happened) == (job.run_id, "unchanged")
    assert len(runs()) == 1


def test_a_run_whose_watch_has_died_is_completed_by_an_import(account: Account, spec: lt.FineTune) -> None:
    job = account.ids()[0]
    attached = lt.attach_job(job, spec=spec)
    (item,) = setup(account, name=job).run().items
    assert (item.run_id, item.happened) == (attached.run_id, "updated")
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert TUNE_TAGS["imported"] not in run.data.tags
    assert lt.attach_job(job).watch(timing=TIMING).spec.tuned is not None


def test_an_imported_job_is_given_its_recipe_later(account: Account, spec: lt.FineTune) -> None:
    job = account.ids()[SUCCEEDED - 3]  # its training file is gone
    setup(account, name=job).run()
    with pytest.raises(ModelError, match="--spec SPEC"):
        lt.attach_job(job)
    attached = lt.attach_job(job, spec=spec).watch(timing=TIMING)
    assert attached.spec.endpoint is not None
    assert attached.spec.endpoint.model == account.job(job)["fine_tuned_model"]
    assert lt.attach_job(job).run_id == attached.run_id
    assert len(runs()) == 1
