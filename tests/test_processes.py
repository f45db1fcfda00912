"""Pids: what tells one process from another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from luthier.processes import build_of_luthier, ending_signals, queued_signals, start_time
from tests.patience import PATIENCE_SECONDS


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


def test_signals_that_end_a_command_wait_in_a_queue_and_handlers_come_back() -> None:
    before = {number: signal.getsignal(number) for number in ending_signals()}
    with queued_signals() as came:
        for number in before:
            signal.raise_signal(number)
        assert [came.get(timeout=PATIENCE_SECONDS) for _ in before] == list(before)
    assert {number: signal.getsignal(number) for number in before} == before
