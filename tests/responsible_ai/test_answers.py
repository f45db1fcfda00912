"""Answers come from the endpoint, and from the journal where the endpoint cannot be asked."""

from __future__ import annotations

import pytest

import luthier as lt
from luthier.endpoints import Engine
from luthier.engine.options import RunOptions
from luthier.errors import EndpointError
from luthier.responsible_ai.answers import Answers, answers_of, kept_answers
from luthier.spec import Fitted
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, priced, reviews, stars


def fitted_on(server: LocalServer, engine: Engine) -> Fitted:
    spec = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=priced(server), name="few")
    return lt.fit(spec, engine=engine)


def missing(answers: Answers) -> int:
    return sum(prediction.transient for prediction in answers.predictions)


@pytest.mark.slow
def test_an_endpoint_that_is_down_costs_no_answer_that_was_paid_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    options = RunOptions(engine=engine)
    rows = stars().rows(reviews(30))
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY) as server:
        fitted = fitted_on(server, engine)
        before = answers_of(fitted, rows.take(range(20)), options, "scoring")
    after = answers_of(fitted, rows, options, "scoring")
    assert before.why_missing is None and missing(before) == 0
    assert [p.value for p in after.predictions[:20]] == [p.value for p in before.predictions]
    assert missing(after) == 10 and after.why_missing is not None


def test_a_key_that_is_refused_now_costs_no_answer_that_was_paid_for(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunOptions(engine=engine)
    rows = stars().rows(reviews(30))
    fitted = fitted_on(server, engine)
    before = answers_of(fitted, rows.take(range(20)), options, "scoring")
    monkeypatch.setenv("STARS_KEY", "sk-revoked")
    after = answers_of(fitted, rows, options, "scoring")
    assert [p.value for p in after.predictions[:20]] == [p.value for p in before.predictions]
    assert missing(after) == 10 and "STARS_KEY" in str(after.why_missing)
    with pytest.raises(EndpointError, match="STARS_KEY"):
        answers_of(fitted, rows.take(range(20, 30)), options, "scoring")


def test_what_the_journal_holds_is_known_without_asking(server: LocalServer, engine: Engine) -> None:
    options = RunOptions(engine=engine)
    rows = stars().rows(reviews(5))
    fitted = fitted_on(server, engine)
    assert kept_answers(fitted, rows, options) is None
    asked = answers_of(fitted, rows, options, "scoring")
    kept = kept_answers(fitted, rows, options)
    assert kept is not None and [p.value for p in kept] == [p.value for p in asked.predictions]
