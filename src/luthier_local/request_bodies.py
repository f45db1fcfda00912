"""From a request's body to requests to a backend; what is wrong is refused as OpenAI refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from luthier_local.api_errors import invalid_value, unsupported_parameter, unsupported_value, wrong_route
from luthier_local.backend import GenerationRequest, Message
from luthier_local.json_bodies import read_whole
from luthier_local.model_card import ModelCard

__all__ = ["ParsedRequest", "read_chat_body", "read_completion_body", "read_embedding_body"]

_COMPLETION_DEFAULT_TOKENS = 16
_LARGEST_EMBEDDING_LIST = 2048
_ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request to generate, checked: what is generated, and how it is answered."""

    requests: Sequence[GenerationRequest]
    """One per prompt and sample, samples of a prompt together."""
    stream: bool
    include_usage: bool
    logprobs: bool
    where: str
    """`messages` or `prompt`, for error messages."""

    @property
    def samples(self) -> int:
        """Answers wanted per prompt."""
        return max(request.sample for request in self.requests) + 1


def read_chat_body(body: dict[str, Any], card: ModelCard) -> ParsedRequest:
    """Reads the body of `chat/completions`."""
    if not card.chat:
        raise wrong_route(
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
            "Did you mean to use v1/completions?"
        )
    messages = _messages(body)
    if card.reasoning:
        _refuse_for_reasoning(body)
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    elif body.get("max_tokens") is not None:
        raise invalid_value("max_tokens", "give either max_tokens or max_completion_tokens, not both.")
    wants = body.get("logprobs") or False
    if not isinstance(wants, bool):
        raise invalid_value("logprobs", "expected a boolean.", "invalid_type")
    top = body.get("top_logprobs")
    if top is not None and not wants:
        raise invalid_value("top_logprobs", "only allowed when 'logprobs' is true.")
    top = _top(top or 0, "top_logprobs", card) if wants else None
    limit = read_whole(limit, "max_completion_tokens", 1)
    request = replace(_common(body, top), messages=messages, max_tokens=limit, reasoning=card.reasoning)
    return _wanted([request], body, top is not None, "messages")


def read_completion_body(body: dict[str, Any], card: ModelCard) -> ParsedRequest:
    """Reads the body of the older `completions`."""
    if not card.completions or card.reasoning:
        raise wrong_route(
            "This is a chat model and not supported in the v1/completions endpoint. "
            "Did you mean to use v1/chat/completions?"
        )
    prompts = _texts(body.get("prompt", ""), "prompt")
    for name in ("echo", "suffix"):
        if body.get(name):
            raise unsupported_parameter(name)
    wants = body.get("logprobs")
    top = _top(wants, "logprobs", card) if wants is not None else None
    limit = read_whole(body.get("max_tokens"), "max_tokens", 0)
    limit = _COMPLETION_DEFAULT_TOKENS if limit is None else limit
    requests = [replace(_common(body, top), prompt=prompt, max_tokens=limit) for prompt in prompts]
    return _wanted(requests, body, top is not None, "prompt")


def read_embedding_body(body: dict[str, Any], card: ModelCard) -> tuple[list[str], bool, int | None]:
    """Reads the body of `embeddings`: texts, whether base64 is wanted, and dimensions to cut to."""
    if not card.embeddings:
        raise wrong_route("You are not allowed to generate embeddings from this model", 403)
    texts = _texts(body.get("input"), "input")
    if len(texts) > _LARGEST_EMBEDDING_LIST:
        raise invalid_value("input", f"at most {_LARGEST_EMBEDDING_LIST} texts; given {len(texts)}.")
    if any(text == "" for text in texts):
        raise invalid_value("input", "a text cannot be empty.")
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid_value("encoding_format", "expected 'float' or 'base64'.")
    return texts, encoding == "base64", read_whole(body.get("dimensions"), "dimensions", 1)


def _common(body: dict[str, Any], top: int | None) -> GenerationRequest:
    temperature, seed = _temperature(body), read_whole(body.get("seed"), "seed")
    return GenerationRequest(temperature=temperature, seed=seed, stop=_stops(body), top=top, schema=_schema(body))


def _wanted(requests: list[GenerationRequest], body: dict[str, Any], logprobs: bool, where: str) -> ParsedRequest:
    count = read_whole(body.get("n"), "n", 1, 128) or 1
    options = body.get("stream_options") or {}
    spread = [replace(request, sample=sample) for request in requests for sample in range(count)]
    usage = bool(options.get("include_usage")) if isinstance(options, dict) else False
    return ParsedRequest(spread, bool(body.get("stream")), usage, logprobs, where)


def _texts(given: Any, name: str) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise invalid_value(name, "expected a text or a non-empty list of texts.", "invalid_type")
    return texts


def _messages(body: dict[str, Any]) -> tuple[Message, ...]:
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise invalid_value("messages", "expected a non-empty list of messages.", "invalid_type")
    turns = []
    for i, turn in enumerate(given):
        if not isinstance(turn, dict) or turn.get("role") not in _ROLES:
            raise invalid_value(f"messages[{i}].role", "expected system, developer, user or assistant.")
        content = turn.get("content")
        if isinstance(content, list):
            if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
                raise invalid_value(f"messages[{i}].content", "only text parts are read here.")
            content = "".join(str(part.get("text", "")) for part in content)
        if content is None:
            content = ""
        if not isinstance(content, str):
            raise invalid_value(f"messages[{i}].content", "expected a text.", "invalid_type")
        turns.append(Message(turn["role"], content))
    return tuple(turns)


def _refuse_for_reasoning(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is not None:
        raise unsupported_parameter("max_tokens", " Use 'max_completion_tokens' instead.")
    for name in ("logprobs", "top_logprobs"):
        if body.get(name):
            raise unsupported_parameter(name)
    for name, default in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = body.get(name)
        if value is not None and value != default:
            raise unsupported_value(name, value, f"Only the default ({default}) value is supported.")


def _top(value: Any, name: str, card: ModelCard) -> int | None:
    """How many rivals per place are wanted; `None` for a card that leaves log-probabilities out."""
    wanted = read_whole(value, name, 0) or 0
    if wanted > card.top_logprobs_max:
        # Word for word as OpenAI says it: clients read the number.
        message = f"integer above maximum value. Expected a value <= {card.top_logprobs_max}, but got {wanted} instead."
        raise invalid_value(name, message, "integer_above_max_value")
    if not card.logprobs and not card.ignores_logprobs:
        raise unsupported_parameter("logprobs")
    return wanted if card.logprobs else None


def _temperature(body: dict[str, Any]) -> float:
    value = body.get("temperature")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise invalid_value("temperature", "expected a number from 0 to 2.", "decimal_out_of_range")
    return float(value)


def _stops(body: dict[str, Any]) -> tuple[str, ...]:
    given = body.get("stop")
    if given is None:
        return ()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or len(given) > 4 or not all(isinstance(text, str) for text in given):
        raise invalid_value("stop", "expected a text or a list of at most 4 texts.")
    return tuple(text for text in given if text)


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    given = body.get("response_format")
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        raise invalid_value("response_format.type", "expected text, json_object or json_schema.")
    wrapped = given.get("json_schema")
    schema = wrapped.get("schema") if isinstance(wrapped, dict) else None
    if not isinstance(schema, dict) or not isinstance(wrapped.get("name"), str):
        raise invalid_value("response_format.json_schema", "expected `name` and `schema`.")
    return schema
