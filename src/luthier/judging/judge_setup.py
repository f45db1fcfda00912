"""A judge and the answers it is to rate, read and checked once: what it costs, and the judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from luthier.batches.answering import answer_by_batch
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.progress import ProgressForecast, shown
from luthier.errors import EndpointError, UserError
from luthier.experiments.fits import fit_on, training_for
from luthier.experiments.lacking import lacking_requests
from luthier.experiments.spec_results import answer_rows
from luthier.judging.answers_to_judge import AnswersToJudge
from luthier.judging.genai_evaluation import TRACES
from luthier.judging.human_agreement import agreement_with_people
from luthier.judging.human_ratings import human_ratings
from luthier.judging.judge_runs import log_judgement
from luthier.judging.judge_spec import check_columns_of, check_judge, self_preference, values_said
from luthier.judging.judgement import Judgement
from luthier.judging.judgement_facts import JudgementFacts
from luthier.judging.rated_rows import rated_rows
from luthier.judging.rating_length import length_correlation
from luthier.judging.rating_scores import rated_specs
from luthier.plans import Plan, plan_rows
from luthier.spec import Spec
from luthier.tables.cells import utf8_safe
from luthier.tasks.prediction import Prediction
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JudgeSetup"]

LONGEST_EXAMPLE = 80
"""Characters that are shown of what the judge said."""


class JudgeSetup:
    """What a judge needs, read and checked before anything is paid.

    Args:
        judge: a prompt spec over a rating or a classification, whose text column is `answer`.
        answers: that it is to rate.
        human: people's ratings of the same answers: names of columns, and a table.
        train: labelled rows for a judge with examples or calibration.
        traces: at most so many answers are logged as an evaluation of MLflow's, 0 for none.

    Raises:
        SpecError: the spec cannot be a judge, or needs training rows and there are none.
        DataError: the answers lack a column, or people's ratings are no labels of the judge.
        EndpointError: a key's variable is not set.
    """

    def __init__(
        self,
        judge: Spec,
        answers: AnswersToJudge,
        *,
        human: Sequence[Any] = (),
        train: pd.DataFrame | None = None,
        traces: int = TRACES,
    ) -> None:
        if isinstance(traces, bool) or not isinstance(traces, int) or traces < 0:
            raise UserError(f"traces is a whole number, 0 or more; given: {traces!r}.")
        self.judge = check_judge(judge)
        self.answers, self.traces = answers, traces
        check_columns_of(self.judge, answers)
        self.people, self.rated_elsewhere = human_ratings(self.judge.task, answers, human)
        self.training = training_for([self.judge], train)[self.judge.name]
        self.rows = self.judge.task.rows_of(answers.records)
        for endpoint in self.judge.all_endpoints:
            endpoint.key()

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What the judge would be sent, and cost; sends nothing. Equal answers to a row are asked about once."""
        return Plan((plan_rows(self.judge, self.rows, self.training, options),), options.budget_usd)

    def ask_by_batch(
        self, options: RunOptions = DEFAULTS, *, wait: bool = True, tracker: Tracker | None = None
    ) -> RunOptions:
        """Has the answers rated by the service's Batch API, as `ComparisonSetup.ask_by_batch` does.

        Returns:
            The options for `run`, which sends nothing then.
        """
        options = options.for_command()
        training = {self.judge.name: self.training}
        lacking = partial(lacking_requests, [self.judge], [self.rows], training, options, tracker or MlflowTracker())
        answer_by_batch(lacking, options, wait=wait, purpose=f"{self.judge.name} judges {self.answers.source}")
        return replace(options, journal_only=True)

    def run(
        self,
        options: RunOptions = DEFAULTS,
        *,
        tracker: Tracker | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> Judgement:
        """Has the answers rated, and keeps the judgement beneath the run of the comparison.

        Every rating is in the journal before anything is logged: the same call again costs nothing.

        Args:
            options: on what terms the judge is asked.
            tracker: where the runs are kept; MLflow when absent.
            told: is told in a line what takes long.

        Raises:
            BudgetReached: the budget does not reach; ratings so far are in the journal.
            EndpointError: the judge cannot be asked.
        """
        options = options.for_command()
        assert options.report is not None
        tracker = tracker or MlflowTracker()
        ratings = self._ratings(options, tracker)
        facts = replace(self._facts(ratings), spent_usd=options.report.spent_now_usd)
        return log_judgement(self, ratings, facts, tracker, told)

    def _ratings(self, options: RunOptions, tracker: Tracker) -> tuple[Prediction, ...]:
        judge = self.judge
        asked = sum(text is not None for text in self.rows.texts)
        with shown(options.progress, judge.name) as progress:
            ahead = ProgressForecast(progress, asked)
            own = replace(options, progress=ahead)
            fitted = fit_on(judge, self.training, own, tracker=tracker)
            ahead.answer_rows()
            result = answer_rows(fitted, self.rows, own)
        if asked and result.unanswered:
            raise EndpointError(
                f"judge {judge.name!r} rated no answer: {result.unanswered}. Remove the cause (luthier check SPEC "
                "helps to find it), then run the same command with --retry-failed."
            )
        return result.predictions

    def _facts(self, ratings: Sequence[Prediction]) -> JudgementFacts:
        judge, answers = self.judge, self.answers
        specs, pairs = rated_specs(judge, answers, ratings)
        agreement = agreement_with_people(judge.task, answers, ratings, self.people) if self.people else None
        notes = [self_preference(judge, answers), values_said(judge)]
        if self.rated_elsewhere:
            notes.append(
                f"{self.rated_elsewhere:,} lines of people's ratings are about none of these answers: the text, the "
                "`row` or the `spec` is another."
            )
        if answers.blank:
            notes.append(f"{answers.blank:,} rows have no text and are left out.")
        return JudgementFacts(
            judge=judge.name,
            model=judge.base_model,
            labels=judge.task.labels,
            ordered=judge.task.ordered,
            task="" if answers.task is None else answers.task.name,
            judged_run=answers.run_id,
            source=answers.source,
            specs=specs,
            pairs=pairs,
            rows=answers.rows,
            agreement=agreement,
            notes=tuple(filter(None, (*notes, *judge.notes()))),
            people_rated=sum(set(labels) != {None} for labels in zip(*self.people.values(), strict=True)),
            unread=_unread(ratings),
            to_look_at=rated_rows(judge, answers, ratings, [one.name for one in specs]),
            length_correlation=length_correlation(judge, answers, ratings),
        )


def _unread(ratings: Sequence[Prediction]) -> str:
    said = Counter(one.call.raw.strip() for one in ratings if one.state == "off_label" and one.call.raw)
    return str(utf8_safe(said.most_common(1)[0][0][:LONGEST_EXAMPLE])) if said else ""
