"""Settings by dotted path: what a path may name, and what a spec with other settings is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.errors import SpecError
from tests.conversing import ENDPOINT, MOOD


def few(**settings: Any) -> lt.Prompt:
    return lt.Prompt(MOOD, "Mood of: {{ text }}", **{"endpoint": ENDPOINT, "examples": 2, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt.examples.count": 3},
        {"decoding.temperature": 0.7, "seed": 3},
        {"answer": "score"},
        {"endpoint.model": "other"},
        {"endpoint": lt.openai("other")},
    ],
)
def test_a_spec_with_settings_is_the_spec_of_that_point_of_a_grid(settings: dict[str, Any]) -> None:
    (expanded,) = lt.grid(few(), {path: [value] for path, value in settings.items()})
    assert few().with_settings(settings).digest == expanded.digest != few().digest


def test_a_setting_beside_a_short_form_keeps_what_the_short_form_says(tmp_path: Path) -> None:
    file = tmp_path / "few.yaml"
    file.write_text(
        "technique: prompt\ntask: {name: mood, labels: [good, bad]}\nanswer: score\nprompt: {template: '{{ text }}'}\n"
        "endpoint: {provider: openai, model: some-model}\n"
    )
    spec = lt.read_spec(file).with_settings({"answer.calibration_rows": 20})
    assert spec.answer.model_dump() == {"method": "score", "words": {}, "calibration_rows": 20}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("prompt.examples.cout", r"'cout' in prompt\.examples; allowed: count, endpoint"),
        ("heat", r"'heat' at the top of the spec; allowed: answer, decoding"),
        ("prompt.template.x", r"prompt\.template is one value"),
        ("name", "cannot vary name"),
        ("task.labels", "cannot vary task"),
    ],
)
def test_a_path_that_names_no_setting_is_refused_with_those_there_are(path: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        few().with_settings({path: 1})


@pytest.mark.parametrize("given", [3, "prompt.examples.count", ["seed"], None])
def test_settings_that_are_no_paths_with_values_are_refused(given: Any) -> None:
    with pytest.raises(SpecError, match=r"prompt\.examples\.count.*given: "):
        few().with_settings(given)


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(SpecError, match="no setting '1' at the top of the spec"):
        few().with_settings({1: 2})  # type: ignore[dict-item]


def test_a_value_that_contradicts_others_is_refused() -> None:
    with pytest.raises(SpecError, match="calibration_rows needs probabilities"):
        few().with_settings({"answer.calibration_rows": 5})


def test_a_name_of_ones_own_is_kept_and_a_made_up_one_is_made_up_anew() -> None:
    assert few(name="mine").with_settings({"seed": 8}).name == "mine"
    assert few().with_settings({"seed": 8}).name == few(seed=8).name != few().name


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("prompt.example.count", "prompt.examples.count"),
        ("temperature", "decoding.temperature"),
        ("decoding.temprature", "decoding.temperature"),
        ("model", "endpoint.model"),
    ],
)
def test_a_misspelt_path_is_answered_with_the_setting_that_was_meant(path: str, near: str) -> None:
    with pytest.raises(SpecError, match=f"Did you mean {near}"):
        few().with_settings({path: 1})
