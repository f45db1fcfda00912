"""Spark on this machine: rows a second of `luthier score --mode spark` beside what MLflow has for it.

    python benchmarks/spark.py [--rows 20000] [--latency 0.1] [--in-flight 128] [--cores 2] [--repeats 3]
    python benchmarks/spark.py --embedded --rows 1000000 --contestants score

Needs PySpark and Java. The upstream answers after the latency, from a process of its own; with `--embedded` it is the
embedded server's deterministic model, which answers at once and reads every prompt. So many requests are in flight, all
tasks together, where a contestant lets one say so; the most that can be is in flight / latency. Each contestant runs
in a fresh process, a Spark session of its own and an empty journal on disk. It first scores 200 other rows, so that
the session, the tasks' processes and their imports are there; then it is timed from reading parquet to having written
parquet. The repeats are interleaved and the medians compared.

    score         luthier score --mode spark: shards written, asked, committed one by one, joined; report made
    mapInArrow    lt.spark_scorer in a job of one's own
    mapInPandas   the same, as pandas
    spark_udf     mlflow.pyfunc.spark_udf of the same packaged model
    openai        mlflow.pyfunc.spark_udf of a model of mlflow.openai, of a tenth of the rows: it asks with threads
    aiohttp       a bare client in a process for each core, without Spark, a table, a journal or a limiter
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONTESTANTS = ("score", "mapInArrow", "mapInPandas", "spark_udf", "openai", "aiohttp")
MODEL = "gpt-4o-mini"
KEY = "sk-none"
WARM_ROWS = 200


def serve(latency_seconds: float) -> None:
    """A server that does nothing but wait and answer, so that the clients are what is measured."""
    from aiohttp import web

    message = {"role": "assistant", "content": "good", "refusal": None}
    answer = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
        }
    ).encode()

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(latency_seconds)
        return web.Response(body=answer, content_type="application/json")

    async def main() -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def serve_embedded() -> None:
    from luthier_local import LocalServer, ModelCard

    with LocalServer([ModelCard(MODEL)], api_key=KEY) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


def text(row: int) -> str:
    return f"Review {row}: the soup was cold, the waiter kind, we stayed late."


@contextmanager
def spark_here(cores: int) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "2g").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()


def write_rows(session: Any, place: str, rows: range, cores: int) -> None:
    """A table in one file for each core; one row in a hundred has no text."""
    from pyspark.sql import functions

    number = functions.col("id")
    words = functions.format_string("Review %d: the soup was cold, the waiter kind, we stayed late.", number)
    words = functions.when(number % 100 != 3, words)
    table = session.range(rows.start, rows.stop, 1, cores).withColumn("text", words)
    table.withColumn("id", functions.format_string("%08d", number)).write.parquet(place)


def work_of(name: str, url: str, in_flight: int, cores: int, session: Any) -> Callable[[str, str], None]:
    """What a contestant does with a table and a target."""
    if name == "openai":
        return with_openai(url, session)
    import luthier as lt
    from luthier.endpoints import Limits, Price, compatible

    # spark_udf has a process for each core, which knows nothing of the others.
    concurrency = in_flight // cores if name == "spark_udf" else in_flight
    price = Price(input_usd_per_million=0.15, output_usd_per_million=0.6)
    limits = Limits(concurrency=concurrency)
    endpoint = compatible(MODEL, url, api_key_env="BENCHMARK_KEY", limits=limits, price=price)
    task = lt.Task("mood", labels=["bad", "good"])
    spec = lt.Prompt(task, "Mood of: {{ text }}", answer="text", endpoint=endpoint, name="zero")
    model = lt.log(spec)
    if name == "score":

        def score(source: str, target: str) -> None:
            report = model.spark_score(source, target, session=session).run()
            assert report.states["failed"] == report.states["refused"] == 0, report

        return score
    if name == "spark_udf":
        import mlflow

        predict = mlflow.pyfunc.spark_udf(session, model.uri, env_manager="local")

        def by_udf(source: str, target: str) -> None:
            found = session.read.parquet(source).withColumn("out", predict("text"))
            found.select("id", "text", "out.*").write.parquet(target)

        return by_udf

    def by_map(source: str, target: str) -> None:
        table = session.read.parquet(source)
        scorer = lt.spark_scorer(model, table.schema, tasks=cores)
        getattr(table, name)(scorer, scorer.schema).write.parquet(target)

    return by_map


def with_openai(url: str, session: Any) -> Callable[[str, str], None]:
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": KEY}
    import mlflow
    import openai

    messages = [{"role": "user", "content": "Mood of: {text}"}]
    mlflow.openai.save_model(
        path="openai-model", model=MODEL, task=openai.chat.completions, messages=messages, pip_requirements=[]
    )
    predict = mlflow.pyfunc.spark_udf(session, "openai-model", result_type="string", env_manager="local")

    def ask(source: str, target: str) -> None:
        table = session.read.parquet(source).fillna("", ["text"])
        table.withColumn("label", predict("text")).write.parquet(target)

    return ask


def contest(name: str, url: str, rows: int, in_flight: int, cores: int) -> None:
    home = Path.cwd()
    os.environ |= {"LUTHIER_HOME": str(home / "home"), "LUTHIER_JOURNAL": str(home / "journal.db")}
    os.environ["BENCHMARK_KEY"] = KEY
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home}/mlflow.db"
    with spark_here(cores) as session:
        work = work_of(name, url, in_flight, cores, session)
        write_rows(session, "warm.parquet", range(rows, rows + WARM_ROWS), cores)
        write_rows(session, "rows.parquet", range(rows), cores)
        work("warm.parquet", "warmed.parquet")
        began = time.perf_counter()
        work("rows.parquet", "scored.parquet")
        seconds = time.perf_counter() - began
        scored = session.read.parquet("scored.parquet")
        answered = scored.where("label = 'good'" if name == "openai" else "state = 'ok'").count()
        assert scored.count() == rows, scored.count()
        peaks = {who: peak_mb(of) for who, of in (("driver", "self"), ("tasks", "children"))}
        print(json.dumps({"seconds": seconds, "rows": rows, "answered": answered, "peaks_mb": peaks}))


def peak_mb(of: str) -> float:
    return resource.getrusage(resource.RUSAGE_SELF if of == "self" else resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def contest_aiohttp(url: str, rows: int, in_flight: int, cores: int) -> None:
    each = [sys.executable, __file__, "--bare", url, "--in-flight", str(in_flight // cores)]
    began = time.perf_counter()
    clients = [subprocess.Popen([*each, "--rows", str(rows // cores)], stdout=subprocess.PIPE) for _ in range(cores)]
    ended = [float(client.communicate()[0]) for client in clients]
    print(json.dumps({"seconds": max(ended), "rows": rows, "whole": time.perf_counter() - began}))


async def bare(url: str, rows: int, in_flight: int) -> float:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:
        left = iter(range(rows))

        async def ask() -> None:
            for row in left:
                given = {"model": MODEL, "messages": [{"role": "user", "content": f"Mood of: {text(row)}"}]}
                async with session.post(f"{url}/chat/completions", json=given) as response:
                    await response.json()

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return time.perf_counter() - began


def run_one(me: list[str], name: str, url: str, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        asked = [*me, "--contestant", name, url, "--rows", str(rows)]
        ran = subprocess.run(asked, cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{name} failed:\n{ran.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--latency", type=float, default=0.1, metavar="SECONDS")
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--embedded", action="store_true", help="ask the embedded server's deterministic model")
    parser.add_argument("--contestants", nargs="*", default=CONTESTANTS, choices=CONTESTANTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        if given.embedded:
            serve_embedded()
        else:
            serve(given.latency)
        return
    if given.bare:
        print(asyncio.run(bare(given.bare, given.rows, given.in_flight)))
        return
    if given.contestant:
        name, url = given.contestant
        contestant = contest_aiohttp if name == "aiohttp" else lambda *asked: contest(name, *asked)
        contestant(url, given.rows, given.in_flight, given.cores)
        return
    me = [sys.executable, str(Path(__file__).resolve()), "--in-flight", str(given.in_flight)]
    me += ["--cores", str(given.cores), "--latency", str(given.latency), *(["--embedded"] if given.embedded else [])]
    upstream = subprocess.Popen([*me, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in given.contestants}
    try:
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip()
        for _ in range(given.repeats):
            for name in given.contestants:
                rows = given.rows // 10 if name == "openai" else given.rows
                results[name].append(run_one(me, name, url, rows))
                print(f"{name}: {json.dumps(results[name][-1])}", file=sys.stderr)
    finally:
        upstream.terminate()
        upstream.wait()
    print_table(results, given)


def print_table(results: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> None:
    most = given.in_flight / given.latency
    upstream = "the embedded model" if given.embedded else f"{1000 * given.latency:.0f} ms upstream"
    print(f"{given.rows:,} rows, {upstream}, {given.in_flight} in flight, local[{given.cores}], {os.cpu_count()} cores")
    heading = "" if given.embedded else f"{f'of {most:,.0f}':>12}"
    print(f"{'':12}{'rows/s':>10}{heading}   all rates")
    for name, runs in results.items():
        rates = [run["rows"] / run["seconds"] for run in runs]
        rate = statistics.median(rates)
        share = "" if given.embedded else f"{rate / most:>12.2f}"
        print(f"{name:12}{rate:>10,.0f}{share}   {', '.join(f'{each:,.0f}' for each in rates)}")


if __name__ == "__main__":
    main()
