"""What a hostile or broken service sends is read within bounds."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from luthier.providers.transport import Reply, Transport, TransportFault
from tests.patience import PATIENCE_SECONDS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def announced(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(1 << 40)})
    await response.prepare(request)
    await response.write(b"{")
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    async for part in _blanks():
        await response.write(part)
    return response


async def _blanks() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 1_000_000
        await asyncio.sleep(0)


async def packed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b" " * 200_000_000, 1), headers={"Content-Encoding": "gzip"})


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def asked(handler: Handler, timeout_seconds: float) -> Reply | TransportFault:
    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    transport = Transport()
    try:
        port = runner.addresses[0][1]
        return await transport.send(f"http://127.0.0.1:{port}/", {}, timeout_seconds, b"{}", direct=True)
    finally:
        await transport.close()
        await runner.cleanup()


@pytest.mark.parametrize("handler", [announced, endless, packed])
def test_an_answer_of_any_size_is_given_up_at_a_bound(handler: Handler) -> None:
    answer = asyncio.run(asked(handler, PATIENCE_SECONDS))
    assert isinstance(answer, TransportFault)
    assert "more than 64,000,000 bytes" in answer.message


def test_a_body_that_drips_is_a_timeout() -> None:
    answer = asyncio.run(asked(dripping, 0.2))
    assert isinstance(answer, TransportFault)
    assert answer.kind == "timeout"
