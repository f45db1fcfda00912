"""`init` guesses: which labels, in which order, and what it says about it."""

from __future__ import annotations

import pandas as pd
import pytest

from luthier.errors import DataError
from luthier.starting.columns import guess_columns
from luthier.starting.guessing import Guess, guess_task
from luthier.tasks.labels.label_questions import words_of


def guess(cells: list[object], **settings: object) -> Guess:
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(len(cells))], "label": cells})
    return guess_task(frame, text="text", label="label", **settings)  # type: ignore[arg-type]


def test_numbers_are_a_rating_lowest_first() -> None:
    task = guess(["10", "2", "1", "3", "4", "5", "6", "7", "8", "9"]).task
    assert (task.type, task.labels[0], task.labels[-1]) == ("rating", "1", "10")


def test_a_number_that_never_occurs_is_added_and_said() -> None:
    found = guess(["1", "2", "4", "5"])
    assert found.task.labels == ("1", "2", "3", "4", "5")
    assert any("between labels that are" in reason for reason in found.reasons)


def test_words_of_a_known_scale_are_ordered() -> None:
    task = guess(["Positive", "Negative", "Neutral"]).task
    assert (task.type, task.labels) == ("rating", ("Negative", "Neutral", "Positive"))


def test_other_words_are_classes() -> None:
    task = guess(["sport", "politics"]).task
    assert (task.type, task.labels) == ("classification", ("politics", "sport"))


def test_zero_and_one_are_two_classes() -> None:
    assert guess([0, 1, 1]).task.type == "classification"


def test_labels_given_are_taken() -> None:
    assert guess(["b", "a"], labels=["b", "a"]).task.labels == ("b", "a")


def test_floats_of_a_column_with_gaps_are_whole_labels() -> None:
    found = guess([1.0, 2.0, None, 3.0])
    assert found.task.labels == ("1", "2", "3")
    assert any("1 rows have no label" in reason for reason in found.reasons)


def test_a_column_of_texts_is_refused() -> None:
    with pytest.raises(DataError, match="200 distinct values"):
        guess([f"text {i}" for i in range(200)])


def test_one_label_only_is_refused() -> None:
    with pytest.raises(DataError, match="one label only"):
        guess(["a", "a"])


def test_a_missing_column_names_its_option() -> None:
    with pytest.raises(DataError, match="--label"):
        guess_task(pd.DataFrame({"text": ["a"]}), text="text", label="stars")


def test_words_for_stars_begin_with_different_letters() -> None:
    words = words_of(guess([1, 2, 3, 4, 5]).task.closed_set)
    assert words is not None
    assert len({word[0] for word in words.values()}) == 5


def test_rater_columns_become_the_human_ceiling() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [1, 2, 3], "rater_01": [1, 2, 2], "rater_02": [1, 2, 9]})
    assert guess_task(frame, text="text", label="label").task.raters == ("rater_01",)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["001", "002", "004", "005"], ("001", "002", "003", "004", "005")),
        (["+1", "-1"], ("-1", "0", "+1")),
        (["1,5", "10,0", "2,0"], ("1,5", "2,0", "10,0")),
        (["08", "09", "10", "12"], ("08", "09", "10", "11", "12")),
    ],
)
def test_numbers_keep_their_spelling_and_lend_it_to_what_is_added(cells: list[object], labels: tuple[str, ...]) -> None:
    task = guess(cells).task
    assert (task.type, task.labels) == ("rating", labels)


def test_two_spellings_that_look_the_same_are_one_label() -> None:
    found = guess(["caf\u00e9", "cafe\u0301", "cafe\u0301", "bar"])
    assert found.counts == {"bar": 1, "cafe\u0301": 3}
    assert not any("not in the list" in reason for reason in found.reasons)


def columns_guessed(**columns: list[object]) -> tuple[str, str]:
    return guess_columns(pd.DataFrame(columns), None, None)[:2]


def test_columns_are_guessed_by_their_names() -> None:
    assert columns_guessed(note=["a b c d"] * 3, text=["a b"] * 3, kind=[1, 1, 2], label=["x", "x", "y"]) == (
        "text",
        "label",
    )


def test_columns_are_guessed_by_their_cells() -> None:
    found = columns_guessed(
        id=["k1", "k2", "k3"],
        url=["https://example.org/a-very-long-address", "https://example.org/b", "https://example.org/c"],
        was=["it was a good soup", "it was a bad one, and it was cold", "so so"],
        how=["good", "bad", "bad"],
    )
    assert found[1] == "how"


def test_a_guess_says_what_else_to_type() -> None:
    reasons = guess_columns(pd.DataFrame({"was": ["a b", "c d", "e f"], "how": ["x", "y", "y"]}), None, None)[2]
    assert "--text COLUMN" in reasons[0] and "--label COLUMN" in reasons[1]


def test_several_columns_that_could_be_labels_are_named() -> None:
    with pytest.raises(DataError, match=r"how \(2 values\), who \(2 values\).*--label"):
        columns_guessed(text=["a b", "c d", "e f"], how=["x", "y", "y"], who=["p", "p", "q"])


def test_a_table_without_texts_says_so() -> None:
    with pytest.raises(DataError, match="Give --text"):
        columns_guessed(n=[1, 2, 3], how=["x", "y", "y"])
