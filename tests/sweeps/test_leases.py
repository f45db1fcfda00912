from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import update

from luthier.sweeps.database import TRIALS_TABLE
from luthier.sweeps.store import LeaseLost, StoredStudy
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_SECONDS
from tests.sweeps.driving import claimed, drive, joined, start, suggest
from tests.sweeps.studies import facts

LONG_AGO = 1.0


def change_row(study: StoredStudy, **columns: object) -> None:
    """Changes what the database has of all trials."""
    with study._database.engine.begin() as connection:
        connection.execute(update(TRIALS_TABLE).values(**columns))


def test_a_trial_that_is_driven_is_claimed_by_nobody_else() -> None:
    first, second = joined(), joined()
    claim = claimed(first)
    assert claimed(second).number == claim.number + 1
    assert second.claim_of(claim.number) is None
    assert first.live_elsewhere() == 2


@pytest.mark.parametrize("status", ["paused", "interrupted"])
def test_a_released_trial_goes_on_before_a_new_one_is_drawn(status: str) -> None:
    first, second = joined(), joined()
    claim = claimed(first)
    claimed(first)
    first.note(claim, job="ftjob-1")
    first.release(claim, status, "Ctrl-C")  # type: ignore[arg-type]
    released = second.trials()[0]
    assert (released.status, released.reason, released.owner) == (status, "Ctrl-C", None)
    adopted = claimed(second)
    assert adopted.adopted and adopted.number == claim.number and adopted.settings == claim.settings
    assert adopted.settings == suggest(adopted.trial), "Optuna's trial goes on too"
    assert second.notes(adopted.number)["job"] == "ftjob-1"
    assert not claimed(second).adopted


def test_a_lease_that_is_not_renewed_runs_out_and_changes_nothing_after_that() -> None:
    first, second = joined(), joined()
    claim = claimed(first)
    assert first.renew([claim]) == []
    change_row(first, expires=LONG_AGO)
    adopted = claimed(second)
    assert adopted.number == claim.number
    assert first.renew([claim]) == [claim]
    first.note(claim, job="ftjob-of-the-first")
    first.settle(claim, 9.0)
    first.release(claim, "interrupted", "too late")
    first.tell(claim, "complete", [0.9])
    (trial,) = second.trials()
    assert trial.status == "running" and trial.job is None and second.spent_usd() == 0.0
    with pytest.raises(LeaseLost, match="trial 0"):
        first.reserve(claim, 1.0)
    second.tell(adopted, "complete", [0.4])
    first.report(claim, 1, 0.9)
    assert second.trials()[0].values == (0.4,) and second.trials()[0].curve == {}


def test_a_trial_whose_process_was_killed_is_adopted_at_once_and_shown_as_interrupted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sweeps.db"
    study = joined(url)
    process = start(url, tmp_path, work_seconds=600)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not study.trials():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert study.trials()[0].status == "running"
    process.kill()
    process.communicate()
    assert study.trials()[0].status == "interrupted" and study.live_elsewhere() == 0
    assert (claimed(study).number, claimed(study).number) == (0, 1)


def test_a_process_of_another_machine_is_not_judged_by_a_process_id_of_this_one() -> None:
    first, second = joined(), joined()
    claimed(first)
    change_row(first, place="elsewhere", pid=1, process_start="0")
    assert claimed(second).number == 1
    change_row(first, expires=LONG_AGO)
    assert claimed(second).number == 0


def test_an_ended_trial_is_never_claimed(tmp_path: Path) -> None:
    study = joined()
    claim = claimed(study)
    drive(study, claim, tmp_path)
    assert study.claim_of(claim.number) is None and study.claim_of(7) is None


def test_one_trial_can_be_claimed_by_its_number() -> None:
    study = joined()
    claim = claimed(study)
    claimed(study)
    study.release(claim, "interrupted", "")
    again = study.claim_of(claim.number)
    assert again is not None and again.adopted and again.settings == claim.settings


def test_a_trial_whose_settings_were_being_drawn_gets_the_rest_of_them() -> None:
    study = joined(given=facts(trials=1))

    class PowerCut(BaseException):
        pass

    def half(trial: object) -> dict[str, object]:
        drawn.append(trial.suggest_int("tuning.epochs", 1, 20))  # type: ignore[attr-defined]
        raise PowerCut

    drawn: list[int] = []
    with pytest.raises(PowerCut):
        study.claim(half)
    claim = claimed(study)
    assert claim.number == 0 and claim.settings["tuning.epochs"] == drawn[0]
    assert study.claim(suggest) is None


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked and looked up in /proc")
def test_no_trial_is_lost_or_driven_twice_wherever_its_process_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sweeps.db"
    study = joined(url, facts(trials=40, budget_usd=20.0))
    command = [sys.executable, "-m", "tests.sweeps.driving", "kill", url, str(tmp_path), "53"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 500, "lines of one trial"
    while (claim := study.claim(suggest)) is not None:
        drive(study, claim, tmp_path)
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial.status for trial in trials} == {"complete"}
    assert all(trial.settings.keys() == trials[0].settings.keys() for trial in trials)
    assert study.spent_usd() == 20.0 and study.reserved_usd() == 0.0
    assert len(study.study.trials) == 40
    assert not (tmp_path / "driven-twice").exists()


@pytest.mark.slow
def test_processes_that_share_a_file_drive_each_trial_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sweeps.db"
    study = joined(url, facts(trials=24, budget_usd=12.0))
    processes = [start(url, tmp_path, work_seconds=0.02) for _ in range(3)]
    killed = processes.pop()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(trial.status == "complete" for trial in study.trials()) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    for process in processes:
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0 and said == b"", said
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(24))
    assert {trial.status for trial in trials} == {"complete"} and study.spent_usd() == 12.0
    assert not (tmp_path / "driven-twice").exists()


def test_what_one_process_does_alone_another_one_waits_with() -> None:
    first, second = joined(), joined()
    with ThreadPoolExecutor(1) as threads:
        with first.alone("winner"):
            waiting = threads.submit(_alone, second)
            claimed(second)
            assert not waiting.done()
        assert waiting.result(timeout=PATIENCE_SECONDS)


def _alone(study: StoredStudy) -> bool:
    with study.alone("winner"):
        return True
