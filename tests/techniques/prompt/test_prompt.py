from __future__ import annotations

from typing import Any

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError, SpecError
from luthier.providers.exchange import Answer, Request, Usage
from luthier.spec import Fitted
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, answer_for, hold, rows, says, scores, silence

TRAIN = rows(*[f"train {i}" for i in range(20)], labels=["good" if i % 2 else "bad" for i in range(20)])


def prompt(template: str = "Mood of: {{ text }}", **settings: Any) -> Prompt:
    return Prompt(MOOD, template, endpoint=ENDPOINT, **settings)


def sent(spec: Prompt, given: Rows, train: Rows | None = None) -> list[Request]:
    rounds: list[list[Request]] = []
    fitted = hold(spec.fit(train), silence)
    hold(spec.predict(given, fitted), says("good"), rounds)
    return rounds[0] if rounds else []


def one(answer: Answer, /, **settings: Any) -> Prediction:
    found: Prediction = answer_for(prompt(**settings), rows("x"), lambda request: answer)[0]
    return found


def test_a_completion_begins_with_the_system_text_once() -> None:
    (request,) = sent(prompt(style="completion", system="One of {{ labels | join(', ') }}."), rows("fine"))
    assert request.body["prompt"] == "One of good, bad.\n\nMood of: fine"


def test_a_chat_is_system_then_user() -> None:
    (request,) = sent(prompt(system="One of {{ labels | join(', ') }}."), rows("fine"))
    assert request.body["messages"] == [
        {"role": "system", "content": "One of good, bad."},
        {"role": "user", "content": "Mood of: fine"},
    ]


def test_a_text_answer_asks_for_no_more_than_it_needs() -> None:
    (request,) = sent(prompt(), rows("fine"))
    assert {key: value for key, value in request.body.items() if key != "messages"} == {
        "max_tokens": 16,
        "temperature": 0,
    }


def test_a_null_temperature_is_not_sent() -> None:
    (request,) = sent(prompt(decoding={"temperature": None}), rows("fine"))
    assert "temperature" not in request.body


def test_decoding_is_sent() -> None:
    decoding = {"top_p": 0.5, "seed": 3, "reasoning_effort": "low", "max_tokens": 99}
    (request,) = sent(prompt(decoding=decoding), rows("fine"))
    assert decoding.items() <= request.body.items()


def test_json_sends_a_strict_schema_of_the_words() -> None:
    words = {"good": "fine", "bad": "poor"}
    (request,) = sent(prompt(answer={"method": "json", "words": words}), rows("x"))
    schema = request.body["response_format"]["json_schema"]
    assert (schema["strict"], schema["schema"]["properties"]["label"]["enum"]) == (True, ["fine", "poor"])


def test_examples_are_turns_before_the_row() -> None:
    requests = sent(prompt(examples=2), rows("fine"), TRAIN)
    assert [turn["role"] for turn in requests[0].body["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_examples_answer_with_the_words() -> None:
    words = {"good": "fine", "bad": "poor"}
    (request,) = sent(prompt(examples=2, answer={"method": "text", "words": words}), rows("x"), TRAIN)
    answers = {turn["content"] for turn in request.body["messages"] if turn["role"] == "assistant"}
    assert answers == {"fine", "poor"}


def test_examples_are_the_same_for_every_row() -> None:
    first, second = sent(prompt(examples=4), rows("a", "b"), TRAIN)
    assert first.body["messages"][:-1] == second.body["messages"][:-1]


def test_an_example_with_the_text_of_the_row_is_left_out() -> None:
    spec = prompt(examples=20)
    (request,) = sent(spec, rows(" Train  3"), TRAIN)
    assert "Mood of: train 3" not in [turn["content"] for turn in request.body["messages"]]
    assert len(request.body["messages"]) == 2 * 19 + 1


def test_examples_keep_every_column_the_template_reads() -> None:
    train = rows("a", "b", labels=["good", "bad"], title=["one", None], other=[1, 2])
    fitted = hold(prompt("{{ title }} {{ text }}", examples=2).fit(train), silence)
    kept = sorted((example["inputs"]["text"], example["inputs"]["title"]) for example in fitted.state["examples"])
    assert kept == [("a", "one"), ("b", "")]


def test_a_completion_is_one_text_with_a_blank_line_between() -> None:
    train = rows("a", "b", labels=["good", "bad"])
    (request,) = sent(prompt("{{ text }}:", style="completion", examples={"count": 1}), rows("x"), train)
    assert request.body["prompt"] in ("a: good\n\nx:", "b: bad\n\nx:")


def test_a_completion_stops_where_the_next_example_would_begin() -> None:
    (request,) = sent(prompt(style="completion"), rows("x"))
    assert request.body["stop"] == ["\n\n"]


def test_of_a_completion_the_first_line_is_read() -> None:
    found = answer_for(prompt(style="completion"), rows("x"), says(" good\nMood of: y bad"))
    assert found[0].label == "good"


def test_a_spec_without_examples_is_fitted_without_rows() -> None:
    fitted = hold(prompt().fit(None), silence)
    assert (fitted.train_digest, dict(fitted.state)) == (None, {})


def test_examples_need_training_rows() -> None:
    with pytest.raises(SpecError, match="'few'.*training rows.*--train TABLE"):
        hold(prompt(examples=2, name="few").fit(None), silence)


def test_training_rows_need_the_columns() -> None:
    with pytest.raises(DataError, match="column 'title'.*training table"):
        hold(prompt("{{ title }} {{ text }}", examples=2).fit(TRAIN), silence)


def test_an_example_the_template_fails_on_is_named() -> None:
    train = rows("a", "b", labels=["good", "bad"], price=["cheap", "dear"])
    with pytest.raises(DataError, match=r"example '[ab]'.*template.*TypeError"):
        hold(prompt("{{ price + 1 }}{{ text }}", examples=2).fit(train), silence)


def test_what_is_fitted_alike_has_the_same_digest() -> None:
    assert hold(prompt(examples=2).fit(TRAIN), silence).digest == hold(prompt(examples=2).fit(TRAIN), silence).digest


def test_rows_need_the_columns() -> None:
    with pytest.raises(DataError, match="reads column 'title'"):
        hold(prompt("{{ title }}").predict(rows("x"), Fitted(spec=prompt())), silence)


def test_no_rows_are_no_predictions() -> None:
    assert answer_for(prompt(), rows(), silence) == []


def test_all_first_requests_come_in_one_round() -> None:
    assert len(sent(prompt(), rows(*[f"row {i}" for i in range(100)]))) == 100


def test_a_blank_text_is_never_sent() -> None:
    found = answer_for(prompt("{{ title }} {{ text }}"), rows(" ", None, title=["a", "b"]), silence)
    assert [p.state for p in found] == ["empty", "empty"]


def test_a_row_the_template_fails_on_is_its_own_failure() -> None:
    given = rows("x", "y", price=["cheap", 2])
    found = answer_for(prompt("{{ price + 1 }} {{ text }}"), given, says("good"))
    assert [p.state for p in found] == ["failed", "ok"]


def test_an_answer_becomes_a_label() -> None:
    answer = Answer(
        text="Good.", usage=Usage(20, 2), cost_usd=0.25, latency_seconds=0.5, finish_reason="stop", from_journal=True
    )
    assert one(answer) == Prediction(
        "good",
        "ok",
        call=CallRecord(
            raw="Good.",
            cost_usd=0.25,
            spent_usd=0.0,
            latency_seconds=0.5,
            input_tokens=20,
            output_tokens=2,
            from_journal=True,
        ),
    )


def test_an_unreadable_answer_is_off_label() -> None:
    found = one(Answer(text="I cannot tell", finish_reason="stop"))
    assert (found.state, found.error) == ("off_label", "the answer is none of the labels: 'I cannot tell'")


def test_a_cut_answer_says_what_to_raise() -> None:
    found = one(Answer(text="The overall", finish_reason="length"))
    assert found.error is not None
    assert "cut by max_tokens (16)" in found.error
    assert "decoding.max_tokens" in found.error


@pytest.mark.parametrize("said", ["good because it", "The writer lists good points first, but", "Good, though"])
def test_no_label_is_read_from_a_cut_answer(said: str) -> None:
    found = one(Answer(text=said, finish_reason="length"))
    assert (found.label, found.state) == (None, "off_label")


@pytest.mark.parametrize("said", ["good", " **Good**.", "<think>bad?</think>good"])
def test_a_cut_answer_that_is_a_whole_label_is_read(said: str) -> None:
    assert one(Answer(text=said, finish_reason="length")).label == "good"


def test_json_that_is_whole_is_read_where_the_answer_was_cut() -> None:
    assert one(Answer(text='{"label": "good"}', finish_reason="length"), answer="json").label == "good"
    assert one(Answer(text='{"label": "good"} as it', finish_reason="length"), answer="json").label is None


def test_the_first_line_of_a_text_that_goes_on_is_whole() -> None:
    said = Answer(text=" good\nbad: ", finish_reason="length")
    assert one(said, style="completion").label == "good"


def test_a_cut_answer_that_could_go_on_is_off_label() -> None:
    ten = Prompt(lt.Task("stars", type="rating", labels=[1, 10]), "{{ text }}", endpoint=ENDPOINT)
    found = answer_for(ten, rows("x"), lambda request: Answer(text="1", finish_reason="length"))
    assert found[0].state == "off_label"


def test_json_that_is_none_is_off_label() -> None:
    assert one(Answer(text="good", finish_reason="stop"), answer="json").state == "off_label"


@pytest.mark.parametrize(
    ("answer", "state", "transient"),
    [
        (Answer(failure="rate_limit", error="slow down"), "failed", True),
        (Answer(failure="transient", error="500"), "failed", True),
        (Answer(failure="stopped"), "failed", True),
        (Answer(failure="quota", error="no money"), "failed", True),
        (Answer(failure="access", error="no key"), "failed", True),
        (Answer(failure="permanent", status=400, error="too long"), "failed", False),
        (Answer(failure="content", error="filtered"), "refused", False),
        (Answer(refusal="I will not."), "refused", False),
        (Answer(text="go", finish_reason="content_filter"), "refused", False),
    ],
)
def test_what_is_no_answer_has_a_state(answer: Answer, state: str, transient: bool) -> None:
    found = one(answer)
    assert (found.state, found.transient, found.label) == (state, transient, None)


def test_the_service_says_why_it_failed() -> None:
    assert one(Answer(failure="permanent", error="maximum context is 4096")).error == "maximum context is 4096"


def test_an_unknown_price_stays_unknown() -> None:
    assert one(Answer(text="good", usage=Usage(5, 1))).cost_usd is None


def test_the_first_requests_are_those_of_fit_and_predict() -> None:
    spec = prompt(examples=4, answer={"method": "score", "calibration_rows": 5})
    fitting: list[list[Request]] = []
    answering: list[list[Request]] = []
    fitted = hold(spec.fit(TRAIN), scores({"good": 0.6, "bad": 0.4}), fitting)
    hold(spec.predict(rows("x", None, "y"), fitted), scores({"good": 0.6, "bad": 0.4}), answering)
    assert spec.first_requests(rows("x", None, "y"), TRAIN) == (fitting[0], answering[0])


def test_a_fitted_spec_has_nothing_left_to_fit() -> None:
    spec = prompt(examples=4)
    fitted = hold(spec.fit(TRAIN), silence)
    assert spec.first_requests(rows("x"), None, fitted) == ([], sent(spec, rows("x"), TRAIN))


def test_the_first_requests_need_training_rows_too() -> None:
    with pytest.raises(SpecError, match="needs training rows; add --train TABLE"):
        prompt(examples=4).first_requests(rows("x"))


def test_params_are_the_decoding_settings_that_are_sent() -> None:
    assert prompt(decoding={"top_p": 0.5}).params == {"temperature": 0.0, "max_tokens": 16, "top_p": 0.5}


def test_a_refused_temperature_is_no_param() -> None:
    assert "temperature" not in prompt(decoding={"temperature": None}).params


def test_params_at_their_defaults_change_nothing() -> None:
    spec = prompt()
    assert spec.with_params(spec.params) is spec


def test_a_param_changes_what_is_sent() -> None:
    spec = prompt(name="mood").with_params({"temperature": 1})
    assert (spec.name, spec.decoding.temperature, spec.decoding.max_tokens) == ("mood", 1.0, None)


def test_a_wrong_param_is_explained() -> None:
    with pytest.raises(SpecError, match=r"decoding\.warmth.*max_tokens"):
        prompt().with_params({"warmth": 1})


def test_a_default_and_the_same_setting_written_out_are_one_spec() -> None:
    assert prompt(decoding={"temperature": 0}).digest == prompt().digest


def test_a_registry_shows_both_templates() -> None:
    assert prompt(system="Be brief.").prompt_text == "system:\nBe brief.\n\nuser:\nMood of: {{ text }}"


def test_an_answer_paid_for_now_is_spent() -> None:
    assert one(Answer(text="good", cost_usd=0.25)).call.spent_usd == 0.25


def test_an_unknown_price_is_not_spent_as_nothing() -> None:
    assert one(Answer(text="good")).call.spent_usd is None


def test_an_answer_of_the_journal_costs_nothing_now_whatever_its_price() -> None:
    assert one(Answer(text="good", from_journal=True)).call.spent_usd == 0.0


def test_a_row_that_is_never_sent_costs_nothing() -> None:
    assert [p.call.spent_usd for p in answer_for(prompt(), rows(" "), silence)] == [0.0]


def test_half_a_surrogate_pair_in_an_answer_s_json_is_no_fault_of_its_message() -> None:
    error = one(Answer(text=r'{"label": "\ud83d"}', finish_reason="stop"), answer="json").error or ""
    assert error.encode()


@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        ({"answer": "score", "examples": 4}, "e4d0b10218814027158609da31cb43ac0eb2c67c8b0aec2ed485d01b75bb9bd8"),
        ({"answer": "text"}, "3622912ed6ba758d5b59213307d4ab40e64cec6bd2a23d354689a34a39dd920c"),
        (
            {"answer": "score", "examples": {"count": 2, "select": "nearest"}},
            "a75e48a2526b272d66ee42eef5456379584b8d78de3975378a3d957a8d3fb0a2",
        ),
    ],
    ids=["examples", "no examples", "nearest"],
)
def test_a_spec_of_before_max_characters_keeps_its_digest(settings: dict[str, Any], digest: str) -> None:
    """The digests are those that e81da5d gave, which did not know the setting."""
    asked = Endpoint(provider="compatible", base_url="http://127.0.0.1:9/v1", model="m")
    if isinstance(settings.get("examples"), dict):
        settings = settings | {"examples": settings["examples"] | {"endpoint": asked}}
    task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
    spec = lt.Prompt(task, "Stars for: {{ text }}", endpoint=asked, **settings)
    assert spec.digest == digest
    tuned = lt.FineTune(task, "Stars: {{ text }}", endpoint=asked, answer="score")
    assert tuned.digest == "c0e1f8a5f07ef08b4370117d42b36e16e69aa7248ef66863c915e886b61173be"
    shorter = spec.with_settings({"prompt.examples.max_characters": 60})
    assert shorter.digest != digest
