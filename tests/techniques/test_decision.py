"""The decision technique, answered by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from luthier.errors import DataError, EndpointError, Partial, SpecError
from luthier.providers.endpoint import compatible
from luthier.providers.exchange import Answer, Request, Usage
from luthier.tasks.task import Task
from luthier.techniques import Decision
from tests.conversing import ENDPOINT, MOOD, STARS, answer_for, hold, rows, silence


def decides(*shares: float, labels: tuple[str, ...] = STARS.labels) -> Callable[[Request], Answer]:
    return lambda request: Answer(decided=tuple(zip(labels, shares, strict=True)), usage=Usage(20, 1))


def asked(spec: Decision, **columns: Any) -> dict[str, Any]:
    (request,) = spec.first_requests(rows("Fine soup", **columns))[1]
    assert request.operation == "decision"
    return dict(request.body)


class TestQuestion:
    def test_a_rating_is_a_score_over_its_levels_in_order(self) -> None:
        assert asked(Decision(STARS, question="How good?", endpoint=ENDPOINT)) == {
            "input": "Fine soup",
            "questions": [
                {
                    "type": "score",
                    "levels": [{"label": label} for label in ("1", "2", "3", "4", "5")],
                    "instructions": "How good?",
                }
            ],
        }

    def test_a_classification_is_a_choice(self) -> None:
        (question,) = asked(Decision(MOOD, endpoint=ENDPOINT))["questions"]
        assert question["type"] == "choice"
        assert question["choices"] == [{"value": "good"}, {"value": "bad"}]

    def test_a_rating_of_more_than_ten_levels_is_a_choice_and_says_so(self) -> None:
        long = Task("points", type="rating", labels=list(range(11)))
        spec = Decision(long, endpoint=ENDPOINT)
        assert asked(spec)["questions"][0]["type"] == "choice"
        assert "takes at most 10 levels" in spec.notes()[0]

    def test_descriptions_stand_beside_their_labels(self) -> None:
        spec = Decision.make(
            {"task": STARS, "endpoint": ENDPOINT, "descriptions": {1: "would never return", "5": "perfect"}}
        )
        levels = asked(spec)["questions"][0]["levels"]
        assert [level.get("description") for level in levels] == ["would never return", None, None, None, "perfect"]

    def test_templates_may_use_any_column(self) -> None:
        spec = Decision(
            MOOD,
            question="How was {{ place }}, {{ labels | join(' or ') }}?",
            input="{{ title }}: {{ text }}",
            endpoint=ENDPOINT,
        )
        assert spec.columns == ("text", "place", "title")
        body = asked(spec, place=["Roma"], title=["Dinner"])
        assert body["input"] == "Dinner: Fine soup"
        assert body["questions"][0]["instructions"] == "How was Roma, good or bad?"

    def test_the_question_made_up_is_kept_with_the_spec(self) -> None:
        spec = Decision(STARS, endpoint=ENDPOINT)
        assert spec.document()["question"] == "Rate this text: stars, from 1 (lowest) to 5 (highest)."

    def test_the_registry_shows_question_and_input(self) -> None:
        spec = Decision(MOOD, question="Happy?", input="{{ text }}!", endpoint=ENDPOINT)
        assert spec.prompt_text == "input:\n{{ text }}!\n\nquestion:\nHappy?"

    def test_preview_shows_what_is_asked_and_sends_nothing(self, table: Any) -> None:
        shown = str(
            Decision(STARS, descriptions={"1": "awful"}, calibration_rows=9, endpoint=ENDPOINT).preview(table[:1])
        )
        assert f"[input] {table.text[0]}" in shown
        assert "- 1: awful\n- 2\n" in shown
        assert "Fitting asks about 9 training rows too" in shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": None}, "endpoint is missing"),
        ({"question": "  "}, "question: is empty"),
        ({"question": "{{ text }"}, "line 1: unexpected '}'"),
        ({"question": "Is it {{ label }}?"}, "'label', which holds what is asked for"),
        ({"input": "always this"}, "input names no column"),
        ({"descriptions": {"6": "too good"}}, "'6', which is no label; labels: 1, 2, 3, 4, 5"),
        ({"descriptions": "good"}, "descriptions says what labels mean"),
        ({"objective": "qwk"}, "set calibration_rows: 100"),
        ({"temperature": 0}, "unknown key; allowed here: calibration_rows, descriptions, endpoint, gates, input"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    stars = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
    with pytest.raises(SpecError) as caught:
        Decision(stars, **{"endpoint": ENDPOINT, **settings})
    assert message in str(caught.value)


def test_more_than_255_labels_are_refused() -> None:
    many = Task("kind", labels=[f"kind {number}" for number in range(256)])
    with pytest.raises(SpecError, match=r"256 labels.*255.*technique: prompt"):
        Decision(many, endpoint=ENDPOINT)


class TestAnswer:
    def test_the_label_is_the_likeliest_and_every_label_has_its_probability(self) -> None:
        (found,) = answer_for(Decision(STARS, endpoint=ENDPOINT), rows("Fine"), decides(0.1, 0.1, 0.2, 0.5, 0.1))
        assert (found.label, found.state) == ("4", "ok")
        assert found.probabilities == pytest.approx((0.1, 0.1, 0.2, 0.5, 0.1))
        assert (found.call.input_tokens, found.call.output_tokens) == (20, 1)
        assert found.call.raw == '{"1": 0.1, "2": 0.1, "3": 0.2, "4": 0.5, "5": 0.1}'

    def test_labels_are_matched_by_name_not_by_place(self) -> None:
        reply = decides(0.9, 0.1, labels=("bad", "good"))
        (found,) = answer_for(Decision(MOOD, endpoint=ENDPOINT), rows("Fine"), reply)
        assert (found.label, found.probabilities) == ("bad", (0.1, 0.9))

    def test_mse_takes_the_label_nearest_to_the_expected_rating(self) -> None:
        spec = Decision(STARS, objective="mse", endpoint=ENDPOINT)
        (found,) = answer_for(spec, rows("Fine"), decides(0.45, 0.0, 0.05, 0.1, 0.4))
        assert found.label == "3"

    def test_rounded_probabilities_are_made_to_sum_to_one(self) -> None:
        (found,) = answer_for(Decision(MOOD, endpoint=ENDPOINT), rows("Fine"), decides(0.66, 0.33, labels=MOOD.labels))
        assert sum(found.probabilities) == pytest.approx(1)

    def test_probabilities_that_miss_one_by_more_are_no_answer(self) -> None:
        (found,) = answer_for(Decision(MOOD, endpoint=ENDPOINT), rows("Fine"), decides(0.6, 0.2, labels=MOOD.labels))
        assert (found.label, found.state) == (None, "off_label")
        assert "0.800" in found.error

    def test_an_answer_that_lacks_a_label_is_no_answer(self) -> None:
        reply = decides(0.7, 0.3, labels=("good", "fair"))
        (found,) = answer_for(Decision(MOOD, endpoint=ENDPOINT), rows("Fine"), reply)
        assert (found.state, found.error) == ("off_label", "the answer has no probability for 'bad'")

    def test_a_refusal_is_a_state_with_its_reason(self) -> None:
        spec = Decision(MOOD, endpoint=ENDPOINT)
        (found,) = answer_for(spec, rows("Fine"), lambda request: Answer(refusal="declined"))
        assert (found.label, found.state, found.error) == (None, "refused", "declined")

    def test_blank_rows_are_empty_and_rows_a_template_fails_on_fail_without_a_call(self) -> None:
        spec = Decision(MOOD, input="{{ text }}{{ 1 // size }}", endpoint=ENDPOINT)
        given = rows(" ", None, "Fine", size=[1, 1, 0])
        found = answer_for(spec, given, silence)
        assert [prediction.state for prediction in found] == ["empty", "empty", "failed"]
        assert "ZeroDivisionError" in found[2].error

    def test_an_input_of_which_nothing_is_left_fails_without_a_call(self) -> None:
        spec = Decision(MOOD, input="{{ title }}", endpoint=ENDPOINT)
        (found,) = answer_for(spec, rows("Fine", title=[None]), silence)
        assert (found.state, found.error) == ("failed", "the template of `input` writes nothing for this row")

    def test_a_row_that_got_no_answer_may_be_asked_again(self) -> None:
        spec = Decision(MOOD, endpoint=ENDPOINT)
        (found,) = answer_for(spec, rows("Fine"), lambda request: Answer(failure="transient", error="timed out"))
        assert (found.state, found.transient, found.error) == ("failed", True, "timed out")


TRAIN = rows(*(f"review {number}" for number in range(10)), labels=["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"])


def leaning_to_five(request: Request) -> Answer:
    number = int(str(request.body["input"]).split()[1])
    star = number // 2
    shares = [0.02] * 5
    shares[star] += 0.3
    shares[4] += 0.6
    return decides(*shares)(request)


class TestCalibration:
    def test_the_leaning_is_measured_on_training_rows_and_taken_away(self) -> None:
        spec = Decision(STARS, calibration_rows=10, endpoint=ENDPOINT)
        rounds: list[list[Request]] = []
        fitted = hold(spec.fit(TRAIN), leaning_to_five, rounds)
        assert (spec.needs_training, len(rounds[0])) == (True, 10)
        found = hold(spec.predict(TRAIN, fitted), leaning_to_five)
        assert [prediction.label for prediction in found] == list(TRAIN.labels)

    def test_qwk_cuts_the_expected_rating_where_training_rows_agree(self) -> None:
        spec = Decision(STARS, objective="qwk", calibration_rows=10, endpoint=ENDPOINT)
        fitted = hold(spec.fit(TRAIN), leaning_to_five)
        assert len(fitted.state["cuts"]) == 4
        found = hold(spec.predict(TRAIN, fitted), leaning_to_five)
        assert [prediction.label for prediction in found] == list(TRAIN.labels)

    @pytest.mark.parametrize("objective", [None, "qwk"])
    def test_a_label_the_service_rounds_to_nothing_is_not_lifted_above_all_others(self, objective: str | None) -> None:
        def rounded(request: Request) -> Answer:
            star = int(str(request.body["input"]).split()[1]) // 2
            shares = [0.0, 0.1, 0.1, 0.1, 0.1]
            shares[max(star, 1)] += 0.6
            return decides(*shares)(request)

        spec = Decision(STARS, calibration_rows=10, endpoint=ENDPOINT, objective=objective)
        fitted = hold(spec.fit(TRAIN), rounded)
        found = hold(spec.predict(TRAIN, fitted), rounded)
        assert [p.probabilities[0] for p in found if p.probabilities] == [0.0] * 10
        assert [p.label for p in found][2:] == list(TRAIN.labels)[2:]

    def test_fitting_is_planned_with_the_rows_it_asks(self) -> None:
        spec = Decision(STARS, calibration_rows=4, endpoint=ENDPOINT)
        fitting, answering = spec.first_requests(rows("Fine", " "), TRAIN)
        assert (len(fitting), len(answering)) == (4, 1)

    def test_without_training_rows_or_with_too_few_it_says_what_to_do(self) -> None:
        spec = Decision(STARS, calibration_rows=11, endpoint=ENDPOINT)
        with pytest.raises(SpecError, match="add --train TABLE"):
            hold(spec.fit(None), silence)
        with pytest.raises(DataError, match=r"calibrat.* 11 rows.* 10 "):
            hold(spec.fit(TRAIN), silence)

    def test_an_endpoint_that_refuses_most_rows_or_has_no_answer_yet_stops_the_fit(self) -> None:
        spec = Decision(STARS, calibration_rows=10, endpoint=ENDPOINT)
        with pytest.raises(EndpointError, match=r"0 of 10 calibration rows .*calibration_rows: 0"):
            hold(spec.fit(TRAIN), lambda request: Answer(refusal="declined"))
        with pytest.raises(Partial, match="Run the same command again"):
            hold(spec.fit(TRAIN), lambda request: Answer(failure="transient", error="timed out"))

    def test_a_calibration_asked_at_another_model_is_cautioned_about(self) -> None:
        spec = Decision(STARS, calibration_rows=10, endpoint=ENDPOINT)
        fitted = hold(spec.fit(TRAIN), leaning_to_five)
        moved = spec.with_endpoint(compatible("other-model", "http://127.0.0.1:1/v1"))
        assert "calibrated on some-model" in moved.relocation_warnings(fitted)[0]
        assert spec.relocation_warnings(fitted) == ()
