"""What an assessment gives back: a scorecard that shows itself, the rows behind it, and the dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.engine.ask_options import Progress
from luthier.engine.report import Report
from luthier.errors import MissingPart
from luthier.evaluation.explanations import Explanation
from luthier.evaluation.scorecard import Scorecard
from luthier.experiments.answer_tables import answers_frame
from luthier.reporting.html import fragment, write_page
from luthier.reporting.scorecard_report import scorecard_sections
from luthier.reporting.terminal import show, text_of
from luthier.responsible_ai.answers import Answers
from luthier.responsible_ai.assessment_run import PAGE, assessment_page
from luthier.responsible_ai.dashboards import Dashboards, check_dashboards
from luthier.responsible_ai.environment import IsolatedEnvironment, fetch_notice
from luthier.responsible_ai.measuring import with_numbers
from luthier.tasks.task import Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RaiReport"]


class RaiReport:
    """A scorecard and its MLflow run; a notebook shows it as a report, a terminal as text.

    Attributes:
        scorecard: the records behind the report.
        explanations: the rows that were explained.
        why_missing: why the first row without an answer has none; `None` if every row has one.
        run_id: the MLflow run that holds the page, the figures and the predictions.
        report: calls, tokens and money of this assessment.
    """

    def __init__(
        self,
        scorecard: Scorecard,
        rows: Rows,
        answers: Answers,
        features: pd.DataFrame,
        explanations: Sequence[Explanation],
        run_id: str,
        report: Report,
    ) -> None:
        self.scorecard, self.explanations = scorecard, tuple(explanations)
        self.why_missing, self.run_id, self.report = answers.why_missing, run_id, report
        self._rows, self._predictions, self._features = rows, answers.predictions, features

    @property
    def passed(self) -> bool:
        """Whether every requirement is met; also true where there is none."""
        return self.scorecard.passed

    @property
    def partial(self) -> bool:
        """Whether rows have no answer yet; assess again to ask for them."""
        return self.scorecard.data.missing > 0

    @property
    def frame(self) -> pd.DataFrame:
        """A row per metric: value, bounds of its 95% interval, and the value of the best constant answer."""
        return self.scorecard.frame()

    @property
    def cohorts(self) -> pd.DataFrame:
        """A row per cohort that was tested, worst first: its filters, rows, figures, and whether it is confirmed."""
        import pandas as pd

        found = self.scorecard.cohorts.cohorts if self.scorecard.cohorts is not None else ()
        names = ("cohort", "rows", "share", "value", "rest", "difference", "low", "high", "p", "confirmed")
        lines = [
            (str(one), one.rows, one.share, one.value.value, one.rest.value, one.difference.value, one.difference.low,
             one.difference.high, one.corrected, one.confirmed)
            for one in found
        ]  # fmt: skip
        return pd.DataFrame(lines, columns=list(names))

    @cached_property
    def answers(self) -> pd.DataFrame:
        """Row by row: text, truth, prediction columns, raw answer, cost, and the other columns of the table."""
        return answers_frame(self.scorecard.task, self._rows, self._predictions)

    def dashboard(self, *, fetch: bool = False, progress: Progress | None = None) -> Dashboards:
        """The Responsible AI dashboards of these rows; no model is called.

        They are made in a Python 3.11 environment of their own, which is fetched once.

        Args:
            fetch: whether that environment may be fetched if it is not there yet.
            progress: is told what is done; a bar on standard error when absent.

        Raises:
            ModelError: the model does not choose among labels.
            MissingPart: the environment is not there, and may not or cannot be fetched.
            DataError: no row has a text or a prediction.
        """
        check_dashboards(self.scorecard.task)
        environment = IsolatedEnvironment.of_dashboards()
        python = environment.find()
        if python is None and not fetch:
            raise MissingPart(f"{fetch_notice()}. To fetch them: report.dashboard(fetch=True)")
        return Dashboards(
            python or environment.make(progress),
            self.scorecard,
            with_numbers(self._rows, self.scorecard.task),
            self._predictions,
            self._features,
            self.explanations,
            self.run_id,
            progress,
        )

    @property
    def page(self) -> Path:
        """The run's page as a file of this machine, fetched where the store is elsewhere."""
        import mlflow

        return Path(mlflow.artifacts.download_artifacts(run_id=self.run_id, artifact_path=PAGE))

    def write_page(self, path: str | Path) -> Path:
        """Writes the scorecard as one HTML file that needs no network; `dashboard().write_page` adds the dashboards."""
        return write_page(assessment_page(self.scorecard, self.explanations), path)

    def show(self) -> None:
        """Prints the scorecard on standard output."""
        show(*scorecard_sections(self.scorecard))

    def _repr_html_(self) -> str:
        return fragment(*scorecard_sections(self.scorecard))

    def __repr__(self) -> str:
        return text_of(*scorecard_sections(self.scorecard))
