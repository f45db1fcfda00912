from __future__ import annotations

from collections.abc import Sequence

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.auditing.audit_result import audit_job, audit_jobs
from luthier.evaluation.decomposition import Condition
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from tests.conftest import SHARED

FINDINGS = SHARED / "findings" / "reported_vs_measured.csv"

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def pairs() -> pd.DataFrame:
    reported = [0.50, 0.61, 0.70, 0.55, 0.66]
    measured = [0.45, 0.57, 0.64, 0.50, 0.63]
    return pd.DataFrame({"id": list("abcde"), "reported_f1": reported, "test_f1": measured})


def test_an_audit_of_pairs_is_a_frame_a_cell_a_page_and_a_run(pairs: pd.DataFrame) -> None:
    audit = lt.audit(pairs=pairs, source="five models")
    [line] = audit.frame.to_dict("records")
    assert line["difference"] == pytest.approx(0.046)
    assert len(audit.pairs) == 5
    assert "five models" in audit._repr_html_() and "+.046" in repr(audit)
    run = mlflow.get_run(audit.run_id)
    assert run.data.tags["luthier.kind"] == "audit"
    assert "reported .046 better" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["weighted_f1_difference"] == pytest.approx(0.046)
    assert run.data.metrics["weighted_f1_difference_low"] < 0.046 < run.data.metrics["weighted_f1_difference_high"]
    kept = {file.path for file in mlflow.MlflowClient().list_artifacts(audit.run_id)}
    assert kept == {"audit.json", "charts", "pairs.json", "report.html"}
    table = mlflow.artifacts.load_dict(f"runs:/{audit.run_id}/pairs.json")
    assert (table["columns"], len(table["data"])) == (["id", "metric", "reported", "measured", "difference"], 5)


def answers(labels: Sequence[str | None], wrong: int) -> tuple[Prediction, ...]:
    said = ["2" if i < wrong else str(label) for i, label in enumerate(labels)]
    return tuple(Prediction(label, "ok", call=CallRecord("x")) for label in said)


def test_jobs_are_audited_under_the_services_own_keys_in_the_tasks_experiment(task: Task) -> None:
    service = Rows(tuple({"text": f"a {i}"} for i in range(40)), ("1", "3") * 20, "text")
    test = Rows(tuple({"text": f"b {i}"} for i in range(20)), ("1", "3") * 10, "text")
    job = audit_job(
        "ftjob-1",
        task,
        {"classification/accuracy": 0.9, "classification/weighted_f1_score": 0.95, "valid_loss": 0.3},
        [
            Condition("training prompt", "definition", service, answers(service.labels, 4)),
            Condition("serving prompt", "prompt", service, answers(service.labels, 8)),
            Condition("test rows", "rows", test, answers(test.labels, 4)),
        ],
        reported_rows=40,
    )
    audited = audit_jobs(task, "ftjob-1", [job], tags={"luthier.job": "ftjob-1"})
    run = mlflow.get_run(audited.run_id)
    assert mlflow.get_experiment(run.info.experiment_id).name == "stars"
    assert run.data.metrics["accuracy_from_prompt"] == pytest.approx(0.1)
    assert run.data.metrics["accuracy_difference"] == pytest.approx(0.1)
    parts = audited.parts[audited.parts["metric"] == "accuracy"]
    assert parts["share"].sum() == pytest.approx(0.1)
    assert "prompt, training against serving" in repr(audited)
    assert any("valid_loss" in note for note in job.notes)


@pytest.mark.skipif(not FINDINGS.is_file(), reason="the findings are not here")
def test_the_findings_are_reproduced() -> None:
    audit = lt.audit(pairs=lt.read_table(FINDINGS))
    f1, accuracy = audit.audit.agreements
    assert (f1.metric, len(f1.pairs.ids), round(f1.difference.value, 3)) == ("weighted_f1", 25, 0.051)
    assert accuracy.metric == "accuracy"
    rows = audit.audit.rows
    assert rows is not None and (rows.reported, rows.measured) == (532, 338)
    assert "They were not measured on the same rows" in repr(audit).replace("\n  ", " ")
