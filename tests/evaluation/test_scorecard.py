from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from luthier.evaluation.limits import known_limits
from luthier.evaluation.resampling import Interval
from luthier.tasks.task import Task
from tests.evaluation.cards import bare_card, full_card


def test_the_frame_has_a_row_per_metric_with_the_bounds_and_the_baseline() -> None:
    card = bare_card()
    frame = card.frame().set_index("metric")
    assert list(frame.columns) == ["value", "low", "high", "baseline"]
    assert list(frame.index) == list(card.metrics)
    accuracy = frame.loc["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["baseline"] < accuracy["value"]
    assert str(frame["baseline"].dtype) == "float64"


def test_the_frame_of_a_table_without_labels_is_empty_and_has_its_columns() -> None:
    frame = bare_card(metrics={}, baseline={}).frame()
    assert frame.empty
    assert list(frame.columns) == ["metric", "value", "low", "high", "baseline"]


def test_the_document_is_json_with_every_part() -> None:
    document = json.loads(json.dumps(full_card().to_document(), allow_nan=False))
    assert document["schema"] == 1
    assert document["task"]["labels"] == ["1", "2", "3", "4", "5"]
    assert document["cohorts"]["cohorts"][0]["filters"] == [{"column": "sentences", "relation": ">", "value": 12.0}]
    assert document["sensitive"][0]["groups"][0]["metrics"]["accuracy"][0] == 0.75
    assert document["perturbations"][1]["to_target"][0] == 0.12
    assert document["gates"][1]["passed"] is document["passed"] is False
    assert document["metrics"]["accuracy"][1] < document["metrics"]["accuracy"][0]


def test_rows_evaluated_are_those_in_the_confusion_matrix() -> None:
    assert bare_card(120).rows_evaluated == 120


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"missing": 7}}, "7 of 300 rows have no answer yet"),
        ({"data": {"labelled": 0}}, "no labels"),
        ({"data": {"labelled": 290}}, "10 of 300 rows have no label"),
        ({"data": {"states": {"empty": 4}}}, "4 rows have no text"),
        ({"data": {"labels": {"1": 290, "2": 5}}}, "“2” (5), “3” (0)"),
        ({"data": {"confidences": ()}}, "no probabilities"),
        ({"data": {"non_ascii": 0.4}}, "40% of the characters"),
        ({"model": {"address": "local", "base_model": "smollm2-135m-instruct"}}, "toy"),
        ({"metrics": {"censored_rate": Interval(0.25)}}, "25.0% of the rows"),
        ({"metrics": {"probability_coverage": Interval(0.9)}}, "10.0% of the answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_limit_is_named_where_it_holds_and_only_there(change: dict[str, dict[str, object]], words: str) -> None:
    card = bare_card()
    assert words not in " ".join(known_limits(card))
    for part, values in change.items():
        old = getattr(card, part)
        new: Any = {**old, **values} if part == "metrics" else replace(old, **values)
        card = replace(card, **{part: new})
    assert words in " ".join(known_limits(card))


def test_what_was_asked_for_is_no_limit() -> None:
    asked, not_asked = (" ".join(known_limits(card)) for card in (full_card(), bare_card()))
    for words in ("sensitive column", "hidden in a text"):
        assert words not in asked
        assert words in not_asked


def test_few_rows_are_a_limit_with_its_size() -> None:
    assert "50 rows are few: shares of them are uncertain by up to 14 points." in known_limits(bare_card(50))


def test_labels_with_few_rows_are_counted_not_listed_without_end() -> None:
    task = Task("intent", labels=[f"intent {place}" for place in range(77)])
    [limit] = [line for line in known_limits(bare_card(300, task=task)) if "Little is known" in line]
    assert "and 72 more labels" in limit


def test_changed_texts_without_an_answer_are_a_limit() -> None:
    one, *others = full_card().perturbations
    card = full_card(perturbations=(replace(one, unanswered=3), *others))
    assert "3 changed texts have no answer and are in no flip rate." in card.limits
