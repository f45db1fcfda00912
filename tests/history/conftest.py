"""A store with comparisons of three specs on two tables, made once for all tests that read it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import luthier as lt
from luthier_local import LocalServer
from tests.conftest import priced, reviews, standing_store, stars


@dataclass(frozen=True)
class Past:
    """What was done: two comparisons on the same rows, one on others, one on two tables, and a registered version."""

    file: Path
    first: lt.Board
    again: lt.Board
    others: lt.Board
    tables: lt.Boards
    log_run: str


@pytest.fixture(scope="session")
def past_store(empty_store: Path, standing_server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Past:
    with standing_store(tmp_path_factory.mktemp("past"), empty_store) as file:
        endpoint = priced(standing_server)
        baseline = lt.Baseline(stars(), name="baseline")
        zero = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
        train = reviews(80, seed=8)
        first = lt.compare([baseline, zero], reviews(40), train=train)
        again = lt.compare([baseline, zero], reviews(40), train=train)
        others = lt.compare([baseline, zero], reviews(30, seed=9), train=train)
        tables = lt.compare_tables([baseline, zero], {"a": reviews(20), "b": reviews(20, seed=9)}, train=train)
        first["zero"].log(register="stars", alias="champion")
        return Past(file, first, again, others, tables, first["zero"].run_id)


@pytest.fixture
def past(past_store: Past, store: str, tmp_path: Path) -> Past:
    """The store in the working folder of the test."""
    shutil.copy(past_store.file, tmp_path / "mlflow.db")
    return past_store
