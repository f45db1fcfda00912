"""No thread, job or file is lost where the disk is full, a folder is in the way, or two servers share one."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from luthier_local import Fault, ModelCard
from luthier_local.jobs.job_service import JobService, JobSettings
from luthier_local.jobs.job_store import JobStore, passes
from luthier_local.jobs.stored_job import StoredJob
from tests.luthier_local.test_batches import finish, line, start
from tests.luthier_local.tuning import BASE, digest, results, served, steps_of, submit, wait
from tests.patience import until

CARDS = [BASE, ModelCard("stars")]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond it, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[openai.OpenAI]:
    with served(models=CARDS, folder=tmp_path / "state", training_step_seconds=0.02) as (_, client):
        yield client


def said(client: openai.OpenAI, identity: str) -> str:
    error = client.fine_tuning.jobs.retrieve(identity).error
    return error.message or "" if error else ""


def ended(client: openai.OpenAI, job: FineTuningJob) -> bool:
    return client.fine_tuning.jobs.retrieve(job.id).status != "running"


@pytest.mark.slow
def test_a_job_waits_while_the_disk_is_full_and_ends_as_if_it_had_not_been(slow: openai.OpenAI) -> None:
    jobs: list[FineTuningJob] = []
    is_held_up = False
    while not is_held_up:  # On a busy machine a job may have ended by the time the disk is full.
        job = submit(slow)
        jobs.append(job)
        until(lambda: steps_of(slow, jobs[-1]))
        with largest_file(20_000):
            until(lambda: "cannot write to its folder" in said(slow, jobs[-1].id) or ended(slow, jobs[-1]))
            is_held_up = not ended(slow, job)
            with pytest.raises(openai.InternalServerError, match="Nothing was changed"):
                submit(slow)
    other = submit(slow)
    done, undisturbed = wait(slow, job), wait(slow, other)
    assert (done.status, done.error) == ("succeeded", None)
    assert digest(slow, str(done.fine_tuned_model)) == digest(slow, str(undisturbed.fine_tuned_model))
    assert results(slow, done) == results(slow, undisturbed)
    assert [found.id for found in slow.fine_tuning.jobs.list()][::-1] == [made.id for made in (*jobs, other)]


def test_what_a_full_disk_refused_leaves_nothing_behind(slow: openai.OpenAI, tmp_path: Path) -> None:
    job = wait(slow, submit(slow, held_out=0))
    there = set((tmp_path / "state").rglob("*"))
    with largest_file(1000):
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                slow.files.create(file=("rows.jsonl", b"{}\n"), purpose="fine-tune")
            with pytest.raises(openai.InternalServerError):
                slow.fine_tuning.jobs.create(model="tiny", training_file=job.training_file)
    assert set((tmp_path / "state").rglob("*")) == there


@pytest.mark.slow
def test_a_batch_that_cannot_be_written_down_is_asked_by_no_more_than_before(tmp_path: Path) -> None:
    faults = [Fault("slow", contains="never", delay_seconds=300)]
    with served(models=CARDS, folder=tmp_path, faults=faults) as (server, client):
        client.files.list()
        with sqlite3.connect(tmp_path / "jobs.db") as database:
            database.execute("create trigger full before insert on lines begin select raise(fail, 'full'); end")
        batch = start(client, [line(0), *(line(number, f"never {number}") for number in range(1, 8))])
        until(lambda: server.received.by_path.get("batches/chat/completions", 0) >= 16)
        assert server.received.most_in_flight <= 8
        # What was asked before the fault was lifted waits on; the attempt it belongs to is over once a later one asks.
        server.faults.clear()
        asked = server.received.by_path["batches/chat/completions"]
        until(lambda: server.received.by_path["batches/chat/completions"] >= asked + 8)
        database.execute("drop trigger full")
        database.commit()
        database.close()
        done = finish(client, batch)
        assert done.request_counts and done.request_counts.completed == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trainer.lock", "batches.lock"])
def test_what_stands_in_the_way_of_the_work_ends_no_worker(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with served(models=CARDS, folder=tmp_path) as (_, client):
        if name == "trainer.lock":
            job = submit(client, held_out=0)
            until(lambda: "Is a directory" in said(client, job.id))
        else:
            batch = start(client, [line(0)])
        (tmp_path / name).rmdir()
        if name == "trainer.lock":
            assert wait(client, job).status == "succeeded"
        else:
            assert finish(client, batch).status == "completed"


def test_a_server_goes_on_with_what_another_one_took_after_it_had_started(tmp_path: Path) -> None:
    async def no_line(name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        raise AssertionError(name)

    async def serve_beside_another() -> None:
        first = JobService(JobSettings(tmp_path), no_line, lambda name: None)
        await first.open()
        assert not first.busy
        with served(models=[BASE], folder=tmp_path, training_step_seconds=0.5) as (_, client):
            job = submit(client, held_out=0)
        assert first.busy
        until(lambda: StoredJob(first.store, job.id).row()["status"] == "succeeded")
        await first.close()

    asyncio.run(serve_beside_another())


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    insert = "insert into batches (id, status, record) values (?, 'failed', ?)"
    for number in range(2):
        with largest_file(10_000), pytest.raises(sqlite3.OperationalError) as caught, store.writing() as write:
            write.execute(insert, (str(number), "x" * 1_000_000))
        assert passes(caught.value)
    with store.writing() as write:
        write.execute(insert, ("after", "{}"))
    assert [row["id"] for row in store.rows("select id from batches")] == ["after"]
    store.close()


def test_a_sweep_keeps_what_is_named_and_takes_what_is_not_and_what_has_expired(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    with store.writing() as write:
        for identity, expires in (("file-kept", None), ("file-expired", 1)):
            write.execute("insert into files values (null, ?, 0, ?, 'f', 'batch', 1)", (identity, expires))
        for identity, status in (("ftjob-paused", "paused"), ("ftjob-done", "succeeded")):
            write.execute("insert into jobs values (null, ?, ?, null, '{}')", (identity, status))
        write.execute("insert into models values ('ft:a', 'ftjob-done', 0, 'ftjob-done-3.npz', '')")
    kept = {"files/file-kept", "files/file-young", "models/ftjob-done-3.npz", "work/ftjob-paused"}
    gone = {"files/file-expired", "files/file-nobodys", "models/ftjob-gone-1.npz", "work/ftjob-done", "work/batch_x"}
    for name in kept | gone:
        path = tmp_path / name
        path.mkdir() if path.parent.name == "work" else path.touch()
        if name != "files/file-young":
            os.utime(path, (time.time() - 90_000,) * 2)
    store.sweep()
    store.close()
    assert {f"{path.parent.name}/{path.name}" for path in tmp_path.glob("*/*")} == kept


def test_a_fault_that_comes_too_late_takes_nothing_from_a_job_that_waits(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = StoredJob.begin(store, {"id": "ftjob-1", "training_file": "file-1", "model": "base", "suffix": None})
    job.work.mkdir()
    (job.work / "state.npy").write_bytes(b"what was trained so far")
    assert job.move("paused", ["validating_files"])
    job.fail("server_error", "too late", None)
    assert job.row()["status"] == "paused"
    assert (job.work / "state.npy").exists()
    store.close()
