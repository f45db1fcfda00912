"""What ends a run, in words: what was refused, and what a person can do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.errors import EndpointError, QuotaError
from luthier.providers.endpoint import Endpoint
from luthier.replies.failures import Cause, Verdict

__all__ = ["REASONING_CURE", "pool_error", "stopping_error"]

REASONING_CURE = "decoding: {temperature: null, max_tokens: 2000}"
GATEWAY_CURE = "extra_body: {max_completion_tokens: 2000}"
"""For compatible servers that want the newer name of max_tokens."""

DEPLOYED = " A tuned model answers there once it is deployed: luthier tune deploy JOB"


# With the places {where}, {address}, {message}, {named}, {listed}, {what}, {deployed}, {cure},
# {reasoning}, {url}.
CURES: dict[Cause, str] = {
    "quota": "the account behind {where} has nothing left to spend ({message}). Add credit or wait for the next "
    "period, then run the same again: what was answered is in the journal and is not paid twice.",
    "access": "{where} refuses access ({message}). {cure}",
    "firewall": "every request to {where} so far was turned away with a web page ({message}). A firewall or gateway "
    "before the service does not let this machine, or requests like these, through: check `base_url:`, the network "
    "you are in, and the key.",
    "unknown_model": "{address} has no {what} {model!r} ({message}).{listed} Correct `model:` in the "
    "endpoint.{deployed}",
    "wrong_address": "{address} does not answer this call of the OpenAI protocol ({message}). Give `base_url:` up to "
    "and including /v1, and a prompt of the style (chat or completion) the server offers.",
    "not_an_answer": "{address} does not speak the OpenAI protocol: it answered {message}. Give `base_url:` up to and "
    "including /v1, as in https://HOST/v1. Where a login page or a proxy stands before it, sign in first, or set "
    "HTTPS_PROXY and NO_PROXY.",
    "stream": "{where} answered {message}. Luthier reads whole answers: turn streaming off at the gateway (`stream: "
    "false`), or give the `base_url:` of the service behind it.",
    "chat_only": "{where} is a chat model and does not continue a text ({message}). Write `prompt: {{style: chat}}` in "
    'the spec (style="chat" in Python).',
    "completion_only": "{where} continues a text and is no chat model ({message}). Write `prompt: {{style: "
    'completion}}` in the spec (style="completion" in Python).',
    "no_embeddings": "{where} does not offer embeddings ({message}). technique: embedding, and examples chosen by "
    "nearness, need an endpoint that serves /v1/embeddings, and an embedding model: correct `model:` or `base_url:` "
    "there. luthier check SPEC tries it with one text.",
    "no_decisions": "{where} does not offer decisions ({message}). Where /v1/decisions is not served, technique: "
    "prompt with `answer: {{method: score}}` reads the same probabilities from the next token. luthier check SPEC "
    "tells what an endpoint offers.",
    "embedding_settings": "{where} does not embed with these settings ({message}). Leave `dimensions:` out, or give as "
    "many as the model has; where base64 is refused, write `extra_body: {{encoding_format: float}}` in the endpoint.",
    "redirect": "{where}: {message}. A key is not sent after a redirect; put that address into `base_url:`.",
    "logprobs": "{where} does not give the log-probabilities asked for ({message}). Read the written answer instead, "
    "with `answer: {{method: text}}` in the spec; or ask for fewer of them.",
    "system_role": "{where} takes no system turn ({message}). Leave `prompt.system:` out of the spec and put its words "
    "at the beginning of `prompt.template:`.",
    "response_format": "{where} does not write answers to a JSON schema ({message}). Write `answer: {{method: text}}` "
    'in the spec (answer="text" in Python).',
    "max_tokens": "{where} does not take as many tokens as `decoding: {{max_tokens: ...}}` asks for ({message}). Write "
    "a smaller number there; a label needs few.",
    "every_row": "{where} refused the first requests all alike and has answered none ({message}). The fault lies in "
    "what they share: the key, the model, or a setting in `prompt.system:`, `answer:`, `decoding:` or `extra_body:`. "
    "luthier check SPEC tries them with one call.",
    "parameter": "{where} does not take the parameter{named} as given ({message}). For a reasoning model write "
    "`{reasoning}` in the spec{cure}; otherwise set the parameter to null.",
    "insecure": "the certificate of {address} is not trusted ({message}). Name the authority's file in SSL_CERT_FILE, "
    "or correct `base_url:`.",
    "proxy": "{address} is not reached through the proxy ({message}). Correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, "
    "with NAME:PASSWORD@ before the host where the proxy wants them, or name the server in NO_PROXY.",
    "no_tls": "{address} does not speak https ({message}). Write `base_url: {url}`, or correct the port.",
    "needs_tls": "{address} does not speak plain http ({message}). Write `base_url: {url}`, or correct the port.",
    "unreachable": "{address} cannot be reached ({message}). Check `base_url:` and that the server runs; behind a "
    "proxy, set HTTPS_PROXY.",
}
"""What a call that was stopped ends with: what was refused, and what a person can do about it."""

ACCESS_CURES = (
    (
        re.compile(
            r"\b(?:network|vnet|firewall|private endpoint|public access|ip|country|region|territory|location)\b"
        ),
        "The service lets in other networks or countries than the one this machine asks from: change that at the "
        "service, or ask from elsewhere.",
    ),
    (
        re.compile(
            r"\b(?:organi[sz]ation|account|project|workspace|subscription|tenant)\b.{0,40}(?:verified|"
            r"disabled|restricted|suspended|deactivated|banned|terminated)"
        ),
        "The account behind the key is closed to this: look at its settings at the service.",
    ),
    (
        re.compile(r"\bmodel\b.{0,40}(?:access|blocked|permission)|(?:access|permission)\b.{0,30}\bmodel\b"),
        "The account may not use this model: ask for access to it at the service, or name another in `model:`.",
    ),
)
"""What the words of a refusal of access, other than 401, are about where it is not the key."""


def stopping_error(verdict: Verdict, endpoint: Endpoint, available: Sequence[str] | None = None) -> EndpointError:
    """The error that ends a call, with what to do about it; `available` are the models the server lists."""
    cause, address, cure = verdict.cause or "unreachable", endpoint.address, ""
    if cause == "access":
        cure = _access_cure(verdict, endpoint)
    elif endpoint.provider == "compatible":
        cure = f" and `{GATEWAY_CURE}` in the endpoint"
    here, there = ("https://", "http://") if cause == "no_tls" else ("http://", "https://")
    text = CURES[cause].format(
        where=f"{endpoint.model} at {address}",
        address=address,
        message=verdict.message,
        model=endpoint.model,
        what="deployment" if endpoint.provider == "azure" else "model",
        named=f" {verdict.parameter!r}" if verdict.parameter else "",
        listed=f" It has: {_some(available)}." if available else "",
        deployed=DEPLOYED if endpoint.provider in ("together", "fireworks") else "",
        cure=cure,
        reasoning=REASONING_CURE,
        url=address.replace(here, there, 1),
    )
    error = QuotaError(text) if cause == "quota" else EndpointError(text)
    error.cause = cause
    return error


def _access_cure(verdict: Verdict, endpoint: Endpoint) -> str:
    """What to do where access is refused: a key that the service knows need not be looked at."""
    if verdict.status != 401:
        said = verdict.message.lower()
        for told, cure in ACCESS_CURES:
            if told.search(said):
                return cure
    if endpoint.auth == "key" and endpoint.key_variable:
        return f"Check the key in the environment variable {endpoint.key_variable}."
    if endpoint.auth == "key" and endpoint.provider in ("compatible", "vllm"):
        return "No key was sent: name its variable with `api_key_env:` in the endpoint."
    return "Check who you are logged in as and the role on the resource."


def pool_error(failed: Sequence[tuple[Endpoint, Verdict]]) -> EndpointError:
    """The error that ends a call to several endpoints of one model, with what to do about each."""
    errors = [
        stopping_error(verdict, endpoint)
        if verdict.cause is not None
        else EndpointError(f"{endpoint.model} at {endpoint.address} fails ({verdict.message}). It may come back.")
        for endpoint, verdict in failed
    ]
    listed = " ".join(f"({number}) {error}" for number, error in enumerate(errors, start=1))
    kind = QuotaError if all(isinstance(error, QuotaError) for error in errors) else EndpointError
    error = kind(f"none of the {len(failed)} endpoints takes requests. {listed}")
    error.cause = errors[0].cause
    return error


def _some(available: Sequence[str] | None) -> str:
    names = list(available or ())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
