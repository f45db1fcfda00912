"""One's own GPU: jobs that are processes, kept in folders; adapters in a vLLM.

There is no GPU here. The training program itself runs, in an environment whose torch, trl, peft, transformers and
datasets are stand-ins (`gpu_packages`), and so is its vLLM, which is asked over HTTP.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Price
from luthier.errors import EndpointError, SpecError
from luthier.processes import start_time
from luthier.tuning.hosting import Host
from luthier.tuning.preflight import check_hyperparameters
from luthier.tuning.timing import Timing
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.gpu import GpuTuner
from luthier.tuning.tuners.gpu_jobs import GpuJob, card_locks, gpu_folder
from luthier.tuning.tuners.tuner import PAUSED, JobNotFound, JobState, Submission
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="vLLM needs Linux")]

BASE = "Stars/Stars-1B"
TOKEN, OTHER = "0123456789abcdef-1", "fedcba9876543210-1"
PACKAGES = Path(__file__).with_name("gpu_packages")
LINE = {"messages": [{"role": "user", "content": "Stars for: soup"}, {"role": "assistant", "content": "5"}]}
LINES = (json.dumps(LINE) + "\n").encode() * 20


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which everything that needs a card is a stand-in."""
    folder = tmp_path_factory.mktemp("gpu") / "environment"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "stand-ins.pth").write_text(str(PACKAGES))
    for name in ("torch", "trl", "peft", "transformers", "datasets"):
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    vllm = folder / "bin" / "vllm"
    vllm.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -I "{PACKAGES}/vllm_stand_in.py" "$@"\n')
    vllm.chmod(0o700)
    return folder / "bin" / "python"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own home, in which no process is left at the end."""
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", str(environment))
    monkeypatch.setenv("STARS_KEY", "a-long-secret")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield tmp_path / "home"
    for record in (*gpu_folder().glob("jobs/*/process.json"), *gpu_folder().glob("server-*.json")):
        known = json.loads(record.read_text())
        if start_time(known["pid"]) == known["started"]:
            os.killpg(known["pid"], signal.SIGKILL)


@pytest.fixture
def endpoint() -> Endpoint:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    price = Price(input_usd_per_million=0, output_usd_per_million=0, hosting_usd_per_hour=3600)
    base_url = f"http://127.0.0.1:{port}/v1"
    return Endpoint(provider="vllm", base_url=base_url, model=BASE, api_key_env="STARS_KEY", price=price)


@pytest.fixture
def tuner(endpoint: Endpoint) -> GpuTuner:
    return GpuTuner(endpoint, wait=lambda seconds: time.sleep(min(seconds, 0.05)))


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file without which no training goes beyond its second step."""
    monkeypatch.setenv("STAND_IN_GATE", str(tmp_path / "gate"))
    return tmp_path / "gate"


def submission(tuner: GpuTuner, token: str = TOKEN, **settings: Any) -> Submission:
    file = tuner.upload("luthier-0123456789.jsonl", LINES)
    given = {"epochs": 2, "batch_size": 4, "learning_rate_multiplier": "auto"} | settings
    return Submission(BASE, file, file, given, seed=7, suffix="stars", token=token)


def until(tuner: GpuTuner, wanted: Callable[[JobState], bool], token: str = TOKEN) -> JobState:
    """The job as soon as it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not wanted(state := tuner.poll(token)):
        assert time.monotonic() < deadline, (state, log_of(token))
        time.sleep(0.01)
    return state


def ended(tuner: GpuTuner, token: str = TOKEN) -> JobState:
    return until(tuner, lambda state: state.ended, token)


def at_the_gate(tuner: GpuTuner, token: str = TOKEN) -> None:
    """Waits until the job has made its second step."""
    until(tuner, lambda state: any(event.step == 2 for event in tuner.events(token)), token)


def log_of(token: str) -> str:
    return (gpu_folder() / "jobs" / token / "log.txt").read_text()


def pid_of(token: str) -> int:
    pid = GpuJob(gpu_folder() / "jobs" / token).pid()
    assert pid is not None
    return pid


def test_a_job_trains_and_tells_what_it_did(tuner: GpuTuner) -> None:
    assert tuner.submit(submission(tuner)).status in ("queued", "validating_files", "running")
    state = ended(tuner)
    assert (state.status, state.tuned_model, state.error) == ("succeeded", f"stars-{TOKEN}", None)
    assert state.hyperparameters["lora_alpha"] == 32 and state.seed == 7
    # Ten steps of four rows of ten tokens.
    assert state.trained_tokens == 400
    events = tuner.events(TOKEN)
    assert [event.step for event in events if "train_loss" in event.metrics] == list(range(1, 11))
    assert {event.step: event.metrics["valid_loss"] for event in events if "valid_loss" in event.metrics} == {
        5: 0.6,
        10: 0.3,
    }
    assert {event.total_steps for event in events if event.step} == {10}
    assert tuner.events(TOKEN, {event.id for event in events}) == []
    assert [(kept.step, kept.model) for kept in tuner.checkpoints(TOKEN)] == [
        (5, f"stars-{TOKEN}-step-5"),
        (10, f"stars-{TOKEN}-step-10"),
    ]
    # 3,600 dollars an hour: a dollar a second.
    assert state.billed_usd == pytest.approx(GpuJob(gpu_folder() / "jobs" / TOKEN).card_seconds())


def test_a_job_is_made_once_whatever_is_submitted(tuner: GpuTuner) -> None:
    first = tuner.submit(submission(tuner))
    again = tuner.submit(submission(tuner, epochs=50))
    assert first.created == again.created
    assert ended(tuner).hyperparameters["epochs"] == 2
    assert [state.id for state in tuner.listed()] == [state.id for state in tuner.find(TOKEN)] == [TOKEN]
    assert tuner.find(OTHER) == []
    with pytest.raises(JobNotFound):
        tuner.poll(OTHER)


def test_a_job_whose_maker_died_before_it_started_the_process_is_started_by_a_look(tuner: GpuTuner) -> None:
    job = GpuJob(gpu_folder() / "jobs" / TOKEN)
    job.create(tuner._document(submission(tuner)))
    assert tuner.listed()[0].status == "queued" and job.pid() is None
    assert ended(tuner).status == "succeeded"


def test_a_program_that_is_not_told_to_begin_does_nothing_and_is_started_again(
    tuner: GpuTuner, environment: Path
) -> None:
    job = GpuJob(gpu_folder() / "jobs" / TOKEN)
    job.create(tuner._document(submission(tuner)))
    program = Path(sys.modules[GpuTuner.__module__].__file__ or "").with_name("gpu_training") / "train.py"
    # As where the process that started it dies in between.
    done = subprocess.run(
        [environment, "-I", program, job.folder], stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 1 and not (job.folder / "events.jsonl").exists()
    assert ended(tuner).status == "succeeded"


def test_a_paused_job_goes_on_from_its_checkpoint(tuner: GpuTuner, gate: Path) -> None:
    tuner.submit(submission(tuner))
    at_the_gate(tuner)
    assert tuner.pause(TOKEN).status == "pausing"
    gate.touch()
    state = until(tuner, lambda state: state.status == PAUSED)
    assert (state.error, state.tuned_model) == (None, None)
    assert [kept.step for kept in tuner.checkpoints(TOKEN)] == [3]
    assert tuner.pause(TOKEN).status == PAUSED
    tuner.resume(TOKEN)
    state = ended(tuner)
    # Counted once, though the trainer begins to count anew.
    assert (state.status, state.trained_tokens) == ("succeeded", 400)
    steps = [event.step for event in tuner.events(TOKEN) if "train_loss" in event.metrics]
    assert steps == list(range(1, 11))
    with pytest.raises(EndpointError, match="has succeeded; only a paused job can be resumed"):
        tuner.resume(TOKEN)
    with pytest.raises(EndpointError, match="can no longer be paused"):
        tuner.pause(TOKEN)


def test_a_shutdown_leaves_a_paused_job(tuner: GpuTuner, gate: Path) -> None:
    tuner.submit(submission(tuner))
    at_the_gate(tuner)
    os.kill(pid_of(TOKEN), signal.SIGTERM)
    gate.touch()
    state = until(tuner, lambda state: state.status == PAUSED)
    assert state.error is not None and "a shutdown for instance" in state.error
    tuner.resume(TOKEN)
    assert ended(tuner).status == "succeeded"


def test_a_cancelled_job_has_no_process_and_keeps_its_checkpoints(
    tuner: GpuTuner, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luthier.tuning.tuners.gpu_jobs.STOP_SECONDS", 0.2)
    tuner.submit(submission(tuner, saved_checkpoints=10))
    at_the_gate(tuner)
    pid = pid_of(TOKEN)
    # It is deaf to SIGTERM at the gate, so it is killed.
    state = tuner.cancel(TOKEN)
    assert (state.status, state.trained_tokens) == ("cancelled", 80)
    assert start_time(pid) is None
    assert tuner.cancel(TOKEN).status == tuner.poll(TOKEN).status == "cancelled"
    assert [kept.step for kept in tuner.checkpoints(TOKEN)] == [1, 2]


def test_a_second_job_waits_for_the_card(tuner: GpuTuner, gate: Path) -> None:
    tuner.submit(submission(tuner))
    at_the_gate(tuner)
    tuner.submit(submission(tuner, OTHER))
    until(tuner, lambda state: len(tuner.events(OTHER)) == 1, OTHER)
    assert tuner.poll(OTHER).status == "queued"
    assert [event.message for event in tuner.events(OTHER)] == ["waiting for the card"]
    gate.touch()
    assert ended(tuner).status == ended(tuner, OTHER).status == "succeeded"
    assert tuner.events(OTHER)[1].created >= tuner.events(TOKEN)[-1].created


def test_a_queued_job_can_be_paused_and_cancelled(tuner: GpuTuner, gate: Path) -> None:
    tuner.submit(submission(tuner))
    at_the_gate(tuner)
    tuner.submit(submission(tuner, OTHER))
    until(tuner, lambda state: len(tuner.events(OTHER)) == 1, OTHER)
    tuner.pause(OTHER)
    until(tuner, lambda state: state.status == PAUSED, OTHER)
    assert tuner.cancel(OTHER).status == "cancelled"
    gate.touch()
    assert ended(tuner).status == "succeeded"


def test_a_job_that_was_killed_has_failed_and_frees_the_card(tuner: GpuTuner, gate: Path) -> None:
    tuner.submit(submission(tuner))
    at_the_gate(tuner)
    os.kill(pid_of(TOKEN), signal.SIGKILL)
    state = ended(tuner)
    assert state.status == "failed" and state.error is not None
    assert "memory ran out or the machine went down" in state.error and "log.txt" in state.error
    gate.touch()
    tuner.submit(submission(tuner, OTHER))
    assert ended(tuner, OTHER).status == "succeeded"


def test_a_pid_that_another_process_has_now_is_not_taken_for_the_job(tuner: GpuTuner) -> None:
    tuner.submit(submission(tuner))
    ended(tuner)
    folder = gpu_folder() / "jobs" / TOKEN
    (folder / "exit.json").unlink()
    (folder / "process.json").write_text(json.dumps({"pid": os.getpid(), "started": "long ago"}))
    # Were it taken for the job, this would end the tests.
    assert tuner.cancel(TOKEN).status == "cancelled"


def test_a_failed_job_says_why_and_its_log_has_the_traceback(tuner: GpuTuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", "tried to allocate 9 GiB")
    tuner.submit(submission(tuner))
    state = ended(tuner)
    assert (state.status, state.tuned_model) == ("failed", None)
    assert state.error is not None
    assert state.error.startswith("OutOfMemoryError: tried to allocate 9 GiB") and "free the card" in state.error
    assert "Traceback" in log_of(TOKEN)


def test_a_program_that_ends_at_once_has_failed_and_one_that_is_missing_is_waited_for(
    tuner: GpuTuner, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", "/bin/false")
    tuner.submit(submission(tuner))
    assert ended(tuner).status == "failed"
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", "/nowhere/python")
    with pytest.raises(EndpointError, match=f"job {OTHER} was not started, as /nowhere/python cannot be run"):
        tuner.submit(submission(tuner, OTHER))
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", str(environment))
    assert ended(tuner, OTHER).status == "succeeded"


def test_early_stopping_ends_with_the_best_checkpoint(tuner: GpuTuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_LOSSES", "[0.9, 0.5, 0.6, 0.7, 0.1]")
    tuner.submit(submission(tuner, early_stopping_patience=2, evaluations=5))
    state = ended(tuner)
    assert state.status == "succeeded"
    assert max(event.step or 0 for event in tuner.events(TOKEN)) == 8
    assert GpuJob(gpu_folder() / "jobs" / TOKEN).adapter(None).name == "checkpoint-4"


def test_settings_out_of_bounds_are_refused(task: lt.Task, endpoint: Endpoint, tuner: GpuTuner) -> None:
    def spec(**tuning: Any) -> lt.FineTune:
        return lt.FineTune(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, tuning=tuning)

    everything: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 6,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "warmup_ratio": 1.0,
    }
    everything |= {"weight_decay": 0.0, "lora_rank": 512, "lora_alpha": 8, "lora_dropout": 0.0, "evaluations": 2}
    check_hyperparameters(spec(**everything), tuner)
    with pytest.raises(SpecError, match="lora_rank: 513 is out of bounds at the GPU of"):
        check_hyperparameters(spec(lora_rank=513), tuner)
    with pytest.raises(SpecError, match="learning_rate_multiplier: the GPU of .* has no such setting"):
        check_hyperparameters(spec(learning_rate_multiplier=1.0), tuner)
    # The trainer takes them too: it refuses what TRL's class does not have.
    tuner.submit(submission(tuner, **everything))
    assert ended(tuner).status == "succeeded", log_of(TOKEN)


def test_the_chat_template_is_used_as_the_model_is_asked(endpoint: Endpoint) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    tuner = GpuTuner(endpoint.model_copy(update={"extra_body": extra}))
    assert tuner._document(submission(tuner))["template"] == {"enable_thinking": False}


def test_a_price_is_estimated_from_the_speed_of_the_last_job(tuner: GpuTuner, endpoint: Endpoint) -> None:
    assert tuner.estimate(BASE, 1000, 3) is None
    tuner.submit(submission(tuner))
    ended(tuner)
    seconds = GpuJob(gpu_folder() / "jobs" / TOKEN).card_seconds()
    assert tuner.estimate(BASE, 1000, 3) == pytest.approx(3000 * seconds / 400)
    assert tuner.estimate("another", 1000, 3) is None
    assert GpuTuner(endpoint.model_copy(update={"price": None})).estimate(BASE, 1000, 3) is None


def test_what_is_missing_is_said_with_the_commands_that_make_it(
    tuner: GpuTuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner.admit(BASE)
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(EndpointError, match=r"uv venv --python 3.12 .*-r .*requirements.txt"):
        tuner.admit(BASE)
    monkeypatch.setenv("LUTHIER_GPU_PYTHON", sys.executable)
    with pytest.raises(EndpointError, match="lacks trl, peft"):
        tuner.admit(BASE)


# Answers


def test_a_vllm_is_started_answers_with_the_adapter_and_ends_with_the_last(tuner: GpuTuner) -> None:
    tuner.submit(submission(tuner))
    tuned = ended(tuner).tuned_model
    assert tuned is not None
    assert not tuner.is_deployed("stars")
    tuner.check_name("stars", tuned)
    there = tuner.deploy(tuned, "stars")
    assert (there.model, there.price and there.price.output_usd_per_million) == ("stars", 0.0)
    assert tuner.is_deployed("stars")
    tuner.deploy(f"{tuned}-step-5", "early")
    with pytest.raises(SpecError, match="answers by the name 'early' with .*checkpoint-5"):
        tuner.check_name("early", tuned)
    tuner.undeploy("early")
    assert tuner.is_deployed("stars") and not tuner.is_deployed("early")
    (record,) = gpu_folder().glob("server-*.json")
    pid = json.loads(record.read_text())["pid"]
    tuner.undeploy("stars")
    assert start_time(pid) is None and not record.exists()
    assert not tuner.is_deployed("stars")


def test_jobs_wait_while_luthiers_own_vllm_has_the_card(tuner: GpuTuner) -> None:
    tuner.submit(submission(tuner))
    tuned = ended(tuner).tuned_model
    tuner.deploy(str(tuned), "stars")
    tuner.submit(submission(tuner, OTHER))
    until(tuner, lambda state: len(tuner.events(OTHER)) == 1, OTHER)
    assert tuner.poll(OTHER).status == "queued"
    tuner.undeploy("stars")
    assert ended(tuner, OTHER).status == "succeeded"


def test_a_higher_rank_starts_the_server_anew_once_it_is_idle(tuner: GpuTuner, gate: Path) -> None:
    gate.touch()
    for token, rank in ((TOKEN, 8), (OTHER, 64)):
        tuner.submit(submission(tuner, token, lora_rank=rank))
        ended(tuner, token)
    tuner.deploy(f"stars-{TOKEN}", "small")
    with pytest.raises(EndpointError, match="ranks up to 8, too little for .* with rank 64.*small"):
        tuner.deploy(f"stars-{OTHER}", "large")
    tuner.undeploy("small")
    tuner.deploy(f"stars-{OTHER}", "large")
    assert tuner.is_deployed("large")


def test_a_server_that_runs_already_is_used_and_left(
    tuner: GpuTuner, endpoint: Endpoint, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner.submit(submission(tuner))
    tuned = str(ended(tuner).tuned_model)
    port = endpoint.address.rpartition(":")[2].removesuffix("/v1")
    command = [str(environment.with_name("vllm")), "serve", BASE, "--host", "127.0.0.1", "--port", port]
    allowed = {**os.environ, "VLLM_API_KEY": "a-long-secret"}
    with subprocess.Popen(command, env=allowed) as server:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while tuner.server._models() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with pytest.raises(EndpointError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
                tuner.deploy(tuned, "stars")
        finally:
            server.terminate()
    with subprocess.Popen(command, env={**allowed, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}) as server:
        try:
            while tuner.server._models() is None:
                time.sleep(0.02)
            tuner.deploy(tuned, "stars")
            tuner.undeploy("stars")
            assert server.poll() is None
        finally:
            server.terminate()


def test_no_server_is_started_without_a_key_or_on_another_machine(endpoint: Endpoint, tuner: GpuTuner) -> None:
    tuner.submit(submission(tuner))
    tuned = str(ended(tuner).tuned_model)
    with pytest.raises(EndpointError, match="starts none without a key.*api_key_env: VLLM_API_KEY"):
        GpuTuner(endpoint.model_copy(update={"api_key_env": None})).deploy(tuned, "stars")


def test_a_server_that_does_not_start_says_why(tuner: GpuTuner, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner.submit(submission(tuner))
    tuned = str(ended(tuner).tuned_model)
    monkeypatch.setenv("STAND_IN_FAULT", "No available memory for the cache blocks")
    with pytest.raises(EndpointError, match="vLLM ended before it answered, and said: ValueError: No available memory"):
        tuner.deploy(tuned, "stars")


@pytest.mark.usefixtures("store")
def test_a_table_becomes_a_tuned_model_that_answers(task: lt.Task, endpoint: Endpoint, timing: Timing) -> None:
    import fcntl  # not on Windows

    tuning = {"epochs": 1, "batch_size": 8, "lora_rank": 8}
    recipe = lt.FineTune(
        task, "Stars for: {{ text }}", name="tuned-stars", answer="score", endpoint=endpoint, tuning=tuning
    )
    assert isinstance(tuner_for(endpoint), Host)
    rows = reviews(40)
    with Path(card_locks()[0]).open("w") as card:
        # As another job would.
        fcntl.flock(card, fcntl.LOCK_EX)
        job = lt.tune(recipe, rows, detach=True, timing=timing)
        assert job.pause(timing=timing).state.status == PAUSED
        assert job.resume(timing=timing).state.status == "queued"
        assert lt.tune(recipe, rows, detach=True, timing=timing).id == job.id
    job = lt.tune(recipe, rows, timing=timing)
    assert job.state.status == "succeeded"
    with job.hosted([job.spec]) as (spec,):
        assert re.fullmatch(r"luthier-[0-9a-f]{16}-1-[0-9a-f]{6}", str(spec.endpoint and spec.endpoint.model))
    hosting = job.need_hosting()
    assert [one.gone is not None for one in hosting.known()] == [True]
