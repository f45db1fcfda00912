from __future__ import annotations

import json

import pytest

from luthier.endpoints import Engine, check_endpoint, compatible
from luthier.errors import EndpointError
from luthier.providers.transport import Reply
from luthier.replies.likeliest import LikeliestLimit, choices_of
from tests.questions import question
from tests.scripted_server import Refused, serving

FIVE = [
    "Cannot request more than 5 logprobs.",
    "Requested sample logprobs of 20, which is greater than max allowed: 5",
    "Invalid value for 'top_logprobs': must be less than or equal to 5.",
    "top_logprobs must be between 0 and 5",
    "20 is greater than the maximum of 5 - 'top_logprobs'",
    "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 20 instead.",
    "logprobs: at most five",
    "too many logprobs requested",
]


def told(message: str) -> str:
    return json.dumps({"object": "error", "message": message, "code": 400})


def wanted(asked: bytes) -> int:
    body = json.loads(asked)
    return int(body.get("top_logprobs") or body["logprobs"])


@pytest.mark.parametrize("message", FIVE)
def test_a_service_that_gives_five_is_asked_for_five(message: str, engine: Engine) -> None:
    seen: list[int] = []

    def answer(asked: bytes) -> str:
        seen.append(wanted(asked))
        if wanted(asked) > 5:
            raise Refused(400, told(message))
        top = {"token": "4", "logprob": -0.1}
        choice = {"message": {"content": "4"}, "logprobs": {"content": [{**top, "top_logprobs": [top]}]}}
        return json.dumps({"choices": [{**choice, "finish_reason": "stop"}]})

    with serving(200, answer) as url:
        for n in range(3):
            (got,) = engine.run([question(f"visit {n}", logprobs=True, top_logprobs=20)], compatible("m", url))
            assert got.choices == ((("4", -0.1),),)
        assert seen == [20, 5, 5, 5], "learned once"
        assert engine.report.sent == 4
        (known,) = engine.run([question("visit 1", logprobs=True, top_logprobs=20)], compatible("m", url))
        assert known.from_journal
        found = {finding.what: finding for finding in check_endpoint(compatible("m", url), True)}
    assert found["log-probabilities"].ok
    assert "(20 asked for)" in found["log-probabilities"].detail


@pytest.mark.parametrize("tops", [[{"5": -0.25, "4": -1.5}], {"5": -0.25, "4": -1.5}])
def test_the_shape_of_completions_is_read_in_chat_too_also_where_one_block_stands_for_a_single_token(
    tops: object,
) -> None:
    logprobs = {"tokens": ["5"], "token_ids": [20], "token_logprobs": [-0.25], "top_logprobs": tops}
    assert choices_of(logprobs) == ((("5", -0.25), ("4", -1.5)),)


def test_a_service_that_gives_none_stops_the_run(engine: Engine) -> None:
    def answer(asked: bytes) -> str:
        raise Refused(400, told("gpt-5 does not support logprobs"))

    with serving(200, answer) as url, pytest.raises(EndpointError, match="log-probabilities"):
        engine.run([question("x", logprobs=True, top_logprobs=20)], compatible("m", url))


def test_a_list_of_faults_names_the_bound_too() -> None:
    detail = [{"loc": ["body", "top_logprobs"], "msg": "Input should be less than or equal to 5", "input": 20}]
    limit = LikeliestLimit()
    reply = Reply(422, {}, json.dumps({"detail": detail}).encode(), 0.1)
    assert limit.learned(reply, question("x", logprobs=True, top_logprobs=20))
    assert limit.most == 5
