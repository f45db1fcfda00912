"""The way of a request to a route: key -> request log -> rate limit -> scripted fault -> answer.

Only generating routes are charged to the rate limits, and a line of a batch is not. The request log counts the routes
of files, jobs and batches with the method before the path unless that is POST: `fine_tuning/jobs`, `GET files/{id}`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from luthier.errors import LuthierError, MissingPart
from luthier_local.api_errors import ApiError, invalid_key, refused_host
from luthier_local.faults import ConnectionEnded, Fault, FaultRules, break_off
from luthier_local.json_bodies import characters_in, decode_body, json_response
from luthier_local.rate_limits import RateLimits
from luthier_local.request_log import RequestLog

__all__ = ["Admitted", "ApiRequest", "Form", "Router"]

_log = logging.getLogger(__name__)

_PREFIXES = ("/v1", "/openai/v1")
_LARGEST_BODY = 64 * 1024 * 1024
_NO_ANSWER = 0
_HELD_LOOK_SECONDS = 0.01


class Admitted(NamedTuple):
    """A request that a generating route answers."""

    body: dict[str, Any]
    request: web.Request | None = None
    """`None`: a line of a batch, which does not stream."""
    limits: Mapping[str, str] = {}
    """Headers that say what is left of the rate limits."""
    fault: Fault | None = None
    """A scripted fault that changes the answer rather than replacing it."""

    def meets(self, *actions: str) -> bool:
        """Whether a scripted fault of one of these actions changes the answer."""
        return self.fault is not None and self.fault.action in actions


class Form(NamedTuple):
    """A multipart form: its fields, and the temporary file that holds its upload."""

    fields: dict[str, str]
    uploaded: Path | None

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.fields.items())


class ApiRequest(NamedTuple):
    """A request to a route of files, jobs or batches, with its body read."""

    request: web.Request
    raw: bytes
    form: Form | None = None

    def part(self, name: str) -> str:
        """A part of the path, such as `id`."""
        return self.request.match_info[name]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Generator = Callable[[Admitted], Awaitable[web.StreamResponse]]
Answer = dict[str, Any] | web.StreamResponse
Work = Callable[[ApiRequest], Answer | Awaitable[Answer]]
FormReader = Callable[[web.Request], Awaitable[Form]]


class Router:
    """The routes of a server. Every route but `/health` wants the key, and errors have OpenAI's shape.

    Args:
        api_key: Key that requests carry as `Authorization: Bearer KEY` or `api-key: KEY`.
        log: Counts the requests whose key was accepted.
        faults: Scripted faults.
        limits: Rate limits of the generating routes.
        latency_seconds: Added to every answer of a generating route.
    """

    def __init__(
        self, api_key: str, log: RequestLog, faults: FaultRules, limits: RateLimits, latency_seconds: float
    ) -> None:
        self._key = api_key.encode()
        self._log = log
        self._faults = faults
        self._limits = limits
        self._latency = latency_seconds
        self._generators: dict[str, Generator] = {}
        self.web = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._shape_errors])

    @property
    def generating(self) -> tuple[str, ...]:
        """Names of the generating routes, such as `chat/completions`: what a batch may ask."""
        return tuple(self._generators)

    def add_control(self, method: str, path: str, handler: Handler) -> None:
        """Adds a route that is neither counted nor made to fail."""
        self.web.router.add_route(method, path, self._keyed(handler))

    def add_models(self, path: str, handler: Handler) -> None:
        """Adds a GET route below both prefixes that is counted as `models`; only faults that name its path apply."""

        async def answer(request: web.Request) -> web.StreamResponse:
            fault = self._faults.fire(request.path.rstrip("/"), b"", "GET", named=True)
            if fault is not None and fault.replaces_answer:
                return await break_off(fault.action, request)
            await _meet(fault)
            return await handler(request)

        for prefix in _PREFIXES:
            self.add_control("GET", prefix + path, lambda request: self._logged("models", b"", {}, answer(request)))

    def add_generating(self, name: str, generator: Generator) -> None:
        """Adds a POST route below both prefixes that a model answers."""
        self._generators[name] = generator

        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            return await self._logged(name, raw, request.headers, self._generate(name, request, raw))

        for prefix in _PREFIXES:
            self.add_control("POST", f"{prefix}/{name}", handle)

    def add(self, method: str, path: str, work: Work, read_form: FormReader | None = None) -> None:
        """Adds a route of files, jobs or batches below both prefixes.

        Args:
            method: The HTTP method.
            path: Path without prefix, such as `files/{id}`.
            work: Answers the request, with the object to send as JSON or with a response of its own.
            read_form: Reads a body that is a form; faults and the request log see its fields, not its megabytes.
        """
        named = path.replace(":.+", "")
        counted = named if method == "POST" else f"{method} {named}"

        async def handle(request: web.Request) -> web.StreamResponse:
            form = None
            try:
                form = await read_form(request) if read_form is not None else None
                raw = str(form).encode() if form is not None else await request.read()
                answer = self._work(work, ApiRequest(request, raw, form))
                return await self._logged(counted, raw, request.headers, answer)
            except (OSError, sqlite3.Error) as error:
                # A full disk or a folder that is gone: nothing was taken, and the client has to know why.
                message = f"The embedded server cannot use its folder: {error}. Nothing was changed."
                raise ApiError(503, message, kind="server_error", code="storage_unavailable") from error
            finally:
                if form is not None and form.uploaded is not None:
                    form.uploaded.unlink(missing_ok=True)

        for prefix in _PREFIXES:
            self.add_control(method, f"{prefix}/{path}", handle)

    async def answer_line(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answers a line of a batch as the generating route `name` answers a request: the status and the body.

        Faults apply, rate limits do not. It is counted as `batches/NAME`.
        """
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")

        answer = self._ask(name, Admitted(body, fault=self._faults.fire(name, raw)))
        response = await self._logged(f"batches/{name}", raw, {}, answer)
        assert isinstance(response, web.Response) and isinstance(response.body, bytes)
        return response.status, decode_body(response.body)

    def _keyed(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            refused = self._refuse_key(request)
            if refused is not None:
                return _error(refused)
            try:
                return await handler(request)
            except ApiError as error:
                return _error(error)
            except MissingPart as error:
                return _error(ApiError(503, str(error), kind="server_error", code="missing_part"))
            except LuthierError as error:
                return _error(ApiError(400, str(error)))

        return handle

    def _refuse_key(self, request: web.Request) -> ApiError | None:
        given = request.headers.get("Authorization", "")
        key = given[7:] if given.startswith("Bearer ") else request.headers.get("api-key", "")
        if hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._key):
            return None
        return invalid_key(missing=not key)

    async def _logged(
        self, name: str, raw: bytes, headers: Mapping[str, str], answer: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        self._log.arrive(name, raw, headers)
        status = _NO_ANSWER
        try:
            response = await answer
            status = response.status
        except ApiError as error:
            status = error.status
            raise
        except ConnectionEnded:
            return web.Response(status=500)
        finally:
            self._log.leave(status)
        return response

    async def _generate(self, name: str, request: web.Request, raw: bytes) -> web.StreamResponse:
        body = decode_body(raw)
        limits = self._limits.admit(_charge(body))
        # Matched now: rules count requests in the order in which they arrive.
        fault = self._faults.fire(name, raw)
        if self._latency:
            await asyncio.sleep(self._latency)
        if fault is not None and fault.replaces_answer:
            return await break_off(fault.action, request)
        return await self._ask(name, Admitted(body, request, limits, fault))

    async def _ask(self, name: str, admitted: Admitted) -> web.StreamResponse:
        try:
            await _meet(admitted.fault)
            return await self._generators[name](admitted)
        except ApiError as error:
            return _error(error, admitted.limits)
        except LuthierError as error:
            # A backend that cannot start: its weights are missing, or its file is no GGUF.
            unavailable = ApiError(503, str(error), kind="server_error", code="backend_unavailable")
            return _error(unavailable, admitted.limits)

    async def _work(self, work: Work, received: ApiRequest) -> web.StreamResponse:
        request = received.request
        fault = self._faults.fire(request.path.rstrip("/"), received.raw, request.method)
        if fault is not None and fault.replaces_answer:
            return await break_off(fault.action, request)
        await _meet(fault)
        answer = work(received)
        if isinstance(answer, Awaitable):
            answer = await answer
        response = json_response(answer) if isinstance(answer, dict) else answer
        if fault is not None and fault.loses_answer:
            return await break_off(fault.action.removeprefix("done_"), request)
        return response

    @web.middleware
    async def _shape_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
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


async def _meet(fault: Fault | None) -> None:
    """Does what a scripted fault does before the work: raises its error, or waits."""
    if fault is not None:
        error = fault.error()
        if error is not None:
            raise error
        if fault.action == "slow":
            await asyncio.sleep(fault.delay_seconds)
        while fault.action == "held" and not fault.removed:
            await asyncio.sleep(_HELD_LOOK_SECONDS)


def _error(error: ApiError, headers: Mapping[str, str] | None = None) -> web.Response:
    return json_response(error.body(), {**(headers or {}), **error.headers}, error.status)


def _charge(body: dict[str, Any]) -> int:
    """Tokens to charge before anything is read closely: characters over four, and the answer's room."""
    allowed = body.get("max_completion_tokens") or body.get("max_tokens") or 16
    samples = body.get("n") or 1
    room = allowed * samples if isinstance(allowed, int) and isinstance(samples, int) else 16
    return characters_in(body.get("messages", body.get("prompt", body.get("input", "")))) // 4 + room
