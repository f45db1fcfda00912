"""How much work something takes, counted: the same number on a slow machine as on a fast one."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def python_calls(work: Callable[[], Any]) -> Counter[str]:
    """How often each function that is written in Python was called on this thread, by qualified name."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def peak_bytes(work: Callable[[], Any]) -> int:
    """Memory that this process takes beyond what it had, while something runs.

    Linux tells it, to some megabytes, for nothing; elsewhere each allocation is noted, which takes three times as long.
    """
    resets = Path("/proc/self/clear_refs")
    if not resets.exists():
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    resets.write_text("5")  # the peak is counted anew
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
