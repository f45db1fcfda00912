"""Which rows are explained, what is asked for them, and the weights that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, RunOptions
from luthier.engine.report import Report
from luthier.evaluation.explanations import Explanation
from luthier.plans import plan_rows
from luthier.responsible_ai.explanations import ChosenRow, ExplainedRows, choose_rows, costliest_questions
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques.finetune import Tuned
from luthier_local import Fault, LocalServer, ModelCard
from tests.conftest import KEY
from tests.conversing import MOOD, STARS, rows
from tests.work import python_calls

Explain = Callable[..., tuple[Explanation, ...]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("STARS_KEY", KEY)
    embeds = ModelCard("vectors", chat=False, completions=False, embeddings=True)
    with LocalServer(models=[ModelCard("stars-model", context_tokens=32_000), embeds], api_key=KEY) as running:
        yield running


@pytest.fixture
def explain(engine: Engine) -> Explain:
    """Explains every row of a table that a spec answers."""

    def explain(spec: Spec, table: Rows, train: pd.DataFrame | None = None) -> tuple[Explanation, ...]:
        known = None if train is None else spec.task.rows(train, labelled=True)
        fitted: Fitted = engine.drive(spec.fit(known), spec.endpoint)
        whole = engine.drive(fitted.predict(table), spec.endpoint)
        explained = ExplainedRows(spec.task, table, [ChosenRow(place, "all") for place in range(len(table))])
        return explained.explanations(whole, engine.drive(fitted.predict(explained.rows), spec.endpoint))

    return explain


def strongest(one: Explanation) -> str:
    return one.passages[int(np.argmax(np.array(one.for_prediction, float)))]


def prompted(
    task: Task, endpoint: Endpoint, template: str = "Stars for: {{ text }}", answer: str = "score"
) -> lt.Prompt:
    return lt.Prompt(task, template, answer=answer, endpoint=endpoint)


TUNED = Tuned(model="stars-model", job="ftjob-1", base_model="stars-model", run_id="0" * 32)

LONG = "".join(f"On visit {number} the soup was great. The room was awful, dark and cold. " for number in range(300))


def test_a_row_costs_at_most_fifteen_calls(
    task: Task, endpoint: Endpoint, explain: Explain, server: LocalServer, engine: Engine
) -> None:
    spec = prompted(task, endpoint)
    [one] = explain(spec, rows(LONG))
    assert len(LONG) > 20_000
    assert server.received.total == 15
    assert len(one.passages) == 14


def test_the_price_is_known_before_and_nothing_is_paid_twice(
    task: Task, endpoint: Endpoint, server: LocalServer, engine: Engine
) -> None:
    spec = prompted(task, endpoint)
    fitted: Fitted = engine.drive(spec.fit(None), endpoint)
    table = rows("Great soup. Awful room.", "delicious", LONG, None)
    whole = engine.drive(fitted.predict(table), endpoint)
    explained = ExplainedRows(task, table, [ChosenRow(place, "all") for place in range(4)])
    options = RunOptions(engine=engine, report=Report())
    planned = plan_rows(spec, explained.rows, None, options, fitted=fitted)
    assert planned.calls.low == planned.calls.high == 2 + 0 + 14 + 0
    before = server.received.total
    explained.explanations(whole, engine.drive(fitted.predict(explained.rows), endpoint, options))
    assert server.received.total - before == 16
    assert not plan_rows(spec, explained.rows, None, options, fitted=fitted).asks


def test_the_passage_that_says_it_speaks_for_the_label(task: Task, endpoint: Endpoint, explain: Explain) -> None:
    [one] = explain(prompted(task, endpoint), rows("We came at noon. The food was terrible. They have parking."))
    assert one.prediction in ("1", "2")
    assert strongest(one) == "The food was terrible. "
    assert np.array(list(one.weights.values())).sum(axis=0) == pytest.approx(np.zeros(3))


@pytest.mark.parametrize("answer", ["text", "json"])
def test_without_probabilities_a_weight_says_whether_the_label_changes(
    task: Task, endpoint: Endpoint, explain: Explain, answer: str
) -> None:
    text = "We came at noon. Cash only. The food was terrible awful. Bad bad bad service. They have parking."
    [one] = explain(prompted(task, endpoint, answer=answer), rows(text))
    assert not one.by_probability
    assert 1 in one.for_prediction
    for weights, changed in zip(np.array(list(one.weights.values())).T, one.for_prediction, strict=True):
        assert sorted(weights) == ([-1, 0, 0, 0, 1] if changed else [0] * 5)


@pytest.mark.parametrize("technique", ["baseline", "few-shot", "decision", "embedding", "fine-tune"])
def test_every_technique_is_explained_alike(
    task: Task, endpoint: Endpoint, explain: Explain, train: pd.DataFrame, technique: str
) -> None:
    specs: dict[str, Callable[[], Spec]] = {
        "baseline": lambda: lt.Baseline(task),
        "few-shot": lambda: lt.Prompt(task, "Stars for: {{ text }}", answer="score", examples=4, endpoint=endpoint),
        "decision": lambda: lt.Decision(task, endpoint=endpoint),
        "fine-tune": lambda: lt.FineTune(task, "{{ text }}", answer="score", endpoint=endpoint).with_tuned(TUNED),
        "embedding": lambda: lt.Embedding(task, endpoint=endpoint.model_copy(update={"model": "vectors"})),
    }
    text = "The food was great wonderful amazing. The parking was far away."
    [one] = explain(specs[technique](), rows(text), train)
    assert one.passages == ("The food was great wonderful amazing. ", "The parking was far away.")
    assert strongest(one) == one.passages[0]


def test_other_columns_of_the_row_stay_in_the_prompt(
    task: Task, endpoint: Endpoint, engine: Engine, explain: Explain
) -> None:
    spec = prompted(task, endpoint, "{{ place }} says: {{ text }}")
    table = rows("Great soup. Awful room.", place=["Kyoto"])
    assert ExplainedRows(task, table, [ChosenRow(0, "")]).rows.inputs == (
        {"text": "Awful room.", "place": "Kyoto"},
        {"text": "Great soup.", "place": "Kyoto"},
    )
    assert len(explain(spec, table)[0].passages) == 2


def test_a_question_without_an_answer_loses_its_passage_and_a_row_without_a_label_is_left_out(
    task: Task, endpoint: Endpoint, explain: Explain, server: LocalServer
) -> None:
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="Great soup. Fine tea."))
    server.faults.add(Fault("refusal", contains="Private"))
    found = explain(
        prompted(task, endpoint), rows("Great soup. Awful room. Fine tea.", "Private. Very good.", "", "😀")
    )
    assert [(one.row, len(one.passages)) for one in found] == [(1, 3), (4, 1)]
    assert [weight is None for weight in found[0].for_prediction] == [False, True, False]


def test_a_single_word_has_the_whole_probability_and_asks_nothing() -> None:
    explained = ExplainedRows(MOOD, rows("delicious"), [ChosenRow(0, "")])
    assert len(explained.rows) == 0
    [one] = explained.explanations([Prediction("good", "ok", (0.7, 0.3))], [])
    assert one.weights == {"good": (0.7,), "bad": (0.3,)}


def ok(label: str, *scores: float) -> Prediction:
    return Prediction(label, "ok", scores or None)


def chosen(found: Sequence[ChosenRow]) -> list[tuple[int, str]]:
    return [(one.place, one.why) for one in found]


def five(star: int, sure: float = 0.9) -> Prediction:
    return ok(str(star), *(sure if other == star else (1 - sure) / 4 for other in range(1, 6)))


def test_the_rows_that_matter_are_chosen_and_each_says_why() -> None:
    truths = ["1", "2", "3", "4", "5", "5", "5", "1"]
    answers = [five(5), five(3, 0.95), five(3, 0.3), five(5, 0.4), five(5), five(5), five(5), five(1)]
    table = rows(*(f"text {place}" for place in range(8)), labels=truths)
    found = choose_rows(STARS, table, answers, 6, members={"length > 3": [6, 7], "region = north": [0, 1]})
    assert chosen(found)[1:4] == [(0, "region = north"), (1, "confident mistake"), (3, "mistake")]
    assert found[0].place in (6, 7) and found[0].why == "length > 3"
    assert (found[4].place, found[4].why) == (2, "unsure")
    assert found[5].why == "right"
    assert chosen(choose_rows(STARS, table, answers, 1)) == [(0, "far miss")]
    again = choose_rows(STARS, table, answers, 6, members={"length > 3": [6, 7], "region = north": [0, 1]})
    assert again == found


def test_a_text_is_explained_once_and_rows_without_a_label_are_passed_over() -> None:
    table = rows("same", "same", "other", None, "refused", labels=["bad"] * 5)
    answers = [ok("good"), ok("good"), ok("bad"), Prediction(None, "empty"), Prediction(None, "refused")]
    found = choose_rows(MOOD, table, answers, 10)
    assert [table.texts[one.place] for one in found] == ["same", "other"]
    assert [one.why for one in found] == ["mistake", "right"]


def test_without_labels_unsure_rows_and_a_draw_are_left() -> None:
    table = rows("a", "b", "c", "d")
    answers = [ok("good", 0.9, 0.1), ok("good", 0.51, 0.49), ok("good", 0.8, 0.2), ok("good", 0.95, 0.05)]
    assert chosen(choose_rows(MOOD, table, answers, 1)) == [(1, "unsure")]
    plain = choose_rows(MOOD, table, [ok("good")] * 4, 3)
    assert [one.why for one in plain] == ["drawn at random"] * 3


def test_before_any_answer_the_most_passages_and_the_longest_texts_bound_the_price() -> None:
    table = rows("a. b.", "longer. text. here.", "longer. text. here.", None, "x" * 500, "very. much. longer.")
    asked = costliest_questions(table, 2).texts
    assert [len(text or "") > 500 for text in asked] == [True] * 3 + [False] * 3
    assert len(set(asked)) == 6
    assert not len(costliest_questions(rows("one", "word", None), 2))


def test_the_price_of_fifty_thousand_rows_is_found_from_few_of_them() -> None:
    table = rows(*(f"Fine soup, number {number}. Rude staff. " * (number % 20) for number in range(50_000)))
    found: list[Rows] = []
    calls = python_calls(lambda: found.append(costliest_questions(table, 40)))
    assert len(found[0]) == 40 * 14
    assert calls["passages_of"] == 40 and calls.total() < 10 * 50_000


@pytest.mark.parametrize("technique", ["baseline", "prompt"])
def test_where_every_text_is_one_word_there_is_nothing_to_ask(
    task: Task, endpoint: Endpoint, explain: Explain, train: pd.DataFrame, technique: str, engine: Engine
) -> None:
    spec: Spec = lt.Baseline(task) if technique == "baseline" else prompted(task, endpoint)
    assert [one.passages for one in explain(spec, rows("great", "bad"), train)] == [("great",), ("bad",)]
    nothing = ExplainedRows(task, rows("great"), [ChosenRow(0, "")]).rows
    fitted: Fitted = engine.drive(spec.fit(task.rows(train, labelled=True)), spec.endpoint)
    assert not plan_rows(spec, nothing, None, RunOptions(engine=engine), fitted=fitted).asks
