"""Pairs of texts go the road of labels: compared, read back, packaged, scored and served with both columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError, SpecError
from luthier.evaluation.mistakes import mistakes
from luthier.experiments.answer_tables import answers_table, read_answers
from luthier.packaging.flavor import signature_of
from luthier.serving.refusals import Refusal
from luthier.serving.request_rows import rows_of_request
from luthier.serving.served_model import ScoringRequest
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from tests.packaging.commands import predicted_in_process
from tests.scripted_server import chat_reply, serving

WORDS = ["dog", "cat", "car", "sun", "sea", "tea", "map", "key", "pen", "cup"]


def answering(asked: bytes) -> str:
    """A model that counts the words two texts share; told `mute`, it says none of it."""
    said = json.loads(asked)["messages"][-1]["content"]
    first, second = re.findall(r"<(.*?)>", said)[-2:]
    score = float(len(set(first.split()) & set(second.split())))
    text = "no idea" if "mute" in said else json.dumps({"score": score}) if "json" in said else f"Score: {score:g} of 5"
    return chat_reply(text)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(200, answering) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


@pytest.fixture
def task() -> lt.Task:
    # The column of scores and the second text have names of columns that Luthier writes.
    return lt.Task("pairs", type="similarity", text="first", other="raw", label="score", scale=[0, 5])


def pairs(first: int, last: int) -> pd.DataFrame:
    rows = []
    for number in range(first, last):
        shared, others = WORDS[: number % 6], WORDS[5:]
        second = [*shared, f"y{number}", *others[: number % 3]]
        rows.append({"first": " ".join([*shared, f"x{number}"]), "raw": " ".join(second)})
    return pd.DataFrame(rows).assign(score=[float(number % 6) for number in range(first, last)])


def prompt(task: lt.Task, endpoint: Endpoint, name: str, **given: Any) -> lt.Prompt:
    return lt.Prompt(task, f"{name}: <{{{{ first }}}}> <{{{{ raw }}}}>", endpoint=endpoint, name=name, **given)


@pytest.mark.usefixtures("store")
def test_prompts_are_compared_by_rank_correlation(task: lt.Task, endpoint: Endpoint) -> None:
    specs = [
        prompt(task, endpoint, "text"),
        prompt(task, endpoint, "json", answer="json", examples=3),
        prompt(task, endpoint, "mute"),
    ]
    board = lt.compare(specs, pairs(0, 30), train=pairs(30, 60))
    assert board.leaderboard.ranked_by == "spearman"
    found = {entry.name: entry.metrics["spearman"].value for entry in board.leaderboard.entries}
    assert found["text"] == pytest.approx(1)
    assert found["json"] == pytest.approx(1)
    assert found["mute"] < 0
    assert board.leaderboard.majority.metrics["spearman"].value == 0
    assert board.leaderboard.entry("mute").metrics["off_label_rate"].value == 1
    assert len(board.leaderboard.entry("text").plots.points) == 30
    answers = board.answers("json")
    assert answers["score"].tolist() == answers["truth"].tolist() == [float(i % 6) for i in range(30)]
    assert answers["raw_input"].tolist() == pairs(0, 30)["raw"].tolist()


def test_answers_that_were_written_give_the_same_rows_again(task: lt.Task) -> None:
    rows = task.rows(pairs(0, 12).assign(truth="a column of mine"), labelled=True)
    predictions = [Prediction(i / 3, "ok") for i in range(12)]
    again, read = read_answers(task, answers_table(task, rows, predictions))
    assert again.texts == rows.texts
    assert again.labels == rows.labels
    assert again.digest == rows.digest
    assert [one.value for one in read] == [one.value for one in predictions]


def test_mistakes_show_both_texts_and_what_else_is_known(task: lt.Task) -> None:
    rows = task.rows(pairs(0, 12).assign(source="mail"), labelled=True)
    worst = mistakes(task, rows, [Prediction(0.0, "ok")] * 12, limit=1)[0]
    assert worst.text == "dog cat car sun sea x5\n\ndog cat car sun sea y5 tea map"
    assert worst.known_by == (("source", "mail"),)


def test_a_prompt_that_shows_one_text_only_is_refused(task: lt.Task, endpoint: Endpoint) -> None:
    with pytest.raises(SpecError, match=r"does not show the column 'raw'.*put {{ raw }} into prompt.template"):
        lt.Prompt(task, "How alike? {{ first }}", answer="json", endpoint=endpoint)


@pytest.mark.usefixtures("store")
def test_a_pair_without_its_second_text_is_empty(task: lt.Task, endpoint: Endpoint) -> None:
    table = pairs(0, 12)
    table.loc[3, "raw"] = None
    board = lt.compare([prompt(task, endpoint, "text")], table)
    assert board.answers("text")["state"].tolist() == ["ok"] * 3 + ["empty"] + ["ok"] * 8


@pytest.mark.usefixtures("store")
def test_a_packaged_model_scores_tables_by_both_columns(task: lt.Task, endpoint: Endpoint) -> None:
    model = lt.log(prompt(task, endpoint, "json", answer="json", examples=2), train=pairs(30, 60), register="pairs")
    pairs(0, 12).to_csv("in.csv", index=False)
    model.score_file("in.csv", "out.csv")
    scored = pd.read_csv("out.csv")
    assert list(scored.columns) == ["first", "raw", "score_input", "score", "state", "error"]
    assert scored["score"].tolist() == scored["score_input"].tolist()
    with pytest.raises(DataError, match="'raw'"):
        model.score(pairs(0, 3)[["first"]])


@pytest.mark.usefixtures("store")
def test_mlflow_predicts_row_for_row_what_was_compared(task: lt.Task, endpoint: Endpoint) -> None:
    spec = prompt(task, endpoint, "text")
    board = lt.compare([spec], pairs(0, 12))
    lt.log(spec, register="pairs", alias="champion")
    pairs(0, 12).to_csv("in.csv", index=False)
    rows = predicted_in_process("models:/pairs@champion", "in.csv")
    assert [row["score"] for row in rows] == board.answers("text")["score"].tolist()


def test_a_server_checks_both_columns(task: lt.Task, endpoint: Endpoint) -> None:
    spec = prompt(task, endpoint, "text")
    assert str(signature_of(Fitted(spec)).inputs) == "['first': string (required), 'raw': string (required)]"
    rows = rows_of_request(spec, ScoringRequest("dataframe_records", [{"first": "a b", "raw": 7}], {}))
    assert rows.texts == ("a b\n\n7",)
    with pytest.raises(Refusal, match="Row 1: column 'raw' has to hold a text, and holds a list"):
        rows_of_request(spec, ScoringRequest("dataframe_records", [{"first": "a b", "raw": ["c"]}], {}))
    with pytest.raises(Refusal, match="Column 'raw' is missing"):
        rows_of_request(spec, ScoringRequest("dataframe_records", [{"first": "a b"}], {}))
