"""Does the engine use what a service allows, and no more? 300 requests a minute, 600 rows.

    python benchmarks/rate_limit.py [--rows 600] [--per-minute 300]

The embedded server runs in a process of its own with a real limit: a bucket that refills
continuously and holds 5. The engine is told nothing; it learns the rate from the answers' headers.
Takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

KEY = "sk-benchmark-only"


def serve(per_minute: float) -> None:
    from luthier_local import LocalServer

    with LocalServer(api_key=KEY, requests_per_minute=per_minute, burst_requests=5, latency_seconds=0.1) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()
        print(server.received.by_status, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--per-minute", type=float, default=300)
    parser.add_argument("--told", action="store_true", help="name the limit in the endpoint's settings as well")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.per_minute)
        return
    from luthier.endpoints import Answer, Endpoint, Engine, Journal, Limits, Request

    me = [sys.executable, __file__, "--serve", "--per-minute", str(given.per_minute)]
    server = subprocess.Popen(me, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    os.environ["BENCHMARK_KEY"] = KEY
    limits = Limits(requests_per_minute=given.per_minute if given.told else None)
    endpoint = Endpoint(
        provider="compatible",
        model="deterministic",
        base_url=server.stdout.readline().strip(),
        api_key_env="BENCHMARK_KEY",
        limits=limits,
    )

    class Times:
        def __init__(self) -> None:
            self.landed_at: list[float] = []

        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None:
            self.landed_at.append(time.perf_counter())

        def retried(self, wait_seconds: float) -> None: ...

    requests = [
        Request("chat", {"messages": [{"role": "user", "content": f"Stars for review {row}:"}], "max_tokens": 2})
        for row in range(given.rows)
    ]
    times = Times()
    engine = Engine(Journal.in_memory())
    answers = engine.run(requests, endpoint, progress=times)
    seconds = times.landed_at[-1] - times.landed_at[0]
    rate = (given.rows - 1) / seconds * 60
    report = engine.report
    for moment in report.history[endpoint.label]:
        print(f"  {moment.seconds:7.2f} s  {moment.what}; {moment.window} in flight at most")
    print(f"{sum(answer.failure is None for answer in answers)} of {given.rows} answered in {seconds:.1f} s")
    print(f"{rate:.1f} a minute, {100 * rate / given.per_minute:.1f}% of what is allowed (target: 95% or more)")
    share = report.rate_limited / report.sent
    print(f"{report.rate_limited} of {report.sent} requests answered 429, {100 * share:.2f}% (target: under 2%)")
    engine.close()
    server.communicate("")


if __name__ == "__main__":
    main()
