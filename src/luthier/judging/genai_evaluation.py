"""Judged answers as an evaluation of `mlflow.genai`: a trace an answer, with the assessments of judge and people.

MLflow asks nothing: what its scorer hands over was asked, paid and kept by the engine before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.judging.answers_to_judge import ANSWER, COLUMNS, AnswersToJudge
from luthier.judging.human_ratings import HumanRatings
from luthier.tables.cells import utf8_safe
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt
from luthier.techniques.prompt.template import plain_cell

if TYPE_CHECKING:
    from mlflow.entities import Feedback

__all__ = ["TRACES", "TRACES_PER_SECOND", "Evaluation"]

TRACES = 100
"""Answers that are logged unless told otherwise."""

TRACES_PER_SECOND = 6
"""That MLflow 3.17 writes into a database file, with the threads below, on two cores."""

WORKERS = "2"
"""Threads that MLflow evaluates with. Its own ten, twice, wait for the 15 connections of a database file until they
give up after 30 s, and their traces are lost."""

QUIET = {
    "MLFLOW_GENAI_EVAL_MAX_WORKERS": WORKERS,
    "MLFLOW_GENAI_EVAL_ENABLE_SCORER_TRACING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow's, while it evaluates. Traces of the scorer itself would be of a look into a dictionary."""

LONGEST = 20_000
"""Characters of a text in a trace; the table of the run has all of it."""


@dataclass(frozen=True)
class Evaluation:
    """Judged answers, to be logged to a run.

    Attributes:
        judge: who rated them.
        answers: that were judged.
        ratings: one per answer.
        people: by rater the label of each answer.
    """

    judge: Prompt
    answers: AnswersToJudge
    ratings: Sequence[Prediction]
    people: HumanRatings

    def chosen(self, most: int) -> list[int]:
        """Places of at most so many answers, of the same rows for every spec: those that people rated first."""
        rows, specs = self.answers.rows, len(self.answers.specs)
        rated = {place % rows for labels in self.people.values() for place, one in enumerate(labels) if one is not None}
        drawn = sorted(random.Random(7).sample(range(rows), rows), key=lambda row: row not in rated)
        kept = sorted(drawn[: most // specs])
        every = [spec * rows + row for spec in range(specs) for row in kept]
        return [place for place in every if self.answers.records[place][ANSWER] is not None]

    def log(self, run_id: str, places: Sequence[int]) -> int:
        """Logs the answers at these places, and returns how many are there now.

        Args:
            run_id: of an MLflow run, which the MLflow UI then lists among its evaluations.
            places: of answers, from 0.

        Raises:
            MlflowException: the store keeps no traces.
        """
        import mlflow
        from mlflow.genai.scorers import scorer

        def rated(inputs: dict[str, Any]) -> list[Feedback]:
            return self._feedbacks(inputs["answer_number"] - 1)

        data = [self._line(place) for place in places]
        with _quietly(), _inside(run_id):
            found = mlflow.genai.evaluate(data=data, scorers=[scorer(name=self.judge.task.label)(rated)])
        return sum(bool(one) for one in found.result_df["assessments"])

    def _line(self, place: int) -> dict[str, Any]:
        record = self.answers.records[place]
        inputs = {"spec": record["spec"], "row": plain_cell(record["row"]), "text": record["text"]}
        inputs |= {name: plain_cell(record[name]) for name in self.judge.columns if name not in COLUMNS}
        line: dict[str, Any] = {
            "inputs": {name: _short(cell) for name, cell in inputs.items()} | {"answer_number": place + 1},
            "outputs": _short(record[ANSWER]),
        }
        if record["truth"] is not None:
            line["expectations"] = {"truth": _short(record["truth"])}
        return line

    def _feedbacks(self, place: int) -> list[Feedback]:
        from mlflow.entities import AssessmentError, AssessmentSource, Feedback

        judge, rating, task = self.judge, self.ratings[place], self.judge.task
        number = dict(zip(task.labels, task.values, strict=True)) if task.ordered else {}

        def value(label: Any) -> Any:
            return number.get(label, label)

        failed = None
        if rating.value is None:
            why = _short(rating.error or rating.state)
            failed = AssessmentError(error_code=rating.state.upper(), error_message=why)
        found = [
            Feedback(
                name=task.label,
                value=None if rating.value is None else value(rating.value),
                error=failed,
                rationale=_short(rating.call.raw),
                source=AssessmentSource("LLM_JUDGE", judge.name),
                metadata={"state": rating.state, "model": judge.base_model},
            )
        ]
        for rater, labels in self.people.items():
            if labels[place] is not None:
                name = f"{rater} (person)" if rater == task.label else rater
                found.append(Feedback(name=name, value=value(labels[place]), source=AssessmentSource("HUMAN", rater)))
        return found


def _short(cell: Any) -> Any:
    return utf8_safe(cell[:LONGEST]).replace("\0", "?") if isinstance(cell, str) else cell


@contextlib.contextmanager
def _inside(run_id: str) -> Iterator[None]:
    """MLflow evaluates into the run that is active. The caller's own stays as it is."""
    import mlflow

    with mlflow.start_run(run_id=run_id, nested=True):
        yield


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No bar, no lines about where results are, no telemetry; afterwards everything is as it was."""
    from mlflow.genai.evaluation import harness

    # An answer that the judge did not rate is no fault of the scorer; traces that are lost are counted.
    logger = logging.getLogger(harness.__name__)
    before = {name: os.environ.get(name) for name in QUIET}
    bar, level = harness.tqdm, logger.level
    os.environ.update(QUIET)
    harness.tqdm = None
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        harness.tqdm = bar
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
