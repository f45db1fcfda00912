"""What a column of labels says about its task."""

from __future__ import annotations

import pytest

import luthier as lt
from luthier.tasks.labels.closed_set import Classes
from luthier.tasks.labels.set_guessing import guessed_hierarchy, guessed_sets


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([["a"], ["b", "a"], []], ["a", "b"]),
        (['["a"]', "[]", '["a", "b"]'], ["a", "b"]),
        (["a; b", "b", "a; c", "c; b", None], ["a", "b", "c"]),
        (["a|b", "b|c", "c|a", "none"], ["a", "b", "c"]),
        (["a, b", "b", "a", "b, c", "a, c"], ["a", "b", "c"]),
        (["a", "b", "a"], None),
        (["hot, dry", "cold, wet", "hot, dry", "mild"], None),
        ([1, 2, 1], None),
        ([None, None], None),
    ],
)
def test_lists_are_told_from_single_labels(cells: list[object], labels: list[str] | None) -> None:
    found = guessed_sets(cells)
    assert (None if found is None else found.settings["labels"]) == labels


def test_names_with_levels_are_paths() -> None:
    assert guessed_hierarchy(["a/b", "a/c", "d/e"]) == "/"
    assert guessed_hierarchy(["a > b", "a > c"]) == ">"
    assert guessed_hierarchy(["a", "a/b", "a/c/d", "e"]) is None
    assert guessed_hierarchy(["a", "a/b", "a/c/d", "a/c", "e"]) == "/"
    assert guessed_hierarchy(["1/2", "3/4"]) is None


def test_classification_guesses_what_its_labels_are() -> None:
    found = Classes.guess({"l": ["a/b", "a/c", "a/b"]}, "t", "l")
    assert found.settings == {"labels": ["a/b", "a/c"], "hierarchy": "/"}
    assert Classes.guess({"l": [["x"], ["y"]]}, "t", "l").settings == {"multilabel": True, "labels": ["x", "y"]}
    assert Classes.guess({"l": ["x", "y"]}, "t", "l").settings == {"labels": ["x", "y"]}


def test_labels_that_are_paths_are_read_from_what_is_written_as_they_begin_alike() -> None:
    flat = lt.Task("topics", labels=["login", "refund", "invoice"])
    paths = lt.Task("topics", labels=["account/login", "billing/refund", "billing/invoice"], hierarchy="/")
    asked = [
        {spec.settings["answer"]["method"] for spec in task.kind.starting_specs() if "answer" in spec.settings}
        for task in (flat, paths)
    ]
    assert asked == [{"score"}, {"text"}]
