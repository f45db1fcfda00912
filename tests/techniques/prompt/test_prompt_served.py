"""The prompt technique against the embedded server, over real HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.engine.engine import Engine
from luthier.journal.journal import Journal
from luthier.providers.endpoint import compatible
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques import read_fitted
from luthier.techniques.prompt.prompt import Prompt
from luthier_local import LocalServer
from tests.conversing import ENDPOINT, STARS, rows

Drive = Callable[[Any], Any]

REVIEWS = rows(
    "Wonderful food and the most amazing staff, I love it",
    "Terrible, awful, the worst meal ever. Disgusting!",
    "It was okay, nothing special",
    "Good coffee, nice place",
)
TRAIN = rows(
    *[f"{word} {thing}" for word in ("Horrible", "Poor", "Average", "Good", "Excellent") for thing in ("room", "desk")],
    *[f"The {thing} was {word}" for word in ("awful", "bad", "fine", "nice", "superb") for thing in ("soup", "bar")],
    labels=[str(1 + i // 2) for i in range(10)] * 2,
)
WORDS = {"1": "terrible", "2": "poor", "3": "okay", "4": "good", "5": "great"}


@pytest.fixture(scope="module")
def drive() -> Iterator[Drive]:
    with pytest.MonkeyPatch.context() as patch, LocalServer(api_key="sk-test") as server:
        patch.setenv("SERVED_KEY", "sk-test")
        endpoint = compatible("deterministic", server.base_url, api_key_env="SERVED_KEY")
        engine = Engine(Journal.in_memory())
        yield lambda conversation: engine.drive(conversation, endpoint)
        engine.close()


def stars(template: str, **settings: Any) -> Prompt:
    return Prompt(STARS, template, endpoint=ENDPOINT, **settings)


def run(spec: Prompt, drive: Drive, given: Rows = REVIEWS) -> list[Prediction]:
    fitted = drive(spec.fit(TRAIN if spec.needs_training else None))
    found: list[Prediction] = drive(spec.predict(given, fitted))
    return found


def answers(found: list[Prediction]) -> list[Any]:
    return [(prediction.label, prediction.probabilities, prediction.call.raw) for prediction in found]


CHAT = "Answer with one of {{ labels | join(', ') }}.\nReview: {{ text }}\nStars:"
COMPLETION = "Answer with one of {{ words | join(', ') }}.\nReview: {{ text }}\nStars:"


@pytest.mark.parametrize(
    "spec",
    [
        stars(CHAT),
        stars(CHAT, answer="json"),
        stars(CHAT, answer="score"),
        stars(CHAT, answer={"method": "score", "words": {**WORDS, "5": "grand"}}),
        stars(CHAT, examples=5),
        stars(COMPLETION, style="completion"),
        stars(COMPLETION, style="completion", answer={"method": "score", "words": WORDS}),
        stars(COMPLETION, style="completion", examples=3, answer={"method": "score", "words": WORDS}),
    ],
    ids=["text", "json", "score", "letters", "few-shot", "completion", "walk", "few-shot walk"],
)
def test_praise_gets_more_stars_than_scorn(spec: Prompt, drive: Drive) -> None:
    praise, scorn = (int(prediction.label or 0) for prediction in run(spec, drive)[:2])
    assert praise > scorn > 0


def test_scores_sum_to_one(drive: Drive) -> None:
    found = run(stars(CHAT, answer="score"), drive)
    assert [math.fsum(p.probabilities or ()) for p in found] == pytest.approx([1.0] * 4)


def test_the_walk_asks_again_where_words_begin_alike(drive: Drive) -> None:
    words = {**WORDS, "1": "terribly dull", "2": "terrible"}
    spec = stars(COMPLETION, style="completion", answer={"method": "score", "words": words})
    assert run(spec, drive)[1].call.output_tokens > 1


def test_calibration_evens_out_the_training_rows(drive: Drive) -> None:
    def spread(answer: str | dict[str, Any]) -> float:
        found = [p.probabilities for p in run(stars(CHAT, answer=answer), drive, TRAIN) if p.probabilities]
        means = [math.fsum(shares) / len(found) for shares in zip(*found, strict=True)]
        return max(means) - min(means)

    assert spread({"method": "score", "calibration_rows": 20}) < 0.5 * spread("score")


def test_the_tokens_of_a_row_are_counted(drive: Drive) -> None:
    assert all(p.call.input_tokens > 10 and p.call.output_tokens == 1 for p in run(stars(CHAT, answer="score"), drive))


def test_a_row_that_is_too_long_fails_alone(drive: Drive) -> None:
    found = run(stars(CHAT), drive, rows("lovely", "lovely " * 20_000))
    assert [p.state for p in found] == ["ok", "failed"]


def test_a_saved_folder_answers_the_same(drive: Drive, tmp_path: Path) -> None:
    spec = stars(CHAT, examples=5, answer={"method": "score", "calibration_rows": 10})
    fitted = drive(spec.fit(TRAIN))
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    assert answers(drive(again.predict(REVIEWS))) == answers(drive(fitted.predict(REVIEWS)))


def test_a_saved_folder_keeps_its_digest(drive: Drive, tmp_path: Path) -> None:
    fitted = drive(stars(CHAT, examples=5).fit(TRAIN))
    assert read_fitted(fitted.save(tmp_path / "fitted")).digest == fitted.digest
