"""A table as its owner has it, from `init` to `score`, as it is typed."""

from __future__ import annotations

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
