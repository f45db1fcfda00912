"""A chat server that does nothing but wait and answer, so that its clients are what is measured.

It reads just enough of HTTP to know where a request ends: at 10,000 requests a second a web framework would be measured
instead of the client. Benchmarks start it as a process of its own with `running`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MODEL", "running", "serve_application"]

MODEL = "gpt-4o-mini"
RETRY_AFTER_SECONDS = 1
SEED = 14


def reply(status: int, body: object, headers: str = "") -> bytes:
    packed = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(packed)}\r\n{headers}\r\n"
    return head.encode() + packed


ANSWERED = reply(
    200,
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4", "refusal": None}}
        ],
        "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
    },
)
REFUSED = reply(
    429,
    {"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}},
    f"Retry-After: {RETRY_AFTER_SECONDS}\r\n",
)
FAILED = reply(500, {"error": {"message": "The server had an error.", "type": "server_error", "code": None}})


class Connection(asyncio.Protocol):
    """One client's connection; requests on it are answered in their order, each `latency` seconds after it came."""

    def __init__(self, latency: float, refused: float, failed: float, chance: random.Random) -> None:
        self._latency, self._refused, self._failed, self._chance = latency, refused, failed, chance
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            drawn = self._chance.random()
            said = REFUSED if drawn < self._refused else FAILED if drawn < self._refused + self._failed else ANSWERED
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, said)


def serve_application(application: web.Application) -> None:
    """Serves an application of aiohttp on a free port of loopback, which is printed, until the process is ended."""
    from aiohttp import web

    async def main() -> None:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


@contextlib.contextmanager
def running(latency_seconds: float, refused: float = 0.0, failed: float = 0.0) -> Iterator[str]:
    """Starts it; gives its base URL.

    Args:
        latency_seconds: before every answer.
        refused: share of requests answered with 429 and a `Retry-After` of one second.
        failed: share of requests answered with 500.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(latency_seconds), str(refused), str(failed)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


async def serve(latency: float, refused: float, failed: float) -> None:
    chance = random.Random(SEED)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(latency, refused, failed, chance), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("latency", "refused", "failed"):
        parser.add_argument(name, type=float)
    given = parser.parse_args()
    asyncio.run(serve(given.latency, given.refused, given.failed))
