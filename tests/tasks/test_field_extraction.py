"""Extraction of fields: which schemas are taken, how truths and answers are read, and when a value is right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel, Field

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError, SpecError
from luthier.evaluation.metrics import evaluate
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerRead
from tests.scripted_server import chat_reply, serving

SHORT = {
    "vendor": "string",
    "total": "number",
    "pages": "integer",
    "paid": "boolean",
    "currency": {"enum": ["EUR", "USD"]},
    "items": ["string"],
    "address": {"city": "string", "zip": "string"},
    "lines": [{"product": "string", "quantity": "integer"}],
}
TASK = lt.Task("invoice", type="extraction", fields=SHORT)
FULL = {
    "vendor": "Acme Ltd",
    "total": 12.5,
    "pages": 2,
    "paid": True,
    "currency": "EUR",
    "items": ["ink", "paper"],
    "address": {"city": "Basel", "zip": None},
    "lines": [{"product": "ink", "quantity": 3}],
}
NOTHING: dict[str, Any] = {name: [] if name in ("items", "lines") else None for name in SHORT}


def truth(cell: object, text: str = "a text", task: lt.Task = TASK) -> Any:
    return task.rows(pd.DataFrame({"text": [text], "label": [cell]}), labelled=True).labels[0]


def answer(said: str, text: str = "a text", task: lt.Task = TASK) -> AnswerRead:
    read = task.kind.read_json(said)
    return read if read.value is None else task.kind.in_row(read.value, {"text": text}, "text")


def test_a_task_of_fields_says_them_and_has_a_column_for_each() -> None:
    assert TASK.document()["fields"] == SHORT
    assert lt.Task(**TASK.document()) == TASK
    assert TASK.labels == ()
    assert list(TASK.kind.columns) == ["fields", *SHORT, "state", "error"]
    assert TASK.kind.columns["total"] == "number"
    assert TASK.digest != lt.Task("invoice", type="extraction", fields={"vendor": "string"}).digest


def test_the_schema_is_one_that_strict_structured_outputs_take() -> None:
    def check(schema: dict[str, Any]) -> None:
        kind = schema["type"]
        assert not schema.keys() - {
            "type",
            "enum",
            "items",
            "properties",
            "required",
            "additionalProperties",
            "description",
        }
        if "object" in kind:
            assert schema["required"] == list(schema["properties"])
            assert schema["additionalProperties"] is False
            for inner in schema["properties"].values():
                check(inner)
        elif "array" in kind:
            check(schema["items"])

    found = TASK.kind.answer_schema(())
    check(found)
    assert found["type"] == "object"
    assert found["properties"]["vendor"] == {"type": ["string", "null"]}
    assert found["properties"]["currency"] == {"type": ["string", "null"], "enum": ["EUR", "USD", None]}
    assert found["properties"]["items"] == {"type": "array", "items": {"type": "string"}}
    assert found["properties"]["address"]["type"] == ["object", "null"]


class Currency(Enum):
    """A choice."""

    EUR = "EUR"
    USD = "USD"


class Address(BaseModel):
    """Another model within one."""

    city: str
    zip: str | None = None


class Invoice(BaseModel):
    """Fields as a program has them."""

    vendor: str = Field(description="Who sends the invoice.")
    total: float | None = None
    currency: Currency | None = None
    address: Address | None = None
    items: list[str] = []


def test_a_model_of_pydantic_says_the_fields() -> None:
    task = lt.Task("invoice", type="extraction", fields=Invoice)
    assert lt.Task(**task.document()) == task
    schema = task.kind.answer_schema(())["properties"]
    assert schema["vendor"] == {"type": "string", "description": "Who sends the invoice."}
    assert schema["total"]["type"] == ["number", "null"]
    assert schema["currency"]["enum"] == ["EUR", "USD", None]
    assert schema["address"]["properties"]["zip"]["type"] == ["string", "null"]
    assert "vendor: text; Who sends the invoice." in task.kind.question()
    with pytest.raises(DataError, match="vendor is null, and has to be there"):
        truth({"total": 3}, task=task)
    assert truth({"vendor": "A"}, task=task)["items"] == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "names no field"),
        ({"vendor": "text"}, "fields.vendor is of type 'text'.*types are: string, number"),
        ({"vendor": 5}, "fields.vendor is 5"),
        ({"items": []}, "is a list of 0"),
        ({"state": "string"}, "called 'state'.*call it otherwise"),
        ({"total": {"type": "number", "minimum": 0}}, "fields.total.*'minimum'|fields.total.minimum is 0"),
        ({"properties": {"a": {"type": "number", "minimum": 0}}}, "fields.a has the keyword 'minimum'"),
        ({"properties": {"a": {"anyOf": [{"type": "number"}, {"type": "string"}]}}}, "2 alternatives"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, "does not define"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}, "refers to itself"),
        (
            {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}}},
            "more than 5 deep",
        ),
        ({"properties": {"a": {"type": "array"}}}, "say of what"),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "requires 'b'"),
        ({"a": {"enum": [True, False]}}, "enum has texts, or numbers"),
        ({f"f{place}": "string" for place in range(101)}, "101 fields"),
        ({True: "string"}, "put yes, no"),
        (["vendor"], "fields"),
    ],
)
def test_fields_that_cannot_be_asked_for_or_judged_are_refused(fields: Any, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        lt.Task("invoice", type="extraction", fields=fields)


def test_fields_and_kinds_of_spans_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="give one of the two"):
        lt.Task("both", type="extraction", fields={"a": "string"}, labels=["A", "B"])


@pytest.mark.parametrize(
    "cell",
    [
        FULL,
        json.dumps(FULL),
        str(FULL),
        {"fields": FULL},
        {**FULL, "currency": "eur", "vendor": " Acme Ltd ", "pages": 2.0},
    ],
)
def test_a_truth_is_a_mapping_or_one_as_text(cell: object) -> None:
    assert truth(cell) == FULL


def test_what_a_truth_leaves_out_is_nothing() -> None:
    assert truth({}) == truth("{}") == truth({"vendor": " ", "items": None, "total": float("nan")}) == NOTHING
    assert truth({"items": ["a", "", None]})["items"] == ["a"]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ({"vender": "A"}, "row 1.*'vender' is no field; fields are: 'vendor, total"),
        ({"total": "12.50"}, "total is '12.50' .str., not of type number"),
        ({"total": True}, "total is True"),
        ({"total": float("inf")}, "total is inf"),
        ({"pages": 1.5}, "pages is 1.5"),
        ({"paid": "yes"}, "paid is 'yes'"),
        ({"currency": "CHF"}, "currency is 'CHF' .str., none of 'EUR, USD'"),
        ({"items": "ink"}, "items is 'ink' .str., not a list"),
        ({"lines": [{"product": "ink"}, 5]}, r"lines\[1\] is 5 .int., not an object"),
        ({"address": {"street": "x"}}, "'address.street' is no field"),
        ("[1]", "not an object"),
        ("Acme", "is 'Acme' .str., not an object"),
        ('{"vendor": ', "it is no JSON"),
        ("", "it is empty"),
    ],
)
def test_a_truth_of_another_shape_is_refused_with_its_row_and_field(cell: object, why: str) -> None:
    with pytest.raises(DataError, match=why):
        truth(cell)


def test_an_answer_has_every_field() -> None:
    said = TASK.kind.as_answer(FULL, as_json=True)
    assert answer(said).value == answer(f"Here:\n```json\n{said}\n```").value == FULL
    assert answer(json.dumps({"fields": FULL})).value == FULL
    assert answer(json.dumps({**FULL, "lines": None, "vendor": ""})).value == {**FULL, "lines": [], "vendor": None}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (json.dumps({"vendor": "A"}), "total is missing"),
        (json.dumps({**FULL, "address": {"city": "Basel"}}), "address.zip is missing"),
        (json.dumps({**FULL, "note": "x"}), "'note' is no field"),
        (json.dumps({**FULL, "total": "12"}), "total is '12'"),
        (json.dumps({**FULL, "total": None})[:-1] + ', "total": 3}', "a key twice"),
        (json.dumps(FULL).replace("12.5", "NaN"), "total is 'NaN'"),
        (json.dumps(FULL).replace("12.5", "1e999"), "too large"),
        (json.dumps(FULL).replace("12.5", "9" * 5000), "not the JSON|too large"),
        (json.dumps(FULL).replace('"ink"', "[" * 1000 + "]" * 1000), "not the JSON|nested too deep"),
        (json.dumps({**FULL, "items": ["x"] * 100_000}), "100,000 entries"),
        (json.dumps(FULL) + json.dumps({**FULL, "pages": 3}), "several fields"),
        (json.dumps(FULL)[:-5], "not an object|missing|no field|not the JSON"),
        ("[]", "not an object"),
        ("null", "not the JSON"),
        ("the vendor is Acme", "not the JSON"),
        ('{"vendor": "' + "x" * 10_000_000 + '"}', "characters, and at most"),
    ],
)
def test_an_answer_of_another_shape_says_why(said: str, why: str) -> None:
    read = answer(said)
    assert read.value is None
    assert re.search(why, str(read.why))
    assert len(str(read.why)) < 500


def test_halves_of_surrogate_pairs_do_not_reach_a_file() -> None:
    value = answer(json.dumps({**FULL, "vendor": "A \ud83d"})).value
    assert value["vendor"] == "A ?"


def test_quoted_fields_must_stand_in_the_text_and_are_spelled_as_there() -> None:
    fields = {
        "vendor": "string",
        "kind": {"enum": ["bill"]},
        "items": ["string"],
        "at": {"city": "string"},
        "sum": "number",
    }
    task = lt.Task("quoted", type="extraction", fields=fields, verbatim=True)
    text = "ACME  Ltd of Basel sells \u201cink\u201d"
    given = {"vendor": "Acme Ltd", "kind": "bill", "items": ['"ink"'], "at": {"city": "basel"}, "sum": 3}
    found = answer(json.dumps(given), text, task).value
    assert (found["vendor"], found["items"], found["at"]) == ("ACME  Ltd", ["\u201cink\u201d"], {"city": "Basel"})
    assert "items is 'pens', which does not stand" in str(
        answer(json.dumps({**given, "items": ["pens"]}), text, task).why
    )
    with pytest.raises(DataError, match="at.city is 'Bern', which does not stand in the text"):
        truth({"at": {"city": "Bern"}}, text, task)
    some = lt.Task("quoted", type="extraction", fields=fields, verbatim=["at"])
    assert answer(json.dumps({**given, "vendor": "Other"}), text, some).value["vendor"] == "Other"
    assert "city: text, copied from the text" in some.kind.question()
    with pytest.raises(SpecError, match="verbatim has 'sum'.*those are: vendor, items, at.city"):
        lt.Task("quoted", type="extraction", fields=fields, verbatim=["sum"])


def test_a_value_is_read_back_as_it_was_written() -> None:
    for value in (FULL, NOTHING):
        assert TASK.kind.read_truth(TASK.kind.written(value)) == value


def test_a_prediction_has_a_cell_for_each_field() -> None:
    record = TASK.kind.record(Prediction(FULL, "ok"))
    assert json.loads(record["fields"]) == FULL
    assert (record["vendor"], record["total"], record["paid"]) == ("Acme Ltd", 12.5, "true")
    assert json.loads(record["items"]) == ["ink", "paper"]
    empty = TASK.kind.record(Prediction(None, "refused", error="no"))
    assert all(empty[name] is None for name in ("fields", *SHORT))
    frame = TASK.kind.frame([Prediction(FULL, "ok"), Prediction(None, "failed")])
    assert frame["pages"].isna().tolist() == [False, True]


def judged(*rows: tuple[dict[str, Any], dict[str, Any] | None], task: lt.Task = TASK) -> dict[str, float]:
    truths = [NOTHING | true for true, _ in rows]
    predictions = [
        Prediction(None, "off_label") if said is None else Prediction(NOTHING | said, "ok") for _, said in rows
    ]
    return {name: one.value for name, one in evaluate(task, truths, predictions, resamples=50).items()}


@pytest.mark.parametrize(
    ("true", "said", "exact", "partial"),
    [
        ({"vendor": "Acme Ltd"}, {"vendor": "ACME  ltd"}, 1, 1),
        ({"vendor": "Caf\u00e9"}, {"vendor": "Cafe\u0301"}, 1, 1),
        ({"vendor": "Acme Ltd"}, {"vendor": "Acme"}, 0, 0.5),
        ({"vendor": "Acme Ltd"}, {"vendor": "Bolt"}, 0, 0),
        ({"total": 0.3}, {"total": 0.1 + 0.2}, 1, 1),
        ({"total": 1234567.89}, {"total": 1234567.98}, 0, 0),
        ({"pages": 2}, {"pages": 3}, 0, 0),
        ({"total": 0}, {"total": -0.0}, 1, 1),
        ({"paid": False}, {"paid": True}, 0, 0),
        ({"paid": False}, {"total": 0}, 0, 0),
        ({"currency": "EUR"}, {"currency": "USD"}, 0, 0),
        ({"address": {"city": "Basel", "zip": None}}, {"address": {"city": "basel", "zip": None}}, 1, 1),
        ({"items": ["ink", "paper"]}, {"items": ["paper", "ink"]}, 1, 1),
        ({"items": ["ink", "ink"]}, {"items": ["ink"]}, 2 / 3, 2 / 3),
        ({"items": ["red ink", "paper"]}, {"items": ["paper", "ink"]}, 0.5, 0.75),
        ({"lines": [{"product": "ink", "quantity": 3}]}, {"lines": [{"product": "Ink", "quantity": 3}]}, 1, 1),
        ({"lines": [{"product": "ink", "quantity": 3}]}, {"lines": [{"product": "ink", "quantity": 4}]}, 0, 0.5),
    ],
)
def test_when_a_value_is_right_and_when_it_is_so_in_part(
    true: dict[str, Any], said: dict[str, Any], exact: float, partial: float
) -> None:
    found = judged((true, said))
    assert (found["f1"], found["partial_f1"]) == pytest.approx((exact, partial))
    assert found["exact_match"] == (exact == 1)


def test_a_row_without_a_value_counts_as_nothing_found_and_parts_are_the_fields() -> None:
    rows: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
        ({"vendor": "A", "total": 1}, {"vendor": "A", "total": 2}),
        ({"vendor": "B"}, None),
    ]
    found = judged(*rows)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((1 / 2, 1 / 3, 2 / 5))
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    truths = [NOTHING | true for true, _ in rows]
    predictions = [Prediction(NOTHING | {"vendor": "A", "total": 2}, "ok"), Prediction(None, "failed")]
    parts = {part.name: part for part in TASK.kind.plots(truths, predictions).parts}
    assert list(parts) == [
        "vendor",
        "total",
        "pages",
        "paid",
        "currency",
        "items",
        "address.city",
        "address.zip",
        "lines",
    ]
    assert (parts["vendor"].support, parts["vendor"].answered) == (2, 1)
    assert parts["vendor"].figures == {
        "precision": 1,
        "recall": 0.5,
        "F1": pytest.approx(2 / 3),
        "partial F1": pytest.approx(2 / 3),
    }
    assert parts["pages"].figures["F1"] is None


def test_long_lists_are_held_against_each_other_in_bounded_time() -> None:
    true, said = ({"items": [f"a {side}{place}" for place in range(5000)]} for side in "xy")
    found = judged((true, said))
    assert found["f1"] == 0
    assert 0 < found["partial_f1"] < 0.1


def test_the_constant_is_the_usual_value_of_each_field() -> None:
    truths = [NOTHING | {"currency": "EUR", "vendor": name, "items": ["ink"]} for name in ("A", "A", "B")]
    assert TASK.kind.constant(truths).value == NOTHING | {"currency": "EUR", "vendor": "A", "items": ["ink"]}
    quoted = lt.Task("quoted", type="extraction", fields=SHORT, verbatim=["vendor", "items"])
    assert quoted.kind.constant(truths).value == NOTHING | {"currency": "EUR"}


def test_braces_in_a_name_or_description_are_no_template() -> None:
    fields = {"properties": {"a": {"type": "string", "description": "as in {{ x }} or {% y %}"}}}
    task = lt.Task("braces", type="extraction", fields=fields)
    endpoint = Endpoint(provider="compatible", base_url="http://127.0.0.1:9/v1", model="m")
    prompt = {"system": task.kind.question(), "template": "{{ text }}"}
    spec = lt.Prompt.make(
        {"technique": "prompt", "task": task, "prompt": prompt, "answer": "json", "endpoint": endpoint}
    )
    rows = task.rows(pd.DataFrame({"text": ["x"]}))
    [request] = spec.first_requests(rows)[1]
    assert "as in {{ x }} or {% y %}" in request.body["messages"][0]["content"]


def test_a_table_tells_the_fields_and_their_types() -> None:
    cells = [
        {"vendor": f"V{row}", "total": row + 0.5, "pages": row, "paid": True, "kind": "ab"[row % 2], "tags": ["x"],
         "at": {"c": "y"}, "lines": [{"n": 1}], "never": None}
        for row in range(20)
    ]  # fmt: skip
    texts = [f"from V{row}" for row in range(20)]
    found = type(lt.Task("x", type="extraction", labels=["A"]).kind).guess({"t": texts, "o": cells}, "t", "o")
    assert found.settings["fields"] == {
        "vendor": "string", "total": "number", "pages": "integer", "paid": "boolean", "kind": {"enum": ["a", "b"]},
        "tags": ["string"], "at": {"c": "string"}, "lines": [{"n": "integer"}], "never": "string",
    }  # fmt: skip
    assert lt.Task("x", type="extraction", text="t", label="o", **found.settings).rows(
        pd.DataFrame({"t": texts, "o": cells}), labelled=True
    )
    assert "vendor" in " ".join(found.reasons)
    assert found.counts["vendor"] == 20
    with pytest.raises(ValueError, match="row 2: total is a text here and a number"):
        type(TASK.kind).guess({"t": texts[:2], "o": [{"total": 1}, {"total": "1"}]}, "t", "o")
    with pytest.raises(ValueError, match="row 1: it is no object"):
        type(TASK.kind).guess({"t": ["a"], "o": ["x"]}, "t", "o")


def reading(asked: bytes) -> str:
    """A model that reads orders, and forgets the count where told to."""
    body = json.loads(asked)
    said = body["messages"][-1]["content"]
    count, product = re.findall(r"(\d+) (\w+)\.", said)[-1]
    fields = {"product": product, "count": None if "forget" in said else int(count)}
    return chat_reply(json.dumps(fields))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(200, reading) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


@pytest.mark.usefixtures("store")
def test_specs_are_compared_packaged_and_score_as_they_were_measured(endpoint: Endpoint) -> None:
    task = lt.Task("order", type="extraction", fields={"product": "string", "count": "integer"}, verbatim=["product"])
    table = pd.DataFrame({"text": [f"We order {row} chairs." for row in range(30)]})
    table["label"] = pd.Series([{"product": "chairs", "count": row} for row in range(30)])
    specs = [
        lt.Prompt(task, text, answer="json", examples=shown, endpoint=endpoint, name=name)
        for name, text, shown in (("reads", "{{ text }}", 2), ("forgets", "forget {{ text }}", 0))
    ]
    board = lt.compare(specs, table[:20], train=table[20:])
    assert [entry.metrics["f1"].value for entry in board.leaderboard.entries] == pytest.approx([1, 2 / 3])
    answers = board.answers("reads")
    assert answers["fields"].tolist() == answers["truth"].tolist()
    assert answers["count"].tolist() == list(range(20))
    scored = lt.log(specs[0], train=table[20:]).score(table[:20])
    assert scored["fields"].tolist() == answers["fields"].tolist()
    assert scored["product"].tolist() == ["chairs"] * 20


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tags": "array"}, r"fields.tags is of type array.*\[string\]"),
        ({"at": "object"}, "fields.at is of type object"),
        ({"type": "array", "items": {"type": "string"}}, "fields.type is of type array"),
        (["vendor", "total"], "a block of names and types"),
        ({"day": {"type": "string", "format": "date"}}, "fields.day has the keyword 'format'"),
        ({"total": {"type": "number", "minimum": 0}}, "fields.total has the keyword 'minimum'"),
        ({"day": "date"}, "A date is a string"),
    ],
)
def test_fields_that_are_no_schema_say_what_is_one(fields: Any, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        lt.Task("orders", type="extraction", fields=fields)


def test_a_field_may_be_called_type() -> None:
    task = lt.Task("animals", type="extraction", fields={"animal": {"type": "string", "legs": "integer"}})
    assert task.kind.parts == ("animal.type", "animal.legs")


def test_a_misspelled_key_of_a_task_is_told_with_its_file_and_the_nearest_key(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("name: orders\ntype: extraction\nfeilds: {total: number}\n")
    with pytest.raises(SpecError, match=rf"^{re.escape(str(file))}: feilds: .*verbatim .did you mean fields"):
        lt.Task.read(file)
