"""From a backend's replies to bodies and stream chunks of the OpenAI protocol."""

from __future__ import annotations

import base64
import math
import struct
import time
import uuid
from collections.abc import Sequence
from typing import Any

from luthier_local.backend import GeneratedToken, Generation

__all__ = [
    "chat_body",
    "chat_chunk",
    "completion_body",
    "completion_chunk",
    "embedding_body",
    "envelope",
    "usage_of",
]

_FINGERPRINT = "fp_luthier"


def envelope(kind: str, prefix: str, model: str) -> dict[str, Any]:
    """The fields every answer of a generation begins with."""
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": _FINGERPRINT,
    }


def usage_of(replies: Sequence[Generation], samples: int) -> dict[str, Any]:
    """Tokens: each prompt is counted once, however many samples were drawn from it."""
    prompt = sum(reply.prompt_tokens for reply in replies[::samples])
    completion = sum(reply.completion_tokens for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(reply.cached_tokens for reply in replies)},
        "completion_tokens_details": {"reasoning_tokens": sum(reply.reasoning_tokens for reply in replies)},
    }


def chat_body(
    head: dict[str, Any],
    replies: Sequence[Generation],
    logprobs: bool,
    refusal: str | None = None,
    filtered: bool = False,
) -> dict[str, Any]:
    """The body of `chat/completions`."""
    choices = []
    for i, reply in enumerate(replies):
        text: str | None = reply.text
        finish = reply.finish
        if filtered:
            text, finish = "", "content_filter"
        if refusal is not None:
            text, finish = None, "stop"
        choices.append(
            {
                "index": i,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
                "logprobs": _chat_logprobs(reply.steps) if logprobs and not filtered else None,
                "finish_reason": finish,
            }
        )
    return {**head, "choices": choices, "usage": usage_of(replies, len(replies))}


def chat_chunk(
    head: dict[str, Any],
    index: int,
    delta: dict[str, Any],
    step: GeneratedToken | None = None,
    finish: str | None = None,
) -> dict[str, Any]:
    """One chunk of a streamed chat."""
    logprobs = _chat_logprobs([step]) if step is not None else None
    return {
        **head,
        "choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}],
    }


def completion_body(
    head: dict[str, Any], replies: Sequence[Generation], samples: int, logprobs: bool, filtered: bool = False
) -> dict[str, Any]:
    """The body of `completions`."""
    choices = [
        {
            "index": i,
            "text": "" if filtered else reply.text,
            "logprobs": _legacy_logprobs(reply.steps, 0) if logprobs and not filtered else None,
            "finish_reason": "content_filter" if filtered else reply.finish,
        }
        for i, reply in enumerate(replies)
    ]
    return {**head, "choices": choices, "usage": usage_of(replies, samples)}


def completion_chunk(
    head: dict[str, Any],
    index: int,
    step: GeneratedToken | None,
    offset: int,
    logprobs: bool,
    finish: str | None = None,
) -> dict[str, Any]:
    """One chunk of a streamed completion."""
    choice = {
        "index": index,
        "text": step.text if step is not None else "",
        "logprobs": _legacy_logprobs([step], offset) if step is not None and logprobs else None,
        "finish_reason": finish,
    }
    return {**head, "choices": [choice]}


def embedding_body(
    model: str, vectors: Sequence[Sequence[float]], tokens: int, as_base64: bool, dimensions: int | None
) -> dict[str, Any]:
    """The body of `embeddings`; fewer dimensions are cut and scaled to length one again."""
    data = []
    for i, vector in enumerate(vectors):
        if dimensions is not None and dimensions < len(vector):
            cut = vector[:dimensions]
            norm = math.sqrt(sum(value * value for value in cut)) or 1.0
            vector = [value / norm for value in cut]
        coded: Any = list(vector)
        if as_base64:
            coded = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": i, "embedding": coded})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _chat_logprobs(steps: Sequence[GeneratedToken]) -> dict[str, Any]:
    return {
        "content": [
            {**_chat_token(step.text, step.logprob), "top_logprobs": [_chat_token(*rival) for rival in step.top]}
            for step in steps
        ],
        "refusal": None,
    }


def _chat_token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}


def _legacy_logprobs(steps: Sequence[GeneratedToken], offset: int) -> dict[str, Any]:
    offsets = []
    for step in steps:
        offsets.append(offset)
        offset += len(step.text)
    return {
        "tokens": [step.text for step in steps],
        "token_logprobs": [step.logprob for step in steps],
        # The chosen token is always in, also when it is not among the most probable.
        "top_logprobs": [{**dict(step.top), step.text: step.logprob} for step in steps],
        "text_offset": offsets,
    }
