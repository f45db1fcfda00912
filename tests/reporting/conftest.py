from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from tests.browser import HEADLESS, browser_program
from tests.patience import PATIENCE_SECONDS

FLAGS = (*HEADLESS, "--window-size=1200,6000", "--virtual-time-budget=8000", "--enable-logging=stderr")


@dataclass(frozen=True)
class Opened:
    """What a browser made of a page: the document after its scripts ran, and what it wrote to the console."""

    document: str
    console: tuple[str, ...]


@pytest.fixture
def chromium(tmp_path: Path) -> Callable[[Path], Opened]:
    """Opens a file in a real browser. A machine without one fails these tests: they are the proof that nothing runs."""
    found = browser_program()

    def open_page(file: Path) -> Opened:
        profile = tmp_path / "profile"
        done = subprocess.run(
            [found, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", file.as_uri()],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        shutil.rmtree(profile, ignore_errors=True)
        return Opened(done.stdout, tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line))

    return open_page


@pytest.fixture(scope="session")
def stars() -> Task:
    return Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5], raters=["ann", "bob"])


def make_board(
    task: Task,
    texts: Sequence[str],
    *,
    names: Sequence[str] = ("few-shot", "zero-shot", "tfidf", "weak"),
    **change: object,
) -> tuple[Leaderboard, Rows]:
    """A leaderboard of simulated specs over these texts; `change` is done to every prediction."""
    generator = np.random.default_rng(1)
    truth = generator.integers(0, len(task.labels), len(texts))
    labels = [task.labels[t] for t in truth]

    def near(noise: float) -> list[str]:
        seen = np.clip(np.rint(truth + generator.normal(0, noise, len(truth))), 0, len(task.labels) - 1)
        return [task.labels[int(s)] for s in seen]

    people = {name: near(0.5) for name in task.raters}
    rows = Rows(
        tuple(
            {task.text: text, task.label: label, **{name: votes[i] for name, votes in people.items()}}
            for i, (text, label) in enumerate(zip(texts, labels, strict=True))
        ),
        tuple(labels),
        task.text,
    )
    candidates = []
    for place, name in enumerate(names):
        flat = (1 - 0.6) / (len(task.labels) - 1)
        predictions = [
            Prediction(
                label,
                "ok",
                tuple(0.6 if known == label else flat for known in task.labels),
                call=CallRecord(label, cost_usd=0.00004 * place, latency_seconds=0.3 + 0.001 * i),
            )
            for i, label in enumerate(
                near(0.8) if place < 3 else [str(label) for label in generator.choice(task.labels, len(texts))]
            )
        ]
        if place == 1:
            call = CallRecord("Sorry.", cost_usd=0.0)
            predictions[0] = Prediction(None, "refused", error="I would rather not", call=call)
        if change:
            said = {name: change[name] for name in ("error", "scores") if name in change}
            paid = {name: value for name, value in change.items() if name not in said}
            predictions = [replace(p, **said, call=replace(p.call, **paid)) for p in predictions]  # type: ignore[arg-type]
        candidates.append(Candidate(name, "prompt", f"model-{place}", "spec", "fitted", tuple(predictions)))
    return build_leaderboard(task, rows, candidates, train_labels=labels, resamples=300), rows


@pytest.fixture(scope="session")
def board(stars: Task) -> Leaderboard:
    return make_board(stars, [f"text {i}" for i in range(200)])[0]


@pytest.fixture
def boards() -> Callable[..., tuple[Leaderboard, Rows]]:
    return make_board
