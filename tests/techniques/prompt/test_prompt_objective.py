"""What label a prompt answers a rating with: the likeliest, or the best one under the spec's objective."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import SpecError
from luthier.providers.exchange import Answer, Request
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.techniques import read_fitted
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, STARS, hold, rows, weighed

SPLIT = {"1": 0.4, "3": 0.15, "4": 0.1, "5": 0.35}
"""The likeliest label is 1, the expected rating 3.0."""


def prompt(objective: str | None, answer: Any = "score", **settings: Any) -> Prompt:
    return Prompt(STARS, "Stars for: {{ text }}", endpoint=ENDPOINT, objective=objective, answer=answer, **settings)


def answered(spec: Prompt, fitted: Fitted | None = None) -> Prediction:
    reply = Answer(text="1", finish_reason="length", choices=(weighed(SPLIT),))
    (found,) = hold(spec.predict(rows("mixed"), fitted or Fitted(spec=spec)), lambda request: reply)
    return found


def shrunk(request: Request) -> Answer:
    """A model that never dares: it puts most on 3, a little more on the side the truth lies."""
    stars = int(re.findall(r"(\d) stars", request.body["messages"][-1]["content"])[0])
    shares = {"1": 0.05, "2": 0.1, "3": 0.7, "4": 0.1, "5": 0.05}
    shares[str(stars)] += 0.05
    shares["3"] -= 0.05
    return Answer(text="3", finish_reason="length", choices=(weighed(shares),))


TRAIN = rows(*[f"{i % 5 + 1} stars, {i}" for i in range(100)], labels=[str(i % 5 + 1) for i in range(100)])
CALIBRATED = {"method": "score", "calibration_rows": 60}


@pytest.mark.parametrize(("objective", "label"), [(None, "1"), ("accuracy", "1"), ("mse", "3")])
def test_the_objective_chooses_the_label_and_leaves_the_probabilities(objective: str | None, label: str) -> None:
    found = answered(prompt(objective))
    assert found.label == label
    assert STARS.closed_set.expected(found.scores) == pytest.approx(3.0, abs=0.01)


def test_qwk_spreads_the_answers_of_a_model_that_never_dares() -> None:
    given = rows("1 stars, x", "5 stars, y")
    labels = {}
    for objective in ("mse", "qwk"):
        spec = prompt(objective, CALIBRATED)
        fitted = hold(spec.fit(TRAIN), shrunk)
        labels[objective] = [found.label for found in hold(spec.predict(given, fitted), shrunk)]
    assert labels == {"mse": ["3", "3"], "qwk": ["1", "5"]}


def test_the_cuts_are_kept_in_the_fitted_folder(tmp_path: Path) -> None:
    spec = prompt("qwk", CALIBRATED)
    fitted = hold(spec.fit(TRAIN), shrunk)
    thresholds = fitted.state["cuts"]
    assert (len(thresholds), thresholds) == (4, sorted(thresholds))
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    given = rows(*[f"{stars} stars" for stars in range(1, 6)])
    assert hold(again.predict(given), shrunk) == hold(fitted.predict(given), shrunk)


def test_objectives_are_different_specs() -> None:
    assert len({prompt(objective, CALIBRATED).digest for objective in ("accuracy", "mse", "qwk")}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective": "mse", "answer": "text"},
            "objective mse needs probabilities per label.*set answer: {method: sc",
        ),
        (
            {"objective": "qwk", "answer": "json"},
            "objective qwk needs probabilities per label.*set answer: {method: sc",
        ),
        ({"objective": "qwk"}, "objective qwk fits thresholds on calibration rows; set answer"),
    ],
)
def test_an_objective_that_cannot_be_met_is_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        prompt(**settings)


def test_labels_without_order_have_no_such_objective() -> None:
    with pytest.raises(SpecError, match="objective mse.*ratings.*'mood'"):
        Prompt(MOOD, "{{ text }}", endpoint=ENDPOINT, objective="mse", answer="score")
