"""The catalogue: names, what is shown, and what is left out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from luthier.accounts import KeptList, OfferedModel
from luthier.errors import UserError
from luthier.model_catalogue import FACTS, Chosen, ModelFilter, catalogue_models
from luthier.model_catalogue.asking import endpoint_of
from luthier.model_catalogue.offered import statements_of
from luthier.model_catalogue.suiting import techniques
from luthier.model_names import parse_model_name
from luthier.providers.endpoint import Endpoint
from luthier_local.service import service_models

TODAY = date(2026, 11, 29)


@pytest.mark.parametrize(
    ("name", "provider", "id_"),
    [
        ("gpt-4.1-mini-2025-04-14", "openai", "gpt-4.1-mini"),
        ("GPT-4.1-mini", "azure", "gpt-4.1-mini"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::abc123", "openai", "gpt-4.1-mini"),
        ("gpt-4.1-mini-2025-04-14.ft-0123abcd-stars", "azure", "gpt-4.1-mini"),
        ("gpt-oss-20b", "fireworks", "accounts/fireworks/models/gpt-oss-20b"),
        ("gpt-4o-2024-05-13", "openai", "gpt-4o-2024-05-13"),
    ],
)
def test_a_model_is_found_by_each_of_its_names(name: str, provider: str, id_: str) -> None:
    assert [one.id for one in catalogue_models([]).named(name, provider)] == [id_]


def test_every_fact_has_a_known_name_a_source_and_a_day() -> None:
    for model in catalogue_models([]).models:
        assert set(model.facts) <= set(FACTS)
        assert all(fact.source and fact.seen <= date.today() for fact in model.facts.values())


def test_the_models_of_the_embedded_server_are_those_it_serves_and_cost_nothing() -> None:
    known = {one.id: one for one in catalogue_models([]).models if one.provider == "local"}
    served = {card.id: card for card in service_models()}
    assert set(known) == set(served)
    for name, card in served.items():
        assert known[name].price == 0.0 and known[name].value("context_tokens") == card.context_tokens
        assert (known[name].value("kind") == "embedding") == (card.embeddings and not card.chat)


def test_every_model_that_luthier_asks_by_name_has_an_endpoint_that_can_be_pasted() -> None:
    for model in catalogue_models([]).models:
        Endpoint.model_validate(endpoint_of(model))


def test_models_are_listed_cheapest_first_and_unknown_prices_last() -> None:
    found = Chosen.of(catalogue_models([]), ModelFilter("rating"), TODAY).models
    prices = [one.price for one in found if one.price is not None]
    assert prices == sorted(prices) and found[0].provider == "local"
    assert all(one.price is None for one in found[len(prices) :])


def test_a_retired_model_is_left_out_unless_it_is_still_fine_tuned() -> None:
    known = catalogue_models([])
    shown = {(one.provider, one.id) for one in Chosen.of(known, ModelFilter("rating"), TODAY).models}
    assert ("openai", "gpt-3.5-turbo") not in shown and ("azure", "gpt-4.1-mini") in shown
    with_retired = Chosen.of(known, ModelFilter("rating", retired=True), TODAY)
    assert ("openai", "gpt-3.5-turbo") in {(one.provider, one.id) for one in with_retired.models}
    assert with_retired.retired == 0


def test_a_retired_base_is_asked_by_its_fine_tunes_only() -> None:
    (azure,) = catalogue_models([]).named("gpt-4.1-mini", "azure")
    assert techniques(azure, "rating", TODAY) == ("fine-tune",)
    assert techniques(azure, "rating", date(2026, 10, 1)) == ("prompt", "fine-tune")
    assert techniques(azure, "rating", date(2027, 4, 14)) == ()


def test_an_embedding_model_suits_labels_by_a_head_on_its_vectors_and_similarity_by_itself() -> None:
    (model,) = catalogue_models([]).named("text-embedding-3-small", "openai")
    assert techniques(model, "rating", TODAY) == techniques(model, "similarity", TODAY) == ("embedding",)
    assert techniques(model, "generation", TODAY) == ()


def test_a_fact_that_is_not_known_is_not_had() -> None:
    found = Chosen.of(catalogue_models([]), ModelFilter(log_probabilities=True, provider="all"), TODAY).models
    assert found and all(one.value("log_probabilities") is True for one in found)


def test_models_for_sound_and_pictures_suit_no_task() -> None:
    known = catalogue_models([])
    for name in ("whisper-1", "gpt-4o-audio-preview", "gpt-image-1", "gpt-4o-search-preview", "moderation"):
        (model,) = known.named(name, "openai")
        assert model.value("tasks") == ()


def test_dear_models_and_short_contexts_can_be_left_out() -> None:
    found = Chosen.of(catalogue_models([]), ModelFilter("rating", most_usd=0.2, least_context=100_000), TODAY).models
    assert found and all(one.value("input_usd_per_million") <= 0.2 for one in found)
    assert all(one.value("context_tokens") >= 100_000 for one in found)


def test_a_task_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(UserError, match="classification, rating, extraction"):
        ModelFilter("regression")


def offered(**facts: Any) -> KeptList:
    """The list of an Azure account with one model in two versions, and a fine-tune."""
    models = (
        OfferedModel("gpt-9", parse_model_name("gpt-9"), name="gpt-9", version="2026-09-01", retires=date(2027, 1, 1)),
        OfferedModel("gpt-9", parse_model_name("gpt-9"), name="gpt-9", version="2026-10-01", **facts),
        OfferedModel("ft", parse_model_name("gpt-9-2026-10-01.ft-0123abcd")),
    )
    return KeptList("azure", "https://stars.openai.azure.com", 1_795_000_000.0, models, "", Path("unused"))


def test_what_an_account_offers_is_a_fact_of_the_newest_version_and_names_the_account() -> None:
    kept = offered(retires=date(2027, 9, 1), fine_tuning_kinds=("supervised",), capabilities={"chatCompletion": "true"})
    (statement,) = statements_of(kept)
    assert (statement.provider, statement.models) == ("azure", ("gpt-9",))
    assert {name: fact.value for name, fact in statement.facts.items()} == {
        "offered": True,
        "kind": "chat",
        "retires": date(2027, 9, 1),
        "fine_tuning": ("supervised",),
        "note": "versions: 2026-09-01, 2026-10-01; these facts are of the last",
    }
    assert {fact.source for fact in statement.facts.values()} == {"the account at https://stars.openai.azure.com"}
    assert {fact.seen for fact in statement.facts.values()} == {kept.day}


def test_what_a_service_does_not_say_of_fine_tuning_is_not_known() -> None:
    (silent,) = statements_of(offered())
    (says_no,) = statements_of(offered(capabilities={"fine_tune": "false"}))
    assert "fine_tuning" not in silent.facts and says_no.facts["fine_tuning"].value == ()


def test_what_an_account_was_not_offered_is_left_out_and_counted() -> None:
    known = replace(catalogue_models([]), asked=frozenset({"openai"}))
    found = Chosen.of(known, ModelFilter("rating", "openai"), TODAY)
    # Lists of what answers need not have what can be trained.
    assert found.models and all(one.value("fine_tuning") for one in found.models) and found.not_offered > 0
    everything = Chosen.of(known, ModelFilter("rating", "openai", everything=True), TODAY)
    assert len(everything.models) == len(found.models) + found.not_offered + found.price_only


def test_the_list_loads_nothing_that_takes_long() -> None:
    program = (
        "import sys; from luthier.cli.main import app; "
        "app(['catalogue', 'list', '--task', 'rating', '--fine-tunable'], standalone_mode=False); "
        "heavy = {'genai_prices', 'numpy', 'scipy', 'pandas', 'mlflow', 'openai', 'luthier.tuning'}; "
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "gpt-4.1-mini" in done.stdout, done.stderr
