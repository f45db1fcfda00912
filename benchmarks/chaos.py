"""A `luthier score` run that is killed again and again while its service fails in every way.

    python benchmarks/chaos.py [--rows 20000] [--kills 20] [--outage 60] [--in-flight 64] [--latency 0.1]

The service is a process of its own and writes down each request: when it came, who sent it, when and how it was
answered. It answers 5% with 429, 2% with 500, resets 1% of the connections, sends .5% of the answers as bodies that are
no JSON, and when half the rows are answered it is out: for half of that time it answers 503, then its port is closed.
The command is killed with SIGKILL each time another share of the rows is answered, and once in the middle of the
outage; then it is started again, as it is when it ends with rows that have no answer. Each start has a key of its own,
so that the log tells the processes apart.

A row is paid for each time a good answer to it was made, whether or not its client was still there to read it. Printed
is, for each kill, how many requests the killed process had in flight by the service's log, and how many rows it had
paid for were paid for again later. Ends with 1 if the output differs from that of a calm run by one byte, if more was
paid for twice than was in flight or awaiting its commit, or if a row was paid for twice without a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luthier.engine.shared_journal import COMMIT_ANSWERS

LABELS = ("bad", "good")
CALM = "calm"
MOST_STARTS_A_KILL = 3
LONGEST_RUN_SECONDS = 900.0

PREPARE = """
import sys, luthier as lt
url, in_flight = sys.argv[1:]
endpoint = lt.Endpoint(provider="compatible", base_url=url, model="m", api_key_env="CHAOS_KEY",
    limits={"concurrency": int(in_flight)}, price={"input_usd_per_million": 1, "output_usd_per_million": 1})
spec = lt.Prompt(lt.Task("mood", labels=["bad", "good"]), "Mood of: {{ text }}", endpoint=endpoint, name="zero")
lt.log(spec, register="mood", alias="champion")
"""


@dataclass
class Asked:
    """One request, as the service saw it."""

    row: int
    sender: str
    came: float
    ended: float = 0.0
    answer: str = ""


class Service:
    """A chat model that fails as often as it is told to; a sender called `calm` meets no fault."""

    def __init__(self, rows: int, outage_seconds: float, latency_seconds: float) -> None:
        self.log: list[Asked] = []
        self.paid: set[int] = set()
        self.outage: tuple[float, float] | None = None
        self._rows, self._outage_seconds, self._latency_seconds = rows, outage_seconds, latency_seconds
        self._drawn = random.Random(7)
        self._running: dict[Asked, None] = {}

    def fault(self) -> str:
        """Which fault the next request meets; an empty text for none."""
        now = time.monotonic()
        if self.outage is not None and now < self.outage[1]:
            return "503" if now < sum(self.outage) / 2 else "reset"
        drawn = self._drawn.random()
        for name, share in (("429", 0.05), ("500", 0.02), ("reset", 0.01), ("malformed", 0.005)):
            if drawn < share:
                return name
            drawn -= share
        return ""

    async def chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        content = body["messages"][-1]["content"]
        row = int(content.rsplit(" ", 1)[1])
        asked = Asked(row, request.headers["authorization"].split("-", 1)[1], time.monotonic())
        self.log.append(asked)
        asked.answer = fault = "" if asked.sender == CALM else self.fault()
        if fault != "503":
            await asyncio.sleep(self._latency_seconds)
        asked.ended = time.monotonic()
        if fault == "reset":
            if request.transport is not None:
                linger = struct.pack("ii", 1, 0)
                request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                request.transport.abort()
            return web.Response()
        if fault == "malformed":
            return web.Response(text='{"choices": [{"index"', content_type="application/json")
        if fault:
            headers = {"retry-after": "1"} if fault == "429" else {}
            return web.json_response({"error": {"message": "Try later."}}, status=int(fault), headers=headers)
        asked.answer = "good"
        if asked.sender != CALM:
            self.paid.add(row)
            if self.outage is None and self._outage_seconds and len(self.paid) > self._rows // 2:
                self.outage = asked.ended, asked.ended + self._outage_seconds
        message = {"role": "assistant", "content": LABELS[row * 7919 % 13 % 2], "refusal": None}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32},
            }
        )

    async def run(self) -> None:
        from aiohttp import web

        application, control = web.Application(), web.Application()
        application.router.add_post("/v1/chat/completions", self.chat)

        async def told(request: web.Request) -> web.Response:
            return web.json_response({"paid": len(self.paid), "outage": self.outage})

        async def log(request: web.Request) -> web.Response:
            return web.json_response([asdict(asked) for asked in self.log])

        control.router.add_get("/told", told)
        control.router.add_get("/log", log)
        runners = [web.AppRunner(each, access_log=None) for each in (application, control)]
        for runner in runners:
            await runner.setup()
        site = web.TCPSite(runners[0], "127.0.0.1", 0)
        await site.start()
        await web.TCPSite(runners[1], "127.0.0.1", 0).start()
        port = runners[0].addresses[0][1]
        print(port, runners[1].addresses[0][1], flush=True)
        while self.outage is None:
            await asyncio.sleep(0.02)
        await asyncio.sleep(self._outage_seconds / 2)
        await site.stop()
        await asyncio.sleep(self.outage[1] - time.monotonic())
        await web.TCPSite(runners[0], "127.0.0.1", port).start()
        await asyncio.Event().wait()


class Driver:
    """Starts the command, kills it, and reads the service's log."""

    def __init__(self, folder: Path, chat_port: int, control_port: int) -> None:
        self.folder, self._control = folder, f"http://127.0.0.1:{control_port}"
        self._url = f"http://127.0.0.1:{chat_port}/v1"

    def environment(self, sender: str) -> dict[str, str]:
        home = self.folder / ("calm" if sender == CALM else "home")
        store = f"sqlite:///{self.folder}/mlflow.db"
        own = {"LUTHIER_HOME": str(home), "MLFLOW_TRACKING_URI": store, "CHAOS_KEY": f"key-{sender}"}
        return {**os.environ, **own}

    def prepare(self, rows: int, in_flight: int) -> None:
        lines = ["id,text"]
        lines += [f'{row:06d},"A place to remember, visit {row}"' for row in range(rows)]
        (self.folder / "in.csv").write_text("\n".join(lines) + "\n")
        program = [sys.executable, "-c", PREPARE, self._url, str(in_flight)]
        subprocess.run(program, cwd=self.folder, env=self.environment("setup"), check=True, capture_output=True)

    def start(self, sender: str, target: str) -> subprocess.Popen[bytes]:
        command = ["score", "models:/mood@champion", "in.csv", target, "--yes"]
        with (self.folder / "score.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "luthier.cli.main", *command],
                cwd=self.folder, env=self.environment(sender), stdout=log, stderr=log,
            )  # fmt: skip

    def read(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self._control}/{what}", timeout=60) as reply:
            return json.load(reply)


@dataclass
class Kill:
    """One SIGKILL."""

    sender: str
    at: float
    answered: int
    in_outage: bool = False
    in_flight: int = 0
    again: int = 0
    again_answered_before: int = 0


def run_killed(driver: Driver, rows: int, kills: int, outage_seconds: float) -> tuple[list[Kill], int, float]:
    """Runs the command to its end; returns the kills, the number of starts and the seconds it took."""
    drawn = random.Random(11)
    marks = [int(rows * (number + drawn.random()) / (kills - 1)) for number in range(kills - 1)] if kills > 1 else []
    done, starts, began = list[Kill](), 0, time.monotonic()
    waits_for_outage = bool(outage_seconds and kills)
    while True:
        starts += 1
        sender = str(starts)
        process = driver.start(sender, "out.csv")
        while process.poll() is None:
            told = driver.read("told")
            now = time.monotonic()
            if now - began > LONGEST_RUN_SECONDS + outage_seconds:
                process.kill()
                sys.exit(f"not done after {now - began:.0f} s; see {driver.folder}/score.log")
            is_out = told["outage"] is not None and now < told["outage"][1]
            in_outage = waits_for_outage and is_out and now > told["outage"][0] + 0.3 * outage_seconds
            if in_outage or (marks and told["paid"] >= marks[0]):
                time.sleep(drawn.uniform(0, 0.1))
                done.append(Kill(sender, time.monotonic(), told["paid"], is_out))
                process.send_signal(signal.SIGKILL)
                process.wait(60)
                if in_outage:
                    waits_for_outage = False
                else:
                    marks.pop(0)
                break
            time.sleep(0.02)
        else:
            if process.returncode == 0:
                return done, starts, time.monotonic() - began
            log = (driver.folder / "score.log").read_text(errors="replace")
            if process.returncode not in (2, 3) or starts > MOST_STARTS_A_KILL * (kills + 4) or "Traceback" in log:
                sys.exit(f"the command ended with {process.returncode}:\n{log[-3000:]}")


def judge(log: list[Asked], kills: list[Kill], rows: int) -> tuple[int, int]:
    """Fills in what each kill cost; returns how often rows were paid for twice, with and without a kill before it."""
    killed = {kill.sender: kill for kill in kills}
    paid: dict[int, list[Asked]] = defaultdict(list)
    for asked in log:
        if asked.answer == "good":
            paid[asked.row].append(asked)
    missing = rows - len(paid)
    if missing:
        sys.exit(f"{missing} rows were never answered")
    for kill in kills:
        own = [asked for asked in log if asked.sender == kill.sender]
        kill.in_flight = sum(asked.ended > kill.at or not asked.ended for asked in own)
    after_kills = without = 0
    for answers in paid.values():
        answers.sort(key=lambda asked: int(asked.sender))
        for first, second in itertools.pairwise(answers):
            kill = killed.get(first.sender)
            if kill is None or first.sender == second.sender:
                without += 1
                continue
            after_kills += 1
            kill.again += 1
            kill.again_answered_before += first.ended <= kill.at
    return after_kills, without


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outage", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.1, metavar="SECONDS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(Service(given.rows, given.outage, given.latency).run())
        return
    serving = [sys.executable, __file__, *sys.argv[1:], "--serve"]
    service = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            assert service.stdout is not None
            chat_port, control_port = map(int, service.stdout.readline().split())
            driver = Driver(Path(folder), chat_port, control_port)
            driver.prepare(given.rows, given.in_flight)
            kills, starts, seconds = run_killed(driver, given.rows, given.kills, given.outage)
            log = [Asked(**asked) for asked in driver.read("log")]
            after_kills, without = judge(log, kills, given.rows)
            if driver.start(CALM, "calm.csv").wait(LONGEST_RUN_SECONDS):
                sys.exit(f"the calm run failed:\n{(Path(folder) / 'score.log').read_text()[-3000:]}")
            is_equal = (Path(folder) / "out.csv").read_bytes() == (Path(folder) / "calm.csv").read_bytes()
            written = sum(1 for _ in (Path(folder) / "out.csv").open()) - 1
    finally:
        service.terminate()
        service.wait()
    answers = Counter(asked.answer for asked in log)
    done = f"{len(kills)} kills, {starts} starts, outage of {given.outage:g} s, {seconds:.0f} s in all"
    print(f"{given.rows:,} rows, {done}")
    print("answered  " + ", ".join(f"{name} {count:,}" for name, count in answers.most_common()))
    print(f"{'kill':>6}{'answered':>10}{'in flight':>11}{'paid again':>12}{'answered before the kill':>26}")
    for number, kill in enumerate(kills, 1):
        when = " (outage)" if kill.in_outage else ""
        print(
            f"{number:>6}{kill.answered:>10,}{kill.in_flight:>11}{kill.again:>12}{kill.again_answered_before:>26}{when}"
        )
    bound = given.in_flight + COMMIT_ANSWERS
    worst = max((kill.again for kill in kills), default=0)
    total = sum(kill.in_flight for kill in kills)
    print(
        f"paid again after a kill: {after_kills} ({100 * after_kills / given.rows:.2f}% of the rows), in flight at the "
        f"kills: {total}; at most {worst} after one kill (allowed: {given.in_flight} in flight and {COMMIT_ANSWERS} "
        f"awaiting their commit)"
    )
    print(f"paid twice without a kill: {without}")
    print(f"output: {written:,} rows, {'equal to' if is_equal else 'DIFFERENT from'} the calm run's")
    if not is_equal or without or worst > bound or written != given.rows:
        sys.exit(1)


if __name__ == "__main__":
    main()
