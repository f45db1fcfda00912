"""The description of a registered version in MLflow: written from a scorecard, and dated once figures change."""

from __future__ import annotations

from dataclasses import replace

import mlflow
import pytest

import luthier as lt
from luthier.evaluation.figures import figures, judge_scorecard
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Perturbation, Scorecard
from luthier.responsible_ai.model_card import model_card, write_model_card
from luthier.tracking.runs import TAGS, run_of, spec_tags
from luthier.tracking.stores import connect
from tests.conftest import reviews
from tests.scorecards import CARD, column

pytestmark = pytest.mark.slow


def assessed(model: lt.Model, card: Scorecard = CARD) -> tuple[Scorecard, str]:
    """A scorecard of this model, and a run as `luthier rai` logs it."""
    digest = model.fitted.digest
    card = replace(card, model=replace(card.model, fitted_digest=digest, version="stars/1", name=model.spec.name))
    tags = spec_tags(model.spec) | {TAGS["fitted_digest"]: digest, TAGS["test_digest"]: card.data.digest}
    with run_of(connect(model.spec.task), "rai few", "rai", tags) as run:
        run.log_metrics(figures(card), card.data.labelled)
    return card, run.run_id


def description(version: str = "1") -> str:
    return mlflow.MlflowClient().get_model_version("stars", version).description or ""


def test_the_card_says_what_the_scorecard_found(model: lt.Model) -> None:
    gates = judge_scorecard(CARD, ["accuracy_low >= 0.7", "flip_rate_typos <= 0.01"])
    none = Perturbation("case", "Every letter is made small.", 0, Interval(0.0))
    card = replace(CARD, perturbations=(*CARD.perturbations, none), gates=gates, limits=("Asked once.",))
    card, run_id = assessed(model, replace(card, created="2026-11-28T10:00:00Z"))
    write_model_card(card, run_id)
    text = description()
    for said in (
        "few (prompt, m) answers stars: 1, 2, 3, 4, 5, from text.",
        "290 labelled of 300 rows of test (digest dddddddddddd), 2026-11-28: accuracy .80 (.75–.85).",
        f"/runs/{run_id})",
        "1 of 2 met; not met: flip\\_rate\\_typos &lt;= 0.01: 0.0400 against 0.0100 on 100 rows",
        "**Worse where** words &gt; 20: error rate .50 (.40–.60) against",
        "**Home region:** accuracy .12 (.00–.30) apart (n against s)",
        "**Robustness, injection:** .30 (.20–.40) of 90 rows get another label; .20 (.10–.30) do what the text says",
        "**Limit:** Asked once.",
    ):
        assert said in text
    assert "Not measured yet" not in text
    assert "Robustness, case" not in text


def test_what_people_wrote_around_it_stays(model: lt.Model) -> None:
    client = mlflow.MlflowClient()
    client.update_model_version("stars", "1", f"Ask Ann first.\n\n{description()}\n\nRetired in May.")
    for digest in ("a" * 64, "b" * 64):
        write_model_card(*assessed(model, replace(CARD, data=replace(CARD.data, digest=digest))))
        text = description()
        assert text.startswith("Ask Ann first.\n\n<!-- luthier")
        assert text.endswith("-->\n\nRetired in May.")
        assert digest[:12] in text
    assert "aaaa" not in text


def test_hostile_names_neither_end_the_card_nor_reach_the_page_as_markup(model: lt.Model) -> None:
    name = "x --> <!-- luthier, end -->\n<script>alert(1)</script> [a](javascript:alert(1)) `b` ${c}"
    card, run_id = assessed(model, replace(CARD, sensitive=(column(name, 0.2),)))
    write_model_card(card, run_id)
    text = description()
    assert text.count("<!--") == text.count("-->") == 2
    assert "<script" not in text
    assert "](javascript" not in text.replace("\\]", "")


def test_a_long_card_is_cut_and_not_what_people_wrote(model: lt.Model) -> None:
    note = "Ask Ann. " * 300
    mlflow.MlflowClient().update_model_version("stars", "1", note)
    write_model_card(*assessed(model, replace(CARD, limits=("A limit of it. " * 5,) * 100)))
    assert description().startswith(note.strip())
    assert len(description()) <= 5000
    assert description().endswith("-->")


def test_an_assessment_on_other_rows_dates_the_cards_of_the_same_model_elsewhere(model: lt.Model) -> None:
    again = lt.log(model.fitted, register="stars")
    write_model_card(*assessed(model))
    card, run_id = assessed(model, replace(CARD, data=replace(CARD.data, digest="e" * 64)))
    write_model_card(replace(card, model=replace(card.model, version="stars/2")), run_id)
    assert "Newer figures exist" not in description("2")
    assert "**Newer figures exist.** [rai few](#/experiments/" in description("1")
    assert "of other data: accuracy .80 (.75–.85). What follows is older" in description("1")
    assert again.uri.endswith("/2")


def test_an_assessment_that_lacks_rows_replaces_no_card(model: lt.Model) -> None:
    write_model_card(*assessed(model))
    before = description()
    write_model_card(*assessed(model, replace(CARD, data=replace(CARD.data, digest="e" * 64, missing=3))))
    assert description() == before


def test_a_comparison_with_other_figures_dates_the_card_and_a_new_card_is_of_its_own_date(store: str) -> None:
    task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
    spec, table, train = lt.Baseline(task, name="few"), reviews(60), reviews(80, seed=8)
    lt.compare(spec, table.head(40), train=train)["few"].log(register="stars")
    lt.compare(spec, table.head(40), train=train)
    assert "Newer figures exist" not in description()
    assessed(lt.load("models:/stars/1"))
    lt.compare(spec, table.tail(20), train=train)
    lt.compare(spec, table.tail(30), train=train)
    assert description().count("Newer figures exist") == 1
    assert "measured 30 rows of other data" in description()
    assert "Measured on 40 rows" in description()
    write_model_card(*assessed(lt.load("models:/stars/1")))
    assert "Newer figures exist" not in description()


def test_a_description_by_an_earlier_luthier_is_replaced_and_dated_too(model: lt.Model) -> None:
    client, bare = mlflow.MlflowClient(), "few (prompt, m) answers stars: 1, 2, from text.\n\nNot measured yet: do it."
    client.update_model_version("stars", "1", f"{bare}\n\nRetired in May.")
    card, run_id = assessed(model)
    write_model_card(replace(card, model=replace(card.model, version=None)), run_id)
    assert "Newer figures exist" in description()
    assert description().endswith("Retired in May.")
    write_model_card(card, run_id)
    assert "Not measured yet" not in description()
    assert "Retired in May." in description()


def test_a_table_without_labels_makes_a_card_without_figures(model: lt.Model) -> None:
    bare = replace(CARD, metrics={}, cohorts=None, sensitive=(), perturbations=(), data=replace(CARD.data, labelled=0))
    card, run_id = assessed(model, bare)
    assert "no metrics, as the rows have no labels" in model_card(card, mlflow.get_run(run_id))
