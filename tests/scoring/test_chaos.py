"""The short form of `benchmarks/chaos.py`, which judges itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "chaos.py"


@pytest.mark.slow
def test_a_score_that_is_killed_while_its_service_fails_pays_again_only_for_what_was_in_flight() -> None:
    given = ["--rows", "600", "--kills", "2", "--outage", "2", "--in-flight", "16", "--latency", "0.05"]
    ran = subprocess.run([sys.executable, str(BENCHMARK), *given], capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "600 rows, equal to the calm run's" in ran.stdout
    assert "600 rows, 2 kills" in ran.stdout
