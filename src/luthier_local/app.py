"""The HTTP application: routes, key, limits, faults, and the way of a request through them.

A request to a protocol route passes: key -> request log -> body -> rate limit -> scripted fault ->
model -> backend. Nothing here listens; `server.py` and `service.py` do.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from luthier.errors import EndpointError, LuthierError, MissingPart
from luthier.processes import build_of_luthier
from luthier_local import response_bodies
from luthier_local.api_errors import (
    ApiError,
    context_overflow,
    invalid_key,
    invalid_value,
    model_not_found,
    refused_host,
)
from luthier_local.backend import Backend, Generation
from luthier_local.decisions import decide, decision_body, read_decision_body, refused_questions
from luthier_local.faults import Fault, FaultRules, Unanswered, break_off
from luthier_local.jobs import batch_routes, file_routes, tuning_routes
from luthier_local.jobs.job_service import JobService, JobSettings
from luthier_local.json_bodies import characters_in, decode_body, decode_json, json_response
from luthier_local.label_probabilities import next_token_request
from luthier_local.model_card import ModelCard
from luthier_local.model_registry import ModelRegistry
from luthier_local.rate_limits import RateLimits
from luthier_local.request_bodies import ParsedRequest, read_chat_body, read_completion_body, read_embedding_body
from luthier_local.request_log import RequestLog

__all__ = ["Application"]

_log = logging.getLogger(__name__)

_LARGEST_BODY = 64 * 1024 * 1024
_NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request that may be answered."""

    request: web.Request | None
    """`None`: a line of a batch, which does not stream."""
    limits: dict[str, str]
    """Headers that say what is left of the limits."""
    fault: Fault | None
    """A scripted fault that changes the answer rather than replacing it."""


Route = Callable[[dict[str, Any], _Admitted], Awaitable[web.StreamResponse]]


class Application:
    """The served models, and everything that stands between a request and its answer."""

    def __init__(
        self,
        registry: ModelRegistry,
        api_key: str,
        *,
        limiter: RateLimits | None = None,
        faults: Sequence[Fault] = (),
        record: bool = False,
        latency_seconds: float = 0.0,
        jobs: JobSettings | None = None,
    ) -> None:
        self.jobs = JobService(jobs or JobSettings())
        self.registry = registry
        registry.tuned = self.jobs
        self.faults = FaultRules(faults)
        self.received = RequestLog(record)
        self._limiter = limiter or RateLimits()
        self._latency = latency_seconds
        self.generating: dict[str, Route] = {}
        self._key = api_key.encode()
        self._started = int(time.time())
        self.web = web.Application(client_max_size=_LARGEST_BODY)
        self._add_routes()
        self.web.middlewares.append(self._shape_errors)
        self.web.on_startup.append(self._open_jobs)
        self.web.on_cleanup.append(self._close_jobs)

    def _add_routes(self) -> None:
        add = self.web.router.add_route
        for prefix in ("/v1", "/openai/v1"):
            add("POST", f"{prefix}/chat/completions", self._posted("chat/completions", self._chat))
            add("POST", f"{prefix}/completions", self._posted("completions", self._complete))
            add("POST", f"{prefix}/embeddings", self._posted("embeddings", self._embed))
            add("POST", f"{prefix}/decisions", self._posted("decisions", self._decide))
            add("GET", f"{prefix}/models", self.keyed(self._models, count="models"))
            add("GET", f"{prefix}/models/{{id:.+}}", self.keyed(self._model, count="models"))
        file_routes.routes(self)
        tuning_routes.routes(self)
        batch_routes.routes(self)
        add("POST", "/tokenize", self.keyed(self._tokenize))
        add("GET", "/health", self._health)
        add("POST", "/_luthier/faults", self.keyed(self._add_faults))
        add("DELETE", "/_luthier/faults", self.keyed(self._clear_faults))
        add("GET", "/_luthier/requests", self.keyed(self._requests))
        add("DELETE", "/_luthier/requests", self.keyed(self._clear_requests))
        add("POST", "/_luthier/models", self.keyed(self._change_models))

    def add(self, method: str, path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        """Adds a route that wants the key; before the server listens."""
        self.web.router.add_route(method, path, self.keyed(handler))

    async def _open_jobs(self, _: web.Application) -> None:
        self.jobs.open()

    async def _close_jobs(self, _: web.Application) -> None:
        await asyncio.to_thread(self.jobs.close)

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or a job is unfinished."""
        return self.received.in_flight > 0 or self.jobs.busy

    # The way through

    def keyed(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]], count: str | None = None
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler that wants the key and answers errors in OpenAI's shape."""

        async def handle(request: web.Request) -> web.StreamResponse:
            refused = self._refuse_key(request)
            if refused is not None:
                return _error(refused)
            if count is not None:
                self.received.arrive(count, b"", {})
            response: web.StreamResponse | None = None
            try:
                response = await handler(request)
            except ApiError as error:
                response = _error(error)
            except MissingPart as error:
                response = _error(ApiError(503, str(error), kind="server_error", code="missing_part"))
            except LuthierError as error:
                response = _error(ApiError(400, str(error)))
            finally:
                if count is not None:
                    self.received.leave(response.status if response else _NO_ANSWER)
            return response

        return handle

    def _posted(self, name: str, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        self.generating[name] = route

        async def handle(request: web.Request) -> web.StreamResponse:
            refused = self._refuse_key(request)
            if refused is not None:
                return _error(refused)
            raw = await request.read()
            self.received.arrive(name, raw, request.headers)
            status = _NO_ANSWER
            try:
                response = await self._answer(name, route, request, raw)
                status = response.status
            except Unanswered:
                response = web.Response(status=500)
            finally:
                self.received.leave(status)
            return response

        return handle

    async def _answer(self, name: str, route: Route, request: web.Request, raw: bytes) -> web.StreamResponse:
        limits: dict[str, str] = {}
        try:
            body = decode_body(raw)
            limits = self._limiter.admit(_charge(body, raw))
            fault = self.faults.fire(name, raw)
            if self._latency:
                await asyncio.sleep(self._latency)
            if fault is not None:
                error = fault.error()
                if error is not None:
                    raise error
                if fault.action == "slow":
                    await asyncio.sleep(fault.delay_seconds)
                elif fault.replaces_answer:
                    return await break_off(fault.action, request)
            response = await route(body, _Admitted(request, limits, fault))
        except ApiError as error:
            response = _error(error, limits)
        except LuthierError as error:
            # A backend that cannot start: its weights are missing, its file is no GGUF.
            response = _error(ApiError(503, str(error), kind="server_error", code="backend_unavailable"), limits)
        return response

    async def answer_line(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answers a line of a batch as the route of that name answers a request: the status and the body.

        Faults apply, rate limits do not. It is counted as `batches/NAME`.
        """
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        self.received.arrive(f"batches/{name}", raw, {})
        status = _NO_ANSWER
        try:
            fault = self.faults.fire(name, raw)
            error = fault.error() if fault is not None else None
            if error is not None:
                raise error
            if fault is not None and fault.action == "slow":
                await asyncio.sleep(fault.delay_seconds)
            response = await self.generating[name](body, _Admitted(None, {}, fault))
            status = response.status
        except ApiError as refused:
            response, status = _error(refused), refused.status
        except LuthierError as failed:
            unavailable = ApiError(503, str(failed), kind="server_error", code="backend_unavailable")
            response, status = _error(unavailable), unavailable.status
        finally:
            self.received.leave(status)
        assert isinstance(response, web.Response) and isinstance(response.body, bytes)
        return status, decode_body(response.body)

    def _refuse_key(self, request: web.Request) -> ApiError | None:
        given = request.headers.get("Authorization", "")
        key = given[7:] if given.startswith("Bearer ") else request.headers.get("api-key", "")
        if hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._key):
            return None
        return invalid_key(missing=not key)

    def _open(self, body: dict[str, Any]) -> ModelCard:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise invalid_value("model", "you must provide a model parameter.", None)
        card = self.registry.card(name)
        if card is None:
            raise model_not_found(name, self.registry.names())
        return card

    # Generation

    async def _chat(self, body: dict[str, Any], admitted: _Admitted) -> web.StreamResponse:
        card = self._open(body)
        wanted = read_chat_body(body, card)
        backend = await self.registry.backend(card)
        head = response_bodies.envelope("chat.completion", "chatcmpl", card.reports_model or card.id)
        await _check_context(backend, card, wanted)
        if wanted.stream:
            head["object"] = "chat.completion.chunk"
            return await self._stream(admitted, backend, wanted, head, chat=True)
        replies = await _generate(backend, wanted)
        refusal = _refusal(admitted.fault)
        fault = admitted.fault
        filtered = fault is not None and fault.action == "content_filter"
        return json_response(
            response_bodies.chat_body(head, replies, wanted.logprobs, refusal, filtered), admitted.limits
        )

    async def _complete(self, body: dict[str, Any], admitted: _Admitted) -> web.StreamResponse:
        card = self._open(body)
        wanted = read_completion_body(body, card)
        backend = await self.registry.backend(card)
        head = response_bodies.envelope("text_completion", "cmpl", card.reports_model or card.id)
        await _check_context(backend, card, wanted)
        if wanted.stream:
            return await self._stream(admitted, backend, wanted, head, chat=False)
        replies = await _generate(backend, wanted)
        # The older route has no place for a refusal.
        fault = admitted.fault
        filtered = fault is not None and fault.action in ("content_filter", "refusal")
        body = response_bodies.completion_body(head, replies, wanted.samples, wanted.logprobs, filtered)
        return json_response(body, admitted.limits)

    async def _stream(
        self,
        admitted: _Admitted,
        backend: Backend,
        wanted: ParsedRequest,
        head: dict[str, Any],
        chat: bool,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**admitted.limits, "cache-control": "no-store"})
        response.content_type = "text/event-stream"
        assert admitted.request is not None
        await response.prepare(admitted.request)
        fault = admitted.fault

        async def send(chunk: dict[str, Any]) -> None:
            text = json.dumps(chunk, ensure_ascii=False).encode("utf-8", "surrogatepass")
            await response.write(b"data: " + text + b"\n\n")

        refusal = _refusal(fault)
        withheld = refusal is not None or (fault is not None and fault.action == "content_filter")
        replies = []
        for index, ask in enumerate(wanted.asks):
            if chat:
                first = {"role": "assistant", "content": None if refusal else "", "refusal": None}
                await send(response_bodies.chat_chunk(head, index, first))
                if refusal:
                    await send(response_bodies.chat_chunk(head, index, {"refusal": refusal}))
            offset = 0
            async for item in backend.stream(ask):
                if isinstance(item, Generation):
                    replies.append(item)
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
                    step = item if wanted.logprobs else None
                    await send(response_bodies.chat_chunk(head, index, {"content": item.text}, step))
                else:
                    await send(response_bodies.completion_chunk(head, index, item, offset, wanted.logprobs))
                    offset += len(item.text)
        if wanted.include_usage:
            await send({**head, "choices": [], "usage": response_bodies.usage_of(replies, wanted.samples)})
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _embed(self, body: dict[str, Any], admitted: _Admitted) -> web.StreamResponse:
        card = self._open(body)
        texts, as_base64, dimensions = read_embedding_body(body, card)
        backend = await self.registry.backend(card)
        vectors, tokens = await backend.embed(texts)
        model = card.reports_model or card.id
        return json_response(
            response_bodies.embedding_body(model, vectors, tokens, as_base64, dimensions), admitted.limits
        )

    async def _decide(self, body: dict[str, Any], admitted: _Admitted) -> web.StreamResponse:
        card = self._open(body)
        asked = read_decision_body(body, card)
        backend = await self.registry.backend(card)
        asks = [next_token_request(asked.prompt(question)) for question in asked.questions]
        await _check_context(backend, card, ParsedRequest(asks, False, False, True, "input"))
        fault = admitted.fault
        # There is no finish_reason here: what a filter stops is refused too.
        scripted = fault is not None and fault.action in ("refusal", "content_filter")
        refused = refused_questions(asked.questions, fault.contains if fault and scripted else None)
        found = await decide(backend, asked, refused if scripted else [False] * len(refused))
        model = card.reports_model or card.id
        return json_response(decision_body(model, asked.questions, found), admitted.limits)

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        body = decode_body(await request.read())
        card = self._open(body)
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise invalid_value("prompt", "expected a text.", "invalid_type")
        tokens = await (await self.registry.backend(card)).tokenize(prompt)
        return json_response(
            {
                "count": len(tokens),
                "max_model_len": card.context_tokens,
                "tokens": [token.id for token in tokens],
                "token_strs": [token.text for token in tokens],
            }
        )

    # Models and the test doors

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return json_response({"object": "list", "data": [await self._entry(card) for card in self.registry.cards()]})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        card = self.registry.card(request.match_info["id"])
        if card is None:
            raise model_not_found(request.match_info["id"], self.registry.names())
        return json_response(await self._entry(card))

    async def _entry(self, card: ModelCard) -> dict[str, Any]:
        # The digest of a file given by path takes seconds to compute, once.
        digest = await asyncio.to_thread(self.registry.digest, card) if card.path else self.registry.digest(card)
        return {
            "id": card.id,
            "object": "model",
            "created": self._started,
            "owned_by": "luthier",
            "digest": digest,
            "context_tokens": card.context_tokens,
        }

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return json_response({"status": "ok", "build": build_of_luthier()})

    @web.middleware
    async def _shape_errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        foreign = refused_host(request.host)
        if foreign is not None:
            return _error(foreign)
        try:
            return await handler(request)
        except web.HTTPException as error:
            # aiohttp's own: no such route, another method, a body that is too large.
            refused = self._refuse_key(request)
            wrong = f"Invalid URL ({request.method} {request.path})" if error.status in (404, 405) else error.reason
            return _error(refused or ApiError(error.status, wrong))
        except Exception as error:
            # A bug here: its trace belongs in the log, and the client still gets an error it can read.
            _log.exception("%s %s", request.method, request.path)
            return _error(ApiError(500, f"{type(error).__name__} in the embedded server.", kind="server_error"))

    async def _add_faults(self, request: web.Request) -> web.StreamResponse:
        given = decode_json(await request.read() or b"null")
        rules = given if isinstance(given, list) else [given]
        if not all(isinstance(rule, dict) for rule in rules):
            raise EndpointError("expected a fault, or a list of faults, as JSON objects")
        for fault in [Fault.from_json(rule) for rule in rules]:
            self.faults.add(fault)
        return json_response({"faults": len(self.faults)})

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self.faults.clear()
        return json_response({"faults": 0})

    async def _requests(self, request: web.Request) -> web.StreamResponse:
        return json_response(self.received.to_json())

    async def _clear_requests(self, request: web.Request) -> web.StreamResponse:
        self.received.clear()
        return json_response(self.received.to_json())

    async def _change_models(self, request: web.Request) -> web.StreamResponse:
        body = decode_body(await request.read())
        if set(body) == {"remove"}:
            await self.registry.remove(str(body["remove"]))
        else:
            await self.registry.put(ModelCard.from_json(body))
        return json_response({"models": self.registry.names()})


def _refusal(fault: Fault | None) -> str | None:
    if fault is None or fault.action != "refusal":
        return None
    return fault.message or "I can't help with that."


async def _generate(backend: Backend, wanted: ParsedRequest) -> list[Generation]:
    if len(wanted.asks) == 1:
        return [await backend.generate(wanted.asks[0])]
    return list(await asyncio.gather(*(backend.generate(ask) for ask in wanted.asks)))


def _error(error: ApiError, headers: dict[str, str] | None = None) -> web.Response:
    return json_response(error.body(), {**(headers or {}), **error.headers}, error.status)


def _charge(body: dict[str, Any], raw: bytes) -> int:
    """Tokens to charge before anything is read closely: characters over four, and the answer's room."""
    allowed = body.get("max_completion_tokens") or body.get("max_tokens") or 16
    samples = body.get("n") or 1
    room = allowed * samples if isinstance(allowed, int) and isinstance(samples, int) else 16
    return characters_in(body.get("messages", body.get("prompt", body.get("input", "")))) // 4 + room


async def _check_context(backend: Backend, card: ModelCard, wanted: ParsedRequest) -> None:
    limit = card.context_tokens
    # No tokenizer here makes more than one token of a UTF-8 byte: short prompts need no counting.
    for ask in wanted.asks:
        if ask.sample:
            continue
        turns = [turn.content for turn in ask.messages] if ask.messages is not None else [ask.prompt or ""]
        room = ask.max_tokens or 0
        if sum(4 * len(turn) + 8 for turn in turns) + room <= limit:
            continue
        count = 0
        for turn in turns:
            # Nor fewer than one for 24 characters: a huge text is refused without tokenizing it.
            count += len(turn) // 4 if len(turn) > 24 * limit else len(await backend.tokenize(turn))
            count += 4 if ask.messages is not None else 0
        if count + room > limit:
            raise context_overflow(limit, count, room, wanted.where)
