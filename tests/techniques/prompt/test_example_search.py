from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from luthier.errors import DataError, EndpointError, Partial
from luthier.evaluation.racing import largest_fields
from luthier.providers.exchange import Answer, Request
from luthier.spec import Fitted
from luthier.tasks.task import Task
from luthier.techniques.prompt.few_shot import draw_search
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, STARS, hold, rows, says, weighed

LABELS = ["good" if i % 2 else "bad" for i in range(120)]
TRAIN = rows(*[f"{label} day {i}" for i, label in enumerate(LABELS)], labels=LABELS)
SEARCHED = {"count": 2, "select": "searched", "samples": 10, "rows": 40}


def prompt(**settings: Any) -> Prompt:
    return Prompt(MOOD, "Mood of: {{ text }}", **{"endpoint": ENDPOINT, "examples": SEARCHED, **settings})


def shown_in(request: Request) -> tuple[str, ...]:
    return tuple(turn["content"] for turn in request.body["messages"][:-1] if turn["role"] == "user")


def model_that_likes(chosen: Callable[[tuple[str, ...]], bool]) -> Callable[[Request], Answer]:
    """Answers rightly when it is shown examples it likes, else every second time."""

    def reply(request: Request) -> Answer:
        asked = request.body["messages"][-1]["content"].removeprefix("Mood of: ")
        label, _, number = asked.split()
        right = chosen(shown_in(request)) or int(number) % 4 < 2
        return Answer(text=label if right else {"good": "bad", "bad": "good"}[label], finish_reason="stop")

    return reply


def searched(spec: Prompt, reply: Callable[[Request], Answer]) -> tuple[Fitted, list[list[Request]]]:
    rounds: list[list[Request]] = []
    fitted = hold(spec.fit(TRAIN), reply, rounds)
    return fitted, [sent for sent in rounds if sent]


def drawn(spec: Prompt) -> list[tuple[str, ...]]:
    """The examples of every sample, in order."""
    _, rounds = searched(spec, says("good"))
    return list(dict.fromkeys(shown_in(request) for request in rounds[0]))


def test_the_examples_that_answer_best_are_kept() -> None:
    liked = drawn(prompt())[6]
    fitted, _ = searched(prompt(), model_that_likes(lambda shown: shown == liked))
    assert tuple(f"Mood of: {example['inputs']['text']}" for example in fitted.state["examples"]) == liked


def test_every_sample_is_in_the_table() -> None:
    liked = drawn(prompt())[6]
    spec = prompt()
    fitted, _ = searched(spec, model_that_likes(lambda shown: shown == liked))
    table = spec.tables(fitted)["samples"]
    assert [line["sample"] for line in table if line["winner"]] == [7]
    assert (table[0]["winner"], table[0]["p"], table[0]["score"]) == (True, 1.0, 1.0)
    assert [line["rows"] for line in table[1:]] == sorted((line["rows"] for line in table[1:]), reverse=True)
    assert {(line["block"] is None) == (line["by"] is None) for line in table} == {True}
    assert all(line["score"] < 1 and line["p"] < 1 and line["rows"] >= 8 for line in table if not line["winner"])


def test_a_losing_sample_is_asked_no_further_rows() -> None:
    liked = drawn(prompt())[6]
    fitted, rounds = searched(prompt(), model_that_likes(lambda shown: shown == liked))
    asked = sum(map(len, rounds))
    assert asked == fitted.state["search"]["requests"] < 0.5 * 10 * 40


def test_a_search_of_samples_that_are_all_alike_keeps_to_half_of_the_calls() -> None:
    _, rounds = searched(prompt(), model_that_likes(lambda shown: False))
    assert sum(map(len, rounds)) <= 0.5 * 10 * 40


def test_a_block_is_one_round_for_all_samples_still_racing() -> None:
    _, rounds = searched(prompt(), model_that_likes(lambda shown: False))
    assert len(rounds[0]) == 10 * 8
    assert len(rounds) <= 9


def test_no_row_is_both_shown_and_judged_on() -> None:
    _, rounds = searched(prompt(), model_that_likes(lambda shown: False))
    shown = {text for sent in rounds for request in sent for text in shown_in(request)}
    judged = {request.body["messages"][-1]["content"] for sent in rounds for request in sent}
    assert not shown & judged


def test_calibration_rows_are_neither_shown_nor_judged_on() -> None:
    spec = prompt(answer={"method": "score", "calibration_rows": 20})
    scored = Answer(text="good", finish_reason="length", choices=(weighed({"good": 0.6, "bad": 0.4}),))
    _, rounds = searched(spec, lambda request: scored)
    *races, calibrating = rounds
    used = {text for sent in races for request in sent for text in shown_in(request)}
    used |= {request.body["messages"][-1]["content"] for sent in races for request in sent}
    held = {request.body["messages"][-1]["content"] for request in calibrating}
    assert (len(held), held & used) == (20, set())


def test_the_same_seed_searches_the_same() -> None:
    one, other = (searched(prompt(), model_that_likes(lambda shown: False))[1] for _ in range(2))
    assert one == other


def test_counts_compete() -> None:
    spec = prompt(examples={**SEARCHED, "count": [1, 3, 5]})
    fitted, _ = searched(spec, model_that_likes(lambda shown: len(shown) == 3))
    assert len(fitted.state["examples"]) == 3
    samples = sorted(fitted.state["samples"], key=lambda line: line["sample"])
    assert [line["count"] for line in samples] == [1, 3, 5, 1, 3, 5, 1, 3, 5, 1]


def test_a_row_s_answer_does_not_depend_on_its_neighbours() -> None:
    spec = prompt()
    fitted, _ = searched(spec, model_that_likes(lambda shown: False))
    rounds: list[list[Request]] = []
    hold(spec.predict(rows("good day 900", "bad day 901"), fitted), says("good"), rounds)
    assert {shown_in(request) for request in rounds[0]} == {
        tuple(f"Mood of: {example['inputs']['text']}" for example in fitted.state["examples"])
    }


def test_answers_that_may_still_come_leave_the_fit_partial() -> None:
    with pytest.raises(Partial, match="80 of 80 answers"):
        searched(prompt(), lambda request: Answer(failure="transient", error="500"))


def test_an_endpoint_that_says_nothing_readable_ends_the_search() -> None:
    with pytest.raises(EndpointError, match="80 answers.*label"):
        searched(prompt(), says("I cannot tell"))


def test_too_few_training_rows_say_how_many_are_wanted() -> None:
    with pytest.raises(DataError, match=r"40 training rows.* 42 .* 30"):
        hold(prompt().fit(TRAIN.take(range(30))), says("good"))


def test_too_few_different_samples_say_how_many_there_are() -> None:
    few = prompt(examples={**SEARCHED, "count": 1, "samples": 50})
    with pytest.raises(DataError, match=r"50 samples.* 5 training rows.* 5 different"):
        hold(few.fit(TRAIN.take(range(45))), says("good"))


def test_the_price_is_that_of_the_longest_race() -> None:
    fitting, answering = prompt().first_requests(rows("x", "y"), TRAIN)
    ends = (8, 12, 16, 20, 24, 28, 32, 36, 40)
    sizes = largest_fields(10, 40)
    assert len(fitting) == sum(n * (e - s) for n, e, s in zip(sizes, ends, (0, *ends), strict=False)) <= 200
    assert len(answering) == 2


def test_ratings_are_searched_for_what_the_objective_says() -> None:
    train = rows(*[f"{i % 5 + 1} stars, visit {i}" for i in range(100)], labels=[str(i % 5 + 1) for i in range(100)])
    spec = Prompt(
        STARS, "{{ text }}", endpoint=ENDPOINT, objective="mse", answer="score",
        examples={**SEARCHED, "samples": 4, "rows": 20},
    )  # fmt: skip

    def middle(request: Request) -> Answer:
        return Answer(text="3", finish_reason="length", choices=((("3", math.log(0.99)),),))

    fitted = hold(spec.fit(train), middle)
    truths = [int(line["score"] * -10) for line in fitted.state["samples"]]
    assert all(10 <= score <= 35 for score in truths)
    assert fitted.state["search"]["score"] == "minus the squared error"


def test_samples_show_short_texts_only_and_are_judged_on_any() -> None:
    given = rows(*[f"{'long ' * (i % 2)}text {i}" for i in range(80)], labels=["a", "a", "b", "b"] * 20)

    def spec(max_characters: int) -> Prompt:
        settings = SEARCHED | {"count": 4, "samples": 5, "rows": 20, "max_characters": max_characters}
        return Prompt(Task("t", labels=["a", "b"]), "{{ text }}", examples=settings, endpoint=ENDPOINT)

    drawn = draw_search(spec(8), given, range(80))
    shown = {given.texts[position] for sample in drawn.samples for position in sample.positions}
    assert all(len(str(text)) <= 8 for text in shown)
    assert any(len(str(given.texts[position])) > 8 for position in drawn.judged)
    with pytest.raises(DataError, match="max_characters"):
        draw_search(spec(2), given, range(80))
