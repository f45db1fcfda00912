"""Says what kind of failure an attempt was, and what a person can do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.endpoints.endpoint import Endpoint
from luthier.endpoints.exchange import FailureKind, Operation
from luthier.endpoints.headers import retry_after_seconds
from luthier.endpoints.redaction import redact
from luthier.endpoints.transport import Fault, Reply
from luthier.errors import EndpointError, QuotaError

__all__ = ["REASONING_CURE", "Cause", "Verdict", "judge", "judge_fault", "stopping_error", "unreadable"]

Cause = Literal[
    "quota",
    "access",
    "unknown_model",
    "wrong_address",
    "chat_only",
    "completion_only",
    "no_embeddings",
    "no_decisions",
    "embedding_settings",
    "redirect",
    "logprobs",
    "parameter",
    "unreachable",
    "insecure",
]
"""Why no request of the run can work: these stop it."""

REASONING_CURE = "decoding: {temperature: null, max_tokens: 2000}"
GATEWAY_CURE = "extra_body: {max_completion_tokens: 2000}"
"""For compatible servers that want the newer name of max_tokens."""

QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
CONTENT_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"}
UNKNOWN_MODEL_CODES = {"model_not_found", "deploymentnotfound", "invalid_model", "unknown_model"}
TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
TOO_LONG_WORDS = (
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "request too large",
    "prompt is too long",
    "string too long",
)
PARAMETER_CODES = {"unsupported_parameter", "unsupported_value"}
PASSING_STATUSES = {408, 409, 425}

OTHER_STYLE: dict[Operation, tuple[str, Cause]] = {
    "completion": ("this is a chat model", "chat_only"),
    "chat": ("not a chat model", "completion_only"),
}
"""What OpenAI says where a model is known and is spoken to in the wrong style."""

NOT_OFFERED: dict[Operation, Cause] = {"embedding": "no_embeddings", "decision": "no_decisions"}
"""Operations that many services, and at one service many models, do not offer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to.

    Attributes:
        kind: what it means for this row.
        message: for a person, without keys.
        retry_after_seconds: how long the service asked to wait.
        cause: set when no other request of the run can work either.
        status: HTTP status, `None` without an answer.
        parameter: the parameter the service does not take.
        unreachable: whether there was no connection at all.
    """

    kind: FailureKind
    message: str
    retry_after_seconds: float | None = None
    cause: Cause | None = None
    status: int | None = None
    parameter: str | None = None
    unreachable: bool = False


def judge(reply: Reply, secrets: Sequence[str] = (), operation: Operation = "chat") -> Verdict:
    """The verdict on an answer whose status is not 200."""
    status = reply.status
    error = _error_of(reply.body)
    code, kind = str(error.get("code") or "").lower(), str(error.get("type") or "").lower()
    said = redact(_message_of(error, reply.body), secrets)
    words = said.lower()
    message = f"status {status}: {said}" if said else f"status {status}"
    parameter = error.get("param")
    parameter = redact(parameter, secrets) if isinstance(parameter, str) else None

    def verdict(kind: FailureKind, cause: Cause | None = None, text: str = message) -> Verdict:
        return Verdict(kind, text, retry_after_seconds(reply.headers), cause, status, parameter)

    if {code, kind} & QUOTA_CODES or status == 402:
        return verdict("quota", "quota")
    if status == 429:
        # "Request too large ... Limit 10000, Requested 20000": no waiting makes it fit.
        return verdict("permanent") if "request too large" in words else verdict("rate_limit")
    if operation in NOT_OFFERED and _is_not_offered(status, code, words, parameter):
        return verdict("permanent", NOT_OFFERED[operation])
    if operation == "embedding" and status in (400, 422) and _is_embedding_setting(words, parameter):
        return verdict("permanent", "embedding_settings")
    if status in (401, 407) or (status == 403 and not _is_content(code, error)):
        return verdict("access", "access")
    if _is_content(code, error):
        return verdict("content")
    if 300 <= status < 400:
        place = redact(reply.headers.get("location", "elsewhere"), secrets)
        return verdict("permanent", "redirect", f"status {status}: the server sends on to {place}")
    if status >= 500 or status in PASSING_STATUSES or code == "deploymentnotready":
        return verdict("transient")
    said_by, other_style = OTHER_STYLE.get(operation, ("", None))
    if other_style is not None and status in (400, 404) and said_by in words:
        return verdict("permanent", other_style)
    if code in UNKNOWN_MODEL_CODES or (status == 404 and "model" in words):
        return verdict("permanent", "unknown_model")
    if status in (404, 405):
        return verdict("permanent", "wrong_address")
    if code in TOO_LONG_CODES or status == 413 or any(word in words for word in TOO_LONG_WORDS):
        return verdict("permanent", text=f"the text is too long for the model ({message})")
    if "logprob" in f"{parameter} {words}":
        return verdict("permanent", "logprobs")
    if code in PARAMETER_CODES:
        return verdict("permanent", "parameter")
    return verdict("permanent")


def judge_fault(fault: Fault, secrets: Sequence[str] = (), *, reached: bool) -> Verdict:
    """The verdict on an attempt without an answer.

    Args:
        fault: what happened instead.
        secrets: keys that must not be shown.
        reached: whether this server has answered before; if so the connection may come back.
    """
    cause: Cause | None = None
    if fault.kind == "insecure":
        cause = "insecure"
    elif fault.kind == "unreachable" and not reached:
        cause = "unreachable"
    gone = fault.kind == "unreachable"
    return Verdict("transient", redact(fault.message, secrets), cause=cause, unreachable=gone)


def unreadable(reason: object, secrets: Sequence[str] = ()) -> Verdict:
    """The verdict on an answer of status 200 that cannot be read."""
    return Verdict("transient", redact(f"unreadable answer: {reason}", secrets), status=200)


def stopping_error(verdict: Verdict, endpoint: Endpoint, available: Sequence[str] | None = None) -> EndpointError:
    """The error that ends a run, with what to do about it.

    Args:
        verdict: one with a cause.
        endpoint: where it was asked.
        available: models the server lists, if it does.
    """
    where = f"{endpoint.model} at {endpoint.address}"
    variable = endpoint.key_variable
    match verdict.cause:
        case "quota":
            return QuotaError(
                f"the account behind {where} has nothing left to spend ({verdict.message}). Add credit or wait for the "
                "next period, then run the same again: what was answered is in the journal and is not paid twice."
            )
        case "access":
            cure = "Check who you are logged in as and the role on the resource."
            if endpoint.auth == "key" and variable:
                cure = f"Check the key in the environment variable {variable}."
            elif endpoint.auth == "key" and endpoint.provider == "compatible":
                cure = "No key was sent: name its variable with `api_key_env:` in the endpoint."
            return EndpointError(f"{where} refuses access ({verdict.message}). {cure}")
        case "unknown_model":
            what = "deployment" if endpoint.provider == "azure" else "model"
            listed = f" It has: {_some(available)}." if available else ""
            return EndpointError(
                f"{endpoint.address} has no {what} {endpoint.model!r} ({verdict.message}).{listed} "
                "Correct `model:` in the endpoint."
            )
        case "wrong_address":
            return EndpointError(
                f"{endpoint.address} does not answer this call of the OpenAI protocol ({verdict.message}). Give "
                "`base_url:` up to and including /v1, and a prompt of the style (chat or completion) the server offers."
            )
        case "chat_only":
            return EndpointError(
                f"{where} is a chat model and does not continue a text ({verdict.message}). "
                'Write `prompt: {style: chat}` in the spec (style="chat" in Python).'
            )
        case "completion_only":
            return EndpointError(
                f"{where} continues a text and is no chat model ({verdict.message}). "
                'Write `prompt: {style: completion}` in the spec (style="completion" in Python).'
            )
        case "no_embeddings":
            return EndpointError(
                f"{where} does not offer embeddings ({verdict.message}). technique: embedding, and examples chosen by "
                "nearness, need an endpoint that serves /v1/embeddings, and an embedding model: correct `model:` or "
                "`base_url:` there. luthier check SPEC tries it with one text."
            )
        case "no_decisions":
            return EndpointError(
                f"{where} does not offer decisions ({verdict.message}). Where /v1/decisions is not served, "
                "technique: prompt with `answer: {method: score}` reads the same probabilities from the next token. "
                "luthier check SPEC tells what an endpoint offers."
            )
        case "embedding_settings":
            return EndpointError(
                f"{where} does not embed with these settings ({verdict.message}). Leave `dimensions:` out, or give as "
                "many as the model has; where base64 is refused, write `extra_body: {encoding_format: float}` in the "
                "endpoint."
            )
        case "redirect":
            return EndpointError(
                f"{where}: {verdict.message}. A key is not sent after a redirect; put that address into `base_url:`."
            )
        case "logprobs":
            return EndpointError(
                f"{where} does not give the log-probabilities asked for ({verdict.message}). "
                "Read the written answer instead, with `answer: {method: text}` in the spec; or ask for fewer of them."
            )
        case "parameter":
            named = f" {verdict.parameter!r}" if verdict.parameter else ""
            return EndpointError(
                f"{where} does not take the parameter{named} as given ({verdict.message}). "
                f"For a reasoning model write `{REASONING_CURE}` in the spec"
                + (f" and `{GATEWAY_CURE}` in the endpoint" if endpoint.provider == "compatible" else "")
                + "; otherwise set the parameter to null."
            )
        case "insecure":
            return EndpointError(
                f"the certificate of {endpoint.address} is not trusted ({verdict.message}). "
                "Name the authority's file in SSL_CERT_FILE, or correct `base_url:`."
            )
        case _:
            return EndpointError(
                f"{endpoint.address} cannot be reached ({verdict.message}). "
                "Check `base_url:` and that the server runs; behind a proxy, set HTTPS_PROXY."
            )


def _is_not_offered(status: int, code: str, words: str, parameter: str | None) -> bool:
    if code in UNKNOWN_MODEL_CODES:
        return False
    if status in (404, 405):
        return "model" not in words or not ("not found" in words or "does not exist" in words)
    # llama.cpp answers 501; OpenAI says of a model that has no embeddings that one is not allowed to make them.
    return status == 501 or (status == 403 and "embedding" in words) or (status in (400, 422) and parameter == "model")


def _is_embedding_setting(words: str, parameter: str | None) -> bool:
    # Wrong for one text, they are wrong for all: no use to look for the text whose fault it is.
    return any(name in (parameter or words) for name in ("dimensions", "encoding_format"))


def _some(available: Sequence[str] | None) -> str:
    names = list(available or ())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _is_content(code: str, error: Mapping[str, Any]) -> bool:
    inner = error.get("innererror")
    inner_code = str(inner.get("code") or "").lower() if isinstance(inner, Mapping) else ""
    return code in CONTENT_CODES or inner_code in CONTENT_CODES


def _error_of(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping):
        return {}
    error = document.get("error", document)
    if isinstance(error, Mapping):
        return error
    return {"message": error, **document}


def _message_of(error: Mapping[str, Any], body: bytes) -> str:
    message = error.get("message") or error.get("detail")
    if not isinstance(message, str):
        message = json.dumps(message) if message else body[:300].decode("utf-8", "replace")
    message = " ".join(message.split())
    return message if len(message) <= 500 else f"{message[:500]}..."
