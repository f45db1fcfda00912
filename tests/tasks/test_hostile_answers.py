"""Whatever a model writes and whatever a cell holds becomes a state or a message, for every task type."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError
from luthier.providers.exchange import Answer
from luthier.tasks.known_types import TASK_TYPES
from luthier.tasks.prediction import Prediction
from luthier.techniques.prompt.adapter import PromptAdapter, adapter_for
from tests.tasks.type_samples import SAMPLES, Sample

ENDPOINT = Endpoint(provider="compatible", base_url="http://127.0.0.1:9/v1", model="m")
LONGEST_ERROR = 500

every_type = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
both_methods = pytest.mark.parametrize("method", ["text", "json"])


def adapter(sample: Sample, method: str) -> PromptAdapter:
    return adapter_for(lt.Prompt(sample.task, sample.template, answer=method, endpoint=ENDPOINT), {})


def answered(asking: PromptAdapter, sample: Sample, said: str, finish: str = "stop") -> Prediction:
    """What becomes of a row whose answer this is."""
    conversation = asking.row(sample.row)
    next(conversation)
    try:
        conversation.send([Answer(text=said, finish_reason=finish)])
    except StopIteration as end:
        found: Prediction = end.value
        return found
    raise AssertionError("a second request for a written answer")


def check(predictions: Sequence[Prediction], sample: Sample) -> None:
    """Each has a value that can be written, read back, judged and shown, or a short reason in one line."""
    kind = sample.task.kind
    truth = sample.task.truth_of({**sample.row, sample.task.label: sample.truth}).value
    for prediction in predictions:
        if prediction.value is None:
            assert prediction.state == "off_label"
            assert prediction.error
            assert len(prediction.error) <= LONGEST_ERROR
            assert prediction.error.isprintable()
        else:
            assert prediction.state == "ok"
            json.dumps(prediction.value, allow_nan=False).encode()
            kind.written(prediction.value).encode()
            assert kind.recorded(kind.record(prediction)) == prediction.value
    kind.frame(predictions).to_json(orient="records").encode()
    judged = kind.judge([truth] * len(predictions), predictions)
    assert len(judged.distances) == len(predictions)
    assert all(0 <= distance < float("inf") for distance in judged.distances)


def key_of(sample: Sample) -> str:
    return sample.task.kind.value_name


def right_json(sample: Sample) -> str:
    truth = sample.task.kind.read_truth(sample.truth)
    if sample.task.labels:
        return json.dumps({key_of(sample): truth})
    return sample.task.kind.as_answer(truth, as_json=True)


def no_value(sample: Sample) -> Iterator[str]:
    """Answers in JSON that state nothing of any type."""
    key = key_of(sample)
    for value in ("", "{}", "null", '""'):
        yield f'{{"{key}": {value}}}'
    for depth in (60, 400, 1_000, 100_000):
        for opening, closing in (("[", "]"), ('{"a": ', "}")):
            nested = opening * depth + "1" + closing * depth
            yield f'{{"{key}": {nested}}}'
            yield nested
            yield f'{{"{key}": {opening * depth}'
    yield "\0"
    yield "{" * 20_000
    yield '{"' + key + '": "' + "\\u0000" * 500
    yield f'{{"other": 1, "{key}": '


def pieces(sample: Sample) -> Iterator[str]:
    """What a model that does not stop repeats."""
    yield from (
        "a ",
        "\n",
        " ",
        "9",
        "é\u0301",
        "\u202e",
        "\0",
        '"',
        "'",
        "\\",
        "/*",
        "//",
        "{",
        "[",
        '{"a":',
        "}",
        ", ",
    )
    yield from ("' : '", '{\\"', "“", "```json\n", "<think>", "&lt;", ": a", "-", "1,", "not ", "\ufeff", "\u200b", "𝔘")
    yield f'{{"{key_of(sample)}": '
    yield right_json(sample)
    yield str(sample.truth)


@pytest.fixture
def drawn() -> random.Random:
    return random.Random(11)


def test_every_type_has_a_sample() -> None:
    assert {sample.task.type for sample in SAMPLES} == set(TASK_TYPES)


@every_type
@both_methods
def test_the_truth_as_it_is_to_be_answered_is_read_back(sample: Sample, method: str) -> None:
    asking = adapter(sample, method)
    kind = sample.task.kind
    truth = sample.task.truth_of({**sample.row, sample.task.label: sample.truth}).value
    said = right_json(sample) if method == "json" else asking.said(truth)
    found = answered(asking, sample, said)
    assert (found.state, found.value) == ("ok", truth)
    assert kind.read_truth(kind.written(truth)) == truth
    check([found], sample)


@every_type
def test_json_that_states_nothing_is_off_label(sample: Sample) -> None:
    asking, every = adapter(sample, "json"), []
    for said in no_value(sample):
        for finish in ("stop", "length") if len(said) < 100_000 else ("stop",):
            found = answered(asking, sample, said, finish)
            # Where nothing found is an answer, null is one.
            assert found.state == "off_label" or (found.value == [] and "null" in said), said[:100]
            every.append(found)
    check(every, sample)


@every_type
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, '"\\ud800"'])
def test_a_number_or_character_that_is_none_is_off_label_or_a_text(sample: Sample, value: str) -> None:
    found = answered(adapter(sample, "json"), sample, f'{{"{key_of(sample)}": {value}}}')
    assert found.state == "off_label" or isinstance(found.value, str)
    check([found], sample)


@every_type
@both_methods
def test_every_truncation_of_an_answer_has_a_state(sample: Sample, method: str) -> None:
    asking, said = adapter(sample, method), right_json(sample)
    truth = answered(asking, sample, said).value
    check([answered(asking, sample, said[:end]) for end in range(len(said))], sample)
    for end in range(len(said)):
        cut = answered(asking, sample, said[:end], "length")
        assert method == "text" or cut.state == "off_label" or cut.value == truth, said[:end]


@every_type
@both_methods
def test_values_of_any_wrong_kind_have_a_state(sample: Sample, method: str, drawn: random.Random) -> None:
    asking, right = adapter(sample, method), json.loads(right_json(sample))
    values = list(misshapen(right.get(key_of(sample), right), drawn, 300))
    said = [json.dumps(value) for value in values] + [json.dumps({key_of(sample): value}) for value in values]
    check([answered(asking, sample, one) for one in said], sample)


@every_type
@both_methods
def test_characters_changed_at_random_have_a_state(sample: Sample, method: str, drawn: random.Random) -> None:
    asking, right = adapter(sample, method), right_json(sample)
    strange = "{}[]\"\\:,0-'\0\n\u0301\u202e\u05d0٣五𝔘\ufeff<>|`*"
    every = []
    for _ in range(400):
        said = list(right)
        for _ in range(drawn.randint(1, 4)):
            place = drawn.randrange(len(said))
            said[place : place + drawn.randint(0, 3)] = drawn.choices(strange, k=drawn.randint(0, 3))
        every.append(answered(asking, sample, "".join(said)))
    check(every, sample)


@every_type
@both_methods
def test_a_key_that_is_given_twice_with_other_values_is_off_label(sample: Sample, method: str) -> None:
    right = right_json(sample)
    said = f'{right[:-1]}, "{key_of(sample)}": "qqq"}}'
    assert answered(adapter(sample, "json"), sample, said).state == "off_label"
    check([answered(adapter(sample, method), sample, said)], sample)


@pytest.mark.slow
@every_type
@both_methods
def test_answers_without_end_are_read_to_their_end(sample: Sample, method: str) -> None:
    """In seconds; where time grows with the square of the length, in hours."""
    asking = adapter(sample, method)
    endless = [piece * (length // len(piece)) for piece in pieces(sample) for length in (20_000, 150_000)]
    # That an answer was cut is looked at after it was read: the long ones, which take the time, are read once.
    check([answered(asking, sample, said, "stop") for said in endless if len(said) < 100_000], sample)
    check([answered(asking, sample, said, "length") for said in endless], sample)


@every_type
@both_methods
def test_answers_of_ten_megabytes_have_a_state(sample: Sample, method: str) -> None:
    asking, right = adapter(sample, method), right_json(sample)
    for piece in ("a ", "{", "<think> "):
        padding = piece * (10_000_000 // len(piece))
        for said in (padding, padding + right, right + padding):
            found = answered(asking, sample, said)
            assert "10,000,0" in str(found.error)
            check([found], sample)


def cells() -> Iterator[tuple[str, Any]]:
    yield from {
        "nothing": None,
        "blank": "  ",
        "true": True,
        "a list": [1, [2]],
        "an object": {"a": {"b": None}},
    }.items()
    yield from {"NaN": float("nan"), "infinity": float("inf"), "less than all": float("-inf"), "1e999": "1e999"}.items()
    yield from {"a huge integer": 10**400, "an endless integer": 10**5000, "digits": "9" * 5_000}.items()
    yield from {"bytes": b"\xff\0", "NUL": "\0", "escaped surrogate": '{"a": "\\ud800"}', "other digits": "٤"}.items()
    yield from {"right to left": "\u202e\u05d0\u05d1", "combining": "e\u0301" * 50, "10 MB": "a {" * 3_400_000}.items()
    yield from {"broken JSON": '{"a": ', "broken list": "[1, 2", "deep text": "[" * 1_000}.items()
    yield from {"deeper text": "[" * 100_000, "closed deep text": "[" * 400 + "]" * 400}.items()
    yield "deep objects", '{"a":' * 1_000 + "1" + "}" * 1_000
    for depth in (60, 1_500):
        deep_list: Any = 1
        deep_object: Any = 1
        for _ in range(depth):
            deep_list, deep_object = [deep_list], {"a": deep_object}
        yield f"a list {depth} deep", deep_list
        yield f"an object {depth} deep", deep_object


CELLS = dict(cells())


@every_type
@pytest.mark.parametrize("cell", CELLS)
def test_a_hostile_cell_is_a_truth_or_a_message_with_its_row(sample: Sample, cell: str) -> None:
    lines = sample.table(4)
    lines[2][sample.task.label] = CELLS[cell]
    kind, table = sample.task.kind, pd.DataFrame(lines)
    try:
        rows = sample.task.rows(table, labelled=True)
    except DataError as error:
        message = str(error)
    else:
        assert kind.read_truth(kind.written(rows.labels[2])) == rows.labels[2]
        json.dumps(rows.labels[2], allow_nan=False).encode()
        assert len(rows.digest) == 64
        return
    assert "row 3" in message
    assert len(message) < 1_000
    assert message.isprintable()


def misshapen(value: Any, drawn: random.Random, count: int) -> Iterator[Any]:
    """Values that differ from a right one at one place or are of another kind altogether."""
    others: list[Any] = [
        None,
        True,
        -1,
        0,
        3.5,
        10**30,
        "",
        "x",
        " \u202e",
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        "9" * 50,
        -0.0,
        1e308,
    ]
    yield from others
    yield from ([value], [value, value], {"value": value}, str(value), {"label": [value]})
    for _ in range(count):
        yield _changed(value, drawn, others)


def _changed(value: Any, drawn: random.Random, others: list[Any]) -> Any:
    if isinstance(value, dict) and value and drawn.random() < 0.85:
        key, changed = drawn.choice(list(value)), dict(value)
        if drawn.random() < 0.15:
            del changed[key]
        elif drawn.random() < 0.1:
            changed[key + "x"] = changed.pop(key)
        else:
            changed[key] = _changed(value[key], drawn, others)
        return changed
    if isinstance(value, list) and value and drawn.random() < 0.85:
        place, changed_list = drawn.randrange(len(value)), list(value)
        if drawn.random() < 0.2:
            return changed_list + changed_list
        changed_list[place] = _changed(value[place], drawn, others)
        return changed_list
    if isinstance(value, int) and not isinstance(value, bool) and drawn.random() < 0.5:
        return value + drawn.choice([-1, 1, 7, -1000, 10**6])
    if isinstance(value, str) and value and drawn.random() < 0.5:
        return value[drawn.randrange(len(value)) :] + drawn.choice(["", "s", "\u0301", "\0", " "])
    return drawn.choice(others)
