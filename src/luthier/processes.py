"""Processes told apart by pid and start time: a pid alone may be used again."""

from __future__ import annotations

import functools
import hashlib
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

__all__ = ["build_of_luthier", "ending_signals", "place_of_processes", "queued_signals", "linux_state", "start_time"]


def linux_state(pid: int) -> tuple[str, str] | None:
    """State and start time of a process; `None` where it has ended, or the system has no /proc to say so."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name before the last bracket may hold any bytes, brackets and spaces too.
    fields = stat.rpartition(b")")[2].decode().split()
    # A zombie has ended; its parent has not waited for it yet.
    return None if fields[0] in "ZX" else (fields[0], fields[19])


def start_time(pid: int) -> str | None:
    """When a process started, as a text to compare; `None` if it has ended or never was."""
    if pid <= 0:
        return None
    if sys.platform.startswith("linux"):
        found = linux_state(pid)
        return None if found is None else found[1]
    if sys.platform == "win32":
        return _windows_start_time(pid)
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split(maxsplit=1)
    return None if len(said) < 2 or said[0].startswith("Z") else said[1].strip()


@functools.cache
def place_of_processes() -> str:
    """The machine since its boot, and the namespace in which its process ids are valid."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _windows_start_time(pid: int) -> str | None:
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, pid)
    if not handle:
        return None
    created, ended, kernel_time, user_time = (wintypes.FILETIME() for _ in range(4))
    known = kernel.GetProcessTimes(handle, *(ctypes.byref(time) for time in (created, ended, kernel_time, user_time)))
    kernel.CloseHandle(handle)
    if not known or ended.dwLowDateTime or ended.dwHighDateTime:
        return None
    return f"{created.dwHighDateTime}.{created.dwLowDateTime}"


@functools.cache
def build_of_luthier() -> str:
    """Version and state of the code: a server of another build is not shared with this process."""
    try:
        version = metadata.version("luthier")
    except metadata.PackageNotFoundError:
        version = "0"
    state = hashlib.sha256(f"{sys.executable}".encode())
    for path in sorted((Path(__file__).parent.parent / "luthier_local").rglob("*.py")):
        found = path.stat()
        state.update(f"{path}:{found.st_size}:{found.st_mtime_ns}".encode())
    return f"{version}+{state.hexdigest()[:12]}"


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends.

    Under `nohup` SIGHUP is ignored, and stays so.
    """
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


@contextmanager
def queued_signals() -> Iterator[queue.SimpleQueue[int]]:
    """A queue that gets each signal that ends a command; in another thread than the main one, none.

    Not a `threading.Event`: a handler that sets it waits for ever where it interrupts that event's own `wait`.
    """
    came: queue.SimpleQueue[int] = queue.SimpleQueue()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, lambda number, _: came.put(number)) for number in ending_signals()}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
