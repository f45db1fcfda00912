"""Prompts in MLflow's prompt registry: a version per wording, with what changed and what it reached."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.entities.model_registry import PromptVersion

import luthier as lt
from luthier.evaluation.interval import Interval
from luthier.packaging.prompt_versions import PromptStep, prompt_name, register_prompt, register_prompt_history
from luthier.techniques.wordings import prompt_digest
from luthier.tracking.stores import connect

MOOD = lt.Task("mood", labels=["good", "bad"])
PLAIN = lt.Prompt(MOOD, "Mood of: {{ text }}", endpoint=lt.openai("some-model"), name="plain")
BRIEF = PLAIN.with_settings({"prompt.system": "Be brief."})
FEW = BRIEF.with_settings({"prompt.examples": 2})
FIGURES = {"accuracy": Interval(0.8, 0.75, 0.85), "cost_per_1000_rows_usd": Interval(0.4)}


def version(number: int, name: str = "mood.plain") -> PromptVersion:
    found = mlflow.genai.load_prompt(f"prompts:/{name}/{number}")
    assert found is not None
    return found


def test_a_chain_becomes_versions_that_say_what_changed_and_what_it_reached(store: str) -> None:
    steps = [
        PromptStep(PLAIN),
        PromptStep(BRIEF, PLAIN, "instructions rewritten from 12 wrong rows", FIGURES, "200 rows of v.csv", "abc"),
        PromptStep(FEW, BRIEF, "2 examples"),
    ]
    assert register_prompt_history(steps) == tuple(f"prompts:/mood.plain/{number}" for number in (1, 2, 3))
    assert version(2).commit_message == (
        "instructions rewritten from 12 wrong rows; system added; made from version 1; "
        "accuracy .80 (.75–.85) on 200 rows of v.csv"
    )
    assert version(3).commit_message == (
        "2 examples; examples added: count 2, select balanced, seed 7; made from version 2"
    )
    tags = version(2).tags
    assert tags["luthier.figure.accuracy"] == ".80 (.75–.85)"
    assert tags["luthier.measured_on"] == "200 rows of v.csv"
    assert tags["luthier.digest.test"] == "abc"
    assert tags["luthier.prompt_parent"] == prompt_digest(PLAIN)
    assert tags["luthier.prompt_parent_version"] == "1"
    assert "luthier.figure.cost_per_1000_rows_usd" not in tags


def test_the_same_wording_makes_no_new_version_and_gets_the_newer_figures(store: str) -> None:
    first = register_prompt_history([PromptStep(PLAIN), PromptStep(BRIEF, PLAIN)])
    again = register_prompt_history(
        [PromptStep(PLAIN, figures=FIGURES, measured_on="9 rows"), PromptStep(BRIEF, PLAIN)]
    )
    assert again == first
    assert version(1).tags["luthier.figure.accuracy"] == ".80 (.75–.85)"
    assert mlflow.genai.load_prompt("prompts:/mood.plain@latest").version == 2


def test_another_name_or_model_of_a_wording_is_the_version_of_the_name_it_is_registered_under(store: str) -> None:
    other = PLAIN.with_endpoint(lt.openai("other-model"))
    steps = [PromptStep(PLAIN), PromptStep(other)]
    assert register_prompt_history(steps, "start") == ("prompts:/mood.start/1", "prompts:/mood.start/1")


def test_a_version_without_a_digest_is_known_by_its_text(store: str) -> None:
    mlflow.genai.register_prompt(prompt_name(PLAIN), PLAIN.prompt_text)
    assert register_prompt(PromptStep(PLAIN)) == "prompts:/mood.plain/1"
    assert register_prompt(PromptStep(BRIEF)) == "prompts:/mood.plain/2"


def test_a_prompt_is_listed_with_the_experiment_of_its_task(store: str) -> None:
    experiment_id = connect(MOOD)
    register_prompt(PromptStep(PLAIN))
    register_prompt(PromptStep(BRIEF, PLAIN))
    linked = mlflow.MlflowClient().get_prompt("mood.plain").tags["_mlflow_experiment_ids"]
    assert f",{experiment_id}," in linked


def test_a_spec_without_a_prompt_is_not_registered(store: str) -> None:
    assert register_prompt_history([PromptStep(lt.Baseline(MOOD))]) == (None,)
    assert register_prompt_history([]) == ()


def test_a_prompt_too_long_for_the_registry_says_so(store: str, caplog: pytest.LogCaptureFixture) -> None:
    huge = PLAIN.with_settings({"prompt.template": "{{ text }}" + "Rule. " * 20_000})
    assert register_prompt(PromptStep(huge)) is None
    assert "plain" in caplog.text and "registry did not take it" in caplog.text
