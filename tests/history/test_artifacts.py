"""What runs keep, read back."""

from __future__ import annotations

import json

import mlflow
import pytest

from luthier.auditing.audit_result import log_audit
from luthier.errors import DataError, ModelError
from luthier.evaluation.agreement import PairedValues
from luthier.evaluation.audits import audit_of_pairs
from luthier.history.artifacts import across_of, audit_of, board_of, read_json, scorecard_of, sweep_of
from luthier.history.runs import run_with_id
from luthier.tracking.stores import experiment_called
from tests.history.conftest import Past
from tests.scorecards import CARD
from tests.sweeps.studies import failed, many, state, stopped


def test_a_leaderboard_comes_back_with_its_answers_and_rows(past: Past) -> None:
    kept = board_of(run_with_id(past.first.run_id))
    board = past.first.leaderboard
    assert kept.board.to_document() == board.to_document()
    assert kept.rows is not None
    assert kept.rows.digest == board.test_digest
    for entry in kept.board.entries:
        found = [(one.value, one.state, one.call.raw) for one in entry.candidate.predictions]
        told = board.entry(entry.name).candidate.predictions
        assert found == [(one.value, one.state, one.call.raw) for one in told]
        for one, other in zip(entry.candidate.predictions, told, strict=True):
            assert (one.scores is None) == (other.scores is None)
            assert other.scores is None or one.scores == pytest.approx(other.scores)


def test_a_leaderboard_without_the_answers_of_a_spec_names_it(past: Past) -> None:
    mlflow.delete_run(past.first["zero"].run_id)
    kept = board_of(run_with_id(past.first.run_id))
    assert kept.without_answers == ("zero",)
    assert kept.rows is not None


def test_a_run_without_its_file_says_which_and_why_that_may_be(past: Past) -> None:
    with pytest.raises(ModelError, match=r"audit\.json: it was interrupted"):
        read_json(run_with_id(past.first.run_id), "audit.json")


def test_what_holds_across_tables_comes_back(past: Past) -> None:
    found = across_of(run_with_id(past.tables.run_id), past.tables.across.measure)
    assert found.to_document() == past.tables.across.to_document()


def test_an_audit_comes_back(store: str) -> None:
    pairs = PairedValues("accuracy", ("a", "b", "c", "d"), (0.5, 0.6, 0.7, 0.9), (0.4, 0.6, 0.65, 0.8))
    audit = audit_of_pairs("jobs.csv", [pairs])
    run_id = log_audit(audit, experiment_called("audits"))
    assert audit_of(run_with_id(run_id)).to_document() == audit.to_document()


def test_a_scorecard_comes_back(past: Past) -> None:
    run = run_with_id(past.first.run_id)
    mlflow.log_dict(CARD.to_document(), "scorecard.json", run_id=run.run_id)
    assert scorecard_of(run).to_document() == CARD.to_document()


def test_a_sweep_comes_back(past: Past) -> None:
    kept = state([*many(12), stopped(12), failed(13)], spent_usd=4.5)
    run = run_with_id(past.first.run_id)
    mlflow.MlflowClient().log_text(run.run_id, json.dumps(kept.document()), "sweep.json")
    assert sweep_of(run).document() == kept.document()


@pytest.mark.parametrize("document", [{"schema": 2}, {"schema": 1, "source": "x"}])
def test_a_document_that_is_no_audit_is_refused(past: Past, document: dict[str, object]) -> None:
    mlflow.MlflowClient().log_text(past.first.run_id, json.dumps(document), "audit.json")
    with pytest.raises(DataError, match="audit"):
        audit_of(run_with_id(past.first.run_id))
