"""Models on one's own rows: places that are shared, a budget that holds, a refusal that stops no other."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.endpoints import Engine, RunOptions
from luthier.errors import BudgetReached, EndpointError, UserError
from luthier.model_catalogue import catalogue_models
from luthier.model_choice.askable import askable_places
from luthier.model_choice.candidates import ranked_models
from luthier.model_choice.rank_setup import RankSetup
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, reviews, stars
from tests.memory_tracker import MemoryTracker
from tests.scripted_server import Refused, serving
from tests.tasks.type_samples import SAMPLES, Sample

TODAY = date(2026, 11, 1)
WORDS = ("terrible", "poor", "okay", "good", "excellent")
RIGHT = {"sharp": 0.95, "sharp-too": 0.95, "dull": 0.3}
"""Share of the rows that a model answers right."""
DOLLARS = {"sharp": 4.0, "sharp-too": 1.0, "dull": 0.5}


@dataclass
class Service:
    """A service of models of known quality, and what was asked of it."""

    base_url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    ends: dict[str, int] = field(default_factory=dict)
    thinking: set[str] = field(default_factory=set)

    def answer(self, body: bytes) -> str:
        request = json.loads(body)
        model, text = request["model"], request["messages"][-1]["content"]
        self.asked[model] += 1
        if model == "gone":
            raise Refused(
                404, json.dumps({"error": {"message": "The model `gone` does not exist", "code": "model_not_found"}})
            )
        if self.asked[model] > self.ends.get(model, self.asked[model]):
            raise Refused(403, json.dumps({"error": {"message": f"{model} is closed to you", "code": "closed"}}))
        if model in self.thinking and "temperature" in request:
            refusal = {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}
            raise Refused(400, json.dumps({"error": {**refusal, "code": "unsupported_parameter"}}))
        openings = ("terrible", "disappointing", "average", "tasty", "wonderful")
        truth = next(place for place, word in enumerate(openings) if word in text)
        drawn = random.Random(f"{model} {text}")
        said = WORDS[truth if drawn.random() < RIGHT[model] else drawn.randrange(5)]
        usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return json.dumps({"id": "1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage})

    def place(self, model: str, **settings: Any) -> dict[str, Any]:
        """The blocks of an endpoint file."""
        price = {"input_usd_per_million": DOLLARS.get(model, 1.0), "output_usd_per_million": DOLLARS.get(model, 1.0)}
        endpoint = {"provider": "compatible", "base_url": self.base_url, "model": model, "api_key_env": "STARS_KEY"}
        return {"endpoint": {**endpoint, "price": price, **settings}}


@pytest.fixture
def service(tracker: MemoryTracker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("STARS_KEY", KEY)
    made = Service()
    with serving(200, made.answer) as base_url:
        made.base_url = base_url
        yield made


def rank(service: Service, *models: str, rows: int = 60, **settings: Any) -> RankSetup:
    places = [service.place(model) for model in models]
    return RankSetup(stars(), reviews(rows), places, most=len(models), today=TODAY, **settings)


def test_models_that_cannot_be_told_apart_share_a_place_and_the_cheapest_stands_first(
    service: Service, engine: Engine
) -> None:
    found = rank(service, "sharp", "sharp-too", "dull").run(RunOptions(engine=engine))
    assert [(one.place, one.entry.name) for one in found.places] == [(1, "sharp-too"), (1, "sharp"), (3, "dull")]
    assert found.best.entry.name == "sharp-too"
    assert "2 models share the first place; the cheapest of them is sharp-too" in found.sentences[0]


def test_a_model_that_does_not_exist_is_named_with_its_reason_and_stops_no_other(
    service: Service, engine: Engine
) -> None:
    found = rank(service, "gone", "sharp", "dull").run(RunOptions(engine=engine))
    assert [one.entry.name for one in found.places] == ["sharp", "dull"]
    [failed] = found.failed
    assert failed.name == "gone"
    assert "does not exist" in failed.why
    assert service.asked["gone"] == 1
    assert any("gone gave no answer" in said for said in found.sentences)


def test_where_no_model_answers_that_is_the_error(service: Service, engine: Engine) -> None:
    with pytest.raises(EndpointError, match="no model answered.*gone"):
        rank(service, "gone").run(RunOptions(engine=engine))


def test_a_budget_pays_for_fewer_rows_of_all_models_and_is_held(service: Service, engine: Engine) -> None:
    whole = rank(service, "sharp", "dull").plan(RunOptions(engine=engine)).cost_usd_high
    assert whole is not None
    options = RunOptions.within(whole / 2, engine=engine)
    setup = rank(service, "sharp", "dull")
    plan = setup.plan(options)
    assert 20 <= setup.rows <= 30
    assert plan.cost_usd_high is not None
    assert plan.cost_usd_high <= whole / 2
    found = setup.run(options)
    assert len(found.places) == 2
    assert found.board.spent_usd is not None
    assert found.board.spent_usd <= whole / 2
    assert service.asked == Counter({"sharp": setup.rows, "dull": setup.rows})


def test_a_budget_below_20_rows_of_all_leaves_the_dearest_model_out(service: Service, engine: Engine) -> None:
    both = rank(service, "sharp", "dull", rows=20).plan(RunOptions(engine=engine)).cost_usd_high
    assert both is not None
    setup = rank(service, "sharp", "dull")
    setup.plan(RunOptions.within(both * 0.9, engine=engine))
    assert list(setup.models) == ["dull"]
    assert [one.name for one in setup.left_out] == ["sharp"]
    with pytest.raises(BudgetReached, match="Raise --budget"):
        rank(service, "sharp").plan(RunOptions.within(both / 100, engine=engine))


def test_a_model_without_a_price_is_left_out_where_there_is_a_budget(service: Service, engine: Engine) -> None:
    places = [service.place("sharp", price=None), service.place("dull")]
    setup = RankSetup(stars(), reviews(30), places, today=TODAY)
    setup.plan(RunOptions.within(5, engine=engine))
    assert list(setup.models) == ["dull"]
    assert "its price is not known" in setup.left_out[0].why


def test_a_second_run_with_more_rows_pays_for_the_new_ones_only(service: Service, engine: Engine) -> None:
    rank(service, "sharp", "dull", rows=30).run(RunOptions(engine=engine))
    rank(service, "sharp", "dull", rows=50).run(RunOptions(engine=engine))
    assert service.asked == Counter({"sharp": 50, "dull": 50})


def test_a_name_is_asked_as_the_service_spells_it() -> None:
    place = {"endpoint": {"provider": "openai", "model": "gpt-4.1", "api_key_env": "OPENAI_API_KEY"}}
    models, _ = ranked_models(
        catalogue_models([]), [place], task="rating", technique="prompt", most=3, today=TODAY, names=["GPT-5.5"]
    )
    assert [(one.name, one.endpoint.model) for one in models] == [("gpt-5.5", "gpt-5.5")]


def test_endpoints_that_share_the_work_of_one_model_are_not_asked_for_another() -> None:
    second = {"provider": "openai", "model": "gpt-4.1", "api_key_env": "SECOND_KEY"}
    place = {
        "endpoint": {"provider": "openai", "model": "gpt-4.1", "api_key_env": "OPENAI_API_KEY", "others": [second]}
    }
    models, _ = ranked_models(
        catalogue_models([]), [place], task="rating", technique="prompt", most=3, today=TODAY, names=["gpt-5.5"]
    )
    assert [one.model for one in models[0].endpoint.pool] == ["gpt-5.5"]


def test_an_unknown_name_is_answered_with_those_like_it() -> None:
    place = {"endpoint": {"provider": "openai", "model": "gpt-4.1", "api_key_env": "OPENAI_API_KEY"}}
    with pytest.raises(UserError, match=r"Did you mean gpt-4\.1-mini"):
        ranked_models(
            catalogue_models([]), [place], task="rating", technique="prompt", most=3, today=TODAY, names=["gpt4.1mini"]
        )


def test_models_that_retire_soon_are_chosen_only_by_name() -> None:
    place = {"endpoint": {"provider": "openai", "model": "gpt-5.5", "api_key_env": "OPENAI_API_KEY"}}
    models, left_out = ranked_models(
        catalogue_models([]), [place], task="rating", technique="prompt", most=5, today=TODAY
    )
    chosen = [one.known for one in models[1:]]
    assert len(models) == 5
    assert all(one is not None and (one.retires is None or (one.retires - TODAY).days >= 90) for one in chosen)
    assert any("stops answering" in one.why for one in left_out)


def test_a_notebook_ranks_with_a_spec_of_its_own(service: Service, store: str, engine: Engine) -> None:
    endpoints = [lt.compatible(model, service.base_url, api_key_env="STARS_KEY") for model in ("sharp", "dull")]
    answer = {"method": "text", "words": dict(zip("12345", WORDS, strict=True))}
    recipe = lt.Prompt(stars(), "Stars for: {{ text }}", answer=answer, endpoint=endpoints[0], name="mine")
    found = lt.rank_models(reviews(40), spec=recipe, endpoints=endpoints, engine=engine)
    assert isinstance(found.frame, pd.DataFrame)
    assert list(found.frame["name"]) == ["sharp", "dull"]
    assert mlflow.get_run(found.board.run_id).info.status == "FINISHED"


def test_one_that_stops_answering_half_way_is_left_out_and_the_others_are_ranked(
    service: Service, engine: Engine
) -> None:
    service.ends["sharp"] = 20
    found = rank(service, "sharp", "dull").run(RunOptions(engine=engine))
    assert [one.entry.name for one in found.places] == ["dull"]
    assert "sharp" in {one.name for one in found.failed}


def test_a_model_that_takes_no_temperature_is_asked_without_one(service: Service, engine: Engine) -> None:
    service.thinking.add("sharp")
    found = rank(service, "sharp", "dull").run(RunOptions(engine=engine))
    assert [one.entry.name for one in found.places] == ["sharp", "dull"]
    assert not found.failed


@pytest.mark.parametrize("race", [False, True])
def test_a_comparison_with_several_models_asks_it_without_one_too(service: Service, engine: Engine, race: bool) -> None:
    service.thinking.add("sharp")
    words = dict(zip("12345", WORDS, strict=True))
    specs = [
        lt.Prompt(
            stars(), template, answer={"method": "text", "words": words}, endpoint=service.place(model)["endpoint"],
            name=name,
        )
        for name, template, model in (("short", "{{ text }}", "dull"), ("long", "Review: {{ text }}", "sharp"))
    ]  # fmt: skip
    board = lt.compare(specs, reviews(60), models=["sharp", "dull"], race=race, engine=engine)
    assert not board.leaderboard.missing
    found = {result.spec.name: result.spec for result in (*board.results, *board.stopped_results)}
    temperatures = {name: spec.decoding.temperature for name, spec in found.items() if isinstance(spec, lt.Prompt)}
    assert temperatures == {"short@sharp": None, "long@sharp": None, "short@dull": 0.0, "long@dull": 0.0}


def test_a_recipe_that_embeds_asks_each_model_that_embeds(
    tracker: MemoryTracker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    cards = [ModelCard(name, chat=False, embeddings=True, salt=name) for name in ("short", "long")]
    with LocalServer(models=cards, api_key=KEY) as server:
        endpoint = lt.compatible("short", server.base_url, api_key_env="STARS_KEY")
        places = [{"endpoint": {}, "embedding": {**endpoint.model_dump(), "model": one.id}} for one in cards]
        recipe = lt.Embedding(stars(), endpoint=endpoint, name="vectors")
        setup = RankSetup(stars(), reviews(30), places, recipe=recipe, train=reviews(60, seed=8), today=TODAY)
        found = setup.run(RunOptions(engine=engine))
    asked = {result.spec.name: result.spec.endpoint for result in found.board.results}
    assert {name: endpoint and endpoint.model for name, endpoint in asked.items()} == {"short": "short", "long": "long"}


def test_a_folders_endpoint_file_sends_no_key_to_an_address_that_only_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    folder = Path("models/endpoints")
    folder.mkdir(parents=True)
    address = "{provider: openai, base_url: https://elsewhere.invalid/v1, model: gpt-5.5}"
    (folder / "openai.yaml").write_text(f"endpoint: {address}", encoding="utf-8")
    found = askable_places()
    assert [blocks["endpoint"]["provider"] for blocks in found.places] == ["local"]
    assert "elsewhere.invalid" in found.left_out[0].why


def test_models_that_a_server_of_ones_own_lists_are_candidates(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalServer(models=[ModelCard("here"), ModelCard("there")], api_key=KEY) as own:
        monkeypatch.setenv("STARS_KEY", KEY)
        Path("own.yaml").write_text(
            f"endpoint: {{provider: compatible, base_url: {own.base_url}, model: here, api_key_env: STARS_KEY}}",
            encoding="utf-8",
        )
        found = askable_places(["own.yaml"])
    setup = RankSetup(stars(), reviews(30), found.places, listed=found.listed, today=TODAY)
    assert list(setup.models) == ["here", "there"]


def test_a_model_that_both_the_catalogue_and_its_server_list_is_one_candidate(service: Service) -> None:
    listed = [service.place("sharp-too"), service.place("dull")]
    fact = {"provider": "compatible", "source": "me", "seen": TODAY, "kind": "chat"}
    Path("own.yaml").write_text(yaml.safe_dump([{**fact, "models": ["sharp-too", "dull"]}]), encoding="utf-8")
    known = catalogue_models([Path("own.yaml")])
    setup = RankSetup(stars(), reviews(30), [service.place("sharp")], listed=listed, catalogue=known, today=TODAY)
    assert sorted(setup.models) == ["dull", "sharp", "sharp-too"]
    assert "one of many" not in {one.why for one in setup.left_out}


def test_rows_that_are_paid_for_are_kept_where_the_budget_leaves_a_new_model_out(
    service: Service, engine: Engine
) -> None:
    rank(service, "dull", rows=50).run(RunOptions(engine=engine))
    setup = rank(service, "dull", "sharp", rows=50)
    setup.plan(RunOptions.within(0.00001, engine=engine))
    assert (list(setup.models), setup.rows) == (["dull"], 50)


def test_a_name_nearly_that_of_a_servers_model_is_answered_by_it(service: Service) -> None:
    with pytest.raises(UserError, match="Did you mean sharp"):
        rank(service, "sharp", models=["shrap"])
    assert not service.asked


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_embedded_model_is_asked_for_answers_of_every_type(sample: Sample, tmp_path: Path) -> None:
    embedded = askable_places(provider="local", folder=tmp_path).places
    setup = RankSetup(sample.task, pd.DataFrame(sample.table(20)), embedded, today=TODAY)
    [planned] = setup.plan().specs
    assert planned.calls.low == 20


def test_many_labels_are_read_from_what_the_embedded_model_writes_which_is_one_call_a_row(tmp_path: Path) -> None:
    task = lt.Task("intent", labels=[f"thing_{number}" for number in range(150)])
    table = pd.DataFrame({"text": [f"text {n}" for n in range(20)], "label": [f"thing_{n}" for n in range(20)]})
    setup = RankSetup(task, table, askable_places(provider="local", folder=tmp_path).places, today=TODAY)
    [planned] = setup.plan().specs
    assert (planned.calls.low, planned.calls.high) == (20, 20)
