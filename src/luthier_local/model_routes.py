"""The routes that a model answers: chat, completions, embeddings, decisions, tokens, and the list of models."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from typing import Any

from aiohttp import web

from luthier_local import response_bodies
from luthier_local.api_errors import context_overflow, invalid_value
from luthier_local.backend import Backend, Generation
from luthier_local.decisions import decide, decision_body, read_decision_body, refused_questions
from luthier_local.json_bodies import decode_body, json_response
from luthier_local.label_probabilities import next_token_request
from luthier_local.model_card import ModelCard
from luthier_local.model_registry import ModelRegistry
from luthier_local.request_bodies import ParsedRequest, read_chat_body, read_completion_body, read_embedding_body
from luthier_local.routing import Admitted, Router

__all__ = ["add_routes"]

_REFUSAL = "I can't help with that."


def add_routes(router: Router, registry: ModelRegistry) -> None:
    """Adds the routes of the registry's models."""
    started = int(time.time())

    async def generate(admitted: Admitted, chat: bool) -> web.StreamResponse:
        card = registry.named(admitted.body.get("model"))
        parsed = read_chat_body(admitted.body, card) if chat else read_completion_body(admitted.body, card)
        backend = await registry.backend(card)
        kind, prefix = ("chat.completion", "chatcmpl") if chat else ("text_completion", "cmpl")
        head = response_bodies.envelope(kind, prefix, card.reports_model or card.id)
        await _check_context(backend, card, parsed)
        if parsed.stream:
            return await _stream(admitted, backend, parsed, head, chat)
        generations = await asyncio.gather(*(backend.generate(request) for request in parsed.requests))
        if chat:
            filtered = admitted.meets("content_filter")
            answer = response_bodies.chat_body(head, generations, parsed.logprobs, _refusal(admitted), filtered)
        else:
            # The older route has no place for a refusal.
            filtered = admitted.meets("content_filter", "refusal")
            answer = response_bodies.completion_body(head, generations, parsed.samples, parsed.logprobs, filtered)
        return json_response(answer, admitted.limits)

    async def embed(admitted: Admitted) -> web.StreamResponse:
        card = registry.named(admitted.body.get("model"))
        texts, as_base64, dimensions = read_embedding_body(admitted.body, card)
        backend = await registry.backend(card)
        vectors, tokens = await backend.embed(texts)
        model = card.reports_model or card.id
        answer = response_bodies.embedding_body(model, vectors, tokens, as_base64, dimensions)
        return json_response(answer, admitted.limits)

    async def answer_decisions(admitted: Admitted) -> web.StreamResponse:
        card = registry.named(admitted.body.get("model"))
        asked = read_decision_body(admitted.body, card)
        backend = await registry.backend(card)
        requests = [next_token_request(asked.prompt(question)) for question in asked.questions]
        await _check_context(backend, card, ParsedRequest(requests, False, False, True, "input"))
        # There is no finish_reason here: what a filter stops is refused too.
        fault = admitted.fault if admitted.meets("refusal", "content_filter") else None
        refused = refused_questions(asked.questions, fault.contains) if fault else [False] * len(requests)
        answers = await decide(backend, asked, refused)
        body = decision_body(card.reports_model or card.id, asked.questions, answers)
        return json_response(body, admitted.limits)

    async def tokenize(request: web.Request) -> web.StreamResponse:
        body = decode_body(await request.read())
        card = registry.named(body.get("model"))
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise invalid_value("prompt", "expected a text.", "invalid_type")
        tokens = await (await registry.backend(card)).tokenize(prompt)
        return json_response(
            {
                "count": len(tokens),
                "max_model_len": card.context_tokens,
                "tokens": [token.id for token in tokens],
                "token_strs": [token.text for token in tokens],
            }
        )

    async def listed(_: web.Request) -> web.StreamResponse:
        return json_response({"object": "list", "data": [await entry(card) for card in registry.cards()]})

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return json_response(await entry(registry.named(request.match_info["id"])))

    async def entry(card: ModelCard) -> dict[str, Any]:
        # The digest of a file given by path takes seconds to compute, once.
        digest = await asyncio.to_thread(registry.digest, card) if card.path else registry.digest(card)
        return {
            "id": card.id,
            "object": "model",
            "created": started,
            "owned_by": "luthier",
            "shutdown_date": card.shutdown_date,
            "digest": digest,
            "context_tokens": card.context_tokens,
        }

    router.add_generating("chat/completions", functools.partial(generate, chat=True))
    router.add_generating("completions", functools.partial(generate, chat=False))
    router.add_generating("embeddings", embed)
    router.add_generating("decisions", answer_decisions)
    router.add_models("/models", listed)
    router.add_models("/models/{id:.+}", retrieve)
    router.add_control("POST", "/tokenize", tokenize)


def _refusal(admitted: Admitted) -> str | None:
    fault = admitted.fault
    return (fault.message or _REFUSAL) if fault is not None and admitted.meets("refusal") else None


async def _stream(
    admitted: Admitted, backend: Backend, parsed: ParsedRequest, head: dict[str, Any], chat: bool
) -> web.StreamResponse:
    response = web.StreamResponse(headers={**admitted.limits, "cache-control": "no-store"})
    response.content_type = "text/event-stream"
    assert admitted.request is not None
    await response.prepare(admitted.request)

    async def send(chunk: dict[str, Any]) -> None:
        text = json.dumps(chunk, ensure_ascii=False).encode("utf-8", "surrogatepass")
        await response.write(b"data: " + text + b"\n\n")

    if chat:
        head["object"] = "chat.completion.chunk"
    refusal = _refusal(admitted)
    withheld = admitted.meets("refusal", "content_filter")
    generations = []
    for index, request in enumerate(parsed.requests):
        if chat:
            first = {"role": "assistant", "content": None if refusal else "", "refusal": None}
            await send(response_bodies.chat_chunk(head, index, first))
            if refusal:
                await send(response_bodies.chat_chunk(head, index, {"refusal": refusal}))
        offset = 0
        async for item in backend.stream(request):
            if isinstance(item, Generation):
                generations.append(item)
                finish = item.finish
                if withheld:
                    finish = "stop" if refusal and chat else "content_filter"
                if chat:
                    await send(response_bodies.chat_chunk(head, index, {}, finish=finish))
                else:
                    await send(response_bodies.completion_chunk(head, index, None, 0, False, finish))
            elif withheld:
                continue
            elif chat:
                token = item if parsed.logprobs else None
                await send(response_bodies.chat_chunk(head, index, {"content": item.text}, token))
            else:
                await send(response_bodies.completion_chunk(head, index, item, offset, parsed.logprobs))
                offset += len(item.text)
    if parsed.include_usage:
        await send({**head, "choices": [], "usage": response_bodies.usage_of(generations, parsed.samples)})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _check_context(backend: Backend, card: ModelCard, parsed: ParsedRequest) -> None:
    limit = card.context_tokens
    # No tokenizer here makes more than one token of a UTF-8 byte: short prompts need no counting.
    for request in parsed.requests:
        if request.sample:
            continue
        turns = [turn.content for turn in request.messages] if request.messages is not None else [request.prompt or ""]
        room = request.max_tokens or 0
        if sum(4 * len(turn) + 8 for turn in turns) + room <= limit:
            continue
        count = 0
        for turn in turns:
            # Nor fewer than one for 24 characters: a huge text is refused without tokenizing it.
            count += len(turn) // 4 if len(turn) > 24 * limit else len(await backend.tokenize(turn))
            count += 4 if request.messages is not None else 0
        if count + room > limit:
            raise context_overflow(limit, count, room, parsed.where)
