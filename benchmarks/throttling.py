"""What is made of a service that throttles: the engine beside the openai client's own retries.

    python benchmarks/throttling.py [--rows 900] [--per-second 10] [--burst 5] [--modes none seconds ...]

The upstream runs in a process of its own and answers after 100 ms. It allows so many requests a second, from a bucket
that holds the burst, and says so in one of the ways services do: Retry-After in whole seconds, in milliseconds, as a
date, not at all, or with x-ratelimit headers. In the mode `random` it has no limit and answers 5% with 429 whatever
is sent. All contestants have 64 requests in flight at most and run at the same time, each against a limit of its own;
a row that fails is not asked again. Takes a minute and a half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from email.utils import formatdate

from upstream import serve_application

MODES = ("seconds", "ms", "date", "none", "headers", "random")
CONTESTANTS = ("engine", "sdk")
LATENCY_SECONDS = 0.1
IN_FLIGHT = 64


class Upstream:
    """One limit, as one mode tells it."""

    def __init__(self, mode: str, per_second: float, burst: float) -> None:
        self.mode, self.per_second, self.burst = mode, per_second, burst
        self.level, self.at = burst, time.monotonic()
        self.statuses: Counter[int] = Counter()
        self.first = self.last = 0.0
        self.random = random.Random(7)

    def admit(self) -> tuple[int, dict[str, str]]:
        if self.mode == "random":
            wait = float(self.random.randint(0, 1))
            return (429, {"retry-after": f"{wait:.0f}"}) if self.random.random() < 0.05 else (200, {})
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.at) * self.per_second)
        self.at = now
        status = 200 if self.level >= 1 else 429
        self.level -= status == 200
        wait = max(0.0, 1 - self.level) / self.per_second
        headers = {}
        if self.mode == "headers":
            headers = {
                "x-ratelimit-limit-requests": f"{60 * self.per_second:g}",
                "x-ratelimit-remaining-requests": f"{math.floor(self.level)}",
                "x-ratelimit-reset-requests": f"{(self.burst - self.level) / self.per_second:.3f}s",
            }
        if status == 429:
            headers |= {
                "seconds": {"retry-after": f"{math.ceil(wait)}"},
                "ms": {"retry-after-ms": f"{1000 * wait:.0f}"},
                "date": {"retry-after": formatdate(time.time() + math.ceil(wait), usegmt=True)},
                "headers": {"retry-after": f"{math.ceil(wait)}"},
            }.get(self.mode, {})
        return status, headers


def serve(per_second: float, burst: float) -> None:
    from aiohttp import web

    upstreams: dict[str, Upstream] = {}
    message = {"role": "assistant", "content": "4", "refusal": None}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
    }

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        name = request.match_info["name"]
        upstream = upstreams.setdefault(name, Upstream(name.split("-")[0], per_second, burst))
        status, headers = upstream.admit()
        upstream.statuses[status] += 1
        if status == 429:
            return web.json_response({"error": {"message": "Slow down."}}, status=429, headers=headers)
        upstream.first = upstream.first or time.monotonic()
        upstream.last = time.monotonic()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.json_response(answer, headers=headers)

    async def told(request: web.Request) -> web.Response:
        return web.json_response(
            {name: {"statuses": up.statuses, "seconds": up.last - up.first} for name, up in upstreams.items()}
        )

    application = web.Application()
    application.router.add_post("/{name}/v1/chat/completions", chat)
    application.router.add_get("/told", told)
    serve_application(application)


async def with_engine(url: str, rows: int) -> int:
    from luthier.endpoints import Engine, Journal, Limits, Request, compatible

    engine = Engine(Journal.in_memory())
    endpoint = compatible("m", url, limits=Limits(concurrency=IN_FLIGHT))
    questions = [
        Request("chat", {"messages": [{"role": "user", "content": f"Stars for review {row}:"}], "max_tokens": 2})
        for row in range(rows)
    ]
    answers = await engine.arun(questions, endpoint)
    await asyncio.to_thread(engine.close)
    return sum(answer.failure is not None for answer in answers)


async def with_sdk(url: str, rows: int) -> int:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none") as client:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def failed(row: int) -> bool:
            async with gate:
                content = f"Stars for review {row}:"
                try:
                    await client.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": content}], max_tokens=2
                    )
                except (openai.RateLimitError, openai.APIConnectionError):
                    return True
                return False

        return sum(await asyncio.gather(*(failed(row) for row in range(rows))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--per-second", type=float, default=10.0)
    parser.add_argument("--burst", type=float, default=5.0)
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--without", nargs="*", default=[], choices=CONTESTANTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.per_second, given.burst)
        return
    if given.contestant:
        name, url = given.contestant
        print(asyncio.run({"engine": with_engine, "sdk": with_sdk}[name](url, given.rows)))
        return
    import urllib.request

    me = [sys.executable, __file__, "--rows", str(given.rows)]
    serving = [*me, "--per-second", str(given.per_second), "--burst", str(given.burst), "--serve"]
    upstream = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    names = [f"{mode}-{who}" for mode in given.modes for who in CONTESTANTS if who not in given.without]
    try:
        assert upstream.stdout is not None
        address = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
        running = {
            name: subprocess.Popen(
                [*me, "--contestant", name.split("-")[1], f"{address}/{name}/v1"], stdout=subprocess.PIPE, text=True
            )
            for name in names
        }
        failed = {name: int(process.communicate()[0]) for name, process in running.items()}
        with urllib.request.urlopen(f"{address}/told") as reply:
            told = json.load(reply)
    finally:
        upstream.terminate()
        upstream.wait()
    print(f"{given.rows} rows, {given.per_second:g} a second allowed, burst {given.burst:g}, {IN_FLIGHT} in flight")
    print(f"{'told by':10}{'who':8}{'rows/s':>9}{'of allowed':>12}{'of requests 429':>17}{'rows failed':>13}")
    for name in names:
        mode, who = name.split("-")
        accepted, refused = (told[name]["statuses"].get(status, 0) for status in ("200", "429"))
        rate = (accepted - 1) / told[name]["seconds"]
        share = "-" if mode == "random" else f"{rate / given.per_second:.2f}"
        pushed = f"{100 * refused / (accepted + refused):.1f}%"
        print(f"{mode:10}{who:8}{rate:>9.1f}{share:>12}{pushed:>17}{failed[name]:>13}")


if __name__ == "__main__":
    main()
