"""The real `mlflow` command on a packaged model, and what its server answers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_SECONDS

COLUMNS = ["label", "probability", "p_1", "p_2", "p_3", "p_4", "p_5", "expected", "state"]
BIN = Path(sys.executable).parent


def environment(store: str) -> dict[str, str]:
    """What the command runs in: this Python's programs and the test's tracking store."""
    path = os.pathsep.join([str(BIN), str(REPOSITORY / ".tools" / "bin"), os.environ["PATH"]])
    return {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}


def predicted_in_process(model_uri: str, source: Path | str) -> list[dict[str, Any]]:
    """What `mlflow models predict` writes for a csv: its own code, in this process, which has loaded MLflow already."""
    from mlflow.models.cli import commands

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.json"
        options = ["-i", str(source), "-t", "csv", "-o", str(target), "--env-manager", "local"]
        done = CliRunner().invoke(commands, ["predict", "-m", model_uri, *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(target.read_bytes(), parse_constant=pytest.fail)["predictions"]
    return found


@contextlib.contextmanager
def served(store: str, model_uri: str) -> Iterator[str]:
    """`mlflow models serve` on a free port; gives its address at once, before it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            [BIN / "mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local", "-p", str(port),
             "-h", "127.0.0.1"],
            env=environment(store), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        except BaseException:
            log.seek(0)
            print(log.read()[-3000:])
            raise
        finally:
            os.killpg(server.pid, 15)
            server.wait(PATIENCE_SECONDS)


def invoked(url: str, texts: pd.Series[Any]) -> dict[str, Any]:
    """What the server answers to these texts, as soon as it listens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=PATIENCE_SECONDS):
                break
        except OSError:
            if time.monotonic() > deadline:
                pytest.fail(f"nobody listens at {url}")
            # Polled, because a server has no other way to say that it listens.
            time.sleep(0.2)
    records = [{"text": text} for text in texts.astype(object).where(texts.notna(), None)]
    request = urllib.request.Request(
        f"{url}/invocations",
        json.dumps({"dataframe_records": records}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
        found: dict[str, Any] = json.loads(reply.read(), parse_constant=pytest.fail)
    return found
