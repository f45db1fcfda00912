from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from luthier.errors import ModelError, SpecError, UserError
from luthier.home import luthier_home
from luthier.sweeps.store import SweepStore
from luthier.sweeps.trial import SETTINGS_ATTRIBUTE, SOURCE_ATTRIBUTE, StudyFacts
from tests.patience import PATIENCE_SECONDS
from tests.sweeps.driving import SPACE, claimed, drive, joined, suggest
from tests.sweeps.studies import facts

PASSWORD = "swordfish/7!"


def sampler() -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=7)


def test_no_more_trials_are_drawn_than_the_study_is_for(tmp_path: Path) -> None:
    study = joined(given=facts(trials=3))
    for _ in range(3):
        drive(study, claimed(study), tmp_path)
    assert study.claim(suggest) is None
    assert [trial.number for trial in study.trials()] == [0, 1, 2]
    assert study.own_trials() == 3


def test_the_same_sweep_joins_its_study() -> None:
    first = joined()
    number = claimed(first).number
    second = joined()
    assert claimed(second).number == number + 1
    assert [trial.status for trial in second.trials()] == ["running", "running"]


def test_raised_limits_reach_the_processes_that_drive_already() -> None:
    first = joined(given=facts(trials=1, budget_usd=1.0))
    claim = claimed(first)
    assert first.claim(suggest) is None
    joined(given=facts(trials=2, budget_usd=5.0))
    first.reserve(claim, 4.0)
    assert claimed(first).number == 1


def test_a_call_without_a_budget_leaves_the_budget() -> None:
    joined(given=facts(budget_usd=5.0))
    assert joined(given=facts(budget_usd=None)).facts.budget_usd == 5.0


def test_a_sweep_of_another_space_is_refused_and_told_what_differs() -> None:
    joined()
    other = facts(space={"tuning.epochs": {"int": [1, 10]}, "tuning.batch_size": {"choice": [4, 8, 16]}})
    store = SweepStore()

    def join(given: StudyFacts) -> object:
        return store.join(given, sampler())

    for act in (join, store.find):
        with pytest.raises(SpecError) as refused:
            act(replace(other, digest="1"))
        said = str(refused.value)
        assert "'stars-sweep'" in said and "sweeps.db" in said and "name:" in said
        assert "space: tuning.epochs: int is [1, 20] there and [1, 10] here" in said
        assert "tuning.learning_rate_multiplier" in said and "batch_size" not in said


def test_a_sweep_on_other_rows_is_refused() -> None:
    joined()
    tables = {**facts().tables, "train": {"path": "train.csv", "digest": "2", "rows": 800}}
    with pytest.raises(SpecError, match="other rows of train"):
        SweepStore().join(replace(facts(), tables=tables, digest="1"), sampler())


def test_an_optuna_study_of_ones_own_is_never_taken_for_a_sweep(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    own = optuna.create_study(study_name="stars-sweep", storage=optuna.storages.RDBStorage(url))
    own.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(SpecError, match="no sweep of Luthier"):
        joined(url)
    assert len(own.trials) == 1


def test_the_newest_study_is_opened_and_a_missing_one_is_told_which_there_are() -> None:
    store = SweepStore()
    with pytest.raises(ModelError, match="has none yet"):
        store.open()
    for name, created in (("old", 1.0), ("new", 3.0), ("middle", 2.0)):
        store.join(replace(facts(name), created=created), sampler())
    assert store.open().facts.name == "new"
    assert store.open("old").facts == replace(facts("old"), created=1.0)
    with pytest.raises(ModelError, match="no sweep 'newer'.*new, middle, old"):
        store.open("newer")


def test_find_gives_the_study_that_a_call_would_go_on_with() -> None:
    store = SweepStore()
    assert store.find(facts()) is None
    claimed(joined())
    found = store.find(facts())
    assert found is not None and found.own_trials() == 1


def test_a_trial_is_read_with_everything_that_was_kept_of_it(tmp_path: Path) -> None:
    study = joined()
    claim = claimed(study)
    study.reserve(claim, 0.9)
    study.note(claim, job="ftjob-1", measured={"qwk": 0.4}, held=True)
    study.report(claim, 3, 1.5)
    (running,) = study.trials()
    assert running.status == "running" and running.reserved_usd == 0.9 and running.owner is not None
    assert running.owner.endswith(f":{os.getpid()}")
    study.settle(claim, 0.7)
    study.tell(claim, "pruned", [], "at step 3 it was above the median")
    (told,) = joined().trials()
    assert told.settings == claim.settings and told.settings.keys() == SPACE.keys()
    assert told.status == "pruned" and told.reason == "at step 3 it was above the median"
    assert told.values == () and told.curve == {3: 1.5} and told.job == "ftjob-1" and told.measured == {"qwk": 0.4}
    assert told.cost_usd == 0.7 and told.reserved_usd is None and told.owner is None
    assert told.duration_seconds is not None and 0 <= told.duration_seconds < 60
    assert joined().notes(told.number)["held"] is True


def test_text_that_a_database_does_not_take_is_kept_without_what_it_does_not_take() -> None:
    study = joined()
    claim = claimed(study)
    study.note(claim, job_status="half " + chr(0xD83D) + "\0")
    study.tell(claim, "failed", [], "the service said \0 " + chr(0xD83D))
    assert study.trials()[0].reason == "the service said ? ?"


def test_notes_of_several_threads_are_all_kept() -> None:
    study = joined()
    claim = claimed(study)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: study.note(claim, **{f"figure{number}": number}), range(20)))
    assert {f"figure{number}" for number in range(20)} <= study.notes(claim.number).keys()


def test_imported_trials_are_listed_but_never_count() -> None:
    study = joined(given=facts(trials=1))
    study.study.add_trial(
        optuna.trial.create_trial(
            value=0.4,
            params={"tuning.epochs": 3},
            distributions={"tuning.epochs": SPACE["tuning.epochs"]},
            user_attrs={SOURCE_ATTRIBUTE: "trials.csv", SETTINGS_ATTRIBUTE: {"tuning.epochs": 3}},
        )
    )
    assert claimed(study).number == 1
    imported, own = study.trials()
    assert (imported.source, imported.settings, imported.values) == ("trials.csv", {"tuning.epochs": 3}, (0.4,))
    assert own.source is None and study.own_trials() == 1


def test_a_stopped_sweep_draws_nothing_until_it_is_started_again() -> None:
    study = joined()
    study.request_stop()
    assert study.stop_requested() and study.claim(suggest) is None
    joined()
    assert not study.stop_requested()
    assert study.claim(suggest) is not None


def test_the_winner_is_kept_and_what_measuring_it_cost_is_spent() -> None:
    study = joined()
    assert study.winner is None
    study.keep_winner({"number": 3}, 0.25)
    assert joined().winner == {"number": 3}
    assert joined().spent_usd() == 0.25


def test_the_files_are_readable_by_their_owner_alone() -> None:
    study = joined()
    claimed(study)
    files = sorted(luthier_home().glob("sweeps.db*"))
    assert "sweeps.db" in [file.name for file in files]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"mysql://luthier:{PASSWORD}@host/sweeps", "of kind mysql"),
        (f"no url, {PASSWORD}", "no URL of a database"),
        (f"postgresql://luthier:{PASSWORD.replace('/', '%2F')}@host:port/sweeps", "no URL of a database"),
        ("sqlite://", "of kind sqlite"),
        ("sqlite:////nowhere/sweeps.db", "no folder /nowhere"),
        (f"postgresql://luthier:{PASSWORD.replace('/', '%2F')}@/sweeps?host=/nowhere", "cannot be used"),
        (f"postgres://luthier@/sweeps?host=/nowhere&password={PASSWORD}", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        SweepStore(url)
    assert PASSWORD not in str(refused.value) and refused.value.__cause__ is None
    if said != "no folder /nowhere" and said != "cannot be used":
        assert "allowed: postgresql://USER@HOST/DATABASE" in str(refused.value)


def test_a_file_of_a_newer_luthier_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    SweepStore(url)
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("UPDATE luthier_sweeps_schema SET version = 2")
    with pytest.raises(UserError, match=r"newer.db has schema 2.*up to 1"):
        SweepStore(url)


def test_optuna_says_nothing_to_the_user(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = joined()
    drive(study, claimed(study), tmp_path)
    study.tell(claimed(study), "failed", [], "refused")
    joined()
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level == logging.INFO, "what people's own studies say is theirs"


def test_optuna_is_not_loaded_by_importing_luthier() -> None:
    code = "import sys, luthier, luthier.sweeps; print([one for one in ('optuna', 'sqlalchemy') if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert json.loads(done.stdout) == []
