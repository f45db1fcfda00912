"""How a served model does beside its upstream and beside `mlflow models serve`: requests a second and latency.

    python benchmarks/serving.py [--seconds 8] [--without mlflow]

The upstream answers after 100 ms from a process of its own. The clients are `wrk` (Debian: apt-get install wrk): each
request has a text of its own, so that no journal answers it. Everything shares the machine's cores; read the ratios.
Models: a zero-shot prompt to the upstream, and a baseline and an embedding head on the embedded server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LATENCY_SECONDS = 0.1
START_SECONDS = 180
BIN = Path(sys.executable).parent

PREPARE = """
import sys
import pandas as pd, luthier as lt
upstream = sys.argv[1]
train = pd.read_csv(sys.argv[2])
task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
free = {"input_usd_per_million": 0, "output_usd_per_million": 0}
endpoint = lt.compatible("model", base_url=upstream, limits={"concurrency": 512}, price=free)
specs = (
    lt.Prompt(task, "Stars from 1 to 5. Review: {{ text }}", endpoint=endpoint, name="prompt"),
    lt.Baseline(task, name="baseline"),
    lt.Embedding(task, endpoint=lt.embedded("wordllama-256"), name="embedding"),
)
for spec in specs:
    print(spec.name, lt.log(spec, train=train, register=spec.name, alias="champion").uri)
"""

WRK = """
local count = 0
local thread = 0
function setup(t) thread = thread + 1; t:set("number", thread) end
wrk.headers["Content-Type"] = "application/json"
function request()
  count = count + 1
  local text = "the soup was cold and the waiter kind, visit RUN " .. number .. " " .. count
  local body = string.gsub([==[BODY]==], "TEXT", text)
  return wrk.format("POST", "PATH", nil, body)
end
"""


@dataclass(frozen=True)
class Measured:
    """What `wrk` saw."""

    a_second: float
    median_ms: float
    failed: int

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.a_second:8.0f}/s  median {self.median_ms:7.1f} ms{failed}"


def upstream(port: int) -> None:
    """A server that waits and answers, so that what is before it is measured."""
    from aiohttp import web

    answer = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "model",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}],
            "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
        }
    ).encode()
    models = json.dumps({"object": "list", "data": [{"id": "model", "object": "model"}]}).encode()

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.Response(body=answer, content_type="application/json")

    async def listed(request: web.Request) -> web.Response:
        return web.Response(body=models, content_type="application/json")

    application = web.Application()
    application.router.add_post("/v1/chat/completions", chat)
    application.router.add_get("/v1/models", listed)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, backlog=1024)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str | Path], url: str, environment: dict[str, str], folder: Path) -> Iterator[float]:
    """A server until the block ends; gives the seconds until it answered."""
    with (folder / "servers.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
        try:
            while True:
                try:
                    urllib.request.urlopen(url, timeout=2).read()
                    break
                except urllib.error.HTTPError:
                    pass
                except OSError:
                    pass
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise SystemExit(f"{command} did not start:\n{(folder / 'servers.log').read_text()[-2000:]}")
                time.sleep(0.05)
            yield time.perf_counter() - began
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wrk(url: str, path: str, body: str, clients: int, seconds: int, folder: Path) -> Measured:
    script = folder / "request.lua"
    # No text is asked twice: a model with a journal in memory would answer the second one from there.
    script.write_text(WRK.replace("RUN", str(time.time_ns())).replace("BODY", body).replace("PATH", path))
    threads = min(2, clients)
    command = [
        "wrk",
        f"-t{threads}",
        f"-c{clients}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        script,
        url,
    ]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    a_second = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failed = (int(wrong[1]) if wrong else 0) + (sum(map(int, sockets.groups())) if sockets else 0)
    return Measured(a_second, float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit], failed)


SPLIT = '{"dataframe_split": {"columns": ["text"], "data": [["TEXT"]]}}'
CHAT = (
    '{"model": "model", "messages": [{"role": "user", "content": "Stars from 1 to 5. Review: TEXT"}], "max_tokens": 4}'
)


def main() -> None:
    """Prints requests a second and medians, and the ratios that matter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--without", choices=["mlflow"], default=None)
    parser.add_argument("--upstream", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.upstream:
        upstream(given.upstream)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on PATH. Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), given.seconds, with_mlflow=given.without is None)


def measure(folder: Path, seconds: int, *, with_mlflow: bool) -> None:
    environment = os.environ | {
        "LUTHIER_HOME": str(folder / "home"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    at = free_port()
    subprocess.run([sys.executable, "-m", "luthier_local", "--sample", "data"], cwd=folder, env=environment, check=True)
    with running(
        [sys.executable, __file__, "--upstream", str(at)], f"http://127.0.0.1:{at}/v1/models", environment, folder
    ):
        (folder / "prepare.py").write_text(PREPARE)
        prepare = [sys.executable, "prepare.py", f"http://127.0.0.1:{at}/v1", "data/train.csv"]
        subprocess.run(prepare, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        direct = {
            n: wrk(f"http://127.0.0.1:{at}", "/v1/chat/completions", CHAT, n, seconds, folder) for n in (1, 64, 256)
        }
        for n, found in direct.items():
            print(f"upstream directly, {n:3} clients   {found}", flush=True)
        ours = {}
        for model in ("prompt", "baseline", "embedding"):
            for n, found in served(luthier(model), model, (1, 64, 256), seconds, environment, folder):
                ours[model, n] = found
        for n in (64, 256):
            print(f"prompt at {n}: {ours['prompt', n].a_second / direct[n].a_second:.2f} of the upstream")
        print(f"added median latency at 1 client: {ours['prompt', 1].median_ms - direct[1].median_ms:.1f} ms")
        if not with_mlflow:
            return
        for model, workers, clients in (
            ("prompt", 1, (64, 256)), ("prompt", 4, (64, 256)), ("baseline", 1, (64,)), ("embedding", 1, (64,)),
        ):  # fmt: skip
            for n, found in served(mlflow(model, workers), model, clients, seconds, environment, folder):
                print(f"  {model} at {n}: {ours[model, n].a_second / found.a_second:.1f} times {workers} worker(s)")


def luthier(model: str) -> tuple[str, list[str]]:
    return "luthier serve", [
        str(BIN / "luthier"), "serve", f"models:/{model}@champion", "--no-key", "--port", "PORT",
    ]  # fmt: skip


def mlflow(model: str, workers: int) -> tuple[str, list[str]]:
    return f"mlflow models serve, {workers} worker(s)", [
        str(BIN / "mlflow"), "models", "serve", "-m", f"models:/{model}@champion", "--env-manager", "local",
        "--port", "PORT", "--workers", str(workers),
    ]  # fmt: skip


def served(
    server: tuple[str, list[str]],
    model: str,
    clients: Sequence[int],
    seconds: int,
    environment: dict[str, str],
    folder: Path,
) -> Iterator[tuple[int, Measured]]:
    name, command = server
    port = free_port()
    command = [str(port) if part == "PORT" else part for part in command]
    with running(command, f"http://127.0.0.1:{port}/ping", environment, folder) as started:
        wrk(f"http://127.0.0.1:{port}", "/invocations", SPLIT, 8, 2, folder)  # warm
        for n in clients:
            found = wrk(f"http://127.0.0.1:{port}", "/invocations", SPLIT, n, seconds, folder)
            print(f"{name}, {model}, {n:3} clients   {found}   (started in {started:.1f} s)", flush=True)
            yield n, found


if __name__ == "__main__":
    main()
