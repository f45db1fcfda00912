"""Hostile answers through the real engine, `compare`, `score` and the page, for every task type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.scripted_server import chat_reply, serving
from tests.tasks.test_hostile_answers import key_of, no_value, right_json
from tests.tasks.type_samples import SAMPLES, Sample

GOOD = 3
"""Rows in front of the others whose answer is right."""

STRANGE = (
    "", "\0\0\x1b[31m\x07", "\u202e\u05d0\u05d1 <script>alert(1)</script>", "=cmd|' /C calc'!A0", "e\u0301" * 300,
    "\ud83d\ud83d", "答案是第四", "<think> " * 3_000, "[" * 30_000, "a " * 600_000,
)  # fmt: skip


def answers(sample: Sample) -> list[str]:
    """What is answered to each row."""
    key, right = key_of(sample), right_json(sample)
    worded = [
        f'{{"{key}": "\\u0000\\u202e<b>\\ud800"}}',
        f'{{"{key}": NaN}}',
        f'{{"{key}": {"9" * 5_000}}}',
        right[:-2],
    ]
    return [right] * GOOD + [*no_value(sample), *STRANGE, *worded]


def writing(said: list[str]) -> Callable[[bytes], str]:
    """A model that answers row N with the Nth of these."""

    def answer(asked: bytes) -> str:
        number = int(re.findall(r"(\d+): ", json.loads(asked)["messages"][-1]["content"])[0])
        return chat_reply(said[number])

    return answer


@pytest.fixture
def asked(sample: Sample) -> Iterator[Endpoint]:
    with serving(200, writing(answers(sample))) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_rows_with_hostile_answers_are_compared_scored_and_shown(
    sample: Sample, asked: Endpoint, tmp_path: Path
) -> None:
    table = pd.DataFrame(sample.table(len(answers(sample))))
    spec = lt.Prompt(sample.task, sample.template, answer="json", endpoint=asked, name="written")
    board = lt.compare([spec], table)
    found = board.answers("written")
    assert found["state"][:GOOD].tolist() == ["ok"] * GOOD
    assert set(found["state"]) <= {"ok", "off_label"}
    assert (found["state"] == "off_label").sum() >= len(list(no_value(sample))) - 1
    page = Path(mlflow.artifacts.download_artifacts(run_id=board.run_id, artifact_path="report.html"))
    shown = page.read_text(encoding="utf-8")
    assert "<script>alert" not in shown
    assert "\0" not in shown, shown[shown.index("\0") - 300 : shown.index("\0") + 50]
    table.to_csv("in.csv", index=False)
    model = lt.log(spec)
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        model.score_file("in.csv", name)
        frame = pd.read_csv(name) if name.endswith("csv") else getattr(pd, f"read_{kind_of(name)}")(name, **lines(name))
        assert frame["state"].tolist() == found["state"].tolist()


def kind_of(name: str) -> str:
    return {"out.parquet": "parquet", "out.jsonl": "json"}[name]


def lines(name: str) -> dict[str, bool]:
    return {"lines": True} if name.endswith("jsonl") else {}
