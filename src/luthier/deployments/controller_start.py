"""Starts the controller once it may: `python -P -m luthier.deployments.controller_start`, which a supervisor runs.

It takes a lock and becomes the controller (`exec`), so the lock is held as long as the controller lives, whatever its
parent is. A supervisor that was killed and started anew runs this a second time; that one waits for the lock, so the
controller that runs is kept, and a new one is started when it ends.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from luthier.deployments.records import controller_lock
from luthier.errors import UserError
from luthier.home import luthier_home
from luthier.outputs import write_file
from luthier.processes import start_time

__all__ = ["ControllerStart", "controller_output", "last_start", "main", "supervision_folder"]

STEADY_SECONDS = 60.0
"""A controller that ended later than this after its start is started anew at once."""

LONGEST_PAUSE_SECONDS = 60.0
LOOK_SECONDS = 0.2
LARGEST_OUTPUT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class ControllerStart:
    """A start of the controller.

    Attributes:
        pid: of the controller.
        start_time: tells it from another program that got the same pid.
        time: when it was started, in seconds since 1970.
        quick_ends: how many controllers before it, one after another, ended soon after their start.
    """

    pid: int
    start_time: str
    time: float
    quick_ends: int = 0

    def quick_ends_at(self, now: float) -> int:
        """The number for the next start, if this controller has ended now."""
        return self.quick_ends + 1 if now - self.time < STEADY_SECONDS else 0


def pause_before_start(quick_ends: int) -> float:
    """Seconds to wait: none after the first quick end, then 1, 2, 4, ... up to a minute."""
    return min(2.0 ** (quick_ends - 2), LONGEST_PAUSE_SECONDS) if quick_ends > 1 else 0.0


def supervision_folder() -> Path:
    """Folder of the supervisor's files and of the deployments; the former's names have a dot, those of the latter none.

    Its mode is 0700, also where `LUTHIER_HOME` is a folder that others can enter: what lies in it is run.

    Raises:
        UserError: it belongs to another user.
    """
    folder = luthier_home() / "deployments"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder} is no folder of yours; name another place for it with LUTHIER_HOME.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def controller_output() -> Path:
    """What the controller prints, such as the traceback of a crash."""
    return supervision_folder() / "controller.output.log"


def last_start() -> ControllerStart | None:
    """The last start, whether that controller still runs or not; `None` if there was none since it was stopped."""
    try:
        return ControllerStart(**json.loads(_record().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def forget_start() -> None:
    """Removes the record of the last start: the controller was stopped on purpose."""
    _record().unlink(missing_ok=True)


def _record() -> Path:
    return supervision_folder() / "controller.start.json"


def main() -> None:
    """Waits until no controller runs, then becomes one."""
    supervisor = _supervisor()
    _end_with(supervisor)
    _print_to_file()
    lock = os.open(supervision_folder() / "controller.start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    _take(lock, supervisor)
    with open(controller_lock(), "a") as other:
        # One that was started by hand does not have the lock above.
        _take(other.fileno(), supervisor)
    last = last_start()
    quick_ends = 0 if last is None else last.quick_ends_at(time.time())
    time.sleep(pause_before_start(quick_ends))
    _end_with(supervisor)
    started = ControllerStart(os.getpid(), start_time(os.getpid()) or "", time.time(), quick_ends)
    write_file(_record(), json.dumps(asdict(started)))
    os.set_inheritable(lock, True)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "luthier.deployments.controller"])


def _supervisor() -> int:
    """The supervisor's process. A parent may have been killed before this is asked, so supervisord's file is read."""
    if "SUPERVISOR_ENABLED" in os.environ:
        return int((supervision_folder() / "supervisord.pid").read_text())
    return os.getppid()


def _take(descriptor: int, supervisor: int) -> None:
    """Waits for a lock, as long as the supervisor lives."""
    import fcntl

    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            _end_with(supervisor)
            time.sleep(LOOK_SECONDS)


def _end_with(supervisor: int) -> None:
    """Ends this process if its supervisor has ended: the next supervisor starts one of its own."""
    if os.getppid() != supervisor:
        sys.exit(0)


def _print_to_file() -> None:
    """Prints to a file from now on: the supervisor's pipe breaks when the supervisor is killed."""
    file = controller_output()
    if file.exists() and file.stat().st_size > LARGEST_OUTPUT_BYTES:
        file.replace(file.with_suffix(".log.1"))
    with open(os.devnull, "rb") as nothing, open(file, "ab") as output:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


if __name__ == "__main__":
    main()
