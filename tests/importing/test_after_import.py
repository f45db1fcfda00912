"""What works at once on imported jobs: attach, compare, audit, score, a page, and trials for a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.trial import SweepObjective
from luthier.sweeps.warm_start import warm_trials
from tests.cli.conftest import Run, run
from tests.importing.account import FEELINGS, FILES, FIRST, Account

__all__ = ["run"]

pytestmark = pytest.mark.usefixtures("store")

TASK = lt.Task("mood", labels=list(FEELINGS), label="mood")

F1 = SweepObjective("weighted_f1", "maximize")


def table(name: str, part: int) -> pd.DataFrame:
    """The training or validation rows of a job as a table."""
    turns = [json.loads(line)["messages"] for line in FILES[name][part].splitlines()]
    return pd.DataFrame(
        {"text": [turn[-2]["content"] for turn in turns], "mood": [turn[-1]["content"] for turn in turns]}
    )


@pytest.fixture
def jobs(account: Account, tmp_path: Path, run: Run) -> list[str]:
    """Two imported jobs with their recipe; `valid.csv` is what one of them was measured on."""
    file = account.write_endpoint(tmp_path / "account.yaml")
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK.document()))
    spec = lt.FineTune(
        TASK, "{{ text }}", system="Which mood has the text?", endpoint=account.endpoint, name="mood"
    ).document()
    (tmp_path / "mood.yaml").write_text(yaml.safe_dump(spec))
    table("mood", 1).to_csv("valid.csv", index=False)
    test = table("mood", 0).drop_duplicates().head(30)
    test["text"] += " again"
    test.to_csv("test.csv", index=False)
    ended = run("import", "compatible", "--endpoint", file, "--task", "task.yaml", "--name", "mood-[0-9]*", "--json")
    found = [item["id"] for item in json.loads(ended.out)["items"] if item["kind"] == "job"]
    for number, job in enumerate(sorted(found)):
        attached = run("tune", "attach", job, "--spec", "mood.yaml", "--to", f"tuned-{number}.yaml")
        assert attached.code == 0, attached.err
    return sorted(found)


def with_validation(jobs: list[str]) -> str:
    """The job that was given validation rows."""
    (found,) = [one for one in jobs if "luthier.validation_file" in mlflow.get_run(lt.attach_job(one).run_id).data.tags]
    return found


def test_an_imported_job_is_audited_against_the_rows_its_service_measured_on(run: Run, jobs: list[str]) -> None:
    ended = run("audit", with_validation(jobs), "--test", "test.csv", "--validation", "valid.csv", "--yes")
    assert ended.code == 0, ended.err
    assert "reported minus measured" in " ".join(ended.out.split())


def test_validation_rows_of_another_number_are_refused(run: Run, jobs: list[str]) -> None:
    table("mood", 1).head(30).to_csv("less.csv", index=False)
    ended = run("audit", with_validation(jobs), "--test", "test.csv", "--validation", "less.csv", "--yes")
    assert ended.code == 2
    assert "has 40 rows, not 30" in ended.err


def test_an_imported_model_is_registered_scored_and_reported_with_its_own_times(run: Run, jobs: list[str]) -> None:
    assert run("log", "tuned-0.yaml", "--register", "mood").code == 0
    assert run("score", "models:/mood/1", "test.csv", "scored.csv", "--yes").code == 0
    assert set(pd.read_csv("scored.csv")["label"]) <= set(FEELINGS)
    job_run = mlflow.get_run(lt.attach_job(jobs[0]).run_id)
    assert job_run.info.start_time / 1000 >= FIRST
    assert job_run.info.end_time - job_run.info.start_time == 3_600_000
    assert run("report", job_run.info.run_id, "--to", "job.html").code == 0
    assert jobs[0] in Path("job.html").read_text()


def space() -> SearchSpace:
    given: dict[str, Any] = {"tuning.epochs": {"int": [1, 10]}}
    return SearchSpace.read(given, lt.FineTune)


def test_imported_jobs_are_trials_once_they_are_measured_on_the_rows_of_the_sweep(
    run: Run, jobs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [TASK.rows(pd.read_csv("valid.csv"), labelled=True).digest]
    with pytest.raises(lt.SpecError, match=r"none of 2 imported jobs.*luthier compare .* --test valid\.csv"):
        warm_trials("imported", space(), [F1], rows=rows, table="valid.csv")

    assert run("compare", "tuned-0.yaml", "--test", "valid.csv", "--yes").code == 0
    (one,) = warm_trials("imported", space(), [F1], rows=rows, table="valid.csv")
    assert "1 imported job was not measured on the validation rows" in capsys.readouterr().err

    assert run("compare", "tuned-1.yaml", "--test", "valid.csv", "--yes").code == 0
    both = warm_trials("imported", space(), [F1], rows=rows)
    assert sorted(trial.settings["tuning.epochs"] for trial in both) == [2, 4]
    assert one.source is not None
    assert one.source.split(", ")[-1] in jobs
    # A comparison on other rows is none.
    with pytest.raises(lt.SpecError, match="none of 2"):
        warm_trials("imported", space(), [F1], rows=["0" * 64])


def test_without_imported_jobs_the_message_says_how_to_get_some() -> None:
    with pytest.raises(lt.SpecError, match="luthier import openai --task"):
        warm_trials("imported", space(), [F1])
