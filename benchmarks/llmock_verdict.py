"""What an outside emulator says of our client: llmock, which has a real limiter and judges how a client retries.

    python benchmarks/llmock_verdict.py [--llmock PATH] [--rows 1500]

`--llmock` names the program of an installed llmock; without it one is installed into a temporary environment. Two
servers run at the same time: one that allows 600 requests and 60,000 tokens a minute and holds a minute's worth of
each, and one that answers 8% with 429, 4% with 500, 4% with 503 and 1% with 400 at random. The engine is told nothing
beforehand. llmock keeps a journal of all attempts and finds early retries, retries of what cannot work, storms, retries
without a pause, and calls that were given up although they could be retried. Takes two and a half minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
import venv
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

VERSION = "0.2.2"
REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 600, 60_000
MAX_TOKENS = 8
SERVERS = {
    "limits": ["--rpm", str(REQUESTS_PER_MINUTE), "--tpm", str(TOKENS_PER_MINUTE)],
    "faults": [
        option for rate in ("429=0.08", "500=0.04", "503=0.04", "400=0.01") for option in ("--error-rate", rate)
    ],
}


def installed(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", f"llmock=={VERSION}"], check=True)
    return str(programs / "llmock")


@contextmanager
def serving(program: str, options: list[str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "serve", "--port", str(port), "--latency-ms", "100", "--log-level", "warning", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{url}/_llmock/verdict").close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit(f"llmock did not start on port {port}: {' '.join(command)}")
        yield url
    finally:
        server.terminate()
        server.wait()


def judged(program: str, name: str, rows: int) -> str:
    from luthier.endpoints import Engine, Journal, Request, compatible

    text = "The soup was great and the waiter kind, but we sat next to the door. " * 2
    requests = [
        Request("chat", {"messages": [{"role": "user", "content": f"{row}. {text}"}], "max_tokens": MAX_TOKENS})
        for row in range(rows)
    ]
    with serving(program, SERVERS[name]) as url:
        engine = Engine(Journal.in_memory())
        began = time.monotonic()
        answers = engine.run(requests, compatible("gpt-4o-mini", f"{url}/v1"))
        seconds = time.monotonic() - began
        report = engine.report
        engine.close()
        with urllib.request.urlopen(f"{url}/_llmock/verdict") as reply:
            verdict = json.load(reply)
    failed = Counter(answer.failure for answer in answers if answer.failure is not None)
    told = [
        f"{name}: {'PASS' if verdict['passed'] else 'FAIL'}, {verdict['errors']} errors, {verdict['warnings']} "
        f"warnings; {verdict['calls']} calls, {verdict['attempts']} attempts, {verdict['faults_injected']} faults",
        f"  {rows} rows in {seconds:.1f} s, {rows / seconds * 60:.0f} a minute; 429: {report.rate_limited} of "
        f"{report.sent} ({100 * report.rate_limited / report.sent:.2f}%); failed: {dict(failed) or 'none'}",
    ]
    told += [f"  {found['severity']} {found['code']}: {found['title']}" for found in verdict["findings"][:10]]
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llmock", help="path of the program")
    parser.add_argument("--rows", type=int, default=1500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        program = given.llmock or installed(Path(folder) / "llmock")
        for said in pool.map(lambda name: judged(program, name, given.rows), SERVERS):
            print(said, flush=True)


if __name__ == "__main__":
    main()
