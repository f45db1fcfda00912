"""Commands that look something up import none of what takes seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.scoring.batch_report import BatchReport
from luthier.tracking.model_runs import batch_run, log_later, write_kept_runs
from luthier.tracking.store_file import SCHEMAS, model_folder, runs_tagged
from tests.conftest import standing_store

HEAVY = (
    "mlflow",
    "numpy",
    "pandas",
    "sklearn",
    "scipy.stats",
    "sqlalchemy",
    "alembic",
    "openai",
    "plotly",
    "jinja2",
    "aiohttp",
)


def imported_by(folder: Path, *arguments: str, allowed: tuple[str, ...] = ()) -> tuple[list[str], str]:
    """Which heavy packages a command has imported when it ends, and what it printed."""
    program = (
        "import json, sys\n"
        "from luthier.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        f"print('\\n' + json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    said, _, last = done.stdout.rstrip().rpartition("\n")
    code, names = json.loads(last)
    assert not code, done.stderr
    return [name for name in names if name not in allowed], said


def asked(folder: Path, expression: str) -> str:
    """An expression's value in a process that has not loaded MLflow, as JSON."""
    program = f"import json\nfrom luthier.tracking.store_file import *\nprint(json.dumps({expression}, default=str))"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def written(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a registered model and the run of a fine-tuning job."""
    import mlflow

    task = lt.Task("mood", labels=["bad", "good"])
    table = pd.DataFrame({"text": ["good day", "bad day"] * 4, "label": ["good", "bad"] * 4})
    with standing_store(tmp_path_factory.mktemp("quick"), empty_store) as file:
        lt.log(lt.Baseline(task), train=table, register="mood", alias="champion")
        client = mlflow.MlflowClient()
        tags = {"luthier.kind": "tune", "luthier.spec": "few", "luthier.tune_digest": "d", "luthier.base_model": "m"}
        client.create_run("0", tags=tags | {"luthier.job": "ftjob-1", "luthier.job_status": "succeeded"})
        deleted = client.create_run("0", tags=tags | {"luthier.job": "ftjob-gone"})
        client.delete_run(deleted.info.run_id)
    return file


@pytest.fixture
def folder(written: Path, store: str, tmp_path: Path) -> Path:
    """A folder whose mlflow.db is a copy of it."""
    shutil.copy(written, tmp_path / "mlflow.db")
    return tmp_path


@pytest.mark.slow
def test_looking_something_up_imports_nothing_heavy(folder: Path) -> None:
    assert imported_by(folder, "journal", "path")[0] == []
    assert imported_by(folder, "journal", "size")[0] == []
    heavy, said = imported_by(folder, "tune", "list")
    assert heavy == []
    assert "ftjob-1" in said
    assert "ftjob-gone" not in said


@pytest.mark.slow
def test_scoring_with_a_baseline_does_not_wait_for_mlflow_and_its_run_is_written(folder: Path) -> None:
    import mlflow

    pd.DataFrame({"text": ["good day", None]}).to_csv(folder / "new.csv", index=False)
    by_technique = ("numpy", "sklearn", "scipy.stats", "pandas")
    for source, target in (("models:/mood@champion", "a.csv"), ("models:/mood/1", "b.csv")):
        heavy, said = imported_by(folder, "score", source, "new.csv", target, allowed=by_technique)
        assert heavy == []
        assert said.startswith("2 rows written")
    assert write_kept_runs() == 0
    experiment = mlflow.get_experiment_by_name("mood")
    assert experiment is not None
    client = mlflow.MlflowClient()
    runs = client.search_runs([experiment.experiment_id], "tags.`luthier.kind` = 'score'")
    assert [run.data.tags["luthier.model_version"] for run in runs] == ["mood/1"] * 2
    logged = client.get_model_version("mood", "1").source
    assert {
        f"models:/{model.model_id}" for run in runs for model in client.get_run(run.info.run_id).inputs.model_inputs
    } == {logged}
    assert {run.data.metrics["rows_empty"] for run in runs} == {1.0}


@pytest.mark.slow
def test_a_run_that_cannot_be_written_is_kept_and_written_later(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    import mlflow

    model = lt.load("models:/mood@champion")
    report = BatchReport(rows=1)
    there = batch_run("models:/mood@champion", model.model_id, model.fitted.spec, report.metrics(), report.summary())
    kept = folder / "home" / "runs"
    kept.mkdir(parents=True)
    away = asdict(there) | {"store": f"sqlite:///{folder}/no/folder/mlflow.db"}
    (kept / "1-away.json").write_text(json.dumps(away))
    (kept / "2-there.json").write_text(json.dumps(asdict(there)))
    assert write_kept_runs() == 1
    assert [file.name for file in kept.glob("*.json")] == ["1-away.json"]
    mlflow.set_tracking_uri(there.store)
    log_later(there).wait()
    assert "1 earlier runs are not in MLflow yet" in caplog.text
    (kept / "1-away.json").unlink()
    assert write_kept_runs() == 0


@pytest.mark.slow
def test_the_file_says_what_mlflow_says(folder: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    logged = client.get_model_version_by_alias("mood", "champion").source
    assert logged is not None
    for uri in ("models:/mood@champion", "models:/mood/1", logged):
        theirs = mlflow.artifacts.download_artifacts(uri)
        assert Path(json.loads(asked(folder, f"model_folder({uri!r})"))) == Path(theirs), uri
    theirs = client.search_runs(["0"], "tags.`luthier.kind` = 'tune'")
    ours = json.loads(asked(folder, "[(run.run_id, run.tags) for run in runs_tagged('luthier.kind', 'tune')]"))
    assert ours == [[run.info.run_id, dict(run.data.tags)] for run in theirs]
    assert asked(folder, "model_folder('models:/nothing@champion')") == "null"


def test_the_schema_of_the_installed_mlflow_is_known(empty_store: Path) -> None:
    """An MLflow with another schema is asked itself, which is slow; look at its tables, then add it to SCHEMAS."""
    import sqlite3

    with sqlite3.connect(empty_store) as database:
        assert {row[0] for row in database.execute("SELECT version_num FROM alembic_version")} <= SCHEMAS
    database.close()


def test_a_process_that_has_mlflow_asks_mlflow() -> None:
    import mlflow

    assert mlflow
    assert runs_tagged("luthier.kind", "tune") is None
    assert model_folder("models:/mood@champion") is None


@pytest.mark.slow
def test_other_stores_and_unknown_schemas_are_left_to_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'newer'")
    database.close()
    assert asked(folder, "runs_tagged('luthier.kind', 'tune')") == "null"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert asked(folder, "runs_tagged('luthier.kind', 'tune')") == "null"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'none.db'}")
    assert asked(folder, "runs_tagged('luthier.kind', 'tune')") == "[]"
    assert not (folder / "none.db").exists()
