"""How much the engine costs: rows per second and CPU beside a bare client, the SDK and mlflow.openai.

    python benchmarks/engine_throughput.py [--rows 1000] [--repeats 3] [--without mlflow]

The upstream answers after 100 ms from a process of its own; 64 requests are in flight (mlflow.openai
has its own 10 threads). Every contestant runs in a fresh process, warm (imports done, one request
sent); the repeats are interleaved and the medians compared. The engine has everything on: journal on
disk, limiter, deduplication, cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

CONTESTANTS = ("aiohttp", "engine", "sdk", "mlflow")
LATENCY_SECONDS = 0.1
IN_FLIGHT = 64
MODEL = "gpt-4o-mini"


def prompt(row: int) -> str:
    return f"Rate this review from 1 to 5. Review {row}: the soup was cold, the waiter kind, we stayed late. Stars:"


def body(row: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": prompt(row)}], "max_tokens": 4, "temperature": 0}


def serve() -> None:
    """A server that does nothing but wait and answer, so that the clients are what is measured."""
    from aiohttp import web

    answer = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4", "refusal": None}}
            ],
            "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
        }
    ).encode()

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.Response(body=answer, content_type="application/json")

    async def main() -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


async def timed(work: Callable[[range], Awaitable[object]], rows: int) -> tuple[float, float]:
    await work(range(rows, rows + 1))
    wall, cpu = time.perf_counter(), time.process_time()
    await work(range(rows))
    return time.perf_counter() - wall, time.process_time() - cpu


async def with_aiohttp(url: str, rows: int) -> tuple[float, float]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(row: int) -> str:
            async with gate:
                given = {"model": MODEL, **body(row)}
                async with session.post(f"{url}/chat/completions", json=given) as response:
                    return str((await response.json())["choices"][0]["message"]["content"])

        return await timed(lambda some: asyncio.gather(*(one(row) for row in some)), rows)


async def with_sdk(url: str, rows: int) -> tuple[float, float]:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none", max_retries=0) as client:
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(row: int) -> str | None:
            async with gate:
                answer = await client.chat.completions.create(model=MODEL, **body(row))  # type: ignore[call-overload]
                return str(answer.choices[0].message.content)

        return await timed(lambda some: asyncio.gather(*(one(row) for row in some)), rows)


async def with_engine(url: str, rows: int) -> tuple[float, float]:
    from luthier.endpoints import Endpoint, Engine, Journal, Limits, Price, Request

    limits = Limits(concurrency=IN_FLIGHT, requests_per_minute=1_000_000, tokens_per_minute=100_000_000)
    price = Price(input_usd_per_million=0.15, output_usd_per_million=0.6)
    endpoint = Endpoint(provider="compatible", model=MODEL, base_url=url, limits=limits, price=price)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Journal(Path(folder) / "journal.db"))

        async def work(some: range) -> object:
            answers = await engine.arun([Request("chat", body(row)) for row in some], endpoint)
            assert all(answer.text == "4" and answer.cost_usd for answer in answers)
            return answers

        try:
            return await timed(work, rows)
        finally:
            await asyncio.to_thread(engine.close)


def with_mlflow(url: str, rows: int) -> tuple[float, float]:
    import logging
    import warnings

    warnings.simplefilter("ignore")
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": "sk-none"}
    import mlflow
    import openai
    import pandas as pd

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    template = prompt(0).replace("Review 0", "Review {row}")
    with tempfile.TemporaryDirectory() as folder:
        mlflow.openai.save_model(
            path=f"{folder}/model",
            model=MODEL,
            task=openai.chat.completions,
            messages=[{"role": "user", "content": template}],
            max_tokens=4,
            temperature=0,
            pip_requirements=[],
        )
        model = mlflow.pyfunc.load_model(f"{folder}/model")
        model.predict(pd.DataFrame({"row": ["warm"]}))
        wall, cpu = time.perf_counter(), time.process_time()
        answers = model.predict(pd.DataFrame({"row": [str(row) for row in range(rows)]}))
        spent = time.perf_counter() - wall, time.process_time() - cpu
        assert list(answers) == ["4"] * rows
        return spent


def contest(name: str, url: str, rows: int) -> None:
    if name == "mlflow":
        wall, cpu = with_mlflow(url, rows)
    else:
        run = {"aiohttp": with_aiohttp, "sdk": with_sdk, "engine": with_engine}[name]
        wall, cpu = asyncio.run(run(url, rows))
    print(json.dumps({"rows_a_second": rows / wall, "cpu_ms": 1000 * cpu / rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=CONTESTANTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    if given.contestant:
        contest(given.contestant[0], given.contestant[1], given.rows)
        return
    names = [name for name in CONTESTANTS if name not in given.without]
    me = [sys.executable, __file__, "--rows", str(given.rows)]
    upstream = subprocess.Popen([*me, "--serve"], stdout=subprocess.PIPE, text=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        assert upstream.stdout is not None
        url = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
        for _ in range(given.repeats):
            for name in names:
                ran = subprocess.run([*me, "--contestant", name, url], capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(f"{name} failed:\n{ran.stderr[-3000:]}")
                results[name].append(json.loads(ran.stdout.splitlines()[-1]))
    finally:
        upstream.terminate()
        upstream.wait()
    rates = {name: statistics.median(run["rows_a_second"] for run in runs) for name, runs in results.items()}
    print(f"{given.rows} rows, {LATENCY_SECONDS * 1000:.0f} ms upstream, {IN_FLIGHT} in flight, {os.cpu_count()} cores")
    print(f"{'':10}{'rows/s':>10}{'of aiohttp':>12}{'CPU ms/row':>12}   all rates")
    for name, runs in results.items():
        share = f"{rates[name] / rates['aiohttp']:.2f}" if "aiohttp" in rates else "-"
        cpu = statistics.median(run["cpu_ms"] for run in runs)
        every = ", ".join(f"{run['rows_a_second']:.0f}" for run in runs)
        print(f"{name:10}{rates[name]:>10.0f}{share:>12}{cpu:>12.2f}   {every}")
    if {"engine", "mlflow"} <= rates.keys():
        print(f"engine is {rates['engine'] / rates['mlflow']:.1f} times mlflow.openai")


if __name__ == "__main__":
    main()
