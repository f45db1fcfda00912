"""`luthier catalogue retiring`, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import mlflow
import pytest

import luthier as lt
from luthier.accounts.kept_lists import refresh
from luthier_local import LocalServer, ModelCard
from tests.cli.conftest import Run, run
from tests.conftest import KEY, priced, reviews, stars

__all__ = ["run"]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server with the model that retires and one that stays."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model"), ModelCard("newer", salt="b")], api_key=KEY) as running:
        yield running


@pytest.fixture
def champion(account: LocalServer, store: str, tmp_path: Path) -> Path:
    """The working folder, with `stars@champion`, whose model retires in 47 days, and a test table."""
    soon = date.today() + timedelta(days=47)
    (tmp_path / "catalogue.yaml").write_text(
        "- {provider: compatible, models: stars-model, kind: chat, tasks: [rating], "
        f"retires: {soon}, input_usd_per_million: 1, output_usd_per_million: 2}}\n"
        "- {provider: compatible, models: newer, kind: chat, tasks: [rating], "
        "input_usd_per_million: 0.1, output_usd_per_million: 0.2}\n"
    )
    spec = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=priced(account), name="words")
    lt.log(spec, register="stars", alias="champion")
    reviews(40).to_csv("test.csv", index=False)
    return tmp_path


def test_what_retires_is_told_with_exit_code_0_and_checked_with_5(champion: Path, run: Run) -> None:
    told, checked = run("catalogue", "retiring"), run("catalogue", "retiring", "--check")
    assert told.code == 0
    assert "1 of 1 registered version stops answering within 180 days" in " ".join(told.out.split())
    assert checked.code == 5
    assert "stars@champion" in checked.err


def test_where_nothing_retires_the_check_passes_with_one_line(champion: Path, run: Run) -> None:
    ended = run("catalogue", "retiring", "--within", "20", "--check")
    assert ended.code == 0
    assert "None of 1 registered version stops answering within 20 days." in " ".join(ended.out.split())


def test_machines_get_one_document(champion: Path, run: Run) -> None:
    document = json.loads(run("catalogue", "retiring", "stars@champion", "--json").out)
    [one] = document["retiring"]
    assert (one["name"], one["aliases"], one["model"], one["days"]) == ("stars/1", ["champion"], "stars-model", 47)
    assert one["source"] and one["seen"]


def test_a_replacement_is_measured_proposed_written_and_not_promoted(champion: Path, run: Run) -> None:
    ended = run("catalogue", "retiring", "--replace", "--test", "test.csv", "--limit", 30, "--budget", 1, "--yes")
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "Replace compatible/stars-model in stars@champion by newer: QWK" in said
    assert "luthier promote stars --alias champion" in said
    assert lt.read_spec("models/words-on-newer.yaml").base_model == "newer"
    assert mlflow.MlflowClient().get_model_version_by_alias("stars", "champion").version == 1


def test_what_an_account_told_counts_and_a_model_that_ends_there_too_is_no_candidate(
    account: LocalServer, champion: Path, run: Run
) -> None:
    Path("catalogue.yaml").unlink()
    soon = (date.today() + timedelta(days=10)).isoformat()
    account.put_model(ModelCard("stars-model", shutdown_date=soon))
    account.put_model(ModelCard("ending", shutdown_date=soon))
    refresh(priced(account))
    [one] = json.loads(run("catalogue", "retiring", "--json").out)["retiring"]
    assert (one["on"], one["source"]) == (soon, account.base_url)
    planned = run("catalogue", "retiring", "--replace", "--test", "test.csv", "--dry-run")
    assert "words-on-newer" in planned.err
    assert "ending" not in planned.err


def test_a_dry_run_prints_the_price_and_writes_nothing(champion: Path, run: Run) -> None:
    ended = run("catalogue", "retiring", "--replace", "--test", "test.csv", "--dry-run")
    assert ended.code == 0
    assert "words-on-newer" in ended.err
    assert not Path("models").exists()


def test_a_replacement_needs_a_table(champion: Path, run: Run) -> None:
    without, alone = run("catalogue", "retiring", "--replace"), run("catalogue", "retiring", "--test", "test.csv")
    assert (without.code, alone.code) == (2, 2)
    assert "--test TABLE" in without.err
    assert "--replace" in alone.err
