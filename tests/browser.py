"""A page in a real browser that a test looks into and clicks on, over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.patience import PATIENCE_SECONDS

HEADLESS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

FLAGS = (
    *HEADLESS,
    # A frame of the page is looked into as the page is, in one process.
    "--disable-features=IsolateSandboxedIframes",
    "--disable-site-isolation-trials",
    "--remote-debugging-port=0",
)


def browser_program() -> str:
    """The browser of this machine; without one the test fails."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not found:
        pytest.fail("no chromium here: `apt-get install -y chromium`, or set CHROMIUM to a Chrome or Chromium program")
    return found


class BrowserPage:
    """One page and its frames.

    Attributes:
        console: what was written to the console as an error or a warning, and exceptions nobody caught.
        asked: addresses that were requested over a network.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._contexts: dict[str, int] = {}
        self._main = ""
        self.console: list[str] = []
        self.asked: list[str] = []
        self._listener = asyncio.create_task(self._listen())

    async def open(self, address: str, *, width: int = 1280, height: int = 1000, dark: bool = False) -> None:
        """Opens an address in a window of this size."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        self._main = (await self.send("Page.navigate", url=address))["frameId"]
        await self.until("document.readyState === 'complete'")

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command of the protocol."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._waiting[number], PATIENCE_SECONDS)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def value(self, script: str, frame: int | None = None) -> Any:
        """What an expression gives in the page, or in one of its frames, counted from 0."""
        context = self._contexts.get(self._main if frame is None else self._frame(frame))
        if context is None:
            return None
        try:
            done = await self.send(
                "Runtime.evaluate", expression=script, contextId=context, returnByValue=True, awaitPromise=True
            )
        except RuntimeError:
            return None  # the context went away with a navigation
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    async def until(self, script: str, frame: int | None = None, seconds: float = PATIENCE_SECONDS) -> Any:
        """What an expression gives once it is true."""
        end = asyncio.get_running_loop().time() + seconds
        while not (found := await self.value(script, frame)):
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"not true within {seconds} s: {script}\nconsole: {self.console}")
            await asyncio.sleep(0.1)
        return found

    async def click(self, script: str, frame: int | None = None) -> None:
        """Clicks with the mouse on the middle of the element that an expression gives, once it is there."""
        middle = (
            "(() => { const one = %s; if (!one) return null; one.scrollIntoView({block: 'center'});"
            " const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        x, y = await self.until(middle % script, frame)
        # Dialogs and menus move into their place.
        while True:
            await asyncio.sleep(0.3)
            before, (x, y) = (x, y), await self.until(middle % script, frame)
            if before == (x, y):
                break
        if frame is not None:
            corner = f"document.querySelectorAll('iframe')[{frame}]"
            await self.value(f"{corner}.scrollIntoView({{block: 'start'}})")
            box = await self.value(
                f"(() => {{ const box = {corner}.getBoundingClientRect(); return [box.x, box.y]; }})()"
            )
            x, y = x + box[0], y + box[1]
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def click_text(self, text: str, frame: int | None = None, selector: str = "*") -> None:
        """Clicks on the innermost element that has this text."""
        await self.click(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter((one) =>"
            f" one.textContent.trim() === {json.dumps(text)}).at(-1)",
            frame,
        )

    async def screenshot(self, file: Path) -> None:
        """Writes what the window shows as PNG."""
        taken = await self.send("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(taken["data"]))

    def _frame(self, place: int) -> str:
        frames = [name for name in self._contexts if name != self._main]
        return frames[place] if place < len(frames) else ""

    async def _listen(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
                continue
            given = said["params"]
            match said["method"]:
                case "Runtime.executionContextCreated":
                    context = given["context"]
                    if context["auxData"].get("isDefault"):
                        self._contexts[context["auxData"]["frameId"]] = context["id"]
                case "Runtime.executionContextDestroyed":
                    gone = given["executionContextId"]
                    self._contexts = {name: one for name, one in self._contexts.items() if one != gone}
                case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                    self.console.append(
                        " ".join(str(one.get("value", one.get("description"))) for one in given["args"])
                    )
                case "Runtime.exceptionThrown":
                    details = given["exceptionDetails"]
                    self.console.append(details.get("exception", {}).get("description") or details["text"])
                case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                    self.console.append(given["entry"]["text"])
                case "Network.requestWillBeSent" if given["request"]["url"].startswith("http"):
                    self.asked.append(given["request"]["url"])


@asynccontextmanager
async def browser_page(folder: Path) -> AsyncIterator[BrowserPage]:
    """An empty page in a browser of its own, whose profile is in the folder; a machine without one fails the test."""
    profile = folder / "profile"
    process = await asyncio.create_subprocess_exec(
        browser_program(),
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
    )
    assert process.stderr is not None
    drained = None
    try:
        while not (address := re.search(rb"ws://(\S+?)/", line := await process.stderr.readline())):
            assert line, "the browser ended at its start"
        drained = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address[1].decode()}/json/list") as answer:
                targets = await answer.json()
            page = next(one for one in targets if one["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                opened = BrowserPage(socket)
                yield opened
                opened._listener.cancel()
    finally:
        process.terminate()
        await process.wait()
        if drained is not None:
            await drained
        shutil.rmtree(profile, ignore_errors=True)
