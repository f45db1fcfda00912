"""luthier tune: what is typed, what is said, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier_local import Fault, LocalServer, ModelCard
from tests.cli.conftest import Run
from tests.conftest import KEY, reviews
from tests.tuning.conftest import BASE

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server with a base model that can be tuned; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard(BASE, backend="tunable-hashed", completions=False)], api_key=KEY) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path, server: LocalServer, table: pd.DataFrame, train: pd.DataFrame) -> Path:
    """task.yaml, ft.yaml, train.csv, validation.csv and test.csv in the working folder."""
    (tmp_path / "task.yaml").write_text("name: stars\ntype: rating\nlabel: stars\nlabels: [1, 2, 3, 4, 5]\n")
    (tmp_path / "ft.yaml").write_text(spec(server))
    train.to_csv(tmp_path / "train.csv", index=False)
    reviews(20, seed=9).to_csv(tmp_path / "validation.csv", index=False)
    table.to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


def spec(server: LocalServer, price: float = 10) -> str:
    return (
        'technique: fine-tune\nprompt: {template: "Stars for: {{ text }}"}\nanswer: score\n'
        f"endpoint: {{provider: compatible, base_url: '{server.base_url}', model: {BASE}, api_key_env: STARS_KEY, "
        f"price: {{input_usd_per_million: 1, output_usd_per_million: 2, training_usd_per_million: {price}}}}}\n"
        "tuning: {epochs: 2, batch_size: 8}\n"
    )


TUNE = ("tune", "ft.yaml", "--train", "train.csv", "--validation", "validation.csv")


def test_before_tuning_compare_log_and_preview_name_the_command(run: Run, files: Path, server: LocalServer) -> None:
    for words in (("compare", "ft.yaml", "--test", "test.csv"), ("log", "ft.yaml")):
        ended = run(*words)
        assert ended.code == 2
        assert "not tuned yet" in ended.err
        assert "luthier tune FILE --train" in ended.err
    assert "Not tuned yet" in run("preview", "ft.yaml", "--test", "test.csv").out
    assert server.received.total == 0


def test_the_plan_of_a_job_is_a_bound_that_its_bill_keeps(run: Run, files: Path) -> None:
    planned = json.loads(run(*TUNE, "--dry-run", "--json").out)
    said = " ".join(run(*TUNE, "--dry-run").err.split())
    assert f"(at most {planned['most_trained_tokens']:,})" in said
    assert ", at most $" in said
    ended = run(*TUNE, "--json")
    billed = json.loads(ended.out)
    assert 0 < billed["trained_tokens"] <= planned["most_trained_tokens"]
    assert 0 < billed["cost_usd"] <= planned["cost_usd_high"]
    assert f"spent now: ${billed['cost_usd']:g}" in ended.err
    assert f"luthier report {billed['run_id']}" in ended.err
    again = run(*TUNE)
    assert "spent now: $0.00, as the job was submitted earlier; it cost $" in again.err


def test_a_dry_run_says_rows_tokens_and_price_and_sends_nothing(run: Run, files: Path, server: LocalServer) -> None:
    ended = run(*TUNE, "--dry-run")
    assert ended.code == 0, ended.err
    for said in ("80 training rows", "20 validation rows", "2 epochs", "tokens", "about $0.0", "nothing was sent"):
        assert said in " ".join(ended.err.split())
    assert server.received.total == 0


def test_tune_writes_a_spec_and_typed_again_buys_nothing(run: Run, files: Path, server: LocalServer) -> None:
    first = run(*TUNE, "--json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert (told["status"], told["submitted_now"], told["spec"]) == ("succeeded", True, "ft-tuned.yaml")
    tuned = lt.read_spec("ft-tuned.yaml")
    assert isinstance(tuned, lt.FineTune)
    assert tuned.tuned is not None
    assert (tuned.name, tuned.tuned.job, tuned.tuned.run_id) == ("ft-tuned", told["job"], told["run_id"])
    again = json.loads(run(*TUNE, "--json").out)
    assert (again["job"], again["submitted_now"]) == (told["job"], False)
    assert [path.name for path in files.glob("*tuned*")] == ["ft-tuned.yaml"]


@pytest.mark.slow
def test_a_tuned_spec_compares_with_others_and_its_checkpoints(run: Run, files: Path) -> None:
    assert run(*TUNE).code == 0
    (files / "base.yaml").write_text("technique: baseline\n")
    board = run("compare", "ft-tuned.yaml", "base.yaml", "--train", "train.csv", "--test", "test.csv", "--json")
    assert board.code == 0, board.err
    (job,) = json.loads(run("tune", "list", "--json").out)
    kept = run("tune", "checkpoints", job["job"], "--test", "test.csv")
    assert kept.code == 0, kept.err
    for name in ("ft-step-10", "ft-tuned"):
        assert name in kept.out
    # The checkpoint of the last step is the result.
    assert "ft-step-20" not in kept.out


@pytest.mark.slow
def test_a_detached_job_is_listed_watched_and_attached_to(run: Run, files: Path) -> None:
    ended = run(*TUNE, "--detach")
    assert ended.code == 0
    assert "luthier tune attach ftjob-" in ended.out
    assert not (files / "ft-tuned.yaml").exists()
    (job,) = json.loads(run("tune", "list", "--json").out)
    assert job["job"] in run("tune", "list", "ft.yaml").out
    assert "succeeded" in run("tune", "watch", job["job"]).out
    assert run("tune", "attach", job["job"]).code == 0
    assert (files / "ft-tuned.yaml").exists()
    refused = run("tune", "cancel", job["job"])
    assert refused.code == 2
    assert "succeeded and can no longer be cancelled" in refused.err


@pytest.mark.slow
def test_a_file_that_is_there_is_never_written_over(run: Run, files: Path, server: LocalServer) -> None:
    (files / "ft-tuned.yaml").write_text("mine: yes\n")
    (files / "mine.yaml").write_text("mine: yes\n")
    refused = run(*TUNE, "--to", "mine.yaml")
    assert refused.code == 2
    assert "mine.yaml is there already" in refused.err
    assert "files" not in server.received.by_path
    assert run(*TUNE).code == 0
    assert (files / "ft-tuned.yaml").read_text() == "mine: yes\n"
    assert lt.read_spec("ft-tuned-2.yaml").name == "ft-tuned-2"


def test_a_dear_job_is_asked_about(run: Run, files: Path, server: LocalServer) -> None:
    (files / "ft.yaml").write_text(spec(server, price=100_000))
    ended = run(*TUNE)
    assert ended.code == 2
    assert "more than $1.00" in ended.err
    assert "files" not in server.received.by_path


@pytest.mark.slow
def test_a_budget_that_is_too_small_exits_4_and_uploads_nothing(run: Run, files: Path, server: LocalServer) -> None:
    ended = run(*TUNE, "--budget", "0.001")
    assert ended.code == 4
    assert "Nothing was uploaded" in ended.err
    assert "files" not in server.received.by_path


@pytest.mark.slow
def test_closed_fine_tuning_is_told_before_any_upload(run: Run, files: Path, server: LocalServer) -> None:
    server.faults.add(Fault("closed", path="fine_tuning/jobs", method="POST"))
    ended = run(*TUNE)
    assert ended.code == 2
    assert "Nothing was uploaded" in ended.err
    assert "provider: local" in ended.err
    assert mlflow.get_experiment_by_name("stars") is None


def test_tables_that_are_missing_and_specs_that_cannot_be_tuned_are_named(run: Run, files: Path) -> None:
    assert "--train TABLE" in run("tune", "ft.yaml").err
    (files / "base.yaml").write_text("technique: baseline\n")
    ended = run("tune", "base.yaml", "--train", "train.csv")
    assert ended.code == 2
    assert "technique: fine-tune" in ended.err


@pytest.mark.parametrize("verb", ["attach", "cancel", "pause", "resume", "watch"])
def test_a_job_that_does_not_exist_is_named(run: Run, files: Path, verb: str) -> None:
    ended = run("tune", verb, "ftjob-nope")
    assert ended.code == 2
    assert "ftjob-nope" in ended.err
    assert "luthier tune list" in ended.err


@pytest.fixture
def paused(run: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A job that its user detached from and paused at a slow server; `ft.yaml` asks there."""
    base = ModelCard(BASE, backend="tunable-hashed", completions=False)
    with LocalServer(models=[base], api_key=KEY, training_step_seconds=0.02) as slow:
        (files / "ft.yaml").write_text(spec(slow).replace("epochs: 2, batch_size: 8", "epochs: 50, batch_size: 1"))
        assert run(*TUNE, "--detach", "--yes").code == 0
        (job,) = json.loads(run("tune", "list", "--json").out)
        told = run("tune", "pause", job["job"])
        assert told.code == 0, told.err
        assert f"luthier tune resume {job['job']}" in told.out
        yield job["job"]


AUDIT = ("--test", "test.csv", "--validation", "validation.csv")
ANEW = "luthier tune SPEC --train TABLE --validation TABLE"


@pytest.mark.slow
def test_from_a_cancelled_job_every_message_leads_to_a_new_one(run: Run, paused: str) -> None:
    waiting = run("audit", paused, *AUDIT)
    assert (waiting.code, "is paused and has no result" in waiting.err) == (2, True)
    assert f"luthier tune resume {paused}" in waiting.err
    assert "statuses are as last heard" in run("tune", "list").out
    assert "as last heard" not in run("tune", "list", "ft.yaml").out
    cancelled = run("tune", "cancel", paused)
    assert (cancelled.code, ANEW in cancelled.out) == (0, True)
    for words, code in (
        (("audit", paused, *AUDIT), 2),
        (("tune", "attach", paused), 3),
        (("tune", "checkpoints", paused, "--test", "test.csv"), 2),
    ):
        ended = run(*words)
        assert ended.code == code, ended.err
        assert "was cancelled" in ended.err
        assert ANEW in ended.err
        # Nothing but the one command that helps is named.
        assert ended.err.count("luthier tune ") == 1
        assert "same command" not in ended.err
    assert "cancelled" in run("tune", "watch", paused).out
    assert "cancelled" in run("tune", "list").out
    assert run("tune", "cancel", paused).code == 0
    assert "can no longer be resumed" in run("tune", "resume", paused).err
    anew = json.loads(run(*TUNE, "--detach", "--yes", "--json").out)
    assert anew["submitted_now"]
    assert anew["job"] != paused
    assert run("tune", "cancel", anew["job"]).code == 0


@pytest.mark.slow
def test_from_a_failed_job_every_message_leads_to_a_new_one(run: Run, files: Path, server: LocalServer) -> None:
    mild = (files / "ft.yaml").read_text()
    (files / "ft.yaml").write_text(mild.replace("batch_size: 8", "batch_size: 8, learning_rate_multiplier: 1e9"))
    failed = run(*TUNE)
    assert (failed.code, ANEW in failed.err, ".." in failed.err) == (2, True, False)
    (job,) = json.loads(run("tune", "list", "--json").out)
    assert job["status"] == "failed"
    for words in (
        ("audit", job["job"], *AUDIT),
        ("tune", "attach", job["job"]),
        ("tune", "checkpoints", job["job"], "--test", "test.csv"),
    ):
        ended = run(*words)
        assert (ended.code, ANEW in ended.err) == (2, True), ended.err
    (files / "ft.yaml").write_text(mild)
    assert run(*TUNE).code == 0


@pytest.mark.slow
def test_an_unknown_job_is_looked_for_where_the_messages_say(run: Run, files: Path) -> None:
    for words in (("audit", "ftjob-nope", *AUDIT), ("tune", "checkpoints", "ftjob-nope", "--test", "test.csv")):
        assert "luthier tune attach JOB --spec SPEC" in run(*words).err
    ended = run("tune", "attach", "ftjob-nope", "--spec", "ft.yaml")
    assert (ended.code, "luthier tune list SPEC" in ended.err) == (2, True)
    listed = run("tune", "list", "ft.yaml")
    assert (listed.code, "no jobs yet" in listed.out) == (0, True)


@pytest.mark.slow
def test_a_job_that_was_not_watched_to_its_end_is_audited_after_it_is_fetched(run: Run, files: Path) -> None:
    assert run(*TUNE, "--detach").code == 0
    (job,) = json.loads(run("tune", "list", "--json").out)
    assert "succeeded" in run("tune", "watch", job["job"]).out
    refused = run("audit", job["job"], *AUDIT)
    assert (refused.code, f"audit again: luthier tune attach {job['job']}" in refused.err) == (2, True), refused.err
    # The last checkpoint is the result, whatever the run has heard so far.
    kept = run("tune", "checkpoints", job["job"], "--test", "test.csv", "--dry-run").err
    assert "step-20" not in kept
    assert run("tune", "attach", job["job"]).code == 0
    assert run("audit", job["job"], *AUDIT).code == 0


@pytest.mark.slow
def test_no_file_and_no_word_holds_the_key(run: Run, files: Path, server: LocalServer) -> None:
    server.faults.add(Fault("status", status=401, message=f"bad key {KEY}", path="fine_tuning/jobs", contains="method"))
    ended = run(*TUNE)
    assert ended.code == 2
    assert KEY not in ended.out + ended.err
    assert run(*TUNE).code == 2
    holding = [str(path) for path in files.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == []


@pytest.mark.slow
def test_a_job_is_audited_from_the_command_line(run: Run, files: Path) -> None:
    job = json.loads(run(*TUNE, "--json").out)["job"]
    dry = run("audit", job, "--test", "test.csv", "--validation", "validation.csv", "--dry-run")
    assert dry.code == 0
    assert "nothing was sent" in dry.err
    ended = run("audit", job, "--test", "test.csv", "--validation", "validation.csv")
    assert ended.code == 0, ended.err
    assert "reported against measured" in ended.out
    assert "labels in other proportions" in " ".join(ended.out.split())
    other = run("audit", job, "--test", "test.csv", "--validation", "train.csv")
    assert other.code == 2
    assert "not the validation rows of job" in other.err
