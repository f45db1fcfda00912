"""Free text as a task type: what is read of cells and answers, and metrics equal to those of the kept libraries."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import DataError, MissingPart, SpecError
from luthier.evaluation.metrics import evaluate
from luthier.tasks.free_text.generation import FreeText
from luthier.tasks.prediction import Prediction

sacrebleu = pytest.importorskip("sacrebleu")

TASK = lt.Task("subject", type="generation", text="message", label="subject")
LINE = lt.Task("subject", type="generation", text="message", label="subject", one_line=True)


def ok(text: str | None) -> Prediction:
    return Prediction(None, "off_label") if text is None else Prediction(text, "ok")


def drawn(rows: int, seed: int) -> tuple[list[Any], list[Prediction]]:
    """Truths with one to three references, and answers that share words with them, equal one, or are missing."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdeé", k=draw.randint(1, 8))) for _ in range(40)]
    texts = [
        [" ".join(draw.choices(words, k=draw.randint(1, 20))) for _ in range(draw.randint(1, 3))] for _ in range(rows)
    ]
    answers: list[str | None] = []
    for references in texts:
        kept = [word for word in references[0].split() if draw.random() < 0.7]
        answers.append(draw.choice([None, references[-1], " ".join([*kept, *draw.choices(words, k=3)])]))
    return [one[0] if len(one) == 1 else one for one in texts], [ok(answer) for answer in answers]


def corpus_chrf(truths: Sequence[Any], predictions: Sequence[Prediction], beta: int = 2) -> float:
    texts = [[truth] if isinstance(truth, str) else truth for truth in truths]
    streams = [[one[place] if place < len(one) else None for one in texts] for place in range(max(map(len, texts)))]
    score: float = sacrebleu.corpus_chrf([p.value or "" for p in predictions], streams, beta=beta).score
    return score


@pytest.mark.parametrize("seed", range(5))
def test_chrf_is_what_sacrebleu_computes_for_the_table(seed: int) -> None:
    truths, predictions = drawn(60, seed)
    metrics = evaluate(TASK, truths, predictions, resamples=200)
    for name, beta in (("chrf1", 1), ("chrf", 2)):
        assert metrics[name].value == pytest.approx(corpus_chrf(truths, predictions, beta), abs=1e-12)
    found = metrics["chrf1"]
    assert found.low is not None and found.high is not None and 0 < found.low < found.value < found.high < 100


def test_chrf_of_resampled_rows_is_what_sacrebleu_computes_for_them() -> None:
    truths, predictions = drawn(30, 9)
    judged = TASK.kind.judge(truths, predictions)
    places = np.random.default_rng(1).integers(0, 30, 30)
    times = np.bincount(places, minlength=30).astype(float)
    sums = {name: np.array([column @ times]) for name, column in judged.sums.items()} | {"rows": np.array([30.0])}
    again = corpus_chrf([truths[i] for i in places], [predictions[i] for i in places])
    assert TASK.kind.from_sums(sums)["chrf"][0] == pytest.approx(again, abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "answer", "rouge"),
    [
        ("The parcel was lost in transit", "Parcel lost on the way", (0.545455, 0.0, 0.363636)),
        ("Refund for a cancelled order", "refund, for a cancelled order!", (1.0, 1.0, 1.0)),
        ("No heating in room 12", "Room 12: no heating", (0.888889, 0.571429, 0.444444)),
        ("a b a b c", "b a b a", (0.888889, 0.571429, 0.666667)),
        ("Invoice 2024-11 is wrong", "Wrong invoice", (0.571429, 0.0, 0.285714)),
        ("Yes", "No", (0.0, 0.0, 0.0)),
    ],
)
def test_rouge_is_what_the_package_rouge_score_0_1_2_computes(
    truth: str, answer: str, rouge: tuple[float, float, float]
) -> None:
    found = evaluate(TASK, [truth], [ok(answer)], resamples=0)
    assert [found[name].value for name in ("rouge_1", "rouge_2", "rouge_l")] == pytest.approx(rouge, abs=1e-6)


def test_a_copy_of_the_text_is_ranked_below_a_short_answer_that_is_half_right() -> None:
    assert TASK.kind.ranking() == "chrf1"
    truth = "Subscription renewed after cancellation"
    text = (
        "My subscription renewed yesterday though I had cancelled it on 30 April and have your confirmation. "
        "Please undo it."
    )
    short, copied = (
        evaluate(TASK, [truth], [ok(said)], resamples=0) for said in ("Confirmation of subscription", text)
    )
    assert short["chrf1"].value > copied["chrf1"].value
    assert short["chrf"].value < copied["chrf"].value


def test_words_of_rouge_are_of_any_script() -> None:
    found = evaluate(TASK, ["Schöne Größe"], [ok("schöne gro\u0308ße")], resamples=0)
    assert found["rouge_1"].value == 1
    assert evaluate(TASK, ["Потеряна посылка"], [ok("посылка")], resamples=0)["rouge_1"].value == pytest.approx(2 / 3)


def test_the_best_of_several_references_counts() -> None:
    found = evaluate(TASK, [["Lost parcel", "Parcel lost in transit"]], [ok("parcel  LOST in transit")], resamples=0)
    assert found["exact_match"].value == found["rouge_l"].value == 1


def test_a_row_without_an_answer_counts_as_a_blank_one() -> None:
    truths, lost = ["Lost parcel", "Late parcel"], [ok("Lost parcel"), ok(None)]
    found = evaluate(TASK, truths, lost, resamples=0)
    assert found["exact_match"].value == found["rouge_1"].value == 0.5
    assert TASK.kind.judge(truths, lost).distances.tolist() == [0, 1]


def test_a_row_is_right_only_where_it_matches_exactly() -> None:
    distances = TASK.kind.judge(["a b", "ab"], [ok("ab"), ok("AB")]).distances
    assert 0 < distances[0] < 1e-6
    assert distances[1] == 0


def test_a_truth_is_a_text_or_several_references() -> None:
    read = TASK.kind.read_truth
    assert read(" Lost parcel \n") == "Lost parcel"
    assert read('["Lost parcel", "Parcel lost", "Lost parcel", " "]') == ["Lost parcel", "Parcel lost"]
    assert read(["Lost parcel"]) == "Lost parcel"
    assert read(np.array(["a", "b"], dtype=object)) == ["a", "b"]
    assert read("[urgent] Lost parcel") == "[urgent] Lost parcel"
    assert read(12) == "12"
    blank: tuple[object, ...] = (None, float("nan"), " ", [], ["a", 1], {"a": 1}, '["", " "]', '""')
    assert [read(cell) for cell in blank] == [None] * len(blank)
    for truth in ("Lost parcel", ["a", "b"], '["a"]', "two\nlines"):
        assert read(TASK.kind.written(truth)) == truth


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Lost parcel\n", "Lost parcel"),
        ('"Lost parcel"', "Lost parcel"),
        ("“Lost parcel”", "Lost parcel"),
        ('"Lost" or "late"', '"Lost" or "late"'),
        ("```text\nDear Ann,\n\nit is lost.\n```", "Dear Ann,\n\nit is lost."),
        ("<think>A parcel.</think>Lost parcel", "Lost parcel"),
        ("Dear Ann,\r\n\r\nit is lost.\x00", "Dear Ann,\n\nit is lost."),
        ("\udcffLost", "?Lost"),
    ],
)
def test_an_answer_is_all_that_was_said_without_thoughts_and_wrapping(said: str, text: str) -> None:
    assert TASK.kind.read(said).value == text
    assert TASK.kind.read_json(json.dumps({"answer": said})).value == text


def test_an_answer_of_one_line_has_no_line_breaks() -> None:
    assert LINE.kind.read("Lost\n\nparcel").value == LINE.kind.read_truth("Lost\nparcel") == "Lost parcel"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "blank"),
        ("<think>A parcel.</think>", "blank"),
        ('""', "blank"),
        ("x" * 30_000, "30,000 characters, and at most 20,000"),
        ("x" * 10_000_000, "10,000,000 characters"),
    ],
)
def test_a_blank_and_an_endless_answer_are_none(said: str, why: str) -> None:
    read = TASK.kind.read(said)
    assert read.value is None
    assert why in (read.why or "")


@pytest.mark.parametrize(
    "said",
    [
        "Lost parcel",
        '{"answer": null}',
        '{"answer": true}',
        '{"answer": {"text": "Lost"}}',
        '{"answer": ["Lost", "Late"]}',
        '{"answer": "Lost"} {"answer": "Late"}',
        '{"answer": "Lost par',
        '{"answer": ' + "[" * 1_000 + "]" * 1_000 + "}",
        '{"answer": ' * 1_000,
        '{"answer": "' + "x" * 10_000_000 + '"}',
        '{"answer": " "}',
    ],
)
def test_json_that_states_no_text_is_none(said: str) -> None:
    assert TASK.kind.read_json(said).value is None
    assert len(TASK.kind.read_json(said).why or "") > 5


def test_a_cut_answer_is_none_even_where_it_reads_well() -> None:
    assert "cut" in (TASK.kind.read("Dear Ann, we", cut=True).why or "")
    assert TASK.kind.read_json('{"answer": "Dear Ann"}', cut=True).value == "Dear Ann"


def test_the_constant_reference_is_the_truth_nearest_to_the_others() -> None:
    truths = ["Lost parcel", "Heating", ["Lost parcel", "x"], "Lost parcel"]
    assert TASK.kind.constant(truths).value == "Lost parcel"
    assert TASK.kind.constant([f"{'word ' * 300}{i}" for i in range(5_000)]).value


def test_settings_are_guessed_from_the_texts_of_a_column() -> None:
    lines = FreeText.guess({"subject_line": ["Lost parcel", "Heating", None]}, "message", "subject_line")
    assert lines.settings == {"longest_characters": 20, "one_line": True, "what": "subject line"}
    assert lines.counts == {"1 to 20 characters": 2}
    letters = FreeText.guess({"label": ["Dear Ann,\n\n" + "word " * 100, "x"]}, "message", "label")
    assert letters.settings == {"longest_characters": 770}
    assert "classification" in " ".join(FreeText.guess({"y": ["a", "b"] * 9}, "message", "y").reasons)
    with pytest.raises(ValueError, match="'y' holds no text"):
        FreeText.guess({"y": [None, " "]}, "message", "y")
    task = lt.Task("s", type="generation", text="message", label="subject_line", **lines.settings)
    assert "Write the subject line for each text." in task.kind.question()
    assert "one line" in task.kind.question()


def test_labelled_rows_need_the_packages_of_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"message": ["a"], "subject": ["b"]})
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(
        MissingPart, match=r"sacrebleu, which is not installed; type: pip install 'luthier\[generation\]'"
    ):
        TASK.rows(table, labelled=True)
    assert TASK.rows(table[["message"]]).texts == ("a",)


def test_what_is_no_truth_is_said_with_its_row() -> None:
    with pytest.raises(DataError, match=r"row 2: None.*A truth is a text"):
        TASK.rows(pd.DataFrame({"message": ["a", "b"], "subject": ["b", None]}), labelled=True)
    with pytest.raises(DataError, match="5' is no text"):
        TASK.kind.judge([5], [ok("a")])
    with pytest.raises(SpecError, match="longest_characters"):
        lt.Task("s", type="generation", longest_characters=0)
    with pytest.raises(SpecError, match="leave them out"):
        lt.Task("s", type="generation", labels=["a", "b"])
