from __future__ import annotations

from typing import Any

import pytest
import yaml

from luthier.errors import SpecError
from luthier.providers.endpoint import azure, openai
from luthier.tasks.task import Task
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, STARS

YAML = """
technique: prompt
name: stars-few-shot
prompt:
  template: "Review: {{ text }} Stars:"
  system: "Answer with one of {{ labels | join(', ') }}."
  examples: {count: 3, select: random, seed: 5}
answer: {method: score, words: {"1": terrible, "2": poor, "3": okay, "4": good, "5": excellent}, calibration_rows: 10}
endpoint: {provider: compatible, base_url: "http://127.0.0.1:1/v1", model: some-model}
decoding: {temperature: null, max_tokens: 4, top_p: 0.5, seed: 3, reasoning_effort: none}
"""


def read(changes: str = "", task: Task = STARS) -> Prompt:
    document: dict[str, Any] = yaml.safe_load(YAML)
    document |= yaml.safe_load(changes) or {}
    return Prompt.make({**document, "task": task}, "models/few.yaml")


def complaint(changes: str, task: Task = STARS) -> str:
    with pytest.raises(SpecError) as caught:
        read(changes, task)
    return str(caught.value)


def test_a_spec_reads_its_own_document() -> None:
    spec = read()
    document = {key: value for key, value in spec.document().items() if key != "schema"}
    assert Prompt.make(yaml.safe_load(yaml.safe_dump(document))) == spec


def test_python_and_yaml_make_the_same_spec() -> None:
    spec = Prompt(
        STARS,
        "Review: {{ text }} Stars:",
        system="Answer with one of {{ labels | join(', ') }}.",
        examples={"count": 3, "select": "random", "seed": 5},
        answer=read().answer.model_dump(),
        endpoint=ENDPOINT,
        decoding={"temperature": None, "max_tokens": 4, "top_p": 0.5, "seed": 3, "reasoning_effort": "none"},
        name="stars-few-shot",
    )
    assert spec == read()


def test_another_endpoint_keeps_the_recipe() -> None:
    assert read().with_endpoint(openai("other")).prompt == read().prompt


def test_the_digest_does_not_know_the_key() -> None:
    other = ENDPOINT.model_copy(update={"api_key_env": "OTHER_KEY"})
    assert read().with_endpoint(other).digest == read().digest


def test_the_method_alone_is_enough() -> None:
    assert read("answer: score").answer.method == "score"


def test_the_count_alone_is_enough() -> None:
    assert Prompt(STARS, "{{ text }}", examples=5, endpoint=ENDPOINT).prompt.examples.count == 5


def test_a_name_is_made_up() -> None:
    assert Prompt(STARS, "{{ text }}", endpoint=ENDPOINT).name.startswith("prompt-")


def test_columns_start_with_the_text() -> None:
    spec = Prompt(STARS, "{{ title }} {{ body }}", system="{{ author }}", endpoint=ENDPOINT)
    assert spec.columns == ("text", "author", "body", "title")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{colour: red}", "models/few.yaml: colour: unknown key; allowed here: answer, decoding, endpoint, gates"),
        ("prompt: {template: a, tone: b}", "prompt.tone: unknown key; allowed here: examples, style, system, template"),
        ("prompt: {system: a}", "prompt.template: is missing"),
        ("prompt: 'Stars for {{ text }}'", "prompt: prompt is a block, as in prompt: {template:"),
        ("prompt: {template: 'Stars?'}", "template names no column, so every row would be asked the same"),
        ("prompt: {template: ' '}", "prompt.template: is empty"),
        ("prompt: {template: '{{ text'}", "prompt.template: line 1: unexpected end of template"),
        ("prompt: {template: '{{ text }}', system: '{% if %}'}", "prompt.system: line 1: Expected an expression"),
        (
            "prompt: {template: '{{ text }} {{ stars }}'}",
            "shows the column 'stars', which holds what is asked",
        ),
        (
            "prompt: {template: '{{ text }}', examples: {count: -1}}",
            "count is -1; from 0 to 1000 examples can be shown",
        ),
        ("prompt: {template: '{{ text }}', examples: {count: 1, select: best}}", "'nearest' or 'searched' (given: 'be"),
        ("answer: {method: guess}", "answer.method: should be 'text', 'score' or 'json' (given: 'guess')"),
        ("answer: {words: {1: a, 2: b}}", "answer.words lacks a word for 3, 4, 5; every label needs one"),
        ("answer: {words: {1: a, 2: b, 3: c, 4: d, 5: e, 6: f}}", "answer.words has '6', which is no label; labels: 1"),
        ("answer: {words: {1: a, 2: A, 3: c, 4: d, 5: e}}", "words gives 'A', 'a' to more than one label"),
        ("answer: {words: {1: yes, 2: b, 3: c, 4: d, 5: e}}", "True is a boolean: YAML reads yes, no, on, off"),
        ("answer: {words: {1: '', 2: b}}", "label 1 has an empty word"),
        ("answer: {words: [a, b]}", "words names one word per label, as in words:"),
        ("answer: {method: text, calibration_rows: 5}", "calibration_rows needs probabilities per label, which method"),
        (
            "answer: {method: json}\nprompt: {template: '{{ text }}', style: completion}",
            "json is for style chat",
        ),
        ("prompt: {template: '{{ text }}', style: completion}", "reasoning_effort is for style chat"),
        ("endpoint: null", "endpoint is missing; a prompt needs a model"),
        ("decoding: {temperature: 3}", "decoding.temperature: should be less than or equal to 2 (given: 3)"),
        ("decoding: {max_token: 3}", "decoding.max_token: unknown key; allowed here: max_tokens, reasoning_effort"),
    ],
)
def test_a_wrong_setting_is_explained(changes: str, message: str) -> None:
    assert message in complaint(changes)


def test_a_boolean_label_is_explained() -> None:
    answers = Task("ok", labels=["yes", "no"])
    assert "YAML reads yes, no" in complaint("answer: {words: {yes: fine, no: wrong}}", answers)


def test_numbers_are_words_too() -> None:
    assert read("answer: {words: {1: 10, 2: 20, 3: 30, 4: 40, 5: 50}}").words == ("10", "20", "30", "40", "50")


def test_python_mistakes_are_explained_too() -> None:
    with pytest.raises(SpecError, match=r"Prompt: prompt\.template: is missing"):
        Prompt(STARS, endpoint=ENDPOINT)


def test_one_wording_is_enough() -> None:
    with pytest.raises(SpecError, match=r"prompt=.*template"):
        Prompt(STARS, "{{ text }}", prompt={"template": "{{ text }}"}, endpoint=ENDPOINT)


@pytest.mark.parametrize(
    ("labels", "style", "answer_mode"),
    [
        ([1, 2, 3, 4, 5], "chat", "first"),
        (list(range(1, 11)), "chat", "letters"),
        (list(range(1, 11)), "completion", "walk"),
        (list(range(1, 21)), "chat", "letters"),
        (list(range(1, 22)), "chat", "text"),
    ],
)
def test_the_way_labels_are_read(labels: list[int], style: str, answer_mode: str) -> None:
    task = Task("many", labels=labels)
    spec = Prompt.make({"task": task, "prompt": {"template": "{{ text }}", "style": style}, "answer": "score",
                        "endpoint": ENDPOINT})  # fmt: skip
    assert spec.answer_mode == answer_mode


def test_letters_are_noted() -> None:
    spec = Prompt(Task("many", labels=list(range(1, 11))), "{{ text }}", answer="score", endpoint=ENDPOINT)
    assert spec.notes()[0].startswith("Labels are asked as letters")


def test_missing_probabilities_are_noted() -> None:
    spec = Prompt(Task("many", labels=list(range(1, 31))), "{{ text }}", answer="score", endpoint=ENDPOINT)
    assert spec.notes()[0].startswith("No probabilities: 30 labels begin alike")


def test_calibration_without_probabilities_is_refused() -> None:
    with pytest.raises(SpecError, match="calibration_rows needs probabilities"):
        Prompt(Task("many", labels=list(range(1, 31))), "{{ text }}", endpoint=ENDPOINT,
               answer={"method": "score", "calibration_rows": 5})  # fmt: skip


def test_a_space_at_the_end_is_noted() -> None:
    spec = Prompt(MOOD, "{{ text }} Mood: ", style="completion", endpoint=ENDPOINT)
    assert "ends with a space" in spec.notes()[0]


def test_a_plain_prompt_has_no_notes() -> None:
    assert Prompt(MOOD, "{{ text }}", endpoint=ENDPOINT).notes() == ()


@pytest.mark.parametrize(
    ("answer", "decoding", "most"),
    [
        ("text", {}, 16),
        ("json", {}, 36),
        ("score", {}, 1),
        ("score", {"max_tokens": 5}, 5),
        ("text", {"reasoning_effort": "low"}, 2016),
        ("text", {"reasoning_effort": "none"}, 16),
    ],
)
def test_max_tokens_fits_the_answer(answer: str, decoding: dict[str, Any], most: int) -> None:
    assert Prompt(MOOD, "{{ text }}", answer=answer, decoding=decoding, endpoint=ENDPOINT).max_tokens == most


def test_hosted_completions_are_asked_for_five_choices() -> None:
    endpoint = azure("davinci", "https://name.openai.azure.com")
    spec = Prompt(MOOD, "{{ text }}", style="completion", answer="score", endpoint=endpoint)
    assert adapter_for(spec, {}).request({"text": "x"}).body["logprobs"] == 5
