"""What a score says of itself: in a terminal, as JSON, in its run, on its page."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import BudgetReached
from luthier.history.run_report import run_page
from luthier.reporting.html import page_text
from luthier_local import Fault, LocalServer

pytestmark = pytest.mark.usefixtures("store")


def logged() -> mlflow.entities.Run:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("stars")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], "tags.`luthier.kind` = 'score'")[0]


def test_labels_are_compared_with_those_of_the_training_rows_that_came_with_the_model(
    model: lt.Model, table: pd.DataFrame
) -> None:
    table.to_csv("in.csv", index=False)
    report = model.score_file("in.csv", "out.csv")
    found = report.summary().stability
    assert found is not None
    assert (found.of, found.rows_before, found.rows) == ("training rows", 80, 60)
    assert "population stability index" in str(report)
    assert logged().data.metrics["population_stability_index"] == pytest.approx(found.index)


def test_a_model_without_training_rows_is_compared_with_what_it_was_measured_on(
    task: lt.Task, endpoint: lt.Endpoint, table: pd.DataFrame
) -> None:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    board = lt.compare(spec, table)
    board["zero"].log(register="stars")
    table.to_csv("in.csv", index=False)
    found = lt.load("models:/stars/1").score_file("in.csv", "out.csv").summary().stability
    assert found is not None
    assert (found.of, found.rows_before) == ("rows it was measured on", 60)


def test_of_sets_of_labels_the_share_of_rows_with_each_label_is_compared_with_training() -> None:
    cells = ["room", "room; noise", "[]", "noise"] * 10
    train = pd.DataFrame({"text": [f"{cell} {i}" for i, cell in enumerate(cells)], "tags": cells})
    task = lt.Task("stars", multilabel=True, labels=["room", "noise"], label="tags")
    model = lt.log(lt.Baseline(task, name="b"), train=train, register="stars")
    train[["text"]].head(30).to_csv("in.csv", index=False)
    report = model.score_file("in.csv", "out.csv", wait=True)
    found = report.summary().stability
    assert found is not None
    answered = pd.read_csv("out.csv")["labels"].map(json.loads)
    for one in found.shares:
        assert one.before == 0.5
        assert one.rows == sum(one.label in labels for labels in answered)
        assert one.now == one.rows / 30
    assert (found.rows_before, found.rows) == (40, 30)
    assert logged().data.metrics["population_stability_index"] == pytest.approx(max(one.part for one in found.shares))
    assert "label mix" in str(report)
    assert "Labels now and before" in page_text(run_page(logged().info.run_id))


def test_scores_of_pairs_are_compared_with_training_by_fifths_of_the_scale() -> None:
    truths = [0.0, 0.9, 1.0, 2.5, 5.0] * 8
    train = pd.DataFrame({"text": [f"a b c {i}" for i in range(40)], "other": "a b d", "label": truths})
    task = lt.Task("stars", type="similarity", other="other", scale=[0, 5])
    model = lt.log(lt.Baseline(task, name="b"), train=train, register="stars")
    train[["text", "other"]].to_csv("in.csv", index=False)
    report = model.score_file("in.csv", "out.csv")
    found = report.summary().stability
    assert found is not None
    assert {one.label: one.before for one in found.shares} == {
        **{"0 to 1": 0.4, "1 to 2": 0.2, "2 to 3": 0.2, "3 to 4": 0.0, "4 to 5": 0.2}
    }
    fifths = (pd.read_csv("out.csv")["score"] // 1).clip(upper=4).value_counts()
    assert {one.label[0]: one.rows for one in found.shares if one.rows} == {f"{n:.0f}": c for n, c in fifths.items()}
    assert "score mix" in str(report)


def test_a_model_that_kept_no_labels_says_so(task: lt.Task, endpoint: lt.Endpoint, table: pd.DataFrame) -> None:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    table.to_csv("in.csv", index=False)
    lt.log(spec).score_file("in.csv", "out.csv")
    page = run_page(logged().info.run_id)
    assert any("keeps no mix of training labels" in sentence for sentence in page.said)


def test_the_run_names_both_tables_by_digests_of_their_rows(model: lt.Model, table: pd.DataFrame) -> None:
    table.to_csv("a.csv", index=False)
    table.to_csv("b.csv", index=False)
    table.head(30).to_csv("c.csv", index=False)
    found = {}
    for name in "abc":
        model.score_file(f"{name}.csv", f"{name}-scored.csv")
        found[name] = logged()
    digests = {
        name: [(given.tags[0].value, given.dataset.digest) for given in run.inputs.dataset_inputs]
        for name, run in found.items()
    }
    assert digests["a"] == digests["b"] != digests["c"]
    assert [context for context, _ in digests["a"]] == ["input", "output"]
    assert found["a"].data.tags["luthier.digest.input"].startswith(digests["a"][0][1])


def test_the_page_of_a_score_is_kept_and_made_again_from_what_the_run_keeps(
    model: lt.Model, table: pd.DataFrame, standing_server: LocalServer
) -> None:
    table.loc[3, "text"] = "BAD <script>alert(1)</script>"
    table.to_csv("in.csv", index=False)
    fault = Fault("status", status=400, contains="BAD", message="no <b>such</b> thing")
    standing_server.faults.add(fault)
    try:
        file = model.file_score("in.csv", "out.csv")
        file.plan()
        model.score_file(file)
    finally:
        standing_server.faults.clear()
    run = logged()
    kept = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="report.html")).read_text()
    again = page_text(run_page(run.info.run_id))
    for page in (kept, again):
        assert "Rows without a label" in page
        assert "Expected and actual" in page
        assert "no &lt;b&gt;such&lt;/b&gt; thing" in page
        assert "<script>alert(1)" not in page


def test_what_was_paid_before_the_budget_ended_a_score_is_in_its_run(model: lt.Model, table: pd.DataFrame) -> None:
    table.to_csv("in.csv", index=False)
    with pytest.raises(BudgetReached):
        model.score_file("in.csv", "out.csv", budget_usd=0.0005)
    run = logged()
    assert run.info.status == "KILLED"
    assert 0 < run.data.metrics["spent_usd"] <= 0.0005
    assert run.data.metrics["spent_usd"] == pytest.approx(model.spent_usd)
    assert "stopped at its budget" in run_page(run.info.run_id).said[0]


def test_the_report_as_json_has_figures_errors_and_the_estimate(model: lt.Model, table: pd.DataFrame) -> None:
    table.loc[5, "text"] = None
    table.to_csv("in.csv", index=False)
    file = model.file_score("in.csv", "out.csv")
    plan = file.plan()
    document = json.loads(json.dumps(model.score_file(file).to_document(), allow_nan=False))
    assert document["rows_empty"] == 1
    assert document["expected"]["cost_usd"] == plan.cost_usd
    assert document["fetched"] == sum(document["models"].values()) == sum(document["throughput"]["counts"]) > 0
