from __future__ import annotations

import pytest

from luthier.tasks.labels.answers import LETTER, LabelReader

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
        "4 out of the 5 stars",
        "4 stars of a total of 5",
        "4\u2b50\ufe0f out of 5",
        "4／5",
        "4 van de 5",
        "4 из 5",
        "4星",
        "4分（满分5分）",
        "5点満点中4点",
        "5점 만점에 4점",
        "评分为4分",
        "not 5 but 4",
        "5? no, 4",
        "It's not a 3, it's a 4.",
        "Rather than 3, I would say 4",
        "4, not 5",
        "4 (not 5)",
        "4 instead of 5",
        "I would not hesitate to give this 4 stars",
        "Can't go wrong with 4",
        "Not bad at all: 4",
        "The reviewer is not happy → 4",
        "The customer was not satisfied and gave 4 stars",
    ],
)
def test_reads_a_four(said: str) -> None:
    assert STARS.read(said).value == "4"


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
        "not 4, 5",
        "I cannot decide between 4, 5",
        "neither 3 nor 4",
        "at least 4",
        "more than 4",
        "4 or more",
        "4+",
        "4%",
        "4½",
        "4 and a half",
        "第4",
        "<think>4",
    ],
)
def test_reads_no_star(said: str) -> None:
    assert STARS.read(said).value is None


@pytest.mark.parametrize(
    ("said", "label"),
    [("GOOD", "4"), ("Very-Good", "5"), ("very_good!", "5"), ("It is very good.", "5"), ("good 4", "4"), ("4", "4")],
)
def test_reads_a_word_or_its_label(said: str, label: str) -> None:
    assert WORDS.read(said).value == label


@pytest.mark.parametrize("said", ["goodness", "feel-good", "not good", "isn't really good", "good or terrible"])
def test_reads_no_word(said: str) -> None:
    assert WORDS.read(said).value is None


@pytest.mark.parametrize(
    ("said", "label"),
    [("B", "y"), ("b", "y"), ("The answer is B", "y"), ("(A)", "x"), ("A: great", "x"), ("C#.", "sharp"), ("C", "c")],
)
def test_reads_a_letter(said: str, label: str) -> None:
    assert LETTERS.read(said).value == label


@pytest.mark.parametrize(
    ("said", "label"), [("Not A, but B", "y"), ("B, not A", "y"), ("B. Because A is wrong", "y"), ("B because", "y")]
)
def test_a_letter_that_is_denied_is_not_the_answer(said: str, label: str) -> None:
    assert LETTERS.read(said).value == label


CHINESE = LabelReader({"正面": "+", "负面": "-"})


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("这是正面的", "+"),
        ("情感：正面。", "+"),
        ("非常正面", "+"),
        ("毫无疑问是正面", "+"),
        ("不是负面，是正面", "+"),
        ("不是负面而是正面", "+"),
        ("不是正面", None),
        ("并非正面", None),
        ("没有正面", None),
        ("很难说是正面", None),
        ("既正面又负面", None),
    ],
)
def test_labels_are_read_where_words_are_not_spaced(said: str, label: str | None) -> None:
    assert CHINESE.read(said).value == label


@pytest.mark.parametrize(
    ("names", "said", "label"),
    [
        (["긍정", "부정"], "긍정입니다", "긍정"),
        (["긍정", "부정"], "긍정이 아닙니다", None),
        (["ポジティブ", "ネガティブ"], "この文はポジティブです。", "ポジティブ"),
        (["ポジティブ", "ネガティブ"], "ポジティブとは言えません", None),
        (["是", "否"], "这是一个好评", None),
        (["toxic", "non-toxic"], "This is non\u2011toxic.", "non-toxic"),
        (["toxic", "non-toxic"], "non\u2013toxic", "non-toxic"),
        (["positive", "negative"], "posi\u00adtive", "positive"),
        (["إيجابي", "سلبي"], "\u200fإيجابي\u200f.", "إيجابي"),
        (["C++", "C"], "C++, not C", "C++"),
        (["spam", "not spam"], "It's not spam", "not spam"),
        (["good", "very good", "bad"], "It is not bad; it is very good", "very good"),
    ],
)
def test_labels_are_read_in_the_script_and_the_marks_they_come_in(
    names: list[str], said: str, label: str | None
) -> None:
    assert LabelReader({name: name for name in names}).read(said).value == label


def test_a_cut_number_of_so_many_is_whole() -> None:
    assert [STARS.read(said, cut=True).value for said in ("4/5", "4 out of 5", "4/1", "4 out")] == [
        "4",
        "4",
        None,
        None,
    ]


@pytest.mark.parametrize("said", ["A or B", "Either A or B.", "A/B", "Both A and C"])
def test_two_letters_are_no_answer(said: str) -> None:
    assert LETTERS.read(said).value is None


def test_an_article_is_no_letter() -> None:
    assert LETTERS.read("A great place").value is None


def test_the_longest_label_is_read_first() -> None:
    assert LabelReader({"spam": "spam", "not spam": "ham"}).read("This is not spam at all").value == "ham"


def test_labels_that_differ_by_case_are_read_by_case() -> None:
    assert LabelReader({"us": "us", "US": "US"}).read("US").value == "US"


def test_an_unclear_case_is_no_label() -> None:
    assert LabelReader({"us": "us", "US": "US"}).read("Us").value is None


def test_signed_labels_are_kept_apart() -> None:
    signed = LabelReader({"-1": "-1", "0": "0", "1": "1"})
    assert [signed.read(said).value for said in ("-1", "+1", "score: -1")] == ["-1", "1", "-1"]


def test_two_labels_are_named_in_the_reason() -> None:
    assert STARS.read("3 or 4").why == "the answer names several labels (3, 4): '3 or 4'"


def test_a_long_answer_is_shortened_in_the_reason() -> None:
    assert len(STARS.read("blah " * 100).why or "") < 140


@pytest.mark.slow
def test_an_endless_answer_is_read_to_its_end() -> None:
    # In seconds; where time grows with the square of the length, in hours.
    units = ("<think>not good 45 ", "not good ", "4 out ", "<|", "[think ", "<s>", "★", "(1-", "{", '{"a": {', "[[{")
    for unit in units:
        endless = unit * (100_000 // len(unit))
        for reader in (STARS, WORDS):
            reader.read(endless)
            reader.read_json(endless)


def test_an_answer_that_is_all_thought_says_so() -> None:
    assert STARS.read("<think>maybe 4").why == "the model only thought aloud"


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
        "{'label': 'good'}",
        '{"label": "good",}',
        '{label: "good"}',
        '{"label": good}',
        "{\u201clabel\u201d: \u201cgood\u201d}",
        '{"label": "good" // it is\n}',
        '{"label": "good", "note": "two\nlines"}',
        '"{\\"label\\": \\"good\\"}"',
        '{\\"label\\": \\"good\\"}',
        '{"label": {"value": "good"}}',
        '{"label": ["good", "Good"]}',
        '\ufeff{"label": "good"}',
        '{"label": "It is good."}',
        "{'reason': \"it's not terrible\", 'label': 'good'}",
    ],
)
def test_reads_json(said: str) -> None:
    assert WORDS.read_json(said).value == "4"


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
        '{"label": "good | terrible"}',
        '{"label": ["good", "terrible"]}',
        "{'label': 'good'} or {'label': 'terrible'}",
        '{"label": {"good": 0.9}}',
        "'label': 'good'",
        '<think>{"label": "good"}',
        '{"a": {"b": {"label": "good"}}}',
    ],
)
def test_reads_no_label_in_wrong_json(said: str) -> None:
    assert WORDS.read_json(said).value is None


@pytest.mark.parametrize(
    "said", ['{"label": true}', '{"label": True}', '{"label": "TRUE"}', '{"label": "true"}', '{"Label": true}']
)
@pytest.mark.parametrize("spelled", ["true", "True", "TRUE"])
def test_a_boolean_in_json_is_its_label(said: str, spelled: str) -> None:
    assert LabelReader({spelled: spelled, "false": "false"}).read_json(said).value == spelled


@pytest.mark.parametrize("given", ["4", "4.0", '"4.0"', '"4/5"', '"4 stars"', "[4]", "4e0"])
def test_a_number_in_json_is_its_label(given: str) -> None:
    assert STARS.read_json(f'{{"label": {given}}}').value == "4"


def test_a_cut_answer_may_become_another_label() -> None:
    assert LabelReader({"1": "1", "10": "10"}).unfinished("1")


def test_a_cut_answer_may_be_whole() -> None:
    assert not LabelReader({"1": "1", "10": "10"}).unfinished("10")


@pytest.mark.parametrize("piece", ["good ", "4 ", "4", " ", "\n", "not good, "])
@pytest.mark.parametrize("around", ["{} good", '{{"label": "{}"}}'])
def test_a_model_that_repeats_itself_without_end_is_read_to_its_end(piece: str, around: str) -> None:
    reader = LabelReader({name: name for name in ("good", "bad", "not good", "1", "4", "5")})
    said = around.format(piece * (100_000 // len(piece)))
    reader.read(said)
    reader.read_json(said)


def test_what_stands_around_labels_is_compiled_once_for_all_of_them() -> None:
    reader = LabelReader({f"topic {number}": f"topic {number}" for number in range(200)})
    assert reader._phrases is not None
    assert reader._phrases.pattern.count(LETTER) == 4
    assert reader.read("Rather topic 20 than anything else").value == "topic 20"
