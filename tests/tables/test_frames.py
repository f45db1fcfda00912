"""Tables from Python: what people have is taken, and what cannot be taken says what to pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from luthier.errors import DataError
from luthier.tables import frame_of, is_table

TEXTS = ["good", "bad"]
FRAME = pd.DataFrame({"text": TEXTS, "n": [1, 2]})


class Polars:
    """A table that is known by the Arrow stream alone, as a polars DataFrame is."""

    def __init__(self, arrow: Any) -> None:
        self.arrow = arrow

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow.__arrow_c_stream__(requested_schema)


class HuggingFace:
    """A data set that knows how to become a DataFrame."""

    def to_pandas(self) -> pd.DataFrame:
        return FRAME


def path_of_table(tmp_path: Path) -> Path:
    FRAME.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    return tmp_path / "t.jsonl"


@pytest.mark.parametrize(
    "given",
    [
        FRAME,
        [{"text": "good", "n": 1}, {"text": "bad", "n": 2}],
        {"text": TEXTS, "n": [1, 2]},
        {"text": np.array(TEXTS), "n": np.array([1, 2])},
        {"text": pd.Series(TEXTS), "n": (1, 2)},
        {"text": pa.array(TEXTS), "n": pd.array([1, 2], dtype="Int64")},
        pa.table({"text": TEXTS, "n": [1, 2]}),
        pa.RecordBatch.from_pydict({"text": TEXTS, "n": [1, 2]}),
        Polars(pa.table({"text": TEXTS, "n": [1, 2]})),
        HuggingFace(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_table_of_any_kind_is_taken(given: object) -> None:
    frame = frame_of(given)
    assert frame.columns.tolist() == ["text", "n"]
    assert frame["text"].tolist() == TEXTS
    assert frame["n"].tolist() == [1, 2]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_taken(tmp_path: Path, kind: type) -> None:
    assert frame_of(kind(path_of_table(tmp_path)))["text"].tolist() == TEXTS


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array([TEXTS]).T,
        pd.Series(TEXTS, name="body"),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="category"),
        pd.Index(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS]),
        Polars(pa.chunked_array([TEXTS])),
    ],
    ids=lambda given: type(given).__name__,
)
def test_texts_alone_become_the_text_column(given: object) -> None:
    assert frame_of(given, text="review")["review"].tolist() == TEXTS


def test_a_series_of_texts_keeps_its_index() -> None:
    assert frame_of(pd.Series(TEXTS, index=[7, 9]), text="text").index.tolist() == [7, 9]


def test_records_with_gaps_keep_their_whole_numbers() -> None:
    assert frame_of([{"n": 1}, {"m": 2}, {"n": 3}])["n"].tolist() == [1, None, 3]


def test_names_that_are_numbers_become_texts() -> None:
    assert frame_of(pd.DataFrame([["a", "b"]])).columns.tolist() == ["0", "1"]


REFUSED: list[tuple[str, object, str]] = [
    ("nothing", None, "nothing; give a DataFrame"),
    ("number", 7, "of type int; give a DataFrame"),
    ("set", {"good", "bad"}, "of type set"),
    ("bytes", b"good", "of type bytes"),
    ("text", "The soup was good.", "path of a table ends in"),
    ("missing path", "nowhere.csv", "no file nowhere.csv"),
    ("texts without a name", TEXTS, "without names of columns"),
    ("rows of cells", [["good", 1], ["bad", 2]], "holds list"),
    ("matrix", np.zeros((2, 3)), "shape \\(2, 3\\)"),
    ("columns of two lengths", {"text": ["a"], "n": [1, 2]}, "text: 1, n: 2"),
    ("a column that is none", {"text": ["a"], "n": 1}, "'n' is int"),
    ("empty dict", {}, "empty dict"),
    ("generator", ({"text": text} for text in TEXTS), "list\\(\\.\\.\\.\\)"),
    ("two levels", pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])), "levels"),
    ("two of one name", pd.DataFrame([[1, 2]], columns=["x", "x"]), "two columns called x"),
    ("a number and its text", pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns called 1"),
    ("arrow, two of one name", pa.Table.from_arrays([pa.array([1])] * 2, ["x", "x"]), "two columns called x"),
]


@pytest.mark.parametrize(("given", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_no_table_says_what_to_pass(given: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        frame_of(given)


def test_a_lazy_table_says_how_to_make_it_one() -> None:
    class Lazy:
        def collect(self) -> None: ...

    with pytest.raises(DataError, match=r"call \.collect\(\) first"):
        frame_of(Lazy())


@pytest.mark.parametrize(
    ("given", "one"),
    [
        (FRAME, True),
        ({"text": TEXTS}, True),
        ({"text": np.array(TEXTS)}, True),
        ([{"text": "a"}], True),
        ("may.csv", True),
        ({"may": FRAME, "june": FRAME}, False),
        ({"may": "may.csv"}, False),
        ({"may": [{"text": "a"}]}, False),
        ([FRAME, FRAME], False),
        ([Path("may.csv"), Path("june.csv")], False),
        ([{"text": TEXTS}, {"text": TEXTS}], False),
        (pa.table({"text": TEXTS}), True),
    ],
)
def test_one_table_is_told_from_several(given: object, one: bool) -> None:
    assert is_table(given) is one


def test_a_real_polars_frame_is_taken() -> None:
    polars = pytest.importorskip("polars")
    assert frame_of(polars.DataFrame({"text": TEXTS, "n": [1, None]}))["n"].tolist() == [1, None]
    assert frame_of(polars.Series("text", TEXTS), text="text")["text"].tolist() == TEXTS
    with pytest.raises(DataError, match="collect"):
        frame_of(polars.LazyFrame({"text": TEXTS}))
