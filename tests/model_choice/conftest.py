"""A registry with versions that ask several models, and a catalogue that knows when these retire."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.model_catalogue import Catalogue, CatalogueModel, Fact
from luthier.model_names import parse_model_name
from luthier.techniques.finetune import Tuned
from tests.conftest import KEY, standing_store, stars

SEEN = date(2026, 11, 1)
TUNED = Tuned(model="ft:old-model-2024-07-18:me:stars:abc", job="ftjob-1", base_model="old-model-2024-07-18")


def listed(provider: str, name: str, **facts: Any) -> CatalogueModel:
    """A model of the catalogue with these facts."""
    return CatalogueModel(
        provider, name, parse_model_name(name), {key: Fact(value, "a list", SEEN) for key, value in facts.items()}
    )


def recipe(name: str, model: str, **settings: Any) -> lt.Prompt:
    """A prompt to a model of an account that is never asked."""
    endpoint = lt.compatible(model, "http://127.0.0.1:9/v1", api_key_env="STARS_KEY")
    return lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint, name=name, **settings)


@pytest.fixture(scope="session")
def registry(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`stars`: three versions that ask old-model, the last the champion; `tuned`: a fine-tune; `own`: a baseline."""
    tuned = lt.FineTune(
        stars(),
        "Stars for: {{ text }}",
        answer="score",
        endpoint=lt.compatible(TUNED.base_model, "http://127.0.0.1:9/v1", api_key_env="STARS_KEY"),
        tuned=TUNED,
        name="tuned",
    )
    rows = [{"text": text, "stars": label} for text, label in (("awful", 1), ("fine", 4), ("superb", 5))] * 5
    with standing_store(tmp_path_factory.mktemp("registry"), empty_store) as file:
        for number, alias in ((1, None), (2, None), (3, "champion")):
            lt.log(recipe(f"words-{number}", "old-model"), register="stars", alias=alias)
        lt.log(recipe("words-4", "new-model"), register="stars")
        lt.log(tuned, register="tuned", alias="champion")
        lt.log(lt.Baseline(stars(), name="own"), train=rows, register="own")
    return file


@pytest.fixture
def registered(registry: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of that registry in the test's working folder; returns the URI of the store."""
    shutil.copy(registry, tmp_path / "mlflow.db")
    monkeypatch.setenv("STARS_KEY", KEY)
    return store


def known(*models: CatalogueModel) -> Catalogue:
    """A catalogue of these models."""
    return Catalogue(models, {"a list": SEEN})


@pytest.fixture
def catalogue() -> Catalogue:
    """Dates of what the registry asks."""
    return known(
        listed("compatible", "old-model", retires=date(2027, 1, 14), replacement="new-model"),
        listed("compatible", "new-model", retires=date(2029, 1, 1)),
        listed("compatible", TUNED.base_model, retires=date(2027, 3, 1), fine_tuning_until=date(2026, 12, 31)),
        listed("openai", "old-model", retires=date(2020, 1, 1)),
    )
