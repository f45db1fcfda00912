"""Kills a process that asks by batch again and again while the service loses answers; counts what was bought.

    python benchmarks/batch_kills.py --kills 20 --rows 3000

Every fourth order and every fifth upload is done and its answer lost; one list in eleven and one download in three
fails. The service's own log says how many lines it answered: each request once, if nothing was bought twice.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile

KEY = "sk-benchmark-0123456789"
LINES = "batches/chat/completions"
ASKING = """
import sys
from luthier.batches.asking import ask_by_batch
from luthier.batches.settings import BatchSettings
from luthier.endpoints import Endpoint, Request, RunOptions, default_engine
endpoint, engine = Endpoint.model_validate_json(sys.argv[1]), default_engine()
texts = [f"Stars for: great soup {number}" for number in range(int(sys.argv[2]))]
asked = [Request("chat", {"messages": [{"role": "user", "content": text}], "max_tokens": 4}) for text in texts]
def conversation():
    return (yield asked)
def lacking():
    return [(request, endpoint) for request in engine.recall(conversation(), endpoint).missing]
settings = BatchSettings(most_lines=len(asked) // 4, poll_seconds=0.2, settle_seconds=2.0)
outcome = ask_by_batch(lacking, RunOptions(engine=engine), wait=True, purpose="benchmark", settings=settings)
assert outcome.complete and not list(lacking())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    from luthier.endpoints import Endpoint
    from luthier_local import Fault, LocalServer, ModelCard

    faults = [
        Fault("done_reset", path="batches", method="POST", every=4),
        Fault("done_reset", path="files", method="POST", every=5),
        Fault("status", path="batches", method="GET", every=11, status=503),
        Fault("status", path="content", every=3, status=500),
    ]
    os.environ |= {"LUTHIER_HOME": tempfile.mkdtemp(), "BENCHMARK_KEY": KEY}
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY, faults=faults) as server:
        endpoint = Endpoint(
            provider="compatible", base_url=server.base_url, model="stars-model", api_key_env="BENCHMARK_KEY"
        )
        document = endpoint.model_dump_json(exclude_defaults=True)
        kills = until_complete([sys.executable, "-c", ASKING, document, str(given.rows)], given.kills, given.seed)
        received = server.received.by_path
    bought = f"{received[LINES]:,} lines answered in {received['batches']} batches"
    print(f"{kills} kills; {given.rows:,} requests, {bought}")


def until_complete(program: list[str], most_kills: int, seed: int) -> int:
    """Starts the program until it ends by itself; returns how often it was killed."""
    moments, kills = random.Random(seed), 0
    while True:
        with subprocess.Popen(program) as process:
            try:
                if process.wait(moments.uniform(0.8, 3.0) if kills < most_kills else 600) == 0:
                    return kills
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1


if __name__ == "__main__":
    main()
