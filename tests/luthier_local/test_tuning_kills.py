"""Jobs outlive their server: killed with signal 9, and the shared one that leaves by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from luthier.processes import start_time
from luthier.providers.local_service import attach
from tests.luthier_local.test_batches import counts, finish, line, read, start
from tests.luthier_local.tuning import BASE, digest, results, reviews, served, steps_of, submit, upload, wait
from tests.patience import until

pytestmark = pytest.mark.slow

SERVER = """
import sys, time
from luthier_local import Fault, LocalServer, ModelCard
models = [ModelCard("tiny", backend="tunable-hashed", completions=False), ModelCard("stars")]
faults = [Fault("slow", contains="never", delay_seconds=300)]
with LocalServer(models=models, folder=sys.argv[1], api_key="k", training_step_seconds=0.05, faults=faults) as server:
    print(server.base_url, flush=True)
    time.sleep(300)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], openai.OpenAI]]:
    """A server in a process of its own, and a client of it."""
    command = [sys.executable, "-c", SERVER, str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
            yield process, client
        process.kill()


def test_training_goes_on_after_kill_9_with_the_same_result(
    killed: tuple[subprocess.Popen[str], openai.OpenAI], tmp_path: Path
) -> None:
    process, client = killed
    knobs = {"n_epochs": 2, "batch_size": 5}
    job, waiting = (submit(client, count=100, hyperparameters=knobs) for _ in range(2))
    # In the middle of the second epoch.
    until(lambda: len(steps_of(client, job)) > 20)
    process.kill()
    process.wait()
    with served(models=[BASE], folder=tmp_path / "state") as (_, again):
        done, other = wait(again, job), wait(again, waiting)
        assert done.status == other.status == "succeeded"
        # The job that waited was trained without any interruption.
        assert digest(again, str(done.fine_tuned_model)) == digest(again, str(other.fine_tuned_model))
        assert results(again, done) == results(again, other)
        assert steps_of(again, job) == list(range(1, 41))
        assert len(list(again.fine_tuning.jobs.list())) == 2


def test_of_two_processes_of_one_folder_one_trains_and_the_other_takes_over_when_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path / "state")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    clients = []
    try:
        for process in processes:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            clients.append(openai.OpenAI(base_url=url, api_key="k", max_retries=0))
        jobs = [submit(clients[number % 2], held_out=0) for number in range(4)]
        until(lambda: len(steps_of(clients[0], jobs[1])) > 4)
        # Whoever takes up a job that runs says so: nobody has.
        assert taken_up(clients[0]) == []
        # Which of the two trains cannot be seen from outside; that one of them is gone must not matter.
        processes[0].kill()
        processes[0].wait()
        done = [wait(clients[1], job) for job in jobs]
        assert [job.status for job in done] == ["succeeded"] * 4
        assert len(taken_up(clients[1])) <= 1
        assert len({digest(clients[1], str(job.fine_tuned_model)) for job in done}) == 1
        assert all(steps_of(clients[1], job) == list(range(1, 13)) for job in jobs)
    finally:
        for client in clients:
            client.close()
        for process in processes:
            process.kill()
            process.communicate()


def taken_up(client: openai.OpenAI) -> list[str]:
    """The jobs that were found running by whoever trains, as after a kill."""
    return [
        job.id
        for job in client.fine_tuning.jobs.list()
        for event in client.fine_tuning.jobs.list_events(job.id, limit=100)
        if "training goes on after" in event.message
    ]


def test_a_batch_goes_on_after_kill_9_without_asking_twice(
    killed: tuple[subprocess.Popen[str], openai.OpenAI], tmp_path: Path
) -> None:
    process, client = killed
    batch = start(client, [*(line(number) for number in range(20)), line(20, "never")])
    until(lambda: counts(client.batches.retrieve(batch.id)) == (21, 20, 0))
    process.kill()
    process.wait()
    from luthier_local import ModelCard

    with served(models=[BASE, ModelCard("stars")], folder=tmp_path / "state") as (server, again):
        done = finish(again, batch)
        assert len(read(again, done.output_file_id)) == 21
        assert server.received.by_path["batches/chat/completions"] == 1


def test_the_shared_server_stays_for_a_job_and_its_successor_finishes_one(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    service = attach("wordllama-tunable")
    try:
        with openai.OpenAI(base_url=service.base_url, api_key=service.token) as client:
            file = upload(client, reviews(400, 1))
            job = client.fine_tuning.jobs.create(
                model="wordllama-tunable", training_file=file, hyperparameters={"n_epochs": 50, "batch_size": 1}
            )
            wait(client, job, "running")
        os.kill(service.pid, signal.SIGKILL)
        until(lambda: start_time(service.pid) is None)
        service = attach("deterministic")
        # Nobody uses it from here on; it has a job to end.
        service.release()
        with openai.OpenAI(base_url=service.base_url, api_key=service.token) as client:
            assert client.fine_tuning.jobs.retrieve(job.id).status in ("queued", "running")
            done = client.fine_tuning.jobs.cancel(job.id)
            assert done.status == "cancelled"
        until(lambda: start_time(service.pid) is None)
    finally:
        if start_time(service.pid) is not None:
            os.kill(service.pid, signal.SIGTERM)


def test_words_never_seen_in_training_still_count(tmp_path: Path) -> None:
    from luthier_local import ModelCard
    from tests.luthier_local.tuning import chat

    with served(models=[ModelCard("words", backend="tunable", completions=False)]) as (_, client):
        done = wait(client, submit(client, count=200, model="words"), "succeeded", "failed")
        assert done.status == "succeeded", done.error
        for text, stars in (("It was horrible", {"1", "2"}), ("It was excellent", {"4", "5"})):
            answer = client.chat.completions.create(model=str(done.fine_tuned_model), temperature=0, **chat(text))
            assert answer.choices[0].message.content in stars
