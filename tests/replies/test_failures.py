from __future__ import annotations

import json

import pytest

from luthier.errors import QuotaError
from luthier.providers.endpoint import Endpoint, azure, compatible, openai
from luthier.providers.redaction import redact, redact_bytes
from luthier.providers.transport import Reply, TransportFault
from luthier.replies.cures import stopping_error
from luthier.replies.failures import Verdict, judge, judge_fault


def reply(status: int, message: str = "", headers: dict[str, str] | None = None, **error: object) -> Reply:
    return Reply(status, headers or {}, json.dumps({"error": {"message": message, **error}}).encode(), 0.1)


@pytest.mark.parametrize(
    ("given", "kind", "cause"),
    [
        (reply(429, "slow down", code="rate_limit_exceeded"), "rate_limit", None),
        (reply(429, "quota", code="insufficient_quota"), "quota", "quota"),
        (reply(429, "quota", type="insufficient_quota"), "quota", "quota"),
        (reply(402, "pay"), "quota", "quota"),
        (reply(429, "Request too large for m on tokens per min: Limit 10, Requested 20"), "permanent", None),
        (reply(401, "no"), "access", "access"),
        (reply(403, "no"), "permanent", None),
        (reply(403, "no", code="content_policy_violation"), "content", None),
        (reply(400, "filtered", code="content_filter"), "content", None),
        (reply(400, "x", innererror={"code": "ResponsibleAIPolicyViolation"}), "content", None),
        (reply(400, "bad"), "permanent", None),
        (reply(422, "bad"), "permanent", None),
        (reply(413, "big"), "permanent", None),
        (reply(404, "The model `x` does not exist", code="model_not_found"), "permanent", "unknown_model"),
        (reply(404, "no", code="DeploymentNotFound"), "permanent", "unknown_model"),
        (reply(404, "Invalid URL"), "permanent", "wrong_address"),
        (reply(400, "no", code="unsupported_parameter", param="logprobs"), "permanent", "logprobs"),
        (reply(400, "logprobs are not supported"), "permanent", "logprobs"),
        (reply(400, "no", code="unsupported_value", param="temperature"), "permanent", "parameter"),
        (reply(408), "transient", None),
        (reply(409), "transient", None),
        (reply(500), "transient", None),
        (reply(503, "overloaded"), "transient", None),
        (reply(302, headers={"location": "https://elsewhere"}), "permanent", "redirect"),
        (Reply(502, {}, b"<html>Bad gateway</html>", 0.1), "transient", None),
        (Reply(400, {}, b"", 0.1), "permanent", None),
        (Reply(400, {}, b'{"error": "plain"}', 0.1), "permanent", None),
        (Reply(400, {}, b'[{"error": {"message": "listed"}}]', 0.1), "permanent", None),
        (Reply(400, {}, b'{"detail": [{"loc": ["body"]}]}', 0.1), "permanent", None),
    ],
)
def test_kinds_and_causes(given: Reply, kind: str, cause: str | None) -> None:
    verdict = judge(given)
    assert (verdict.kind, verdict.cause) == (kind, cause)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
        "the request exceeds the available context size",
    ],
)
def test_an_overflow_says_what_is_wrong_with_the_row(words: str) -> None:
    verdict = judge(reply(400, words))
    assert verdict.kind == "permanent"
    assert verdict.cause is None
    assert "too long for the model" in verdict.message


def test_lost_connections_may_come_back_and_first_ones_may_not() -> None:
    refused = TransportFault("unreachable", "refused")
    assert judge_fault(refused, reached=True).cause is None
    assert judge_fault(refused, reached=False).cause == "unreachable"
    assert judge_fault(TransportFault("timeout", "120 s"), reached=False).cause is None


OPENAI = openai("some-model", api_key_env="MY_KEY")
AZURE = azure("my-deployment", "https://r.openai.azure.com")


@pytest.mark.parametrize(
    ("verdict", "endpoint", "words"),
    [
        (Verdict("access", "status 401", cause="access"), OPENAI, ["MY_KEY", "some-model", "api.openai.com"]),
        (
            Verdict("access", "status 401", cause="access"),
            compatible("m", "http://h/v1"),
            ["No key was sent", "api_key_env"],
        ),
        (
            Verdict("access", "403", cause="access"),
            azure("d", "https://r.openai.azure.com", auth="entra"),
            ["role on the resource"],
        ),
        (Verdict("permanent", "404", cause="unknown_model"), OPENAI, ["some-model", "It has: a, b"]),
        (Verdict("permanent", "404", cause="unknown_model"), AZURE, ["deployment 'my-deployment'"]),
        (Verdict("permanent", "404", cause="chat_only"), OPENAI, ["some-model", "prompt: {style: chat}"]),
        (Verdict("permanent", "404", cause="completion_only"), OPENAI, ["some-model", "prompt: {style: completion}"]),
        (Verdict("permanent", "400", cause="logprobs"), OPENAI, ["answer: {method: text}"]),
        (
            Verdict("permanent", "400", cause="parameter", parameter="temperature"),
            OPENAI,
            ["'temperature'", "decoding: {temperature: null, max_tokens: 2000}"],
        ),
        (Verdict("transient", "refused", cause="unreachable"), OPENAI, ["cannot be reached", "base_url"]),
        (Verdict("transient", "self-signed", cause="insecure"), OPENAI, ["SSL_CERT_FILE"]),
        (Verdict("permanent", "302", cause="redirect"), OPENAI, ["redirect"]),
        (Verdict("permanent", "404", cause="wrong_address"), OPENAI, ["/v1"]),
    ],
)
def test_what_stops_a_run_says_what_to_do(verdict: Verdict, endpoint: Endpoint, words: list[str]) -> None:
    message = str(stopping_error(verdict, endpoint, ["a", "b"]))
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (reply(403, "Public access is disabled. Please configure private endpoint.", code="403"), "networks"),
        (reply(400, "User location is not supported for the API use."), "countries"),
        (reply(400, "Organization has been restricted. Please reach out to support."), "The account behind the key"),
        (reply(403, "You don't have access to the model with the specified model ID."), "name another in `model:`"),
        (reply(403, "The API key has been revoked."), "MY_KEY"),
        (reply(401, "Access from this network was denied: wrong key"), "MY_KEY"),
    ],
)
def test_a_refusal_of_access_is_followed_by_what_it_is_about(given: Reply, words: str) -> None:
    verdict = judge(given)
    assert verdict.cause == "access"
    assert words in str(stopping_error(verdict, OPENAI))


def test_quota_has_its_own_error() -> None:
    assert isinstance(stopping_error(Verdict("quota", "429", cause="quota"), OPENAI), QuotaError)


def test_keys_are_taken_out_of_messages() -> None:
    given = reply(401, "Incorrect API key provided: sk-proj-ab***yz. Or hunter22xyz-hunter, or Bearer abcdefghijkl?")
    said = judge(given, ["hunter22xyz-hunter"]).message
    for secret in ("sk-proj", "***yz", "hunter22xyz-hunter", "abcdefghijkl"):
        assert secret not in said
    assert redact("nothing to hide, ask-me-anything") == "nothing to hide, ask-me-anything"


def test_only_the_key_itself_is_taken_out_of_an_answer() -> None:
    assert (
        redact_bytes(b"my sk-aaaaaaaaaaaa and sk-bbbbbbbbbbbb", ["sk-aaaaaaaaaaaa"]) == b"my [key] and sk-bbbbbbbbbbbb"
    )


def test_a_word_given_in_place_of_a_key_is_no_secret() -> None:
    assert redact("none of them", ["none"]) == "none of them"
    assert redact_bytes(b"none of them", ["none"]) == b"none of them"


@pytest.mark.parametrize(
    ("message", "kind", "ran_out"),
    [
        ("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29500", "tokens", "tokens"),
        ("Rate limit reached for gpt-4o on requests per min (RPM): Limit 500", "requests", "requests"),
        ("The request has exceeded token rate limit of your current OpenAI S0 pricing tier.", None, "tokens"),
        ("Too many requests", None, "requests"),
        ("Slow down.", None, None),
    ],
)
def test_a_429_says_what_ran_out(message: str, kind: str | None, ran_out: str | None) -> None:
    assert judge(reply(429, message, type=kind)).scarce == ran_out
