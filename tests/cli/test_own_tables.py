"""A table as its owner has it, from `init` to `score`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import luthier as lt
from tests.cli.conftest import Run

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]


@pytest.mark.parametrize(
    "labels", [("001", "002", "005"), ("+1", "0", "-1"), ("TRUE", "FALSE"), ("1,5", "2,0"), ("cafe\u0301", "bar")]
)
def test_labels_keep_their_spelling_from_init_to_score(tmp_path: Path, run: Run, labels: tuple[str, ...]) -> None:
    data = tmp_path / "t.csv"
    rows = [f"kind{n % len(labels)} soup, number {n};{labels[n % len(labels)]}" for n in range(30)]
    data.write_text("\n".join(["text;label", *rows]))
    assert run("init", "--data", data, "--folder", tmp_path / "m").code == 0
    spec = lt.read_spec(tmp_path / "m" / "label-baseline.yaml")
    model = lt.log(spec, train=data)
    ended = run("score", model.uri, data, tmp_path / "out.csv")
    assert (ended.code, f"{data}: semicolons between cells" in ended.err) == (0, True)
    scored = lt.read_table(tmp_path / "out.csv")
    assert scored["label"].tolist() == scored["label_input"].tolist() == [labels[n % len(labels)] for n in range(30)]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A logged baseline whose table is in t.csv."""
    rows = [f"kind{n % 3} soup number {n},{n % 3 - 1}" for n in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    task = lt.Task("mood", type="rating", labels=["-1", "0", "+1"])
    return lt.log(lt.Baseline(task), train=tmp_path / "t.csv").uri


def test_a_dry_run_prints_its_plan_as_json(run: Run, model: str, tmp_path: Path) -> None:
    table, folder = tmp_path / "t.csv", tmp_path / "m"
    run("init", "--data", table, "--folder", folder)
    spec = folder / "label-zero-shot.yaml"
    planned = json.loads(
        run("compare", spec, "--test", table, "--train", table, "--allow-leaks", "--dry-run", "--json").out
    )
    assert planned["specs"][0]["name"] == "label-zero-shot"
    assert planned["calls"]["high"] >= planned["calls"]["low"] >= 30
    scored = json.loads(run("score", model, table, tmp_path / "out.csv", "--dry-run", "--json").out)
    assert scored["cost_usd_high"] == 0


def test_labels_are_counted_in_the_order_of_the_task(run: Run, model: str, tmp_path: Path) -> None:
    assert "labels      -1: 10, 0: 10, +1: 10" in run("score", model, tmp_path / "t.csv", tmp_path / "out.csv").out


def test_what_was_scored_from_standard_input_is_not_replaced_by_other_rows(model: str, tmp_path: Path) -> None:
    def piped(text: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("luthier")), "score", model, "-", "out.csv"]
        return subprocess.run(command, input=text, cwd=tmp_path, capture_output=True, text=True, check=False)

    table = (tmp_path / "t.csv").read_text()
    assert (piped(table).returncode, piped(table).returncode) == (0, 0)
    before = (tmp_path / "out.csv").read_text()
    ended = piped("text,label\nother soup,0\n")
    assert (ended.returncode, "--overwrite" in ended.stderr) == (2, True)
    assert (tmp_path / "out.csv").read_text() == before


def test_an_output_that_is_no_file_is_told_how_to_name_one(run: Run, model: str, tmp_path: Path) -> None:
    ended = run("score", model, tmp_path / "t.csv", tmp_path)
    assert (ended.code, f"such as {tmp_path / 'scored.csv'}" in ended.err) == (2, True)
