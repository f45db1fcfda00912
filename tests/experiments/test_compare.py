"""compare: the same rows for every spec, everything kept, nothing paid twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Answer, Endpoint, TerminalProgress
from luthier.errors import BudgetReached, DataError, EndpointError, SpecError, UnusableAnswers
from luthier_local import LocalServer
from tests.conftest import priced, reviews, standing_store, stars
from tests.scripted_server import chat_reply, serving

pytestmark = pytest.mark.usefixtures("tracker")


def three(task: lt.Task, endpoint: Endpoint) -> list[lt.Spec]:
    return [
        lt.Baseline(task, name="baseline"),
        lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero"),
        lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint, name="few"),
    ]


@pytest.fixture
def specs(task: lt.Task, endpoint: Endpoint) -> list[lt.Spec]:
    return three(task, endpoint)


@pytest.fixture(scope="session")
def compared(
    empty_store: Path, standing_server: LocalServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, lt.Board]:
    with standing_store(tmp_path_factory.mktemp("compared"), empty_store) as file:
        return file, lt.compare(three(stars(), priced(standing_server)), reviews(60), train=reviews(80, seed=8))


@pytest.fixture
def board(compared: tuple[Path, lt.Board], store: str, tmp_path: Path) -> lt.Board:
    """Three specs on `table`, compared once for all tests that look at what came of it."""
    file, board = compared
    shutil.copy(file, tmp_path / "mlflow.db")
    return board


def sent(server: LocalServer) -> int:
    return server.received.total


def test_the_board_holds_every_spec_with_its_interval(board: lt.Board) -> None:
    frame = board.frame
    assert set(frame["name"]) == {"baseline", "zero", "few"}
    assert ((frame["qwk_low"] <= frame["qwk"]) & (frame["qwk"] <= frame["qwk_high"])).all()


@pytest.mark.slow
def test_comparing_again_sends_nothing(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    first = lt.compare(specs, table, train=train)
    before = sent(server)
    second = lt.compare(specs, table, train=train)
    assert sent(server) == before
    assert second.frame["qwk"].tolist() == first.frame["qwk"].tolist()


@pytest.mark.slow
def test_the_latency_of_a_cached_answer_is_that_of_the_original_call(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame
) -> None:
    first = lt.compare(specs[1], table).answers("zero")
    second = lt.compare(specs[1], table).answers("zero")
    assert second["latency_seconds"].tolist() == first["latency_seconds"].tolist()


def test_mlflow_holds_a_parent_with_a_child_per_spec(board: lt.Board) -> None:
    experiment = mlflow.get_experiment_by_name("stars")
    runs = mlflow.search_runs([experiment.experiment_id])
    children = runs[runs["tags.mlflow.parentRunId"] == board.run_id]
    assert set(children["tags.luthier.spec"]) == {"baseline", "zero", "few"}
    assert (children["status"] == "FINISHED").all()
    assert children["metrics.weighted_f1_low"].notna().all()
    assert children["tags.luthier.digest.test"].nunique() == 1


def test_the_parent_describes_itself_with_the_order_and_what_it_says(board: lt.Board) -> None:
    said = mlflow.get_run(board.run_id).data.tags["mlflow.note.content"]
    assert [line.split(": QWK ")[0] for line in said.splitlines()[:3]] == [
        f"{place}. {name}" for place, name in enumerate(board.frame["name"], start=1)
    ]
    assert f"- {board.best.spec.name} leads" in said


def test_a_child_names_the_test_table_as_its_parent_does(board: lt.Board) -> None:
    named = [
        {one.dataset.name for one in mlflow.get_run(run).inputs.dataset_inputs}
        for run in (board.run_id, board["few"].run_id)
    ]
    assert named == [{"the test table", "train"}, {"the test table"}]


def test_the_report_and_the_leaderboard_are_artifacts_of_the_parent(board: lt.Board, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(run_id=board.run_id, dst_path=str(tmp_path / "a")))
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    document = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    assert document["rows_evaluated"] == 60


def test_every_answer_is_kept_row_by_row(board: lt.Board, table: pd.DataFrame) -> None:
    run = board["zero"].run_id
    frame = pd.read_parquet(mlflow.artifacts.download_artifacts(run_id=run, artifact_path="predictions.parquet"))
    assert frame["truth"].tolist() == [str(stars) for stars in table["stars"]]
    assert frame["raw"].notna().all()
    mlflow.set_experiment("stars")
    shown = mlflow.load_table("predictions.json", run_ids=[run])
    assert len(shown) == 60


def test_errors_are_the_rows_that_differ_worst_first(board: lt.Board) -> None:
    wrong = board.errors("zero")
    distance = (wrong["prediction"].astype(float) - wrong["truth"].astype(float)).abs()
    assert (distance > 0).all()
    assert distance.is_monotonic_decreasing


def test_a_spec_that_needs_training_rows_says_so(specs: list[lt.Spec], table: pd.DataFrame) -> None:
    with pytest.raises(SpecError, match="'baseline'.*--train"):
        lt.compare(specs, table)


def test_a_template_that_reads_an_unknown_column_sends_nothing(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, server: LocalServer
) -> None:
    spec = lt.Prompt(task, "{{ text }} {{ city }}", answer="score", endpoint=endpoint, name="x")
    with pytest.raises(DataError, match="'city'"):
        lt.compare([spec], table)
    assert sent(server) == 0


@pytest.mark.usefixtures("store")
def test_a_missing_key_is_named_and_nothing_is_written(
    specs: list[lt.Spec], table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STARS_KEY")
    with pytest.raises(EndpointError, match="STARS_KEY"):
        lt.compare(specs[1], table)
    assert mlflow.get_experiment_by_name("stars") is None


def test_specs_of_two_tasks_are_refused(specs: list[lt.Spec], table: pd.DataFrame) -> None:
    other = lt.Baseline(lt.Task("mood", label="stars", labels=["1", "2"]), name="other")
    with pytest.raises(SpecError, match="different tasks"):
        lt.compare([specs[0], other], table)


def test_a_budget_stops_the_comparison_and_the_next_call_goes_on(
    specs: list[lt.Spec], table: pd.DataFrame, server: LocalServer
) -> None:
    zero = specs[1]
    with pytest.raises(BudgetReached):
        lt.compare(zero, table, budget_usd=0.0003)
    paid = sent(server)
    assert 0 < paid < 60
    lt.compare(zero, table)
    assert sent(server) == 60


@pytest.mark.slow
def test_a_limit_takes_the_same_rows_every_time(specs: list[lt.Spec], table: pd.DataFrame) -> None:
    first = lt.compare(specs[1], table, limit=20)
    second = lt.compare(specs[1], table, limit=20)
    assert first.leaderboard.rows_evaluated == 20
    assert first.leaderboard.test_digest == second.leaderboard.test_digest


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_what_was_fitted_from_the_same_rows_is_not_fitted_again(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    spec = lt.Prompt(
        task, "Stars: {{ text }}", answer={"method": "score", "calibration_rows": 10}, endpoint=endpoint, name="cal"
    )
    lt.compare(spec, table, train=train)
    from luthier.endpoints import default_engine

    default_engine().journal.purge()
    before = sent(server)
    model = lt.log(spec, train=train)
    assert sent(server) == before
    assert model.spec.name == "cal"


def test_training_rows_that_differ_in_another_column_are_fitted_anew(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    spec = lt.Prompt(task, "{{ title }}: {{ text }}", answer="score", examples=2, endpoint=endpoint, name="titled")
    first = lt.fit(spec, train.assign(title="A"))
    second = lt.fit(spec, train.assign(title="B"))
    assert first.digest != second.digest


def test_a_plan_that_asks_afresh_counts_nothing_as_known(
    specs: list[lt.Spec], table: pd.DataFrame, server: LocalServer
) -> None:

    lt.compare(specs[1], table)
    again = lt.plan([specs[1]], table)
    afresh = lt.plan([specs[1]], table, fresh=True)
    assert (again.requests, again.cost_usd) == (0, 0)
    assert afresh.requests == 60
    assert afresh.cost_usd is not None
    assert afresh.cost_usd > 0


@pytest.mark.slow
def test_asking_afresh_calibrates_afresh(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, train: pd.DataFrame, server: LocalServer
) -> None:
    spec = lt.Prompt(
        task, "Stars: {{ text }}", answer={"method": "score", "calibration_rows": 10}, endpoint=endpoint, name="cal"
    )
    lt.compare(spec, table.head(20), train=train)
    before = sent(server)
    lt.compare(spec, table.head(20), train=train, fresh=True)
    assert sent(server) - before == 30


def test_test_rows_that_stand_in_training_are_named(task: lt.Task, train: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="50 of 50 rows of the test table.*training table"):
        lt.compare(lt.Baseline(task, name="b"), train.head(50), train=train)
    board = lt.compare(lt.Baseline(task, name="b"), train.head(50), train=train, allow_leaks=True)
    assert "50 test rows are also in its training rows" in repr(board).replace("\n", " ")


def test_an_unknown_ranking_is_refused_before_anything_is_sent(
    specs: list[lt.Spec], table: pd.DataFrame, server: LocalServer
) -> None:
    with pytest.raises(lt.UserError, match="f1"):
        lt.compare(specs[1], table, rank_by="f1")
    assert sent(server) == 0


@pytest.mark.slow
def test_the_bar_counts_the_rows_from_the_start_not_the_calibration_alone(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, train: pd.DataFrame
) -> None:
    class Heard(TerminalProgress):
        first: str = ""

        def completed(self, answer: Answer) -> None:
            super().completed(answer)
            self.first = self.first or self.line()

    answer = {"method": "score", "calibration_rows": 20}
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer=answer, endpoint=endpoint, name="calibrated")
    heard = Heard(silent=True)
    lt.compare(spec, table.head(30), train=train, progress=heard)
    assert heard.first.startswith("1/50 calls")
    assert heard.line().startswith("50/50 calls")


def uncalibrated(task: lt.Task, address: str) -> list[lt.Spec]:
    """A baseline, two prompts that read words, and one that calibrates on probabilities the server does not give."""
    endpoint = Endpoint(provider="compatible", base_url=address, model="m")
    return [
        lt.Baseline(task, name="baseline"),
        lt.Prompt(task, "Stars: {{ text }}", answer="text", endpoint=endpoint, name="words"),
        lt.Prompt(task, "How many stars? {{ text }}", answer="text", endpoint=endpoint, name="other"),
        lt.Prompt(
            task,
            "Rating: {{ text }}",
            answer={"method": "score", "calibration_rows": 10},
            endpoint=endpoint,
            name="cal",
            style="chat",
        ),
    ]


@pytest.mark.parametrize("race", [False, True])
def test_a_spec_that_cannot_be_calibrated_is_missing_with_its_reason_and_the_others_are_measured(
    task: lt.Task, train: pd.DataFrame, race: bool
) -> None:
    with serving(200, chat_reply("5")) as address:
        board = lt.compare(uncalibrated(task, address), reviews(40), train=train, race=race)
    stopped = [one.name for one in board.leaderboard.race.stopped] if board.leaderboard.race else []
    assert {*board.frame["name"], *stopped} == {"baseline", "words", "other"}
    assert set(board.leaderboard.missing) == {"cal"}
    assert "Missing is cal: only 0 of 10 calibration rows got probabilities" in " ".join(repr(board).split())


@pytest.mark.usefixtures("store")
def test_a_baseline_beside_a_spec_that_cannot_be_calibrated_is_kept_in_a_run_of_its_own(
    task: lt.Task, train: pd.DataFrame
) -> None:
    with serving(200, chat_reply("5")) as address:
        baseline, *_, cal = uncalibrated(task, address)
        board = lt.compare([baseline, cal], reviews(20), train=train)
        with pytest.raises(UnusableAnswers, match=r"0 of 10 calibration rows .*answer\.calibration_rows: 0"):
            lt.compare(cal, reviews(20), train=train)
    [child] = mlflow.search_runs(
        [mlflow.get_run(board.run_id).info.experiment_id], "run_name = 'baseline'", output_format="list"
    )
    assert child.data.metrics["accuracy"] == board.frame["accuracy"].iloc[0]
