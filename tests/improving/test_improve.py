"""A search finds a better prompt within its budget, says what it gains on fresh rows, and where it gains nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Engine, Journal, RunOptions
from luthier.improving.improve_setup import ImproveSetup
from luthier.improving.improvement import Improvement
from luthier.providers.prices import dollars
from tests.improving.scripted_prompts import ScriptedModels, scripted_models, texts, truths_of
from tests.memory_tracker import MemoryTracker

WORDS = ("carefully", "overall")
BUDGET_USD = 0.25
TRAIN, FRESH = texts(90), texts(100, first=1000)


@pytest.fixture
def quick() -> Iterator[Engine]:
    engine = Engine(Journal.in_memory())
    yield engine
    engine.close()


def setup_of(
    models: ScriptedModels, train: pd.DataFrame = TRAIN, fresh: pd.DataFrame = FRESH, **more: object
) -> ImproveSetup:
    given = {"writer": models.writing(), "by": ["rewrite"], "rows": 80, "rounds": 2} | more
    return ImproveSetup(models.prompt(), train, fresh, **given)  # type: ignore[arg-type]


@dataclass
class Searched:
    """A search and what it sent."""

    found: Improvement
    usd: float
    tracker: MemoryTracker
    told: list[str]


@pytest.fixture(scope="module")
def searched() -> Iterator[Searched]:
    engine = Engine(Journal.in_memory())
    with scripted_models(truths_of(TRAIN, FRESH), WORDS, 0.2) as models:
        told: list[str] = []
        tracker = MemoryTracker()
        options = RunOptions.within(BUDGET_USD, engine=engine)
        found = setup_of(models).run(options, tracker=tracker, told=told.append)
        yield Searched(found, models.usd, tracker, told)
    engine.close()


def test_the_words_that_make_a_prompt_better_are_found(searched: Searched) -> None:
    found = searched.found
    assert found.has_gain and found.best is found.winner
    assert any(word in str(found.best.prompt.system) for word in WORDS)
    assert found.gain is not None and found.gain.low is not None and found.gain.low > 0


def test_what_was_paid_is_counted_and_within_the_budget(searched: Searched) -> None:
    assert searched.usd <= BUDGET_USD
    assert searched.found.spent_usd == pytest.approx(searched.usd)
    assert searched.found.facts.used_usd == pytest.approx(searched.usd)


def test_the_figures_on_fresh_rows_stand_beside_those_on_the_rows_of_the_choice(searched: Searched) -> None:
    frame = searched.found.frame.set_index("name")
    finalists = frame[frame["validation"].notna()]
    assert {"mood", searched.found.winner.name} <= set(finalists.index)
    assert (finalists["shrinkage"] - (finalists["train"] - finalists["validation"])).abs().max() < 1e-12
    assert finalists.loc["mood"].isna()["gain"] and finalists["p"].notna().sum() == len(finalists) - 1
    assert frame["validation"].isna().sum() == len(frame) - len(finalists)


def test_every_prompt_says_what_it_was_made_from(searched: Searched) -> None:
    frame = searched.found.frame.set_index("name")
    assert frame.loc["mood", "parent"] == ""
    assert set(frame["parent"]) - {""} <= set(frame.index)


def test_the_diff_leads_from_the_first_prompt_to_the_winner(searched: Searched) -> None:
    lines = searched.found.diff.split("\n")
    assert lines[:2] == ["--- mood", f"+++ {searched.found.winner.name}"]
    assert any(line.startswith("+") and "Read it" in line for line in lines)


def test_the_report_is_text_html_and_json(searched: Searched) -> None:
    found = searched.found
    text = repr(found)
    assert f"{found.winner.name} is better than mood" in text and "+++" in text
    assert "luthier-diff" in found._repr_html_()
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["best"] == found.winner.name and document["has_gain"] is True
    assert document["spec"]["prompt"]["system"] == found.best.prompt.system


def test_each_prompt_has_a_run_beneath_that_of_the_search(searched: Searched) -> None:
    [parent] = searched.tracker.of_kind("improve")
    children = [run for run in searched.tracker.runs if run.parent == parent.run_id]
    trained = [run for run in children if run.kind == "prompt"]
    fresh = [run for run in children if run.kind == "candidate"]
    frame = searched.found.frame
    assert sorted(run.name for run in trained) == sorted(frame["name"])
    assert sorted(run.name for run in fresh) == sorted(frame["name"][frame["validation"].notna()])
    assert (
        parent.spent_usd == pytest.approx(searched.usd) and {"improvement.json", "report.html"} <= parent.files.keys()
    )
    assert sum(run.spent_usd or 0 for run in children if run.kind == "prompt") <= searched.usd
    winner = next(run for run in fresh if run.name == searched.found.winner.name)
    assert "weighted_f1" in winner.metrics and {"luthier.prompt_parent", "luthier.prompt_how"} <= winner.tags.keys()


def test_the_winner_is_written_and_nothing_else_is_replaced(searched: Searched, tmp_path: Path) -> None:
    file = tmp_path / "mood-improved.yaml"
    file.write_text("kept: true\n")
    written = searched.found.write(file)
    assert file.read_text() == "kept: true\n" and written.file == file.with_name("mood-improved-2.yaml")
    assert searched.found.write(file).file == written.file
    again = lt.read_spec(written.file)
    assert again.name == "mood-improved-2" and again.digest == searched.found.best.digest


def test_shuffled_labels_give_no_gain(quick: Engine) -> None:
    train, fresh = texts(60, 3), texts(60, 3, first=1000)
    with scripted_models({}, WORDS, 0.2) as models:
        found = setup_of(models, train, fresh, rows=50, rounds=1).run(
            RunOptions.within(BUDGET_USD, engine=quick), tracker=MemoryTracker()
        )
    assert not found.has_gain and found.best.name == "mood" and "No gain" in repr(found)


def test_a_budget_below_a_round_is_refused_with_the_smallest_that_works(quick: Engine) -> None:
    with scripted_models(truths_of(TRAIN, FRESH)) as models:
        setup = setup_of(models)
        least = setup.plan(RunOptions.within(1.0, engine=quick)).least_usd
        assert least is not None
        with pytest.raises(lt.BudgetReached, match=r"mood.*smallest budget.*\$0\.\d+") as refused:
            setup.run(RunOptions.within(least * 0.9, engine=quick), tracker=MemoryTracker())
        assert dollars(least, up=True) in str(refused.value)
        assert models.asked == []


def test_the_smallest_budget_works_and_is_not_exceeded(quick: Engine) -> None:
    with scripted_models(truths_of(TRAIN, FRESH), WORDS, 0.2) as models:
        setup = setup_of(models)
        least = setup.plan(RunOptions.within(1.0, engine=quick)).least_usd
        assert least is not None
        found = setup.run(RunOptions.within(least, engine=quick), tracker=MemoryTracker())
        assert found.facts.rounds >= 1 and found.facts.prompt("mood").fresh is not None
        assert models.usd <= least


def test_mistakes_are_refused_before_anything_is_sent(quick: Engine) -> None:
    with scripted_models(truths_of(TRAIN, FRESH)) as models:
        shuffled = TRAIN.assign(mood=random.Random(1).sample(list(TRAIN["mood"]), len(TRAIN)))
        with pytest.raises(lt.DataError, match="also in the training table"):
            setup_of(models, fresh=shuffled)
        with pytest.raises(lt.DataError, match="same label"):
            setup_of(models, train=TRAIN.assign(mood="good"))
        with pytest.raises(lt.DataError, match="10 different labelled texts"):
            setup_of(models, train=TRAIN.head(10))
        with pytest.raises(lt.DataError, match="label column"):
            setup_of(models, fresh=FRESH.drop(columns="mood"))
        with pytest.raises(lt.DataError, match="5 rows"):
            setup_of(models, fresh=FRESH.head(5))
        with pytest.raises(lt.SpecError, match="technique"):
            ImproveSetup(lt.Baseline(models.prompt().task), TRAIN, FRESH)
        with pytest.raises(lt.EndpointError, match="does not chat"):
            setup_of(models, writer=models.writing().asking("text-embedding-3-small"))
        with pytest.raises(lt.UserError, match="guess"):
            setup_of(models, by=["guess"])
        with pytest.raises(lt.UserError, match="budget"):
            setup_of(models).plan(RunOptions(engine=quick))
        unpriced = models.prompt().with_endpoint(models.answering().model_copy(update={"price": None}))
        with pytest.raises(lt.UserError, match="price"):
            ImproveSetup(unpriced, TRAIN, FRESH, by=["rewrite"]).plan(RunOptions.within(1.0, engine=quick))
        assert models.asked == []
