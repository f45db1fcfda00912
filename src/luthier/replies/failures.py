"""Classifies a failed attempt: the fault of its row, of the moment, or one that every request would meet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from luthier.providers.exchange import FailureKind, Operation
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply, TransportFault
from luthier.replies.complaints import (
    DESCRIPTIONS,
    complaint,
    error_of,
    is_page,
    message_of,
    own_words,
    page_text,
    parsed,
    status_inside,
)
from luthier.replies.headers import Scarce, retry_after_seconds, scarce

__all__ = ["Cause", "Verdict", "judge", "judge_fault", "judge_unread", "unreadable"]

Cause = Literal[
    "quota",
    "access",
    "firewall",
    "unknown_model",
    "wrong_address",
    "not_an_answer",
    "stream",
    "chat_only",
    "completion_only",
    "no_embeddings",
    "no_decisions",
    "embedding_settings",
    "redirect",
    "logprobs",
    "system_role",
    "response_format",
    "max_tokens",
    "parameter",
    "every_row",
    "unreachable",
    "insecure",
    "no_tls",
    "needs_tls",
    "proxy",
]
"""Why no request of the call can work: these stop it."""

QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error"}
CONTENT_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"}
UNKNOWN_MODEL_CODES = {"model_not_found", "deploymentnotfound", "invalid_model", "unknown_model", "model_not_available"}
TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
TOO_LONG_WORDS = (
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "request too large",
    "prompt is too long",
    "string too long",
    "input is too long",
    "`inputs` tokens",
    "`inputs` must have less",
    "input token count",
    "range of input length",
    "model token limit",
    "max_seq_len",
)
PARAMETER_CODES = {"unsupported_parameter", "unsupported_value"}
PASSING_STATUSES = {408, 409, 421, 423, 424, 425, 498, 499}
ACCESS_CODES = {"permission_denied", "permission_error", "access_denied", "accessdenied", "invalid_api_key"}
UNKNOWN_MODEL = re.compile(
    r"\bmodel\b.{0,60}(?:does not exist|not found|is not a valid|unknown|not exist|no longer available|decommissioned)|"
    r"\bmodel (?:is |was |has been )?disabled|"
    r"(?:unknown|invalid|no such|not found the) model\b|not a valid model|\bno models? (?:is |are )?loaded|模型不存在"
)
WANTS_TLS = re.compile(r"plain http request.{0,20}https port|http request to an https server|requires? (?:tls|https)")
NOTHING_LEFT = re.compile(
    r"insufficient (?:account )?(?:balance|credit|fund)|out of credits|not enough credit|\brecharge\b|余额不足|欠费"
)
"""With 429, which else means to wait; Gemini says "exceeded your current quota" of a minute."""

SETTINGS: dict[str, Cause] = {
    "system_role": "system_role",
    "response_format": "response_format",
    "max_tokens": "max_tokens",
    "parameter": "parameter",
}
ANSWERING = ("choices", "data", "answers")
"""Fields of which every answer of the protocol has one."""

OTHER_STYLE: dict[Operation, tuple[tuple[str, ...], Cause]] = {
    "completion": (("this is a chat model", "completion operation does not work"), "chat_only"),
    "chat": (("not a chat model", "provide a chat template"), "completion_only"),
}
"""What OpenAI, Azure and vLLM say where a model is known and is spoken to in the wrong style."""

NO_EMBEDDINGS = re.compile(r"embeddings? operation does not work|not support (?:the )?embeddings?\b")

NOT_OFFERED: dict[Operation, Cause] = {"embedding": "no_embeddings", "decision": "no_decisions"}
"""Operations that many services, and at one service many models, do not offer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What kind of failure an attempt was.

    Attributes:
        kind: what it means for this row.
        message: for a person, without keys.
        retry_after_seconds: how long the service asked to wait.
        cause: set when no other request of the call can work either.
        suspected: the cause if the first requests of the call all fail like this; one failure alone does not tell.
        by_words: whether only the words of the message tell the cause; a call that has answers disproves it.
        scarce: what ran out, where a 429 says so.
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
    suspected: Cause | None = None
    by_words: bool = False
    scarce: Scarce | None = None


def judge(
    reply: Reply, secrets: Sequence[str] = (), operation: Operation = "chat", sent: Sequence[str] = ()
) -> Verdict:
    """The verdict on an answer whose status tells of a failure; no key in `secrets` is shown.

    A message that quotes the texts that were `sent` says nothing about the service.
    """
    status = reply.status
    error = error_of(reply.body)
    code, kind, state = (str(error.get(name) or "").lower() for name in ("code", "type", "status"))
    said = redact(message_of(error, reply.body), secrets)
    words = own_words(said, sent)
    message = f"status {status}: {said}" if said else f"status {status}"
    parameter = error.get("param")
    parameter = redact(parameter, secrets) if isinstance(parameter, str) else None

    def verdict(
        kind: FailureKind,
        cause: Cause | None = None,
        text: str = message,
        *,
        suspected: Cause | None = None,
        by_words: bool = False,
    ) -> Verdict:
        wait = retry_after_seconds(reply.headers)
        return Verdict(kind, text, wait, cause, status, parameter, suspected=suspected, by_words=by_words)

    if {code, kind} & QUOTA_CODES or status == 402:
        return verdict("quota", "quota")
    if status == 429:
        if NOTHING_LEFT.search(words):
            return verdict("quota", "quota")
        # "Request too large ... Limit 10000, Requested 20000": no waiting makes it fit.
        if "request too large" in words:
            return verdict("permanent")
        return replace(verdict("rate_limit"), scarce=scarce(reply.headers, f"{kind} {words}"))
    if operation in NOT_OFFERED and _is_not_offered(status, code, words, parameter):
        return verdict("permanent", NOT_OFFERED[operation])
    if operation == "embedding" and status in (400, 422) and _is_embedding_setting(words, parameter):
        return verdict("permanent", "embedding_settings")
    if status == 407:
        return verdict("access", "proxy")
    if status == 400 and WANTS_TLS.search(words):
        return verdict("permanent", "needs_tls")
    if status == 401:
        return verdict("access", "access")
    if _is_content(code, error):
        return verdict("content")
    if 300 <= status < 400:
        place = redact(reply.headers.get("location", "elsewhere"), secrets)
        return verdict("permanent", "redirect", f"status {status}: the server sends on to {place}")
    told = complaint("\n".join((words, code, kind, state))) if status in (400, 403, 412, 422, 451) else None
    if told == "text":
        # A firewall has its page for one text as for all.
        return verdict("content", suspected="firewall" if is_page(reply.body) else None)
    if told == "credit":
        return verdict("quota", "quota", by_words=status != 403)
    if told == "rate" and status == 403:
        return verdict("rate_limit")
    is_too_long = code in TOO_LONG_CODES or status == 413 or any(word in words for word in TOO_LONG_WORDS)
    # OpenAI does not allow log-probabilities of some models; Together does not allow texts beyond the context.
    if status == 403 and not is_too_long and "logprob" not in words:
        if is_page(reply.body):
            return verdict("content", suspected="firewall")
        if {code, kind} & ACCESS_CODES:
            return verdict("access", "access")
        if UNKNOWN_MODEL.search(words) or code in UNKNOWN_MODEL_CODES:
            return verdict("permanent", "unknown_model", by_words=True)
        if told == "key":
            return verdict("access", "access", by_words=True)
        return verdict("permanent", suspected="access")
    if status == 501:
        return verdict("permanent", "wrong_address", by_words=True)
    if status >= 500 or status in PASSING_STATUSES or code == "deploymentnotready":
        # llama.cpp and vLLM answer 500 where a chat template raises, which it does for every row.
        if complaint(words) == "system_role":
            return verdict("permanent", "system_role", by_words=True)
        return verdict("transient")
    said_by, other_style = OTHER_STYLE.get(operation, ((), None))
    if other_style is not None and status in (400, 404) and any(said in words for said in said_by):
        return verdict("permanent", other_style)
    if status == 404 and "no endpoints found" in words:
        # OpenRouter has the model, but no provider that serves it as it was asked for.
        route: Cause = "parameter" if "parameter" in words else "access" if "policy" in words else "unknown_model"
        return verdict("access" if route == "access" else "permanent", route)
    if code in UNKNOWN_MODEL_CODES or (status == 404 and "model" in words):
        return verdict("permanent", "unknown_model")
    if UNKNOWN_MODEL.search(words):
        return verdict("permanent", "unknown_model", by_words=status != 404)
    if status in (404, 405):
        return verdict("permanent", "wrong_address")
    if is_too_long:
        # What max_tokens leaves of the context may be too little for every row, or for this one.
        suspected: Cause | None = "max_tokens" if "max_tokens" in words or "completion_tokens" in words else None
        return verdict("permanent", text=f"the text is too long for the model ({message})", suspected=suspected)
    if "logprob" in f"{parameter} {words}":
        return verdict("permanent", "logprobs", by_words="logprob" not in str(parameter))
    if told == "key":
        return verdict("access", "access", by_words=True)
    setting = SETTINGS.get(complaint(words, "busy", "rate") or "") or SETTINGS.get(
        complaint(str(parameter).replace(".", "_")) or ""
    )
    if setting is not None:
        return verdict("permanent", setting, by_words=True)
    if code in PARAMETER_CODES:
        return verdict("permanent", "parameter")
    return verdict("permanent", suspected="every_row")


def judge_fault(fault: TransportFault, secrets: Sequence[str] = (), *, reached: bool) -> Verdict:
    """The verdict on an attempt without an answer; if the server was `reached` before, it may come back."""
    cause: Cause | None = None
    if fault.kind in ("insecure", "no_tls", "needs_tls") or (fault.kind == "proxy" and not reached):
        cause = fault.kind
    elif fault.kind == "unreachable" and not reached:
        cause = "unreachable"
    gone = fault.kind == "unreachable"
    return Verdict("transient", redact(fault.message, secrets), cause=cause, unreachable=gone)


def judge_unread(
    reply: Reply,
    reason: object,
    secrets: Sequence[str] = (),
    operation: Operation = "chat",
    sent: Sequence[str] = (),
    *,
    answered: bool,
) -> Verdict:
    """The verdict on a body that came with a status of success and cannot be read as an answer.

    Where the endpoint has `answered` before, what it says now may pass.
    """
    body = _first_event(reply.body) or reply.body
    if _tells_error(body):
        return _judge_told(replace(reply, body=body), secrets, operation, sent)
    status, beginning = reply.status, redact(page_text(reply.body)[:120], secrets)
    cause: Cause | None = None
    if body is not reply.body or reply.body.lstrip().startswith((b"data:", b"event:")):
        cause, text = "stream", f"status {status} with an event stream, though none was asked for"
    elif is_page(reply.body):
        cause, text = "not_an_answer", f"status {status} with a web page: {beginning}"
    elif status in (202, 204, 205):
        cause, text = "not_an_answer", f"status {status}, which comes without an answer"
    elif not reply.body.strip():
        return replace(unreadable("the body is empty", secrets), status=status, suspected="not_an_answer")
    elif _is_something_else(reply.body):
        cause, text = "not_an_answer", f"status {status} with {beginning!r}"
    else:
        return replace(unreadable(reason, secrets), status=status)
    if answered:
        return Verdict("transient", text, status=status)
    return Verdict("permanent", text, cause=cause, status=status)


def unreadable(reason: object, secrets: Sequence[str] = ()) -> Verdict:
    """The verdict on an answer of status 200 that cannot be read."""
    return Verdict("transient", redact(f"unreadable answer: {reason}", secrets), status=200)


def _judge_told(reply: Reply, secrets: Sequence[str], operation: Operation, sent: Sequence[str]) -> Verdict:
    """An error told with status 200: judged as if its own status had come."""
    error = error_of(reply.body)
    inside = status_inside(error)
    told = complaint(
        f"{own_words(message_of(error, reply.body), sent)}\n{error.get('code')}\n{error.get('type')}".lower()
    )
    status = inside or {"rate": 429, "busy": 503}.get(told or "", 400)
    verdict = judge(replace(reply, status=status), secrets, operation, sent)
    said = verdict.message.removeprefix(f"status {status}").removeprefix(": ") or "it has no words"
    verdict = replace(verdict, message=f"status {reply.status} with an error: {said}", status=reply.status)
    if inside is None and verdict.kind == "permanent" and verdict.cause is None:
        # Without a status of its own the error may pass.
        return replace(verdict, kind="transient")
    return verdict


def _first_event(body: bytes) -> bytes | None:
    """The data of the first event of a stream that holds any; `None` where the body is no stream."""
    if not body.lstrip().startswith((b"data:", b"event:", b":")):
        return None
    lines = (line.removeprefix(b"data:").strip() for line in body.splitlines() if line.startswith(b"data:"))
    return next((line for line in lines if line), None)


def _tells_error(body: bytes) -> bool:
    document = parsed(body)
    if not isinstance(document, Mapping) or any(document.get(field) for field in ANSWERING):
        return False
    if document.get("error") or document.get("errors"):
        return True
    error = error_of(body)
    return any(isinstance(error.get(name), str | list) and error[name] for name in DESCRIPTIONS)


def _is_something_else(body: bytes) -> bool:
    """Whether a body is whole and belongs to no answer of the protocol; a cut one may come whole next time."""
    document = parsed(body)
    if document is None:
        return not body.lstrip().startswith((b"{", b"["))
    return not (isinstance(document, Mapping) and any(field in document for field in ANSWERING))


def _is_not_offered(status: int, code: str, words: str, parameter: str | None) -> bool:
    if code in UNKNOWN_MODEL_CODES:
        return False
    if status in (404, 405):
        return "model" not in words or not ("not found" in words or "does not exist" in words)
    # llama.cpp answers 501; OpenAI says of a model that has no embeddings that one is not allowed to make them.
    return (
        status == 501
        or (status == 403 and "embedding" in words)
        or (status in (400, 422) and (parameter == "model" or NO_EMBEDDINGS.search(words) is not None))
    )


def _is_embedding_setting(words: str, parameter: str | None) -> bool:
    # Wrong for one text, they are wrong for all: no use to look for the text whose fault it is.
    return any(name in (parameter or words) for name in ("dimensions", "encoding_format"))


def _is_content(code: str, error: Mapping[str, Any]) -> bool:
    inner = error.get("innererror")
    inner_code = str(inner.get("code") or "").lower() if isinstance(inner, Mapping) else ""
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and ("flagged_input" in metadata or metadata.get("reasons")):
        return True  # as OpenRouter tells of a moderated text
    return code in CONTENT_CODES or inner_code in CONTENT_CODES or "content_filter_result" in error
