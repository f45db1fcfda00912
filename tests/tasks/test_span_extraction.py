"""Extraction of spans: how truths and answers are read, held against the text, and judged."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import DataError, SpecError
from luthier.evaluation.metrics import evaluate
from luthier.reporting.board_sentences import sentences as sentences_of
from luthier.scoring.batch_report import BatchReport
from luthier.tasks.prediction import Prediction
from luthier.tasks.types import AnswerRead
from tests.scripted_server import chat_reply, serving

TEXT = "Ann met Bob in Basel, Ann said."
TASK = lt.Task("names", type="extraction", labels=["PER", "ORG", "LOC"])


def span(start: int, end: int, label: str, text: str = TEXT) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, "text": text[start:end]}


def truth(cell: object, text: str = TEXT, task: lt.Task = TASK) -> Any:
    return task.rows(pd.DataFrame({"text": [text], "label": [cell]}), labelled=True).labels[0]


def answer(said: str, text: str = TEXT, task: lt.Task = TASK) -> AnswerRead:
    read = task.kind.read_json(said)
    return read if read.value is None else task.kind.in_row(read.value, {"text": text}, "text")


def stated(*spans: tuple[str, str]) -> str:
    return json.dumps({"spans": [{"text": text, "label": label} for text, label in spans]})


def test_kinds_of_spans_are_no_closed_set_of_labels() -> None:
    assert TASK.labels == ()
    assert TASK.document()["labels"] == ["PER", "ORG", "LOC"]
    assert lt.Task(**TASK.document()) == TASK
    assert list(TASK.kind.columns) == ["spans", "unplaced", "state", "error"]


@pytest.mark.parametrize(
    "cell",
    [
        [span(0, 3, "PER"), span(15, 20, "LOC")],
        [{"start": 15, "end": 20, "label": "LOC"}, {"start": 0.0, "end": 3, "label": "per"}],
        {"spans": [{"start": 0, "end": 3, "label": "PER"}, {"start": 14, "end": 20, "label": "LOC"}]},
        [{"text": "Basel", "label": "LOC"}, {"text": "Ann", "label": "PER"}],
        [[0, 3, "PER"], [15, 20, "LOC"]],
        '[{"start": 0, "end": 3, "label": "PER"}, {"start": 15, "end": 20, "label": "LOC"}]',
        "[{'start': 0, 'end': 3, 'label': 'PER'}, {'start': 15, 'end': 20, 'label': 'LOC', 'text': None}]",
    ],
)
def test_a_truth_is_read_in_every_form_it_is_written_in(cell: object) -> None:
    assert truth(cell) == [span(0, 3, "PER"), span(15, 20, "LOC")]


@pytest.mark.parametrize(
    "cell",
    [
        "B-PER O B-PER O B-LOC O",
        ["B-PER", "O", "B-PER", "O", "B-LOC", "O"],
        '["I-PER", "O", "I-PER", "O", "I-LOC", "O"]',
        "S-PER O S-PER O S-LOC O",
        "U-per O U-per O U-loc O",
    ],
)
def test_tags_of_tokens_are_spans_of_the_text(cell: object) -> None:
    text = "Ann met  Bob in\nBasel ."
    assert truth(cell, text) == [span(0, 3, "PER", text), span(9, 12, "PER", text), span(16, 21, "LOC", text)]


def test_tags_of_several_tokens_make_one_span() -> None:
    text = "the New York Times of New York"
    assert truth("O B-ORG I-ORG E-ORG O I-LOC I-LOC", text) == [span(4, 18, "ORG", text), span(22, 30, "LOC", text)]
    one = lt.Task("one", type="extraction", labels=["TERM"])
    assert truth("O B I L O O O", text, one) == [span(4, 18, "TERM", text)]


def test_tokens_may_hold_white_space_that_is_no_space() -> None:
    text = "10\u00a0000 francs"
    assert truth("B-PER O", text)[0]["text"] == "10\u00a0000"


def test_a_text_may_have_no_span() -> None:
    assert truth([]) == truth("[]") == truth({"spans": []}) == truth("O O O O O O O") == []


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("B-PER O", "row 1: 'B-PER O', 2 tags for 7 tokens"),
        ([span(0, 3, "PER") | {"text": "Bob"}], "the text has 'Ann' from 0 to 3, not 'Bob'"),
        ([{"start": 0, "end": 300, "label": "PER"}], "0 to 300 does not lie in the text of 31 characters"),
        ([{"start": -3, "end": 3, "label": "PER"}], "-3 to 3 does not lie"),
        ([{"start": 3, "end": 4, "label": "PER"}], "only white space from 3 to 4"),
        ([{"start": 0.5, "end": 3, "label": "PER"}], "the start of a span is 0.5"),
        ([{"text": "Eve", "label": "PER"}], "'Eve' does not stand in the text"),
        ([{"start": 0, "end": 3, "label": "CITY"}], "'CITY' is no kind of span. Kinds of spans are: PER, ORG, LOC"),
        ([{"start": 0, "end": 3}], "a span has no label"),
        ([{"label": "PER"}], "no text and no offsets"),
        ([span(0, 3, "PER"), {"text": "Bob", "label": "PER"}], "some spans have offsets and some have none"),
        ([span(0, 7, "PER"), span(4, 7, "ORG")], "'Ann met' .PER. and 'met' .ORG. overlap, .*`overlapping: true`"),
        ([{"text": "Bob", "label": "PER"}, {"text": "Bob", "label": "ORG"}], "'Bob' .ORG. .* `overlapping: true`"),
        ([{"text": " ", "label": "PER"}], "empty text"),
        ("B-CITY O O O O O O", "'CITY' is no kind of span"),
        ("a word", "'a' is no tag"),
        ("[", "it is no JSON"),
        (7, "the spans are 7"),
        (None, "it is empty"),
        ({"names": []}, "the JSON has no spans"),
        ('{"spans": [], "spans": [[0, 3, "PER"]]}', "a key twice"),
    ],
)
def test_a_truth_that_does_not_fit_its_text_is_refused_with_its_row(cell: object, why: str) -> None:
    with pytest.raises(DataError, match=why):
        truth(cell)


def test_spans_may_overlap_where_the_task_says_so() -> None:
    text = "University of Basel"
    nested = [span(0, 19, "ORG", text), span(14, 19, "LOC", text)]
    task = lt.Task("nested", type="extraction", labels=["ORG", "LOC"], overlapping=True)
    assert truth(nested, text, task) == nested
    assert answer(stated(("University of Basel", "ORG"), ("Basel", "LOC")), text, task).value == nested
    apart = answer(stated(("Basel", "LOC"), ("University of Basel", "ORG")), text)
    assert apart.value == [nested[0], {"label": "LOC", "text": "Basel"}]


@pytest.mark.parametrize(
    "said",
    [
        '{"spans": [{"text": "Ann", "label": "PER"}, {"text": "Basel", "label": "LOC"}]}',
        'Here they are:\n```json\n[{"text": "Ann", "label": "per"}, {"text": "Basel", "label": "LOC"}]\n```',
        "{'spans': [{'text': 'Ann', 'label': 'PER'}, {'text': 'Basel', 'label': 'LOC'},]}",
        '<think>{"spans": []}</think>{"spans": [{"text": " ann", "label": "PER"}, {"text": "BASEL", "label": "LOC"}]}',
        '{"spans": [{"text": "Ann", "label": "PER", "start": 77}, {"text": "Basel", "label": "LOC", "end": "?"}]}',
    ],
)
def test_an_answer_is_read_through_what_stands_around_it(said: str) -> None:
    assert answer(said).value == [span(0, 3, "PER"), span(15, 20, "LOC")]
    assert TASK.kind.read(said) == TASK.kind.read_json(said)


def test_equal_texts_are_given_to_successive_occurrences() -> None:
    twice = answer(stated(("Ann", "PER"), ("Ann", "ORG")))
    assert twice.value == [span(0, 3, "PER"), span(22, 25, "ORG")]
    assert answer(stated(("Ann", "PER"), ("Ann", "PER"), ("Ann", "PER"))).value == [
        span(0, 3, "PER"),
        span(22, 25, "PER"),
    ]
    assert answer(stated(("Bob", "PER"), ("Bob", "ORG"))).value == [span(8, 11, "PER"), {"label": "ORG", "text": "Bob"}]


def test_a_span_is_a_whole_word_where_there_is_one() -> None:
    text = "Annual report by Ann of the US, because of us."
    assert answer(stated(("Ann", "PER"), ("US", "LOC")), text).value == [
        span(17, 20, "PER", text),
        span(28, 30, "LOC", text),
    ]
    assert answer(stated(("port", "PER")), text).value == [span(9, 13, "PER", text)]
    assert answer(stated(("ECAUS", "PER")), text).value == [{"label": "PER", "text": "ECAUS"}]


def test_a_part_of_a_longer_span_is_looked_for_elsewhere() -> None:
    text = "University of Basel, Basel"
    found = answer(stated(("Basel", "LOC"), ("University of Basel", "ORG")), text).value
    assert found == [span(0, 19, "ORG", text), span(21, 26, "LOC", text)]


def test_quotes_dashes_white_space_and_case_may_differ() -> None:
    text = "He saw\n\u201cThe\u00a0 Sphinx\u201d of Stra\u00dfe \u2013 8"
    found = answer(stated(('"the sphinx"', "PER"), ("STRASSE - 8", "LOC")), text).value
    assert [one["text"] for one in found] == ["\u201cThe\u00a0 Sphinx\u201d", "Stra\u00dfe \u2013 8"]
    assert all(one["text"] == text[one["start"] : one["end"]] for one in found)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (stated(("Ann", "CITY")), "'CITY' is no kind of span"),
        ('{"spans": "none"}', "not a list"),
        ('{"spans": [5]}', "not an object"),
        ('{"spans": ["B-PER"]}', "not an object"),
        ('{"spans": [{"text": 5, "label": "PER"}]}', "the text of a span is 5"),
        ('{"spans": [{"start": 0, "end": 3, "label": "PER"}]}', "a span has no text"),
        ('{"names": []}', "no spans"),
        ('{"spans": [], "spans": [{"text": "Ann", "label": "PER"}]}', "a key twice"),
        ('{"spans": []} or {"spans": [{"text": "Ann", "label": "PER"}]}', "several spans"),
        ('{"spans": [{"text": "Ann", "label": NaN}]}', "NaN"),
        ('{"spans": [{"text": "Ann", "label": "PE', "no spans|not the JSON"),
        ("Ann", "not the JSON"),
        ("", "not the JSON"),
        ('{"spans": ' + "[" * 1000 + "]" * 1000 + "}", "not the JSON|nested too deep"),
        ('{"spans":[' * 100_000, "not the JSON"),
        ("[" * 1_000_000, "not the JSON"),
        ("x" * 10_000_000, "10,000,000 characters"),
        (stated(*[("Ann", "PER")] * 20_000), "20,000 spans"),
        (stated(*[("Ann", "PER")] * 100_000), "characters, and at most"),
    ],
)  # fmt: skip
def test_an_answer_that_states_no_spans_says_why(said: str, why: str) -> None:
    read = answer(said)
    assert read.value is None
    assert re.search(why, str(read.why))
    assert len(str(read.why)) < 400


def test_a_span_that_is_not_in_the_text_costs_itself_and_not_its_row() -> None:
    found = answer(stated(("Eve", "PER"), ("Bob", "PER"), ("Eve", "PER"), (" ", "LOC"), ("\ud83d", "ORG"))).value
    invented = [{"label": "PER", "text": "Eve"}, {"label": "LOC", "text": ""}, {"label": "ORG", "text": "?"}]
    assert found == [span(8, 11, "PER"), *invented]
    columns = TASK.kind.record(Prediction(found, "ok"))
    assert json.loads(columns["spans"]) == [span(8, 11, "PER")]
    assert json.loads(columns["unplaced"]) == invented
    assert columns["error"] is None
    assert TASK.kind.recorded(columns) == found
    assert TASK.kind.record(Prediction([], "ok"))["unplaced"] is None
    assert TASK.kind.recorded(TASK.kind.record(Prediction(None, "off_label"))) is None


def test_an_invented_span_counts_as_a_wrong_answer() -> None:
    invented = {"label": "PER", "text": "Eve"}
    ann = span(0, 3, "PER")
    found = judged(([ann], [ann, invented]), ([], [invented]), ([ann], [ann]), ([], []))
    # 2 spans of 4 answered are right, and 2 of 2 true ones are found.
    assert (found["precision"], found["recall"], found["exact_match"]) == (0.5, 1, 0.5)
    assert found["f1"] == found["macro_f1"] == found["partial_f1"] == pytest.approx(2 / 3)
    assert found["unplaced_rate"] == 0.5
    silent = judged(([ann], [ann]), ([], []), ([ann], [ann]), ([], []))
    assert (silent["f1"], silent["unplaced_rate"]) == (1, 0)


def test_spans_that_stand_everywhere_are_looked_for_a_bounded_number_of_times() -> None:
    said = stated(*[("a" * length, "PER") for length in range(1, 1300)])
    assert "too many places" in str(answer(said, "a" * 200_000).why)
    assert len(answer(stated(*[("a", "PER")] * 9_000), "a " * 50_000).value) == 9_000


def test_a_cut_answer_counts_where_its_json_is_whole() -> None:
    assert TASK.kind.read_json(stated(("Ann", "PER")), cut=True).value
    assert "was cut" in str(TASK.kind.read_json(stated(("Ann", "PER"))[:-3], cut=True).why)


def test_a_value_is_read_back_as_it_was_written() -> None:
    half_a_pair = TASK.kind.in_row([{"start": 2, "end": 3, "label": "PER"}], {"text": "a \ud83d b"}, "text")
    values: list[Any] = [[], truth("B-PER O B-PER O B-LOC O O"), half_a_pair.value]
    for value in values:
        written = TASK.kind.written(value)
        assert TASK.kind.read_truth(written) == value
        assert written.encode()


def test_an_example_is_answered_as_the_schema_says() -> None:
    value = truth("B-PER O B-PER O B-LOC O O")
    said = TASK.kind.as_answer(value, as_json=False)
    assert json.loads(said)["spans"][0] == {"text": "Ann", "label": "PER"}
    assert answer(said).value == value
    schema = TASK.kind.answer_schema(())
    [item] = [schema["properties"]["spans"]["items"]]
    assert item["properties"]["label"]["enum"] == ["PER", "ORG", "LOC"]
    assert item["required"] == ["text", "label"]
    assert item["additionalProperties"] is schema["additionalProperties"] is False
    assert "PER, ORG, LOC" in TASK.kind.question()


@pytest.mark.parametrize(
    ("labels", "why"),
    [([], "kinds of spans, as in labels"), (["A", "A"], "repeats A"), (["A", ""], "empty"), ([*range(101)], "101")],
)  # fmt: skip
def test_kinds_of_spans_that_cannot_be_told_apart_are_refused(labels: list[Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        lt.Task("names", type="extraction", labels=labels)


def test_a_table_tells_the_kinds_of_its_spans() -> None:
    kind = type(TASK.kind)
    tags = kind.guess({"text": ["a b", "c"], "tags": ["I-PER B-LOC", ["O"]]}, "text", "tags")
    assert (tags.settings, tags.counts) == ({"labels": ["LOC", "PER"]}, {"LOC": 1, "PER": 1})
    cells = [[span(0, 3, "ORG")], "[]", '[{"text": "x", "label": "PER"}]', None]
    assert kind.guess({"spans": cells}, "text", "spans").settings == {"labels": ["ORG", "PER"]}
    nested = [[0, 19, "ORG"], {"start": 14, "end": 19, "label": "LOC"}]
    overlapping = kind.guess({"spans": [[[0, 3, "ORG"], [3, 5, "LOC"]], nested]}, "text", "spans")
    assert overlapping.settings == {"labels": ["LOC", "ORG"], "overlapping": True}
    assert "first in row 2" in overlapping.reasons[1]
    for cell, why in (("positive", "row 1: 'positive' is no BIO tag"), ([[]], "no label"), (None, "no span at all")):
        with pytest.raises(ValueError, match=why):
            kind.guess({"spans": [cell]}, "text", "spans")


def tags_of(draw: random.Random, marks: str, count: int) -> list[str]:
    kinds = ["PER", "ORG", "LOC"]
    return ["O" if draw.random() < 0.4 else f"{draw.choice(marks)}-{draw.choice(kinds)}" for _ in range(count)]


# Precision, recall and F1 over all; macro F1; the same, and the support, of each kind: what seqeval 1.2.2 gives for
# these tags, from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as figures:
# figures(true, said, average="micro"), figures(true, said, average="macro"), figures(true, said, average=None).
SEQEVAL = {
    "BI": (
        [0.6581196581196581, 0.6784140969162996, 0.6681127982646421], 0.6675123075383889,
        {"LOC": [0.7012987012987013, 0.7397260273972602, 0.7200000000000001, 146],
         "ORG": [0.7044025157232704, 0.691358024691358, 0.6978193146417445, 162],
         "PER": [0.567741935483871, 0.6027397260273972, 0.584717607973422, 146]},
    ),
    "IE": (
        [0.6869565217391305, 0.683982683982684, 0.6854663774403471], 0.6846951433937135,
        {"LOC": [0.7171052631578947, 0.7465753424657534, 0.7315436241610738, 146],
         "ORG": [0.7341772151898734, 0.6946107784431138, 0.7138461538461539, 167],
         "PER": [0.6066666666666667, 0.610738255033557, 0.608695652173913, 149]},
    ),
    "BIES": (
        [0.7130977130977131, 0.7086776859504132, 0.7108808290155441], 0.7105219796732479,
        {"LOC": [0.7295597484276729, 0.7733333333333333, 0.750809061488673, 150],
         "ORG": [0.7575757575757576, 0.7102272727272727, 0.7331378299120235, 176],
         "PER": [0.6496815286624203, 0.6455696202531646, 0.6476190476190476, 158]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("marks", list(SEQEVAL))
def test_figures_of_tagged_data_are_those_of_seqeval(marks: str) -> None:
    draw = random.Random(5)
    true = [tags_of(draw, marks, draw.randint(1, 25)) for _ in range(60)]
    said = [[tag if draw.random() < 0.7 else tags_of(draw, marks, 1)[0] for tag in one] for one in true]
    texts = [" ".join(f"w{place}" for place in range(len(one))) for one in true]
    truths = TASK.rows(pd.DataFrame({"text": texts, "label": true}), labelled=True).labels
    answers = TASK.rows(pd.DataFrame({"text": texts, "label": said}), labelled=True).labels
    predictions = [Prediction(value, "ok") for value in answers]
    found = evaluate(TASK, truths, predictions, resamples=0)
    micro, macro, each = SEQEVAL[marks]
    assert [found[name].value for name in ("precision", "recall", "f1")] == pytest.approx(micro, abs=1e-12)
    assert found["macro_f1"].value == pytest.approx(macro, abs=1e-12)
    for part in TASK.kind.plots(truths, predictions).parts:
        figures = [part.figures["precision"], part.figures["recall"], part.figures["F1"], part.support]
        assert figures == pytest.approx(each[part.name], abs=1e-12)


def judged(*rows: tuple[Any, Any]) -> dict[str, float]:
    predictions = [Prediction(value, "off_label" if value is None else "ok") for _, value in rows]
    return {
        name: one.value for name, one in evaluate(TASK, [true for true, _ in rows], predictions, resamples=50).items()
    }


def test_a_span_that_overlaps_one_of_its_kind_counts_half() -> None:
    true = [span(0, 7, "PER"), span(15, 20, "LOC")]
    found = judged((true, [span(0, 3, "PER"), span(15, 20, "ORG")]))
    assert (found["f1"], found["partial_f1"], found["exact_match"]) == (0, 0.25, 0)
    two_in_one = judged(([span(0, 7, "PER")], [span(0, 3, "PER"), span(4, 7, "PER")]))
    assert two_in_one["partial_f1"] == pytest.approx(2 * 0.5 / 3)
    beside = judged(([span(0, 3, "PER"), span(4, 7, "PER")], [span(0, 3, "PER"), span(3, 7, "PER")]))
    assert beside["partial_f1"] == pytest.approx(1.5 / 2)


def test_a_row_without_a_value_counts_as_nothing_found() -> None:
    found = judged(([span(0, 3, "PER")], None), ([span(0, 3, "PER")], [span(0, 3, "PER")]), ([], None), ([], []))
    assert (found["precision"], found["recall"], found["exact_match"]) == (1, 0.5, 0.5)
    kind = TASK.kind
    assert kind.score(None, Prediction([], "ok"), []) == 1
    assert kind.score(None, Prediction(None, "failed"), []) == 0
    assert kind.score(None, Prediction([span(0, 3, "PER")], "ok"), []) == 0


def test_a_split_keeps_the_shares_of_rare_kinds() -> None:
    rows = [f"{'Bob' if i % 5 == 0 else 'Ann'} is here {i}" for i in range(100)]
    kinds = [[{"text": "Bob", "label": "ORG"}] if i % 5 == 0 else [{"text": "Ann", "label": "PER"}] for i in range(100)]
    parts = TASK.split(pd.DataFrame({"text": rows, "label": kinds}))
    assert [sum("Bob" in text for text in part["text"]) for part in parts] == [12, 4, 4]


NAMES = {"Ann": "PER", "Bob": "PER", "Basel": "LOC", "Acme": "ORG"}


def finding(asked: bytes) -> str:
    """A model that finds every name, none where told to be blind; it invents one where told to."""
    body = json.loads(asked)
    said = body["messages"][-1]["content"]
    names = [] if "blind" in said else re.findall("|".join(NAMES), said)
    spans = [{"text": name, "label": NAMES[name]} for name in names] + [{"text": "Eve", "label": "PER"}] * (
        "invent" in said
    )
    return chat_reply(json.dumps({"spans": spans}))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(200, finding) as address:
        yield Endpoint(provider="compatible", base_url=address, model="m")


def sentences(count: int) -> pd.DataFrame:
    draw = random.Random(3)
    names = [draw.choices(list(NAMES), k=draw.randint(0, 3)) for _ in range(count)]
    texts = [f"In letter {row} stood {', '.join(own)}." for row, own in enumerate(names)]
    spans = [[{"text": name, "label": NAMES[name]} for name in own] for own in names]
    return pd.DataFrame({"text": texts, "label": spans})


@pytest.mark.usefixtures("store")
def test_specs_are_compared_packaged_and_score_as_they_were_measured(endpoint: Endpoint) -> None:
    table = sentences(40)
    asked = {"finds": "{{ text }}", "blind": "blind {{ text }}", "invents": "invent {{ text }}"}
    specs = [
        lt.Prompt(TASK, text, answer="json", examples=2 if name == "finds" else 0, endpoint=endpoint, name=name)
        for name, text in asked.items()
    ]
    board = lt.compare(specs, table[:30], train=table[30:])
    entries = board.leaderboard.entries
    assert board.leaderboard.ranked_by == "f1"
    assert entries[0].name == "finds"
    assert entries[0].metrics["f1"].value == entries[0].metrics["exact_match"].value == 1
    invents = board.leaderboard.entry("invents")
    assert (invents.metrics["off_label_rate"].value, invents.metrics["unplaced_rate"].value) == (0, 1)
    assert invents.metrics["recall"].value == 1
    # Every row has one wrong answer beside all that are right.
    names = sum(map(len, table["label"][:30]))
    assert invents.metrics["precision"].value == pytest.approx(names / (names + 30))
    assert board.leaderboard.majority.candidate.notes == ("An empty list, for every row.",)
    answers = board.answers("finds")
    assert answers["spans"].tolist() == answers["truth"].tolist()
    assert json.loads(board.answers("invents")["unplaced"][0]) == [{"label": "PER", "text": "Eve"}]
    assert "no place in the text" in " ".join(sentences_of(board.leaderboard))
    model = lt.log(specs[0], train=table[30:])
    assert model.score(table[:30])["spans"].tolist() == answers["spans"].tolist()


def test_a_score_says_how_many_rows_had_a_span_left_out() -> None:
    report = BatchReport(spec=lt.Baseline(TASK))
    invented = [{"label": "PER", "text": "Eve"}]
    report.add([Prediction(value, "ok") for value in (invented, [], [span(0, 3, "PER")], [])])
    assert "in 1 of 4 rows (25.0%)" in str(report)
    assert report.metrics()["rows_partial"] == report.to_document()["partial"] == 1
