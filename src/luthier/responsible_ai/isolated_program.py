"""Runs the program of `isolated/` in its own environment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.engine.ask_options import Progress
from luthier.engine.progress import shown
from luthier.errors import UserError
from luthier.responsible_ai.child_process import ChildProcess

__all__ = ["ProgramUsage", "messages_of", "program_failure", "run_isolated", "start_isolated"]

PROGRAM = Path(__file__).parent / "isolated"
TICK_SECONDS = 0.5
TAIL_LINES = 40

PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
)
"""Variables the program sees, besides `LC_...`: any other may be a key, or may change what it imports."""

SETTINGS = {
    "MPLBACKEND": "Agg",
    # Nothing may be looked up on the network; these packages would try.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class ProgramUsage:
    """What a run of the program took."""

    seconds: float
    """From its start to its end."""
    peak_mib: float | None
    """The most memory it had at one time, in MiB; `None` where the system does not say it."""


def isolated_variables() -> dict[str, str]:
    """The environment variables of the program: those it needs, and no key of the user's."""
    kept = {
        name: value for name, value in os.environ.items() if name.upper() in PASSED_ON or name.upper().startswith("LC_")
    }
    return kept | SETTINGS


def start_isolated(python: Path, *arguments: str | Path, program: Path = PROGRAM) -> ChildProcess:
    """Starts `python -m isolated ARGUMENTS` in the environment; to be used as a context manager.

    Args:
        python: the environment's Python.
        arguments: what the program is told to do.
        program: folder of the package that is run.
    """
    return ChildProcess(python, ("module", program.parent, program.name, *arguments), isolated_variables())


def run_isolated(
    python: Path, *arguments: str | Path, progress: Progress | None = None, program: Path = PROGRAM
) -> ProgramUsage:
    """Runs the program to its end, and shows how far it is.

    Args:
        python: the environment's Python.
        arguments: what the program is told to do.
        progress: is told the program's steps; a bar on standard error when absent.
        program: folder of the package that is run.

    Returns:
        Time and memory it took.

    Raises:
        UserError: the program said what the user can correct, was killed, as a system without memory does, or lacks
            a library of the system.
        RuntimeError: it failed in another way, which is a fault of the program.
    """
    began, peak_mib = time.monotonic(), None
    with shown(progress, "dashboards") as display, start_isolated(python, *arguments, program=program) as child:
        for message in messages_of(child, display):
            peak_mib = message.get("peak_mib", peak_mib)
        if child.wait() != 0:
            raise program_failure(child)
    return ProgramUsage(time.monotonic() - began, peak_mib)


def messages_of(child: ChildProcess, progress: Progress) -> Iterator[dict[str, Any]]:
    """What the program says until it ends, one JSON object a line; its steps are shown.

    Raises:
        UserError: it says `{"error": ...}`.
    """
    step, done, of = "dashboards", 0.0, None
    for line in child.lines(TICK_SECONDS):
        message = {} if line is None else _read(line)
        if "error" in message:
            raise UserError(str(message["error"]))
        if "step" in message:
            step, done, of = str(message["step"]), message.get("done", 0.0), message.get("of")
        # Told again while the program is silent: the time that has passed is shown.
        progress.working(step, done, of, "")
        yield message


def program_failure(child: ChildProcess) -> Exception:
    """Why a program ended that should not have, with the end of what it wrote to standard error."""
    code = child.wait()
    said = "\n".join(child.errors().splitlines()[-TAIL_LINES:])
    if code == -9:
        return UserError(
            "the program that makes the dashboards was killed. A system that runs out of memory does that; "
            "take fewer rows, or a machine with more memory."
        )
    if "libomp.dylib" in said:
        return UserError("LightGBM, which makes the error tree, needs OpenMP on a Mac. Type: brew install libomp")
    return RuntimeError(f"the program that makes the dashboards ended with exit code {code}. It wrote:\n{said}")


def _read(line: str) -> dict[str, Any]:
    """A line as a message; an empty one for what some package printed."""
    try:
        read = json.loads(line)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
