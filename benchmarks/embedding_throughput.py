"""How fast the engine has texts embedded, beside the SDK: one text a call, and as many a call as the engine sends.

    python benchmarks/embedding_throughput.py [--texts 4000] [--repeats 3] [--upstream stub|wordllama]

`stub` answers from a process of its own after 100 ms, whatever was asked, with 1,536 numbers a text, so that the
clients are what is measured. `wordllama` is the embedded server over its pinned table, as the quickstart uses it.
Every contestant runs in a fresh process, warm (imports done, one text sent), 16 calls in flight; the repeats are
interleaved and the medians compared. The engine has everything on: journal on disk, one row a text, limiter,
deduplication, cost. `again` is the engine a second time over the same texts: nothing is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from upstream import serve_application

CONTESTANTS = ("engine", "again", "sdk", "sdk-singly")
LATENCY_SECONDS = 0.1
IN_FLIGHT = 16
DIMENSIONS = 1536
MODEL = "text-embedding-3-small"


def text(row: int) -> str:
    return f"Review {row}: the soup was cold, the waiter kind, we stayed late and came back the next day."


def serve_stub() -> None:
    """A server that does nothing but wait and answer."""
    from aiohttp import web

    vector = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *(1 / (n + 1) for n in range(DIMENSIONS)))).decode()

    async def embeddings(request: web.Request) -> web.Response:
        count = len((await request.json())["input"])
        await asyncio.sleep(LATENCY_SECONDS)
        items = [{"object": "embedding", "index": n, "embedding": vector} for n in range(count)]
        usage = {"prompt_tokens": 20 * count, "total_tokens": 20 * count}
        return web.json_response({"object": "list", "data": items, "model": MODEL, "usage": usage})

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/v1/embeddings", embeddings)
    serve_application(application)


def serve_wordllama() -> None:
    """The embedded server with the model that embeds."""
    import threading

    from luthier_local import LocalServer, ModelCard

    card = ModelCard(MODEL, backend="wordllama", chat=False, completions=False, embeddings=True)
    with LocalServer(models=[card], api_key="sk-none") as server:
        print(server.port, flush=True)
        threading.Event().wait()


async def with_engine(url: str, rows: int, again: bool) -> tuple[float, float]:
    from luthier.endpoints import Endpoint, Engine, Journal, Limits, Price, Request

    os.environ["BENCH_KEY"] = "sk-none"
    endpoint = Endpoint(
        provider="compatible",
        model=MODEL,
        base_url=url,
        api_key_env="BENCH_KEY",
        limits=Limits(concurrency=IN_FLIGHT, requests_per_minute=1_000_000, tokens_per_minute=1_000_000_000),
        price=Price(input_usd_per_million=0.02, output_usd_per_million=0),
    )
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Journal(Path(folder) / "journal.db"))

        async def embed(some: range) -> None:
            answers = await engine.arun([Request("embedding", {"input": text(row)}) for row in some], endpoint)
            assert all(answer.embedding and answer.cost_usd for answer in answers)

        try:
            await embed(range(rows, rows + 1))
            if again:
                await embed(range(rows))
            wall, cpu = time.perf_counter(), time.process_time()
            await embed(range(rows))
            return time.perf_counter() - wall, time.process_time() - cpu
        finally:
            await asyncio.to_thread(engine.close)


async def with_sdk(url: str, rows: int, texts_a_call: int) -> tuple[float, float]:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none", max_retries=0) as client:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def call(some: Sequence[int]) -> list[list[float]]:
            async with gate:
                answer = await client.embeddings.create(model=MODEL, input=[text(row) for row in some])
                return [item.embedding for item in answer.data]

        await call([rows])
        wall, cpu = time.perf_counter(), time.process_time()
        calls = [range(begin, min(rows, begin + texts_a_call)) for begin in range(0, rows, texts_a_call)]
        found = await asyncio.gather(*(call(some) for some in calls))
        assert sum(map(len, found)) == rows
        return time.perf_counter() - wall, time.process_time() - cpu


def contest(name: str, url: str, rows: int) -> None:
    from luthier.engine.lanes import MOST_TEXTS

    if name in ("engine", "again"):
        wall, cpu = asyncio.run(with_engine(url, rows, name == "again"))
    else:
        wall, cpu = asyncio.run(with_sdk(url, rows, MOST_TEXTS if name == "sdk" else 1))
    print(json.dumps({"texts_a_second": rows / wall, "cpu_ms": 1000 * cpu / rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--upstream", default="stub", choices=("stub", "wordllama"))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve_stub() if given.upstream == "stub" else serve_wordllama()
        return
    if given.contestant:
        contest(given.contestant[0], given.contestant[1], given.texts)
        return
    me = [sys.executable, __file__, "--texts", str(given.texts), "--upstream", given.upstream]
    upstream = subprocess.Popen([*me, "--serve"], stdout=subprocess.PIPE, text=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    try:
        assert upstream.stdout is not None
        url = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
        for _ in range(given.repeats):
            for name in CONTESTANTS:
                ran = subprocess.run([*me, "--contestant", name, url], capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(f"{name} failed:\n{ran.stderr[-3000:]}")
                results[name].append(json.loads(ran.stdout.splitlines()[-1]))
    finally:
        upstream.terminate()
        upstream.wait()
    rates = {name: statistics.median(run["texts_a_second"] for run in runs) for name, runs in results.items()}
    print(f"{given.texts} texts, upstream {given.upstream}, {IN_FLIGHT} calls in flight, {os.cpu_count()} cores")
    print(f"{'':12}{'texts/s':>10}{'of sdk':>10}{'CPU ms/text':>13}   all rates")
    for name, runs in results.items():
        cpu = statistics.median(run["cpu_ms"] for run in runs)
        every = ", ".join(f"{run['texts_a_second']:.0f}" for run in runs)
        print(f"{name:12}{rates[name]:>10.0f}{rates[name] / rates['sdk']:>10.2f}{cpu:>13.2f}   {every}")


if __name__ == "__main__":
    main()
