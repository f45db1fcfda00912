"""Free texts of several lines go through compare, the packaged model and files of predictions unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.scripted_server import chat_reply, serving

pytest.importorskip("sacrebleu")

TASK = lt.Task("reply", type="generation", text="message", label="reply", longest_characters=200)


def letter(number: int) -> str:
    return f'Dear customer,\n\nparcel {number} is "on its way".\n\nKind regards'


def answering(asked: bytes) -> str:
    """A model that writes the letter; in capitals where told to shout, and half of it where told to be short."""
    said = json.loads(asked)["messages"][-1]["content"]
    text = letter(int(said.split()[-1]))
    text = text.upper() if "shout" in said else text[:30] if "short" in said else text
    return chat_reply(text)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(200, answering) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


def messages(first: int, last: int) -> pd.DataFrame:
    numbers = range(first, last)
    truths = [[letter(n), f"Parcel {n} is late."] if n % 2 else letter(n) for n in numbers]
    return pd.DataFrame({"message": [f"Where is parcel {n}" for n in numbers], "reply": truths})


@pytest.mark.usefixtures("store")
def test_letters_are_compared_and_scored_with_all_their_lines(endpoint: Endpoint) -> None:
    asked = {"whole": "{{ message }}", "loud": "shout: {{ message }}", "half": "short: {{ message }}"}
    specs = [lt.Prompt(TASK, text, endpoint=endpoint, name=name) for name, text in asked.items()]
    test = messages(0, 20)
    board = lt.compare(specs, test, train=messages(20, 30))
    leaderboard = board.leaderboard
    assert leaderboard.ranked_by == "chrf1"
    assert {entry.name: entry.metrics["exact_match"].value for entry in leaderboard.entries} == {
        "whole": 1, "loud": 1, "half": 0,
    }  # fmt: skip
    assert leaderboard.entries[0].name == "whole"
    assert leaderboard.majority.name.startswith("always Dear customer, parcel 2")
    answers = board.answers("whole")
    assert answers["answer"].tolist() == [letter(n) for n in range(20)]
    assert json.loads(answers["truth"][1]) == [letter(1), "Parcel 1 is late."]
    assert (len(board.errors("whole")), len(board.errors("half"))) == (0, 20)
    model = lt.log(board.best)
    test[["message"]].to_csv("in.csv", index=False)
    model.score_file("in.csv", "out.csv")
    assert pd.read_csv("out.csv")["answer"].tolist() == [letter(n) for n in range(20)]
