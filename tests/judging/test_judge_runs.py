"""A judgement in MLflow, and what a user types for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.cli.conftest import Run
from tests.cli.conftest import run as run
from tests.judging.scripted_judge import QUALITY, ScriptedJudge, scripted_judge

pytestmark = pytest.mark.usefixtures("store")

MOOD = lt.Task("mood", text="text", label="mood", labels=["bad", "good"])
ROWS = 24


def rows(seed: int) -> pd.DataFrame:
    words = {"good": "fine lovely warm", "bad": "dull cold broken"}
    lines = []
    for number in range(ROWS):
        mood = ("good", "bad")[(number + seed) % 2]
        text = f"{words[mood].split()[number % 3]} room {number} {seed}"
        lines.append({"text": text, "mood": mood, "anna": 5 - number % 2, "ben": 5 - number % 3 % 2})
    return pd.DataFrame(lines)


@pytest.fixture
def judging() -> Iterator[ScriptedJudge]:
    with scripted_judge() as judge:
        yield judge


@pytest.fixture
def board() -> lt.Board:
    specs = [lt.Baseline(MOOD, name="plain"), lt.Baseline(MOOD, name="again", seed=8)]
    found = lt.compare(specs, rows(1), train=rows(0))
    assert isinstance(found, lt.Board)
    return found


@pytest.fixture
def judge_file(judging: ScriptedJudge, tmp_path: Path) -> str:
    (tmp_path / "judge.yaml").write_text(judging.yaml())
    return "judge.yaml"


def traces(run_id: str) -> list[Any]:
    place = mlflow.get_run(run_id).info.experiment_id
    return list(mlflow.search_traces(locations=[place], run_id=run_id, return_type="list"))


def test_a_board_is_judged_and_the_answers_stand_in_mlflow_with_both_kinds_of_ratings(
    judging: ScriptedJudge, board: lt.Board
) -> None:
    found = lt.judge(board, judging.spec(), human="anna", traces=2 * ROWS)
    logged = mlflow.get_run(found.run_id)
    assert logged.data.tags["mlflow.parentRunId"] == board.run_id == logged.data.tags["luthier.judged_run"]
    assert logged.info.status == "FINISHED"
    assert logged.info.experiment_id == mlflow.get_run(board.run_id).info.experiment_id
    assert found.facts.traced == 2 * ROWS
    seen = traces(found.run_id)
    assert len(seen) == 2 * ROWS, "none is lost to the pool of connections"
    sources = {(one.name, one.source.source_type) for trace in seen for one in trace.info.assessments}
    assert sources == {("rating", "LLM_JUDGE"), ("anna", "HUMAN"), ("truth", "HUMAN")}
    by_place = {json.loads(trace.data.request)["answer_number"]: trace for trace in seen}
    for place, label in enumerate(found.ratings["rating"], start=1):
        [rating] = [one for one in by_place[place].info.assessments if one.name == "rating"]
        assert rating.feedback.value == float(label) and rating.rationale == label
    assert mlflow.active_run() is None


def test_a_run_of_ones_own_stays_active_and_settings_stay_as_they_were(
    judging: ScriptedJudge, board: lt.Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "3")
    with mlflow.start_run() as mine:
        lt.judge(board, judging.spec(), traces=4)
        active = mlflow.active_run()
        assert active is not None and active.info.run_id == mine.info.run_id
    assert os.environ["MLFLOW_GENAI_EVAL_MAX_WORKERS"] == "3" and "MLFLOW_DISABLE_TELEMETRY" not in os.environ


def test_the_run_of_a_comparison_is_judged_as_its_board_is(judging: ScriptedJudge, board: lt.Board) -> None:
    first = lt.judge(board, judging.spec(), traces=0)
    asked = len(judging.asked)
    by_id = lt.judge(board.run_id, judging.spec(), traces=0)
    latest = lt.judge(None, judging.spec(), traces=0)
    assert len(judging.asked) == asked
    for other in (by_id, latest):
        pd.testing.assert_frame_equal(first.frame.drop(columns="run_id"), other.frame.drop(columns="run_id"))


def test_the_command_prints_what_the_run_keeps_and_its_page_is_made_again(
    run: Run, board: lt.Board, judge_file: str, tmp_path: Path
) -> None:
    words = ("judge", board.run_id, "plain", "--judge", judge_file, "--yes", "--traces", 0)
    ended = run(*words, "--to", "rated.csv", "--html", "page.html")
    assert ended.code == 0, ended.err
    assert "rates plain: mean rating" in " ".join(ended.out.split())
    rated = pd.read_csv(tmp_path / "rated.csv")
    assert set(rated["spec"]) == {"plain"} and len(rated) == ROWS
    assert "judge judges mood" in (tmp_path / "page.html").read_text()
    document = json.loads(run(*words, "--json").out)
    page = run("report", document["run_id"], "--to", "again.html")
    assert page.code == 0 and "judge judges mood" in (tmp_path / "again.html").read_text()
    assert f"luthier log runs:/{board['plain'].run_id} --register mood" in ended.err
    for of_what in ([board.run_id], []):
        assert run("report", *of_what, "--to", "compared.html").code == 0
        text = (tmp_path / "compared.html").read_text()
        assert "judge, mean rating" in text and f"luthier report {document['run_id']}" in text


def test_a_sheet_is_filled_in_by_a_person_and_given_back(
    run: Run, board: lt.Board, judge_file: str, tmp_path: Path
) -> None:
    ended = run("judge", "--sheet", "sheet.csv")
    sheet = pd.read_csv(tmp_path / "sheet.csv")
    assert ended.code == 0 and f"{len(sheet)} answers" in ended.err
    assert list(sheet.columns) == ["answer_id", "row", "text", "truth", "answer", "human"], "not whose it is"
    assert ROWS <= len(sheet) <= 2 * ROWS and not sheet.duplicated(["row", "answer"]).any()
    sheet["human"] = [5 if a == t else 2 for a, t in zip(sheet["answer"], sheet["truth"], strict=True)]
    sheet.to_csv(tmp_path / "sheet.csv", index=False)
    found = run("judge", "--judge", judge_file, "--human", "sheet.csv", "--yes", "--traces", 0)
    assert found.code == 0, found.err
    assert f"with human, on {len(sheet)} answers" in " ".join(found.out.split())
    other = run("judge", "--sheet", "other.csv")
    changed = pd.read_csv(tmp_path / "other.csv").assign(answer_id="0", human=5).head(1)
    changed.to_csv(tmp_path / "other.csv", index=False)
    refused = run("judge", "--judge", judge_file, "--human", "other.csv", "--yes")
    assert other.code == 0 and refused.code == 2 and "answer_id" in refused.err, "ratings of other texts are not taken"


def test_nothing_is_sent_without_an_agreement(
    run: Run, board: lt.Board, judging: ScriptedJudge, judge_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_ASK_ABOVE_USD", "0.0001")
    refused = run("judge", "--judge", judge_file)
    assert refused.code != 0 and "Add --yes" in refused.err
    dry = run("judge", "--judge", judge_file, "--dry-run")
    assert dry.code == 0 and "nothing was sent" in dry.err
    assert not judging.asked


def test_batches_are_submitted_by_one_command_and_collected_by_the_same_again(
    run: Run, board: lt.Board, endpoint: Endpoint, tmp_path: Path
) -> None:
    judge = lt.Prompt(QUALITY, "{{ answer }}", answer="score", endpoint=endpoint, name="judge")
    (tmp_path / "judge.yaml").write_text(json.dumps(judge.document()))
    command = ("judge", "--judge", "judge.yaml", "--mode", "batch", "--traces", 0)
    dry = run(*command, "--dry-run")
    assert dry.code == 0 and "live:" in dry.err and "batch:" in dry.err
    submitted = run(*command)
    assert submitted.code == 3 and "same command again" in submitted.err
    collected = run(*command, "--wait")
    assert collected.code == 0 and "mean rating" in collected.out, collected.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--write judge.yaml"),
        (["--judge", "absent.yaml"], "absent.yaml"),
        (["--judge", "judge.yaml", "nope"], "plain"),
        (["--judge", "judge.yaml", "0123456789abcdef0123456789abcdef"], "no run"),
        (["--judge", "judge.yaml", "--task", "other"], "other"),
        (["--judge", "judge.yaml", "--human", "nobody-has-this"], "nobody-has-this"),
        (["--judge", "judge.yaml", "--human", "text"], "no label of the judge"),
        (["--judge", "judge.yaml", "--to", "ratings.doc"], "ratings.doc"),
        (["--write", "judge.yaml"], "there already"),
        (["--write", "judge.txt"], ".yaml"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_asked(
    run: Run, board: lt.Board, judging: ScriptedJudge, judge_file: str, words: list[str], says: str
) -> None:
    ended = run("judge", *words)
    assert ended.code not in (0, 1), ended.out
    assert says in ended.err and "Traceback" not in ended.err
    assert not judging.asked


def test_the_run_of_a_spec_and_the_model_made_of_it_stand_for_its_answers(
    judging: ScriptedJudge, board: lt.Board
) -> None:
    board["plain"].log(register="mood", alias="champion")
    for given in (board["plain"].run_id, "models:/mood@champion"):
        found = lt.judge(given, judging.spec(), traces=0)
        assert list(found.frame["spec"]) == ["plain"] and found.facts.judged_run == board.run_id


def test_runs_of_other_kinds_say_what_they_are(run: Run, judging: ScriptedJudge, board: lt.Board) -> None:
    found = lt.judge(board, judging.spec(), traces=0)
    with pytest.raises(lt.ModelError, match="of kind 'judge'"):
        lt.judge(found.run_id, judging.spec())


def test_columns_of_several_people_may_be_named(judging: ScriptedJudge, board: lt.Board) -> None:
    found = lt.judge(board, judging.spec(), human=["anna", "ben"], traces=0)
    assert found.agreement is not None and found.agreement.raters == ("anna", "ben")


def test_a_table_of_answers_from_anywhere_is_judged(
    run: Run, judging: ScriptedJudge, judge_file: str, tmp_path: Path
) -> None:
    table = pd.DataFrame({"text": ["a", "b"], "truth": ["x", "y"], "answer": ["x", "z"]})
    table.to_csv(tmp_path / "answers.csv", index=False)
    ended = run("judge", "answers.csv", "--judge", judge_file, "--yes", "--traces", 0)
    assert ended.code == 0, ended.err
    assert "mean rating 3.50" in " ".join(ended.out.split())


HOSTILE = ["plain", "half of a pair \ud83d", "nul \0 here", "x" * 50_000, "{{ answer }} </trace>", "two\n\nlines"]


def test_free_text_is_judged_whatever_is_in_it() -> None:
    pytest.importorskip("sacrebleu")

    def says(turn: str) -> str:
        return HOSTILE[int(turn.split()[-1])] if turn.startswith("Write") else "4"

    subjects = lt.Task("subjects", type="generation", text="text", label="subject")
    table = pd.DataFrame({"text": [f"mail {n}" for n in range(len(HOSTILE))], "subject": "plain"})
    with scripted_judge(says) as model:
        writer = lt.Prompt(subjects, "Write of {{ text }}", endpoint=model.endpoint("writer"), name="writer")
        board = lt.compare(writer, table)
        found = lt.judge(board, model.spec("{{ truth }} / {{ answer }}"))
        again = lt.judge(board.run_id, model.spec("{{ truth }} / {{ answer }}"), traces=0)
    # What is far too long is no answer of the task.
    assert found.frame.loc[0, "unanswered"] == 1
    assert found.frame.loc[0, "rated"] == len(HOSTILE) - 1 == found.facts.traced == len(traces(found.run_id))
    shown = {one.answers[0].answer for one in again.facts.to_look_at}
    assert "half of a pair ?" in shown and not any("x" * 1000 in one for one in shown)
    assert again.spent_usd == 0, "what the run keeps is sent as what the board holds"


def test_what_people_said_of_the_texts_is_no_rating_of_answers(judging: ScriptedJudge) -> None:
    stars = lt.Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5], raters=["anna"])
    table = pd.DataFrame({"text": [f"text {n}" for n in range(20)], "stars": [1 + n % 5 for n in range(20)]})
    table["anna"] = table["stars"]
    board = lt.compare(lt.Baseline(stars, name="plain"), table, train=table.assign(text=table["text"] + " more"))
    with pytest.raises(lt.DataError, match="to the texts themselves"):
        lt.judge(board, judging.spec(), human="anna")


@pytest.mark.slow
def test_a_killed_judgement_goes_on_and_asks_nothing_twice(
    judging: ScriptedJudge, judge_file: str, tmp_path: Path
) -> None:
    import os
    import signal
    import subprocess
    import sys

    from tests.judging.scripted_judge import answered
    from tests.patience import PATIENCE_SECONDS, until

    answered(rows=400, good=200, poor=100).to_csv(tmp_path / "answers.csv", index=False)
    command = [sys.executable, "-m", "luthier", "judge", "answers.csv", "--judge", judge_file, "--yes", "--traces", "0"]
    whole = 400 + 100
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(judging.asked) >= 200 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    paid = len(judging.asked)
    assert 200 <= paid < whole, "killed in the middle"
    again = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, again.stderr
    # What was in flight, or not committed yet, is asked again.
    assert len(set(judging.asked)) == whole and len(judging.asked) - whole < 128
