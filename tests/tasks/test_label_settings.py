"""What labels mean is said in the task, and changes nothing where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.errors import SpecError
from luthier.techniques.prompt.adapter import adapter_for

MEANT = {"refund": "The customer wants money back", "login": "Cannot sign in"}


def test_a_task_without_descriptions_keeps_its_digest() -> None:
    # Answers were paid for under these digests.
    classes = lt.Task("mood", labels=["good", "bad"])
    rating = lt.Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
    assert classes.digest.startswith("ac8e0056e35238ca")
    assert rating.digest.startswith("b0165f3884e1b47c")


def test_descriptions_are_by_the_labels_of_the_task_and_change_its_digest() -> None:
    plain = lt.Task("topic", labels=["billing", "refund", "login"])
    task = lt.Task("topic", labels=["billing", "refund", "login"], descriptions=MEANT)
    assert list(task.kind.descriptions.items()) == [("refund", MEANT["refund"]), ("login", MEANT["login"])]
    assert task.digest != plain.digest
    assert lt.Task(**task.document()) == task
    stars = lt.Task("stars", type="rating", labels=["1", "2"], descriptions={1: "Would never return"})
    assert stars.kind.descriptions == {"1": "Would never return"}


def test_descriptions_stand_in_the_file_of_a_task(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: t\nlabels: [billing, refund]\ndescriptions:\n  refund: The customer\n    wants money back\n")
    assert lt.Task.read(file).kind.descriptions == {"refund": MEANT["refund"]}


@pytest.mark.parametrize(
    ("descriptions", "words"),
    [
        ({"refunds": "Money back"}, "descriptions has 'refunds', which is no label; labels: billing, refund"),
        ({True: "Money back"}, "label is a boolean: YAML reads yes"),
        ({"refund": " "}, "the description of label refund is a sentence or a few words; given: ' '"),
        ({"refund": None}, "given: None"),
        (["Money back"], "says what labels mean, as in"),
    ],
)
def test_what_is_no_description_of_a_label_is_said(descriptions: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        lt.Task("topic", labels=["billing", "refund"], descriptions=descriptions)


def test_a_template_sees_descriptions() -> None:
    task = lt.Task("topic", labels=["billing", "refund"], descriptions={"refund": MEANT["refund"]})
    listed = "{% for label in labels %}{{ label }}={{ descriptions.get(label, 'as it says') }};{% endfor %}"
    spec = lt.Prompt(task, "{{ text }}", system=listed, endpoint=lt.openai("some-model"))
    asked = adapter_for(spec, {}).request({"text": "hello"})
    assert asked.body["messages"][0]["content"] == "billing=as it says;refund=The customer wants money back;"
    assert spec.columns == ("text",)


def test_a_decision_offers_the_descriptions_of_the_task_where_it_has_none_of_its_own() -> None:
    task = lt.Task("topic", labels=["billing", "refund", "login"], descriptions=MEANT)
    spec = lt.Decision(task, descriptions={"login": "Passwords"}, endpoint=lt.openai("some-model"))
    [question] = spec.adapter({}).request({"text": "hello"}).body["questions"]
    assert question["choices"] == [
        {"value": "billing"},
        {"value": "refund", "description": MEANT["refund"]},
        {"value": "login", "description": "Passwords"},
    ]


def test_a_plain_prompt_lists_labels_with_what_they_mean() -> None:
    plain = lt.Task("topic", labels=["billing", "refund"])
    assert "descriptions" not in plain.kind.question()
    for more in ({}, {"multilabel": True}):
        task = lt.Task("topic", labels=["billing", "refund"], descriptions={"refund": MEANT["refund"]}, **more)
        spec = lt.Prompt(task, "{{ text }}", system=task.kind.question(), endpoint=lt.openai("some-model"))
        asked = adapter_for(spec, {}).request({"text": "hello"}).body["messages"][0]["content"]
        assert "\n- billing\n- refund: The customer wants money back\n" in asked


def test_starting_prompts_of_many_labels_are_read_and_not_scored() -> None:
    methods = {
        count: {
            spec.settings["answer"]["method"]
            for spec in lt.Task("t", labels=list(range(count))).kind.starting_specs()
            if spec.settings["technique"] == "prompt"
        }
        for count in (50, 51)
    }
    assert methods == {50: {"score"}, 51: {"text"}}
