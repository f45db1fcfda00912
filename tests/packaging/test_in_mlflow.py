"""What a user of MLflow finds there: models with their run, figures and data, and no runs but ours."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.tracking.runs import tag_of
from luthier.tracking.stores import no_autologging
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

TASK = lt.Task("mood", labels=["bad", "good"])


def rows(number: int) -> pd.DataFrame:
    texts = [f"{'good' if n % 2 else 'bad'} day {n}" for n in range(number)]
    return pd.DataFrame({"text": texts, "label": ["good" if n % 2 else "bad" for n in range(number)]})


def other(number: int) -> pd.DataFrame:
    return rows(number).assign(text=lambda table: table.text + "!")


@pytest.fixture(scope="module")
def board(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lt.Board]:
    """A comparison in a store of the module's own."""
    folder = tmp_path_factory.mktemp("in_mlflow")
    with pytest.MonkeyPatch.context() as here:
        here.setenv("LUTHIER_HOME", str(folder / "home"))
        here.chdir(folder)
        shutil.copy(empty_store, "mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        yield lt.compare(lt.Baseline(TASK, name="plain"), rows(24), train=other(40))


@pytest.fixture(autouse=True)
def same_store(board: lt.Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test looks into the comparison's store, not into a new one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())


def test_the_parent_says_what_was_compared_and_how_the_best_did(board: lt.Board) -> None:
    run = mlflow.get_run(board.run_id)
    assert run.info.run_name == "1 spec, 24 rows of the test table"
    assert run.data.params["best"] == "plain"
    assert run.data.params["specs"] == "plain"
    assert (run.data.params["rows"], run.data.params["train_rows"]) == ("24", "40")
    assert run.data.params["ranked_by"] in run.data.metrics
    best = mlflow.get_run(board.best.run_id).data.metrics
    assert run.data.metrics == best | {"spent_usd": 0.0}


def test_a_logged_model_belongs_to_the_run_that_measured_it(board: lt.Board) -> None:
    for model in (
        board.best.log(),
        lt.log(lt.Baseline(TASK, name="plain"), train=other(40)),
    ):
        assert model.logged is not None
        assert model.logged.run_id == board.best.run_id
        logged = mlflow.get_logged_model(model.logged.model_id)
        assert logged.experiment_id == mlflow.get_run(board.run_id).info.experiment_id
        assert logged.source_run_id == board.best.run_id
        assert logged.params["technique"] == "baseline"
        assert {metric.key: metric.value for metric in logged.metrics} == mlflow.get_run(board.best.run_id).data.metrics
        assert {metric.dataset_name for metric in logged.metrics} == {"the test table"}
        assert "Measured on 24 rows: " in logged.tags["mlflow.note.content"]


def test_a_model_that_was_not_measured_belongs_to_the_tasks_experiment_and_says_so() -> None:
    model = lt.log(lt.Baseline(TASK, name="fresh", seed=11), train=rows(12))
    assert model.logged is not None
    logged = mlflow.get_logged_model(model.logged.model_id)
    experiment = mlflow.get_experiment_by_name("mood")
    assert experiment is not None
    assert logged.experiment_id == experiment.experiment_id
    assert "Not measured yet" in logged.tags["mlflow.note.content"]


def test_a_version_has_a_description_and_its_digests_stand_apart(board: lt.Board) -> None:
    model = board.best.log(register="mood", alias="champion")
    version = mlflow.MlflowClient().get_model_version_by_alias("mood", "champion")
    assert "\nplain (baseline) answers mood: bad, good, from text.\n" in version.description
    own = {name for name in version.tags if name.startswith("luthier.")}
    assert {name for name in own if "digest" in name} == {name for name in own if name.startswith("luthier.digest.")}
    assert len(own - {name for name in own if name.startswith("luthier.digest.")}) == 5
    assert "mood version 1" in repr(model)


def test_what_an_earlier_luthier_logged_is_still_found(board: lt.Board) -> None:
    """Its digests are tags without a prefix of their own."""
    client = mlflow.MlflowClient()
    model = board.best.log(register="old")
    run = client.get_run(board.best.run_id)
    for name in ("fitted_digest", "test_digest"):
        value = tag_of(run.data.tags, name)
        client.delete_tag(run.info.run_id, f"luthier.digest.{name.removesuffix('_digest')}")
        client.set_tag(run.info.run_id, f"luthier.{name}", value)
    version = client.get_model_version("old", "1")
    for name in ("fitted_digest", "task_digest"):
        client.set_model_version_tag("old", "1", f"luthier.{name}", version.tags[f"luthier.digest.{name[:-7]}"])
        client.delete_model_version_tag("old", "1", f"luthier.digest.{name[:-7]}")
    assert lt.promote("old", alias="champion", require=["accuracy > 0.5"]).gates[0].rows == 24
    assert lt.log(f"runs:/{board.best.run_id}").logged is not None
    assert model.logged is not None


def test_a_prompt_too_long_for_the_registry_is_packaged_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = lt.compatible("m", "http://127.0.0.1:9/v1")
    spec = lt.Prompt(TASK, "{{ text }}" + "Rule. " * 20_000, endpoint=endpoint, name="huge")
    model = lt.log(spec)
    assert model.logged is not None
    assert model.logged.prompt_uri is None
    assert lt.load(model.uri).spec == spec
    assert "registry did not take it" in caplog.text


@pytest.fixture
def autologging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Autologging puts a finder there that stays, and warns at every later import of a library it knows.
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    mlflow.autolog(silent=True)
    yield
    mlflow.autolog(disable=True, silent=True)


@pytest.mark.usefixtures("autologging")
@pytest.mark.filterwarnings("ignore")
def test_autologging_makes_no_run_of_what_we_fit_and_goes_on_afterwards() -> None:
    from sklearn.linear_model import LogisticRegression

    client = mlflow.MlflowClient()

    def made() -> set[str]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return {run.info.run_id for run in client.search_runs(experiments, max_results=1000)}

    before = made()
    board = lt.compare(
        lt.Baseline(TASK, name="auto", seed=3), rows(24), train=rows(30).assign(text=lambda t: t.text + "?")
    )
    assert made() - before == {board.run_id, board.best.run_id}
    LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    assert len(made() - before) == 3


def test_autologging_stays_off_until_the_last_of_several_has_ended() -> None:
    from mlflow.utils import autologging_utils

    def off() -> bool:
        return bool(autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED)

    inside, go = threading.Event(), threading.Event()

    def other() -> None:
        with no_autologging():
            inside.set()
            go.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=other)
    with no_autologging():
        thread.start()
        assert inside.wait(PATIENCE_SECONDS)
    assert off()
    go.set()
    thread.join()
    assert not off()


def test_mlflow_evaluates_the_table_that_a_model_scored(board: lt.Board) -> None:
    model, test = board.best.log(), rows(24)
    scored = model.score(test.drop(columns="label"))
    found = mlflow.models.evaluate(
        data=scored.assign(truth=test["label"].astype(str), label=scored["label"].fillna("none")),
        targets="truth",
        predictions="label",
        model_type="classifier",
        model_id=model.model_id,
    )
    assert found.metrics["accuracy_score"] == board.frame.set_index("name").loc["plain", "accuracy"]
    linked = mlflow.get_logged_model(str(model.model_id)).metrics
    assert "accuracy_score" in {metric.key for metric in linked}
