from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from luthier.errors import DataError, EndpointError, Partial, SpecError
from luthier.providers.endpoint import embedded
from luthier.providers.exchange import Answer, Request
from luthier.spec import Fitted
from luthier.tasks.task import Rows, Task
from luthier.techniques import Embedding, read_fitted
from tests.conversing import ENDPOINT, MOOD, STARS, hold, rows, silence
from tests.techniques.heads.vectors import DIMENSIONS, embeds, labelled

HEADS = ["logistic", "ordinal", "regression"]


def fitted_on(train: Rows, task: Task = STARS, **settings: object) -> Fitted:
    return hold(Embedding(task, endpoint=ENDPOINT, **settings).fit(train), embeds())


@cache
def ready(head: str = "logistic", objective: str | None = None) -> Fitted:
    """Stars, fitted once for all tests that only ask."""
    return fitted_on(labelled(STARS, 80), head=head, objective=objective)


@cache
def mood() -> Fitted:
    return fitted_on(labelled(MOOD, 40), MOOD)


def share_right(fitted: Fitted, asked: Rows) -> float:
    predictions = hold(fitted.predict(asked), embeds())
    return float(np.mean([p.label == label for p, label in zip(predictions, asked.labels, strict=True)]))


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_what_the_vectors_say(head: str) -> None:
    assert share_right(ready(head), labelled(STARS, 100, seed=2)) > 0.3


@pytest.mark.parametrize("head", HEADS)
def test_probabilities_of_every_head_sum_to_one(head: str) -> None:
    predictions = hold(ready(head).predict(labelled(STARS, 30, seed=2)), embeds())
    for prediction in predictions:
        assert prediction.probabilities is not None
        assert sum(prediction.probabilities) == pytest.approx(1)
        assert min(prediction.probabilities) >= 0


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("task", [STARS, Task("two", type="rating", labels=["low", "high"])], ids=["five", "two"])
def test_a_saved_folder_answers_the_same(head: str, task: Task, tmp_path: Path) -> None:
    fitted, asked = fitted_on(labelled(task, 30), task, head=head, objective="qwk"), labelled(task, 20, seed=2)
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    assert hold(again.predict(asked), embeds()) == hold(fitted.predict(asked), embeds())


@pytest.mark.parametrize("head", HEADS)
def test_an_answer_does_not_depend_on_the_rows_beside_it(head: str) -> None:
    fitted, asked = ready(head), labelled(STARS, 20, seed=2)
    gather = hold(fitted.predict(asked), embeds())
    assert gather == [hold(fitted.predict(asked.take([i])), embeds())[0] for i in range(len(asked))]


def test_the_same_rows_fit_the_same() -> None:
    first, second = ready(), fitted_on(labelled(STARS, 80))
    assert all(np.array_equal(first.arrays[name], second.arrays[name]) for name in first.arrays)


def test_a_text_is_asked_for_once_in_training() -> None:
    rounds: list[list[Request]] = []
    train = rows("0 a", "1 b", "0 a", "1 c", "0 d", labels=["good", "bad", "good", "bad", "good"])
    hold(Embedding(MOOD, endpoint=ENDPOINT).fit(train), embeds(), rounds)
    assert [request.body for request in rounds[0]] == [{"input": text} for text in ("0 a", "1 b", "1 c", "0 d")]


def test_all_texts_are_asked_for_in_one_round() -> None:
    rounds: list[list[Request]] = []
    hold(mood().predict(labelled(MOOD, 9)), embeds(), rounds)
    assert [len(requests) for requests in rounds] == [9]


def test_blank_texts_are_not_asked_for() -> None:
    predictions = hold(mood().predict(rows("0 a", " ", None)), embeds())
    assert [prediction.state for prediction in predictions] == ["ok", "empty", "empty"]


def test_no_rows_ask_nothing() -> None:
    assert hold(mood().predict(rows()), silence) == []


def test_a_price_is_known_before_anything_is_asked() -> None:
    spec = Embedding(MOOD, endpoint=ENDPOINT)
    fitting, answering = spec.first_requests(labelled(MOOD, 5), labelled(MOOD, 40))
    assert (len(fitting), len(answering)) == (40, 5)


def test_dimensions_are_asked_for_where_given() -> None:
    spec = Embedding(MOOD, endpoint=ENDPOINT, dimensions=3)
    rounds: list[list[Request]] = []
    hold(spec.fit(labelled(MOOD, 40)), embeds(3), rounds)
    assert rounds[0][0].body["dimensions"] == 3


def test_a_model_that_cannot_shorten_its_vectors_is_named() -> None:
    spec = Embedding(MOOD, endpoint=ENDPOINT, dimensions=3)
    with pytest.raises(EndpointError, match="some-model.* 6 .*dimensions: 3"):
        hold(spec.fit(labelled(MOOD, 40)), embeds())


def test_a_model_that_changed_its_vectors_is_fitted_again() -> None:
    fitted = mood()
    with pytest.raises(EndpointError, match=r"some-model.* 5 .* 6.*`identity:`"):
        hold(fitted.predict(labelled(MOOD, 4)), embeds(5))


def test_a_text_the_service_refuses_is_left_out_and_said() -> None:
    def reply(request: Request) -> Answer:
        refuses = request.body["input"].endswith(" 7 of 1")
        return Answer(failure="permanent", error="too long") if refuses else embeds()(request)

    fitted = hold(Embedding(MOOD, endpoint=ENDPOINT).fit(labelled(MOOD, 40)), reply)
    assert fitted.state["notes"][0] == ("some-model would not embed 1 of 40 training texts (too long): left out.")


def test_a_service_that_refuses_nearly_all_texts_is_what_is_named() -> None:
    def refuses(request: Request) -> Answer:
        return Answer(failure="permanent", error="content policy", status=400)

    with pytest.raises(EndpointError, match=r"some-model.*4 of 4 training texts.*content policy"):
        hold(Embedding(MOOD, endpoint=ENDPOINT).fit(labelled(MOOD, 4)), refuses)


def test_texts_that_may_have_a_vector_later_are_waited_for() -> None:
    def reply(request: Request) -> Answer:
        late = request.body["input"].endswith(" 7 of 1")
        return Answer(failure="transient", error="timed out") if late else embeds()(request)

    with pytest.raises(Partial, match=r"1 of 40 training texts.*timed out"):
        hold(Embedding(MOOD, endpoint=ENDPOINT).fit(labelled(MOOD, 40)), reply)


def test_rows_without_a_vector_say_why() -> None:
    def reply(request: Request) -> Answer:
        kinds = {"a": "content", "b": "permanent", "c": "transient"}
        failure = kinds.get(request.body["input"])
        return Answer(failure=failure, error="no") if failure else embeds()(request)  # type: ignore[arg-type]

    found = hold(mood().predict(rows("a", "b", "c", "0 d")), reply)
    assert [(p.state, p.transient) for p in found] == [
        ("refused", False),
        ("failed", False),
        ("failed", True),
        ("ok", False),
    ]


def test_a_vector_of_no_numbers_fails_its_row_alone() -> None:
    def reply(request: Request) -> Answer:
        broken = np.full(DIMENSIONS, np.nan, dtype="<f4").tobytes()
        return Answer(embedding=broken) if request.body["input"] == "a" else embeds()(request)

    found = hold(mood().predict(rows("a", "0 d")), reply)
    assert [(p.state, p.error) for p in found] == [
        ("failed", "the vector holds values that are no numbers"),
        ("ok", None),
    ]


def test_cost_is_that_of_the_call() -> None:
    fitted = mood()
    assert hold(fitted.predict(rows("0 a")), embeds())[0].cost_usd == 0.001


@pytest.mark.parametrize("objective", [None, "mse", "qwk"])
@pytest.mark.parametrize("head", ["ordinal", "regression"])
def test_a_label_without_training_rows_is_never_answered(head: str, objective: str | None) -> None:
    train = labelled(STARS, 30, labels=["1", "2", "5"])
    fitted = fitted_on(train, head=head, objective=objective)
    predictions = hold(fitted.predict(labelled(STARS, 40, seed=2)), embeds())
    assert {p.label for p in predictions} <= {"1", "2", "5"}
    assert all(p.probabilities and p.probabilities[2] == p.probabilities[3] == 0 for p in predictions)
    assert any("labelled 3, 4" in note for note in fitted.state["notes"])


@pytest.mark.parametrize("head", HEADS)
def test_a_label_with_one_row_is_learned(head: str) -> None:
    train = rows("0 a", "0 b", "0 c", "1 d", "1 e", "1 f", "2 g", labels=["1", "1", "1", "2", "2", "2", "3"])
    fitted = fitted_on(train, head=head, objective="qwk")
    assert fitted.state["labels"] == ["1", "2", "3"]
    assert any("labelled 3" in note for note in fitted.state["notes"])


@pytest.mark.parametrize("head", HEADS)
def test_rows_too_few_to_hold_any_out_still_fit(head: str) -> None:
    fitted = fitted_on(rows("0 a", "1 b", labels=["1", "2"]), head=head, objective="qwk")
    assert fitted.state["notes"][-1].startswith("Too few training rows to hold any out")
    assert hold(fitted.predict(rows("0 c")), embeds())[0].state == "ok"


@pytest.mark.parametrize("head", [*HEADS, {"method": "automl", "trials": 9}], ids=str)
def test_a_text_under_two_labels_teaches_both(head: object) -> None:
    train = rows("0 a", "0 b", "1 c", "0 a", labels=["1", "1", "2", "5"])
    assert fitted_on(train, head=head).state["labels"] == ["1", "2", "5"]


def test_one_label_is_not_enough() -> None:
    with pytest.raises(DataError, match="at least 2 labels; .* hold only 'good'"):
        fitted_on(rows("a", "b", labels=["good", "good"]), MOOD)


def test_no_training_rows_say_what_to_add() -> None:
    with pytest.raises(SpecError, match="'near'.*training rows.*--train TABLE"):
        hold(Embedding(MOOD, endpoint=ENDPOINT, name="near").fit(None), silence)


def test_a_spec_without_an_endpoint_says_what_to_give() -> None:
    with pytest.raises(SpecError, match=r"endpoint.*\{provider: local, model: wordllama-256\}"):
        Embedding(MOOD)


@pytest.mark.parametrize("head", ["ordinal", "regression"])
def test_a_head_for_ratings_wants_a_rating(head: str) -> None:
    with pytest.raises(SpecError, match=f"head {head}.*ratings.*'mood'.*logistic or auto"):
        Embedding(MOOD, endpoint=ENDPOINT, head=head)


def test_a_method_alone_is_a_head() -> None:
    short, long = (Embedding(STARS, endpoint=ENDPOINT, head=head) for head in ("ordinal", {"method": "ordinal"}))
    assert short.digest == long.digest


def test_a_spec_reads_its_own_document() -> None:
    spec = Embedding(STARS, endpoint=ENDPOINT, head={"method": "automl", "trials": 3}, dimensions=8, objective="mse")
    document = {key: value for key, value in spec.document().items() if key != "schema"}
    assert Embedding.make(document) == spec


def test_what_is_kept_is_json() -> None:
    state = ready(objective="qwk").state
    assert json.loads(json.dumps(state, allow_nan=False)) == state


def test_trials_are_shown_best_first() -> None:
    fitted = ready("ordinal")
    scores = [trial["score"] for trial in fitted.spec.tables(fitted)["trials"]]
    assert len(scores) > 1
    assert scores == sorted(scores)


def test_the_objective_mse_answers_nearest_to_the_expected_rating() -> None:
    asked = labelled(STARS, 40, seed=2)
    predictions = hold(ready(objective="mse").predict(asked), embeds())
    for prediction in predictions:
        expected = STARS.closed_set.expected(prediction.scores)
        assert expected is not None
        assert prediction.label == str(round(expected))


def test_another_model_means_another_head() -> None:
    fitted = mood()
    moved = fitted.spec.with_endpoint(embedded("wordllama-256"))
    assert "fitted on vectors of some-model and is asked at wordllama-256" in moved.relocation_warnings(fitted)[0]


def test_labels_with_a_row_or_two_each_are_fitted_without_a_warning() -> None:
    many = Task("many", labels=[f"l{number}" for number in range(30)])
    train = rows(*(f"word{n} and w{n}" for n in range(40)), labels=[f"l{n % 30}" for n in range(40)])
    assert fitted_on(train, many, head="logistic").arrays
