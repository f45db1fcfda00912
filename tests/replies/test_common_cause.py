"""What costs one row, what ends the run within a few calls, and what is asked again once it is mended."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from luthier.endpoints import Engine, Request, compatible
from luthier.errors import EndpointError, QuotaError
from luthier.providers.transport import Reply
from luthier.replies.complaints import complaint
from luthier.replies.failures import judge
from tests.scripted_server import Refused, serving

GOOD = json.dumps(
    {
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }
)
PAGE = "<!doctype html><html><head><title>Sign in</title></head><body>app</body></html>"


def asked(count: int, begin: int = 0) -> list[Request]:
    return [
        Request("chat", {"messages": [{"role": "user", "content": f"visit {n}:"}]}) for n in range(begin, begin + count)
    ]


def refusing(which: Callable[[str], bool], status: int, body: str) -> Callable[[bytes], str]:
    def answer(sent: bytes) -> str:
        if which(sent.decode()):
            raise Refused(status, body)
        return GOOD

    return answer


def said(message: str, **more: object) -> str:
    return json.dumps({"error": {"message": message, **more}})


@pytest.mark.parametrize(
    ("status", "body", "kind", "cause"),
    [
        (403, said("Your input was flagged", code=403, metadata={"reasons": ["x"]}), "content", None),
        (403, said("x", code=403, metadata={"flagged_input": "...", "provider_name": "p"}), "content", None),
        (403, '{"code": "The caller does not have permission", "error": "Content violates usage guidelines. '
              'Failed check: SAFETY_CHECK_TYPE_BIO"}', "content", None),
        (403, "<html><title>Attention Required!</title>Sorry, you have been blocked</html>", "content", None),
        (403, "<HTML><H1>403 ERROR</H1>The request could not be satisfied. Request blocked.</HTML>", "content", None),
        (400, said("DataInspectionFailed: input data may contain inappropriate content"), "content", None),
        (422, said("rejected by the safety system"), "content", None),
        (403, said("API key not valid", status="PERMISSION_DENIED"), "access", "access"),
        (403, said("Country, region, or territory not supported"), "access", "access"),
        (403, said("Your organization has been disabled."), "access", "access"),
        (400, said("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"), "access", "access"),
        (400, said("User location is not supported for the API use."), "access", "access"),
        (400, said("Your credit balance is too low to access the API."), "quota", "quota"),
        (403, said("Insufficient balance, please recharge"), "quota", "quota"),
        (429, said("Insufficient balance or no resource package. Please recharge.", code="1113"), "quota", "quota"),
        (429, said("You exceeded your current quota. Please retry in 30s."), "rate_limit", None),
        (400, said("System role not supported"), "permanent", "system_role"),
        (500, said("raise_exception: System role not supported", code=500), "permanent", "system_role"),
        (400, said("Conversation roles must alternate user/assistant/user/assistant/..."), "permanent", "system_role"),
        (400, said("Developer instruction is not enabled for models/gemma-3-4b-it"), "permanent", "system_role"),
        (400, said("response_format of type json_schema is not supported"), "permanent", "response_format"),
        (400, said("This model does not support structured outputs"), "permanent", "response_format"),
        (400, said("`temperature` is deprecated for this model."), "permanent", "parameter"),
        (400, said("property 'logit_bias' is unsupported"), "permanent", "parameter"),
        (422, '{"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}]}',
         "permanent", "parameter"),
        (400, said("max_tokens is too large: 90000. The model supports at most 16384"), "permanent", "max_tokens"),
        (400, said("no words for it"), "permanent", None),
        (403, said("Forbidden: prompt injection detected"), "content", None),
        (403, "Access denied by security policy. Your support ID is 123", "content", None),
        (403, "<html><h1>Access Denied</h1>You don't have permission to access this server</html>", "content", None),
        (400, said("Content Exists Risk"), "content", None),
        (400, said("input new_sensitive", code=1026), "content", None),
        (403, said("Access denied due to Virtual Network/Firewall rules.", code="403"), "access", "access"),
        (403, '{"message": "You don\'t have access to the model with the specified model ID."}', "access", "access"),
        (403, '{"message": "The security token included in the request is expired"}', "access", "access"),
        (403, said("Requests from referer <empty> are blocked.", status="PERMISSION_DENIED"), "access", "access"),
        (403, said("无权访问该模型"), "access", "access"),
        (403, said("The free tier of the model has been exhausted."), "quota", "quota"),
        (400, said("Your account balance is insufficient"), "quota", "quota"),
        (429, said("check your plan", type="exceeded_current_quota_error"), "quota", "quota"),
        (400, said("Not found the model kimi-x or Permission denied"), "permanent", "unknown_model"),
        (400, said("foo/bar is not a valid model ID"), "permanent", "unknown_model"),
        (400, '{"error": "No models loaded. Please load a model."}', "permanent", "unknown_model"),
        (400, said("模型不存在，请检查模型代码。", code="1211"), "permanent", "unknown_model"),
        (404, said("No endpoints found for foo/bar."), "permanent", "unknown_model"),
        (404, said("No endpoints found that can handle the requested parameters."), "permanent", "parameter"),
        (404, said("No endpoints found matching your data policy"), "access", "access"),
        (400, said("'messages[0].role' does not support 'system' with this model.", code="unsupported_value"),
         "permanent", "system_role"),
        (400, said("Invalid value: 'system'. Supported values are: 'user', 'assistant'"), "permanent", "system_role"),
        (400, json.dumps({"error": said("System role not supported", code=400)}), "permanent", "system_role"),
        (422, '{"error": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"}',
         "permanent", None),
        (424, said("failed dependency"), "transient", None),
        (499, said("client closed request"), "transient", None),
        (501, said("not implemented"), "permanent", "wrong_address"),
        (529, said("Overloaded"), "transient", None),
    ],
)  # fmt: skip
def test_what_the_words_of_a_refusal_are_about(status: int, body: str, kind: str, cause: str | None) -> None:
    verdict = judge(Reply(status, {}, body.encode(), 0.1))
    assert (verdict.kind, verdict.cause) == (kind, cause)


ROW = "I forgot my API key at the bank, which had insufficient balance; the model was not found"


@pytest.mark.parametrize("message", ["cannot read '{}'", "cannot read {}", "cannot read «{}»", "cannot read “{}”: ?"])
@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize("wrap", ["{}", "Review: {} Stars:"])
def test_words_of_the_rows_text_are_not_the_services(message: str, status: int, wrap: str) -> None:
    verdict = judge(Reply(status, {}, said(message.format(ROW)).encode(), 0.1), sent=[wrap.format(ROW.lower())])
    assert (verdict.kind, verdict.cause) == ("permanent", None)


def test_a_short_text_that_is_quoted_is_not_the_services_word() -> None:
    assert judge(Reply(400, {}, said("cannot read 'api key'").encode(), 0.1), sent=["Review: API key"]).cause is None
    assert judge(Reply(400, {}, said("'system' role not supported").encode(), 0.1), sent=["the system"]).cause
    assert complaint("the 7th character cannot be read") is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, said("Your input was flagged", metadata={"reasons": ["x"]})),
        (403, said("no")),
        (403, "<html><h1>403 Forbidden</h1></html>"),
        (400, said("cannot be read")),
        (422, said("api key")),
        (403, said("Forbidden: an API key was found in the text")),
        (400, said("model not found in visit 13: the park")),
        (400, said("logprobs cannot be computed")),
        (501, said("not implemented")),
    ],
)
def test_a_refusal_of_one_text_costs_its_row_and_stays(status: int, body: str, engine: Engine) -> None:
    with serving(200, refusing(lambda sent: "visit 13:" in sent, status, body)) as url:
        answers = engine.run(asked(40), compatible("m", url))
        assert [n for n, answer in enumerate(answers) if answer.failure] == [13]
        again = engine.run(asked(40), compatible("m", url))
    assert again[13].from_journal
    assert engine.report.sent == 40


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, said("the frobnicator is not configured"), "frobnicator"),
        (403, said("no"), "refuses access"),
        (403, "<html><h1>403 Forbidden</h1></html>", "firewall"),
        (400, said("This model does not support structured outputs"), "answer: {method: text}"),
        (200, PAGE, "base_url"),
        (200, said("frobnicator", request="17"), "frobnicator"),
    ],
)
def test_what_every_row_meets_ends_the_run_in_a_few_calls_and_is_asked_again(
    status: int, body: str, words: str, engine: Engine
) -> None:
    mended = False

    def answer(sent: bytes) -> str:
        if not mended:
            raise Refused(status, body)
        return GOOD

    with serving(200, answer) as url:
        with pytest.raises(EndpointError) as stopped:
            engine.run(asked(60), compatible("m", url))
        assert words in str(stopped.value)
        assert engine.report.sent <= 8
        assert engine.journal.size().failures == 0
        mended = True
        answers = engine.run(asked(60), compatible("m", url))
    assert {answer.failure for answer in answers} == {None}


@pytest.mark.parametrize("count", [2, 3])
def test_a_short_run_of_which_all_fail_alike_is_stopped_too(count: int, engine: Engine) -> None:
    with serving(400, said("the frobnicator is not configured")) as url, pytest.raises(EndpointError, match="alike"):
        engine.run(asked(count), compatible("m", url))


def test_one_row_alone_does_not_tell_and_is_asked_again(engine: Engine) -> None:
    with serving(400, said("cannot be read")) as url:
        assert engine.run(asked(1), compatible("m", url))[0].failure == "permanent"
    assert engine.journal.size().failures == 0


def test_a_table_that_begins_with_bad_rows_is_answered_all_the_same(engine: Engine) -> None:
    bad = {f"visit {n}:" for n in range(30)}
    with serving(200, refusing(lambda sent: any(text in sent for text in bad), 400, said("cannot be read"))) as url:
        answers = engine.run(asked(200), compatible("m", url))
    assert sum(answer.failure == "permanent" for answer in answers) == 30
    assert engine.journal.size().failures == 30


def test_a_key_taken_away_on_the_way_stops_the_run_and_keeps_no_failures(engine: Engine) -> None:
    answered = 0

    def answer(_: bytes) -> str:
        nonlocal answered
        answered += 1
        if answered > 40:
            raise Refused(403, said("no"))
        return GOOD

    with serving(200, answer) as url, pytest.raises(EndpointError, match="refuses access"):
        engine.run(asked(300), compatible("m", url))
    assert answered < 200
    with serving(200, GOOD) as other:
        endpoint = compatible("m", other, identity=url)
        assert {answer.failure for answer in engine.run(asked(300), endpoint)} == {None}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PAGE, "web page: Sign in app"),
        ("Not Found", "'Not Found'"),
        ("[]", "base_url"),
        ('{"status": "ok"}', "base_url"),
        ('data: {"choices": [{"delta": {"content": "yes"}}]}\n\ndata: [DONE]\n', "stream: false"),
        ('data: {"error": {"message": "Invalid API key"}}\n\n', "refuses access"),
        (said("No auth credentials found", code=401), "refuses access"),
        ('{"detail": "Not authenticated"}', "refuses access"),
        ('{"code": 1004, "msg": "login fail: please carry the API secret key"}', "refuses access"),
        ('{"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}', "nothing left"),
        (said("System role not supported"), "prompt.system"),
    ],
)
def test_status_200_is_judged_by_what_it_says(body: str, words: str, engine: Engine) -> None:
    with serving(200, body) as url, pytest.raises(EndpointError) as stopped:
        engine.run(asked(3), compatible("m", url))
    assert words in str(stopped.value)
    assert isinstance(stopped.value, QuotaError) == (words == "nothing left")
    assert engine.report.sent <= 3


@pytest.mark.parametrize("code", [429, 502, None])
def test_an_error_inside_status_200_that_passes_is_waited_for(code: int | None, engine: Engine) -> None:
    left = 3

    def answer(_: bytes) -> str:
        nonlocal left
        left -= 1
        return said("Provider is overloaded, try again", code=code) if left >= 0 else GOOD

    with serving(200, answer) as url:
        assert engine.run(asked(1), compatible("m", url))[0].failure is None


def test_status_201_with_an_answer_is_an_answer_and_202_says_what_it_is(engine: Engine) -> None:
    with serving(201, GOOD) as url:
        assert engine.run(asked(1), compatible("m", url))[0].text == "yes"
    with serving(202, "{}") as url, pytest.raises(EndpointError, match="status 202"):
        engine.run(asked(1), compatible("m", url))


def test_bad_rows_left_over_beside_answers_in_the_journal_do_not_stop_the_run(engine: Engine) -> None:
    with serving(200, refusing(lambda sent: "visit 9" in sent, 400, said("cannot be read"))) as url:
        engine.run(asked(90), compatible("m", url))
        answers = engine.run(asked(100), compatible("m", url))
    assert [n for n, answer in enumerate(answers) if answer.failure] == [9, *range(90, 100)]
