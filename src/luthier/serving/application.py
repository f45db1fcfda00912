"""The application behind the server: its paths, whom it lets in, what it refuses, and what it says of its requests."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from luthier.serving.refusals import Refusal
from luthier.serving.scoring_protocol import (
    LARGE_BYTES,
    LARGE_ROWS,
    read_request,
    write_predictions,
    write_refusal,
)
from luthier.serving.served_model import ScoringAnswer, ScoringRequest, ServedModel
from luthier.serving.served_request import Observer, ServedRequest
from luthier.serving.settings import LOOPBACK, ServerSettings

__all__ = ["Keys", "Page", "ScoringApplication"]

log = logging.getLogger("luthier.serving")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

SPARE_SECONDS = 1.0
"""What a model gets beyond a request's time to say itself that it is over."""

LARGEST_BODIES = 4
"""Bodies of the largest size that are in at one time, or more smaller ones. JSON takes up to 25 times its size."""

PAGE_HEADERS = {"content-security-policy": "frame-ancestors 'none'", "cache-control": "no-store"}
"""Of pages, beside the policy in a page itself: a page cannot say who may frame it."""

CLIENT_GONE = 499
"""The status that is noted where no client is left to send one to; nginx calls it so."""

CODES = {404: "ENDPOINT_NOT_FOUND", 405: "BAD_REQUEST"}
"""MLflow's names for what the router refuses."""

Page = Callable[[], tuple[bytes, str]]
"""Makes a page: its body and its media type."""


class Keys(Protocol):
    """Whom the server lets in."""

    def label_of(self, key: str) -> str | None:
        """The label of a key, `None` if it is none of these."""
        ...


@dataclass(slots=True)
class _Exchange:
    """What is known of a request while it is answered; kept in the scope."""

    request_id: str
    began: float
    key: str | None = None
    error_code: str | None = None
    answer: ScoringAnswer | None = None
    status: int = CLIENT_GONE
    failed: bool = False
    body_bytes: int = 0


class ScoringApplication:
    """Answers HTTP with a model, as an ASGI application.

    `/invocations` needs a key where there are keys. The other paths never do: they hold no text of a row.

    Args:
        model: what answers.
        settings: what is refused.
        keys: whom it lets in; `None` lets in every request that names this machine as the host.
        revision: of the deployment, for the header `X-Luthier-Revision`.
        observers: are told of every request.
        metrics: makes the page of `/metrics`; run in a thread.
        document: makes the page of `/openapi.json`.
        docs: makes the page of `/docs`.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServerSettings,
        *,
        keys: Keys | None = None,
        revision: int | None = None,
        observers: Sequence[Observer] = (),
        metrics: Page | None = None,
        document: Page | None = None,
        docs: Page | None = None,
    ) -> None:
        self.model, self.settings, self.keys = model, settings, keys
        self.observers = tuple(observers)
        self.in_flight = 0
        """Requests to `/invocations` whose headers have come and whose answer has not gone."""
        self.body_bytes = 0
        """Bytes of bodies that have come and whose answers have not gone."""
        self._pages = {"/metrics": metrics, "/openapi.json": document, "/docs": docs}
        self._own_headers = [(b"x-content-type-options", b"nosniff")]
        if model.facts.version is not None:
            self._own_headers.append((b"x-luthier-model-version", model.facts.version.encode("latin-1", "replace")))
        if revision is not None:
            self._own_headers.append((b"x-luthier-revision", str(revision).encode()))
        routes = [
            Route("/invocations", self._invocations, methods=["POST"]),
            Route("/ping", _alive),
            Route("/health", _alive),
            Route("/ready", self._ready),
            Route("/version", _version),
            Route("/", _to_docs),
            *(Route(path, self._page) for path, page in self._pages.items() if page is not None),
        ]
        self._paths = frozenset(route.path for route in routes)
        self._routes = Starlette(
            routes=routes,
            exception_handlers={
                Refusal: _refuse,
                HTTPException: _refuse_path,
                ClientDisconnect: _client_gone,
                Exception: _fail,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and tells the observers of it.

        ASGI itself rather than starlette's `BaseHTTPMiddleware`, which costs half of the throughput.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"the server answers HTTP, not {scope['type']}; uvicorn has to run with lifespan off")
        path = scope["path"] if scope["path"] in self._paths else "other"
        seen = _Exchange(_request_id(scope), time.perf_counter())
        scope["luthier"] = seen
        headers = [*self._own_headers, (b"x-request-id", seen.request_id.encode())]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        scoring = path == "/invocations"
        self.in_flight += scoring
        for observer in self.observers:
            observer.began(path)
        try:
            await self._routes(scope, receive, send_with_headers)
        except Exception:
            # Starlette raises a bug again once `_fail` has logged it and its answer is sent.
            if not seen.failed:
                raise
        finally:
            self.in_flight -= scoring
            self.body_bytes -= seen.body_bytes
            told = ServedRequest(
                request_id=seen.request_id,
                method=scope["method"],
                path=path,
                status=seen.status,
                seconds=time.perf_counter() - seen.began,
                key=seen.key,
                error_code=seen.error_code,
                answer=seen.answer,
            )
            for observer in self.observers:
                observer.observed(told)

    async def _invocations(self, request: Request) -> Response:
        seen: _Exchange = request.scope["luthier"]
        self._let_in(request, seen)
        if self.in_flight > self.settings.most_requests:
            # Before its body is read: bodies of requests that wait fill the memory.
            raise Refusal(
                429, "REQUEST_LIMIT_EXCEEDED", "The server has as many requests as it takes.", retry_after_seconds=1
            )
        until = seen.began + _seconds_for(request, self.settings.timeout_seconds)
        body = await self._body(request, seen)
        asked = await self._decoded(request, body)
        del body
        seen.answer = await self._answer(asked, until - time.perf_counter(), request.receive)
        if seen.answer.rows > LARGE_ROWS:
            written = await asyncio.to_thread(write_predictions, seen.answer.predictions)
        else:
            written = write_predictions(seen.answer.predictions)
        return Response(written, media_type="application/json")

    async def _body(self, request: Request, seen: _Exchange) -> bytes:
        """The whole body; its bytes are counted until it is answered.

        Raises:
            Refusal: 413, as soon as it is known to be too large; 429, there is no room for it beside the others.
            ClientDisconnect: the client has gone before its end.
        """
        most_bytes = self.settings.most_bytes
        too_large = Refusal(
            413, "INVALID_PARAMETER_VALUE", f"The body is larger than {most_bytes} bytes; send it in parts."
        )
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > most_bytes:
            raise too_large
        pieces = []
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message.get("body", b"")
            seen.body_bytes += len(piece)
            self.body_bytes += len(piece)
            if seen.body_bytes > most_bytes:
                raise too_large
            if self.body_bytes > LARGEST_BODIES * most_bytes:
                raise Refusal(
                    429,
                    "REQUEST_LIMIT_EXCEEDED",
                    "The server has as many large requests as it takes; send this one again later, or in parts.",
                    retry_after_seconds=1,
                )
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def _answer(self, asked: ScoringRequest, seconds: float, receive: Receive) -> ScoringAnswer:
        """What the model answers; its work ends with the request's time, and when the client goes.

        Raises:
            Refusal: 504, or what the model refuses.
            ClientDisconnect: the client no longer waits for the answer.
        """
        work = asyncio.current_task()
        assert work is not None
        watching = asyncio.create_task(_cancel_when_client_goes(receive, work))
        clock = asyncio.timeout(max(seconds, 0.0) + SPARE_SECONDS)
        try:
            async with clock:
                return await self.model.answer(asked, max(seconds, 0.0))
        except TimeoutError:
            if not clock.expired():
                raise
            raise Refusal(
                504, "DEADLINE_EXCEEDED", "The request's time is over; send fewer rows, or allow it more time."
            ) from None
        except asyncio.CancelledError:
            if not watching.done():
                raise
            work.uncancel()
            raise ClientDisconnect from None
        finally:
            watching.cancel()

    async def _decoded(self, request: Request, body: bytes) -> ScoringRequest:
        kind = request.headers.get("content-type")
        decode = functools.partial(
            read_request,
            body,
            kind,
            most_rows=self.settings.most_rows,
            most_bytes=self.settings.most_bytes,
            content_encoding=request.headers.get("content-encoding"),
        )
        # Reading tables imports pyarrow the first time, which takes as long as a large body.
        is_quick = len(body) <= LARGE_BYTES and (kind or "").lower().startswith("application/json")
        return decode() if is_quick else await asyncio.to_thread(decode)

    def _let_in(self, request: Request, seen: _Exchange) -> None:
        """Refuses a request without a valid key.

        Raises:
            Refusal: 401, or 400 for a server without keys that is asked under another name.
        """
        if _is_private(request):
            return
        if self.keys is None:
            self._check_host(request)
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # A front may let people in by Authorization and pass that on: then the key of the server is in X-API-Key.
        key = request.headers.get("x-api-key", "").strip() or (token.strip() if scheme.lower() == "bearer" else "")
        if not key:
            raise Refusal(
                401,
                "UNAUTHENTICATED",
                "No API key was given; send it as header Authorization: Bearer KEY, or X-API-Key.",
            )
        seen.key = self.keys.label_of(key)
        if seen.key is None:
            raise Refusal(401, "UNAUTHENTICATED", "The API key is not one that this server lets in.")

    def _check_host(self, request: Request) -> None:
        """Refuses a request that calls a server without keys by another name than this machine's.

        Raises:
            Refusal: 400.
        """
        host = request.headers.get("host", "").lower()
        # A page of another site can give this machine's address a name of its own, and ask as if it were ours.
        is_local = self.keys is None and self.settings.host in LOOPBACK and not _is_private(request)
        if host and is_local and _without_port(host) not in LOOPBACK:
            raise Refusal(
                400, "BAD_REQUEST", f"A server without keys is asked as one of {', '.join(LOOPBACK)} (header Host)."
            )

    async def _ready(self, request: Request) -> Response:
        self._check_host(request)
        readiness = self.model.readiness()
        status = 200 if readiness.is_ready else 503
        headers = {} if readiness.is_ready else {"retry-after": "5"}
        body = {"ready": readiness.is_ready, "checks": dict(readiness.checks)}
        return JSONResponse(body, status, headers=headers)

    async def _page(self, request: Request) -> Response:
        self._check_host(request)
        page = self._pages[request.url.path]
        assert page is not None
        body, media_type = await asyncio.to_thread(page)
        return Response(body, headers=PAGE_HEADERS, media_type=media_type)


async def _alive(request: Request) -> Response:
    return Response(b"\n", media_type="application/json")


async def _version(request: Request) -> Response:
    return PlainTextResponse(_protocol_version())


@functools.cache
def _protocol_version() -> str:
    try:
        return importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        # An image that serves Luthier's models leaves MLflow out.
        return importlib.metadata.version("luthier")


async def _to_docs(request: Request) -> Response:
    return RedirectResponse("/docs")


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    seen: _Exchange = request.scope["luthier"]
    seen.error_code = refusal.error_code
    headers = {}
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after_seconds)))
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(write_refusal(refusal), refusal.status, headers, "application/json")


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "The server has no such path." if error.status_code == 404 else f"{error.detail}."
    answer = await _refuse(request, Refusal(error.status_code, CODES.get(error.status_code, "BAD_REQUEST"), said))
    answer.headers.update(error.headers or {})
    return answer


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _fail(request: Request, error: Exception) -> Response:
    seen: _Exchange = request.scope["luthier"]
    seen.failed = True
    log.error("request %s failed", seen.request_id, exc_info=error)
    said = f"The server failed; its log says why, under request id {seen.request_id}."
    return await _refuse(request, Refusal(500, "INTERNAL_ERROR", said))


async def _cancel_when_client_goes(receive: Receive, work: asyncio.Task[object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def _is_private(request: Request) -> bool:
    """Whether it came by a socket that no other user can reach."""
    listener = request.scope.get("state", {}).get("listener")
    return listener is not None and not listener.needs_key


def _request_id(scope: Scope) -> str:
    """The client's own id where it is plain, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and (given := REQUEST_ID.fullmatch(value.decode("latin-1"))):
            return given[0]
    return secrets.token_hex(16)


def _seconds_for(request: Request, most: float) -> float:
    """Seconds that a request may take: the header's, and the server's at most.

    Raises:
        Refusal: 400, the header is no number above 0.
    """
    given = request.headers.get("x-request-timeout-seconds")
    if given is None:
        return most
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise Refusal(
            400, "INVALID_PARAMETER_VALUE", "The header X-Request-Timeout-Seconds has to be a number above 0."
        )
    return min(seconds, most)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
