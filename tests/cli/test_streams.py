"""What a command writes, in the order it was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from luthier import __version__
from tests.patience import PATIENCE_SECONDS

CODE = """
import sys
from luthier.cli.main import app, main

@app.command("speak")
def speak() -> None:
    print("a result")
    print("progress", file=sys.stderr)
    print("another result")

sys.argv = ["luthier", "speak"]
main()
"""


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "luthier", "--version"], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_results_and_progress_keep_their_order_in_one_log_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as both:
        subprocess.run([sys.executable, "-c", CODE], stdout=both, stderr=both, check=True, timeout=PATIENCE_SECONDS)
    assert log.read_text().splitlines() == ["a result", "progress", "another result"]
