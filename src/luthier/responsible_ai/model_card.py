"""The model card: a scorecard in a few lines of Markdown, as the description of the registered version in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from luthier.evaluation.groups import SensitiveColumn
from luthier.evaluation.scorecard import Scorecard
from luthier.reporting.markdown import escaped
from luthier.reporting.numbers import Unit, interval, number
from luthier.tasks.spellings import with_article
from luthier.tracking.version_descriptions import described_metrics, link_to_run, mark_outdated, write_description

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["model_card", "write_model_card"]

MOST_LABELS = 10
"""Labels that are named."""

MOST_COHORTS = 3
"""Confirmed cohorts that are named, worst first."""

LONGEST_PURPOSE = 400
"""Characters."""


def write_model_card(card: Scorecard, run_id: str) -> None:
    """Writes the card into the description of the assessed version, if it is registered.

    Descriptions of other versions that hold the same model say that there are newer figures. An assessment in which
    rows have no answer yet changes no description.

    Args:
        card: what was found.
        run_id: the finished run of the assessment.
    """
    import mlflow

    if card.data.missing:
        return
    if card.model.version is not None:
        name, _, version = card.model.version.rpartition("/")
        write_description(name, version, model_card(card, mlflow.get_run(run_id)), run_id)
    mark_outdated(card.task, card.model.fitted_digest, run_id)


def model_card(card: Scorecard, run: Run) -> str:
    """The card in Markdown.

    Args:
        card: what was found.
        run: the run of the assessment, to which the card links.
    """
    return "\n\n".join((*_paragraphs(card, run), "\n".join(f"- {line}" for line in _findings(card))))


def _paragraphs(card: Scorecard, run: Run) -> Iterator[str]:
    model, data, labels = card.model, card.data, card.task.labels
    by = model.technique if model.base_model == "none" else f"{model.technique}, {model.base_model}"
    named = ", ".join(labels[:MOST_LABELS]) + (", ..." if len(labels) > MOST_LABELS else "")
    sent = f" Endpoint: {escaped(model.address)}." if model.address else ""
    yield (
        f"{escaped(model.name)} ({escaped(by)}) answers {escaped(card.task.name)}: "
        f"{escaped(named or with_article(card.task.kind.value_name))}, from {escaped(', '.join(model.columns))}.{sent}"
    )
    if model.purpose:
        yield f"**Purpose:** {escaped(model.purpose[:LONGEST_PURPOSE])}"
    measured = described_metrics(card.task, card.metrics)
    yield (
        f"**Measured** on {data.labelled:,} labelled of {data.rows:,} rows of {escaped(data.name)} (digest "
        f"{data.digest[:12]}), {card.created[:10]}: {measured or 'no metrics, as the rows have no labels'}. "
        f"In brackets the 95% interval. {link_to_run(run, 'The run')} has the scorecard, the dashboards and every "
        "answer."
    )


def _findings(card: Scorecard) -> Iterator[str]:
    if card.gates:
        failed = [escaped(str(gate)) for gate in card.gates if not gate.passed]
        met = f"{len(card.gates) - len(failed)} of {len(card.gates)} met"
        yield f"**Gates:** {met}" + (f"; not met: {'; '.join(failed)}" if failed else "")
    if card.cohorts is not None:
        worst = card.cohorts.confirmed[:MOST_COHORTS]
        unit: Unit = "share" if card.cohorts.measure == "error rate" else "number"
        for cohort in worst:
            yield (
                f"**Worse where** {escaped(str(cohort))}: {card.cohorts.measure} "
                f"{interval(cohort.value, unit)} against {interval(cohort.rest, unit)} elsewhere"
            )
        if not worst:
            yield "**Cohorts:** none is worse than the other rows beyond chance"
    for column in card.sensitive:
        yield _disparities(column)
    for one in card.perturbations:
        if not one.rows:
            continue
        followed = f"; {interval(one.to_target, 'share')} do what the text says" if one.to_target is not None else ""
        yield (
            f"**Robustness, {escaped(one.kind)}:** {interval(one.flips, 'share')} of {one.rows:,} rows get another "
            f"label{followed}"
        )
    advised = None if card.abstention is None else card.abstention.advised
    if advised is not None:
        yield (
            f"**Abstaining** below a confidence of {number(advised.threshold, 'share')} answers "
            f"{interval(advised.coverage, 'share')} of the rows, {interval(advised.accuracy, 'share')} of them right"
        )
    for limit in card.limits:
        yield f"**Limit:** {escaped(limit)}"


def _disparities(column: SensitiveColumn) -> str:
    named = escaped(column.column)
    if not column.disparities:
        return f"**{named}:** fewer than two groups have {column.smallest} rows, so none are compared"
    beyond = [
        f"{escaped(column.metrics[one.metric].title)} {interval(one.difference, column.metrics[one.metric].format)} "
        f"apart ({escaped(one.best)} against {escaped(one.worst)})"
        for one in column.disparities
        if one.confirmed
    ]
    return f"**{named}:** " + ("; ".join(beyond) if beyond else "its groups do not differ beyond chance")
