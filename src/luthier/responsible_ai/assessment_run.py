"""An assessment as an MLflow run, linked to the model and to its registered version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from luthier.evaluation.explanations import Explanation
from luthier.evaluation.figures import figures
from luthier.evaluation.scorecard import Scorecard
from luthier.experiments.answer_tables import answers_table
from luthier.reporting.explained_rows import explanation_examples
from luthier.reporting.markdown import listed, page_markdown
from luthier.reporting.scorecard_report import scorecard_page
from luthier.reporting.scorecard_sentences import verdict
from luthier.reporting.table import Page, Section
from luthier.scoring.scored_model import Model
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.tracking.runs import TAGS, run_of, spec_tags
from luthier.tracking.stores import connect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PAGE", "assessment_page", "log_assessment"]

PAGE = "report.html"
"""Artifact that holds the scorecard and, once they are made, the dashboards."""


def assessment_page(card: Scorecard, explanations: Sequence[Explanation], more: Sequence[Section] = ()) -> Page:
    """The scorecard with the explained rows as one page, which ends with the sections of `more`."""
    explained = explanation_examples(explanations)
    page = scorecard_page(card, (Section("Rows explained", explained),) if explained else ())
    return replace(page, sections=(*page.sections, *more))


def log_assessment(
    card: Scorecard,
    model: Model,
    test: pd.DataFrame,
    rows: Rows,
    predictions: Sequence[Prediction],
    explanations: Sequence[Explanation] = (),
    spent_usd: float | None = None,
) -> str:
    """Logs a run of kind `rai` in the task's experiment; returns its id.

    It holds every figure that a requirement can name, the scorecard as page, Markdown and JSON, and the predictions;
    and what the assessment cost, where that is known.
    """
    import mlflow
    from mlflow.entities import LoggedModelInput

    spec, task = model.spec, card.task
    tags = spec_tags(spec) | {
        TAGS["fitted_digest"]: model.fitted.digest,
        TAGS["test_digest"]: rows.digest,
        "luthier.model_uri": model.uri,
    }
    if card.model.version is not None:
        tags["luthier.model_version"] = card.model.version
    if card.data.missing:
        tags[TAGS["partial"]] = "true"
    page = assessment_page(card, explanations)
    with run_of(connect(task), f"rai {spec.name} on {card.data.name}"[:250], "rai", tags) as run:
        run.describe(listed(verdict(card)))
        run.log_table(test, name=card.data.name[:250], context="test", targets=task.label)
        run.log_metrics(figures(card), card.rows_evaluated)
        run.log_spent(spent_usd)
        run.log_answers(answers_table(task, rows, predictions))
        run.log_text(page_markdown(page), "scorecard.md")
        mlflow.log_dict(card.to_document(), "scorecard.json", run_id=run.run_id)
        run.log_page(page)
        if model.model_id is not None:
            client = mlflow.MlflowClient()
            client.log_inputs(run.run_id, models=[LoggedModelInput(model_id=model.model_id)])
    return run.run_id
