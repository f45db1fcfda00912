"""Retiring versions, compared with the same recipe on other models of their service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import pytest

import luthier as lt
from luthier.api import ProposedReplacements
from luthier.endpoints import Engine, Journal
from luthier.errors import BudgetReached, UserError
from luthier.model_choice.replacement_report import replacement_sentence
from luthier.techniques.finetune import Tuned
from tests.conftest import KEY, reviews, standing_store, stars
from tests.scripted_server import Refused, serving

TODAY = date(2026, 11, 28)

WORDS = {"terrible": 1, "bad": 2, "okay": 3, "good": 4, "great": 5}

HEAD = "{provider: compatible, kind: chat, tasks: [rating], models: "

CATALOGUE = f"""
- {HEAD} old-model, retires: 2027-01-14, replacement: named, input_usd_per_million: 10, output_usd_per_million: 20}}
- {HEAD} named, retires: 2029-01-01, input_usd_per_million: 5, output_usd_per_million: 10}}
- {HEAD} lasting, retires: 2031-01-01, input_usd_per_million: 5, output_usd_per_million: 10}}
- {HEAD} poor, input_usd_per_million: 1, output_usd_per_million: 1}}
- {HEAD} gone, input_usd_per_million: 9, output_usd_per_million: 9}}
- {HEAD} ending, retires: 2027-02-01, input_usd_per_million: 10, output_usd_per_million: 20}}
- {{provider: compatible, kind: embedding, tasks: [embedding], models: vectors, input_usd_per_million: 10}}
- {{provider: openai, kind: chat, tasks: [rating], models: elsewhere, input_usd_per_million: 10}}
"""

TEST = reviews(60)


def answer(asked: bytes) -> str:
    """`old-model`, `named` and `lasting` are right but for some rows each, `poor` says 3 to everything."""
    body: Mapping[str, Any] = json.loads(asked)
    text, model = body["messages"][-1]["content"], body["model"]
    if model == "gone":
        raise Refused(404, json.dumps({"error": {"message": "no such model", "code": "model_not_found"}}))
    right = next((stars for word, stars in WORDS.items() if word in text), 3)
    number = int(text.split()[-1]) if text.split()[-1].isdigit() else 0
    wrong = {"old-model": 5, "named": 6, "lasting": 7}.get(model, 1)
    said = "3" if model == "poor" else str(max(1, right - 1) if number % wrong == 0 else right)
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    return json.dumps({"id": "1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage})


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with serving(200, answer) as address:
        yield address


def recipe(service: str, name: str = "words", model: str = "old-model", **settings: Any) -> lt.Prompt:
    price = {"input_usd_per_million": 10, "output_usd_per_million": 20}
    endpoint = lt.compatible(model, service, api_key_env="STARS_KEY", price=price)
    return lt.Prompt(stars(), "Stars for: {{ text }}", endpoint=endpoint, name=name, **settings)


@pytest.fixture(scope="module")
def registry(service: str, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`stars@champion`, a prompt; `shown`, one that shows examples; `tuned`, a fine-tune; all ask old-model."""
    tuned = Tuned(model="ft:old-model:me:stars:abc", job="ftjob-1", base_model="old-model")
    with standing_store(tmp_path_factory.mktemp("replaced"), empty_store) as file:
        lt.log(recipe(service), register="stars", alias="champion")
        lt.log(recipe(service, "shown", examples=2), train=reviews(80, seed=8), register="shown")
        prompt = recipe(service)
        lt.log(
            lt.FineTune(stars(), "Stars for: {{ text }}", endpoint=prompt.endpoint, tuned=tuned, name="tuned"),
            register="tuned",
        )
    return file


@pytest.fixture
def registered(registry: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that registry and the catalogue in the test's working folder."""
    shutil.copy(registry, tmp_path / "mlflow.db")
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    monkeypatch.setenv("STARS_KEY", KEY)
    return tmp_path


ALONE: dict[str, Any] = {"models": ["lasting"], "most": 0}
"""The one new model that is tried."""


def replaced(model: str = "stars", today: date = TODAY, **options: Any) -> ProposedReplacements:
    return lt.retiring(model=model, today=today).replace(TEST, **options)


@pytest.fixture(scope="module")
def proposals(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> ProposedReplacements:
    """What is proposed for `stars@champion`: measured once, read by many tests."""
    with standing_store(tmp_path_factory.mktemp("proposals"), registry) as file:
        (file.parent / "catalogue.yaml").write_text(CATALOGUE)
        return replaced(most=99)


def test_the_cheapest_that_is_not_clearly_worse_and_stays_longest_is_proposed(proposals: ProposedReplacements) -> None:
    [found] = proposals
    assert found.proposed is not None
    assert found.proposed.model == "lasting"
    assert {one.model: one.is_worse for one in found.measured} == {"named": False, "lasting": False, "poor": True}
    assert not found.proposed.is_better
    assert "cannot be told apart" in replacement_sentence(found)
    assert "$0.11 instead of $0.22 per 1,000 rows; it retires on 2031-01-01." in replacement_sentence(found)


def test_the_difference_to_the_old_model_has_its_interval_and_the_sign_of_the_new_one(
    proposals: ProposedReplacements,
) -> None:
    [found] = proposals
    assert found.old is not None
    for one in found.measured:
        assert one.difference is not None
        assert one.difference.value == pytest.approx(one.value.value - found.old.metrics["qwk"].value)
        assert one.difference.low is not None and one.difference.high is not None
        assert one.difference.low <= one.difference.value <= one.difference.high


def test_models_that_retire_too_or_are_for_other_work_or_elsewhere_are_no_candidates(
    proposals: ProposedReplacements,
) -> None:
    [found] = proposals
    tried = {one.model for one in found.measured} | {one.name for one in found.left_out}
    assert tried == {"named", "lasting", "poor", "gone"}


def test_a_model_that_does_not_answer_is_left_out_with_what_the_service_said(proposals: ProposedReplacements) -> None:
    [found] = proposals
    [gone] = found.left_out
    assert gone.name == "gone"
    assert "no such model" in gone.why


def test_where_every_model_is_clearly_worse_none_is_proposed(registered: Path) -> None:
    [found] = replaced(models=["poor"], most=0)
    assert found.proposed is None
    assert found.commands == ()
    assert "the one model that took its place is clearly worse" in replacement_sentence(found)


def test_the_model_that_the_provider_names_comes_first(registered: Path) -> None:
    [found] = replaced(most=1)
    assert [one.model for one in found.measured] == ["named"]


def test_a_model_that_the_user_names_is_tried_though_the_catalogue_does_not_know_it(registered: Path) -> None:
    [found] = replaced(models=["unlisted"], most=0)
    one = found.measured[0]
    assert (one.model, one.candidate.model, one.cost_per_1000_rows_usd) == ("unlisted", None, None)


def test_nothing_is_registered_or_promoted_and_the_commands_say_how(registered: Path) -> None:
    [found] = replaced(**ALONE)
    assert found.proposed is not None
    client = mlflow.MlflowClient()
    assert client.get_model_version_by_alias("stars", "champion").version == 1
    assert found.commands == (
        f"luthier log runs:/{found.proposed.run_id} --register stars",
        "luthier promote stars --alias champion",
    )


def test_the_proposal_is_written_as_a_spec_that_compares_like_the_measured_one(registered: Path) -> None:
    [found] = replaced(**ALONE).write("models")
    [file] = found.files
    assert file == Path("models/words-on-lasting.yaml")
    assert found.proposed is not None
    assert lt.read_spec(file).digest == found.proposed.candidate.spec.digest


def test_a_file_that_is_there_is_never_replaced(registered: Path) -> None:
    file = Path("models/words-on-lasting.yaml")
    file.parent.mkdir()
    file.write_text("mine: yes\n")
    [found] = replaced(**ALONE).write("models")
    assert found.files == (file.with_name("words-on-lasting-2.yaml"),)
    assert file.read_text() == "mine: yes\n"
    assert replaced(**ALONE).write("models")[0].files == found.files


def test_chosen_examples_are_shown_to_the_new_model_too(registered: Path) -> None:
    [found] = replaced("shown", most=1)
    assert found.board is not None
    fitted = found.board["shown-on-named"].fitted
    assert fitted.state["examples"] == found.fitted.state["examples"]


def test_what_a_retired_model_answered_is_taken_from_the_journal(registered: Path) -> None:
    engine = Engine(Journal.in_memory())
    lt.compare([lt.load("models:/stars/1").fitted.spec], TEST, engine=engine)
    [found] = replaced(today=date(2027, 2, 1), engine=engine, **ALONE)
    assert found.old is not None
    engine.close()


def test_a_retired_model_without_answers_is_not_asked_and_the_candidates_are_held_against_the_best(
    registered: Path,
) -> None:
    engine = Engine(Journal.in_memory())
    proposed = replaced(today=date(2027, 2, 1), engine=engine, models=["lasting"], most=1)
    engine.close()
    assert proposed[0].old is None
    assert proposed[0].proposed is not None
    assert "answers no more, and the journal lacks its answers" in repr(proposed)


def test_a_fine_tune_is_compared_with_its_prompt_on_new_models_and_a_spec_to_tune_is_written(registered: Path) -> None:
    [found] = replaced("tuned", models=["named"], most=0).write("models")
    assert found.measured[0].candidate.spec.technique == "prompt"
    to_tune = lt.read_spec(found.files[-1])
    assert isinstance(to_tune, lt.FineTune)
    assert (to_tune.tuned, to_tune.base_model) == (None, "named")
    assert f"luthier tune {found.files[-1]}" in " ".join(repr(ProposedReplacements([found])).split())


def test_the_price_is_known_before_anything_is_sent(registered: Path) -> None:
    engine = Engine(Journal.in_memory())
    plan = lt.retiring(model="stars", today=TODAY).setup({"test": TEST}).plan(lt_options(engine))
    assert plan.cost_usd_high is not None
    assert {one.name for one in plan.specs} >= {"words", "words-on-named", "words-on-lasting"}
    assert engine.report.requests == 0
    engine.close()


def test_a_budget_that_ends_keeps_what_was_answered(registered: Path) -> None:
    engine = Engine(Journal.in_memory())
    with pytest.raises(BudgetReached):
        replaced(budget_usd=0.01, engine=engine, **ALONE)
    [found] = replaced(engine=engine, **ALONE)
    assert found.proposed is not None
    engine.close()


def test_what_does_not_retire_is_not_replaced(registered: Path) -> None:
    with pytest.raises(UserError, match="within 20 days"):
        lt.retiring(20, today=TODAY).replace(TEST)


def test_an_unknown_registered_model_is_answered_with_those_there_are(registered: Path) -> None:
    with pytest.raises(UserError, match="shown, stars, tuned"):
        lt.retiring(model="star")


def test_the_frame_has_a_row_per_measured_model(proposals: ProposedReplacements) -> None:
    frame = proposals.frame
    assert list(frame["model"][frame["proposed"]]) == ["lasting"]
    assert len(frame) == 3


def lt_options(engine: Engine) -> Any:
    from luthier.endpoints import RunOptions

    return RunOptions(engine=engine)
