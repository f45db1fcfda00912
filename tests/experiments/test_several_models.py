"""Specs with several models: what is asked, what the runs say, and a model that cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import EndpointError
from luthier.experiments.compare import ComparisonSetup
from luthier.model_choice.spec_models import specs_with_models
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, priced, reviews, stars
from tests.memory_tracker import MemoryTracker

TABLES = {"may": reviews(20, seed=1), "june": reviews(30, seed=2)}
MODELS = ["stars-model", "other-model"]
LISTED = 1
"""Requests that ask the server for its models."""


def two(endpoint: Endpoint) -> list[lt.Spec]:
    return [
        lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="short"),
        lt.Prompt(stars(), "How many stars? {{ text }}", answer="score", endpoint=endpoint, name="long"),
    ]


@pytest.fixture(scope="module")
def serving() -> Iterator[LocalServer]:
    """Three models; `vectors` takes no conversation."""
    cards = [ModelCard("stars-model"), ModelCard("other-model", salt="other")]
    cards += [ModelCard("vectors", chat=False, completions=False, embeddings=True)]
    with LocalServer(models=cards, api_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def crossed(serving: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryTracker, lt.Boards]:
    """Two prompts and a baseline, with two models that answer and one that does not, on two tables."""
    with pytest.MonkeyPatch.context() as here:
        here.setenv("STARS_KEY", KEY)
        here.setenv("LUTHIER_HOME", str(tmp_path_factory.mktemp("crossed")))
        specs = specs_with_models([*two(priced(serving)), lt.Baseline(stars(), name="base")], [*MODELS, "vectors"])
        setup = ComparisonSetup(specs.specs, TABLES, reviews(80, seed=8), missing=specs.missing)
        tracker = MemoryTracker()
        return tracker, setup.run_tables(tracker=tracker)


@pytest.fixture
def boards(crossed: tuple[MemoryTracker, lt.Boards]) -> lt.Boards:
    return crossed[1]


@pytest.fixture
def endpoint(serving: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv("STARS_KEY", KEY)
    return priced(serving)


def test_each_prompt_is_measured_with_each_model_and_the_baseline_once(boards: lt.Boards) -> None:
    names = {"base", "short@stars-model", "short@other-model", "long@stars-model", "long@other-model"}
    assert set(boards["may"].frame["name"]) == names
    assert boards["june"]["long@other-model"].spec.base_model == "other-model"


def test_a_model_that_cannot_be_asked_is_a_gap_with_its_reason_and_asked_on_no_further_table(
    boards: lt.Boards,
) -> None:
    for board in boards.boards.values():
        assert set(board.leaderboard.missing) == {"short@vectors", "long@vectors"}
    assert "Missing is short@vectors: " in repr(boards["june"])


def test_runs_have_prompt_and_model_as_parameters_to_group_by(crossed: tuple[MemoryTracker, lt.Boards]) -> None:
    params = [run.params for run in crossed[0].of_kind("candidate")]
    assert len(params) == 2 * 5
    found = {(one["prompt_name"], one["model_name"]) for one in params if one["prompt_name"] != "base"}
    assert found == {(prompt, model) for prompt in ("short", "long") for model in MODELS}


@pytest.mark.usefixtures("tracker")
def test_a_plan_has_a_line_for_each_and_is_what_is_sent(endpoint: Endpoint, serving: LocalServer) -> None:
    table = reviews(10, seed=5)
    plan = lt.plan(two(endpoint), table, models=MODELS)
    assert [spec.name for spec in plan.specs] == [f"{p}@{m}" for p in ("short", "long") for m in MODELS]
    before = serving.received.total
    lt.compare(two(endpoint), table, models=MODELS)
    assert serving.received.total - before - LISTED == plan.requests == 40


@pytest.mark.usefixtures("tracker")
def test_two_specs_that_answer_alike_are_asked_once(endpoint: Endpoint, serving: LocalServer) -> None:
    short, _ = two(endpoint)
    twin = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint.asking("x"), name="twin")
    before = serving.received.total
    board = lt.compare([short, twin], reviews(10, seed=6), models=["other-model"])
    assert serving.received.total - before - LISTED == 10
    assert board.frame["qwk"].nunique() == 1


@pytest.mark.usefixtures("tracker")
def test_a_race_goes_on_without_the_specs_that_a_model_refuses(endpoint: Endpoint) -> None:
    board = lt.compare(two(endpoint), reviews(60, seed=9), models=[*MODELS, "vectors"], race=True)
    assert set(board.leaderboard.missing) == {"short@vectors", "long@vectors"}
    assert board.leaderboard.race is not None
    stopped = {one.name for one in board.leaderboard.race.stopped}
    assert stopped | set(board.frame["name"]) == {f"{p}@{m}" for p in ("short", "long") for m in MODELS}


@pytest.mark.usefixtures("tracker")
def test_where_no_model_can_be_asked_that_is_the_error(endpoint: Endpoint) -> None:
    with pytest.raises(EndpointError, match="vectors"):
        lt.compare(two(endpoint), reviews(5, seed=7), models=["vectors"])


def test_a_leaderboard_read_back_knows_its_gaps_and_what_was_crossed(boards: lt.Boards) -> None:
    board = boards["may"].leaderboard
    again = type(board).from_document(json.loads(json.dumps(board.to_document())))
    assert again.missing == board.missing
    assert again.crossed == board.crossed != ()


def test_what_was_crossed_is_in_frames_of_one_table_and_of_all(boards: lt.Boards) -> None:
    assert set(boards.prompts["name"]) == {"short", "long"}
    assert set(boards.models["name"]) == set(MODELS)
    both = boards["may"].matrix + boards["june"].matrix
    assert boards.matrix.to_numpy() == pytest.approx((both / 2).reindex_like(boards.matrix).to_numpy())
    assert "Prompts across 2 models and 2 tables" in repr(boards)
    assert "Models across 2 prompts\n" in repr(boards["may"])
