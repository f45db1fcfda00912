"""Files of facts: what they say, and what is said of what is wrong in them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from luthier.documents import parse_yaml
from luthier.model_catalogue import CatalogueFileError, catalogue_models
from luthier.model_catalogue.catalogue import KNOWN_MODELS
from luthier.model_catalogue.statements import read_statements


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.yaml"


def test_a_statement_of_the_user_wins_fact_by_fact_and_names_its_file_and_day(file: Path) -> None:
    file.write_text("- {provider: openai, models: gpt-4.1-mini, input_usd_per_million: 0.3}\n")
    (model,) = catalogue_models([file]).named("gpt-4.1-mini", "openai")
    price = model.facts["input_usd_per_million"]
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    assert (price.value, price.source, price.seen) == (0.3, str(file), written)
    assert model.facts["output_usd_per_million"].source.startswith("genai-prices")


def test_a_model_and_a_provider_of_the_users_own_are_in_the_catalogue(file: Path) -> None:
    file.write_text(
        "- provider: basement\n  models: [stars-7b]\n  source: the wiki\n  seen: 2026-11-01\n  context_tokens: 8192\n"
    )
    known = catalogue_models([file])
    (model,) = known.named("stars-7b")
    assert model.value("context_tokens") == 8192 and model.facts["context_tokens"].seen == date(2026, 11, 1)
    assert model.value("kind") == "chat" and model.facts["kind"].source == "Luthier"
    assert known.own == {"basement"}


def test_a_provider_of_the_price_list_keeps_its_prices_when_the_users_file_names_it(file: Path) -> None:
    file.write_text("- {provider: groq, models: llama-3.3-70b-versatile, json_mode: yes}\n")
    (model,) = catalogue_models([file], providers=["openai"]).named("llama-3.3-70b-versatile", "groq")
    assert model.value("json_mode") is True and model.value("input_usd_per_million") > 0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- {provider: openai, models: a, retries: 2027-01-01}", 1, ["'retries'", "retires"]),
        ("- provider: openai\n  models: a\n  retires: soon\n", 3, ["'soon'", "2027-01-14"]),
        ("- provider: openai\n  models: a\n  json_mode: 1\n", 3, ["json_mode", "yes or no"]),
        ("- provider: openai\n  models: a\n  input_usd_per_million: -1\n", 3, ["-1", "0 or more"]),
        ("- provider: openai\n  models: a\n  context_tokens: 0.5\n", 3, ["whole number"]),
        ("- provider: openai\n  models: a\n  tasks: [rating, sorting]\n", 3, ["sorting", "classification"]),
        ("- provider: openai\n  models: a\n  kind: chatty\n", 3, ["chatty", "embedding"]),
        ("- provider: openai\n  models: a\n  seen: yesterday\n", 3, ["yesterday", "2026-11-29"]),
        ("- provider: openai\n  models: []\n", 2, ["models", "gpt-4.1-mini"]),
        ("- provider: openai\n  models: a\n- models: b\n", 3, ["provider"]),
        ("- gpt-4.1-mini\n", 1, ["keys and values"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_is_allowed(
    file: Path, text: str, line: int, words: list[str]
) -> None:
    file.write_text(text)
    with pytest.raises(CatalogueFileError) as error:
        read_statements(file)
    assert f"{file}, line {line}: " in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("text", ["provider: openai", "- {a: [", "- !!python/object:os.system {}", "5"])
def test_a_file_that_is_no_list_or_no_yaml_is_refused_by_name(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(CatalogueFileError, match=str(file)):
        read_statements(file)


def test_an_empty_file_states_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert read_statements(file) == []


def test_the_table_that_comes_with_luthier_keeps_the_rules_of_a_users_file() -> None:
    given = parse_yaml(KNOWN_MODELS.read_text(encoding="utf-8"))
    assert given == yaml.safe_load(KNOWN_MODELS.read_text(encoding="utf-8"))
    assert len(read_statements(KNOWN_MODELS)) == len(given)
    assert all("source" in one and "seen" in one for one in given)
    assert all(one["seen"] <= date(2026, 11, 29) for one in given)
