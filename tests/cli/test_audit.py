from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.conftest import SHARED

FINDINGS = SHARED / "findings" / "reported_vs_measured.csv"
TABLE = "id,reported_f1,test_f1\na,0.50,0.45\nb,0.61,0.57\nc,0.70,0.64\n"

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def table(tmp_path: Path) -> str:
    (tmp_path / "pairs.csv").write_text(TABLE)
    return "pairs.csv"


@pytest.mark.slow
def test_a_table_of_pairs_is_audited_and_kept(run: Run, table: str) -> None:
    ended = run("audit", "--pairs", table)
    assert ended.code == 0, ended.err
    assert "+.050" in ended.out
    assert "Paired: reported_f1 with test_f1 (weighted F1)." in ended.out
    assert "mlflow ui" in ended.err
    assert max(map(len, ended.out.splitlines())) <= 80


def test_the_document_has_the_same_figures(run: Run, table: str) -> None:
    document = json.loads(run("audit", "--pairs", table, "--json").out)
    [found] = document["agreements"]
    assert found["difference"][0] == pytest.approx(0.05)
    assert found["pairs"]["ids"] == ["a", "b", "c"]
    assert document["run_id"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["audit"], "--pairs TABLE"),
        (["audit", "--pairs", "absent.csv"], "pairs.csv"),
        (["audit", "--pairs", "pairs.csv", "--pair", "f1=test_f1"], "it has: id, reported_f1, test_f1"),
        (["audit", "--pairs", "pairs.csv", "--id", "job"], "--id 'job'"),
        (["audit", "--pairs", "other.csv"], "--pair a=b"),
        (["audit", "--pairs", "pairs.csv", "--dry-run", "--test", "pairs.csv"], "leave --test, --dry-run out"),
        (["audit", "--pair", "a=b"], "add --pairs TABLE"),
    ],
)
def test_what_cannot_be_audited_says_what_to_type(
    run: Run, tmp_path: Path, table: str, words: list[str], says: str
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n1,2\n1,2\n")
    ended = run(*words)
    assert ended.code == 2
    assert says in ended.err
    assert not list(tmp_path.glob("mlruns"))


@pytest.mark.skipif(not FINDINGS.is_file(), reason="the findings are not here")
def test_the_findings_are_reproduced(run: Run) -> None:
    said = " ".join(run("audit", "--pairs", FINDINGS).out.split())
    assert "over 25 models the service reported .051 better" in said
    assert "accuracy counts 532 rows" in said
