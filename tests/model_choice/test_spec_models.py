"""Specs with other models in place of their own: which are, under what names, and what cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.errors import SpecError, UserError
from luthier.model_choice.spec_models import specs_with_models
from luthier.techniques.finetune import Tuned
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, stars
from tests.model_choice.conftest import known, listed

ASK = "Stars for: {{ text }}"
CATALOGUE = known(
    listed("openai", "mini", log_probabilities=True),
    listed("openai", "thinker", log_probabilities=False),
    listed("openai", "text-embedding-9", kind="embedding"),
    listed("together", "org/far"),
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("STARS_KEY", KEY)


def asked(name: str, model: str = "own", **settings: Any) -> lt.Prompt:
    given: dict[str, Any] = {"answer": "text", "endpoint": lt.openai(model)} | settings
    return lt.Prompt(stars(), ASK, name=name, **given)


def test_every_spec_is_asked_with_every_model_and_the_names_say_which() -> None:
    found = specs_with_models([asked("a"), asked("b", examples=2)], ["mini", "own"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["a@mini", "a@own", "b@mini", "b@own"]
    assert [spec.base_model for spec in found.specs] == ["mini", "own"] * 2
    assert found.missing == {}


def test_a_spec_that_is_asked_with_its_own_model_answers_as_before() -> None:
    spec = asked("a", endpoint=lt.openai("own", timeout_seconds=9))
    [same] = specs_with_models([spec], ["own"], catalogue=CATALOGUE).specs
    assert same.digest == spec.digest
    assert same.endpoint == spec.endpoint


def test_specs_without_a_model_of_their_own_choice_stay_as_they_are_and_are_named() -> None:
    tuned = lt.FineTune(
        stars(), ASK, answer="text", endpoint=lt.openai("own"), name="tuned",
        tuned=Tuned(model="ft:own:me::abc", job="ftjob-1", base_model="own"),
    )  # fmt: skip
    found = specs_with_models([lt.Baseline(stars(), name="base"), tuned, asked("a")], ["mini"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["base", "tuned", "a@mini"]
    assert [note.split()[0] for note in found.notes] == ["base", "tuned"]
    with pytest.raises(UserError, match="base calls no model; tuned asks a model that was fine-tuned"):
        specs_with_models([lt.Baseline(stars(), name="base"), tuned], ["mini"], catalogue=CATALOGUE)


def test_a_model_that_thinks_gets_room_for_it_and_a_spec_that_reads_probabilities_is_missing_there() -> None:
    found = specs_with_models([asked("a"), asked("b", answer="score")], ["mini", "thinker"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["a@mini", "a@thinker", "b@mini"]
    thinking = found.specs[1]
    assert isinstance(thinking, lt.Prompt)
    assert thinking.decoding.temperature is None
    assert list(found.missing) == ["b@thinker"]
    assert "gives no log-probabilities" in found.missing["b@thinker"]


def test_models_that_embed_take_the_place_of_those_that_embed_only() -> None:
    vectors = lt.Embedding(stars(), endpoint=lt.openai("text-embedding-3-small"), name="near")
    found = specs_with_models([vectors, asked("a")], ["mini", "text-embedding-9"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["near@text-embedding-9", "a@mini"]
    found = specs_with_models([vectors, asked("a")], ["mini"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["near", "a@mini"]
    with pytest.raises(UserError, match="text-embedding-9, which embeds texts"):
        specs_with_models([asked("a")], ["text-embedding-9"], catalogue=CATALOGUE)


def test_two_specs_that_differed_in_their_model_only_are_the_same_and_said_to_be() -> None:
    found = specs_with_models([asked("a", "own"), asked("b", "mini")], ["mini"], catalogue=CATALOGUE)
    assert len({spec.digest for spec in found.specs}) == 1
    assert "a@mini, b@mini are the same but for their names" in found.notes[-1]


def test_a_spec_named_for_a_model_is_known_by_its_prompt_with_another_one() -> None:
    found = specs_with_models([asked("a@own"), asked("b@own"), asked("b@x", "x")], ["mini"], catalogue=CATALOGUE)
    assert [spec.name for spec in found.specs] == ["a@mini", "b-own@mini", "b-x@mini"]


def test_the_points_of_a_grid_are_asked_with_every_model_and_stay_points_of_it() -> None:
    specs = lt.grid(asked("a"), {"decoding.temperature": [0, 1]})
    found = specs_with_models(specs, ["mini", "own"], catalogue=CATALOGUE).specs
    assert [spec.name for spec in found[:2]] == ["a.temperature-0@mini", "a.temperature-0@own"]
    assert [spec.grid_point for spec in found] == [spec.grid_point for spec in specs for _ in range(2)]


def test_an_endpoint_file_beside_says_where_models_are_asked(tmp_path: Path) -> None:
    file = tmp_path / "there.yaml"
    file.write_text("provider: openai\nmodel: mini\nbase_url: http://127.0.0.1:9/v1\n")
    [spec] = specs_with_models([asked("a")], ["mini"], endpoint=file, catalogue=CATALOGUE).specs
    assert spec.endpoint is not None
    assert spec.endpoint.address == "http://127.0.0.1:9/v1"


def test_a_model_that_no_service_has_is_refused_with_what_can_be_asked() -> None:
    with LocalServer(models=[ModelCard("one"), ModelCard("two")], api_key=KEY) as server:
        here = lt.compatible("one", server.base_url, api_key_env="STARS_KEY")
        specs = [asked("a", endpoint=here)]
        assert specs_with_models(specs, ["two"], catalogue=CATALOGUE).specs[0].name == "a@two"
        with pytest.raises(UserError, match="no service here has a model 'tow'.* These can be asked: one, two"):
            specs_with_models(specs, ["tow"], catalogue=CATALOGUE)
    with pytest.raises(UserError, match="org/far answers at together, and no endpoint file here"):
        specs_with_models([asked("a")], ["org/far"], catalogue=CATALOGUE)


def test_a_spec_is_named_prompt_at_model_and_no_other_way() -> None:
    for name in ("a@b@c", "@b", "a@", "a b", "a" * 65):
        with pytest.raises(SpecError, match="name"):
            asked(name)
