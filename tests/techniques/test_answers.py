from __future__ import annotations

import time

import pytest

from luthier.techniques.answers import LabelReader, answer_schema

STARS = LabelReader({str(i): str(i) for i in range(1, 6)})
WORDS = LabelReader({"terrible": "1", "very good": "5", "good": "4", "1": "1", "4": "4", "5": "5"})
LETTERS = LabelReader({"A": "x", "B": "y", "C": "c", "C#": "sharp"})


@pytest.mark.parametrize(
    "said",
    [
        "4",
        " 4\n",
        "4.",
        '"4"',
        "**4**",
        "__4__",
        "`4`",
        "(4)",
        "4.0",
        "4.00",
        "+4",
        "4 stars",
        "4-star",
        "4★",
        "Answer: 4",
        "Rating: **4**",
        "I'd give it 4. Great!",
        "4/5",
        "4 / 5.0",
        "4 out of 5 stars",
        "4 (four)",
        '{"label": "4"}',
        "<think>a 3? no, 5</think>\n4",
        "so 3 or 5 ...</think>4",
        "4 stars out of 5",
        "4 (out of 5)",
        "4 out of a possible 5",
        "4 of 5 stars",
        "4 von 5 Sternen",
        "4 étoiles sur 5",
        "On a scale from 1 to 5, I'd say 4.",
        "4 on a 5-star scale",
        "Rating (1-5): 4",
        "★★★★☆",
        "⭐⭐⭐⭐",
        "4 ★★★★☆",
        "4</s>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>",
        "4<end_of_turn>\n<start_of_turn>user\n5",
    ],
)
def test_reads_a_four(said: str) -> None:
    assert STARS.text(said).label == "4"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "  ",
        "4.5",
        ".5",
        "45",
        "04",
        "-4",
        "4th",
        "v4",
        "4/10",
        "8/10",
        "1,000",
        "1.2.3",
        "four",
        "6",
        "none",
        "3 or 4",
        "4,5",
        "1-5",
        "from 1 to 5",
        "4 stars out of 10",
        "8 out of 10",
        "On a scale from 0 to 10: 4",
        "4 on a 10-point scale",
        "not 4",
        "It is not a 4",
        "<think>4",
    ],
)
def test_reads_no_star(said: str) -> None:
    assert STARS.text(said).label is None


@pytest.mark.parametrize(
    ("said", "label"),
    [("GOOD", "4"), ("Very-Good", "5"), ("very_good!", "5"), ("It is very good.", "5"), ("good 4", "4"), ("4", "4")],
)
def test_reads_a_word_or_its_label(said: str, label: str) -> None:
    assert WORDS.text(said).label == label


@pytest.mark.parametrize("said", ["goodness", "feel-good", "not good", "isn't really good", "good or terrible"])
def test_reads_no_word(said: str) -> None:
    assert WORDS.text(said).label is None


@pytest.mark.parametrize(
    ("said", "label"),
    [("B", "y"), ("b", "y"), ("The answer is B", "y"), ("(A)", "x"), ("A: great", "x"), ("C#.", "sharp"), ("C", "c")],
)
def test_reads_a_letter(said: str, label: str) -> None:
    assert LETTERS.text(said).label == label


@pytest.mark.parametrize("said", ["A or B", "Either A or B.", "A/B", "Both A and C"])
def test_two_letters_are_no_answer(said: str) -> None:
    assert LETTERS.text(said).label is None


def test_an_article_is_no_letter() -> None:
    assert LETTERS.text("A great place").label is None


def test_the_longest_label_is_read_first() -> None:
    assert LabelReader({"spam": "spam", "not spam": "ham"}).text("This is not spam at all").label == "ham"


def test_labels_that_differ_by_case_are_read_by_case() -> None:
    assert LabelReader({"us": "us", "US": "US"}).text("US").label == "US"


def test_an_unclear_case_is_no_label() -> None:
    assert LabelReader({"us": "us", "US": "US"}).text("Us").label is None


def test_signed_labels_are_kept_apart() -> None:
    signed = LabelReader({"-1": "-1", "0": "0", "1": "1"})
    assert [signed.text(said).label for said in ("-1", "+1", "score: -1")] == ["-1", "1", "-1"]


def test_two_labels_are_named_in_the_reason() -> None:
    assert STARS.text("3 or 4").why == "the answer names several labels (3, 4): '3 or 4'"


def test_a_long_answer_is_shortened_in_the_reason() -> None:
    assert len(STARS.text("blah " * 100).why or "") < 140


@pytest.mark.slow
def test_an_endless_answer_is_read_in_no_time() -> None:
    begin = time.perf_counter()
    units = ("<think>not good 45 ", "not good ", "4 out ", "<|", "[think ", "<s>", "★", "(1-", "{", '{"a": {', "[[{")
    for unit in units:
        endless = unit * (200_000 // len(unit))
        for reader in (STARS, WORDS):
            reader.text(endless)
            reader.json(endless)
    assert time.perf_counter() - begin < 30, "time grows with the square of the length"


def test_an_answer_that_is_all_thought_says_so() -> None:
    assert STARS.text("<think>maybe 4").why == "the model only thought aloud"


@pytest.mark.parametrize(
    "said",
    [
        '{"label": "good"}',
        '{"label": "Good"}',
        '```json\n{"label": "good"}\n```',
        'Sure, here it is:\n```json\n{"label": "good"}\n```\nIt is not terrible.',
        'Not terrible: {"label": "good"}',
        '{"label": "good"}<|im_end|>',
        '{"label": "good"}</s>',
        '{"Label": "good"}',
        '{"LABEL": "GOOD"}',
        '{"label ": "good"}',
        '[{"label": "good"}]',
        '{"label": ["good"]}',
        '{"answer": {"label": "good"}}',
        '{"label": "good"}\n{"label": "Good"}',
        '{"reason": "not {terrible}", "label": "good"}',
        '<think>{"label": "terrible"}</think>{"label": "good"}',
        'so {"label": "terrible"}?</think>{"label": "good"}',
    ],
)
def test_reads_json(said: str) -> None:
    assert WORDS.json(said).label == "4"


@pytest.mark.parametrize(
    "said",
    [
        "good",
        '{"label": "fine"}',
        '{"label": true}',
        '{"label": null}',
        '{"label": {}}',
        '{"word": "good"}',
        "[]",
        '{"label',
        'good {"word": "x"}',
        '{"label": "good"} or {"label": "terrible"}',
        '{"label": "good", "label": "terrible"}',
        '[{"label": "good"}, {"label": "terrible"}]',
        '{"label": "not good"}',
        '<think>{"label": "good"}',
        '{"a": {"b": {"label": "good"}}}',
    ],
)
def test_reads_no_label_in_wrong_json(said: str) -> None:
    assert WORDS.json(said).label is None


@pytest.mark.parametrize("said", ['{"label": true}', '{"label": "TRUE"}', '{"label": "true"}', '{"Label": true}'])
@pytest.mark.parametrize("spelled", ["true", "True", "TRUE"])
def test_a_boolean_in_json_is_its_label(said: str, spelled: str) -> None:
    assert LabelReader({spelled: spelled, "false": "false"}).json(said).label == spelled


@pytest.mark.parametrize("given", ["4", "4.0", '"4.0"'])
def test_a_number_in_json_is_its_label(given: str) -> None:
    assert STARS.json(f'{{"label": {given}}}').label == "4"


def test_a_cut_answer_may_become_another_label() -> None:
    assert LabelReader({"1": "1", "10": "10"}).unfinished("1")


def test_a_cut_answer_may_be_whole() -> None:
    assert not LabelReader({"1": "1", "10": "10"}).unfinished("10")


def test_the_schema_holds_the_words() -> None:
    assert answer_schema(["a", "b"])["properties"]["label"]["enum"] == ["a", "b"]
