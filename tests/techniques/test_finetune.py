"""fine-tune: one wording for training and serving; nothing answers before there is a tuned model."""

from __future__ import annotations

import json

import pytest

import luthier as lt
from luthier.errors import DataError, SpecError
from luthier.techniques.finetune import Tuned
from tests.conversing import STARS, hold, rows, says, silence

ENDPOINT = lt.openai("base-model")
TUNED = Tuned(model="ft:base-model:me::abc", job="ftjob-1", base_model="base-model", run_id="0" * 32)
LABELLED = rows("lovely soup", "awful room", labels=["5", "1"], city=["Rome", None])


def spec(**changes: object) -> lt.FineTune:
    given: dict[str, object] = {"answer": "score", "endpoint": ENDPOINT, "system": "You rate.", "name": "s"}
    return lt.FineTune(STARS, "{{ text }} in {{ city }}", **(given | changes))


WORDS = {"1": "terrible", "2": "poor", "3": "okay", "4": "good", "5": "great"}
BEGIN_ALIKE = {"1": "very bad", "2": "bad", "3": "fine", "4": "good", "5": "very good"}


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        "score",
        "json",
        {"method": "score", "words": WORDS},
        {"method": "score", "words": BEGIN_ALIKE},
        {"method": "json", "words": WORDS},
    ],
    ids=str,
)
def test_a_row_is_trained_on_exactly_as_it_is_asked(answer: object) -> None:
    untuned = spec(answer=answer)
    tuned = untuned.with_tuned(TUNED)
    asked = list(next(tuned.predict(LABELLED, hold(tuned.fit(None), silence))))
    lines = untuned.training_examples(LABELLED)
    assert [line["messages"][:-1] for line in lines] == [request.body["messages"] for request in asked]


@pytest.mark.parametrize("answer", ["text", "json", {"method": "text", "words": WORDS}], ids=str)
def test_the_answer_trained_on_is_read_back_as_its_label(answer: object) -> None:
    tuned = spec(answer=answer).with_tuned(TUNED)
    said = {line["messages"][-1]["content"] for line in tuned.training_examples(LABELLED)}
    assert len(said) == 2
    for line, label in zip(tuned.training_examples(LABELLED), LABELLED.labels, strict=True):
        reply = says(line["messages"][-1]["content"])
        found = hold(tuned.predict(LABELLED, hold(tuned.fit(None), silence)), reply)
        assert {prediction.label for prediction in found} == {label}


def test_labels_that_begin_alike_are_trained_on_as_the_letters_that_are_asked() -> None:
    line = spec(answer={"method": "score", "words": BEGIN_ALIKE}).training_examples(LABELLED)[0]
    assert line["messages"][-1]["content"] == "E"
    assert "E = very good" in line["messages"][-2]["content"]


def test_json_is_trained_on_as_the_object_that_is_asked_for() -> None:
    line = spec(answer="json").training_examples(LABELLED)[0]
    assert json.loads(line["messages"][-1]["content"]) == {"label": "5"}


def test_a_row_without_a_text_is_never_trained_on() -> None:
    given = rows("fine", " ", None, labels=["4", "3", "2"], city=["x", "y", "z"])
    assert len(spec().training_examples(given)) == 1


def test_a_row_without_a_label_is_named() -> None:
    with pytest.raises(DataError, match="row 2 has no label"):
        spec().training_examples(rows("a", "b", labels=["1", None], city=["x", "y"]))


def test_before_tuning_nothing_answers_and_the_command_is_named() -> None:
    for ask in (
        lambda: spec().check_ready(),
        lambda: hold(spec().fit(None), silence),
        lambda: spec().first_requests(LABELLED),
    ):
        with pytest.raises(SpecError, match="not tuned yet.*luthier tune FILE --train"):
            ask()
    assert any("Not tuned yet" in note for note in spec().notes())
    assert spec().probes() == ()


def test_the_tuned_model_is_asked_where_the_endpoint_names_its_base() -> None:
    tuned = spec().with_tuned(TUNED)
    assert tuned.endpoint is not None
    assert tuned.endpoint.model == TUNED.model
    assert tuned.base_model == "base-model"


def test_a_deployment_of_the_result_is_asked_by_its_own_name() -> None:
    tuned = spec().with_tuned(TUNED).with_endpoint(lt.openai("my-deployment"))
    assert tuned.endpoint is not None
    assert tuned.endpoint.model == "my-deployment"
    assert any("my-deployment" in note for note in tuned.notes())


def test_written_and_read_again_it_is_the_same_and_still_names_its_base() -> None:
    tuned = spec().with_tuned(TUNED)
    document = tuned.document()
    assert document["endpoint"]["model"] == "base-model"
    again = lt.FineTune.make({key: value for key, value in document.items() if key != "schema"})
    assert again == tuned
    assert again.digest == tuned.digest


def test_once_tuned_the_digest_is_of_what_answers_not_of_how_it_was_made() -> None:
    tuned = spec().with_tuned(TUNED)
    elsewhere = spec(tuning={"epochs": 9}).with_tuned(TUNED.model_copy(update={"job": "ftjob-2", "run_id": "1" * 32}))
    assert elsewhere.digest == tuned.digest
    assert spec().with_tuned(TUNED.model_copy(update={"model": "ft:other"})).digest != tuned.digest
    assert tuned.untuned() == spec()


@pytest.mark.parametrize(
    ("changes", "says_"),
    [
        ({"examples": 3}, "prompt.examples"),
        ({"style": "completion"}, "completion"),
        ({"tuning": {"epochs": 0}}, "tuning.epochs"),
        ({"tuning": {"epoch": 3}}, "unknown key; allowed here: batch_size, early_stopping_patience, epochs"),
        ({"tuning": {"learning_rate_multiplier": 0}}, "learning_rate_multiplier"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_tuned_are_refused(changes: dict[str, object], says_: str) -> None:
    with pytest.raises(SpecError, match=says_):
        spec(**changes)


def test_it_can_be_measured_against_its_base_with_the_same_words() -> None:
    base = spec().with_tuned(TUNED).as_prompt("base")
    assert base.endpoint is not None
    assert (base.technique, base.endpoint.model) == ("prompt", "base-model")
    turns = base.first_requests(LABELLED)[1][0].body["messages"]
    assert turns == spec().training_examples(LABELLED)[0]["messages"][:-1]


def test_what_is_left_to_the_service_may_be_written_down() -> None:
    left = {"epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert spec(tuning=left).digest == spec(tuning={}).digest
    with pytest.raises(SpecError, match=r"tuning\.epochs: should be 'auto' or should be greater than or equal to 1"):
        spec(tuning={"epochs": 0})
