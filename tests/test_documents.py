"""YAML as an attacker, or a slip, writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from luthier.documents import parse_yaml
from luthier.errors import SpecError
from luthier.tasks.task import Task
from luthier.techniques import read_endpoint, read_spec

ALIASES = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12))

BOMBS = {
    "aliases of aliases": (ALIASES, "more than 50,000 values"),
    "merges of merges": (MERGES, "more than 50,000 values"),
    "an alias inside itself": ("a: &a [*a]", "inside the value it names"),
    "20,000 nested lists": ("[" * 20_000 + "]" * 20_000, "nested too deeply"),
    "20,000 nested mappings": ("{a: " * 20_000 + "1" + "}" * 20_000, "nested too deeply"),
    "200 nested lists": ("[" * 200 + "]" * 200, "nested too deeply"),
    "indented lists": ("\n".join(" " * 2 * n + "-" for n in range(900)), "nested too deeply"),
    "a number of 5,000 digits": ("labels: [" + "9" * 5_000 + "]", "write it in quotes"),
    "a date that is none": ("labels: [2026-13-01]", "write it in quotes"),
    "values up to the last character": ("[" + "a," * 400_000 + "]", "more than 50,000 values"),
    "a number to the base of 60": ("a: 1" + ":1" * 400_000, "number of 800,001 characters"),
    "too many characters": ("a: " + "x" * 1_000_001, "1,000,000 are allowed"),
}


@pytest.mark.parametrize(("text", "said"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_an_error_of_yaml(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=said):
        parse_yaml(text)


@pytest.mark.parametrize("text", [ALIASES, "[" * 200, "a: &a [*a]", "labels: [2026-13-01]", "a: \x00"])
def test_files_that_people_give_are_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    for read in (Task.read, read_spec, read_endpoint):
        with pytest.raises(SpecError, match=r"given\.yaml is not valid YAML"):
            read(file)


def test_aliases_and_merges_as_people_write_them_are_read() -> None:
    text = "base: &base {model: m, seed: 1}\nother: {<<: *base, seed: 2}\nlabels: [a, b]\n"
    assert parse_yaml(text)["other"] == {"model": "m", "seed": 2}
    assert parse_yaml("") is None
