"""Rows a second and CPU a row of the engine beside its peers, at several latencies and numbers of requests in flight.

    python benchmarks/batch_peers.py [--quick] [--repeats 3] [--json FILE] [--images FOLDER]

Contestants: a bare aiohttp client (the limit of what Python can do), this engine with all it does (journal on disk,
limiter, deduplication, prices), `AsyncOpenAI` behind a semaphore, and `mlflow.openai` predict, which has ten threads
of its own and is measured once per latency. The upstream answers from a process of its own. Every contestant runs in a
fresh process and is warm before the clock starts: everything is imported, its connections are open, and the engine's
window has grown (`--cold` warms by one request only, so that the growth is measured too). The contestants take turns;
the figures are medians over the repeats, and the ratios are what to read on a machine that is busy.
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
from dataclasses import asdict, dataclass
from pathlib import Path

import upstream
from upstream import MODEL

CONTESTANTS = ("aiohttp", "engine", "sdk", "mlflow")
NAMES = {"aiohttp": "bare aiohttp", "engine": "this engine", "sdk": "AsyncOpenAI", "mlflow": "mlflow.openai"}
MOST_A_SECOND = {"aiohttp": 4000, "engine": 2500, "sdk": 400, "mlflow": 120}
"""About what two cores allow, so that every contestant is measured for about the same time."""

SECONDS = 3.0
TRIES = 4
RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked of the contestants.

    Attributes:
        latency_ms: of the upstream.
        in_flight: requests at the same time.
        refused: share answered 429.
        failed: share answered 500.
    """

    latency_ms: int
    in_flight: int
    refused: float = 0.0
    failed: float = 0.0

    @property
    def name(self) -> str:
        fault = "".join(
            f", {share:.0%} {what}" for share, what in ((self.refused, "429"), (self.failed, "500")) if share
        )
        return f"{self.latency_ms} ms, {self.in_flight} in flight{fault}"

    def rows(self, contestant: str) -> int:
        in_flight = 10 if contestant == "mlflow" else self.in_flight
        rate = min(in_flight / self.latency_ms * 1000, MOST_A_SECOND[contestant])
        return max(int(SECONDS * rate), 2 * in_flight)


FULL = [Setting(latency, in_flight) for latency in (20, 100, 500) for in_flight in (16, 64, 256)]
FULL += [Setting(100, 64, refused=0.05), Setting(100, 64, failed=0.01)]
QUICK = [Setting(100, 64), Setting(100, 256)]


def prompt(row: int) -> str:
    return f"Rate this review from 1 to 5. Review {row}: the soup was cold, the waiter kind, we stayed late. Stars:"


def body(row: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": prompt(row)}], "max_tokens": 4, "temperature": 0}


Run = Callable[[range], Awaitable[int]]
"""Asks rows; returns how many have no answer."""


async def timed(work: Run, rows: int, warm: int) -> dict[str, float]:
    await work(range(rows, rows + warm))
    wall, cpu = time.perf_counter(), time.process_time()
    lost = await work(range(rows))
    return figures(rows, time.perf_counter() - wall, time.process_time() - cpu, lost)


def figures(rows: int, wall: float, cpu: float, lost: int) -> dict[str, float]:
    return {"rows_a_second": rows / wall, "cpu_ms": 1000 * cpu / rows, "lost": lost / rows}


async def gathered(one: Callable[[int], Awaitable[bool]], rows: range, in_flight: int) -> int:
    """Asks rows from so many workers; as many tasks as rows would cost the peers CPU that users need not pay."""
    waiting = iter(rows)

    async def worker() -> int:
        return sum([not await one(row) for row in waiting])

    return sum(await asyncio.gather(*(worker() for _ in range(in_flight))))


async def with_aiohttp(url: str, rows: int, warm: int, in_flight: int) -> dict[str, float]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(row: int) -> bool:
            for _ in range(TRIES):
                async with session.post(f"{url}/chat/completions", json={"model": MODEL, **body(row)}) as response:
                    answer = await response.json()
                    if response.status == 200:
                        return bool(answer["choices"][0]["message"]["content"])
                    wait = float(response.headers.get("Retry-After", RETRY_SECONDS))
                await asyncio.sleep(wait)
            return False

        return await timed(lambda some: gathered(one, some, in_flight), rows, warm)


async def with_sdk(url: str, rows: int, warm: int, in_flight: int) -> dict[str, float]:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none") as client:
        gate = asyncio.Semaphore(in_flight)

        async def one(row: int) -> bool:
            async with gate:
                try:
                    answer = await client.chat.completions.create(model=MODEL, **body(row))  # type: ignore[call-overload]
                except openai.APIStatusError:
                    return False
                return bool(answer.choices[0].message.content)

        async def work(some: range) -> int:
            return sum(not answered for answered in await asyncio.gather(*(one(row) for row in some)))

        return await timed(work, rows, warm)


async def with_engine(url: str, rows: int, warm: int, in_flight: int) -> dict[str, float]:
    from luthier.endpoints import Endpoint, Engine, Journal, Limits, Price, Request

    limits = Limits(concurrency=in_flight, requests_per_minute=1_000_000, tokens_per_minute=100_000_000)
    price = Price(input_usd_per_million=0.15, output_usd_per_million=0.6)
    endpoint = Endpoint(provider="compatible", model=MODEL, base_url=url, limits=limits, price=price)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Journal(Path(folder) / "journal.db"))

        async def work(some: range) -> int:
            answers = await engine.arun([Request("chat", body(row)) for row in some], endpoint)
            return sum(not (answer.text == "4" and answer.cost_usd) for answer in answers)

        try:
            return await timed(work, rows, warm)
        finally:
            await asyncio.to_thread(engine.close)


def with_mlflow(url: str, rows: int) -> dict[str, float]:
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
        try:
            lost = rows - len(model.predict(pd.DataFrame({"row": [str(row) for row in range(rows)]})))
        except mlflow.MlflowException:
            lost = rows  # one row that fails fails them all
        return figures(rows, time.perf_counter() - wall, time.process_time() - cpu, lost)


def contest(contestant: str, url: str, setting: Setting, *, cold: bool) -> dict[str, float]:
    rows = setting.rows(contestant)
    if contestant == "mlflow":
        return with_mlflow(url, rows)
    run = {"aiohttp": with_aiohttp, "sdk": with_sdk, "engine": with_engine}[contestant]
    warm = 1 if cold else 4 * setting.in_flight
    return asyncio.run(run(url, rows, warm, setting.in_flight))


def measured(setting: Setting, contestants: list[str], repeats: int, *, cold: bool) -> dict[str, dict[str, float]]:
    """Medians of the repeats by contestant; the contestants take turns."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    with upstream.running(setting.latency_ms / 1000, setting.refused, setting.failed) as url:
        for _ in range(repeats):
            for name in contestants:
                told = json.dumps({"contestant": name, "url": url, "setting": asdict(setting), "cold": cold})
                ran = subprocess.run([sys.executable, __file__, "--contest", told], capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(f"{name} failed:\n{ran.stderr[-3000:]}")
                runs[name].append(json.loads(ran.stdout.splitlines()[-1]))
    return {
        name: {figure: statistics.median(run[figure] for run in of_one) for figure in of_one[0]}
        for name, of_one in runs.items()
    }


def table_row(setting: Setting, found: dict[str, dict[str, float]]) -> str:
    limit = found.get("aiohttp", {}).get("rows_a_second")
    cells = [setting.name]
    for name in CONTESTANTS:
        if name not in found:
            cells.append("")
            continue
        share = f" ({found[name]['rows_a_second'] / limit:.2f})" if limit and name != "aiohttp" else ""
        lost = f", {found[name]['lost']:.1%} lost" if found[name]["lost"] else ""
        cells.append(f"{found[name]['rows_a_second']:,.0f}{share}{lost}")
    cells += [f"{found[name]['cpu_ms']:.2f}" if name in found else "" for name in CONTESTANTS]
    return "| " + " | ".join(cells) + " |"


def draw(results: list[tuple[Setting, dict[str, dict[str, float]]]], folder: Path) -> None:
    """Writes two plots as SVG: share of bare aiohttp's throughput, and CPU a row."""
    from luthier.reporting.charts.chart import Axis, Chart, Dots, Rule
    from luthier.reporting.charts.svg import chart_svg

    shown = [(setting, found) for setting, found in results if not setting.refused and not setting.failed]
    places = tuple(f"{setting.latency_ms} ms, {setting.in_flight}" for setting, _ in shown)
    x = Axis("latency of the upstream, requests in flight", scale="category", categories=places)

    def dots(name: str, look: int, value: Callable[[dict[str, dict[str, float]]], float]) -> Dots:
        points = [(float(place), value(found)) for place, (_, found) in enumerate(shown) if name in found]
        return Dots(tuple(p[0] for p in points), tuple(p[1] for p in points), name=NAMES[name], look=look, large=True)

    shares = Chart(
        "Throughput",
        "Rows a second as a share of what a bare aiohttp client reaches in the same setting; higher is better.",
        x,
        Axis("share of bare aiohttp", from_zero=True),
        (
            *(
                dots(name, look, lambda f, n=name: f[n]["rows_a_second"] / f["aiohttp"]["rows_a_second"])  # type: ignore[misc]
                for look, name in enumerate(CONTESTANTS[1:])
            ),
            Rule(1.0, "bare aiohttp"),
        ),
    )
    spent = Chart(
        "CPU",
        "Milliseconds of CPU a row on the client's side, on a logarithmic axis; lower is better.",
        x,
        Axis("CPU ms a row", scale="log"),
        tuple(
            dots(name, look, lambda f, n=name: f[n]["cpu_ms"])  # type: ignore[misc]
            for look, name in enumerate((*CONTESTANTS[1:], "aiohttp"))
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in (("batch-throughput", shares), ("batch-cpu", spent)):
        (folder / f"{name}.svg").write_text(chart_svg(chart), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 ms only, 64 and 256 in flight")
    parser.add_argument("--cold", action="store_true", help="warm by one request only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=CONTESTANTS)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--images", type=Path, help="also draw the plots into this folder")
    parser.add_argument("--contest", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contest:
        told = json.loads(given.contest)
        found = contest(told["contestant"], told["url"], Setting(**told["setting"]), cold=told["cold"])
        print(json.dumps(found))
        return
    print(f"{os.cpu_count()} cores, medians of {given.repeats}; rows a second (share of aiohttp), then CPU ms a row")
    print("| |" + " | ".join(NAMES[name] for name in CONTESTANTS) + " | " + " | ".join(CONTESTANTS) + " |")
    print("|---|" + "---|" * 2 * len(CONTESTANTS))
    results = []
    for setting in QUICK if given.quick else FULL:
        contestants = [name for name in CONTESTANTS if name not in given.without]
        if setting.in_flight != 64 and "mlflow" in contestants:
            contestants.remove("mlflow")
        found = measured(setting, contestants, given.repeats, cold=given.cold)
        results.append((setting, found))
        print(table_row(setting, found), flush=True)
    if given.json:
        given.json.write_text(json.dumps([{**asdict(s), "found": f} for s, f in results], indent=1) + "\n")
    if given.images:
        draw(results, given.images)


if __name__ == "__main__":
    main()
