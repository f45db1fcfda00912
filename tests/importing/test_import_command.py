"""What `luthier import` prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier_local import Fault
from tests.cli.conftest import Run, run
from tests.importing.account import JOBS, SUCCEEDED, Account

__all__ = ["run"]

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def file(account: Account, tmp_path: Path) -> Path:
    return account.write_endpoint(tmp_path / "account.yaml")


def test_it_prints_what_is_there_and_what_is_not_and_ends_with_3(run: Run, file: Path, account: Account) -> None:
    ended = run("import", "compatible", "--endpoint", file)
    assert ended.code == 3
    assert f"{len(JOBS)} new" in ended.out
    assert all(job in ended.out for job in account.ids())
    assert "under_review" in ended.out
    assert "Not brought: 4" in ended.out
    assert "deleted at the service, or expired" in " ".join(ended.out.split())
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "mlflow ui" in ended.err


def test_an_import_that_is_complete_ends_with_0(run: Run, file: Path) -> None:
    assert run("import", "compatible", "--endpoint", file, "--name", "mood*").code == 0
    again = run("import", "compatible", "--endpoint", file, "--name", "mood*", "--json")
    document = json.loads(again.out)
    assert document["complete"]
    assert [item["happened"] for item in document["items"]] == ["unchanged"] * 3


def test_a_dry_run_says_what_would_happen(run: Run, file: Path) -> None:
    ended = run("import", "compatible", "--endpoint", file, "--name", "mood*", "--dry-run")
    assert "3 would be new" in ended.out
    assert not mlflow.search_runs(search_all_experiments=True, output_format="list")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["azure"], "--endpoint FILE"),
        (["openai"], "OPENAI_API_KEY"),
        (["openai", "--endpoint", "account.yaml"], "luthier import compatible --endpoint account.yaml"),
        (["compatible", "--endpoint", "absent.yaml"], "absent.yaml"),
        (["compatible", "--endpoint", "account.yaml", "--since", "soon"], "YYYY-MM-DD"),
        (["compatible", "--endpoint", "account.yaml", "--task", "absent.yaml"], "absent.yaml"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, file: Path, words: list[str], said: str) -> None:
    ended = run("import", *words)
    assert ended.code == 2
    assert said in ended.err


def test_a_notebook_gets_a_report(file: Path, account: Account) -> None:
    report = lt.import_from(file, name="mood*")
    assert list(report.frame["id"]) == account.ids()[11:8:-1]
    assert "3 new" in report._repr_html_()
    assert lt.import_from(account.endpoint, name="mood*").count("job", "unchanged") == 3


def test_with_a_task_the_runs_of_its_jobs_go_to_its_experiment(file: Path, task: lt.Task) -> None:
    report = lt.import_from(file, name=["stars-0", "mood-9"], task=task)
    of_mood, of_stars = (mlflow.get_run(run_id) for run_id in report.frame["run_id"])
    assert mlflow.get_experiment(of_stars.info.experiment_id).name == task.name
    assert mlflow.get_experiment(of_mood.info.experiment_id).name.startswith("imported from ")


def test_an_imported_job_knows_how_its_model_is_asked(file: Path, account: Account) -> None:
    lt.import_from(file, name="stars-json-8")
    (job,) = [account.job(job) for job in account.ids() if account.job(job)["suffix"] == "stars-json-8"]
    attached = lt.attach_job(job["id"])
    assert attached.spec.prompt.system == "Answer in JSON."
    spoken = {1: "terrible awful", 3: "okay average", 5: "great wonderful"}
    rows = [
        (f"The soup was {words}, visit {number}", stars)
        for number in range(900, 910)
        for stars, words in spoken.items()
    ]
    board = lt.compare(attached.spec, pd.DataFrame(rows, columns=["text", "label"]), rank_by="accuracy")
    assert board.frame["accuracy"][0] > 0.9


def test_a_task_that_is_given_later_gives_a_run_its_recipe(account: Account, file: Path, task: lt.Task) -> None:
    job = account.ids()[0]
    # A file that cannot be read just then is no reason to wait.
    account.server.faults.add(Fault("status", path=f"{account.job(job)['training_file']}/content", status=403, times=1))
    (run_id,) = lt.import_from(file, name=job).frame["run_id"]
    assert "luthier.spec" not in mlflow.get_run(run_id).data.tags
    report = lt.import_from(file, name=job, task=task)
    assert list(report.frame["run_id"]) == [run_id]
    assert mlflow.get_run(run_id).data.tags["luthier.task"] == task.name


def test_a_model_becomes_a_version_and_a_spec_file_once(file: Path, account: Account, task: lt.Task) -> None:
    report = lt.import_from(file, name="stars-[0-2]", task=task)
    assert list(report.frame["version"]) == [f"{task.name}/3", f"{task.name}/2", f"{task.name}/1"]
    spec = lt.read_spec(report.frame["spec_file"][0])
    assert isinstance(spec, lt.FineTune)
    assert spec.tuned is not None
    version = mlflow.MlflowClient().get_model_version(task.name, "3")
    assert version.run_id == report.frame["run_id"][0]
    assert spec.tuned.model == account.job(report.frame["id"][0])["fine_tuned_model"]
    again = lt.import_from(file, name="stars-[0-2]", task=task)
    assert list(again.frame["happened"]) == ["unchanged"] * 3
    assert list(again.frame["version"]) == list(report.frame["version"])
    assert len(list(Path("models/imported").glob("*.yaml"))) == 4  # three specs and their task
    table = lt.score(f"models:/{task.name}/3", pd.DataFrame({"text": ["The soup was great wonderful, visit 3"]}))
    assert table["state"].tolist() == ["ok"]


def test_a_model_that_was_deleted_at_the_service_is_named_and_not_registered(file: Path, account: Account) -> None:
    deleted = account.job(account.ids()[SUCCEEDED - 2])["fine_tuned_model"]
    report = lt.import_from(file, name="stars-1[03]")
    assert [(one.kind, one.id) for one in report.missing] == [("model", deleted)]
    assert list(report.frame["version"]) == [None]


def test_a_model_whose_recipe_is_not_known_is_named_with_what_to_do(file: Path, task: lt.Task) -> None:
    report = lt.import_from(file, name="mood-9", task=task)
    (lost,) = report.missing
    assert (lost.kind, bool(lost.cure)) == ("model", True)


def test_models_can_be_versions_of_one_registered_model(file: Path) -> None:
    report = lt.import_from(file, name="mood-*", register="moods", folder="elsewhere")
    assert sorted(report.frame["version"]) == ["moods/1", "moods/2", "moods/3"]
    assert Path("elsewhere/task.yaml").exists()
