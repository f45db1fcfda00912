from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.conftest import SHARED

FINDINGS = SHARED / "findings" / "fine_tune_trials.csv"
TABLE = "job,model,epochs,accuracy\n" + "".join(
    f"job-{number},{'small' if number % 2 else 'large'},{number % 3 + 1},{0.4 + 0.01 * number}\n"
    for number in range(12)
)

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def trials(tmp_path: Path) -> str:
    (tmp_path / "trials.csv").write_text(TABLE)
    return "trials.csv"


def test_a_table_of_trials_is_a_page_and_what_it_says_is_printed(run: Run, trials: str, tmp_path: Path) -> None:
    ended = run("report", "--trials", trials)
    assert ended.code == 0, ended.err
    assert "median .455" in ended.out
    assert "report: luthier-report.html" in ended.out
    text = (tmp_path / "luthier-report.html").read_text()
    assert "job-11" in text and "<svg" in text
    again = run("report", "--trials", trials)
    assert again.code == 0, "an earlier page is replaced"


def test_the_data_behind_every_figure_is_printed_as_json_and_no_page_is_written(
    run: Run, trials: str, tmp_path: Path
) -> None:
    document = json.loads(run("report", "--trials", trials, "--json").out)
    assert "0.51" in json.dumps(document)
    assert not (tmp_path / "luthier-report.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--trials", "absent.csv"], "absent.csv"),
        (["--trials", "trials.csv", "--metric", "f2"], "accuracy"),
        (["--trials", "trials.csv", "--task", "stars"], "leave the run and the task out"),
        (["--metric", "accuracy"], "table of trials"),
        (["run", "--task", "stars"], "leave the task out"),
        (["0123456789abcdef0123456789abcdef"], "no run '0123456789abcdef0123456789abcdef'"),
        (["models:/absent@champion"], "models:/absent@champion"),
        (["--task", "absent"], "absent"),
        ([], "luthier compare"),
        (["--trials", "trials.csv", "--to", "trials.csv"], "not a page written by Luthier"),
        (["--trials", "trials.csv", "--json", "--open"], "--to FILE"),
    ],
)
def test_a_mistake_is_one_message(run: Run, trials: str, words: list[str], says: str) -> None:
    ended = run("report", *words)
    assert ended.code not in (0, 1), ended.out
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
@pytest.mark.skipif(not FINDINGS.exists(), reason="the findings are not here")
def test_the_page_of_the_findings_shows_what_they_showed(run: Run, tmp_path: Path) -> None:
    ended = run("report", "--trials", str(FINDINGS), "--to", "findings.html")
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "175 trials" in said
    assert "Lowest .250, median .426, highest .604" in said
    assert "model babbage, n_epochs 10, batch_size 4" in said
    assert (tmp_path / "findings.html").stat().st_size < 700_000
