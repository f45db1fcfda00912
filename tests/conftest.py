"""What every test gets: a home of its own, no keys, no tracking store of the developer's."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal, Price
from luthier.providers.local_service import LocalService
from luthier.tasks.task import Task
from luthier_local import LocalServer, ModelCard
from tests.measured_models import MeasuredModels, measured_models
from tests.memory_tracker import MemoryTracker

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"


# Started in the background or under nohup the suite has these ignored, and so would the programs that tests stop.
for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)


# What imports leave in memory stays there: the garbage collector need not walk it, neither meanwhile nor later.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Each client of openai reads the authorities' certificates, 12 ms of CPU; hundreds of tests make one or more."""
    import httpcore2

    with pytest.MonkeyPatch.context() as here:
        here.setattr(httpcore2, "default_ssl_context", functools.cache(httpcore2.default_ssl_context))
        yield


COUNT = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder of the test's own. For a free name pytest's fixture reads through the folders of all tests before."""
    folder = tmp_path_factory.getbasetemp() / f"{next(COUNT)}-{re.sub(r'[^a-z0-9_]', '-', request.node.name)[:40]}"
    folder.mkdir()
    return folder


SERVICES = ("OPENAI_", "AZURE_", "TOGETHER_", "FIREWORKS_")
"""Beginnings of the variables that hold keys and places of services."""


def forget_the_developer(here: pytest.MonkeyPatch, keep: tuple[str, ...] = ()) -> None:
    for name in list(os.environ):
        if name.startswith((*SERVICES, "MLFLOW_", "LUTHIER_")) and not name.startswith(("LUTHIER_CACHE", *keep)):
            here.delenv(name)


@pytest.fixture(autouse=True)
def clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """LUTHIER_HOME and the working folder in a folder of the test's own; no variable of the developer's."""
    forget_the_developer(monkeypatch, keep=SERVICES if request.node.get_closest_marker("live") else ())
    home = tmp_path / "home"
    monkeypatch.setenv("LUTHIER_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    yield home
    give_back_embedded_server(home)


def give_back_embedded_server(home: Path) -> None:
    """An embedded server stays, with its weights, for as long as a process leases it: here to the end of all tests."""
    with suppress(FileNotFoundError):
        announced = json.loads((home / "local" / "server.json").read_bytes())
        LocalService(announced["port"], announced["token"], announced["pid"]).release()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with the journal in memory and short waits between attempts."""
    made = Engine(Journal.in_memory(), backoff_seconds=0.02, longest_backoff_seconds=0.1)
    yield made
    made.close()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store as MLflow makes it; making one takes seconds, so tests get copies."""
    import mlflow
    import sqlalchemy

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def trust_the_disk(connection: sqlite3.Connection, _: object) -> None:
        # A store that goes with its test need not outlive a loss of power, and waiting for the disk is most of a test.
        # The studies of sweeps are shared with processes that tests start, which would have to agree on the journal.
        if not isinstance(connection, sqlite3.Connection):
            return
        ((_, _, file), *_) = connection.execute("PRAGMA database_list").fetchall()
        if file.endswith("sweeps.db"):
            return
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")

    folder = tmp_path_factory.mktemp("store")
    here = Path.cwd()
    # The store's default experiment keeps its artifacts below the working folder.
    os.chdir(folder)
    try:
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()
    finally:
        os.chdir(here)
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """An empty tracking store at mlflow.db in the working folder; returns its URI."""
    import mlflow

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    return uri


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MemoryTracker:
    """Comparisons and fits keep their runs in memory, unless the test asks for a `store` to see what MLflow shows."""
    from luthier.tracking.tracker import MlflowTracker

    made = MemoryTracker()
    if "store" in request.fixturenames:
        return made
    monkeypatch.setattr(MlflowTracker, "find_fitted", lambda _, task, digest: made.find_fitted(task, digest))
    monkeypatch.setattr(MlflowTracker, "mark_outdated", lambda _, *given: made.mark_outdated(*given))
    monkeypatch.setattr(MlflowTracker, "run", lambda _, *given, **named: made.run(*given, **named))
    return made


@pytest.fixture
def yelp() -> Path:
    """Folder of the Yelp tables; the test is skipped where they are absent."""
    folder = SHARED / "yelp"
    if not folder.is_dir():
        pytest.skip("the Yelp tables are not here")
    return folder


@pytest.fixture
def witness() -> Iterator[tuple[str, list[str]]]:
    """A web server that writes down what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the base class calls it so

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


KEY = "sk-planted-4f1c9a72e0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server on its deterministic backend; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY) as running:
        yield running


@pytest.fixture(scope="session")
def standing_server() -> Iterator[LocalServer]:
    """One server for what is made once and read by many tests: its address is in there."""
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY) as running:
        yield running


@pytest.fixture(scope="session")
def packaged(empty_store: Path, standing_server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose model `stars` has a champion; packaging one takes a while, so tests get copies of the store."""
    spec = lt.Prompt(
        stars(), "Stars for: {{ text }}", answer="score", examples=4, endpoint=priced(standing_server), name="few"
    )
    with standing_store(tmp_path_factory.mktemp("packaged"), empty_store) as file:
        lt.log(spec, train=reviews(80, seed=8), register="stars", alias="champion")
    return file


@contextmanager
def standing_store(folder: Path, empty_store: Path) -> Iterator[Path]:
    """A store that outlives the test, for what is made once; the tests that read from it get copies."""
    import mlflow

    with pytest.MonkeyPatch.context() as here:
        forget_the_developer(here)
        here.chdir(folder)
        here.setenv("LUTHIER_HOME", str(folder / "home"))
        here.setenv("STARS_KEY", KEY)
        shutil.copy(empty_store, folder / "mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        yield folder / "mlflow.db"


@pytest.fixture
def model(packaged: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lt.Model:
    """The packaged champion `stars`, in a store of the test's own; `standing_server` is who it asks."""
    shutil.copy(packaged, tmp_path / "mlflow.db")
    monkeypatch.setenv("STARS_KEY", KEY)
    return lt.load("models:/stars@champion")


@pytest.fixture(scope="session")
def measured(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredModels]:
    """Models that recorded answers when they were packaged; making them takes about ten seconds."""
    with measured_models(tmp_path_factory.mktemp("measured"), empty_store) as found:
        yield found


def stars() -> Task:
    """Stars from 1 to 5."""
    return Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])


@pytest.fixture
def task() -> Task:
    """Stars from 1 to 5."""
    return stars()


def priced(server: LocalServer) -> Endpoint:
    """The server as any OpenAI-compatible endpoint, with a price."""
    return Endpoint(
        provider="compatible",
        base_url=server.base_url,
        model="stars-model",
        api_key_env="STARS_KEY",
        price=Price(input_usd_per_million=1.0, output_usd_per_million=2.0),
    )


@pytest.fixture
def endpoint(server: LocalServer) -> Endpoint:
    """The server as any OpenAI-compatible endpoint, with a price."""
    return priced(server)


def reviews(count: int, seed: int = 7) -> pd.DataFrame:
    """Made-up reviews, all different, each with a rating that fits its words."""
    openings = ["terrible awful", "bad disappointing", "okay average", "good tasty", "great wonderful amazing"]
    things = ["food", "service", "room", "staff", "parking", "soup", "coffee", "music"]
    drawn = random.Random(seed)
    lines = []
    for number in range(count):
        stars = drawn.randint(1, 5)
        thing, other = drawn.sample(things, 2)
        lines.append(
            {
                "id": f"{number:05d}",
                "text": f"The {thing} was {openings[stars - 1]}, {other} visit {number}",
                "stars": stars,
            }
        )
    return pd.DataFrame(lines)


@pytest.fixture
def table() -> pd.DataFrame:
    """Sixty labelled reviews."""
    return reviews(60)


@pytest.fixture
def train() -> pd.DataFrame:
    """Eighty other labelled reviews."""
    return reviews(80, seed=8)
