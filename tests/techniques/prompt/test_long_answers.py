"""Answers that may have several lines: what is sent for them, and what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from luthier.providers.exchange import Answer, Request
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, answer_for, hold, rows, silence

REPLY = Task("reply", type="generation", label="reply", longest_characters=300)
LINE = Task("subject", type="generation", label="subject", longest_characters=70, one_line=True)
LETTER = "Dear Ann,\n\nyour parcel is on its way.\n\nKind regards"
TRAIN = rows("Where is it?", "Is it lost?", labels=[LETTER, "No.\nIt is late."])


def prompt(task: Task = REPLY, **settings: Any) -> Prompt:
    return Prompt(task, "Message: {{ text }}\nAnswer:", endpoint=ENDPOINT, **settings)


def sent(spec: Prompt, train: Rows | None = None) -> Mapping[str, Any]:
    asked: list[Request] = []

    def reply(request: Request) -> Answer:
        asked.append(request)
        return Answer(text="x", finish_reason="stop")

    hold(spec.predict(rows("Any news?"), hold(spec.fit(train), silence)), reply)
    return asked[0].body


def read(spec: Prompt, text: str, finish: str = "stop", train: Rows | None = None) -> Any:
    return answer_for(spec, rows("Any news?"), lambda request: Answer(text=text, finish_reason=finish), train)[0]


def test_a_chat_answer_keeps_its_lines() -> None:
    assert read(prompt(), LETTER).value == LETTER
    assert read(prompt(answer="json"), json.dumps({"answer": LETTER})).value == LETTER


def test_a_completion_keeps_its_lines_and_ends_at_a_line_of_its_own() -> None:
    spec = prompt(style="completion")
    assert sent(spec)["stop"] == ["\n###\n"]
    assert read(spec, f" {LETTER}\n").value == LETTER


def test_examples_of_a_completion_stand_apart_by_that_line() -> None:
    asked = sent(prompt(style="completion", examples=2, system="Answer."), TRAIN)["prompt"]
    system, first, second, last = asked.split("\n\n###\n\n")
    assert (system, last) == ("Answer.", "Message: Any news?\nAnswer:")
    assert {first, second} == {
        f"Message: Where is it?\nAnswer: {LETTER}",
        "Message: Is it lost?\nAnswer: No.\nIt is late.",
    }


def test_an_answer_of_one_line_ends_with_it() -> None:
    spec = prompt(LINE, style="completion", examples=1)
    train = rows("Where is it?", labels=["Parcel missing"])
    asked = sent(spec, train)
    assert asked["stop"] == ["\n"]
    assert asked["prompt"] == "Message: Where is it?\nAnswer: Parcel missing\n\nMessage: Any news?\nAnswer:"
    assert read(spec, " Any news\nMessage: Hello\n", train=train).value == "Any news"


def test_max_tokens_follows_from_the_longest_text() -> None:
    assert sent(prompt())["max_tokens"] == 308
    assert sent(prompt(LINE, answer="json"))["max_tokens"] == 102
    assert sent(prompt(decoding={"max_tokens": 20}))["max_tokens"] == 20


@pytest.mark.parametrize("settings", [{}, {"answer": "json"}, {"style": "completion"}])
def test_an_answer_that_was_cut_has_no_value_and_says_what_to_raise(settings: dict[str, Any]) -> None:
    found = read(prompt(**settings), '{"answer": "Dear Ann,\\nyour par', finish="length")
    assert (found.value, found.state) == (None, "off_label")
    assert "cut by max_tokens" in found.error
    assert "before an answer could be read. Raise decoding.max_tokens" in found.error


def test_an_example_shows_the_first_of_several_references() -> None:
    several = rows("Where is it?", labels=[["Parcel missing", "Missing parcel"]])  # type: ignore[list-item]
    assert "Parcel missing" in sent(prompt(LINE, examples=1), several)["messages"][1]["content"]
    shown = sent(prompt(LINE, examples=1, answer="json"), several)["messages"][1]["content"]
    assert json.loads(shown) == {"answer": "Parcel missing"}
