"""What works at once on imported jobs: attach, compare, audit, score, a page, and trials for a sweep."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.trial import SweepObjective
from luthier.sweeps.warm_start import warm_trials
from luthier.tuning.tuned_specs import TunedSpecFile
from tests.cli.conftest import Run, run
from tests.conftest import KEY, standing_store
from tests.importing.account import FEELINGS, FILES, FIRST, running
from tests.importing.test_import_jobs import TIMING

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


@pytest.fixture(scope="module")
def folder(account_folder: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two imported jobs with their recipe, made once: a store, their specs, and `valid.csv`, which measured one."""
    made = tmp_path_factory.mktemp("imported")
    shutil.copytree(account_folder, made / "service")
    with running(made / "service") as account:
        with standing_store(made, empty_store):
            endpoint = account.endpoint
            spec = lt.FineTune(TASK, "{{ text }}", system="Which mood has the text?", endpoint=endpoint, name="mood")
            table("mood", 1).to_csv("valid.csv", index=False)
            test = table("mood", 0).drop_duplicates().head(30)
            test["text"] += " again"
            test.to_csv("test.csv", index=False)
            report = lt.import_from(endpoint, task=TASK, name="mood-[0-9]*")
            found = sorted(item.id for item in report.items if item.kind == "job")
            for number, job in enumerate(found):
                lt.attach_job(job, spec=spec, to=TunedSpecFile(Path(f"tuned-{number}.yaml"))).watch(timing=TIMING)
        yield made


@pytest.fixture
def jobs(folder: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of those jobs; the working folder has a copy of the store and the files."""
    monkeypatch.setenv("STARS_KEY", KEY)
    for file in (*folder.glob("*.db"), *folder.glob("*.csv"), *folder.glob("*.yaml")):
        shutil.copy(file, tmp_path)
    specs = [lt.read_spec(f"tuned-{number}.yaml") for number in range(2)]
    return [spec.tuned.job for spec in specs if isinstance(spec, lt.FineTune) and spec.tuned is not None]


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
