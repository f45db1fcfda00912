"""Pids: what tells one process from another."""

from __future__ import annotations

import os
import subprocess
import sys

from luthier.processes import build_of_luthier, start_time


def test_a_running_process_keeps_its_start_time() -> None:
    assert start_time(os.getpid()) is not None
    assert start_time(os.getpid()) == start_time(os.getpid())


def test_an_ended_process_has_none_even_before_it_is_reaped() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    with ended.stdout:
        ended.stdout.read()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(ended.pid) is None
    ended.wait()
    assert start_time(ended.pid) is None


def test_the_build_is_the_same_for_every_process() -> None:
    program = "from luthier.processes import build_of_luthier; print(build_of_luthier())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == build_of_luthier()
