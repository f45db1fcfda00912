"""luthier sweep: what is typed and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier_local import LocalServer, ModelCard
from tests.cli.conftest import Run
from tests.conftest import KEY, reviews
from tests.patience import PATIENCE_SECONDS
from tests.tuning.conftest import BASE

TABLES = ("--train", "train.csv", "--validation", "validation.csv")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server with a base model that can be tuned; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard(BASE, backend="tunable-hashed", completions=False)], api_key=KEY) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path, store: str, server: LocalServer, train: pd.DataFrame) -> Path:
    """A sweep over a spec to be tuned, and its tables, in the working folder."""
    (tmp_path / "task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    (tmp_path / "ft.yaml").write_text(
        'technique: fine-tune\nprompt: {template: "Stars for: {{ text }}"}\nanswer: score\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: {BASE}, api_key_env: STARS_KEY, "
        "price: {input_usd_per_million: 1, output_usd_per_million: 2, training_usd_per_million: 10}}\n"
    )
    (tmp_path / "sweep.yaml").write_text(
        "name: stars-sweep\nspec: ft.yaml\nobjective: weighted_f1\n"
        "space: {tuning.epochs: [1, 2, 3], tuning.learning_rate_multiplier: {log_uniform: [0.05, 2]}}\n"
    )
    train.to_csv(tmp_path / "train.csv", index=False)
    reviews(60, seed=9).to_csv(tmp_path / "validation.csv", index=False)
    return tmp_path


def test_a_dry_run_says_trials_rows_and_price_and_sends_nothing(run: Run, files: Path, server: LocalServer) -> None:
    ended = run("sweep", "sweep.yaml", *TABLES, "--trials", "5", "--dry-run")
    assert ended.code == 0, ended.err
    assert "A new study" not in ended.err
    said = " ".join(ended.err.split())
    for words in ("5 trials", "for weighted_f1", "rows to choose by", "holdout rows", "a trial", "nothing was sent"):
        assert words in said
    planned = json.loads(run("sweep", "sweep.yaml", *TABLES, "--trials", "5", "--dry-run", "--json").out)
    assert (planned["trials"], planned["left"]) == (5, 5)
    assert planned["cost_usd"] > 0
    assert server.received.total == 0


def test_a_budget_below_one_trial_is_refused(run: Run, files: Path, server: LocalServer) -> None:
    ended = run("sweep", "sweep.yaml", *TABLES, "--budget", "0.0001", "--yes")
    assert ended.code == 4
    assert "$0.0001" in ended.err
    assert server.received.total == 0


def test_without_rows_to_measure_on_it_says_what_to_add(run: Run, files: Path) -> None:
    ended = run("sweep", "sweep.yaml", "--train", "train.csv")
    assert ended.code == 2
    assert "--validation TABLE" in ended.err


@pytest.mark.slow
def test_a_sweep_runs_is_looked_at_goes_on_and_its_winner_is_packaged(run: Run, files: Path) -> None:
    first = run("sweep", "sweep.yaml", *TABLES, "--trials", "2", "--yes", "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert [trial["status"] for trial in found["trials"]] == ["complete", "complete"]
    assert found["winner"]["number"] == found["best"]
    assert "2 of 2 trials done" in first.err
    status = run("sweep", "status")
    assert all(trial["job"] in status.out for trial in found["trials"])
    more = json.loads(run("sweep", "resume", "stars-sweep", "--trials", "3", "--yes", "--json").out)
    assert [trial["job"] for trial in more["trials"][:2]] == [trial["job"] for trial in found["trials"]]
    assert len(more["trials"]) == 3
    best = run("sweep", "best", "--log", "--register", "stars", "--alias", "challenger", "--json")
    assert best.code == 0, best.err
    told = json.loads(best.out)
    assert told["number"] == more["best"]
    assert told["logged"]["version"] == "1"
    assert set(lt.load("models:/stars@challenger").score(reviews(3))["state"]) == {"ok"}


def test_the_verb_itself_takes_a_sweep_file(run: Run) -> None:
    ended = run("sweep", "nowhere.yaml", "--validation", "validation.csv")
    assert ended.code == 2
    assert "nowhere.yaml" in ended.err
    assert run("sweep", "run", "nowhere.yaml").code == 2


@pytest.mark.parametrize("verb", ["status", "stop", "resume", "best"])
def test_where_there_is_no_sweep_the_command_that_starts_one_is_named(run: Run, verb: str) -> None:
    ended = run("sweep", verb, "nothing")
    assert ended.code == 2
    assert "no sweep in" in ended.err
    assert "luthier sweep FILE --trials N" in ended.err
    assert "Traceback" not in ended.err


def test_names_for_a_model_need_a_model_that_is_packaged(run: Run) -> None:
    ended = run("sweep", "best", "--register", "stars")
    assert ended.code == 2
    assert "add --log" in ended.err


@pytest.mark.parametrize("words", [("--trials", "0"), ("--concurrency", "0"), ("--budget", "-1"), ("--trials", "many")])
def test_numbers_out_of_bounds_are_refused(run: Run, words: tuple[str, str]) -> None:
    ended = run("sweep", "sweep.yaml", *words)
    assert ended.code == 2
    assert words[0] in ended.err


def test_help_names_every_part_and_loads_nothing_heavy(run: Run) -> None:
    text = run("sweep", "--help").out
    assert all(verb in text for verb in ("run", "status", "stop", "resume", "best"))
    options = run("sweep", "x.yaml", "--help").out
    assert all(option in options for option in ("--holdout", "--trials", "--budget", "--storage", "--warm-start"))
    program = (
        "import sys; sys.argv = ['luthier', 'sweep', '--help']\n"
        "from luthier.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'mlflow', 'pandas', 'numpy', 'optuna', 'sqlalchemy', 'plotly', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
