"""The space of a sweep: which points it has, what a trial is given of it, and what it refuses."""

from __future__ import annotations

import math
import re
from typing import Any

import optuna
import pytest
import yaml

import luthier as lt
from luthier.errors import SpecError
from luthier.spec import Spec
from luthier.sweeps.samplers import SAMPLERS, sampler_of
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.trial import SweepObjective
from luthier.techniques.embedding import Embedding
from luthier.tuning.tuners import tuner_for
from tests.conversing import ENDPOINT, MOOD

HEADS = """
head.method: [logistic, automl]
head.trials: {int: [10, 30], step: 10, when: {head.method: automl}}
dimensions: [64, 128, null]
"""


def space(text: str, technique: type[Spec] = lt.FineTune) -> SearchSpace:
    return SearchSpace.read(yaml.safe_load(text), technique)


def tuned(**settings: Any) -> lt.FineTune:
    return lt.FineTune(MOOD, "Mood of: {{ text }}", name="mood", **{"endpoint": ENDPOINT, **settings})


def study(text: SearchSpace, sampler: str = "random") -> optuna.Study:
    objectives = [SweepObjective("accuracy", "maximize")]
    return optuna.create_study(sampler=sampler_of(sampler, 7, objectives, text.distributions()))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_conditional_settings_only_where_they_apply(sampler: str) -> None:
    searched = space(HEADS, Embedding)
    drawn = study(searched, sampler)
    for _ in range(12):
        settings = searched.suggest(drawn.ask())
        assert ("head.trials" in settings) == (settings["head.method"] == "automl")
        assert settings["dimensions"] in (64, 128, None)


def test_a_trial_that_was_interrupted_between_two_draws_gets_what_it_has_and_the_rest() -> None:
    searched = space(HEADS, Embedding)
    drawn = study(searched)
    begun = drawn.ask()
    method = begun.suggest_categorical("head.method", ("logistic", "automl"))
    again = optuna.Trial(drawn, begun._trial_id)
    first = searched.suggest(again)
    assert first["head.method"] == method
    assert searched.suggest(optuna.Trial(drawn, begun._trial_id)) == first
    assert searched.settings_of(again.params) == first


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (HEADS, 3 * (1 + 3)),
        ("dimensions: {int: [1, 20]}", 20),
        ("seed: {int: [0, 9], step: 3}", 4),
        ("head.seconds: {uniform: [1, 2]}", None),
        ("head.seconds: {uniform: [1, 2], step: 0.1}", 11),
        ("head.method: [logistic, ordinal]\nhead.seconds: {log_uniform: [1, 9], when: {head.method: ordinal}}", None),
        ("{seed: {int: [1, 9]}, dimensions: {choice: [1, 2, 3], when: {seed: [2, 4]}}}", 7 + 2 * 3),
    ],
)
def test_points_are_counted_with_settings_only_where_they_apply(text: str, size: int | None) -> None:
    assert space(text, Embedding).size == size


def test_short_and_long_forms_are_the_same_space_and_a_written_space_reads_as_itself() -> None:
    short = space("{dimensions: [64, 128], seed: {int: [1, 2], when: {dimensions: 64}}}", Embedding)
    long = space("{dimensions: {choice: [64, 128]}, seed: {int: [1, 2], step: 1, when: {dimensions: [64]}}}", Embedding)
    assert short.document() == long.document()
    assert SearchSpace.read(short.document(), Embedding) == short


def test_a_condition_may_stand_before_the_setting_it_names() -> None:
    searched = space(
        "{head.trials: {int: [10, 30], when: {head.method: automl}}, head.method: [automl, logistic]}", Embedding
    )
    assert searched.paths == ("head.trials", "head.method")
    assert [*searched.suggest(optuna.trial.FixedTrial({"head.method": "automl", "head.trials": 12}))] == [
        "head.method",
        "head.trials",
    ]


def test_numbers_with_an_exponent_are_numbers_though_yaml_reads_texts() -> None:
    searched = space("{tuning.learning_rate: [1e-5, 3e-5], decoding.top_p: {log_uniform: [1e-4, 1e-1]}}")
    assert searched.document() == {
        "tuning.learning_rate": {"choice": [1e-5, 3e-5]},
        "decoding.top_p": {"log_uniform": [1e-4, 0.1]},
    }
    assert space("endpoint.model: [1e-5, 2e-5]").settings[0].values == ("1e-5", "2e-5")


def test_steps_of_a_tenth_give_numbers_that_read_as_they_were_meant() -> None:
    searched = space("decoding.temperature: {uniform: [0, 1], step: 0.1}")
    drawn = study(searched, "grid")
    found = sorted(searched.suggest(drawn.ask())["decoding.temperature"] for _ in range(11))
    assert found == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_templates_and_blocks_are_kept_by_their_place_and_come_back_whole() -> None:
    long = "Which mood is this text in? Answer with one word.\n\n{{ text }}"
    given = {"prompt.template": [long, "Mood of: {{ text }}"], "prompt.examples": [0, {"count": 3, "select": "random"}]}
    searched = SearchSpace.read(given, lt.Prompt)
    params = {"prompt.template": searched.settings[0].names[0], "prompt.examples": searched.settings[1].names[1]}
    settings = searched.settings_of(params)
    assert settings == {"prompt.template": long, "prompt.examples": {"count": 3, "select": "random"}}
    assert searched.params_of(settings) == params
    base = lt.Prompt(MOOD, "{{ text }}", endpoint=ENDPOINT, name="few")
    spec = searched.spec_for(base, settings, 3)
    assert isinstance(spec, lt.Prompt)
    assert (spec.prompt.template, spec.prompt.examples.count, spec.name) == (long, 3, "few-t003")


def test_values_are_the_same_after_they_were_stored_as_json() -> None:
    given = {"answer.words": [{1: "bad", 2: "good"}, {1: "low", 2: "high"}]}
    searched = SearchSpace.read(given, lt.Prompt)
    assert searched.settings[0].values[0] == {"1": "bad", "2": "good"}


def test_a_setting_that_does_not_apply_is_taken_from_the_spec_too() -> None:
    base = Embedding(MOOD, endpoint=ENDPOINT, head={"method": "automl", "trials": 30}, name="heads")
    spec = space(HEADS, Embedding).spec_for(base, {"head.method": "logistic", "dimensions": 64}, 12)
    assert isinstance(spec, Embedding)
    assert (spec.head.method, spec.head.trials, spec.dimensions) == ("logistic", None, 64)


def test_the_name_of_a_trial_fits_however_long_that_of_its_spec_is() -> None:
    base = tuned().model_copy(update={"name": "n" * 64})
    spec = space("tuning.epochs: [1, 2]").spec_for(base, {"tuning.epochs": 2}, 1234)
    assert (len(spec.name), spec.name[-6:]) == (64, "-t1234")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "an empty block"),
        ("3", r"3 \(int\)"),
        ("tuning.epochs: 3", "one value"),
        ("tuning.epochs: [3]", "one point only"),
        ("tuning.epochs: []", "list of values"),
        ("tuning.epohcs: [1, 2]", "Did you mean tuning.epochs"),
        ("n_epochs: [1, 2]", "Did you mean tuning.epochs"),
        ("temperature: [0, 1]", "Did you mean decoding.temperature"),
        ("name: [a, b]", "cannot vary name"),
        ("gates: [[accuracy >= 0.5], [accuracy >= 0.6]]", "change no answer"),
        ("endpoint.limits.concurrency: [1, 2]", "never what it says"),
        ("endpoint.provider: [openai, together]", "one service"),
        ("tuned.model: [a, b]", "luthier tune writes"),
        ("tuning.epochs: {int: [20, 1]}", r"Write int: \[1, 20\]"),
        ("tuning.epochs: {int: [3, 3]}", "not below"),
        ("tuning.epochs: {int: [1.5, 3]}", "whole number to another; given: 1.5"),
        ("tuning.epochs: {int: [1, 2, 3]}", "given: 3 values"),
        ("tuning.epochs: {int: [1, ten]}", "'ten'"),
        ("tuning.epochs: {int: [1, .inf]}", "inf"),
        ("tuning.epochs: {int: [false, true]}", "a bound is a number"),
        ("tuning.epochs: {uniform: [1, 20]}", r"write {int: \[1, 20\]}"),
        ("tuning.epochs: {int: [1, 20], step: 2}", "end at 19"),
        ("tuning.epochs: {int: [1, 3], step: 0}", "above 0"),
        ("tuning.epochs: {int: [1, 3], choice: [1, 2]}", "choice and int"),
        ("tuning.learning_rate: {log_uniform: [0, 1]}", "above 0 have a logarithm"),
        ("tuning.learning_rate: {log_uniform: [0.1, 1], step: 0.1}", "step goes with"),
        ("tuning.learning_rate: {loguniform: [0.1, 1]}", "Did you mean log_uniform"),
        ("tuning.learning_rate: {low: 0.1, high: 1}", "'low' is unknown"),
        ("tuning.learning_rate: [.nan, 1]", "nan"),
        ("tuning.batch_size: [4, 8, 4.0]", "4.0 is there twice"),
        ("answer.method: [yes, no]", "is a boolean"),
        ("answer.words: [{yes: a, no: b}, {a: b}]", "the key true is a boolean"),
        ("{answer: [score, text], answer.method: [score, text]}", "answer.method lies within answer"),
        ("tuning.epochs: {choice: [1, 2], when: {seed: 3}}", "seed, which is not searched"),
        ("tuning.epochs: {choice: [1, 2], when: automl}", "when names settings"),
        ("{seed: [1, 2], tuning.epochs: {choice: [1, 2], when: {seed: 3}}}", "seed is never 3; it may be 1, 2"),
        ("{seed: [1, 2], tuning.epochs: {choice: [1, 2], when: {seed: []}}}", "never apply"),
        ("{answer.method: [text, score], seed: {int: [1, 2], when: {answer.method: off}}}", "booleans"),
        (
            "{decoding.top_p: [1e-2, 0.5], seed: {int: [1, 2], when: {decoding.top_p: 1e-2}}}",
            "decoding.top_p is never '1e-2'; it may be 0.01, 0.5.*as in 1.0e-4",
        ),
        ("{decoding.top_p: {uniform: [0, 1]}, seed: {int: [1, 2], when: {decoding.top_p: 1}}}", "any value of a range"),
        (
            "{seed: {int: [1, 2], when: {tuning.seed: 1}}, tuning.seed: {int: [1, 2], when: {seed: 1}}}",
            "circle: seed -> tuning.seed -> seed",
        ),
        (
            "{answer.method: [text, score], seed: {int: [1, 2], when: {answer.method: text}},"
            " tuning.seed: {int: [1, 2], when: {seed: 1, answer.method: score}}}",
            "tuning.seed never applies",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        space(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tuning.epochs: {int: [1, 60]}", "tuning.epochs: 60 .* allowed: 1 to 50"),
        ("tuning.batch_size: [4, 512]", "512 .* allowed: 1 to 256"),
        ("tuning.lora_rank: [4, 8]", "no such setting; it has: epochs, batch_size"),
        ("tuning.training_type: [Standard, Developer]", "no such setting"),
        ("decoding.temperature: {uniform: [0, 3]}", "decoding.temperature cannot be 3 in any trial"),
        ("answer: [score, skore]", "'skore'"),
        ("prompt.template: ['{{ text }}', 'no column']", "names no column"),
    ],
)
def test_values_that_no_trial_could_have_are_refused_before_anything_is_bought(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        space(text).check(tuned(), tuner_for(ENDPOINT))


def test_values_that_fit_only_some_of_the_others_are_no_mistake() -> None:
    base = lt.Prompt(MOOD, "{{ text }}", endpoint=ENDPOINT, name="few")
    given = (
        "{prompt.examples.count: [0, 4], prompt.examples.select: [balanced, searched], decoding.temperature: [0, 1]}"
    )
    space(given, lt.Prompt).check(base, None)


def test_what_the_service_lacks_is_no_fault_where_it_does_not_apply() -> None:
    given = "{endpoint.model: [a, b], tuning.epochs: {choice: [3, auto]}, tuning.lr_scheduler: [null]}"
    space(given).check(tuned(), tuner_for(ENDPOINT))


def test_a_key_in_the_wrong_place_is_not_repeated() -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    searched = SearchSpace.read({"endpoint.extra_body": [{"api_key": key}, {}]}, lt.FineTune)
    with pytest.raises(SpecError) as caught:
        searched.check(tuned(), None)
    assert key not in str(caught.value)


def test_the_parameters_of_a_point_outside_the_space_are_none() -> None:
    searched = space(HEADS, Embedding)
    assert searched.params_of({"head.method": "logistic", "dimensions": None, "head.trials": 99}) == {
        "head.method": "logistic",
        "dimensions": None,
    }
    assert searched.params_of({"head.method": "automl", "dimensions": 64, "head.trials": 15}) is None
    assert searched.params_of({"head.method": "automl", "dimensions": 64}) is None
    assert math.isclose(space("tuning.learning_rate: {log_uniform: [0.1, 1]}").size or 0, 0)


def test_messages_name_the_place() -> None:
    with pytest.raises(SpecError, match=re.escape("sweep.yaml: tuning.epochs: ")):
        SearchSpace.read({"tuning.epochs": 3}, lt.FineTune, "sweep.yaml")
