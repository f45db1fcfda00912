"""Ten minutes of steady load on a local deployment that is updated every minute and loses a process every two.

    python benchmarks/deployment_soak.py [--minutes 10] [--rate 100] [--kill server,controller,supervisor]

Two versions of one model answer the same text differently, so that an answer tells which version gave it. Every minute
the deployment is updated to the other one; every second minute one of the processes of `--kill`, in turn, is killed
with SIGKILL: by default the server that answers. Printed are the requests that failed, how many of them at a kill, the
answers of a version that was not deployed at that moment, and the memory of controller and servers, minute by minute.
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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

BIN = Path(sys.executable).parent
CLIENTS = 16
WATCH_SECONDS = 15

PREPARE = """
import pandas as pd, luthier as lt
words = {"good": ["fine", "lovely", "superb"], "bad": ["awful", "cold", "rude"]}
rows = [(f"a {word} place, visit {n}", label) for n in range(20) for label, some in words.items() for word in some]
table = pd.DataFrame(rows, columns=["text", "label"])
other = table.assign(label=table["label"].map({"good": "bad", "bad": "good"}))
for rows in (table, other):
    rows = rows.sample(frac=1, random_state=7)
    board = lt.compare(lt.Baseline(lt.Task("mood", labels=["bad", "good"])), test=rows[80:], train=rows[:80])
    lt.log(board.best, register="mood")
"""
ANSWER_OF = {"1": "good", "2": "bad"}


@dataclass
class Seen:
    """What the clients saw."""

    answered: int = 0
    failed: list[tuple[float, float, str]] = field(default_factory=list)
    wrong: list[tuple[float, str]] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0


class Versions:
    """Which versions may answer at which time."""

    def __init__(self, version: str) -> None:
        self.spans: list[tuple[float, float, str]] = [(time.monotonic(), float("inf"), version)]

    def began(self, version: str) -> None:
        self.spans.append((time.monotonic(), float("inf"), version))

    def ended(self, version: str) -> None:
        for place, (start, end, one) in enumerate(self.spans):
            if one == version and end == float("inf"):
                self.spans[place] = (start, time.monotonic(), one)

    def allows(self, version: str, start: float, end: float) -> bool:
        return any(one == version and begin <= end and start <= over for begin, over, one in self.spans)


async def client(url: str, seen: Seen, versions: Versions, until: float, pause: float) -> None:
    body = {"dataframe_split": {"columns": ["text"], "data": [["a lovely place, visit 3"]]}}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
        while (start := time.monotonic()) < until:
            try:
                async with session.post(f"{url}/invocations", json=body) as reply:
                    said = await reply.json()
                end = time.monotonic()
                if reply.status != 200:
                    seen.failed.append((start, end, f"{reply.status} {said}"))
                else:
                    version = reply.headers["X-Luthier-Model-Version"]
                    seen.answered += 1
                    seen.versions[version] += 1
                    seen.slowest_seconds = max(seen.slowest_seconds, end - start)
                    label = said["predictions"][0]["label"]
                    if ANSWER_OF.get(version) != label or not versions.allows(version, start, end):
                        seen.wrong.append((end, f"version {version} said {label}"))
            except (aiohttp.ClientError, TimeoutError) as error:
                seen.failed.append((start, time.monotonic(), f"{type(error).__name__}: {error}"))
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - start)))


def memory_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


class Deployment:
    """The deployment, by its command."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.environment = os.environ | {
            "LUTHIER_HOME": str(folder / "home"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }

    def luthier(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / "luthier"), *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"luthier {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def update(self, version: str) -> None:
        self.luthier(
            "deploy", f"models:/mood/{version}", "--target", "local", "--name", "soak", "--no-key",
            "--port", str(self.port), "--config", f"watch_seconds={WATCH_SECONDS}",
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.luthier("deploy", "status", "soak", "--json"))[0]
        return found

    def controller(self) -> int:
        asked = "from luthier.deployments.supervision import state; print(state().controller_pid or 0)"
        return int(subprocess.run([sys.executable, "-c", asked], env=self.environment, stdout=subprocess.PIPE).stdout)

    def supervisors(self) -> list[int]:
        file = self.folder / "home" / "deployments" / "supervisord.pid"
        return [int(file.read_text())] if file.exists() else []  # systemd's is not ours to kill


async def soak(deployment: Deployment, minutes: int, rate: float, killed: list[str]) -> None:
    seen, versions, kills = Seen(), Versions("1"), list[float]()
    url, begin = f"http://127.0.0.1:{deployment.port}", time.monotonic()
    until = begin + 60 * minutes
    clients = []
    for _ in range(CLIENTS):
        clients.append(asyncio.create_task(client(url, seen, versions, until, CLIENTS / rate)))
        await asyncio.sleep(1 / rate)
    version = "1"
    for minute in range(minutes):
        at = begin + 60 * minute
        await asyncio.sleep(max(0.0, at + 10 - time.monotonic()))
        other = "2" if version == "1" else "1"
        versions.began(other)
        await asyncio.to_thread(deployment.update, other)
        versions.ended(version)
        version = other
        took = time.monotonic() - at - 10
        await asyncio.sleep(max(0.0, at + 50 - time.monotonic()))
        said = await asyncio.to_thread(deployment.status)
        servers = [one["pid"] for one in said["revisions"] if one["state"] == "serving" and one["pid"]]
        memory = ", ".join(f"server {memory_mb(pid):.0f} MB" for pid in servers)
        controller = await asyncio.to_thread(deployment.controller)
        print(
            f"minute {minute + 1}: version {version} after {took:.0f} s, {seen.answered:,} answered, "
            f"{len(seen.failed)} failed, {len(seen.wrong)} wrong; controller {memory_mb(controller):.0f} MB, {memory}",
            flush=True,
        )
        if minute % 2:
            victim = killed[minute // 2 % len(killed)]
            pids = {"server": servers, "controller": [controller], "supervisor": deployment.supervisors()}
            for pid in pids[victim]:
                kills.append(time.monotonic())
                os.kill(pid, signal.SIGKILL)
                print(f"{victim} {pid} was killed", flush=True)
    await asyncio.gather(*clients)
    # Sent before the kill, or before the client heard that its connection had gone with the process.
    in_killed = [one for one in seen.failed if any(one[0] - 0.05 <= kill <= one[1] for kill in kills)]
    print(
        f"{seen.answered:,} answered ({dict(seen.versions)}), slowest {seen.slowest_seconds:.1f} s, "
        f"{len(kills)} processes killed, {len(seen.failed)} failed ({len(in_killed)} of them at a kill), "
        f"{len(seen.wrong)} answered by a wrong version"
    )
    for start, end, why in [one for one in seen.failed if one not in in_killed][:10]:
        print(f"  failed at {end - begin:.1f} s after {end - start:.2f} s: {why}")
    for at, why in seen.wrong[:10]:
        print(f"  wrong at {at - begin:.1f} s: {why}")


def main() -> None:
    """Prints what failed, what was wrong, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--kill", default="server", help="of server, controller and supervisor, with commas")
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as scratch:
        deployment = Deployment(Path(scratch), port)
        (deployment.folder / "prepare.py").write_text(PREPARE)
        prepare = [sys.executable, "prepare.py"]
        subprocess.run(
            prepare, cwd=deployment.folder, env=deployment.environment, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deployment.update("1")
        try:
            asyncio.run(soak(deployment, given.minutes, given.rate, given.kill.split(",")))
        finally:
            deployment.luthier("deploy", "delete", "soak", "--yes")


if __name__ == "__main__":
    main()
