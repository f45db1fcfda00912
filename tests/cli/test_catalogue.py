"""`luthier catalogue`: what a user types, offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import luthier as lt
from luthier.model_catalogue import FACTS
from luthier.tasks.known_types import TASK_TYPES
from luthier_local import LocalServer
from tests.cli.conftest import Run


def test_models_that_can_be_fine_tuned_for_a_task_are_listed_with_the_sources_of_their_facts(run: Run) -> None:
    listed = json.loads(run("catalogue", "list", "--task", "rating", "--fine-tunable", "--json").out)
    assert [one["model"] for one in listed if one["provider"] == "local"] == ["wordllama-tunable"]
    for one in listed:
        assert "rating" in one["facts"]["tasks"]["value"] and one["facts"]["fine_tuning"]["value"]
        assert set(one["facts"]) <= set(FACTS)
        assert all(fact["source"] and fact["seen"] for fact in one["facts"].values())


def test_the_table_numbers_the_sources_beneath_it(run: Run) -> None:
    shown = run("catalogue", "list", "--task", "embedding").out
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
    assert task.code == 2 and "Did you mean rating?" in task.err and "a task.yaml" in task.err
    assert provider.code == 2 and "openai" in provider.err


def test_a_task_file_and_a_type_of_ones_own_say_what_models_are_listed_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("{name: mood, type: rating, labels: [bad, good]}", encoding="utf-8")
    by_file = run("catalogue", "list", "--task", tmp_path / "task.yaml", "--json")
    assert by_file.out == run("catalogue", "list", "--task", "rating", "--json").out
    own = run("catalogue", "list", "--task", "tests.tasks.test_another_type:Rent")
    assert "Models for generation" in own.out
    gone = run("catalogue", "list", "--task", tmp_path / "other.yaml")
    assert gone.code == 2 and "other.yaml" in gone.err
    unknown = run("catalogue", "list", "--task", "no_such_module:Price")
    assert unknown.code == 2 and "PYTHONPATH" in unknown.err


@pytest.mark.parametrize("name", sorted(TASK_TYPES))
def test_models_are_listed_for_every_task_type(name: str) -> None:
    found = lt.catalogue(name)
    assert found.task == name
    assert any("prompt" in one["by"] for one in found.document())


def test_the_lists_of_accounts_are_asked_for_with_refresh_and_kept(
    run: Run, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", server.api_key)
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"endpoint: {{provider: compatible, base_url: {server.base_url}, model: any, api_key_env: STARS_KEY}}\n"
    )
    asked = run("catalogue", "list", "--endpoint", file, "--refresh")
    assert asked.code == 0 and "models, kept" in asked.err
    # The next command asks nobody, and knows.
    listed = json.loads(run("catalogue", "list", "--provider", "compatible", "--json").out)
    assert listed and all(one["facts"]["offered"]["source"] == f"the account at {server.base_url}" for one in listed)


def test_an_account_that_cannot_be_asked_does_not_stop_the_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "")
    ended = run("catalogue", "list", "--provider", "groq", "--refresh")
    assert ended.code == 2 and "--endpoint FILE" in ended.err


def test_a_users_own_file_in_the_working_folder_wins(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalogue.yaml").write_text("- {provider: openai, models: gpt-4.1-mini, input_usd_per_million: 0.3}\n")
    assert "$0.30" in run("catalogue", "show", "gpt-4.1-mini", "--provider", "openai").out
    (tmp_path / "catalogue.yaml").write_text("- {provider: openai, models: gpt-4.1-mini, prize: 0.3}\n")
    ended = run("catalogue", "list")
    assert ended.code == 2 and "catalogue.yaml, line 1: 'prize' is no fact" in ended.err


def test_a_notebook_gets_a_list_with_frames_of_models_and_of_facts() -> None:
    found = lt.catalogue("rating", "openai", fine_tunable=True)
    assert [one.id for one in found] == list(found.frame["model"]) and len(found) == len(found.frame)
    assert set(found.facts["source"]) and not found.facts["seen"].isna().any()
    assert "gpt-4.1-mini" in found._repr_html_() and "gpt-4.1-mini" in repr(found)
    assert "gpt-4.1-mini" in lt.describe_model("gpt-4.1-mini")._repr_html_()
