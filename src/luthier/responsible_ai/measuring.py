"""The scorecard of predictions that are there: metrics, cohorts, groups, confidence, and the rows worth explaining."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from luthier.evaluation.abstention import abstention
from luthier.evaluation.cohorts import find_cohorts
from luthier.evaluation.filters import category_names, meets
from luthier.evaluation.groups import compare_groups
from luthier.evaluation.metrics import EvaluatedRows, evaluate, evaluate_unlabelled
from luthier.evaluation.ranking import plots_of
from luthier.evaluation.scorecard import Scorecard
from luthier.evaluation.statistics import ALPHA, mcnemar, sign_flip
from luthier.evaluation.text_features import text_features
from luthier.responsible_ai.explanations import ChosenRow, choose_rows
from luthier.responsible_ai.facts import data_facts, model_facts, reported_metrics
from luthier.scoring.scored_model import Model
from luthier.tables import series_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task, is_blank

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Assessed", "assessed", "with_numbers"]


WRITTEN_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Assessed:
    """What predictions alone come to.

    Attributes:
        card: the scorecard, without what more calls are needed for.
        features: counts that describe the texts, one row per row.
        chosen: the rows that are worth explaining.
    """

    card: Scorecard
    features: pd.DataFrame
    chosen: tuple[ChosenRow, ...]


def assessed(
    model: Model,
    rows: Rows,
    predictions: Sequence[Prediction],
    name: str,
    sensitive: Sequence[str] = (),
    explain: int = 0,
) -> Assessed:
    """Measures predictions; asks nothing.

    Args:
        model: what answered.
        rows: the rows, with labels or without.
        predictions: one per row.
        name: of the table.
        sensitive: columns whose groups are compared.
        explain: most rows to choose for explaining.
    """
    task = model.spec.task
    rows = with_numbers(rows, task)
    features = text_features([text or "" for text in rows.texts])
    places = [
        place
        for place, prediction in enumerate(predictions)
        if rows.labels[place] is not None and prediction.state != "empty" and not prediction.transient
    ]
    card = Scorecard(
        task=task,
        model=model_facts(model),
        data=data_facts(task, name, rows, predictions),
        metrics=evaluate_unlabelled(task, [one for one in predictions if not one.transient]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    known = [place for place, prediction in enumerate(predictions) if not prediction.transient]
    columns = {column: [rows.inputs[place].get(column) for place in known] for column in sensitive}
    compared = compare_groups(
        task, [rows.labels[place] for place in known], [predictions[place] for place in known], columns
    )
    card = replace(card, sensitive=compared)
    searched = cohort_columns(rows, task, features)
    if places:
        card = _judged(card, model, rows, predictions, places, searched)
    members = {}
    if card.cohorts is not None:
        members = {str(one): np.flatnonzero(meets(searched, one.filters)).tolist() for one in card.cohorts.confirmed}
    for column in sensitive:
        groups = category_names(searched[column])
        members |= {
            f"{column} = {group}": [place for place, own in enumerate(groups) if own == group]
            for group in dict.fromkeys(groups)
        }
    chosen = choose_rows(task, rows, predictions, explain, members=members) if explain else ()
    return Assessed(card, features, chosen)


def with_numbers(rows: Rows, task: Task) -> Rows:
    """The rows with numbers in the user's own columns that hold nothing else; a csv has them as texts.

    A column in which a number begins with 0, as postcodes do, stays as it is.
    """
    columns = {}
    for name in own_columns(rows, task):
        cells = [None if is_blank(row.get(name)) else row[name] for row in rows.inputs]
        known = [cell for cell in cells if cell is not None]
        if known and all(isinstance(cell, str) and WRITTEN_NUMBER.fullmatch(cell.strip()) for cell in known):
            kind = int if all(re.fullmatch(r"[+-]?\d+", cell.strip()) for cell in known) else float
            columns[name] = [None if cell is None else kind(cell) for cell in cells]
    inputs = tuple(
        {**row, **{name: own[place] for name, own in columns.items()}} for place, row in enumerate(rows.inputs)
    )
    return replace(rows, inputs=inputs)


def own_columns(rows: Rows, task: Task) -> list[str]:
    """The columns of the user's table except texts, label and raters."""
    return [name for name in rows.inputs[0] if name not in (*task.text_columns, task.label, *task.raters)]


def cohort_columns(rows: Rows, task: Task, features: pd.DataFrame) -> pd.DataFrame:
    """What cohorts are searched in: counts of the texts, and the user's own columns except labels and raters."""
    import pandas as pd

    columns = {name: series_of([row.get(name) for row in rows.inputs]) for name in own_columns(rows, task)}
    return pd.concat([features, pd.DataFrame(columns)], axis="columns")


def _judged(
    card: Scorecard,
    model: Model,
    rows: Rows,
    predictions: Sequence[Prediction],
    places: Sequence[int],
    searched: pd.DataFrame,
) -> Scorecard:
    """The scorecard with what needs labels, of the rows at these places."""
    task = card.task
    truths, seen = [rows.labels[place] for place in places], [predictions[place] for place in places]
    evaluated = EvaluatedRows.of(task, truths, seen)
    metrics = evaluate(task, truths, seen)
    of_places = searched.iloc[list(places)].reset_index(drop=True)
    texts = [rows.texts[place] for place in places]
    constant = [task.kind.constant(truths)] * len(truths)
    always = EvaluatedRows.of(task, truths, constant)
    baseline = evaluate(task, truths, constant)
    if task.labels:
        confidences = [max(prediction.scores) if prediction.scores else np.nan for prediction in seen]
        chance = mcnemar(evaluated.correct, always.correct)
        better = metrics["accuracy"].value > baseline["accuracy"].value
    else:
        own = evaluated.judged.confidences
        confidences = [np.nan] * len(seen) if own is None or task.kind.graded else own.tolist()
        nearer = always.judged.distances - evaluated.judged.distances
        chance, better = sign_flip(nearer), float(nearer.sum()) > 0
    return replace(
        card,
        metrics=metrics,
        baseline=baseline,
        above_baseline=chance < ALPHA and better,
        rows_evaluated=len(places),
        plots=plots_of(evaluated),
        cohorts=find_cohorts(of_places, evaluated.judged.distances, texts=texts),
        abstention=abstention(confidences, evaluated.correct),
        reported=reported_metrics(model, metrics),
    )
