from __future__ import annotations

import pandas as pd
import pytest

from luthier.auditing.pairs import read_pairs
from luthier.errors import DataError


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns or {"id": list("abc"), "reported_f1": [0.5, 0.6, 0.7], "test_f1": [0.4, 0.6, 0.6]})


def test_columns_pair_up_by_what_they_are_called() -> None:
    found = read_pairs(
        frame(
            **{
                "fine_tune_id": list("abc"),
                "classification/accuracy": ["0.5", "0.6", "0.7"],
                "classification/weighted_f1_score": [0.5, 0.6, 0.7],
                "qwk_reported": [0.1, 0.2, 0.3],
                "Measured QWK": [0.1, 0.2, 0.3],
                "test_f1": [0.4, 0.5, 0.6],
                "test_accuracy": [0.4, 0.5, 0.6],
                "test_recall": [0.4, 0.5, 0.6],
                "n_epochs": [1, 2, 3],
            }
        )
    )
    assert [one.metric for one in found.pairs] == ["accuracy", "weighted_f1", "qwk"]
    for pair in (
        "classification/accuracy with test_accuracy",
        "classification/weighted_f1_score with test_f1",
        "qwk_reported with Measured QWK",
    ):
        assert pair in found.notes[0]
    assert found.pairs[0].ids == ("a", "b", "c")
    assert found.pairs[0].reported == (0.5, 0.6, 0.7)
    assert "Only measured, so not audited: test_recall." in found.notes


def test_pairs_can_be_named_also_where_a_name_holds_the_sign() -> None:
    table = frame(**{"a=b": [0.1, 0.2, 0.3], "c": [0.1, 0.2, 0.4], "d": [1, 2, 3]})
    found = read_pairs(table, pair=["a=b=c"])
    assert "a=b with c" in found.notes[0]
    assert found.pairs[0].ids == ("line 1", "line 2", "line 3")


def test_lines_without_one_of_the_values_are_left_out_and_counted() -> None:
    values = [0.5, None, 0.6, 0.7]
    found = read_pairs(frame(id=list("abcd"), reported_f1=values, test_f1=[0.4, 0.5, 0.6, 0.7]))
    assert found.pairs[0].ids == ("a", "c", "d")
    assert any("1 of 4 lines" in note for note in found.notes)


def test_ids_that_repeat_do_not_name_the_models() -> None:
    table = frame(name=["x", "x", "y"], reported_f1=[0.5, 0.6, 0.7], test_f1=[0.4, 0.6, 0.6])
    assert read_pairs(table).pairs[0].ids == ("line 1", "line 2", "line 3")
    with pytest.raises(DataError, match="'x' stands there more than once"):
        read_pairs(table, id_column="name")


@pytest.mark.parametrize(
    ("table", "settings", "says"),
    [
        (frame(a=[1, 2, 3], b=[1, 2, 3]), {}, r"columns are: a, b.*--pair a=b"),
        (frame(), {"pair": ["f1"]}, "REPORTED=MEASURED"),
        (frame(), {"pair": ["reported_f1=f2"]}, "no column 'f2'; it has: id, reported_f1, test_f1"),
        (frame(), {"pair": ["test_f1=test_f1"]}, "the same column"),
        (frame(), {"pair": ["reported_f1=test_f1", "reported_f1=test_f1"]}, "paired twice"),
        (frame(), {"id_column": "job"}, "no such column"),
        (frame(id=list("ab"), reported_f1=[0.5, 0.6], test_f1=[0.4, 0.6]), {}, "2 lines .*at least 3"),
        (frame(id=list("abc"), reported_f1=["x", 0.6, 0.7], test_f1=[0.4, 0.6, 0.6]), {}, "reported_f1 of a is 'x'"),
        (frame(id=list("abc"), reported_f1=["51%", ".6", ".7"], test_f1=[0.4, 0.6, 0.6]), {}, "percent sign"),
        (frame(id=list("abc"), reported_f1=["0,5", ".6", ".7"], test_f1=[0.4, 0.6, 0.6]), {}, "not a comma"),
        (frame(id=list("abc"), reported_f1=[51, 60, 70], test_f1=[0.4, 0.6, 0.6]), {}, "divide the column by 100"),
        (
            frame(reported_f1=[0.5, 0.6, 0.7], service_f1=[0.5, 0.6, 0.7], test_f1=[0.4, 0.6, 0.6]),
            {},
            "several columns for weighted F1.*--pair",
        ),
    ],
)
def test_what_cannot_be_paired_says_what_to_type(table: pd.DataFrame, settings: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_pairs(table, **settings)  # type: ignore[arg-type]


def test_a_metric_that_is_no_share_may_exceed_one() -> None:
    found = read_pairs(frame(id=list("abc"), reported_mse=[1.5, 2.0, 2.5], test_mse=[1.6, 2.2, 2.4]))
    assert found.pairs[0].better == "lower"
