"""The way of a request to files, jobs and batches: key -> request log -> scripted fault -> work.

Unlike the generating routes they are not charged to the rate limits. The request log counts them under their
route, with the method before it unless that is POST: `fine_tuning/jobs`, `GET files/{id}`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from luthier_local.api_errors import ApiError
from luthier_local.faults import Unanswered, break_off

if TYPE_CHECKING:
    from luthier_local.app import Application

__all__ = ["PREFIXES", "Form", "ApiRequest", "add_route"]

PREFIXES = ("/v1", "/openai/v1")


class Form(NamedTuple):
    """A multipart form read: its fields, and where its file lies for the time being."""

    fields: dict[str, str]
    uploaded: Path | None

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.fields.items())


class ApiRequest(NamedTuple):
    """A request with its body read."""

    request: web.Request
    raw: bytes
    form: Form | None = None

    def part(self, name: str) -> str:
        """A part of the path, such as `id`."""
        return self.request.match_info[name]


Work = Callable[[ApiRequest], Awaitable[web.StreamResponse]]
FormReader = Callable[[web.Request], Awaitable[Form]]


def add_route(
    application: Application,
    method: str,
    path: str,
    work: Work,
    read_form: FormReader | None = None,
) -> None:
    """Adds a route below both prefixes.

    Args:
        application: What the route is added to.
        method: The HTTP method.
        path: Path without prefix, such as `files/{id}`.
        work: Answers the request.
        read_form: Reads a body that is a form; faults and the request log see its fields, not its megabytes.
    """
    named = path.replace(":.+", "")
    counted = named if method == "POST" else f"{method} {named}"

    async def handle(request: web.Request) -> web.StreamResponse:
        status = 0
        form = await read_form(request) if read_form is not None else None
        raw = str(form).encode() if form is not None else await request.read()
        application.received.arrive(counted, raw, request.headers)
        try:
            response = await _answer(application, work, ApiRequest(request, raw, form))
            status = response.status
        except ApiError as error:
            status = error.status
            raise
        except Unanswered:
            return web.Response(status=500)
        finally:
            if form is not None and form.uploaded is not None:
                form.uploaded.unlink(missing_ok=True)
            application.received.leave(status)
        return response

    async def within(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except (OSError, sqlite3.Error) as error:
            # A full disk, a folder that is gone: nothing was taken, and whoever asks has to know why.
            message = f"The embedded server cannot use its folder: {error}. Nothing was changed."
            raise ApiError(503, message, kind="server_error", code="storage_unavailable") from error

    for prefix in PREFIXES:
        application.add(method, f"{prefix}/{path}", within)


async def _answer(application: Application, work: Work, received: ApiRequest) -> web.StreamResponse:
    request = received.request
    fault = application.faults.fire(request.path.rstrip("/"), received.raw, request.method)
    if fault is None:
        return await work(received)
    error = fault.error()
    if error is not None:
        raise error
    if fault.action == "slow":
        await asyncio.sleep(fault.delay_seconds)
    elif fault.replaces_answer:
        return await break_off(fault.action, request)
    response = await work(received)
    if fault.loses_answer:
        return await break_off(fault.action.removeprefix("done_"), request)
    return response
