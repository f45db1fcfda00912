"""Several endpoints of one model: how much of what they allow together is used, also while one of them is dead.

    python benchmarks/endpoint_pool.py [--seconds 30]

Three servers, each a process with a limit of its own (600, 600 and 1,200 requests a minute, a burst of 5, 100 ms), tell
it by their headers. One engine asks them as one model. After a third of the time the largest is killed (kill -9),
after two thirds it is started again on the same port. The rates are those of answers, by the client's clock, without
the 5 seconds after each change.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

RATES_A_MINUTE = (600, 600, 1200)
SETTLING_SECONDS = 5.0
KEY = "sk-benchmark"


def serve(port: int, per_minute: float) -> None:
    from luthier_local import LocalServer, ModelCard

    limits = {"requests_per_minute": per_minute, "burst_requests": 5, "latency_seconds": 0.1}
    with LocalServer(models=[ModelCard("m")], api_key=KEY, port=port, **limits) as running:
        print(running.port, flush=True)
        threading.Event().wait()


class Server:
    def __init__(self, per_minute: float) -> None:
        self.per_minute, self.port = per_minute, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, __file__, "--serve", str(self.port), str(self.per_minute)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Times:
    """When each answer came."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def expect(self, requests: int) -> None: ...
    def retried(self, wait_seconds: float) -> None: ...
    def working(self, what: str, done: float, total: float | None, said: str) -> None: ...
    def completed(self, answer: object) -> None:
        self.at.append(time.monotonic())

    def rate(self, begin: float, end: float) -> float:
        begin += SETTLING_SECONDS
        return sum(begin <= at < end for at in self.at) / (end - begin)


def main(phase_seconds: float) -> None:
    from luthier.endpoints import Endpoint, Engine, Journal, Report, Request

    os.environ["BENCHMARK_KEY"] = KEY
    servers = [Server(rate) for rate in RATES_A_MINUTE]
    first, *others = (
        Endpoint(
            provider="compatible",
            model="m",
            base_url=f"http://127.0.0.1:{server.port}/v1",
            api_key_env="BENCHMARK_KEY",
            weight=server.per_minute,
        )
        for server in servers
    )
    pool = first.model_copy(update={"others": tuple(others)})
    both, every = sum(RATES_A_MINUTE[:2]) / 60, sum(RATES_A_MINUTE) / 60
    count = int(phase_seconds * (2 * every + both))
    requests = [
        Request("chat", {"messages": [{"role": "user", "content": f"Stars for visit {number}"}], "max_tokens": 2})
        for number in range(count)
    ]
    times, report, changes = Times(), Report(), [time.monotonic()]

    def disturb() -> None:
        for change in (servers[2].kill, servers[2].start):
            time.sleep(max(0.0, changes[-1] + phase_seconds - time.monotonic()))
            change()
            changes.append(time.monotonic())

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    engine = Engine(Journal(Path(tempfile.mkdtemp()) / "journal.db"))
    answers = engine.run(requests, pool, progress=times, report=report)
    disturbing.join()
    engine.close()
    for server in servers:
        server.kill()
    began, dead, back = changes
    for what, begin, end, allowed in (
        ("all three", began, dead, every),
        ("the largest dead", dead, back, both),
        ("all three again", back, max(times.at) - 1.0, every),
    ):
        rate = times.rate(begin, end)
        print(f"{what:18} {rate:5.1f} answers/s of {allowed:.1f} allowed: {rate / allowed:.2f}")
    failed = sum(answer.failure is not None for answer in answers)
    print(f"{count:,} rows, {failed} failed; {report.sent:,} HTTP calls, {report.rate_limited} of them answered 429")
    print("\n".join(report.notes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0, help="of each third")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "RATE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(int(given.serve[0]), float(given.serve[1]))
    else:
        main(given.seconds)
