from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from luthier.errors import DataError
from luthier.providers.endpoint import Price, openai
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD

FRAME = pd.DataFrame({"text": ["fine <b>food</b>", None, "awful"]})
TRAIN = pd.DataFrame({"text": ["lovely", "horrid"], "label": ["good", "bad"]})


def prompt(**settings: Any) -> Prompt:
    return Prompt(MOOD, "Mood of: {{ text }}", **{"endpoint": ENDPOINT, **settings})


def test_a_preview_holds_what_would_be_sent() -> None:
    assert prompt().preview(FRAME).turns[2] == (("user", "Mood of: awful"),)


def test_a_blank_row_says_why_it_is_not_sent() -> None:
    assert prompt().preview(FRAME).reasons == ("", "its text is empty", "")


def test_a_failing_row_says_why_it_is_not_sent() -> None:
    frame = FRAME.assign(price="cheap")
    shown = Prompt(MOOD, "{{ price + 1 }}{{ text }}", endpoint=ENDPOINT).preview(frame)
    assert shown.reasons[0].startswith("the template fails on this row")


def test_html_is_escaped() -> None:
    shown = prompt().preview(FRAME)._repr_html_()
    assert "&lt;b&gt;food&lt;/b&gt;" in shown
    assert "<b>food</b>" not in shown


def test_examples_without_training_rows_are_placeholders() -> None:
    shown = prompt(examples=2).preview(FRAME)
    assert shown.turns[0][0] == ("user", "(example 1 of 2, chosen from the training rows)")


def test_examples_are_those_that_fit_would_choose() -> None:
    shown = prompt(examples=2).preview(FRAME, TRAIN)
    assert {said for who, said in shown.turns[0] if who == "assistant"} == {"good", "bad"}


def test_an_own_price_is_used() -> None:
    endpoint = openai("some-model", price=Price(input_usd_per_million=1e6, output_usd_per_million=0))
    shown = prompt(endpoint=endpoint).preview(FRAME)
    assert shown.cost_usd == pytest.approx(shown.input_tokens)


def test_an_unknown_price_is_not_zero() -> None:
    assert "price unknown" in prompt().preview(FRAME).summary


def test_tokens_out_are_a_bound() -> None:
    assert prompt(decoding={"max_tokens": 7}).preview(FRAME).output_tokens == 14


def test_text_shows_every_row() -> None:
    assert str(prompt().preview(FRAME)).count("--- row") == 3


def test_a_completion_is_shown_as_one_text() -> None:
    assert prompt(style="completion").preview(FRAME).turns[2] == (("prompt", "Mood of: awful"),)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="column 'text'"):
        prompt().preview(FRAME.rename(columns={"text": "body"}))


def test_notes_are_shown() -> None:
    spec = prompt(answer={"method": "score", "calibration_rows": 9})
    assert "9 training rows" in str(spec.preview(FRAME))
