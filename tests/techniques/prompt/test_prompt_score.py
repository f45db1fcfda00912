from __future__ import annotations

import math
from typing import Any

import pytest

from luthier.errors import EndpointError, Partial
from luthier.providers.exchange import Answer, Request, Usage
from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, STARS, answer_for, hold, rows, scores, silence, weighed

TEN = Task("ten", type="rating", labels=list(range(1, 11)))
TRAIN = rows(*[f"train {i}" for i in range(30)], labels=["good" if i % 2 else "bad" for i in range(30)])


def chat(task: Task = MOOD, **settings: Any) -> Prompt:
    return Prompt(task, "{{ text }}", endpoint=ENDPOINT, answer={"method": "score", **settings})


def completion(task: Task = TEN, **settings: Any) -> Prompt:
    return Prompt(task, "{{ text }}:", style="completion", endpoint=ENDPOINT, answer={"method": "score", **settings})


def test_a_chat_asks_for_one_token_and_its_rivals() -> None:
    rounds: list[list[Request]] = []
    hold(chat().predict(rows("x"), Fitted(spec=chat())), scores({"good": 0.7, "bad": 0.3}), rounds)
    body = {key: value for key, value in rounds[0][0].body.items() if key != "messages"}
    assert body == {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}


def test_a_completion_asks_for_one_token_and_its_rivals() -> None:
    body = adapter_for(completion(), {}).request({"text": "x"}).body
    assert body == {"prompt": "x:", "max_tokens": 1, "temperature": 0, "logprobs": 20}


def test_the_label_is_the_likeliest_not_the_written() -> None:
    found = answer_for(chat(), rows("x"), scores({"The": 0.5, "good": 0.2, "bad": 0.3}, text="The"))
    assert found[0].label == "bad"


def test_probabilities_are_among_the_labels() -> None:
    found = answer_for(chat(), rows("x"), scores({"The": 0.5, "good": 0.2, "bad": 0.3}))
    assert found[0].probabilities == pytest.approx((0.4, 0.6))


def test_a_missing_label_marks_the_row() -> None:
    assert answer_for(chat(), rows("x"), scores({"good": 0.6, "The": 0.4}))[0].call.censored


def test_without_a_label_the_text_is_read() -> None:
    found = answer_for(chat(), rows("x"), scores({"**": 0.6, "The": 0.4}, text="**good"))
    assert (found[0].label, found[0].probabilities) == ("good", None)


def test_without_a_label_anywhere_the_row_is_off_label() -> None:
    found = answer_for(chat(), rows("x"), scores({"The": 0.6, "I": 0.4}, text="The"))
    assert found[0].state == "off_label"
    assert "no label is among the 2 likeliest first tokens" in (found[0].error or "")


def test_an_endpoint_without_log_probabilities_is_named() -> None:
    found = answer_for(chat(), rows("x"), lambda request: Answer(text="Hm", finish_reason="length"))
    assert "the endpoint gave no log-probabilities" in (found[0].error or "")


def test_letters_are_explained_in_the_last_turn() -> None:
    body = adapter_for(chat(TEN), {}).request({"text": "x"}).body
    assert body["messages"][-1]["content"].startswith("x\n\nAnswer with one letter:\nA = 1\nB = 2\n")


def test_letters_stand_for_labels() -> None:
    found = answer_for(chat(TEN), rows("x"), scores({"J": 0.7, "A": 0.3}))
    assert found[0].label == "10"


def test_examples_answer_in_letters() -> None:
    spec = Prompt(TEN, "{{ text }}", examples=1, endpoint=ENDPOINT, answer="score")
    fitted = hold(spec.fit(rows("a", labels=["10"])), silence)
    assert adapter_for(spec, fitted.state).request({"text": "x"}).body["messages"][1]["content"] == "J"


def test_too_many_labels_are_read_from_the_text() -> None:
    many = Task("many", labels=[f"label {i}" for i in range(30)])
    found = answer_for(chat(many), rows("x"), lambda request: Answer(text="Label 7", finish_reason="stop"))
    assert (found[0].label, found[0].probabilities) == ("label 7", None)


def test_a_walk_asks_again_only_where_it_branches() -> None:
    rounds: list[list[Request]] = []

    def reply(request: Request) -> Answer:
        if request.body["prompt"] == "b: 1":
            return Answer(text="0", choices=(weighed({"0": 0.75, "\n": 0.25}),))
        return Answer(choices=(weighed({" 1": 0.8, " 2": 0.2} if request.body["prompt"] == "b:" else {" 2": 1}),))

    found = hold(completion().predict(rows("a", "b"), Fitted(spec=completion())), reply, rounds)
    assert [[request.body["prompt"] for request in asked] for asked in rounds] == [["a:", "b:"], ["b: 1"]]
    assert [prediction.label for prediction in found] == ["2", "10"]


def counted(request: Request) -> Answer:
    first = request.body["prompt"] == "a:"
    return Answer(
        text=" 1",
        choices=(weighed({" 1": 1.0} if first else {"0": 0.75, "\n": 0.25}),),
        usage=Usage(10, 1),
        cost_usd=0.5,
        latency_seconds=0.25,
        from_journal=first,
    )


def test_a_walk_sums_what_its_calls_cost() -> None:
    call = answer_for(completion(), rows("a"), counted)[0].call
    assert (call.cost_usd, call.latency_seconds, call.input_tokens, call.output_tokens) == (1.0, 0.5, 20, 2)


def test_a_walk_is_from_the_journal_when_all_its_calls_are() -> None:
    assert not answer_for(completion(), rows("a"), counted)[0].call.from_journal


def test_a_walk_begun_in_the_journal_spends_only_the_rest() -> None:
    assert answer_for(completion(), rows("a"), counted)[0].call.spent_usd == 0.5


def test_a_walk_that_breaks_off_is_a_failure() -> None:
    def reply(request: Request) -> Answer:
        if request.body["prompt"] == "a: 1":
            return Answer(failure="transient", error="500")
        return Answer(text=" 1", choices=(weighed({" 1": 0.8, " 2": 0.2}),))

    found = answer_for(completion(), rows("a"), reply)[0]
    assert (found.state, found.transient, found.probabilities) == ("failed", True, None)


def leaning_to_good(request: Request) -> Answer:
    text = request.body["messages"][-1]["content"]
    good = 0.9 if text == "nice" else 0.8
    return Answer(text="good", choices=(weighed({"good": good, "bad": 1 - good}),))


def test_calibration_keeps_the_mean_probability() -> None:
    fitted = hold(chat(calibration_rows=10).fit(TRAIN), leaning_to_good)
    assert fitted.state["leaning"] == pytest.approx([math.log(0.8), math.log(0.2)])


def test_calibration_does_not_lift_a_rare_label_of_a_sure_model() -> None:
    def sure(request: Request) -> Answer:
        rare = request.body["messages"][-1]["content"] in ("train 1", "train 2")
        shares = {"good": 1e-9, "bad": 1 - 1e-9} if rare else {"good": 1 - 1e-9, "bad": 1e-9}
        return Answer(choices=(weighed(shares),))

    spec = chat(calibration_rows=30)
    found = hold(spec.predict(rows("plain"), hold(spec.fit(TRAIN), sure)), sure)
    assert found[0].label == "good"


def test_calibration_takes_the_leaning_away() -> None:
    spec = chat(calibration_rows=10)
    fitted = hold(spec.fit(TRAIN), leaning_to_good)
    found = hold(spec.predict(rows("nice", "dull"), fitted), leaning_to_good)
    assert found[0].probabilities == pytest.approx((9 / 13, 4 / 13))
    assert found[1].probabilities == pytest.approx((0.5, 0.5))


def test_calibration_asks_training_rows_only() -> None:
    rounds: list[list[Request]] = []
    hold(chat(calibration_rows=10).fit(TRAIN), leaning_to_good, rounds)
    asked = {request.body["messages"][-1]["content"] for request in rounds[0]}
    assert len(asked) == 10
    assert asked <= set(TRAIN.texts)


def test_calibration_asks_no_example() -> None:
    rounds: list[list[Request]] = []
    spec = Prompt(
        MOOD, "{{ text }}", examples=20, endpoint=ENDPOINT, answer={"method": "score", "calibration_rows": 10}
    )
    hold(spec.fit(TRAIN), leaning_to_good, rounds)
    turns = [request.body["messages"] for request in rounds[0]]
    assert not {t[-1]["content"] for t in turns} & {said["content"] for t in turns for said in t[:-1]}


def test_calibration_waits_for_answers_that_may_come() -> None:
    with pytest.raises(Partial, match="10 of 10 calibration rows have no answer yet"):
        hold(chat(calibration_rows=10).fit(TRAIN), lambda request: Answer(failure="stopped"))


def test_calibration_without_probabilities_says_what_to_change() -> None:
    with pytest.raises(EndpointError, match=r"0 of 10 calibration rows .*answer\.calibration_rows: 0"):
        hold(chat(calibration_rows=10).fit(TRAIN), lambda request: Answer(text="good"))


def test_calibration_survives_a_refused_row() -> None:
    def reply(request: Request) -> Answer:
        refused = request.body["messages"][-1]["content"] == "train 1"
        return Answer(failure="content") if refused else leaning_to_good(request)

    fitted = hold(chat(calibration_rows=30).fit(TRAIN), reply)
    assert fitted.state["leaning"] == pytest.approx([math.log(0.8), math.log(0.2)])


def test_words_are_scored_in_the_order_of_the_labels() -> None:
    words = {"5": "excellent", "1": "terrible", "2": "poor", "3": "okay", "4": "good"}
    found = answer_for(chat(STARS, words=words), rows("x"), scores({"excellent": 0.6, "terrible": 0.4}))
    assert (found[0].label, found[0].probabilities[0] > found[0].probabilities[1]) == ("5", True)
