"""What an OpenAI client gets from the server, route by route."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request

import openai
import pytest
from openai.types.chat import ChatCompletion

from luthier_local import LocalServer

REVIEW = "The battery lasts long and the screen is great, I love it."


def ask(client: openai.OpenAI, text: str = REVIEW, model: str = "stars", **more: object) -> ChatCompletion:
    asked = {"temperature": 0, "max_tokens": 4, **more}
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": f"Rate from 1 to 5 stars.\n\nReview: {text}\nStars:"}],
        **asked,  # type: ignore[call-overload]
    )
    assert isinstance(answer, ChatCompletion)
    return answer


def test_chat_answers_with_a_rating(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert answer.choices[0].message.content in {"1", "2", "3", "4", "5"}
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_same_question_has_the_same_answer(client: openai.OpenAI) -> None:
    first, second = ask(client, logprobs=True, top_logprobs=20), ask(client, logprobs=True, top_logprobs=20)
    assert first.choices == second.choices


def test_chat_logprobs_are_a_ranked_distribution(client: openai.OpenAI) -> None:
    logprobs = ask(client, logprobs=True, top_logprobs=20).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    first = logprobs.content[0]
    values = [rival.logprob for rival in first.top_logprobs]
    assert len(values) == 20
    assert values == sorted(values, reverse=True)
    assert sum(math.exp(value) for value in values) <= 1 + 1e-9
    assert first.token == first.top_logprobs[0].token
    assert bytes(first.bytes or []).decode() == first.token


def test_completions_have_the_older_logprobs_shape(client: openai.OpenAI) -> None:
    prompt = f"Review: dull\nRating: terrible\n\nReview: fine\nRating: great\n\nReview: {REVIEW}\nRating:"
    answer = client.completions.create(model="stars", prompt=prompt, temperature=0, max_tokens=5, logprobs=5)
    choice = answer.choices[0]
    assert choice.text == " great"
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == [" great"]
    assert choice.logprobs.text_offset == [0]
    assert choice.logprobs.top_logprobs is not None
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.top_logprobs[0][" great"] == choice.logprobs.token_logprobs[0]
    assert len(choice.logprobs.top_logprobs[0]) == 5


def test_completions_answer_a_list_of_prompts_in_order(client: openai.OpenAI) -> None:
    prompts = ["Review: awful, broken, a waste\nStars:", "Review: wonderful, I love it\nStars:"]
    together = client.completions.create(model="stars", prompt=prompts, temperature=0, max_tokens=2, n=2)
    apart = [
        client.completions.create(model="stars", prompt=p, temperature=0, max_tokens=2).choices[0].text for p in prompts
    ]
    assert [choice.text for choice in together.choices] == [apart[0], apart[0], apart[1], apart[1]]
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]


def test_a_streamed_chat_is_the_same_answer(client: openai.OpenAI) -> None:
    whole = ask(client, text="Broke after a week, terrible.", logprobs=True, top_logprobs=3)
    chunks = list(
        client.chat.completions.create(
            model="stars",
            messages=[
                {
                    "role": "user",
                    "content": "Rate from 1 to 5 stars.\n\nReview: Broke after a week, terrible.\nStars:",
                }
            ],
            temperature=0,
            max_tokens=4,
            logprobs=True,
            top_logprobs=3,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    streamed = [c.choices[0].logprobs for c in chunks if c.choices and c.choices[0].logprobs]
    assert whole.choices[0].logprobs is not None
    assert [token for part in streamed for token in part.content or []] == whole.choices[0].logprobs.content


def test_a_streamed_completion_is_the_same_answer(client: openai.OpenAI) -> None:
    prompt = "Review: dull\nRating: terrible\n\nReview: broken, a waste of money\nRating:"
    whole = client.completions.create(model="stars", prompt=prompt, temperature=0, max_tokens=6)
    parts = list(client.completions.create(model="stars", prompt=prompt, temperature=0, max_tokens=6, stream=True))
    assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text == " terrible"
    assert parts[-1].choices[0].finish_reason == "stop"


def test_embeddings_are_the_same_in_both_encodings(client: openai.OpenAI) -> None:
    texts = ["good battery", "bad screen", "😀"]
    floats = client.embeddings.create(model="stars", input=texts, encoding_format="float")
    # Without an encoding the client asks for base64 and decodes it.
    packed = client.embeddings.create(model="stars", input=texts)
    for one, other in zip(floats.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.hypot(*one.embedding) == pytest.approx(1)
    assert [item.index for item in floats.data] == [0, 1, 2]


def test_embeddings_can_be_cut(client: openai.OpenAI) -> None:
    vector = client.embeddings.create(model="stars", input="good", dimensions=8).data[0].embedding
    assert len(vector) == 8
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


def test_an_empty_text_is_not_embedded(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="stars", input=["good", ""])


def test_models_are_listed_with_digest_and_context(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert listed["small"].owned_by == "luthier"
    assert listed["small"].model_dump()["context_tokens"] == 64
    assert client.models.retrieve("stars").model_dump()["digest"].startswith("sha256:")
    assert listed["stars"].model_dump()["digest"] != listed["other-weights"].model_dump()["digest"]


def test_the_azure_address_and_header_work(server: LocalServer) -> None:
    with openai.OpenAI(
        base_url=server.azure_url, api_key="unused", default_headers={"Authorization": "", "api-key": server.api_key}
    ) as azure:
        answer = ask(azure, model="deployment")
    assert answer.model == "gpt-4.1-mini-2025-04-14"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="missing")
    assert caught.value.code == "model_not_found"
    assert "stars" in str(caught.value)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("missing")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"api-key": "wrong"}])
@pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/_luthier/requests", "/nowhere"])
def test_nothing_but_health_answers_without_the_key(server: LocalServer, header: dict[str, str], path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(server.root_url + path, headers=header))
    with caught.value as refused:
        assert refused.status == 401
        assert json.load(refused)["error"]["code"] == "invalid_api_key"
    with urllib.request.urlopen(server.root_url + "/health") as healthy:
        assert json.load(healthy)["status"] == "ok"


def test_an_answer_cut_by_max_tokens_says_so(client: openai.OpenAI) -> None:
    prompt = "Review: x\nRating: terrible\n\nReview: broken, a waste\nRating:"
    answer = client.completions.create(model="stars", prompt=prompt, temperature=0, max_tokens=1)
    assert answer.choices[0].text == " terrib"
    assert answer.choices[0].finish_reason == "length"


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    prompt = "Review: x\nRating: terrible\n\nReview: broken, a waste\nRating:"
    answer = client.completions.create(model="stars", prompt=prompt, temperature=0, max_tokens=9, stop="rib")
    assert answer.choices[0].text == " ter"
    assert answer.choices[0].finish_reason == "stop"


def test_samples_differ_and_a_seed_repeats_them(client: openai.OpenAI) -> None:
    first = ask(client, text="it is a camera", temperature=1.5, n=40, seed=3)
    again = ask(client, text="it is a camera", temperature=1.5, n=40, seed=3)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 2


def test_a_json_schema_is_satisfied(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": 20},
            "stars": {"type": "string", "enum": ["1", "2", "3", "4", "5"]},
            "score": {"type": "integer", "minimum": 0, "maximum": 10},
            "sure": {"type": "boolean"},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
        },
        "$defs": {"tag": {"enum": ["price", "quality"]}},
    }
    answer = ask(
        client,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "rating", "schema": schema}},
    )
    given = json.loads(answer.choices[0].message.content or "")
    assert list(given) == ["reason", "stars", "score", "sure", "tags"]
    assert given["stars"] in {"4", "5"}
    assert 0 <= given["score"] <= 10
    assert given["sure"] is True
    assert set(given["tags"]) <= {"price", "quality"}
    assert len(given["tags"]) == 2


def test_json_answers_follow_the_text(client: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "r", "schema": {"properties": {"s": {"enum": [1, 5]}}}}}
    bad = ask(client, text="terrible, broken, a waste", max_tokens=50, response_format=form)
    assert json.loads(bad.choices[0].message.content or "") == {"s": 1}


def test_a_reasoning_model_refuses_what_openais_refuse(client: openai.OpenAI) -> None:
    for wrong, code in (
        ({"max_tokens": 5}, "unsupported_parameter"),
        ({"temperature": 0}, "unsupported_value"),
        ({"logprobs": True}, "unsupported_parameter"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model="thinker",
                messages=[{"role": "user", "content": "?"}],
                **wrong,
            )
        assert caught.value.code == code


def test_a_reasoning_model_counts_its_thoughts(client: openai.OpenAI) -> None:
    def think(limit: int) -> ChatCompletion:
        return client.chat.completions.create(
            model="thinker",
            messages=[{"role": "user", "content": REVIEW + " Stars from 1 to 5:"}],
            max_completion_tokens=limit,
        )

    usage = think(200).usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert 0 < (usage.completion_tokens_details.reasoning_tokens or 0) < usage.completion_tokens
    cut = think(8).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("", "length")


def test_logprobs_that_are_not_offered_are_refused_or_missing(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, model="no-logprobs", logprobs=True)
    assert caught.value.code == "unsupported_parameter"
    assert ask(client, model="old-server", logprobs=True, top_logprobs=5).choices[0].logprobs is None


def test_too_many_rivals_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="integer above maximum"):
        ask(client, logprobs=True, top_logprobs=21)


def test_a_prompt_beyond_the_context_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, text="many words " * 50, model="small")
    assert caught.value.code == "context_length_exceeded"


def test_five_megabytes_are_refused_as_too_long(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, text="word " * 1_000_000)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("text", ["😀😀", "👩‍👩‍👧‍👦", "   ", "नमस्ते दुनिया", "\u0000", "a" * 3000])
def test_odd_texts_are_answered(client: openai.OpenAI, text: str) -> None:
    assert ask(client, text=text).choices[0].message.content


def test_a_chat_model_does_not_complete(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="v1/chat/completions"):
        client.completions.create(model="chat-only", prompt="x")


def test_a_model_that_does_not_embed_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.embeddings.create(model="chat-only", input="x")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"max_tokens": "4"}, "max_completion_tokens"),
        ({"stop": 5}, "stop"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_a_wrong_value_is_named(client: openai.OpenAI, wrong: dict[str, object], param: str) -> None:
    body = {"model": "stars", "messages": [{"role": "user", "content": "x"}], **wrong}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.param == param


@pytest.mark.parametrize(("raw", "said"), [(b"{", "parse the JSON"), (b"[]", "JSON object"), (b"{}", "model")])
def test_a_body_that_is_no_request_is_refused(server: LocalServer, raw: bytes, said: str) -> None:
    request = urllib.request.Request(
        server.base_url + "/chat/completions", raw, {"Authorization": f"Bearer {server.api_key}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as refused:
        assert refused.status == 400
        assert said in json.load(refused)["error"]["message"]


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", 404), ("/v1/chat/completions", 405)])
def test_a_wrong_address_answers_in_the_same_shape(
    server: LocalServer, client: openai.OpenAI, path: str, status: int
) -> None:
    with pytest.raises(openai.APIStatusError, match="Invalid URL") as caught:
        client.get(server.root_url + path, cast_to=object)
    assert caught.value.status_code == status


def test_tokens_joined_are_the_text(server: LocalServer, client: openai.OpenAI) -> None:
    text = "Unbelievably good — 10/10!\n\tम 😀_x"
    answer = client.post(
        server.root_url + "/tokenize", body={"model": "stars", "prompt": text}, cast_to=dict[str, object]
    )
    pieces = answer["token_strs"]
    assert isinstance(pieces, list)
    assert "".join(pieces) == text
    assert answer["count"] == len(pieces)
    assert pieces[:2] == ["Unbeli", "evably"]
