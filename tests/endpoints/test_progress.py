from __future__ import annotations

import io
import time

from luthier.endpoints import Answer, TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def landings(progress: TerminalProgress) -> None:
    progress.expect(4)
    progress.landed(Answer(text="5", cost_usd=0.5))
    progress.landed(Answer(text="5", cost_usd=0.5, from_journal=True))
    progress.retried(1.0)
    progress.landed(Answer(failure="permanent"))


def test_the_line_says_all() -> None:
    with TerminalProgress("scoring", stream=io.StringIO()) as progress:
        landings(progress)
        line = progress.line()
    assert "3/4" in line
    assert "$0.5000" in line, "what the journal had is not paid again"
    assert "1 retries" in line
    assert "1 without answer" in line
    assert "left" in line


def test_short_runs_say_nothing() -> None:
    stream = io.StringIO()
    with TerminalProgress(stream=stream) as progress:
        landings(progress)
    assert stream.getvalue() == ""


def test_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    with TerminalProgress("scoring", stream=stream, quiet_seconds=0) as progress:
        landings(progress)
    assert stream.getvalue().startswith("scoring: 1/4")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with TerminalProgress("scoring", stream=stream, quiet_seconds=0) as progress:
        landings(progress)
        time.sleep(0.01)
    assert "3/4" in stream.getvalue()


def test_silence() -> None:
    stream = Terminal()
    with TerminalProgress("scoring", stream=stream, silent=True, quiet_seconds=0) as progress:
        landings(progress)
    assert stream.getvalue() == ""
