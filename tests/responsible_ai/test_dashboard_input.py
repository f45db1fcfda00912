from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from luthier.errors import DataError
from luthier.evaluation.cohorts import Cohort, Filter
from luthier.evaluation.resampling import Interval
from luthier.responsible_ai.dashboard_input import write_dashboard_input
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task

ROWS = 40


def written(
    folder: Path, columns: dict[str, Any], *, rows: int = ROWS, scores: bool = True, **given: Any
) -> tuple[pd.DataFrame, dict[str, Any], tuple[str, ...]]:
    """What is written for a table with these columns: every third row is wrong, the last one is refused."""
    task = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3])
    truths = [str(1 + i % 3) for i in range(rows)]
    table = pd.DataFrame({"text": [f"text {i}" for i in range(rows)], "stars": truths, **columns})
    told = [truth if i % 3 else str(3 - i % 2) for i, truth in enumerate(truths)]
    predictions = [
        Prediction(label, "ok", tuple(0.8 if one == label else 0.1 for one in task.labels) if scores else None)
        for label in told
    ]
    predictions[-1] = Prediction(None, "refused")
    features = pd.DataFrame({"words": [i % 7 for i in range(rows)]})
    notes = write_dashboard_input(folder, task, task.rows(table, labelled=True), predictions, features, **given)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return pd.read_parquet(folder / "rows.parquet"), config, notes


def cohort(*filters: Filter) -> Cohort:
    some = Interval(0.5, 0.4, 0.6)
    return Cohort(filters, 20, 0.5, some, some, some, 0.01, 0.01, True)


def test_a_row_has_its_truth_prediction_state_probabilities_and_features(tmp_path: Path) -> None:
    frame, config, notes = written(tmp_path, {})
    first = frame.iloc[1]
    assert (first["row"], first["text"], first["truth"], first["prediction"], first["state"]) == (
        2, "text 1", "2", "2", "ok",
    )  # fmt: skip
    assert list(first[config["probabilities"]]) == [0.1, 0.8, 0.1]
    assert first["confidence_permille"] == 800
    last = frame.iloc[-1]
    assert pd.isna(last["prediction"]) and last["state"] == "refused" and last["confidence_permille"] == 0
    assert config["features"] == ["words", "confidence_permille"]
    assert notes == ()


def test_without_probabilities_there_is_no_confidence(tmp_path: Path) -> None:
    _, config, _ = written(tmp_path, {}, scores=False)
    assert config["features"] == ["words"] and config["probabilities"] == []


def test_columns_that_divide_rows_go_in_and_others_are_named(tmp_path: Path) -> None:
    frame, config, notes = written(
        tmp_path,
        {
            "price": [i / 4 for i in range(ROWS)],
            "visits": [i % 5 for i in range(ROWS)],
            "region": ["north", "south"] * (ROWS // 2),
            "member": [True, False] * (ROWS // 2),
            "id": range(ROWS),
            "same": ["x"] * ROWS,
            "nothing": [None] * ROWS,
            "code": [f"c{i}" for i in range(ROWS)],
            "remark": ["word " * 40, "other " * 40] * (ROWS // 2),
        },
    )
    assert config["features"][2:] == ["price", "visits", "region", "member"]
    assert config["categorical"] == ["region", "member"]
    assert frame["visits"].dtype == np.int64 and frame["price"].dtype == float
    said = " ".join(notes)
    for name in ("id", "same", "nothing", "code", "remark"):
        assert name in said


def test_gaps_dates_and_mixed_cells_become_texts(tmp_path: Path) -> None:
    frame, config, _ = written(
        tmp_path,
        {
            "age": [None if i % 10 == 0 else 20 + i for i in range(ROWS)],
            "seen": [datetime.datetime(2024, 1 + i % 3, 1) for i in range(ROWS)],
            "mixed": [1, "one", None, 2.5] * (ROWS // 4),
            "late": [pd.NaT if i % 2 else pd.Timestamp("2024-05-01") for i in range(ROWS)],
        },
    )
    assert set(config["categorical"]) == {"age", "seen", "mixed", "late"}
    assert "(missing)" in set(frame["age"]) and len(set(frame["age"])) == 5
    assert set(frame["seen"]) == {"2024-01", "2024-02", "2024-03"}
    assert set(frame["mixed"]) == {"1", "one", "(missing)", "2.5"}
    assert set(frame["late"]) == {"2024-05", "(missing)"}


HOSTILE = ["date", "label", "true_y", "Index", "row", "words", "", "  ", "a`b", "@x('y')", "ﬁne", "x" * 99, "日本 語"]


def test_any_name_of_a_column_becomes_a_plain_one(tmp_path: Path) -> None:
    _, config, _ = written(tmp_path, {name: ["u", "v"] * (ROWS // 2) for name in HOSTILE})
    shown = config["features"][2:]
    assert len({name.casefold() for name in config["features"]}) == len(config["features"]) == 2 + len(HOSTILE)
    assert shown[0] == "date 2" and shown[5] == "words 2" and shown[8:11] == ["a b", "x y", "fine"]
    assert all(f"_{name.replace(' ', '_')}".isidentifier() and len(name) < 45 for name in shown)


def test_halves_of_characters_can_be_written(tmp_path: Path) -> None:
    frame, _, _ = written(tmp_path, {"kind": pd.Series(["\ud800a", "\x00`${1}</script>"] * (ROWS // 2), dtype=object)})
    assert set(frame["kind"]) == {"?a", "\x00`${1}</script>"}


def test_a_sensitive_column_goes_in_whatever_it_holds(tmp_path: Path) -> None:
    frame, config, _ = written(
        tmp_path,
        {
            "person": [f"p{i}" if i > 9 else None for i in range(ROWS)],
            "one": ["x"] * ROWS,
            "age": range(ROWS),
            "nothing": [None] * ROWS,
        },
        sensitive=["person", "one", "age", "nothing"],
    )
    assert config["sensitive"] == ["person", "one", "age", "nothing"]
    assert len(set(frame["person"])) == 20 and {"(other)", "(missing)"} <= set(frame["person"])
    assert {"person = (missing)", "one = x", "nothing = (missing)", "age = 0 to 9.75"} <= {
        each["name"] for each in config["cohorts"]
    }
    with pytest.raises(DataError, match="no column 'gone'"):
        written(tmp_path, {}, sensitive=["gone"])


def test_cohorts_go_in_with_the_columns_they_are_made_of(tmp_path: Path) -> None:
    both = cohort(Filter("words", ">", 3.0), Filter("a`b", "=", "u"))
    gone = cohort(Filter("id", "<=", 9.0))
    columns = {"a`b": ["u", "v"] * (ROWS // 2), "id": range(ROWS)}
    _, config, notes = written(tmp_path, columns, cohorts=[both, gone])
    assert [one["filters"] for one in config["cohorts"]] == [
        [{"column": "words", "relation": ">", "value": 3.0}, {"column": "a b", "relation": "=", "value": "u"}]
    ]
    assert "id <= 9" in " ".join(notes)


def test_many_rows_are_sampled_in_the_proportions_of_the_whole(tmp_path: Path) -> None:
    rows = 20_000
    region = np.where(np.arange(rows) % 50 == 0, "islands", "mainland").tolist()
    frame, _, notes = written(tmp_path, {"region": region}, rows=rows, sensitive=["region"], most_rows=2_000)
    assert len(frame) == 2_000 and frame["row"].is_monotonic_increasing
    assert (frame["region"] == "islands").sum() == pytest.approx(40, abs=1)
    wrong = np.mean([str(1 + i % 3) != (str(1 + i % 3) if i % 3 else str(3 - i % 2)) for i in range(rows)])
    assert (frame["truth"] != frame["prediction"]).mean() == pytest.approx(wrong, abs=0.002)
    assert "2,000 of 20,000 rows" in notes[0] and "seed 7" in notes[0]
    again, _, _ = written(tmp_path, {"region": region}, rows=rows, sensitive=["region"], most_rows=2_000)
    assert frame.equals(again)


def test_rows_without_text_are_left_out(tmp_path: Path) -> None:
    task = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3])
    table = pd.DataFrame({"text": ["a", "", "b"], "stars": [1, 2, 3]})
    predictions = [Prediction("1", "ok"), Prediction(None, "empty"), Prediction("3", "ok")]
    rows, features = task.rows(table), pd.DataFrame({"words": [1, 0, 1]})
    write_dashboard_input(tmp_path, task, rows, predictions, features)
    assert list(pd.read_parquet(tmp_path / "rows.parquet")["row"]) == [1, 3]
    with pytest.raises(DataError, match="no row has a text"):
        write_dashboard_input(tmp_path, task, rows, [predictions[1]] * 3, features)
