"""An assessment asks each row once at most, says what it costs before, and is kept in MLflow with the model."""

from __future__ import annotations

import json

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine
from luthier.engine.options import RunOptions
from luthier.errors import DataError, UserError
from luthier.responsible_ai.assessment import AssessmentSetup
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY, priced, reviews, stars

pytestmark = pytest.mark.usefixtures("store")


def test_each_row_is_asked_once_and_not_again(model: lt.Model, standing_server: LocalServer) -> None:
    before = standing_server.received.total
    first = lt.rai(model, reviews(60))
    assert standing_server.received.total - before == 60
    again = lt.rai(model, reviews(60))
    assert standing_server.received.total - before == 60
    assert first.report.spent_now_usd and again.report.spent_now_usd == 0
    assert first.frame["value"].tolist() == again.frame["value"].tolist()


def test_an_explained_row_costs_at_most_fifteen_calls(model: lt.Model, standing_server: LocalServer) -> None:
    rows = reviews(20)
    rows["text"] = [f"{text}. " + "It rained. " * 40 for text in rows["text"]]
    before = standing_server.received.total
    report = lt.rai(model, rows, explain=5)
    asked = standing_server.received.total - before
    assert len(report.explanations) == 5
    assert 20 < asked <= 20 + 5 * 14


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"perturb": 6}, {"explain": 4}, {"perturb": 6, "explain": 4}])
def test_no_more_is_asked_than_the_plan_says(
    model: lt.Model, standing_server: LocalServer, options: dict[str, int]
) -> None:
    setup = AssessmentSetup(model, reviews(30, seed=3), **options)  # type: ignore[arg-type]
    planned = setup.plan()
    before = standing_server.received.total
    setup.run(RunOptions())
    asked = standing_server.received.total - before
    assert 0 < asked <= planned.calls.high
    assert not setup.plan().asks


SHAPES = {
    "a long word": ["x" * 3_000, "One. Two. Three. Four.", "Yes, no, maybe"],
    "repeated sentences": [f"Visit {number}. " + "It rained. " * number for number in range(3, 20)],
    "scripts": ["很好吃。服务太慢了！" * 4, "とても美味しかったです", "😀😀😀", "حلو جدا. سيئ؟", "a"],
    "the same": ["Fine soup. Rude staff."] * 5 + ["Rude staff.", "Fine soup."],
    "long and short": ["Good! " * 14, "word " * 4_000, "Bad. " + "word " * 3_000, "ok"],
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("option", ["explain", "perturb"])
@pytest.mark.parametrize("most", [1, 100])
def test_texts_of_any_shape_cost_no_more_than_planned(
    model: lt.Model, standing_server: LocalServer, shape: str, option: str, most: int
) -> None:
    setup = AssessmentSetup(model, pd.DataFrame({"text": SHAPES[shape], "stars": 3}), **{option: most})  # type: ignore[arg-type]
    planned = setup.plan()
    before = standing_server.received.total
    report = setup.run(RunOptions())
    assert standing_server.received.total - before <= planned.calls.high
    assert report.report.input_tokens <= sum(one.input_tokens.high for one in planned.specs)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["score", "text", "json"])
def test_a_prompt_is_assessed_however_it_answers(endpoint: Endpoint, answer: str) -> None:
    spec = lt.Prompt(stars(), "Stars for: {{ text }}", answer=answer, endpoint=endpoint, name="p")
    report = lt.rai(lt.log(spec), reviews(40), perturb=5, explain=3)
    assert report.frame["metric"].tolist()[0] == "accuracy"
    assert len(report.explanations) == 3 and report.scorecard.perturbations
    assert (report.scorecard.abstention is not None) == (answer == "score")


@pytest.mark.slow
def test_a_baseline_is_assessed_and_its_card_is_the_versions_description() -> None:
    model = lt.log(lt.Baseline(stars(), name="base"), train=reviews(80, seed=8), register="base", alias="champion")
    rows = reviews(100).assign(region=["north", "south"] * 50)
    report = lt.rai("models:/base@champion", rows, sensitive="region")
    assert report.scorecard.model.version == "base/1"
    assert [column.column for column in report.scorecard.sensitive] == ["region"]
    described = mlflow.MlflowClient().get_model_version("base", "1").description
    assert described is not None and "100 rows" in described and report.run_id in described
    assert str(model.model_id) in str(mlflow.get_run(report.run_id).inputs)


@pytest.mark.slow
def test_the_run_holds_figures_answers_and_the_scorecard(model: lt.Model) -> None:
    report = lt.rai(model, reviews(40))
    run = mlflow.get_run(report.run_id)
    assert run.data.tags["luthier.kind"] == "rai"
    assert run.data.tags["luthier.model_version"] == "stars/1"
    accuracy = report.scorecard.metrics["accuracy"]
    assert run.data.metrics["accuracy_low"] == accuracy.low and run.data.metrics["rows_evaluated"] == 40
    names = {file.path for file in mlflow.MlflowClient().list_artifacts(report.run_id)}
    assert {"report.html", "scorecard.md", "scorecard.json", "predictions.parquet"} <= names
    kept = json.loads(mlflow.artifacts.load_text(f"runs:/{report.run_id}/scorecard.json"))
    assert kept["metrics"]["accuracy"] == [accuracy.value, accuracy.low, accuracy.high]


def test_rows_without_labels_are_described_but_not_judged(model: lt.Model) -> None:
    report = lt.rai(model, reviews(30).drop(columns="stars"))
    card = report.scorecard
    assert "accuracy" not in card.metrics and "refused_rate" in card.metrics
    assert card.cohorts is None and card.passed
    assert sum(card.data.answers.values()) == 30
    assert "no labels" in repr(report)


@pytest.mark.slow
def test_rows_with_the_same_text_count_as_one_in_the_search_for_cohorts(model: lt.Model) -> None:
    search = lt.rai(model, pd.concat([reviews(40), reviews(40)], ignore_index=True)).scorecard.cohorts
    assert search is not None and search.rows == len(set(reviews(40)["text"]))
    assert "rows have the text of another" in search.notes[0]


@pytest.mark.slow
def test_some_rows_may_have_no_label(model: lt.Model) -> None:
    rows = reviews(40)
    rows["stars"] = rows["stars"].astype(object)
    rows.loc[:9, "stars"] = None
    rows.to_csv("some.csv", index=False)
    for table in (rows, lt.read_table("some.csv")):
        card = lt.rai(model, table).scorecard
        assert (card.data.rows, card.data.labelled, card.rows_evaluated) == (40, 30, 30)


def test_a_wrong_label_is_refused_before_anything_is_asked(model: lt.Model, standing_server: LocalServer) -> None:
    before = standing_server.received.total
    rows = reviews(10)
    rows.loc[3, "stars"] = 9
    with pytest.raises(DataError, match="row 4: 9"):
        lt.rai(model, rows)
    with pytest.raises(DataError, match=r"no column 'region'.*id, text, stars"):
        lt.rai(model, reviews(10), sensitive=["region"])
    for column in ("text", "stars"):
        with pytest.raises(DataError, match=f"column '{column}' holds"):
            lt.rai(model, reviews(10), sensitive=[column])
    with pytest.raises(UserError, match="--perturb"):
        lt.rai(model, reviews(10), require=["flip_rate_typos <= 0.1"])
    with pytest.raises(UserError, match="region"):
        lt.rai(model, reviews(10), require=["disparity_accuracy_region <= 0.1"])
    assert standing_server.received.total == before


@pytest.mark.slow
def test_requirements_are_judged_on_what_was_measured(endpoint: Endpoint) -> None:
    spec = lt.Prompt(stars(), "{{ text }}", answer="score", endpoint=endpoint, name="p", gates=["accuracy >= 0.01"])
    model = lt.log(spec)
    assert lt.rai(model, reviews(40)).passed
    report = lt.rai(model, reviews(40), require=["accuracy_low > 0.999"])
    assert not report.passed
    assert [gate.passed for gate in report.scorecard.gates] == [True, False]


@pytest.mark.slow
def test_an_endpoint_that_is_down_leaves_a_scorecard_of_what_the_journal_has(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY) as server:
        spec = lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=priced(server), name="few")
        model = lt.log(spec)
        lt.rai(model, reviews(40), engine=engine)
    report = lt.rai(model, reviews(50), engine=engine, perturb=5, explain=2)
    assert report.partial and report.scorecard.data.missing == 10 and report.scorecard.rows_evaluated == 40
    assert report.why_missing
    assert "10 of 50 rows have no answer yet" in repr(report)
    assert mlflow.get_run(report.run_id).data.tags["luthier.partial"] == "true"


@pytest.mark.slow
def test_a_key_that_is_refused_now_leaves_the_scorecard_of_rows_that_were_paid_for(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lt.log(lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="few"))
    paid = lt.rai(model, reviews(40))
    monkeypatch.setenv("STARS_KEY", "sk-revoked")
    report = lt.rai(model, reviews(40), perturb=5, explain=2)
    assert report.frame["value"].tolist() == paid.frame["value"].tolist()
    assert all(one.rows == 0 for one in report.scorecard.perturbations)
    assert all(weight is None for one in report.explanations for own in one.weights.values() for weight in own)


@pytest.mark.slow
def test_many_labels_are_no_obstacle() -> None:
    labels = [f"intent {number:02d}" for number in range(77)]
    rows = pd.DataFrame({"text": [f"{label} please {n}" for n in range(4) for label in labels], "label": labels * 4})
    task = lt.Task("intents", type="classification", text="text", label="label", labels=labels)
    model = lt.log(lt.Baseline(task, name="base"), train=rows)
    report = lt.rai(model, rows.assign(region=["north", "south"] * 154), sensitive="region")
    assert report.scorecard.rows_evaluated == 308


def test_half_a_character_is_no_fault() -> None:
    """A jsonl file can hold one, UTF-8 cannot: neither parquet, nor the store, nor pandas' own texts."""
    rows = reviews(60).assign(region=pd.Series(["nor\ud83dth", "south"] * 30, dtype=object))
    rows["text"] = pd.Series([f"{text} \ud83d" for text in rows["text"]], dtype=object)
    model = lt.log(lt.Baseline(stars(), name="base"), train=rows)
    report = lt.rai(model, rows, sensitive="region")
    assert report.answers["text"][0].endswith("?")
    assert [group.rows for group in report.scorecard.sensitive[0].groups] == [30, 30]
