"""`/v1/decisions` as the real OpenAI client meets it."""

from __future__ import annotations

import asyncio
import math
from typing import Any, cast

import openai
import pytest
from openai.types.decision import (
    AnswerAnswerResourceChoice,
    AnswerAnswerResourcePredicate,
    AnswerAnswerResourceRefusal,
    AnswerAnswerResourceScore,
    Decision,
)

from luthier_local import Fault, LocalServer, ModelCard
from luthier_local.backend import Backend, GeneratedToken, Generation, GenerationRequest
from luthier_local.label_probabilities import label_probabilities
from tests.luthier_local.tuning import served

GOOD, BAD = "The soup was wonderful and the staff friendly, great place.", "Terrible soup, rude staff, never again."

PREDICATE = {"type": "predicate", "instructions": "The writer is happy."}
CHOICE = {"type": "choice", "instructions": "How does it sound?", "choices": [{"value": "good"}, {"value": "bad"}]}
SCORE = {
    "type": "score",
    "instructions": "How many stars, from 1 to 5?",
    "levels": [{"label": str(star)} for star in range(1, 6)],
}


def decide(client: openai.OpenAI, *questions: dict[str, Any], text: Any = GOOD, model: str = "stars") -> Decision:
    return client.decisions.create(model=model, input=text, questions=cast(Any, list(questions)))


def choice(client: openai.OpenAI, *values: str | bool, **given: Any) -> AnswerAnswerResourceChoice:
    question = {**CHOICE, "choices": [{"value": value} for value in values]}
    (answer,) = decide(client, question, **given).answers
    assert isinstance(answer, AnswerAnswerResourceChoice)
    return answer


def refusal_of(client: openai.OpenAI, *questions: dict[str, Any], **given: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        decide(client, *questions, **given)
    return caught.value


class TestAnswers:
    def test_a_predicate_is_likelier_where_it_is_true(self, client: openai.OpenAI) -> None:
        likely, unlikely = (decide(client, PREDICATE, text=text).answers[0] for text in (GOOD, BAD))
        assert isinstance(likely, AnswerAnswerResourcePredicate)
        assert isinstance(unlikely, AnswerAnswerResourcePredicate)
        assert 0 < unlikely.probability < 0.5 < likely.probability < 1

    def test_a_choice_is_the_likeliest_value(self, client: openai.OpenAI) -> None:
        answer = choice(client, "good", "bad", text=BAD)
        assert answer.choice == "bad"
        assert [share.value for share in answer.probabilities] == ["good", "bad"]
        assert sum(share.probability for share in answer.probabilities) == pytest.approx(1)
        assert answer.confidence == max(share.probability for share in answer.probabilities)

    def test_a_score_is_the_mean_of_its_levels(self, client: openai.OpenAI) -> None:
        (answer,) = decide(client, SCORE).answers
        assert isinstance(answer, AnswerAnswerResourceScore)
        assert [(level.label, level.value) for level in answer.probabilities] == [(str(i + 1), i) for i in range(5)]
        assert answer.score == pytest.approx(sum(level.value * level.probability for level in answer.probabilities))
        assert answer.score > 2.5

    def test_answers_come_in_the_order_of_the_questions_with_their_names(self, client: openai.OpenAI) -> None:
        found = decide(client, {**SCORE, "name": "stars"}, PREDICATE, {**CHOICE, "name": "mood"})
        assert [(answer.type, answer.name) for answer in found.answers] == [
            ("score", "stars"), ("predicate", None), ("choice", "mood"),
        ]  # fmt: skip

    def test_one_question_is_answered_alike_alone_and_among_others(self, client: openai.OpenAI) -> None:
        assert decide(client, SCORE).answers[0] == decide(client, PREDICATE, SCORE).answers[1]

    def test_the_input_is_counted_once_per_question_and_nothing_is_written(self, client: openai.OpenAI) -> None:
        one, two = decide(client, SCORE).usage, decide(client, SCORE, SCORE).usage
        assert two.input_tokens == 2 * one.input_tokens == two.total_tokens
        assert one.output_tokens == one.output_tokens_details.reasoning_tokens == 0
        assert one.input_tokens_details.cached_tokens == 0

    def test_the_model_says_its_name(self, client: openai.OpenAI) -> None:
        assert decide(client, SCORE, model="deployment").model == "gpt-4.1-mini-2025-04-14"

    def test_the_same_text_as_string_and_as_boolean_are_two_choices(self, client: openai.OpenAI) -> None:
        answer = choice(client, "true", True, False)
        assert [share.value for share in answer.probabilities] == ["true", True, False]
        assert sum(share.probability for share in answer.probabilities) == pytest.approx(1)

    def test_labels_that_begin_alike_are_told_apart(self, client: openai.OpenAI) -> None:
        fine, poor = "excellent service", "excellent soup"
        answer = choice(client, fine, poor, "awful, all of it")
        assert all(share.probability > 0 for share in answer.probabilities)
        assert sum(share.probability for share in answer.probabilities) == pytest.approx(1)

    def test_255_choices_are_answered(self, client: openai.OpenAI) -> None:
        answer = choice(client, *(f"kind {number}" for number in range(255)))
        assert len(answer.probabilities) == 255
        assert sum(share.probability for share in answer.probabilities) == pytest.approx(1)

    def test_azures_path_answers_too(self, server: LocalServer) -> None:
        with openai.OpenAI(base_url=server.azure_url, api_key=server.api_key, max_retries=0) as client:
            assert decide(client, SCORE).answers[0].type == "score"

    def test_a_chat_only_model_decides_as_well(self, client: openai.OpenAI) -> None:
        assert decide(client, SCORE, model="chat-only").answers[0].type == "score"


class TestInput:
    def test_a_single_message_is_read_as_its_text(self, client: openai.OpenAI) -> None:
        for content in (GOOD, [{"type": "input_text", "text": GOOD}]):
            message = [{"role": "user", "type": "message", "content": content}]
            assert decide(client, SCORE, text=message).answers == decide(client, SCORE).answers

    def test_a_conversation_with_calls_and_data_is_read(self, client: openai.OpenAI) -> None:
        turns = [
            {"role": "developer", "content": "Look the review up."},
            {"role": "assistant", "content": [{"type": "output_text", "text": "I will."}]},
            {"type": "function_call", "name": "review", "call_id": "c1", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": GOOD}]},
            {"role": "user", "content": [{"type": "input_json", "data": {"place": "Rome"}}]},
        ]
        assert decide(client, CHOICE, text=turns).usage.input_tokens > decide(client, CHOICE).usage.input_tokens

    def test_an_output_without_its_call_is_refused(self, client: openai.OpenAI) -> None:
        turns = [{"type": "function_call_output", "call_id": "c1", "output": GOOD}]
        assert refusal_of(client, SCORE, text=turns).param == "input[0].call_id"

    def test_an_image_is_refused(self, client: openai.OpenAI) -> None:
        turns = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}]
        assert refusal_of(client, SCORE, text=turns).param == "input[0].content[0]"

    def test_an_input_beyond_the_context_is_refused(self, client: openai.OpenAI) -> None:
        refused = refusal_of(client, SCORE, text=GOOD * 20, model="small")
        assert (refused.status_code, refused.code) == (400, "context_length_exceeded")


LEVELS = [{"label": str(i)} for i in range(11)]


@pytest.mark.parametrize(
    ("question", "param", "code"),
    [
        ({**CHOICE, "choices": [{"value": "a"}]}, "questions[0].choices", "array_below_min_length"),
        (
            {**CHOICE, "choices": [{"value": str(i)} for i in range(256)]},
            "questions[0].choices",
            "array_above_max_length",
        ),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": "a"}]}, "questions[0].choices[1].value", "duplicate_value"),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": " "}]}, "questions[0].choices[1].value", "empty_string"),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": 2}]}, "questions[0].choices[1].value", "invalid_type"),
        ({**CHOICE, "levels": LEVELS}, "questions[0].levels", "unknown_parameter"),
        ({**SCORE, "levels": LEVELS[:1]}, "questions[0].levels", "array_below_min_length"),
        ({**SCORE, "levels": LEVELS}, "questions[0].levels", "array_above_max_length"),
        ({**SCORE, "levels": [{"label": "a"}, {"label": True}]}, "questions[0].levels[1].label", "invalid_type"),
        ({**SCORE, "levels": [LEVELS[0]] * 2}, "questions[0].levels[1].label", "duplicate_value"),
        ({**PREDICATE, "type": "essay"}, "questions[0].type", "invalid_value"),
        ({"instructions": "?"}, "questions[0].type", "missing_required_parameter"),
        ({"type": "predicate"}, "questions[0].instructions", "missing_required_parameter"),
        ({**PREDICATE, "instructions": " "}, "questions[0].instructions", "empty_string"),
        ({**PREDICATE, "name": ""}, "questions[0].name", "invalid_type"),
    ],
)
def test_a_wrong_question_is_refused_by_place_and_code(
    client: openai.OpenAI, question: dict[str, Any], param: str, code: str
) -> None:
    refused = refusal_of(client, question)
    assert (refused.status_code, refused.param, refused.code) == (400, param, code)


class TestRefusals:
    def test_no_question_and_too_many_are_refused(self, client: openai.OpenAI) -> None:
        assert refusal_of(client).code == "array_below_min_length"
        assert refusal_of(client, *[PREDICATE] * 401).code == "array_above_max_length"

    def test_two_questions_of_one_name_are_refused(self, client: openai.OpenAI) -> None:
        refused = refusal_of(client, {**SCORE, "name": "a"}, {**CHOICE, "name": "a"})
        assert (refused.param, refused.code) == ("questions[0].name", "duplicate_value")

    @pytest.mark.parametrize("text", ["", "  ", []])
    def test_an_empty_input_is_refused(self, client: openai.OpenAI, text: Any) -> None:
        refused = refusal_of(client, SCORE, text=text)
        assert (refused.status_code, refused.param) == (400, "input")

    def test_a_parameter_of_another_route_is_refused(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.decisions.create(
                model="stars", input=GOOD, questions=cast(Any, [SCORE]), extra_body={"temperature": 0}
            )

    def test_a_model_that_only_embeds_says_so(self, server: LocalServer, client: openai.OpenAI) -> None:
        server.put_model(ModelCard("vectors", chat=False, completions=False, embeddings=True))
        refused = refusal_of(client, SCORE, model="vectors")
        assert (refused.status_code, refused.param) == (400, "model")
        assert "only embeds" in str(refused)

    def test_a_scripted_refusal_is_an_answer(self, server: LocalServer, client: openai.OpenAI) -> None:
        server.faults.add(Fault("refusal", path="decisions", times=1))
        (answer,) = decide(client, {**SCORE, "name": "stars"}).answers
        assert isinstance(answer, AnswerAnswerResourceRefusal)
        assert answer.name == "stars"
        assert decide(client, SCORE).answers[0].type == "score"

    def test_one_question_is_refused_and_the_others_are_answered(
        self, server: LocalServer, client: openai.OpenAI
    ) -> None:
        server.faults.add(Fault("refusal", contains="happy"))
        assert [answer.type for answer in decide(client, CHOICE, PREDICATE).answers] == ["choice", "refusal"]


class Scripted(Backend):
    """A backend whose next tokens are given by the text so far."""

    def __init__(self, following: dict[str, dict[str, float]]) -> None:
        super().__init__("scripted")
        self.following = following
        self.asked: list[str] = []

    async def generate(self, request: GenerationRequest) -> Generation:
        assert request.messages is not None
        said = request.messages[1].content if request.messages[1:] else ""
        self.asked.append(said)
        top = [(token, math.log(share)) for token, share in self.following[said].items()]
        return Generation(top[0][0], [GeneratedToken(*top[0], top)], "length", 7, 1)


def shares(backend: Scripted, *answers: str) -> list[float]:
    return [round(p, 4) for p in asyncio.run(label_probabilities(backend, "Which?", answers)).probabilities]


class TestLabelsOfSeveralTokens:
    def test_the_share_of_a_common_beginning_is_split_by_what_follows(self) -> None:
        backend = Scripted({"": {" pur": 0.6, " red": 0.3}, " pur": {"ple": 0.75, "e": 0.25}})
        assert shares(backend, "purple", "pure", "red") == [0.5, 0.1667, 0.3333]

    def test_a_label_that_begins_another_gets_what_does_not_go_on(self) -> None:
        backend = Scripted({"": {" 1": 0.6, " 2": 0.4}, " 1": {"\n": 0.7, "0": 0.25}})
        assert shares(backend, "1", "10", "2") == [0.45, 0.15, 0.4]

    def test_digits_behind_a_space_of_their_own_are_found(self) -> None:
        backend = Scripted({"": {" ": 0.8, "3": 0.1}, " ": {"1": 0.5, "3": 0.25}})
        assert shares(backend, "1", "3") == [0.5714, 0.4286]

    def test_an_answer_known_by_its_first_token_reads_the_prompt_once(self) -> None:
        backend = Scripted({"": {" good": 0.5, " bad": 0.3, " ": 0.01}})
        assert shares(backend, "good", "bad") == [0.625, 0.375]
        assert backend.asked == [""]

    def test_a_label_beyond_the_likeliest_tokens_gets_no_more_than_the_last_of_them(self) -> None:
        backend = Scripted({"": {" good": 0.9, " the": 0.02}})
        assert shares(backend, "good", "bad") == [0.9783, 0.0217]


@pytest.mark.slow
def test_smollm2_decides() -> None:
    pytest.importorskip("xllamacpp")
    with served(models=[ModelCard("smol", backend="llama")]) as (_, client):
        found = decide(client, PREDICATE, CHOICE, SCORE, model="smol")
        predicate, _, score = found.answers
        assert isinstance(predicate, AnswerAnswerResourcePredicate)
        assert 0 < predicate.probability < 1
        assert isinstance(score, AnswerAnswerResourceScore)
        assert sum(level.probability for level in score.probabilities) == pytest.approx(1)
        assert all(level.probability > 1e-6 for level in score.probabilities)
        assert found == decide(client, PREDICATE, CHOICE, SCORE, model="smol")
