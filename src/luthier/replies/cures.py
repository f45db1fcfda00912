"""What ends a run, in words: what was refused, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.errors import EndpointError, QuotaError
from luthier.providers.endpoint import Endpoint
from luthier.replies.failures import Verdict

__all__ = ["REASONING_CURE", "stopping_error"]

REASONING_CURE = "decoding: {temperature: null, max_tokens: 2000}"
GATEWAY_CURE = "extra_body: {max_completion_tokens: 2000}"
"""For compatible servers that want the newer name of max_tokens."""


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
        case "firewall":
            return EndpointError(
                f"every request to {where} so far was turned away with a web page ({verdict.message}). A firewall or "
                "gateway before the service does not let this machine, or requests like these, through: check "
                "`base_url:`, the network you are in, and the key."
            )
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
        case "not_an_answer":
            return EndpointError(
                f"{endpoint.address} does not speak the OpenAI protocol: it answered {verdict.message}. Give "
                "`base_url:` up to and including /v1, as in https://HOST/v1. Where a login page or a proxy stands "
                "before it, sign in first, or set HTTPS_PROXY and NO_PROXY."
            )
        case "stream":
            return EndpointError(
                f"{where} answered {verdict.message}. Luthier reads whole answers: turn streaming off at the gateway "
                "(`stream: false`), or give the `base_url:` of the service behind it."
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
        case "system_role":
            return EndpointError(
                f"{where} takes no system turn ({verdict.message}). Leave `prompt.system:` out of the spec and put its "
                "words at the beginning of `prompt.template:`."
            )
        case "response_format":
            return EndpointError(
                f"{where} does not write answers to a JSON schema ({verdict.message}). "
                'Write `answer: {method: text}` in the spec (answer="text" in Python).'
            )
        case "max_tokens":
            return EndpointError(
                f"{where} does not take as many tokens as `decoding: {{max_tokens: ...}}` asks for "
                f"({verdict.message}). Write a smaller number there; a label needs few."
            )
        case "every_row":
            return EndpointError(
                f"{where} refused the first requests all alike and has answered none ({verdict.message}). "
                "The fault lies in what they share: the key, the model, or a setting in `prompt.system:`, `answer:`, "
                "`decoding:` or `extra_body:`. luthier check SPEC tries them with one call."
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
        case "proxy":
            return EndpointError(
                f"{endpoint.address} is not reached through the proxy ({verdict.message}). Correct HTTPS_PROXY, "
                "HTTP_PROXY or ALL_PROXY, with NAME:PASSWORD@ before the host where the proxy wants them, or name the "
                "server in NO_PROXY."
            )
        case "no_tls":
            plain = endpoint.address.replace("https://", "http://", 1)
            return EndpointError(
                f"{endpoint.address} does not speak https ({verdict.message}). Write `base_url: {plain}`, or "
                "correct the port."
            )
        case "needs_tls":
            secure = endpoint.address.replace("http://", "https://", 1)
            return EndpointError(
                f"{endpoint.address} does not speak plain http ({verdict.message}). Write `base_url: {secure}`, "
                "or correct the port."
            )
        case _:
            return EndpointError(
                f"{endpoint.address} cannot be reached ({verdict.message}). "
                "Check `base_url:` and that the server runs; behind a proxy, set HTTPS_PROXY."
            )


def _some(available: Sequence[str] | None) -> str:
    names = list(available or ())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
