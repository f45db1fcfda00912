"""What MLflow keeps of a search: runs, the prompt's history, a page, and what it cost."""

from __future__ import annotations

import mlflow
import pytest

import luthier as lt
from luthier.endpoints import Engine, Journal, RunOptions
from luthier.history.artifacts import improvement_of
from luthier.history.run_report import page_of_run
from luthier.history.runs import run_with_id, runs_beneath
from luthier.history.spending import spending_of
from luthier.improving.improve_setup import ImproveSetup
from luthier.reporting.markdown import page_markdown
from tests.improving.scripted_prompts import scripted_models, texts, truths_of


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_search_is_found_again_in_mlflow() -> None:
    train, fresh = texts(60, 5), texts(80, 5, first=1000)
    engine = Engine(Journal.in_memory())
    with scripted_models(truths_of(train, fresh), ("carefully", "overall"), 0.2) as models:
        found = lt.improve(
            models.prompt(),
            train,
            fresh,
            budget_usd=0.5,
            writer=models.writing(),
            by=["rewrite", "examples"],
            rows=50,
            rounds=2,
            engine=engine,
            save="better.yaml",
        )
        spent = models.usd
    engine.close()
    assert found.has_gain and found.file is not None and lt.read_spec(found.file).digest == found.best.digest

    run = run_with_id(found.run_id)
    beneath = runs_beneath(run)
    measured = {kind: {one.name for one in beneath if one.kind == kind} for kind in ("prompt", "candidate")}
    frame = found.frame.set_index("name")
    assert measured == {"prompt": set(frame.index), "candidate": set(frame.index[frame["validation"].notna()])}
    spending = spending_of([run, *beneath])
    assert spending.known_usd == pytest.approx(spent) and spending.purposes == ("better prompts",)
    listed = lt.prompts("mood")
    assert {one.name for one in beneath} <= {name for wording in listed.history.wordings for name in wording.names}
    # Fresh rows lead; of the rows it chose by, those that all prompts but the dropped ones were asked.
    fresh_rows, chosen_by, *dropped = listed.history.tables
    assert (fresh_rows.rows, fresh_rows.is_choice) == (80, False)
    assert (chosen_by.rows, chosen_by.is_choice) == (50, True)
    assert all(one.is_choice and (one.rows or 0) < 50 for one in dropped)

    text = page_markdown(page_of_run(run))
    assert f"{found.best.name} is better than mood" in text and "+++" in text

    assert found.prompt_uri is not None
    name, _, version = found.prompt_uri.removeprefix("prompts:/").partition("/")
    tags = mlflow.genai.load_prompt(f"prompts:/{name}/{version}").tags
    assert tags["luthier.prompt_how"] == found.facts.prompt(found.best.name).how and "luthier.prompt_parent" in tags


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_each_round_is_kept_when_it_ends() -> None:
    train, fresh = texts(60, 5), texts(40, 5, first=1000)
    engine = Engine(Journal.in_memory())
    kept: list[int] = []

    def told(_: str) -> None:
        [run] = mlflow.search_runs(
            search_all_experiments=True, filter_string="tags.`luthier.kind` = 'improve'", output_format="list"
        )
        kept.append(len(improvement_of(run_with_id(run.info.run_id)).prompts))

    with scripted_models(truths_of(train, fresh), ("carefully", "overall"), 0.2) as models:
        setup = ImproveSetup(models.prompt(), train, fresh, by=["examples"], rows=30, rounds=1)
        setup.run(RunOptions.within(0.5, engine=engine), told=told)
    engine.close()
    assert kept[0] == 1 and kept[1] > 1
