"""A registered model with two versions that answer differently, so that an answer tells which one gave it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from tests.conftest import standing_store


@pytest.fixture(scope="session")
def moods(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model `mood`: version 1, the champion, and version 2, which answers the opposite."""
    words = {"good": ["fine", "lovely", "superb"], "bad": ["awful", "cold", "rude"]}
    rows = [(f"a {word} place, visit {n}", label) for n in range(10) for label, some in words.items() for word in some]
    table = pd.DataFrame(rows, columns=["text", "label"])
    opposite = table.assign(label=table["label"].map({"good": "bad", "bad": "good"}))
    with standing_store(tmp_path_factory.mktemp("moods"), empty_store) as file:
        for rows_of_version, alias in ((table, "champion"), (opposite, None)):
            train, test = rows_of_version[:48], rows_of_version[48:]
            board = lt.compare(lt.Baseline(lt.Task("mood", labels=["bad", "good"])), test=test, train=train)
            lt.log(board.best, register="mood", alias=alias)
    return file


@pytest.fixture
def mood_store(moods: Path, store: str, tmp_path: Path) -> str:
    """A copy of that store in the test's working folder."""
    shutil.copy(moods, tmp_path / "mlflow.db")
    return store
