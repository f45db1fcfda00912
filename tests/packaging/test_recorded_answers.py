"""What a packaged model recorded of itself, and that a replay finds whatever changes its answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.errors import ModelError, UserError
from luthier.packaging.loading import find_model
from luthier.packaging.recorded_answers import FILE, RecordedAnswers, read_recorded, replay
from luthier.packaging.recording import VARIABLE, record_answers
from luthier.spec import Fitted
from tests.conftest import reviews
from tests.measured_models import TECHNIQUES, MeasuredModels

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(measured: MeasuredModels) -> Mapping[str, Path]:
    return measured.folders


def packaged(folder: Path) -> tuple[Fitted, RecordedAnswers]:
    found = find_model(str(folder))
    recorded = read_recorded(found.folder.data)
    assert recorded is not None
    return found.fitted, recorded


@pytest.fixture
def tampered(folders: Mapping[str, Path], tmp_path: Path) -> Callable[[str, str, str], Path]:
    """A copy of the prompt's folder with a text in one of its files replaced."""

    def tamper(file: str, old: str, new: str) -> Path:
        shutil.copytree(folders["few"], tmp_path / "tampered")
        path = tmp_path / "tampered" / "data" / "luthier" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return tmp_path / "tampered"

    return tamper


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_model_replays_every_answer_it_recorded_without_its_service(
    folders: Mapping[str, Path], technique: str
) -> None:
    fitted, recorded = packaged(folders[technique])
    assert len(recorded.rows) == 20
    result = replay(fitted, recorded)
    assert (result.alike, result.without_answers, dict(result.differing)) == (20, 0, {})
    assert str(result) == "20 of 20 recorded answers replayed"


def test_rows_are_spread_over_labels_and_states(folders: Mapping[str, Path]) -> None:
    _, recorded = packaged(folders["few"])
    assert {row.prediction["label"] for row in recorded.rows} == {"1", "2", "3", "4", "5", None}
    assert {row.state for row in recorded.rows} == {"ok", "empty"}


def test_the_mix_of_the_true_labels_is_recorded(folders: Mapping[str, Path]) -> None:
    _, recorded = packaged(folders["plain"])
    truths = [*reviews(60)["stars"], 3]
    assert recorded.labels == pytest.approx({str(n): truths.count(n) / 61 for n in range(1, 6)})


def test_a_changed_template_asks_something_else(tampered: Callable[[str, str, str], Path]) -> None:
    result = replay(*packaged(tampered("spec.yaml", "Stars for:", "Stars  for:")))
    assert not result.passed
    assert "asks something else" in str(result)


def test_a_changed_list_of_labels_is_found(tampered: Callable[[str, str, str], Path]) -> None:
    result = replay(*packaged(tampered("spec.yaml", "- '5'", "- '6'")))
    assert not result.passed


def test_a_changed_calibration_is_found(folders: Mapping[str, Path]) -> None:
    fitted, recorded = packaged(folders["few"])
    prior = [*fitted.state["leaning"]]
    changed = replace(fitted, state={**fitted.state, "leaning": [prior[0] + 0.1, *prior[1:]]})
    result = replay(changed, recorded)
    assert not result.passed
    assert " was " in str(result)


def test_a_changed_head_is_found(folders: Mapping[str, Path]) -> None:
    fitted, recorded = packaged(folders["vectors"])
    for name in fitted.arrays:
        arrays = {**fitted.arrays, name: np.asarray(fitted.arrays[name]) * 1.01}
        assert not replay(replace(fitted, arrays=arrays), recorded).passed, name


def test_a_changed_baseline_is_found(folders: Mapping[str, Path]) -> None:
    fitted, recorded = packaged(folders["plain"])
    name = next(iter(fitted.arrays))
    arrays = {**fitted.arrays, name: np.asarray(fitted.arrays[name]) + 0.1}
    assert not replay(replace(fitted, arrays=arrays), recorded).passed


def test_rows_of_the_test_table_stay_out_where_the_user_says_so(folders: Mapping[str, Path]) -> None:
    _, recorded = packaged(folders["without"])
    assert (recorded.rows, recorded.answers) == ((), ())
    assert recorded.labels
    content = (folders["without"] / "data" / "luthier" / FILE).read_text()
    assert not [text for text in reviews(60)["text"] if text in content]


def test_a_word_that_is_neither_yes_nor_no_is_refused(
    folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "nope")
    folder = folders["few"]
    fitted, _ = packaged(folder)
    run_id = find_model(str(folder)).folder.run_id
    assert run_id is not None
    with pytest.raises(UserError, match="nope"):
        record_answers(fitted, run_id)


def test_what_an_earlier_luthier_packaged_has_its_answers_built_from_its_run_and_the_journal(
    folders: Mapping[str, Path],
) -> None:
    assert read_recorded(folders["earlier"] / "data" / "luthier") is None
    assert packaged(folders["rebuilt"])[1] == packaged(folders["few"])[1]


def test_the_digest_of_what_was_fitted_is_that_without_recorded_answers(folders: Mapping[str, Path]) -> None:
    assert packaged(folders["few"])[0].digest == find_model(str(folders["earlier"])).fitted.digest


def test_rows_whose_answers_are_not_in_the_journal_are_not_replayed(folders: Mapping[str, Path]) -> None:
    fitted, recorded = packaged(folders["few"])
    rows = tuple(replace(row, has_answers=False) for row in recorded.rows)
    result = replay(fitted, replace(recorded, rows=rows, answers=()))
    assert (result.alike, result.without_answers, result.passed) == (0, 20, True)


ROW: dict[str, Any] = {"inputs": {"text": "a"}, "prediction": {"label": "b"}, "has_answers": False}
ANSWER: dict[str, Any] = {
    **{"key": "00" * 32, "address": "http://a", "state": "answered", "operation": "chat", "identity": "m"},
    **{"model": "m", "reported_model": None, "status": 200, "failure": None, "error": None},
    **{"input_tokens": 1, "output_tokens": 1, "body": "{}"},
}


def of_a_stranger(rows: int = 1, **answer: Any) -> str:
    return json.dumps({"schema": 1, "labels": {}, "rows": [ROW] * rows, "answers": [ANSWER | answer]})


def test_a_file_as_it_should_be_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(of_a_stranger())
    assert read_recorded(tmp_path) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"schema": 2}', '{"schema": 1, "labels": {}, "rows": [1], "answers": []}', "[" * 100_000),
        of_a_stranger(rows=21),  # each of them would be asked, and paid for
        of_a_stranger(input_tokens=10**30),
        of_a_stranger(output_tokens=None),
        of_a_stranger(status={"code": 200}),
        of_a_stranger(error=["a"]),
        of_a_stranger(model="\ud800"),
        of_a_stranger(identity=None),
        of_a_stranger(key="no hex"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelError, match=FILE):
        read_recorded(tmp_path)
