"""A server of a Luthier model loads neither MLflow nor pandas, and nothing that Windows lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import luthier as lt
from luthier.tracking.store_file import store_uri

PROGRAM = """
import json, os, signal, socket, sys
from luthier.engine.loop import background_loop, wait_for
background_loop()
# What Windows does not have; asyncio made its loop before, because it needs some of it here.
sys.modules |= dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios", "uvloop"))
for module, name in ((socket, "AF_UNIX"), (os, "getuid"), (os, "setsid"), (signal, "SIGHUP"), (signal, "SIGKILL")):
    delattr(module, name)
import luthier.cli.serve, luthier.serving.server
from luthier.serving.models import open_model
from luthier.serving.served_model import ScoringRequest
from luthier.serving.settings import ServerSettings
model = open_model(sys.argv[1], ServerSettings(port=0, without_key=True))
wait_for(model.start())
answer = wait_for(model.answer(ScoringRequest("inputs", ["fine soup"]), 20))
heavy = [name for name in ("mlflow", "pandas", "pyarrow", "sklearn") if name in sys.modules]
peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
print(json.dumps([answer.rows, heavy, peak]))
wait_for(model.close())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_it_answers_without_mlflow_and_pandas_and_without_what_windows_lacks(model: lt.Model) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "models:/stars@champion"],
        env={**os.environ, "MLFLOW_TRACKING_URI": store_uri()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    rows, heavy, megabytes = json.loads(ended.stdout)
    assert (rows, heavy) == (1, [])
    assert megabytes < 150
