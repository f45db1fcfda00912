"""What is made of one spec's answers: its entry on a leaderboard, and what a run keeps of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import TypeVar

from luthier.engine.options import RunOptions
from luthier.errors import EndpointError
from luthier.evaluation.leaderboard import Candidate
from luthier.evaluation.resampling import Interval
from luthier.experiments.answer_tables import answers_table
from luthier.experiments.board import SpecResult
from luthier.experiments.labelled_tables import LabelledTable, Leak
from luthier.spec import Fitted, Spec
from luthier.tasks.crossed_names import BETWEEN
from luthier.tasks.task import Rows
from luthier.techniques import Prompt
from luthier.tracking.runs import TAGS, MlflowRun
from luthier.tracking.stores import no_autologging

__all__ = ["answer_rows", "ask_with_or_without_temperature", "candidate_of", "log_result"]


Asked = TypeVar("Asked")


def answer_rows(fitted: Fitted, rows: Rows, options: RunOptions) -> SpecResult:
    """The answers to all rows, from the journal where it has them.

    Raises:
        BudgetReached: the budget of the options does not reach; answers so far are in the journal.
        EndpointError: nothing can be asked there, as with a wrong key.
    """
    with no_autologging():
        predictions = options.asking_engine().drive(fitted.predict(rows), fitted.spec.endpoint, options)
    return SpecResult(fitted, tuple(predictions), rows)


def ask_with_or_without_temperature(
    spec: Spec, fits: MutableMapping[str, Fitted], ask: Callable[[Spec], Asked]
) -> Asked:
    """What `ask` gives of a spec, or of the spec without a temperature where its model refuses that one is sent.

    Args:
        spec: what is asked.
        fits: what specs became; what this one became with its temperature is taken out.
        ask: raises `EndpointError` where the model refuses.
    """
    try:
        return ask(spec)
    except EndpointError as error:
        milder = _without_temperature(spec, error)
        if milder is None:
            raise
        fits.pop(spec.name, None)
        return ask(milder)


def _without_temperature(spec: Spec, error: EndpointError) -> Spec | None:
    """The prompt without a temperature, where a model that stands in for its own may have refused that it sends one.

    The spec is one for all models, so its author cannot leave the temperature out for the one that refuses it.

    Args:
        spec: what was asked.
        error: why it was refused.
    """
    if error.cause != "parameter" or BETWEEN not in spec.name or not isinstance(spec, Prompt):
        return None
    if spec.decoding.temperature is None:
        return None
    milder = spec.with_settings({"decoding.temperature": None})
    if spec.grid_point is not None:
        milder.mark_grid_point(spec.grid_point)
    return milder


def candidate_of(result: SpecResult, leak: Leak | None = None) -> Candidate:
    """The spec as a leaderboard measures it, with everything a reader of its figures should know.

    Args:
        result: what it answered.
        leak: rows of them that it was fitted on.
    """
    spec = result.spec
    notes = (*spec.notes(), *result.fitted.state.get("notes", ()))
    if leak is not None:
        notes = (*notes, f"{leak.rows:,} test rows are also in its training rows, so its figures may be too good.")
    guessed = sum(prediction.call.cost_estimated for prediction in result.predictions)
    if guessed:
        notes = (
            *notes,
            f"The cost of {guessed:,} rows is estimated from the lengths of their texts, as the service did not "
            "count all tokens.",
        )
    return Candidate(
        name=spec.name,
        technique=spec.technique,
        model=spec.base_model,
        spec_digest=spec.digest,
        fitted_digest=result.fitted.digest,
        predictions=result.predictions,
        notes=notes,
    )


def log_result(run: MlflowRun, result: SpecResult, table: LabelledTable, metrics: Mapping[str, Interval]) -> bool:
    """Keeps with a run what was measured, so that it can be packaged from there; returns whether rows are missing.

    Args:
        run: the run that measured it.
        result: what the spec became and answered.
        table: the rows it answered.
        metrics: by `metrics_of`.
    """
    task = result.spec.task
    run.log_fitted(result.fitted)
    run.log_table(table.frame, name=table.name, context="test", targets=task.label)
    run.log_metrics(metrics, sum(prediction.state != "empty" for prediction in result.predictions))
    if result.spec.endpoint is not None:
        # The comparison keeps what all of it cost; a list of prompts wants to know what each did.
        spent = [one.call.spent_usd for one in result.predictions if one.state != "empty"]
        run.log_spent(None if None in spent else math.fsum(usd for usd in spent if usd is not None))
    run.log_answers(answers_table(task, table.rows, result.predictions))
    partial = any(prediction.transient for prediction in result.predictions)
    if partial:
        run.tag(TAGS["partial"], "true")
    return partial
