"""What a signal cuts short, and what it leaves alone."""

from __future__ import annotations

import contextlib
import signal

import pytest

from luthier.endpoints import Endpoint, Engine, draining
from luthier.errors import Interrupted
from tests.questions import questions


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def silent(text: str) -> None:
    """Says nothing."""


def test_a_signal_after_the_last_answer_takes_nothing_away(engine: Engine, endpoint: Endpoint) -> None:
    with draining(engine, silent):
        answers = engine.run(questions(3), endpoint)
        press()
    assert [answer.failure for answer in answers] == [None] * 3


def test_a_signal_stops_the_next_run(engine: Engine, endpoint: Endpoint) -> None:
    with pytest.raises(Interrupted), draining(engine, silent):
        press()
        engine.run(questions(1), endpoint)


def test_a_run_that_was_cut_is_told_even_if_nobody_listened(engine: Engine, endpoint: Endpoint) -> None:
    with pytest.raises(Interrupted, match="Run|run the same again"), draining(engine, silent):
        press()
        with contextlib.suppress(Interrupted):
            engine.run(questions(1), endpoint)


def test_work_that_asks_no_model_is_stopped_between_its_parts(engine: Engine) -> None:
    parts = 0
    with pytest.raises(Interrupted, match="run the same again"), draining(engine, silent):
        for _ in range(5):
            engine.raise_if_interrupted()
            parts += 1
            if parts == 2:
                press()
    assert parts == 2


def test_asking_for_nothing_is_never_cut_short(engine: Engine, endpoint: Endpoint) -> None:
    with draining(engine, silent):
        press()
        assert engine.run([], endpoint) == []


def test_only_a_signal_interrupts(engine: Engine) -> None:
    engine.raise_if_interrupted()
    engine.stop()
    engine.raise_if_interrupted()


def test_an_engine_goes_on_after_a_signal(engine: Engine, endpoint: Endpoint) -> None:
    with pytest.raises(Interrupted), draining(engine, silent):
        press()
        engine.raise_if_interrupted()
    with draining(engine, silent):
        engine.raise_if_interrupted()
        assert len(engine.run(questions(1), endpoint)) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_is_a_signal_like_the_others(engine: Engine, endpoint: Endpoint) -> None:
    # These tests themselves may run under nohup.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted), draining(engine, silent):
            signal.raise_signal(signal.SIGHUP)
            engine.run(questions(5), endpoint)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with draining(engine, silent):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, "as nohup asks"
    finally:
        signal.signal(signal.SIGHUP, before)
