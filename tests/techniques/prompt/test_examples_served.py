"""Nearest and searched examples against the embedded server, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.engine.engine import Engine
from luthier.errors import EndpointError
from luthier.journal.journal import Journal
from luthier.providers.endpoint import Endpoint, compatible
from luthier.tasks.task import Task
from luthier.techniques.prompt.prompt import Prompt
from luthier_local import LocalServer, ModelCard
from tests.conftest import reviews


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", "sk-examples")
    models = [ModelCard("stars-model"), ModelCard("embedder", embeddings=True)]
    with LocalServer(models=models, api_key="sk-examples", record=True) as running:
        yield running


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(Journal.in_memory())
    yield engine
    engine.close()


def endpoint(server: LocalServer, model: str = "stars-model") -> Endpoint:
    return compatible(model, server.base_url, api_key_env="STARS_KEY")


def prompt(task: Task, server: LocalServer, **examples: Any) -> Prompt:
    template = "Review: {{ text }}\nStars:"
    return Prompt(task, template, endpoint=endpoint(server), name="few", examples={"count": 3, **examples})


def nearest(task: Task, server: LocalServer) -> Prompt:
    return prompt(task, server, select="nearest", endpoint=endpoint(server, "embedder"))


def searched(task: Task, server: LocalServer) -> Prompt:
    return prompt(task, server, select="searched", samples=8, rows=20)


def embedded(server: LocalServer) -> list[str]:
    """Every text the server was asked to embed, as often as it was."""
    given = [body["input"] for body in server.received.bodies if "input" in body]
    return [text for texts in given for text in ([texts] if isinstance(texts, str) else texts)]


def test_every_distinct_text_of_300_rows_is_embedded_once_ever(task: Task, server: LocalServer, engine: Engine) -> None:
    spec = nearest(task, server)
    train, test = reviews(100, seed=8), reviews(280)
    table = task.rows(pd.concat([test, test.head(15), train.head(5)]))
    for _ in range(2):
        fitted = engine.drive(spec.fit(task.rows(train, labelled=True)), spec.endpoint)
        found = engine.drive(spec.predict(table, fitted), spec.endpoint)
        assert [prediction.state for prediction in found] == ["ok"] * 300
        assert sorted(embedded(server)) == sorted({*train["text"], *test["text"]})


def test_a_model_that_embeds_otherwise_than_before_is_found_out(
    task: Task, server: LocalServer, engine: Engine
) -> None:
    spec = nearest(task, server)
    fitted = engine.drive(spec.fit(task.rows(reviews(30), labelled=True)), spec.endpoint)
    shorter = replace(fitted, arrays={"vectors": fitted.arrays["vectors"][:, :9]})
    with pytest.raises(EndpointError, match=r" 64 .*training texts.* 9"):
        engine.drive(spec.predict(task.rows(reviews(3, seed=9)), shorter), spec.endpoint)


def test_a_search_asks_what_it_says_it_asked(task: Task, server: LocalServer, engine: Engine) -> None:
    spec = searched(task, server)
    fitted = engine.drive(spec.fit(task.rows(reviews(80), labelled=True)), spec.endpoint)
    assert server.received.total == fitted.state["search"]["requests"] <= 80


def test_an_interrupted_search_pays_nothing_twice(task: Task, server: LocalServer, engine: Engine) -> None:
    spec = searched(task, server)
    train = task.rows(reviews(80), labelled=True)
    cut_short = spec.fit(train)
    requests = next(cut_short)
    for _ in range(4):
        answers = engine.run(requests, endpoint(server)) if requests else []
        requests = cut_short.send(answers)
    cut_short.close()
    fitted = engine.drive(spec.fit(train), spec.endpoint)
    assert server.received.total == fitted.state["search"]["requests"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nearest, searched])
@pytest.mark.usefixtures("store")
def test_the_packaged_model_answers_as_it_was_measured(
    kind: Any, task: Task, server: LocalServer, engine: Engine
) -> None:
    test, train = reviews(40), reviews(80, seed=8)
    board = lt.compare(kind(task, server), test, train=train, engine=engine)
    model = board.best.log()
    scored = lt.load(model.uri).score(test[["text"]], engine=engine)
    calibrate = board.answers("few")
    assert list(scored["label"]) == list(calibrate["label"])
    before = server.received.total
    again = lt.compare(kind(task, server), test, train=train, engine=engine)
    assert server.received.total == before
    figures = ["accuracy", "mse", "qwk"]
    assert again.frame[figures].equals(board.frame[figures])
