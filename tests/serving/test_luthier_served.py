"""A Luthier model behind a server: the same predictions as in a batch, whatever the form of the request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.engine.loop import wait_for
from luthier.packaging.model import LuthierModel
from luthier.packaging.serving_engine import ServingEngine
from luthier.serving.daily_budget import DailyBudget
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.refusals import Refusal
from luthier.serving.request_rows import rows_of_request
from luthier.serving.served_model import ScoringRequest, ServedModelFacts
from luthier.serving.settings import ServerSettings
from luthier.spec import Fitted, Spec
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, priced, reviews, stars
from tests.patience import PATIENCE_SECONDS

TEMPLATE = "Stars for: {{ text }}"

TECHNIQUES: Mapping[str, Callable[[Endpoint], Spec]] = {
    "baseline": lambda endpoint: lt.Baseline(stars()),
    "embedding": lambda endpoint: lt.Embedding(stars(), endpoint=endpoint.model_copy(update={"model": "vectors"})),
    "zero-shot": lambda endpoint: lt.Prompt(stars(), TEMPLATE, endpoint=endpoint),
    "few-shot": lambda endpoint: lt.Prompt(stars(), TEMPLATE, examples=4, answer="score", endpoint=endpoint),
    "decision": lambda endpoint: lt.Decision(stars(), endpoint=endpoint),
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A server with every operation: chat, embeddings and decisions."""
    monkeypatch.setenv("STARS_KEY", KEY)
    cards = [ModelCard("stars-model"), ModelCard("vectors", chat=False, completions=False, embeddings=True)]
    with LocalServer(models=cards, api_key=KEY) as running:
        yield priced(running)


def served(fitted: Fitted, budget: DailyBudget | None = None, **settings: Any) -> LuthierServed:
    facts = ServedModelFacts(uri="here", name="stars", labels=fitted.spec.task.labels)
    return LuthierServed(fitted, facts, ServerSettings(port=0, without_key=True, **settings), budget=budget)


def answered(model: LuthierServed, *requests: ScoringRequest, seconds: float = PATIENCE_SECONDS) -> list[Any]:
    """The predictions of each request, or its refusal; all are asked at once."""

    async def ask() -> list[Any]:
        await model.start()
        try:
            return await asyncio.gather(
                *(model.answer(request, seconds) for request in requests), return_exceptions=True
            )
        finally:
            await model.close()

    found = wait_for(ask())
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, Refusal):
            raise each
    return found


def records_of(fitted: Fitted, frame: pd.DataFrame) -> list[dict[Any, Any]]:
    engine = ServingEngine()
    try:
        return LuthierModel(fitted, engine).predict(frame).to_dict("records")
    finally:
        engine.close()


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_technique_answers_as_in_a_batch_in_every_form(technique: str, endpoint: Endpoint) -> None:
    fitted = lt.fit(TECHNIQUES[technique](endpoint), train=reviews(80, seed=8))
    frame = reviews(130)[["id", "text"]]
    frame.loc[3, "text"] = None
    rows = json.loads(frame.to_json(orient="records"))
    texts = [row["text"] for row in rows]
    requests = [
        ScoringRequest("dataframe_records", rows),
        ScoringRequest("dataframe_split", {"columns": ["id", "text"], "data": [list(row.values()) for row in rows]}),
        ScoringRequest("inputs", {"text": texts}),
        ScoringRequest("instances", texts),
        ScoringRequest("table", pa.Table.from_pylist(rows)),
    ]
    expected = records_of(fitted, frame)
    for request, answer in zip(requests, answered(served(fitted), *requests), strict=True):
        assert answer.predictions == expected, request.form
        assert answer.rows == 130
        assert answer.states["empty"] == 1
        json.dumps(answer.predictions, allow_nan=False)


@pytest.mark.parametrize(
    ("form", "data", "named"),
    [
        ("dataframe_split", {"columns": ["txt"], "data": [["secret"]]}, "'text' is missing"),
        ("dataframe_split", {"columns": ["text", "text"], "data": [["secret", "secret"]]}, "'text' twice"),
        ("dataframe_split", {"data": [["secret", "secret"]]}, "names no columns"),
        ("dataframe_records", [{"text": ["secret"]}], "Row 1: column 'text'"),
        ("dataframe_records", [{"txt": "secret"}], "'text' is missing"),
        ("inputs", {"text": ["secret"], "id": ["secret", "secret"]}, "different lengths"),
        ("inputs", {"text": "secret", "id": ["secret"]}, "Column 'text' of inputs"),
        ("inputs", 3, "inputs has to hold"),
        ("instances", [["secret"]], "instances has to hold"),
        ("table", pa.table({"txt": ["secret"]}), "'text' is missing"),
        ("table", pa.table({"text": [["secret"]]}), "'text' has to hold texts"),
    ],
)
def test_rows_that_do_not_fit_are_refused_without_a_cell_of_theirs(form: Any, data: Any, named: str) -> None:
    with pytest.raises(Refusal) as refused:
        rows_of_request(lt.Baseline(stars()), ScoringRequest(form, data))
    assert refused.value.status == 400
    assert named in refused.value.message
    assert "secret" not in refused.value.message


def test_a_number_in_the_text_column_is_a_text_and_nothing_is_nothing() -> None:
    rows = rows_of_request(lt.Baseline(stars()), ScoringRequest("inputs", {"text": [1, 1.5, None, float("nan"), "a"]}))
    assert rows.texts == ("1", "1.5", None, None, "a")


def test_params_hold_for_one_request_and_unknown_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY, record=True) as server:
        check_params(server)


def check_params(server: LocalServer) -> None:
    fitted = Fitted(lt.Prompt(stars(), TEMPLATE, endpoint=priced(server)))
    model = served(fitted)
    asked: list[dict[str, Any]] = [{"max_tokens": 1, "unknown": 2}, {}, {"temperature": None}, {"max_tokens": "many"}]
    found = answered(model, *(ScoringRequest("inputs", ["fine soup"], params) for params in asked))
    plain = records_of(fitted, pd.DataFrame({"text": ["fine soup"]}))
    assert found[1].predictions == found[2].predictions == plain
    assert isinstance(found[3], Refusal)
    assert (found[3].status, "max_tokens" in found[3].message, "many" in found[3].message) == (400, True, False)
    limits = {body["max_tokens"] for body in server.received.bodies}
    assert len(limits) == 2 and min(limits) == 1 < max(limits)
    assert not any("unknown" in body for body in server.received.bodies)


def test_more_requests_than_there_are_places_for_are_refused(endpoint: Endpoint) -> None:
    model = served(Fitted(lt.Prompt(stars(), TEMPLATE, endpoint=endpoint)), most_requests=2)
    found = answered(model, *(ScoringRequest("inputs", [f"soup {number}"]) for number in range(5)))
    refusals = [each for each in found if isinstance(each, Refusal)]
    assert [each.status for each in refusals] == [429] * 3
    assert all((each.retry_after_seconds or 0) >= 1 for each in refusals)
    assert model.readiness().is_ready
