"""What a packaged model answers, from the endpoint where it can be reached, else from the journal alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from luthier.engine.options import RunOptions
from luthier.engine.progress import ProgressForecast, shown
from luthier.errors import EndpointError
from luthier.spec import Fitted
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.tracking.stores import no_autologging

__all__ = ["Answers", "answers_of", "kept_answers"]

UNANSWERED = Prediction(None, "failed", error="no answer yet", call=CallRecord(transient=True))


@dataclass(frozen=True)
class Answers:
    """What was answered.

    Attributes:
        predictions: one per row; rows without an answer are `failed`, for a reason that may pass.
        why_missing: why the first of those has none; `None` if every row has its answer.
    """

    predictions: tuple[Prediction, ...]
    why_missing: str | None = None


def answers_of(fitted: Fitted, rows: Rows, options: RunOptions, what: str, *, needed: bool = True) -> Answers:
    """Asks for every row that the journal does not know.

    An endpoint that is down costs no answer that was paid for: what the journal has is taken, the rest is missing.

    Args:
        fitted: what answers.
        rows: what is asked.
        options: on what terms.
        what: name of the progress bar.
        needed: whether there is nothing to go on with if no row is known.

    Raises:
        EndpointError: the endpoint cannot be asked, and the journal knows no row, though some are needed.
    """
    spec, engine = fitted.spec, options.asking_engine()
    with shown(options.progress, what) as showing, no_autologging():
        if spec.endpoints:
            showing = ProgressForecast(showing, sum(text is not None for text in rows.texts))
        try:
            found = engine.drive(fitted.predict(rows), spec.endpoint, replace(options, progress=showing))
        except EndpointError as error:
            kept = tuple(_kept(fitted, rows.take([place]), options) for place in range(len(rows)))
            if needed and all(prediction.value is None for prediction in kept):
                raise
            return Answers(kept, str(error))
    return Answers(tuple(found), next((prediction.error for prediction in found if prediction.transient), None))


def kept_answers(fitted: Fitted, rows: Rows, options: RunOptions) -> tuple[Prediction, ...] | None:
    """The predictions where nothing needs to be asked for them, else `None`; sends nothing."""
    spec, engine = fitted.spec, options.asking_engine()
    with no_autologging():
        found = engine.recall(fitted.predict(rows), spec.endpoint, options)
    return tuple(found.result) if found.complete and found.result is not None else None


def _kept(fitted: Fitted, row: Rows, options: RunOptions) -> Prediction:
    found = kept_answers(fitted, row, options)
    return UNANSWERED if found is None else found[0]
