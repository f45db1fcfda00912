"""The assessment of a packaged model: what it would ask and cost, then the answers, the scorecard and the MLflow run.

model + test rows --> predictions (engine) --> scorecard --> MLflow run
                  --> perturbed rows, explained rows (engine), if asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.errors import DataError, ModelError, UserError
from luthier.evaluation.explanations import Explanation
from luthier.evaluation.figures import check_measured, judge_scorecard
from luthier.evaluation.limits import known_limits
from luthier.plans import Plan, PlannedSpec, plan_rows
from luthier.responsible_ai.answers import answers_of, kept_answers
from luthier.responsible_ai.assessment_run import log_assessment
from luthier.responsible_ai.explanations import ExplainedRows, costliest_questions
from luthier.responsible_ai.measuring import Assessed, assessed
from luthier.responsible_ai.model_card import write_model_card
from luthier.responsible_ai.perturbations import (
    KINDS,
    PerturbedRows,
    costliest_changes,
    perturbations_from,
    perturbed_rows,
)
from luthier.responsible_ai.rai_report import RaiReport
from luthier.scoring.scored_model import Model
from luthier.tables import take_rows
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task, is_blank
from luthier.tracking.stores import connect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AssessmentSetup"]


class AssessmentSetup:
    """A packaged model and the rows it is to be assessed on, read once and checked.

    Args:
        model: what is assessed.
        test: rows with the columns the model reads. Without labels the scorecard says what can be said without.
        name: of the table.
        sensitive: columns of the table whose groups are compared.
        explain: most rows whose answer is explained passage by passage, 0 for none.
        perturb: most rows whose text is changed in ways that should not change the label, 0 for none.
        require: requirements beside those of the spec, as in `accuracy_low >= 0.8`.
        gate: whether requirements are judged; refuses those on figures that this assessment does not measure.

    Raises:
        ModelError: rows are to be explained or perturbed, and the model does not choose among labels.
        DataError: a column is missing, a label is wrong, or no row has a text.
        UserError: a requirement cannot be understood, there is none, or it is on a figure that is not measured.
    """

    def __init__(
        self,
        model: Model,
        test: pd.DataFrame,
        *,
        name: str = "the test table",
        sensitive: Sequence[str] = (),
        explain: int = 0,
        perturb: int = 0,
        require: Sequence[str] = (),
        gate: bool = False,
    ) -> None:
        spec = model.spec
        self.model, self.test, self.name = model, test, name
        self.task = spec.task
        for option, asked in (("--explain", explain), ("--perturb", perturb)):
            if asked and not self.task.labels:
                raise ModelError(
                    f"{option} compares the label of a text with that of a changed one, and an answer of task "
                    f"{self.task.name!r} is no single label. Leave it out: metrics, cohorts and groups need none."
                )
        spec.check_columns(test.columns, name)
        self.rows = rows_with_labels(self.task, test, name)
        if not any(text is not None for text in self.rows.texts):
            raise DataError(f"{name} has no row with a text in {self.task.text!r}.")
        self.sensitive = tuple(dict.fromkeys(sensitive))
        missing = [column for column in self.sensitive if column not in test.columns]
        if missing:
            raise DataError(
                f"{name} has no column {', '.join(map(repr, missing))} to compare groups by; its columns are: "
                f"{', '.join(map(str, test.columns))}."
            )
        known = (
            dict.fromkeys(self.task.text_columns, "the texts")
            | {self.task.label: "the truth"}
            | dict.fromkeys(self.task.raters, "what a rater said")
        )
        for column in self.sensitive:
            if column in known:
                raise DataError(
                    f"column {column!r} holds {known[column]}; groups are compared by a column that says "
                    "something else of the rows, such as a region."
                )
        self.explain, self.perturb = explain, perturb
        self.requirements = (*spec.gates, *require)
        if gate and not self.requirements:
            raise UserError(
                f"the spec of {model.uri} has no `gates:`, so there is nothing to hold it to. Add one here, as in "
                "--require 'accuracy_low >= 0.8', or log the model from a spec that has some."
            )
        if gate:
            check_measured(
                self.requirements,
                self.task,
                labelled=any(label is not None for label in self.rows.labels),
                sensitive=self.sensitive,
                kinds=KINDS,
                perturbed=perturb > 0,
            )

    @property
    def has_dashboards(self) -> bool:
        """Whether dashboards can show the model: they are of labels."""
        return bool(self.task.labels)

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What the assessment would send and cost; sends nothing.

        Which rows are perturbed or explained depends on what is predicted. As long as that is not known, the price is
        the most that any rows cost.
        """
        counted: set[bytes] = set()
        planned = [self._planned("", self.rows, options, counted)]
        known = None
        if self.perturb or self.explain:
            known = kept_answers(self.model.fitted, self.rows, options)
        if self.perturb:
            if known is None:
                changed = costliest_changes(self.rows, self.perturb, self.model.spec.columns)
            else:
                changed = self._perturbed(known).rows
            planned.append(self._planned(", perturbed", changed, options, counted))
        if self.explain:
            if known is None:
                without = costliest_questions(self.rows, self.explain)
            else:
                without = ExplainedRows(self.task, self.rows, self._assessed(known).chosen).rows
            planned.append(self._planned(", explained", without, options, counted))
        if known is None:
            planned[1:] = [one.at_most() for one in planned[1:]]
        return Plan(tuple(planned), options.budget_usd)

    def run(self, options: RunOptions = DEFAULTS) -> RaiReport:
        """Asks for what the journal does not have, and keeps scorecard and predictions as an MLflow run.

        Raises:
            EndpointError: the endpoint cannot be asked, and the journal has no answer to any row.
            BudgetReached: the money given is spent; what was paid for is in the journal.
            Interrupted: a signal came before the last row.
        """
        options = options.for_command()
        # A store that cannot be reached is found out before the first row, not after the last one was paid.
        connect(self.task)
        fitted = self.model.fitted
        answers = answers_of(fitted, self.rows, options, f"scoring {self.name}")
        found = self._assessed(answers.predictions)
        card = found.card
        if self.perturb:
            changed = self._perturbed(answers.predictions)
            after = answers_of(fitted, changed.rows, options, "scoring changed texts", needed=False)
            card = replace(
                card, perturbations=perturbations_from(changed, self.rows, answers.predictions, after.predictions)
            )
        explanations: tuple[Explanation, ...] = ()
        if found.chosen:
            explained = ExplainedRows(self.task, self.rows, found.chosen)
            without = answers_of(fitted, explained.rows, options, "explaining rows", needed=False)
            explanations = explained.explanations(answers.predictions, without.predictions)
        card = replace(card, gates=judge_scorecard(card, self.requirements))
        card = replace(card, limits=known_limits(card))
        assert options.report is not None
        spent_usd = options.report.spent_now_usd
        run_id = log_assessment(card, self.model, self.test, self.rows, answers.predictions, explanations, spent_usd)
        write_model_card(card, run_id)
        return RaiReport(card, self.rows, answers, found.features, explanations, run_id, options.report)

    def _planned(self, what: str, rows: Rows, options: RunOptions, counted: set[bytes]) -> PlannedSpec:
        name = self.model.spec.name + what
        if not len(rows):
            return PlannedSpec(name, 0)
        found = plan_rows(self.model.spec, rows, None, options, fitted=self.model.fitted, counted=counted)
        return replace(found, name=name)

    def _perturbed(self, predictions: Sequence[Prediction]) -> PerturbedRows:
        return perturbed_rows(self.task, self.rows, predictions, self.perturb, columns=self.model.spec.columns)

    def _assessed(self, predictions: Sequence[Prediction]) -> Assessed:
        return assessed(self.model, self.rows, predictions, self.name, self.sensitive, self.explain)


def rows_with_labels(task: Task, table: pd.DataFrame, name: str) -> Rows:
    """The rows of a table that may have labels, for all its rows or for some; a label that is none is refused."""
    rows = task.rows(table, source=name)
    if task.label in table.columns:
        given = [place for place, row in enumerate(rows.inputs) if not is_blank(row[task.label])]
        if given:
            task.rows(take_rows(table, given), labelled=True, source=name)
    return rows
