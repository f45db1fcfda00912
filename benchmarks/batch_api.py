"""What the Batch API costs this machine: ordering and collecting, in CPU and memory.

    python benchmarks/batch_api.py --rows 20000            # order and collect, answered by the embedded server
    python benchmarks/batch_api.py --rows 1000000 --order  # order only

The embedded server runs in a process of its own; what is printed is this process's share.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

KEY = "sk-benchmark-0123456789"
TEXT = "The food was good and the service was fine, but we waited for an hour. " * 4
SERVER = f"""
import sys
from luthier_local import Fault, LocalServer, ModelCard
faults = [Fault("slow", path="chat/completions", delay_seconds=3600)] if len(sys.argv) > 1 else []
with LocalServer(models=[ModelCard("stars-model")], api_key={KEY!r}, faults=faults) as server:
    print(server.base_url, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--order", action="store_true", help="do not wait for answers")
    given = parser.parse_args()
    os.environ |= {"LUTHIER_HOME": tempfile.mkdtemp(), "BENCHMARK_KEY": KEY}
    program = [sys.executable, "-c", SERVER, *(["slow"] if given.order else [])]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        try:
            measure(server.stdout.readline().strip(), given.rows, order_only=given.order)
        finally:
            server.stdin.close()


def measure(base_url: str, rows: int, *, order_only: bool) -> None:
    from luthier.batches.asking import ask_by_batch
    from luthier.batches.service import BatchService
    from luthier.endpoints import Endpoint, Request, RunOptions, cancel_batch, default_engine, open_batches

    endpoint = Endpoint(provider="compatible", base_url=base_url, model="stars-model", api_key_env="BENCHMARK_KEY")
    engine = default_engine()

    def requests() -> Iterator[tuple[Request, Endpoint]]:
        for number in range(rows):
            messages = [{"role": "user", "content": f"Stars for: {TEXT}{number}"}]
            yield Request("chat", {"messages": messages, "max_tokens": 4, "temperature": 0}), endpoint

    options = RunOptions(engine=engine)
    began, worked = time.perf_counter(), time.process_time()
    outcome = ask_by_batch(requests, options, wait=False, purpose="benchmark")
    told("ordered", rows, began, worked)
    print([batch.lines for batch in outcome.batches])
    if order_only:
        for batch in open_batches(engine):
            cancel_batch(batch.token, engine, forget=True)
        return
    while batches := open_batches(engine):
        service = BatchService(endpoint)
        if all(service.poll(str(batch.batch_id)).ended for batch in batches):
            break
        time.sleep(1.0)
    began, worked = time.perf_counter(), time.process_time()
    outcome = ask_by_batch(lambda: iter(()), options, wait=False, purpose="benchmark")
    told("collected", outcome.answered, began, worked)


def told(what: str, rows: int, began: float, worked: float) -> None:
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what} {rows:,} rows in {seconds:.1f} s, {1e6 * cpu / rows:.0f} us of CPU a row, peak {memory:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
