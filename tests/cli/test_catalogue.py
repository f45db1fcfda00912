"""`luthier catalogue`: what a user types, offline."""

from __future__ import annotations

import json

from luthier.model_catalogue import FACTS
from tests.cli.conftest import Run


def test_models_that_can_be_fine_tuned_for_a_task_are_listed_with_the_sources_of_their_facts(run: Run) -> None:
    listed = json.loads(run("catalogue", "list", "--task", "rating", "--fine-tunable", "--json").out)
    assert [one["model"] for one in listed if one["provider"] == "local"] == ["wordllama-tunable"]
    for one in listed:
        assert "rating" in one["facts"]["tasks"]["value"] and one["facts"]["fine_tuning"]["value"]
        assert set(one["facts"]) <= set(FACTS)
        assert all(fact["source"] and fact["seen"] for fact in one["facts"].values())


def test_the_table_numbers_the_sources_beneath_it(run: Run) -> None:
    shown = run("catalogue", "list", "--task", "similarity").out
    assert "text-embedding-3-small" in shown and "genai-prices" in shown and "seen" in shown


def test_a_model_is_shown_by_the_name_of_its_snapshot(run: Run) -> None:
    shown = run("catalogue", "show", "gpt-4.1-mini-2025-04-14").out
    assert "gpt-4.1-mini at openai" in shown and "gpt-4.1-mini at azure" in shown
    assert "endpoint: {provider: openai, model: gpt-4.1-mini, api_key_env: OPENAI_API_KEY}" in shown
    assert "learning_rate_multiplier" in shown


def test_a_name_that_no_model_has_is_answered_with_those_near_it(run: Run) -> None:
    ended = run("catalogue", "show", "gpt-4.1-mnii")
    assert ended.code == 2 and "gpt-4.1-mini" in ended.err


def test_an_unknown_task_and_an_unknown_provider_are_answered_with_those_there_are(run: Run) -> None:
    task, provider = run("catalogue", "list", "--task", "ratings"), run("catalogue", "list", "--provider", "opnai")
    assert task.code == 2 and "rating" in task.err
    assert provider.code == 2 and "openai" in provider.err
