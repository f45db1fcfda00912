"""TRL, PEFT and PyTorch themselves train a model of two layers on the CPU.

Runs only where LUTHIER_TEST_TRL_PYTHON names the Python of an environment that has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from luthier.endpoints import Endpoint
from luthier.tuning.tuners.gpu import GpuTuner
from luthier.tuning.tuners.gpu_jobs import gpu_folder
from luthier.tuning.tuners.tuner import PAUSED, JobState, Submission
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS

PYTHON = os.environ.get("LUTHIER_TEST_TRL_PYTHON", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="LUTHIER_TEST_TRL_PYTHON is not set")]

WHOLE, INTERRUPTED = "0123456789abcdef-1", "0123456789abcdef-2"
READ = (
    "import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM as Model\n"
    "tuned = PeftModel.from_pretrained(Model.from_pretrained(sys.argv[1]), sys.argv[2])\n"
    "print(sum(float(p.abs().sum()) for name, p in tuned.named_parameters() if 'lora_B' in name))"
)


@pytest.fixture
def tuner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuTuner:
    for name, value in {
        "LUTHIER_HOME": str(tmp_path / "home"),
        "LUTHIER_GPU_PYTHON": PYTHON,
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    base = tmp_path / "base"
    subprocess.run([PYTHON, Path(__file__).with_name("tiny_base.py"), base], check=True, timeout=PATIENCE_SECONDS)
    return GpuTuner(Endpoint(provider="vllm", base_url="http://127.0.0.1:9/v1", model=str(base)))


def submission(tuner: GpuTuner, token: str) -> Submission:
    lines = [
        {"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": str(row["stars"])}]}
        for row in reviews(60).to_dict("records")
    ]
    file = tuner.upload("luthier-0123456789.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    given = {"epochs": 2, "batch_size": 6, "learning_rate": 1e-2, "lora_rank": 4}
    return Submission(tuner._endpoint.model, file, file, given, 7, None, token)


def until(tuner: GpuTuner, token: str, *statuses: str) -> JobState:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (state := tuner.poll(token)).status not in statuses:
        assert time.monotonic() < deadline and not state.ended, state
        time.sleep(0.02)
    return state


def losses(tuner: GpuTuner, token: str) -> list[float]:
    return [event.metrics["train_loss"] for event in tuner.events(token) if "train_loss" in event.metrics]


def test_an_interrupted_job_learns_what_an_uninterrupted_one_does(tuner: GpuTuner) -> None:
    tuner.admit(tuner._endpoint.model)
    tuner.submit(submission(tuner, WHOLE))
    whole = until(tuner, WHOLE, "succeeded")
    tuner.submit(submission(tuner, INTERRUPTED))
    until(tuner, INTERRUPTED, "running")
    tuner.pause(INTERRUPTED)
    until(tuner, INTERRUPTED, PAUSED)
    assert 0 < len(losses(tuner, INTERRUPTED)) < 20
    tuner.resume(INTERRUPTED)
    resumed = until(tuner, INTERRUPTED, "succeeded")
    assert losses(tuner, INTERRUPTED) == pytest.approx(losses(tuner, WHOLE), rel=1e-4)
    assert len(losses(tuner, WHOLE)) == 20
    assert losses(tuner, WHOLE)[-1] < losses(tuner, WHOLE)[0]
    assert resumed.trained_tokens == whole.trained_tokens
    assert [kept.step for kept in tuner.checkpoints(WHOLE)] == [10, 20]
    assert all("valid_loss" in kept.metrics for kept in tuner.checkpoints(WHOLE))
    adapter = gpu_folder() / "jobs" / WHOLE / "adapter"
    read = subprocess.run(
        [PYTHON, "-c", READ, tuner._endpoint.model, adapter], capture_output=True, text=True, check=True, timeout=120
    )
    # PEFT begins with zeros there.
    assert float(read.stdout) > 0
