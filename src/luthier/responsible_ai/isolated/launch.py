"""Runs a module or a command that ends when the process that started it ends, however that one ends.

    python -I launch.py module FOLDER MODULE [ARGUMENT ...]     a module that lies in FOLDER, in this process
    python -I launch.py command PROGRAM [ARGUMENT ...]          any program, in a process below this one

The starter keeps the other end of standard input open and writes nothing. When it closes that end or is killed, this
process and those below it are sent SIGTERM. After a module, the last line of standard output is {"peak_mib": ...}, the
most memory that it took.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path


def end_with_the_starter() -> None:
    """Ends this process and those below it once standard input is closed."""
    while os.read(0, 4096):
        pass
    # A process group of its own comes with a session of its own; another group has processes that are not ours.
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def peak_mib() -> float | None:
    """Largest memory of this process, in MiB; `None` where the system does not say it."""
    if sys.platform.startswith("linux"):
        # Not `getrusage`, which counts the memory that the starter had when it forked.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next((int(line.split()[1]) / 2**10 for line in status.splitlines() if line.startswith("VmHWM:")), None)
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return None


def main() -> None:
    """Runs what the command line names."""
    threading.Thread(target=end_with_the_starter, daemon=True).start()
    _, kind, *rest = sys.argv
    if kind == "command":
        sys.exit(subprocess.call(rest, stdin=subprocess.DEVNULL))
    folder, module, *arguments = rest
    # Last, so that no module of the folder is taken for a package of the environment. In `absent` are stand-ins for
    # packages that are imported there and not needed.
    sys.path += [folder, str(Path(folder, module, "absent"))]
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        print(json.dumps({"peak_mib": peak_mib()}), flush=True)


if __name__ == "__main__":
    main()
