from __future__ import annotations

import json
import math
from typing import Any

import pytest

from luthier.endpoints.exchange import Usage
from luthier.endpoints.reading import Unreadable, read_answer


def body(choice: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"choices": [choice], **more}).encode()


def test_chat_with_logprobs() -> None:
    top = [{"token": "4", "logprob": -0.5}, {"token": "5", "logprob": -0.2}, {"token": "1", "logprob": -9999.0}]
    content = [
        {"token": "5", "logprob": -0.2, "top_logprobs": top},
        {"token": "x", "logprob": -3.0, "top_logprobs": []},
    ]
    choice = {"message": {"content": "5"}, "finish_reason": "stop", "logprobs": {"content": content}}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    answer = read_answer(body(choice, model="m-1", usage=usage), "chat")
    assert answer.text == "5"
    assert answer.choices == ((("5", -0.2), ("4", -0.5)), (("x", -3.0),))
    assert answer.usage == Usage(9, 1, 4)
    assert answer.model == "m-1"


def test_a_sampled_token_outside_the_top_is_added_in_its_place() -> None:
    position = {"token": "z", "logprob": -4.0, "top_logprobs": [{"token": "a", "logprob": -0.1}]}
    answer = read_answer(body({"message": {"content": "z"}, "logprobs": {"content": [position]}}), "chat")
    assert answer.choices == ((("a", -0.1), ("z", -4.0)),)


def test_completion_with_logprobs() -> None:
    logprobs = {
        "tokens": [" good", " x"],
        "token_logprobs": [-0.3, None],
        "top_logprobs": [{" bad": -1.5, " good": -0.3, "no": -9999.0}, None],
    }
    answer = read_answer(body({"text": " good x", "finish_reason": "length", "logprobs": logprobs}), "completion")
    assert answer.text == " good x"
    assert answer.choices == (((" good", -0.3), (" bad", -1.5)), ())


def test_a_completion_with_logprobs_in_the_shape_of_chat() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]}]}
    assert read_answer(body({"text": "a", "logprobs": logprobs}), "completion").choices == ((("a", -1.0),),)


def test_refusal_filter_and_missing_content() -> None:
    refused = read_answer(body({"message": {"content": None, "refusal": "I cannot."}}), "chat")
    assert (refused.text, refused.refusal) == ("", "I cannot.")
    filtered = read_answer(body({"message": {}, "finish_reason": "content_filter"}), "chat")
    assert (filtered.text, filtered.finish_reason) == ("", "content_filter")
    parts = [{"type": "text", "text": "4"}, {"type": "text", "text": "!"}]
    assert read_answer(body({"message": {"content": parts}}), "chat").text == "4!"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b'{"choices": [{"in',
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]}',
        b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [null]}}]}',
        b"[" * 100_000,
        b"\xff\xfe\xfa",
    ],
)
def test_every_broken_body_is_unreadable_and_nothing_else(broken: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(broken, "chat")


def test_an_error_inside_status_200_is_told() -> None:
    with pytest.raises(Unreadable, match="upstream is down"):
        read_answer(b'{"error": {"message": "upstream is down"}}', "chat")


def test_odd_usage_counts_as_nothing() -> None:
    message = {"message": {"content": "a"}}
    assert read_answer(body(message, usage=None), "chat").usage == Usage()
    assert read_answer(body(message, usage={"prompt_tokens": -1, "completion_tokens": "x"}), "chat").usage == Usage()
    assert read_answer(body(message, usage={"input_tokens": 3, "output_tokens": 2}), "chat").usage == Usage(3, 2)


def test_minus_infinity_is_left_out() -> None:
    top = [{"token": "a", "logprob": -math.inf}, {"token": "b", "logprob": -0.1}]
    raw = json.dumps(
        {
            "choices": [
                {
                    "message": {"content": "b"},
                    "logprobs": {"content": [{"token": "b", "logprob": -0.1, "top_logprobs": top}]},
                }
            ]
        }
    ).encode()
    assert read_answer(raw, "chat").choices == ((("b", -0.1),),)


HALF = "\ud83d"


def test_half_a_surrogate_pair_never_leaves_the_reader() -> None:
    message = {"content": f"a{HALF}", "refusal": f"b{HALF}"}
    answer = read_answer(body({"message": message, "finish_reason": f"c{HALF}"}, model=f"d{HALF}"), "chat")
    assert (answer.text, answer.refusal, answer.finish_reason, answer.model) == ("a?", "b?", "c?", "d?")


def test_tokens_of_half_a_pair_are_one_token() -> None:
    top = [{"token": "\ud83d", "logprob": -0.5}, {"token": "\ud83e", "logprob": -0.2}]
    content = [{"token": "\ud83d", "logprob": -0.5, "top_logprobs": top}]
    answer = read_answer(body({"message": {"content": "x"}, "logprobs": {"content": content}}), "chat")
    assert answer.choices == ((("?", -0.2),),)


def test_tokens_of_a_completion_are_whole_too() -> None:
    logprobs = {"tokens": [HALF], "token_logprobs": [-0.3], "top_logprobs": [{HALF: -0.3, "b": -1.5}]}
    answer = read_answer(body({"text": "x", "logprobs": logprobs}), "completion")
    assert answer.choices == ((("?", -0.3), ("b", -1.5)),)


def test_whole_pairs_stay_as_they_are() -> None:
    assert read_answer(body({"message": {"content": "\U0001f600 é"}}), "chat").text == "\U0001f600 é"


def test_a_count_no_column_takes_counts_as_nothing() -> None:
    assert read_answer(body({"message": {"content": "a"}}, usage={"prompt_tokens": 10**30}), "chat").usage == Usage()


def test_a_log_probability_no_float_takes_is_unreadable() -> None:
    content = [{"token": "a", "logprob": 10**400}]
    with pytest.raises(Unreadable):
        read_answer(body({"message": {"content": "a"}, "logprobs": {"content": content}}), "chat")
