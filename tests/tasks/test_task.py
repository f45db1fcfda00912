"""The task: labels, their values, and what a table must look like."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from luthier.errors import DataError, SpecError
from luthier.tables import take_rows
from luthier.tasks.task import Rows, Task

STARS = Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])


def test_labels_are_text_inside() -> None:
    assert STARS.labels == ("1", "2", "3", "4", "5")


def test_a_yaml_boolean_among_the_labels_is_refused_with_the_cure() -> None:
    with pytest.raises(SpecError, match="^Task: labels: .*quotes"):
        Task("answer", labels=[True, False])


@pytest.mark.parametrize("kind", ["multilabel: 'yes'\nlabels: [a, b]", "type: similarity", "labels: [a, a]"])
def test_a_file_that_is_no_task_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "task.yaml").write_text(f"name: t\ntext: text\nlabel: l\n{kind}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"task\.yaml: "):
        Task.read(tmp_path / "task.yaml")


def test_words_have_ranks_as_values() -> None:
    assert Task("size", type="rating", labels=["small", "medium", "large"]).values == (1.0, 2.0, 3.0)


def test_infinity_is_a_word_not_a_number() -> None:
    assert Task("size", type="rating", labels=["1", "inf"]).values == (1.0, 2.0)


@pytest.mark.parametrize(
    ("cell", "label"), [(4, "4"), (4.0, "4"), ("4", "4"), (" 4.0 ", "4"), ("04", None), (4.5, None)]
)
def test_a_cell_stands_for_a_label(cell: object, label: str | None) -> None:
    assert STARS.canonical_label(cell) == label


@pytest.mark.parametrize(
    "labels", [("True", "False"), ("true", "false"), ("TRUE", "FALSE"), ("false", "true", "maybe")]
)
def test_a_boolean_cell_is_a_label_that_spells_it(labels: tuple[str, ...]) -> None:
    task = Task("x", labels=labels)
    frame = pd.DataFrame({"text": ["a", "b"], "label": [True, False]})
    assert [str(label).lower() for label in task.rows(frame, labelled=True).labels] == ["true", "false"]
    assert task.canonical_label("tRuE") in labels


def test_a_boolean_cell_is_no_number() -> None:
    assert Task("x", labels=[0, 1]).canonical_label(True) is None


@pytest.mark.parametrize(
    ("labels", "cell", "label"),
    [
        (["001", "002"], 1, "001"),
        (["001", "002"], 2.0, "002"),
        (["001", "002"], "1", "001"),
        (["001", "1"], 1, "1"),
        (["001", "01"], 1, None),
        (["+1", "0", "-1"], 1, "+1"),
        (["+1", "0", "-1"], -1.0, "-1"),
        (["4,5", "5,0"], 4.5, "4,5"),
        (["caf\u00e9", "bar"], "cafe\u0301", "caf\u00e9"),
        (["cafe\u0301", "bar"], "caf\u00e9", "cafe\u0301"),
        (["4.0", "5.0"], "4.0", "4.0"),
        (["4.0", "5.0"], 4, "4.0"),
    ],
)
def test_a_label_keeps_its_spelling(labels: list[str], cell: object, label: str | None) -> None:
    assert Task("t", labels=labels).canonical_label(cell) == label


def test_a_rating_has_the_numbers_its_labels_spell() -> None:
    assert Task("t", type="rating", labels=["-1", "0", "+1"]).values == (-1.0, 0.0, 1.0)
    assert Task("t", type="rating", labels=["001", "010"]).values == (1.0, 10.0)
    assert Task("t", type="rating", labels=["0,5", "1,5"]).values == (0.5, 1.5)


def test_labels_of_one_number_have_ranks_as_values() -> None:
    assert Task("t", type="rating", labels=["1", "01", "001"]).values == (1.0, 2.0, 3.0)


def test_labels_in_a_task_file_are_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: t\nlabels: [001, 010, +1, yes, TRUE]\n")
    assert Task.read(file).labels == ("001", "010", "+1", "yes", "TRUE")


def test_labels_that_look_the_same_are_repeated() -> None:
    with pytest.raises(SpecError, match="repeats"):
        Task("t", labels=["caf\u00e9", "cafe\u0301"])


@pytest.mark.parametrize("labels", [np.array([1, 2]), pd.Series([1, 2]), pd.Categorical([1, 2]), range(1, 3)])
def test_labels_of_any_sequence_are_taken(labels: object) -> None:
    assert Task("t", labels=labels).labels == ("1", "2")


@pytest.mark.parametrize("cell", [["one", "two"], b"one", ("one",), {"a": 1}, np.array(["one"])])
def test_a_cell_that_is_no_text_is_refused_with_its_row(cell: object) -> None:
    frame = pd.DataFrame({"text": pd.Series(["fine", cell], dtype=object)})
    with pytest.raises(DataError, match="the table, row 2: 'text' holds"):
        STARS.rows(frame)


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame([["right", "a", "WRONG"]], columns=["text", "stars", "text"])
    with pytest.raises(DataError, match="two columns called text"):
        STARS.rows(frame)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([5, 1]),
        np.array([5.0, 1.0]),
        np.array(["5", "1"]),
        pd.array([5, 1], dtype="Int64"),
        pd.Categorical([5, 1]),
        pd.array(["5", "1"], dtype="string"),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_any_dtype_are_read(labels: object) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "stars": labels})
    assert STARS.rows(frame, labelled=True).labels == ("5", "1")


def test_rows_know_where_they_come_from() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"]}, index=pd.Index(["x", "y", "z"], name="key"))
    rows = STARS.rows(frame).take([2, 0])
    assert (rows.numbers, rows.index, rows.index_names) == ((3, 1), ("z", "x"), ("key",))
    assert (rows.number(0), rows.keys(0)) == (3, {"key": "z"})


def test_an_index_that_only_counts_says_nothing_of_a_row() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"]})
    assert STARS.rows(frame).keys(1) == {}
    assert STARS.rows(frame.iloc[[2, 1]]).keys(0) == {"index": 2}


def test_a_fault_in_drawn_rows_names_the_row_of_the_whole_table() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "stars": [1, 2, 9]})
    with pytest.raises(DataError, match="row 3: 9"):
        STARS.rows(take_rows(frame, [0, 2]), labelled=True)


def test_rows_hold_none_where_the_table_holds_nan() -> None:
    frame = pd.DataFrame({"text": ["good", None, float("nan")], "stars": [5, 1, 2]})
    assert STARS.rows(frame).texts == ("good", None, None)


def test_the_text_nan_is_a_text() -> None:
    assert STARS.rows(pd.DataFrame({"text": ["nan"]})).texts == ("nan",)


def test_a_label_outside_the_task_is_named_with_its_row() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "stars": [5, 7]})
    with pytest.raises(DataError, match="row 2: 7"):
        STARS.rows(frame, labelled=True)


def test_a_missing_column_is_named_with_the_ones_there_are() -> None:
    with pytest.raises(DataError, match="'text'.*review"):
        STARS.rows(pd.DataFrame({"review": ["a"]}))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        STARS.rows(pd.DataFrame({"text": []}))


def test_the_digest_tells_rows_apart_and_ignores_other_columns() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "stars": [1, 2]})
    rows = STARS.rows(frame)
    assert rows.digest == STARS.rows(frame.assign(extra=1)).digest
    assert rows.digest != STARS.rows(frame.iloc[::-1]).digest


def test_the_texts_are_read_once_and_leave_equality_and_copies_alone() -> None:
    frame = pd.DataFrame({"text": ["good", None], "stars": [5, 1]})
    rows, untouched = STARS.rows(frame), STARS.rows(frame)
    assert rows.texts is rows.texts == ("good", None)
    assert rows == untouched == copy.deepcopy(rows)
    assert rows.take([1]).texts == (None,)


def test_the_digest_does_not_depend_on_how_labels_are_stored() -> None:
    numbers = STARS.rows(pd.DataFrame({"text": ["a"], "stars": [1]}))
    words = STARS.rows(pd.DataFrame({"text": ["a"], "stars": ["1"]}))
    assert numbers.digest == words.digest


def test_a_split_keeps_equal_texts_together_and_shares_of_labels() -> None:
    frame = pd.DataFrame({"text": [f"t{i // 2}" for i in range(500)], "stars": [1 + (i // 2) % 5 for i in range(500)]})
    train, validation, test = STARS.split(frame)
    parts = [set(part["text"]) for part in (train, validation, test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert (len(train), len(validation), len(test)) == (300, 100, 100)
    assert test["stars"].value_counts().nunique() == 1


def test_a_split_keeps_a_group_together() -> None:
    frame = pd.DataFrame(
        {
            "text": [f"t{i}" for i in range(200)],
            "stars": [1 + i % 5 for i in range(200)],
            "r": [i // 4 for i in range(200)],
        }
    )
    parts = [set(part["r"]) for part in STARS.split(frame, group="r")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_the_same_seed_splits_alike() -> None:
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(50)], "stars": [1 + i % 5 for i in range(50)]})
    assert STARS.split(frame, seed=1)[2].index.tolist() == STARS.split(frame, seed=1)[2].index.tolist()
    assert STARS.split(frame, seed=1)[2].index.tolist() != STARS.split(frame, seed=2)[2].index.tolist()


def test_an_unknown_key_in_a_task_file_says_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: stars\nlabls: [1, 2]\nlabels: [1, 2]\n")
    with pytest.raises(SpecError, match="labls.*label, labels, multilabel, name"):
        Task.read(file)


def test_a_missing_task_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="luthier init"):
        Task.read(tmp_path / "task.yaml")


def test_taking_rows_keeps_their_order() -> None:
    rows = Rows(inputs=({"text": "a"}, {"text": "b"}), labels=("1", "2"), text="text")
    assert rows.take([1, 0]).labels == ("2", "1")


def test_boolean_labels_are_answered_with_what_to_write() -> None:
    with pytest.raises(SpecError, match=r"\['True', 'False'\].*boolean"):
        Task("t", labels=[True, False])
    assert Task("t", labels=["True", "False"]).canonical_label(True) == "True"


def test_a_copy_with_other_labels_has_the_order_of_its_own() -> None:
    task = Task("stars", type="rating", labels=[1, 2, 3])
    assert task.ascending == ("1", "2", "3")
    assert task.model_copy(update={"labels": ("5", "4")}).ascending == ("4", "5")


def test_a_table_whose_labels_are_all_rare_is_split_all_the_same() -> None:
    labels = [f"label {place}" for place in range(6)]
    table = pd.DataFrame({"text": [f"text {place}" for place in range(18)], "label": labels * 3})
    parts = Task("t", labels=labels).split(table)
    assert [len(part) for part in parts] == [10, 4, 4]
    assert sorted(pd.concat(parts).index) == list(range(18))
