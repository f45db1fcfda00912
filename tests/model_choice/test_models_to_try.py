"""One recipe for several models: where each is asked, and with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier as lt
from luthier.model_choice.models_to_try import specs_for_models
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, stars


def hosted(**given: Any) -> lt.Prompt:
    return lt.Prompt(
        stars(), "Stars for: {{ text }}", **{"answer": "score", "endpoint": lt.openai("gpt-4.1-mini"), **given}
    )


def test_models_of_the_specs_own_service_are_asked_there_under_their_names() -> None:
    specs = specs_for_models(hosted(), ["gpt-4.1-mini", "gpt-4.1"])
    assert [one.name for one in specs] == ["gpt-4.1-mini", "gpt-4.1"]
    assert [one.endpoint and one.endpoint.model for one in specs] == ["gpt-4.1-mini", "gpt-4.1"]
    assert specs[0].digest == hosted().digest


def test_the_specs_own_model_keeps_its_own_settings() -> None:
    spec = hosted(endpoint=lt.openai("gpt-5-mini"), answer="text", decoding={"temperature": None, "max_tokens": 4000})
    [same] = specs_for_models(spec, ["gpt-5-mini"])
    assert same.digest == spec.digest


def test_a_model_that_thinks_is_read_as_text_without_a_temperature() -> None:
    [spec] = specs_for_models(hosted(answer={"method": "score", "calibration_rows": 20}), ["gpt-5-mini"])
    assert isinstance(spec, lt.Prompt)
    assert (spec.answer_mode, spec.decoding.temperature, spec.needs_training) == ("text", None, False)


def test_what_an_own_server_lists_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("one"), ModelCard("one-more")], api_key=KEY) as server:
        spec = hosted(endpoint=lt.compatible("one", server.base_url, api_key_env="STARS_KEY"))
        assert [one.name for one in specs_for_models(spec, ["one", "one-more"])] == ["one", "one-more"]
        with pytest.raises(lt.UserError, match="one-mores"):
            specs_for_models(spec, ["one-mores"])


def test_an_endpoint_file_brings_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    file = tmp_path / "together.yaml"
    block = {"provider": "together", "model": "openai/gpt-oss-20b", "api_key_env": "TOGETHER_API_KEY"}
    file.write_text(yaml.safe_dump({"endpoint": block, "decoding": {"max_tokens": 99}}))
    [spec] = specs_for_models(hosted(), ["openai/gpt-oss-20b"], [file])
    assert isinstance(spec, lt.Prompt) and spec.endpoint is not None
    assert (spec.endpoint.provider, spec.decoding.max_tokens) == ("together", 99)


def test_an_unknown_model_and_a_spec_without_one_are_refused() -> None:
    with pytest.raises(lt.UserError, match="gpt-4.1-minni"):
        specs_for_models(hosted(), ["gpt-4.1-minni"])
    with pytest.raises(lt.UserError, match="calls no model"):
        specs_for_models(lt.Baseline(stars(), name="plain"), ["gpt-4.1"])
