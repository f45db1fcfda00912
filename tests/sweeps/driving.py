"""A process that drives trials as a driver does, without jobs: `python -m tests.sweeps.driving URL FOLDER [WORK]`.

Each trial is marked in FOLDER while it is driven, so that one that two processes drive at once is noticed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from luthier.errors import BudgetReached
from luthier.processes import start_time
from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.store import Claim, StoredStudy, SweepStore
from luthier.sweeps.trial import StudyFacts
from tests.conftest import REPOSITORY
from tests.sweeps.studies import F1, facts

LEASE_SECONDS = 60.0
PRICE_USD = 0.5
SPACE: dict[str, Any] = {
    "tuning.epochs": optuna.distributions.IntDistribution(1, 20),
    "tuning.learning_rate_multiplier": optuna.distributions.FloatDistribution(0.05, 2, log=True),
}
TRACED = ("luthier/sweeps/", "optuna/storages/_rdb/storage.py", "optuna/storages/_cached_storage.py")


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The settings of a trial."""
    return {
        "tuning.epochs": trial.suggest_int("tuning.epochs", 1, 20),
        "tuning.learning_rate_multiplier": trial.suggest_float("tuning.learning_rate_multiplier", 0.05, 2, log=True),
    }


def joined(
    url: str | None = None, given: StudyFacts | None = None, lease_seconds: float = LEASE_SECONDS
) -> StoredStudy:
    """A study with the sampler of a sweep."""
    return SweepStore(url, lease_seconds).join(given or facts(), sampler_of("tpe", 7, [F1], SPACE))


def opened(url: str) -> StoredStudy:
    """The study that is there."""
    return SweepStore(url).open(sampler=sampler_of("tpe", 7, [F1], SPACE))


def claimed(study: StoredStudy) -> Claim:
    """A trial to drive; there is one."""
    claim = study.claim(suggest)
    assert claim is not None
    return claim


def drive(study: StoredStudy, claim: Claim, folder: Path, work_seconds: float = 0.0) -> None:
    """Takes a trial from its claim to its end."""
    with marked(folder, claim.number):
        study.reserve(claim, PRICE_USD)
        study.note(claim, job=f"ftjob-{claim.number:04}", planned_tokens=1_000)
        for step in (1, 2):
            study.report(claim, step, 1.0 / step)
            time.sleep(work_seconds / 2)
        assert study.renew([claim]) == []
        study.note(claim, measured={"weighted_f1": 0.5})
        study.settle(claim, PRICE_USD)
        study.tell(claim, "complete", [claim.settings["tuning.epochs"] / 20])


@contextmanager
def marked(folder: Path, number: int) -> Iterator[None]:
    """Notes that this process drives a trial; fails where one that lives does so already."""
    mark = folder / f"{number}.mark"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        holder = mark.read_text()
        if holder and start_time(int(holder)) is not None:
            (folder / "driven-twice").write_text(f"trial {number} is driven by {holder} and by {os.getpid()}")
            raise
    mark.write_text(str(os.getpid()))
    try:
        yield
    finally:
        # Also where the budget ends it: another may take the trial while this process has not ended yet.
        mark.unlink()


def start(url: str, folder: Path, work_seconds: float = 0.0) -> subprocess.Popen[bytes]:
    """Starts a process that drives trials until there is none left."""
    command = [sys.executable, "-m", "tests.sweeps.driving", url, str(folder), str(work_seconds)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE)


def main(url: str, folder: Path, work_seconds: float) -> None:
    """Drives trials until there is none left, also none that another process may leave."""
    study = opened(url)
    while True:
        claim = study.claim(suggest)
        if claim is not None:
            try:
                drive(study, claim, folder, work_seconds)
            except BudgetReached:
                study.release(claim, "interrupted", "the budget")
                return
        elif study.live_elsewhere():
            time.sleep(0.05)
        else:
            return


def killed_at_each_line(url: str, folder: Path, every: int) -> None:
    """Drives trials, each in a process that is killed after so many lines, then after more, until one gets through."""
    lines = 0
    while True:
        lines += every
        child = os.fork()
        if child == 0:
            kill_after(lines)
            study = opened(url)
            drive(study, claimed(study), folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            print(lines)
            return


def kill_after(lines: int) -> None:
    """This process kills itself after so many lines of the code that keeps studies."""
    left = lines

    def line(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if not any(one in frame.f_code.co_filename for one in TRACED):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return line

    sys.settrace(line)


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[0] == "kill":
        killed_at_each_line(given[1], Path(given[2]), int(given[3]))
    else:
        main(given[0], Path(given[1]), float(given[2]))
