"""What a job reported by step."""

from __future__ import annotations

import mlflow

from luthier.history.run_curves import curves_section
from luthier.history.run_report import run_page
from luthier.history.runs import run_with_id
from luthier.reporting.charts.chart import Chart, Curve


def a_job(**metrics: list[float]) -> str:
    experiment = mlflow.create_experiment("stars")
    run = mlflow.MlflowClient().create_run(experiment, tags={"luthier.kind": "tune", "luthier.task": "stars"})
    for name, values in metrics.items():
        for step, value in enumerate(values, start=1):
            mlflow.MlflowClient().log_metric(run.info.run_id, name, value, step=step, timestamp=1000 * step)
    return str(run.info.run_id)


def test_losses_and_scores_are_curves_by_step_and_the_best_step_is_said(store: str) -> None:
    run_id = a_job(
        train_loss=[3.0, 2.0, 1.0], valid_loss=[3.0, 1.5, 2.5], valid_accuracy=[0.4, 0.6, 0.7], cost_usd=[1.0]
    )
    section = curves_section(run_with_id(run_id))
    assert section is not None
    loss, score = (block for block in section.blocks if isinstance(block, Chart))
    assert {mark.name: mark.y for mark in loss.marks if isinstance(mark, Curve)} == {
        "train_loss": (3.0, 2.0, 1.0),
        "valid_loss": (3.0, 1.5, 2.5),
    }
    assert "valid_loss is best at step 2 with 1.500 and ends at step 3 with 2.500" in loss.said
    assert "valid_accuracy is best at step 3 with .700, its last" in score.said


def test_the_page_of_a_job_has_its_curves(store: str) -> None:
    page = run_page(a_job(train_loss=[3.0, 2.0]))
    assert [section.title for section in page.sections] == ["Run", "Training, step by step", "Figures"]


def test_a_run_that_trained_nothing_has_no_curves(store: str) -> None:
    assert curves_section(run_with_id(a_job(accuracy=[0.5], train_loss=[1.0]))) is None
