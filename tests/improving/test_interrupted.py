"""A search that is killed or stopped goes on where it ended, and nothing is paid for twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.improving.scripted_prompts import ScriptedModels, scripted_models, texts, truths_of
from tests.patience import PATIENCE_SECONDS, until

WORDS = ("carefully", "overall")
TRAIN, FRESH = texts(60, 5), texts(60, 5, first=1000)

CONCURRENCY = 4
MOST_TWICE = 64 + CONCURRENCY
"""Requests that may be asked again: those in flight, and answers that were not committed yet."""


def written(models: ScriptedModels, folder: Path) -> list[str]:
    """The files of a search in a folder, and its command."""
    folder.mkdir()
    TRAIN.to_csv(folder / "train.csv", index=False)
    FRESH.to_csv(folder / "fresh.csv", index=False)
    (folder / "task.yaml").write_text("name: mood\ntext: text\nlabel: mood\nlabels: [bad, good]\n")
    for model, file in (("answers", "mood.yaml"), ("writes", "writer.yaml")):
        block = (
            f"provider: compatible\nbase_url: {models.address}\nmodel: {model}\n"
            f"limits: {{concurrency: {CONCURRENCY}}}\nprice: {{input_usd_per_million: 1, output_usd_per_million: 1}}\n"
        )
        if file == "mood.yaml":
            inner = "".join(f"  {line}\n" for line in block.splitlines())
            block = (
                "technique: prompt\ntask: task.yaml\nprompt:\n  system: Say whether the text is good or bad.\n"
                f"  template: '{{{{ text }}}}'\nendpoint:\n{inner}"
            )
        (folder / file).write_text(block)
    return [
        *(sys.executable, "-m", "luthier", "improve", "mood.yaml", "--train", "train.csv", "--validation", "fresh.csv"),
        *("--writer", "writer.yaml", "--budget", "0.5", "--by", "rewrite", "--rows", "40", "--rounds", "2", "--yes"),
    ]


def environment(home: Path, store: str) -> dict[str, str]:
    return {**os.environ, "LUTHIER_HOME": str(home), "MLFLOW_TRACKING_URI": store}


def asked_often(models: ScriptedModels, requests: int, process: subprocess.Popen[str]) -> None:
    """Waits until the service was asked so often."""
    until(lambda: len(models.asked) >= requests or process.poll() is not None)
    assert len(models.asked) >= requests, process.communicate()


@pytest.mark.slow
def test_a_killed_search_goes_on_and_asks_nothing_twice(tmp_path: Path, store: str) -> None:
    with scripted_models(truths_of(TRAIN, FRESH), WORDS, 0.2) as models:
        command = written(models, tmp_path / "whole")
        run = {"cwd": tmp_path / "whole", "capture_output": True, "text": True, "timeout": PATIENCE_SECONDS}
        whole = subprocess.run(command, env=environment(tmp_path / "home-1", store), **run)  # type: ignore[call-overload]
        assert whole.returncode == 0, whole.stderr
        undisturbed = Counter(models.asked)
        assert max(undisturbed.values()) == 1
        models.asked.clear()

        command = written(models, tmp_path / "killed")
        env = environment(tmp_path / "home-2", store)
        for share in (0.2, 0.6):
            process = subprocess.Popen(
                command, cwd=tmp_path / "killed", env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            asked_often(models, round(share * undisturbed.total()), process)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE_SECONDS)
        run["cwd"] = tmp_path / "killed"
        again = subprocess.run(command, env=env, **run)  # type: ignore[call-overload]
        assert again.returncode == 0, again.stderr
        asked = Counter(models.asked)
        assert asked.keys() == undisturbed.keys()
        assert asked.total() - len(asked) <= 2 * MOST_TWICE
        assert (tmp_path / "killed" / "mood-improved.yaml").read_text() == (
            tmp_path / "whole" / "mood-improved.yaml"
        ).read_text()


@pytest.mark.slow
def test_ctrl_c_says_what_is_known_and_how_to_go_on(tmp_path: Path, store: str) -> None:
    with scripted_models(truths_of(TRAIN, FRESH), WORDS, 0.2) as models:
        command = written(models, tmp_path / "stopped")
        env = environment(tmp_path / "home", store)
        process = subprocess.Popen(
            command, cwd=tmp_path / "stopped", env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        asked_often(models, 70, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
        assert "stopped here: " in said and "training rows" in said and "Run the same again" in said
        before = Counter(models.asked)
        assert max(before.values()) == 1
        again = subprocess.run(
            command,
            cwd=tmp_path / "stopped",
            env=env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert again.returncode == 0, again.stderr
        assert max(Counter(models.asked).values()) == 1
