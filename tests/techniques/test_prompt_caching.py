from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from luthier.providers.endpoint import Endpoint, openai
from luthier.providers.exchange import Request
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.prompt_caching import shared_prefix
from tests.conversing import ENDPOINT, MOOD

FRAME = pd.DataFrame({"text": ["fine food", "awful", "loud, but fine"]})
TRAIN = pd.DataFrame({"text": ["lovely", "horrid", "grand", "bad"], "label": ["good", "bad", "good", "bad"]})
SYSTEM = "You rate the mood of reviews. " * 10


def sent(endpoint: Endpoint = ENDPOINT, **settings: Any) -> list[Request]:
    given = {"system": SYSTEM, "examples": 2, **settings}
    shown = Prompt(MOOD, "Mood of: {{ text }}", endpoint=endpoint, **given).preview(FRAME, TRAIN)
    return [request for request in shown.requests if request is not None]


def test_system_turn_and_examples_come_before_the_row_and_are_the_same_for_all_rows() -> None:
    first, *others = (request.body["messages"] for request in sent())
    assert [turn["role"] for turn in first] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert all(turns[:-1] == first[:-1] for turns in others)
    assert first[-1]["content"] == "Mood of: fine food"


@pytest.mark.parametrize("style", ["chat", "completion"])
def test_what_rows_share_reaches_up_to_the_text_of_the_row(style: str) -> None:
    shared = shared_prefix(sent(style=style))
    assert shared.startswith(SYSTEM.strip())
    assert shared.count("Mood of: ") == 3
    assert shared.endswith("Mood of: ")


def test_requests_that_begin_differently_share_nothing() -> None:
    turns = [[{"role": "user", "content": text}] for text in ("one", "two")]
    assert shared_prefix([Request("chat", {"messages": each}) for each in turns]) == ""


@pytest.mark.parametrize(
    ("endpoint", "repeats", "is_told"), [(openai("gpt-4o-mini"), 30, True), (openai("gpt-4o-mini"), 2, False)]
)
def test_a_preview_tells_of_a_prefix_that_is_long_enough_to_be_cached(
    endpoint: Endpoint, repeats: int, is_told: bool
) -> None:
    spec = Prompt(MOOD, "Mood of: {{ text }}", system=SYSTEM * repeats, endpoint=endpoint)
    told = [note for note in spec.preview(FRAME).notes if "cached" in note]
    assert bool(told) == is_told


def test_a_server_that_names_no_price_for_cached_input_is_not_said_to_have_one() -> None:
    spec = Prompt(MOOD, "Mood of: {{ text }}", system=SYSTEM * 30, endpoint=ENDPOINT)
    assert not [note for note in spec.preview(FRAME).notes if "cached" in note]
