"""The lines of a server's log: what they hold, what they never hold, and what cannot break them."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from luthier.serving import access_log
from luthier.serving.access_log import AccessLog, server_log
from luthier.serving.served_model import ScoringAnswer, ServedModelFacts
from luthier.serving.served_request import ServedRequest
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS, until
from tests.serving.served import EchoModel, ask, running

FILE = Path("server.log")
FACTS = ServedModelFacts("models:/stars/3", "stars", "3")
EVIL = 'x\n{"status": 200}\r\x1b[31m\u202e\ud800"\\'


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def of(**given: Any) -> ServedRequest:
    return ServedRequest(
        **{"request_id": "r", "method": "POST", "path": "/invocations", "status": 200, "seconds": 0.1234, **given}
    )


def test_a_request_is_one_line_with_what_it_was_and_who_answered_it() -> None:
    with server_log(FILE):
        AccessLog(FACTS, 7).observed(of(key="app", answer=ScoringAnswer(["secret"], 3, {"ok": 2, "failed": 1})))
    [line] = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "luthier.serving.access",
        "request_id": "r",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "milliseconds": 123.4,
        "rows": 3,
        "states": {"ok": 2, "failed": 1},
        "error_code": None,
        "key": "app",
        "model": "stars",
        "model_version": "3",
        "revision": 7,
    }


def test_probes_are_logged_where_they_fail() -> None:
    with server_log(FILE):
        for path in ("/ping", "/health", "/ready", "/metrics"):
            AccessLog(FACTS).observed(of(path=path))
        AccessLog(FACTS).observed(of(path="/ready", status=503))
    assert [(line["path"], line["status"]) for line in lines()] == [("/ready", 503)]


def test_no_bytes_of_a_client_break_a_line() -> None:
    with server_log(FILE):
        AccessLog(FACTS).observed(of(request_id=EVIL, method=EVIL, path=EVIL))
        logging.getLogger("luthier.serving").warning("said: %s", EVIL)
    assert [line.get("request_id", line.get("message")) for line in lines()] == [EVIL, f"said: {EVIL}"]
    assert FILE.read_bytes().isascii()


def test_what_luthier_logs_is_in_the_file_and_a_bug_keeps_its_traceback_but_not_its_words() -> None:
    with server_log(FILE):
        try:
            try:
                raise KeyError("the soup was cold")
            except KeyError as error:
                raise RuntimeError("the soup was cold") from error
        except RuntimeError:
            logging.getLogger("luthier.engine").exception("request failed")
    [line] = lines()
    assert (line["logger"], line["level"], line["message"]) == ("luthier.engine", "error", "request failed")
    assert "builtins.KeyError" in line["exception"]
    assert "builtins.RuntimeError" in line["exception"]
    assert "test_access_log.py" in line["exception"]
    assert not [one for one in FILE.read_text().splitlines() if ": the soup" in one]


def test_the_log_ends_with_its_block_and_leaves_the_loggers_as_they_were() -> None:
    luthier = logging.getLogger("luthier")
    before = luthier.level, luthier.propagate, list(luthier.handlers)
    with server_log(FILE):
        pass
    assert (luthier.level, luthier.propagate, list(luthier.handlers)) == before


class Stuck(io.StringIO):
    """A stream whose reader does not read, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()

    def write(self, text: str) -> int:
        assert self.is_free.wait(PATIENCE_SECONDS)
        return super().write(text)


def test_nobody_waits_for_a_reader_that_is_stuck_and_lost_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MOST_WAITING", 10)
    stuck, logger = Stuck(), logging.getLogger("luthier.serving")
    monkeypatch.setattr(sys, "stderr", stuck)
    with server_log(None):
        for number in range(1_000):
            logger.info("line %d", number)
        stuck.is_free.set()
        until(lambda: "line 9" in stuck.getvalue())
        logger.info("end")
    said = [json.loads(line)["message"] for line in stuck.getvalue().splitlines()]
    assert said[-1] == "end"
    lost = [int(line.split()[0]) for line in said if line.endswith("of the log are lost")]
    written = [line for line in said if line.startswith("line ")]
    assert sum(lost) > 900
    assert sum(lost) + len(written) == 1_000


def test_a_reader_that_is_stuck_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MOST_WAITING", 10)
    monkeypatch.setattr(access_log, "END_SECONDS", 0.05)
    stuck = Stuck()
    monkeypatch.setattr(sys, "stderr", stuck)
    with server_log(None):
        for number in range(20):
            logging.getLogger("luthier.serving").info("line %d", number)
    assert stuck.getvalue() == ""
    stuck.is_free.set()


def test_two_processes_write_one_file_and_no_line_is_lost_when_it_is_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "from luthier.serving import access_log\n"
        "access_log.MOST_BYTES, access_log.KEPT_FILES = 20_000, 50\n"
        "access_log.GATHER_SECONDS, access_log.MOST_TOGETHER = 0, 20\n"
        "with access_log.server_log(Path('server.log')):\n"
        "    for number in range(1000):\n"
        "        logging.getLogger('luthier.serving').info('%s %d', sys.argv[1], number)\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "ab"]
    assert [process.wait(timeout=PATIENCE_SECONDS) for process in both] == [0, 0]
    files = [file for file in Path().glob("server.log*") if not file.name.endswith(".lock")]
    said = [json.loads(line)["message"] for file in files for line in file.read_text().splitlines()]
    assert sorted(said) == sorted(f"{name} {number}" for name in "ab" for number in range(1000))
    assert len(files) > 3


def test_on_a_terminal_a_line_is_short_and_cannot_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with server_log(None):
            AccessLog(FACTS).observed(of(key="app", answer=ScoringAnswer([], 3, {"ok": 2, "failed": 1})))
            AccessLog(FACTS).observed(of(request_id="r", path=EVIL, status=404, error_code="NOT"))
        said = os.read(ours, 10_000).decode()
    os.close(ours)
    first, second = said.strip().split("\r\n")
    assert first[9:] == "POST /invocations 200 123.4 ms, 3 rows, 1 failed, key app"
    assert second[9:].startswith("POST x\\n{")
    assert "\x1b" not in said and "\u202e" not in said


def test_a_server_logs_neither_texts_nor_keys_nor_queries() -> None:
    with server_log(FILE), running(EchoModel(), ServerSettings(port=0, without_key=True)) as (_, listening):
        ask(listening, "POST", "/invocations?token=s3cret", {"inputs": ["the soup was cold"]}, x_api_key="lk_s3cret")
        ask(listening, "POST", "/invocations", {"inputs": ["bug"]})
        ask(listening, "GET", "/the-soup")
    assert [line["status"] for line in lines() if "status" in line] == [200, 500, 404]
    text = FILE.read_text()
    assert not [word for word in ("soup", "s3cret", "secret cell") if word in text.replace("'secret cell' in it", "")]
