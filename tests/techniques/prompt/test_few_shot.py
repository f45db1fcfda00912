from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from luthier.errors import DataError
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.few_shot import choose_examples
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.training_rows import calibration_rows
from tests.conversing import ENDPOINT, rows

TRAIN = rows(*[f"text {i}" for i in range(40)], labels=["a" if i < 30 else "b" if i < 38 else "c" for i in range(40)])
TASK = Task("letters", labels=["a", "b", "c", "d"])
SPEC = Prompt(TASK, "{{ text }}", endpoint=ENDPOINT)


def choose(count: int, select: str = "balanced", train: Rows = TRAIN, seed: int = 7, **settings: Any) -> list[int]:
    examples = {"count": count, "select": select, **settings}
    return choose_examples(Prompt(TASK, "{{ text }}", examples=examples, endpoint=ENDPOINT, seed=seed), train)


def test_balanced_shows_every_label_alike() -> None:
    assert Counter(TRAIN.labels[i] for i in choose(6)) == {"a": 2, "b": 2, "c": 2}


def test_balanced_goes_on_when_a_label_runs_out() -> None:
    assert Counter(TRAIN.labels[i] for i in choose(12)) == {"a": 5, "b": 5, "c": 2}


def test_the_same_seed_chooses_the_same() -> None:
    assert choose(5) == choose(5)


def test_another_seed_chooses_others() -> None:
    assert choose(5, seed=7) != choose(5, seed=8)


def test_the_seed_of_the_examples_wins() -> None:
    spec = Prompt(TASK, "{{ text }}", examples={"count": 5, "seed": 8}, endpoint=ENDPOINT, seed=7)
    assert choose_examples(spec, TRAIN) == choose(5, seed=8)


def test_fewer_random_examples_begin_more() -> None:
    assert choose(8, "random")[:3] == choose(3, "random")


def test_examples_have_different_texts() -> None:
    train = rows("same", " Same", "other", labels=["a", "a", "b"])
    with pytest.raises(DataError, match="hold only 2 different"):
        choose(3, train=train)


def test_an_example_is_never_blank() -> None:
    train = rows(" ", None, "x", labels=["a", "b", "a"])
    assert choose(1, train=train) == [2]


def test_a_text_with_two_labels_is_no_example() -> None:
    train = rows("x", "x", "y", labels=["a", "b", "a"])
    assert choose(1, train=train) == [2]


def test_too_few_rows_say_what_to_change() -> None:
    with pytest.raises(DataError, match=r"50 examples.* 40 .*prompt\.examples\.count"):
        choose(50)


def test_calibration_rows_are_no_examples() -> None:
    shown = choose(10)
    assert not set(calibration_rows(SPEC, TRAIN, 30, shown)) & set(shown)


def test_too_few_rows_to_calibrate_say_what_to_change() -> None:
    with pytest.raises(DataError, match=r"31 rows.* 30 .*calibration_rows"):
        calibration_rows(SPEC, TRAIN, 31, choose(10))


def test_texts_that_are_too_long_are_no_examples() -> None:
    train = rows("short", "a little longer", "tiny", labels=["a", "a", "b"])
    assert sorted(choose(2, train=train, max_characters=5)) == [0, 2]
    with pytest.raises(DataError, match=r" 2 different .* 4 characters.*max_characters"):
        choose(3, train=train, max_characters=4)


@pytest.mark.parametrize("select", ["balanced", "random"])
def test_a_label_that_has_only_long_texts_shows_its_shortest(select: Any) -> None:
    train = rows("short", "a little longer", "much, much longer", "tiny", labels=["a", "b", "b", "c"])
    assert sorted(choose(3, select, train, max_characters=5)) == [0, 1, 3]
