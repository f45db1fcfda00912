"""`--json`: a command that ends with a result prints it for machines too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from luthier.cli.main import app
from tests.cli.conftest import Run

WITHOUT = {
    *("init", "quickstart", "serve", "local", "preview"),
    *("deploy logs", "deploy delete", "journal path", "journal purge", "tune watch", "tune undeploy"),
}
"""Commands that end with files, a server, a text for people, or a sentence."""


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_with_a_result_prints_it_as_json() -> None:
    found = dict(commands(typer.main.get_command(app)))
    lacking = {name for name, one in found.items() if all("--json" not in option.opts for option in one.params)}
    assert lacking == WITHOUT


@pytest.mark.usefixtures("store")
def test_a_fit_tells_the_run_that_is_packaged_next(run: Run, tmp_path: Path, train: pd.DataFrame) -> None:
    train.to_csv("train.csv", index=False)
    Path("spec.yaml").write_text(
        "task: {name: stars, type: rating, text: text, label: stars, labels: [1, 2, 3, 4, 5]}\n"
        "name: plain\ntechnique: baseline\n"
    )
    told = json.loads(run("fit", "spec.yaml", "--train", "train.csv", "--to", "fitted", "--json").out)
    assert (told["spec"], told["folder"]) == ("plain", "fitted")
    assert run("log", f"runs:/{told['run_id']}").code == 0


def test_the_size_of_the_journal_is_told_in_numbers(run: Run) -> None:
    told = json.loads(run("journal", "size", "--json").out)
    assert told == {"answers": 0, "failures": 0, "bytes": 0, "cost_usd": 0.0}
