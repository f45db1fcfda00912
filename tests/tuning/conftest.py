"""A server that fine-tunes without weights, a spec for its base model, tables, and time that does not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Price
from luthier.tuning.timing import Timing
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY

BASE = "tunable-base"


@dataclass
class Time:
    """Passes only where something waits."""

    now: float = 1_800_000_000.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    """Time for a tuner that waits."""
    return Time()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """The embedded server with a base model that can be tuned; its key is in STARS_KEY.

    A test may give the seconds that it rests after every step.
    """
    monkeypatch.setenv("STARS_KEY", KEY)
    models = [ModelCard(BASE, backend="tunable-hashed", completions=False), ModelCard("stars-model")]
    with LocalServer(models=models, api_key=KEY, training_step_seconds=getattr(request, "param", 0.0)) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    """Polls without pause and waits no longer than a thousandth of a second."""
    import time

    return Timing(wait=lambda seconds: time.sleep(min(seconds, 0.001)), poll_seconds=0.01)


@pytest.fixture
def spec(task: lt.Task, server: LocalServer) -> lt.FineTune:
    """Two epochs on the server's base model."""
    return make_spec(task, server)


MakeSpec = Callable[..., lt.FineTune]


def make_spec(task: lt.Task, server: LocalServer, **changes: object) -> lt.FineTune:
    endpoint = Endpoint(
        provider="compatible",
        base_url=server.base_url,
        model=BASE,
        api_key_env="STARS_KEY",
        price=Price(input_usd_per_million=1, output_usd_per_million=2, training_usd_per_million=10),
    )
    given: dict[str, object] = {
        "name": "tuned-stars",
        "answer": "score",
        "endpoint": endpoint,
        "tuning": {"epochs": 2, "batch_size": 8, "learning_rate_multiplier": 0.3},
    }
    return lt.FineTune(task, "Stars for: {{ text }}", **(given | changes))


@pytest.fixture
def jobs_at(server: LocalServer) -> Callable[[], list[str]]:
    """Ids of every job the server has taken, whatever became of it."""

    def listed() -> list[str]:
        import openai

        with openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
            return [job.id for job in client.fine_tuning.jobs.list()]

    return listed


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The working folder."""
    return tmp_path
