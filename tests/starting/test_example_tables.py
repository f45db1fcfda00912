"""The example tables: each is one of its type, and comes with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import luthier as lt
from luthier.errors import UserError
from luthier.starting.example_tables import FOLDER, ExampleTable, example_table, example_tables
from luthier.starting.init import init_from_table
from luthier.tasks.known_types import TASK_TYPES
from luthier.techniques import read_specs
from tests.cli.conftest import Run, run  # noqa: F401  (a fixture)

EXAMPLES = pytest.mark.parametrize("example", example_tables(), ids=lambda one: one.name)


def test_every_table_of_the_folder_is_an_example_and_every_example_a_table() -> None:
    assert {file.stem for file in FOLDER.glob("*.jsonl")} == {one.name for one in example_tables()}


def test_every_type_has_an_example_but_rating_which_has_the_sample_reviews() -> None:
    assert {one.type for one in example_tables()} == set(TASK_TYPES) - {"rating"}


@EXAMPLES
def test_init_finds_the_columns_of_an_example_by_its_type(example: ExampleTable, tmp_path: Path) -> None:
    table = tmp_path / example.path.name
    table.write_bytes(example.path.read_bytes())
    made = init_from_table(table, type_name=example.type, name=example.name, split=True)
    assert (made.guess.task.type, made.guess.task.text, made.guess.task.label) == (example.type, "text", example.label)
    assert not [reason for reason in made.guess.reasons if re.search(r"\brows hold no|leave them out", reason)]
    specs = read_specs(["models"])
    assert {"prompt"} <= {spec.technique for spec in specs}
    parts = [lt.read_table(part) for part in made.tables]
    assert sum(map(len, parts)) == len(lt.read_table(table)) >= 80
    for part in parts:
        assert len(specs[0].task.rows(part, labelled=True)) == len(part)


@EXAMPLES
def test_no_row_of_an_example_is_there_twice(example: ExampleTable) -> None:
    lines = example.path.read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines)


def test_an_example_that_is_not_there_is_answered_with_those_that_are(run: Run) -> None:  # noqa: F811
    with pytest.raises(UserError, match=r"no example is called 'orders2'.*pairs \(similarity\)"):
        example_table(name="orders2")
    with pytest.raises(UserError, match="'similar' is unknown; there are examples for: .*similarity"):
        example_table("similar")
    done = run("quickstart", "--type", "prices:Price")
    assert done.code == 2
    assert "luthier init --data TABLE --type TYPE" in done.err
