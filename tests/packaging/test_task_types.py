"""For every task type: what a comparison of its example data measured is what `mlflow`, `score` and `serve` answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.serving.models import open_model
from luthier.starting.init import init_from_table
from tests.conftest import REPOSITORY
from tests.packaging.commands import predicted_in_process
from tests.serving.served import WITHOUT_KEY, ask, running

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

EXAMPLES = REPOSITORY / "src" / "luthier" / "starting" / "examples"
TYPES = {
    "pairs": ("similarity", "label", ""),
    "subjects": ("generation", "subject", ""),
    "topics": ("classification", "label", "embedding"),
    "tags": ("classification", "label", "embedding"),
    "entities": ("extraction", "entities", "few-shot"),
    "orders": ("extraction", "order", "few-shot"),
}
"""File of example rows to its type, its column of truths, and the spec that is compared; all where empty."""


ROWS = 4
"""Rows of the test table that are asked: the embedded model writes some hundred characters a second."""


@pytest.fixture(scope="module")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one embedded server for all types: loading its weights takes seconds."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(autouse=True)
def same_server(embedded_server: Path, clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "30")
    clean_home.mkdir(mode=0o700)
    (clean_home / "local").symlink_to(embedded_server)


def started(name: str) -> tuple[list[lt.Spec], pd.DataFrame, pd.DataFrame]:
    """The specs that `luthier init --split` writes for an example, its training rows, and some of its test rows."""
    type_name, label, only = TYPES[name]
    data = Path(f"{name}.jsonl")
    data.write_bytes((EXAMPLES / data.name).read_bytes())
    written = init_from_table(data, text="text", label=label, type_name=type_name, name=name, split=True)
    train, _, test = map(lt.read_table, written.tables)
    specs = [spec for spec in lt.read_specs("models") if spec.name.endswith(only)]
    return specs, train, test.head(ROWS)


def plain(frame: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """These columns row by row, missing cells as `None`."""
    cells = frame[columns].astype(object)
    return [
        {str(name): cell for name, cell in row.items()} for row in cells.where(cells.notna(), None).to_dict("records")
    ]


@pytest.mark.parametrize("name", TYPES)
def test_what_was_measured_is_what_every_way_to_ask_answers(name: str) -> None:
    specs, train, test = started(name)
    board = lt.compare(specs, test, train=train)
    best = board.leaderboard.entries[0].name
    assert all(entry.metrics["failed_rate"].value == 0 for entry in board.leaderboard.entries)
    spec = next(spec for spec in specs if spec.name == best)
    model = lt.log(spec, train=train, register=name, alias="champion")
    kind = spec.task.kind
    columns = [kind.value_name, "state"]
    texts = test[list(spec.task.text_columns)]
    texts.to_csv("in.csv", index=False)

    signature = mlflow.models.get_model_info(model.uri).signature
    assert set(spec.task.text_columns) <= set(signature.inputs.input_names())
    assert set(columns) <= set(signature.outputs.input_names())
    measured = plain(board.answers(best), columns)
    assert plain(model.score(texts), columns) == measured
    model.score_file("in.csv", "out.jsonl")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{column: line[column] for column in columns} for line in lines] == measured
    answered = predicted_in_process(model.uri, "in.csv")
    assert [{column: row[column] for column in columns} for row in answered] == measured
    with running(open_model(model.uri, WITHOUT_KEY)) as (_, listening):
        reply = ask(listening, "POST", "/invocations", {"dataframe_records": texts.to_dict("records")})
    assert reply.status == 200
    assert reply.document["predictions"] == answered
