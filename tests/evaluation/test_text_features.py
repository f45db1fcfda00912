from __future__ import annotations

import pytest

from luthier.evaluation.text_features import TEXT_FEATURES, text_features
from luthier.tasks.labels.negation import negations

ENGLISH = 'The 2 waiters were RUDE!! "Never again." Isn\'t that sad? See https://a.example/x or www.b.example'


def test_every_column_is_a_whole_number_with_a_description() -> None:
    found = text_features([ENGLISH, ""])
    assert list(found.columns) == list(TEXT_FEATURES)
    assert {str(kind) for kind in found.dtypes} == {"int64"}
    assert text_features([]).shape == (0, len(TEXT_FEATURES))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (
            ENGLISH,
            {
                "characters": 97,
                "words": 14,
                "sentences": 4,
                "exclamation_marks": 2,
                "question_marks": 1,
                "digits": 1,
                "negations": 2,
                "links": 2,
                "emoji": 0,
                "non_ascii_permille": 0,
                "longest_word_characters": 19,
            },
        ),
        ("", dict.fromkeys(TEXT_FEATURES, 0)),
        ("hello", {"words": 1, "sentences": 1, "capitals_permille": 0}),
        ("OK", {"capitals_permille": 1000}),
        ("3.5 stars", {"sentences": 1, "words": 2}),
        ("你好。我不喜欢！", {"words": 6, "sentences": 2, "negations": 1}),
        ("哇！", {"words": 1, "exclamation_marks": 1, "non_ascii_permille": 1000}),
        ("Привет, МИР! не надо", {"words": 4, "sentences": 2, "negations": 1, "capitals_permille": 267}),
        ("👍🏽👍 nice", {"emoji": 2, "words": 1, "sentences": 1}),
        ("\x00\x1b\u202e", {"characters": 3, "words": 0, "sentences": 0}),
        ("a\ud800b", {"characters": 3, "words": 1}),
    ],
)
def test_the_counts_of_a_text(text: str, counts: dict[str, int]) -> None:
    found = text_features([text]).iloc[0].to_dict()
    assert {name: found[name] for name in counts} == counts


@pytest.mark.parametrize("piece", ["!", "a", ". ", '.""', "不", "n't ", "\x00\x07", " ", "'", "http://", "\n", "😀"])
def test_a_text_of_a_megabyte_is_counted_to_its_end(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    # Under half a second; where time grows with the square of the length, an hour.
    assert text_features([text])["characters"].tolist() == [len(text)]


def test_negations_are_counted_in_the_languages_models_are_used_in() -> None:
    assert [negations(text) for text in ("I can't, won't and didn't", "Das ist nicht gut, nie!", "好吃", "नहीं")] == [
        3,
        2,
        0,
        1,
    ]
