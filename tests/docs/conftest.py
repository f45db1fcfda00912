"""A folder as the quickstart leaves it, without weights: what the pages' examples find."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

THINGS = ["food", "service", "room", "staff", "parking", "soup", "coffee", "music"]
OPENINGS = ["terrible awful", "bad disappointing", "okay average", "good tasty", "great wonderful amazing"]


def made_up(count: int, seed: int) -> pd.DataFrame:
    """Reviews that say what their stars are, three to a review."""
    drawn = random.Random(seed)
    lines = []
    for number in range(count):
        stars = drawn.randint(1, 5)
        thing, other = drawn.sample(THINGS, 2)
        text = f"The {thing} was {OPENINGS[stars - 1]}, {other} visit {seed * 10_000 + number}"
        lines.append({"review_id": number // 3, "text": text, "stars": stars})
    return pd.DataFrame(lines)


@pytest.fixture
def quickstarted(tmp_path: Path, clean_home: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with data/, models/ and an empty store; its specs ask the deterministic model."""
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "1")
    data, models = tmp_path / "data", tmp_path / "models"
    data.mkdir()
    for name, count in (("train", 120), ("validation", 60), ("test", 60)):
        made_up(count, seed=len(name)).to_csv(data / f"{name}.csv", index=False)
    made_up(30, seed=3)[["review_id", "text"]].to_csv(data / "reviews.csv", index=False)
    shutil.copytree(REPOSITORY / "models" / "endpoints", models / "endpoints")

    from luthier.starting.guessing import guess_task
    from luthier.starting.spec_files import write_specs

    task = guess_task(made_up(120, seed=5), text="text", label="stars").task
    plain = {"provider": "local", "model": "deterministic"}
    write_specs(task, models, overrides={"endpoint": plain, "embedding": plain})
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin")
    return tmp_path
