"""What a running sweep shows: lines in a log, a live table on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from luthier.sweeps.sweep_progress import SweepProgress
from luthier.tuning.tuners.tuner import JobState
from luthier.tuning.watch import JobProgress
from tests.sweeps.studies import F1, complete, failed, stopped


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(status: str = "running", step: int = 3) -> JobProgress:
    """A look at a job."""
    return JobProgress(JobState("ftjob-1", status, "base"), step=step, steps=20, loss=1.25)


def test_a_log_has_a_line_per_trial_with_its_figure_the_best_and_the_money() -> None:
    stream = io.StringIO()
    with SweepProgress(stream).open(4, 25.0, [F1]) as progress:
        progress.trial_started(0, {"tuning.epochs": 3})
        progress.money(0.68, 0.9, 25.0)
        progress.trial_ended(complete(0, 0.55))
        progress.trial_started(1, {"tuning.epochs": 4})
        progress.trial_ended(stopped(1))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("trial 0 complete, weighted F1 .550; epochs 1, batch_size 4")
    assert "1 of 4 trials done; best weighted F1 .550 (trial 0); $1.50 of $25.00 spent, $0.90 reserved" in first
    assert "trial 1 stopped early, median: after 25 % of the training its best validation loss was 1.48" in second
    assert "2 of 4 trials done (1 complete, 1 stopped early)" in second


def test_a_log_hears_of_running_jobs_twice_a_minute_at_most() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = SweepProgress(stream, clock=clock)
    with progress.open(4):
        progress.trial_started(0, {})
        for second in range(100):
            clock.now = 1000.0 + second
            progress.looked(0, job(step=second))
    lines = stream.getvalue().splitlines()
    assert [re.search(r"step (\d+)", line)[1] for line in lines] == ["0", "30", "60", "90"]  # type: ignore[index]
    assert all("trial 0: running, step" in line and "1 running" in line for line in lines)


def test_the_time_left_counts_trials_to_come_and_those_that_run_beside_each_other() -> None:
    clock = Clock()
    progress = SweepProgress(silent=True, clock=clock)
    with progress.open(10):
        progress.trial_started(0, {})
        progress.trial_started(1, {})
        assert progress.seconds_left() is None
        clock.now += 100
        progress.trial_ended(complete(0, 0.5))
        progress.trial_ended(complete(1, 0.5))
        progress.trial_started(2, {})
        progress.trial_started(3, {})
        assert progress.seconds_left() == (100 * 6 + 200) / 2
        assert "about 6:40 left" in progress.line()


def test_a_sweep_that_goes_on_counts_what_was_done_before_and_what_others_do() -> None:
    progress = SweepProgress(silent=True)
    earlier = [complete(0, 0.61), failed(1), complete(2, 0.99, source="trials.csv")]
    with progress.open(10, None, [F1], earlier):
        progress.trial_started(6, {})
        # Numbers 3 to 5 were given out, and not here.
        assert progress.line().startswith("2 of 10 trials done (1 complete, 1 failed), 1 running, 3 on other machines")
        assert "best weighted F1 .610 (trial 0)" in progress.line()


def test_a_terminal_shows_every_running_trial_and_keeps_the_words_of_a_service_harmless() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), SweepProgress(stream).open(4, 25.0, [F1]) as progress:
        progress.trial_started(7, {"tuning.epochs": 3})
        progress.looked(7, job())
        progress.say("[bold]busy[/bold]\x1b]0;title\x07")
        raise KeyboardInterrupt
    shown = stream.getvalue()
    assert "trial 7" in shown
    assert "running, step 3/20, loss 1.25" in shown
    assert "epochs 3" in shown
    assert "[bold]busy[/bold]" in shown
    assert "\x1b]0;" not in shown


def test_a_silent_one_writes_nothing() -> None:
    stream = Terminal()
    with SweepProgress(stream, silent=True).open(4) as progress:
        progress.trial_started(0, {})
        progress.trial_ended(complete(0, 0.5))
        progress.say("nothing")
    assert stream.getvalue() == ""
