"""How many requests a second a server answers, beside what the formula of docs/capacity.md predicts.

    python benchmarks/capacity.py [--seconds 8]

Each case has an upstream that answers after a fixed time, limits of the endpoint, and as many clients as keep the
server busy. Upstream and server are processes of their own; the clients are here, and everything shares the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
WARM_UP_SECONDS = 3.0
"""And five times the upstream's latency: the engine doubles what it has in flight with each round of answers."""
START_SECONDS = 120
TOKENS_A_ROW = 40
"""What the upstream says that a request used."""

LOG = """
import json, sys
import luthier as lt
task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
free = {"input_usd_per_million": 0, "output_usd_per_million": 0}
endpoint = lt.compatible("model", base_url=sys.argv[1], limits=json.loads(sys.argv[2]), price=free)
print(lt.log(lt.Prompt(task, "{{ text }}", endpoint=endpoint, name="case"), register=sys.argv[3]).uri)
"""

UPSTREAM = """
import asyncio, json, sys
from aiohttp import web
port, seconds, tokens = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}
usage = {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens}
known = {"id": "1", "object": "chat.completion", "created": 1, "model": "model"}
answer = json.dumps(known | {"choices": [choice], "usage": usage}).encode()
async def chat(request):
    await request.read()
    await asyncio.sleep(seconds)
    return web.Response(body=answer, content_type="application/json")
async def models(request):
    return web.json_response({"object": "list", "data": [{"id": "model", "object": "model"}]})
application = web.Application()
application.router.add_post("/v1/chat/completions", chat)
application.router.add_get("/v1/models", models)
web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, backlog=2048)
"""


@dataclass(frozen=True)
class Case:
    """An upstream and the limits of the endpoint that asks it."""

    latency_seconds: float
    concurrency: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """As an endpoint has them."""
        given = {"concurrency": self.concurrency, "requests_per_minute": self.requests_per_minute}
        return {
            name: value
            for name, value in (given | {"tokens_per_minute": self.tokens_per_minute}).items()
            if value is not None
        }

    def bounds(self, cpu_seconds: float) -> dict[str, float]:
        """Requests a second that each part allows, for requests of one row that cost one call."""
        found = {"concurrency": self.concurrency / self.latency_seconds, "CPU": 1 / cpu_seconds}
        if self.requests_per_minute is not None:
            found["requests/min"] = self.requests_per_minute / 60
        if self.tokens_per_minute is not None:
            found["tokens/min"] = self.tokens_per_minute / 60 / TOKENS_A_ROW
        return found


CASES = (
    Case(0.1, 8),
    Case(0.1, 32),
    Case(0.5, 64),
    Case(1.0, 128),
    Case(0.05, 256),
    Case(0.1, 64, requests_per_minute=1_800),
    Case(0.1, 64, tokens_per_minute=96_000),
)


@dataclass(frozen=True)
class Measured:
    """What the clients saw, and the CPU time of the server for one request."""

    a_second: float
    median_seconds: float
    cpu_seconds: float
    failed: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str | Path], url: str, environment: dict[str, str], folder: Path) -> Iterator[int]:
    """A server until the block ends; gives its process id."""
    with (folder / "servers.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    began = time.monotonic()
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                    raise SystemExit(f"it did not start:\n{(folder / 'servers.log').read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used; Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, clients: int, warm_up: float, seconds: float, pid: int) -> Measured:
    """Asks one row at a time from each client; each text is new, so that no journal answers."""
    import aiohttp

    run, counted, took, failed = time.time_ns(), 0, [], 0
    begin = asyncio.get_running_loop().time() + warm_up
    end = begin + seconds

    async def client(number: int) -> None:
        nonlocal counted, failed
        loop, turn = asyncio.get_running_loop(), 0
        while (now := loop.time()) < end:
            turn += 1
            body = {"dataframe_records": [{"text": f"Lovely soup {run} {number} {turn}"}]}
            async with session.post(f"{url}/invocations", json=body) as answer:
                said = await answer.json()
            if begin <= loop.time() < end:
                counted += 1
                took.append(loop.time() - now)
                failed += answer.status != 200 or said["predictions"][0]["state"] != "ok"

    async def cpu_at(moment: float) -> float:
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        return cpu_of(pid)

    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        first, last, *_ = await asyncio.gather(cpu_at(begin), cpu_at(end), *map(client, range(clients)))
    took.sort()
    return Measured(counted / seconds, took[len(took) // 2], (last - first) / counted, failed)


def run(case: Case, number: int, seconds: float, environment: dict[str, str], folder: Path) -> Measured:
    upstream, port = free_port(), free_port()
    warm_up = WARM_UP_SECONDS + 5 * case.latency_seconds
    python = [sys.executable, "-c"]
    command = [*python, UPSTREAM, str(upstream), str(case.latency_seconds), str(TOKENS_A_ROW)]
    base = f"http://127.0.0.1:{upstream}/v1"
    with running(command, f"{base}/models", environment, folder):
        logged = subprocess.run(
            [*python, LOG, base, json.dumps(case.limits), f"case-{number}"],
            env=environment, cwd=folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        serve = [BIN / "luthier", "serve", logged.stdout.split()[-1], "--no-key", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        with running(serve, f"{url}/ping", environment, folder) as pid:
            return asyncio.run(measure(url, case.concurrency + 32, warm_up, seconds, pid))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each case, after the warm-up")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores; {seconds:g} s a case; requests of one row, {TOKENS_A_ROW} tokens each")
    row = "{:>8}  {:<30} {:>10}  {:<12} {:>10}  {:>5}  {:>8}  {:>11}  {:>6}"
    heads = ("upstream", "limits", "predicted", "by", "measured", "ratio", "median", "CPU/request", "failed")
    print(row.format(*heads))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LUTHIER_"))
        }
        environment["LUTHIER_HOME"] = str(folder / "home")
        for number, case in enumerate(CASES):
            got = run(case, number, seconds, environment, folder)
            bounds = case.bounds(got.cpu_seconds)
            by = min(bounds, key=lambda name: bounds[name])
            limits = ", ".join(f"{name.split('_')[0]} {value:g}" for name, value in case.limits.items())
            cells = (
                f"{case.latency_seconds * 1000:.0f} ms",
                limits,
                f"{bounds[by]:.0f}/s",
                by,
                f"{got.a_second:.0f}/s",
                f"{got.a_second / bounds[by]:.2f}",
                f"{got.median_seconds * 1000:.0f} ms",
                f"{got.cpu_seconds * 1e6:.0f} us",
                got.failed,
            )
            print(row.format(*cells), flush=True)


if __name__ == "__main__":
    main()
