"""Texts cut into passages, in many scripts and of any length."""

from __future__ import annotations

import random

import pytest

from luthier.responsible_ai.passages import MOST_PASSAGES, passages_of

SIGNS = "ab. ,!?\n\t。，، 😀1é\u200f\u202e\"')(-M…`${}"


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("delicious", ["delicious"]),
        ("😡😡😡", ["😡😡😡"]),
        ("...", ["..."]),
        ("", []),
        (" \n\t", []),
        ("great food. loved it. will come again", ["great food. ", "loved it. ", "will come again"]),
        ('Dr. Lee (e.g. J. Smith) paid 3.5 at 8 p.m. and left. "Why?" OK.', 3),
        ("1. Cold soup\n2. Rude staff\n- Loud!!!\n9/10", ["1. Cold soup\n", "2. Rude staff\n", "- Loud!!!\n", "9/10"]),
        ("Great! 😡😡 Never again!", ["Great! ", "😡😡 Never again!"]),
        ("很好吃。服务太慢了！下次不来", ["很好吃。", "服务太慢了！", "下次不来"]),
        ("السلام عليكم. الطعام جيد؟ نعم.", ["السلام عليكم. ", "الطعام جيد؟ ", "نعم."]),
        ("cheap, quick and loud", ["cheap, ", "quick and loud"]),
        ("loved every bite", ["loved ", "every ", "bite"]),
        ("服务很好但是等了很久", ["服务很好", "但是等了", "很久"]),
    ],
)
def test_a_text_is_cut_where_a_reader_would(text: str, passages: list[str] | int) -> None:
    found = passages_of(text)
    assert len(found) == passages if isinstance(passages, int) else list(found) == passages


def test_the_passages_of_any_text_are_the_text() -> None:
    drawn = random.Random(7)
    for _ in range(3_000):
        text = "".join(drawn.choices(SIGNS, k=drawn.randint(0, 90)))
        found = passages_of(text)
        assert "".join(found) == (text if text.strip() else "")
        assert len(found) <= MOST_PASSAGES
        # Without one of several passages there is still something to send.
        assert all(passage.strip() for passage in found)


@pytest.mark.parametrize("text", ["The soup was cold, really. " * 740, "word " * 4_000, "汤很冷，服务很慢。" * 2_222])
def test_a_text_of_20_000_characters_has_fourteen_passages_of_much_the_same_length(text: str) -> None:
    found = passages_of(text)
    assert "".join(found) == text
    assert len(found) == MOST_PASSAGES
    assert max(map(len, found)) <= 3 * min(map(len, found))


@pytest.mark.slow
@pytest.mark.parametrize("sign", [".", ". ", "a. ", "a ", "\n", "a,", '.".', "- ", "。"])
def test_a_quarter_of_a_million_characters_is_cut_to_its_end(sign: str) -> None:
    # In a second; where time grows with the square of the length, in an hour.
    assert len(passages_of("a" + sign * (250_000 // len(sign)))) <= MOST_PASSAGES
