from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.endpoints import Endpoint, Engine, Request, openai
from luthier.errors import EndpointError
from luthier.providers.exchange import Usage
from luthier.providers.tokens import TokenGuess, request_units
from luthier.replies.reading import Unreadable, read_answer
from luthier_local import Fault, LocalServer
from tests.scripted_server import serving

CHOICE = {
    "type": "choice",
    "instructions": "Is the review good?",
    "choices": [{"value": "good"}, {"value": "bad", "description": "the guest was unhappy"}],
}
SCORE = {"type": "score", "instructions": "How many stars?", "levels": [{"label": str(star)} for star in range(1, 6)]}
USAGE = {
    "input_tokens": 31,
    "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 33,
}


def decision(question: dict[str, Any], text: str = "great soup") -> Request:
    return Request("decision", {"input": text, "questions": [question]})


def body(answer: dict[str, Any]) -> bytes:
    return json.dumps({"answers": [answer], "model": "m-1", "usage": USAGE}).encode()


def shares(*pairs: tuple[Any, float], name: str = "value") -> list[dict[str, Any]]:
    return [{name: label, "probability": share} for label, share in pairs]


def test_a_choice_is_read_in_the_order_of_the_service() -> None:
    given = {"type": "choice", "choice": "good", "confidence": 0.9, "name": None}
    answer = read_answer(body({**given, "probabilities": shares(("bad", 0.1), ("good", 0.9))}), "decision")
    assert answer.decided == (("bad", 0.1), ("good", 0.9))
    assert answer.usage == Usage(31, 2, 7)
    assert (answer.model, answer.refusal, answer.status) == ("m-1", None, 200)


def test_a_choice_between_true_and_false_has_their_names() -> None:
    given = {"type": "choice", "choice": True, "confidence": 0.9, "probabilities": shares((True, 0.9), (False, 0.1))}
    assert read_answer(body(given), "decision").decided == (("true", 0.9), ("false", 0.1))


def test_a_score_is_read_by_its_labels() -> None:
    levels = [{"label": str(star), "value": star, "probability": 0.2} for star in range(1, 6)]
    answer = read_answer(body({"type": "score", "score": 3.0, "confidence": 0.2, "probabilities": levels}), "decision")
    assert answer.decided == tuple((str(star), 0.2) for star in range(1, 6))


def test_a_predicate_is_true_or_false() -> None:
    answer = read_answer(body({"type": "predicate", "probability": 0.75}), "decision")
    assert answer.decided == (("true", 0.75), ("false", 0.25))


def test_a_decision_can_be_refused() -> None:
    answer = read_answer(body({"type": "refusal", "name": None}), "decision")
    assert answer.decided == ()
    assert answer.failure is None
    assert answer.refusal is not None
    assert "declined" in answer.refusal


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "choice", "probabilities": []},
        {"type": "choice", "probabilities": [{"value": "a"}]},
        {"type": "choice", "probabilities": shares(("a", 1.5))},
        {"type": "choice", "probabilities": shares((3, 0.5))},
        {"type": "choice", "probabilities": shares(("a", 0.5), ("a", 0.5))},
        {"type": "choice", "probabilities": shares(("a", True))},
        {"type": "score", "probabilities": shares(("a", 1.0))},
        {"type": "predicate", "probability": float("nan")},
        {"type": "predicate"},
        {"type": "essay", "text": "well"},
        {},
        None,
    ],
)
def test_an_odd_decision_is_unreadable_and_nothing_else(odd: Any) -> None:
    with pytest.raises(Unreadable):
        read_answer(body(odd), "decision")


def test_answers_to_more_questions_than_one_are_unreadable() -> None:
    two = {"answers": [{"type": "predicate", "probability": 0.5}] * 2, "model": "m", "usage": USAGE}
    with pytest.raises(Unreadable):
        read_answer(json.dumps(two).encode(), "decision")


def test_all_that_is_read_is_counted_and_nothing_is_written() -> None:
    asked = decision(CHOICE, "x" * 400)
    texts = ["x" * 400, "choice", "Is the review good?", "good", "bad", "the guest was unhappy"]
    assert request_units(asked) == sum(map(len, texts))
    guess = TokenGuess()
    assert guess.largest_output(asked, openai("gpt-6-luna")) == guess.likely_output(asked, openai("gpt-6-luna")) == 0


def test_a_service_without_decisions_says_what_to_do_instead(engine: Engine, endpoint: Endpoint) -> None:
    with serving(404, '{"detail": "Not Found"}') as url:
        bare = endpoint.model_copy(update={"base_url": url})
        with pytest.raises(EndpointError, match=r"decisions.*answer: \{method: score\}.*luthier check"):
            engine.run([decision(CHOICE)] * 3, bare)


def test_a_model_that_decides_nothing_is_told_apart_from_one_that_is_not_there(
    engine: Engine, endpoint: Endpoint
) -> None:
    said = {"error": {"message": "Only gpt-6-luna is supported.", "param": "model", "code": "invalid_value"}}
    with serving(400, json.dumps(said)) as url, pytest.raises(EndpointError, match="does not offer decisions"):
        engine.run([decision(CHOICE)], endpoint.model_copy(update={"base_url": url}))
    said = {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}
    with serving(404, json.dumps(said)) as url, pytest.raises(EndpointError, match="has no model"):
        engine.run([decision(CHOICE)], endpoint.model_copy(update={"base_url": url}))


def test_the_embedded_server_decides(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    good, stars = engine.run([decision(CHOICE), decision(SCORE)], endpoint)
    assert [label for label, _ in good.decided] == ["good", "bad"]
    assert [label for label, _ in stars.decided] == ["1", "2", "3", "4", "5"]
    assert sum(share for _, share in stars.decided) == pytest.approx(1.0)
    assert good.cost_usd
    again = engine.run([decision(CHOICE)], endpoint)[0]
    assert (again.decided, again.from_journal) == (good.decided, True)
    assert server.received.by_path == {"decisions": 2}


def test_a_refused_decision_is_an_answer_that_is_kept(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    server.faults.add(Fault("refusal", contains="great soup"))
    assert engine.run([decision(CHOICE)], endpoint)[0].refusal
    assert engine.run([decision(CHOICE)], endpoint)[0].from_journal


def test_a_deployment_that_decides_is_asked_what_it_is_by_a_decision(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", server.api_key)
    deployment = Endpoint(provider="azure", model="stars-model", base_url=server.azure_url)
    assert engine.run([decision(CHOICE)], deployment)[0].decided
    assert server.received.by_path == {"decisions": 2}


def test_a_model_that_only_embeds_decides_nothing(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    from luthier_local import ModelCard

    server.put_model(ModelCard("stars-model", chat=False, completions=False, embeddings=True))
    with pytest.raises(EndpointError, match="does not offer decisions"):
        engine.run([decision(CHOICE)], endpoint)
