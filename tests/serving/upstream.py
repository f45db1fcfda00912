"""An upstream that a test makes well, slow, absent or wrong while it is asked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from aiohttp import web

from tests.patience import PATIENCE_SECONDS

__all__ = ["Upstream", "an_upstream"]

Mood = Literal["well", "hangs", "garbage", "no key", "no money", "errors", "told to wait"]

ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "no key": (401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}),
    "no money": (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
    "errors": (500, {"error": {"message": "oops"}}),
}


class Upstream:
    """Answers chats with "4" in `seconds`; lists models while it is well, hangs, or says garbage in chats.

    Where `most` is set, it answers so many chats and hangs in those that follow.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.mood: Mood = "well"
        self.seconds = seconds
        self.most: int | None = None
        self.chats: list[str] = []
        self.answered: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        self._run(self._start())

    def stop(self) -> None:
        """Ends at once; what was asked gets no answer."""
        self._run(self._stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    async def _start(self) -> None:
        self._stopping = asyncio.Event()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self.port = self._listening.getsockname()[1]
        await web.SockSite(self._runner, self._listening).start()

    async def _stop(self) -> None:
        self._stopping.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            # Python 3.11 never closes a connection that is being accepted while its server closes, and a later test
            # would be blamed for it. So no more are accepted, and those that were get to their end first.
            asyncio.get_running_loop().remove_reader(self._listening)
            await asyncio.sleep(0)
            await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        text = str(document["messages"][-1]["content"])
        self.chats.append(text)
        if self.mood == "hangs" or (self.most is not None and len(self.chats) > self.most):
            await self._stopping.wait()
        if self.mood == "garbage":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        if self.mood == "told to wait":
            body = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return web.json_response(body, status=429, headers={"Retry-After": "30"})
        if self.mood in ERRORS:
            status, body = ERRORS[self.mood]
            return web.json_response(body, status=status)
        await asyncio.sleep(self.seconds)
        self.answered.append(text)
        message = {"role": "assistant", "content": "4"}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"id": "1", "object": "chat.completion", "choices": choices, "usage": usage})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if self.mood == "hangs":
            await self._stopping.wait()
        if self.mood == "no key":
            return web.json_response(ERRORS["no key"][1], status=401)
        return web.json_response({"object": "list", "data": [{"id": "some-model", "object": "model"}]})


@contextmanager
def an_upstream(seconds: float = 0.0) -> Iterator[Upstream]:
    """An upstream that ends with the block."""
    made = Upstream(seconds)
    try:
        yield made
    finally:
        made.close()
