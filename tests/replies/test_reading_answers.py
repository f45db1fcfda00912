from __future__ import annotations

import json
import math
from typing import Any

import pytest

from luthier.providers.exchange import Usage
from luthier.replies.reading import Unreadable, read_answer


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


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3.0, "completion_tokens": "2"}, Usage(3, 2)),
        ({"prompt_tokens": "3", "completion_tokens": 1.5}, Usage(3, 2)),
        ({"prompt_tokens": 3, "total_tokens": 5}, Usage(3, 2)),
        ({"completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9}, Usage(3, 6)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_cache_hit_tokens": 2}, Usage(3, 2, 2)),
        (
            {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 1},
            Usage(12, 2, 8),
        ),
        ({"prompt_eval_count": 3, "eval_count": 2}, Usage(3, 2)),
        ({"prompt_tokens": "1,003", "completion_tokens": "2"}, Usage(1003, 2)),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(3, 22),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(3, 22),
        ),
        ({"total_tokens": 900}, Usage(898, 2, estimated=True)),
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 2, estimated=True)),
        ({"prompt_tokens": 0, "completion_tokens": 2}, Usage(0, 2, estimated=True)),
        (None, Usage(0, 2, estimated=True)),
        ([], Usage(0, 2, estimated=True)),
        ({}, Usage(0, 2, estimated=True)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 2, estimated=True)),
        ({"prompt_tokens": -1, "completion_tokens": "x"}, Usage(0, 2, estimated=True)),
        ({"prompt_tokens": True, "completion_tokens": {"n": 2}}, Usage(0, 2, estimated=True)),
        ({"prompt_tokens": 10**30, "completion_tokens": math.nan}, Usage(0, 2, estimated=True)),
    ],
)
def test_token_counts_in_every_spelling(given: Any, read: Usage) -> None:
    message = {"message": {"content": "positive"}, "finish_reason": "stop"}
    assert read_answer(body(message, usage=given), "chat").usage == read


def test_thoughts_count_where_the_service_does_not() -> None:
    message = {"message": {"content": "good", "reasoning_content": "x" * 400}}
    assert read_answer(body(message), "chat").usage == Usage(0, 101, estimated=True)


@pytest.mark.parametrize(
    "said", ["error", "network_error", "abort", "cancelled", "insufficient_system_resource", "new"]
)
@pytest.mark.parametrize("text", ["", "good"])
def test_an_answer_the_service_broke_off_is_none(said: str, text: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_answer(body({"message": {"content": text}, "finish_reason": said}), "chat")
    with pytest.raises(Unreadable, match=said):
        read_answer(body({"text": text, "finish_reason": said}), "completion")


def test_an_error_beside_the_answer_is_told() -> None:
    choice = {"message": {"content": "go"}, "finish_reason": None, "error": {"code": 502, "message": "gone"}}
    with pytest.raises(Unreadable, match="gone"):
        read_answer(body(choice), "chat")


@pytest.mark.parametrize(
    "said",
    ["content_filter", "SAFETY", "RECITATION", "content_filter: hate", "sensitive", "refusal", "guardrail_intervened"],
)
def test_an_answer_that_was_withheld_says_so(said: str) -> None:
    answer = read_answer(body({"message": {"content": "go"}, "finish_reason": said}), "chat")
    assert answer.finish_reason == "content_filter"
    assert said in str(answer.error)


@pytest.mark.parametrize(
    "said", ["length", "MAX_TOKENS", "model_length", "max_output_tokens", "FinishReason.MAX_TOKENS"]
)
def test_an_answer_that_was_cut_says_so(said: str) -> None:
    assert read_answer(body({"message": {"content": "go"}, "finish_reason": said}), "chat").finish_reason == "length"


@pytest.mark.parametrize(
    "said", ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "tool_calls", "function_call", None, ""]
)
def test_an_answer_that_ended_is_one(said: str | None) -> None:
    answer = read_answer(body({"message": {"content": "good"}, "finish_reason": said}), "chat")
    assert (answer.text, answer.error) == ("good", None)


def test_a_gateway_that_hides_why_it_stopped_is_seen_through() -> None:
    choice = {"message": {"content": "go"}, "finish_reason": "stop", "native_finish_reason": "MAX_TOKENS"}
    assert read_answer(body(choice), "chat").finish_reason == "length"


def test_a_broken_off_answer_is_seen_beneath_a_stop() -> None:
    hidden: list[dict[str, Any]] = [
        {"finish_reason": "stop", "native_finish_reason": "error"},
        {"finishReason": "error"},
    ]
    for choice in hidden:
        with pytest.raises(Unreadable, match="broke off"):
            read_answer(body({"message": {"content": "go"}, **choice}), "chat")
    choice = {"message": {"content": "go"}, "finish_reason": "stop", "native_finish_reason": "some_end"}
    assert read_answer(body(choice), "chat").text == "go"


def test_only_the_spoken_parts_of_an_answer_are_read() -> None:
    for kind in ("thinking", "reasoning"):
        parts = [{"type": kind, "text": "3"}, {"type": "text", "text": "4"}]
        assert read_answer(body({"message": {"content": parts}}), "chat").text == "4"
    refused = [{"type": "refusal", "refusal": "I cannot."}]
    assert read_answer(body({"message": {"content": refused}}), "chat").refusal == "I cannot."


def test_an_empty_answer_that_counts_nothing_is_none() -> None:
    empty = {"message": {"content": ""}, "finish_reason": "stop"}
    with pytest.raises(Unreadable, match="empty"):
        read_answer(body(empty, usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}), "chat")
    blank = {"message": {"content": "\n"}, "finish_reason": "stop"}
    with pytest.raises(Unreadable, match="empty"):
        read_answer(body(blank, usage={"prompt_tokens": 0, "completion_tokens": 0}), "chat")
    assert read_answer(body(empty, usage={"prompt_tokens": 9, "completion_tokens": 0}), "chat").text == ""


def top(*pairs: tuple[str, Any], **more: Any) -> bytes:
    tops = [{"token": token, "logprob": logprob, **more} for token, logprob in pairs]
    content = [{"token": pairs[0][0], "logprob": pairs[0][1], **more, "top_logprobs": tops}]
    return body({"message": {"content": "x"}, "finish_reason": "stop", "logprobs": {"content": content}})


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("\u01204", " 4"),
        ("\u25814", " 4"),
        ("4</w>", "4"),
        ("##4", "4"),
        ("<0x34>", "4"),
        ("bytes:\\x34", "4"),
        ("bytes:\\x20\\x34", " 4"),
        ("\u010a", "\n"),
        ("\u0120\u00c3\u00a9t\u00c3\u00a9", " été"),
        ("##", "##"),
        ("<0xe2>", "<0xe2>"),
        ("token_id:19", "token_id:19"),
    ],
)
def test_a_tokens_marks_are_read(token: str, text: str) -> None:
    assert read_answer(top((token, -0.5)), "chat").choices == (((text, -0.5),),)


def test_a_tokens_bytes_say_what_it_is() -> None:
    assert read_answer(top(("token_id:19", -0.5), bytes=[32, 52]), "chat").choices == (((" 4", -0.5),),)
    assert read_answer(top(("x", -0.5), bytes=[226]), "chat").choices == ((("x", -0.5),),)


def test_tokens_that_spell_the_same_text_add_up() -> None:
    answer = read_answer(top(("false", math.log(0.4)), ("true", math.log(0.3)), ("true", math.log(0.25))), "chat")
    assert [token for token, _ in answer.choices[0]] == ["true", "false"]
    assert [math.exp(value) for _, value in answer.choices[0]] == pytest.approx([0.55, 0.4])
    logprobs = {
        "top_logprobs": [{"\u01204": math.log(0.5), "\u25814": math.log(0.2)}],
        "tokens": [],
        "token_logprobs": [],
    }
    read = read_answer(body({"text": "4", "logprobs": logprobs}), "completion").choices[0]
    assert [(token, round(math.exp(value), 3)) for token, value in read] == [(" 4", 0.7)]


def test_a_chosen_token_without_its_bytes_counts_once() -> None:
    tops = [{"token": "4", "logprob": -0.5, "bytes": [52]}, {"token": "5", "logprob": -1.0, "bytes": [53]}]
    content = [{"token": "4", "logprob": -0.5, "top_logprobs": tops}]
    read = read_answer(body({"message": {"content": "4"}, "logprobs": {"content": content}}), "chat")
    assert read.choices == ((("4", -0.5), ("5", -1.0)),)


@pytest.mark.parametrize("odd", [None, {}, {"token": "5"}, {"logprob": -1.0}, {"token": None, "logprob": -1.0}, "5"])
def test_a_likeliest_token_that_is_none_costs_itself_only(odd: Any) -> None:
    content = [{"token": "4", "logprob": -0.5, "top_logprobs": [odd, {"token": "3", "logprob": -2.0}]}]
    read = read_answer(body({"message": {"content": "4"}, "logprobs": {"content": content}}), "chat")
    assert read.choices == ((("4", -0.5), ("3", -2.0)),)


def test_a_position_may_have_only_the_chosen_or_only_the_likeliest_tokens() -> None:
    likeliest = {"content": [{"top_logprobs": [{"token": "4", "logprob": -0.5}]}]}
    assert read_answer(body({"text": "4", "logprobs": likeliest}), "completion").choices == ((("4", -0.5),),)
    for tops in ({}, {"top_logprobs": None}):
        chosen = {"tokens": ["4"], "token_logprobs": [-0.5], **tops}
        assert read_answer(body({"text": "4", "logprobs": chosen}), "completion").choices == ((("4", -0.5),),)


def test_a_token_that_is_listed_twice_counts_once() -> None:
    assert read_answer(top(("4", -0.2), ("4", -0.2)), "chat").choices == ((("4", -0.2),),)


@pytest.mark.parametrize("odd", [None, math.nan, -math.inf, math.inf, "-1.0", "x", True, 7.0, -9999, [], {}])
def test_an_odd_log_probability_costs_its_own_token_only(odd: Any) -> None:
    assert read_answer(top(("4", -0.1), ("5", -3.0), ("3", odd)), "chat").choices == ((("4", -0.1), ("5", -3.0)),)
    logprobs = {"tokens": ["4"], "token_logprobs": [odd], "top_logprobs": [{"4": -0.1, "3": odd}]}
    assert read_answer(body({"text": "4", "logprobs": logprobs}), "completion").choices == ((("4", -0.1),),)


def test_a_log_probability_a_hair_above_zero_is_zero() -> None:
    assert read_answer(top(("4", 1e-7)), "chat").choices == ((("4", 0.0),),)


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


def test_a_log_probability_no_float_takes_is_unreadable() -> None:
    content = [{"token": "a", "logprob": 10**400}]
    with pytest.raises(Unreadable):
        read_answer(body({"message": {"content": "a"}, "logprobs": {"content": content}}), "chat")
