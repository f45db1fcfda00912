"""`init --type`: the same road for every task type, of which none is named in `starting/`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.starting.guessing import guess_task
from luthier.starting.init import init_from_table
from luthier.tasks.known_types import TASK_TYPES
from luthier.techniques import read_specs
from tests.cli.conftest import Run, run  # noqa: F401  (a fixture)
from tests.conftest import REPOSITORY, reviews
from tests.docs.pages import blocks

GOLDEN = """\
# The prompt with 5 labelled examples in front, taken evenly from the training rows.
name: stars-few-shot
task: task.yaml
technique: prompt
prompt:
  system: |-
    How does the writer of each text feel about it? Answer with one word: {{ words | join(', ') }}.
  template: |-
    Text: {{ text }}
    Answer:
  examples: {count: 5, select: balanced, seed: 7}
answer:
  method: score            # the label the model finds likeliest; text and json read what it writes
  words: {"1": terrible, "2": poor, "3": okay, "4": good, "5": excellent}
  calibration_rows: 60     # training rows that show how much the model likes each word
endpoint:
  provider: openai
  model: m
"""


@pytest.fixture
def priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table for the type of docs/tasks.md, which is in a module beside it."""
    [code] = blocks(REPOSITORY / "docs" / "tasks.md", "python prices.py")
    (tmp_path / "prices.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("prices", None)
    file = tmp_path / "adverts.csv"
    adverts = [f"A chair, nearly new, costs {price}.50 euros" for price in range(60)]
    pd.DataFrame({"advert": adverts, "price": [price + 0.5 for price in range(60)]}).to_csv(file, index=False)
    return file


def test_no_module_of_starting_names_a_task_type_but_those_that_labels_are_guessed_to_be() -> None:
    named = {
        (file.stem, name)
        for file in (REPOSITORY / "src" / "luthier" / "starting").glob("*.py")
        for name in TASK_TYPES
        # columns.py has usual names of columns.
        if file.stem != "columns" and re.search(rf"[\"']{name}[\"']", file.read_text(encoding="utf-8"))
    }
    assert named == {("guessing", "classification"), ("guessing", "rating"), ("quickstart", "rating")}


def test_a_type_of_ones_own_gets_its_task_and_the_specs_it_starts_with(priced: Path) -> None:
    started = init_from_table(priced, type_name="prices:Price", split=True)
    assert started.guess.task == lt.Task("price", type="prices:Price", text="advert", label="price")
    assert lt.Task.read("models/task.yaml") == started.guess.task
    assert [spec.name for spec in read_specs(["models"])] == ["price-few-shot", "price-zero-shot"]
    said = str(started)
    assert "task 'price': prices:Price, reads 'advert', answers 'price'" in said
    assert "calibration_rows" not in said
    prompt = read_specs(["models/price-zero-shot.yaml"])[0].document()
    assert prompt["prompt"]["system"] == "What is the price of each text?"
    assert [len(lt.read_table(part)) for part in started.tables] == [36, 12, 12]


def test_init_takes_the_type_on_the_command_line(priced: Path, run: Run) -> None:  # noqa: F811
    done = run("init", "--data", priced, "--type", "prices:Price", "--name", "cost", "--folder", "mine")
    assert done.code == 0, done.err
    assert "--label" in done.out and "luthier check mine" in done.out
    assert lt.Task.read("mine/task.yaml").name == "cost"


def test_files_of_closed_sets_are_what_they_were(tmp_path: Path) -> None:
    reviews(100).to_csv(tmp_path / "t.csv", index=False)
    asked = {"endpoint": {"provider": "openai", "model": "m"}}
    for type_name in (None, "rating"):
        init_from_table(
            tmp_path / "t.csv", text="text", label="stars", type_name=type_name, overrides=asked, replace=True
        )
        assert Path("models/stars-few-shot.yaml").read_text(encoding="utf-8") == GOLDEN


def test_up_to_500_labels_are_classes_where_the_type_is_given() -> None:
    frame = pd.DataFrame(
        {"text": [f"t {i}" for i in range(450)], "intent": [f"intent {i % 150:03}" for i in range(450)]}
    )
    with pytest.raises(DataError, match="150 distinct values.*--type classification"):
        guess_task(frame, text="text", label="intent")
    assert len(guess_task(frame, text="text", label="intent", type_name="classification").task.labels) == 150
    many = pd.DataFrame({"text": ["t"] * 501, "intent": [f"i{i}" for i in range(501)]})
    with pytest.raises(DataError, match="more than 500"):
        guess_task(many, text="text", label="intent", type_name="classification")


def test_of_many_labels_the_report_shows_the_most_frequent(tmp_path: Path) -> None:
    cells = [f"intent {i % 150:03}" for i in range(450)] + ["intent 140"] * 9
    pd.DataFrame({"text": [f"t {i}" for i in range(len(cells))], "intent": cells}).to_csv(
        tmp_path / "t.csv", index=False
    )
    said = str(init_from_table(tmp_path / "t.csv", type_name="classification"))
    bars = [line for line in said.splitlines() if "█" in line]
    assert len(bars) == 20 and bars[0].startswith("  intent 140 ")
    assert "and 130 more, 3 each" in said
    assert '  - "intent 000"\n' in Path("models/task.yaml").read_text(encoding="utf-8")
    assert len(lt.Task.read("models/task.yaml").labels) == 150


def test_words_without_a_known_order_are_no_rating_until_it_is_given() -> None:
    frame = pd.DataFrame({"text": ["a b"] * 6, "how": ["so", "meh", "wow"] * 2})
    with pytest.raises(DataError, match="--type rating.*nothing says which is the lowest.*--labels"):
        guess_task(frame, text="text", label="how", type_name="rating")
    found = guess_task(frame, text="text", label="how", type_name="rating", labels=["meh", "so", "wow"])
    assert (found.task.type, found.task.labels) == ("rating", ("meh", "so", "wow"))
    assert found.counts == {"meh": 2, "so": 2, "wow": 2}


def test_numbers_can_be_classes_where_the_type_is_given() -> None:
    frame = pd.DataFrame({"text": ["a b"] * 6, "room": [10, 2, 7] * 2})
    found = guess_task(frame, text="text", label="room", type_name="classification")
    assert (found.task.type, found.task.labels) == ("classification", ("2", "7", "10"))


def test_an_unknown_type_is_answered_with_those_there_are(priced: Path) -> None:
    with pytest.raises(SpecError, match=r"--type: type 'rate' is unknown; there are: classification, rating"):
        init_from_table(priced, type_name="rate")


@pytest.mark.parametrize("cells", [[{"a": 1}] * 6, [json.dumps(["x", "y"])] * 3 + [json.dumps(["x"])] * 3])
def test_lists_and_objects_are_no_labels(cells: list[object]) -> None:
    frame = pd.DataFrame({"text": ["a b"] * 6, "label": cells})
    with pytest.raises(DataError, match="lists or objects, which are no labels"):
        guess_task(frame, text="text", label="label")


def test_types_are_named_that_the_table_fits_and_not_those_that_would_take_every_text_for_a_label() -> None:
    subjects = pd.DataFrame(
        {"text": [f"My order {i} is late" for i in range(80)], "reply": [f"Sorry for {i}" for i in range(80)]}
    )
    with pytest.raises(DataError, match="80 distinct values") as said:
        guess_task(subjects, text="text", label="reply")
    assert "--type generation" in str(said.value) and "--type classification" not in str(said.value)


@pytest.mark.parametrize("type_name", sorted(TASK_TYPES))
@pytest.mark.parametrize("wrong", ["text", "label"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, type_name: str, wrong: str) -> None:
    table = tmp_path / "t.csv"
    pd.DataFrame({"first": ["a b", "c d"], "second": ["a c", "d e"], "score": [1, 2]}).to_csv(table, index=False)
    text, label = ("nope", "score") if wrong == "text" else ("first", "nope")
    with pytest.raises(DataError, match=f"no column 'nope'.*first, second, score.*--{wrong}"):
        init_from_table(table, text=text, label=label, folder=tmp_path / "m", type_name=type_name)


def test_a_column_of_0_and_1_for_each_label_is_told_how_to_become_lists(tmp_path: Path) -> None:
    rows = {"text": ["a b", "c d", "e f", "g h"], "room": [1, 0, 1, 0], "noise": [0, 0, 1, 1]}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"room, noise.*one column of lists.*\.jsonl"):
        init_from_table(tmp_path / "t.csv", text="text", folder=tmp_path / "m", type_name="classification")
