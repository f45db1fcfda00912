"""The Responsible AI dashboards of assessed rows: made in their own environment, saved as one page or served."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.engine.ask_options import Progress
from luthier.errors import ModelError
from luthier.evaluation.explanations import Explanation
from luthier.evaluation.scorecard import Scorecard
from luthier.reporting.html import framed, page_text, write_page
from luthier.responsible_ai.assessment_run import PAGE, assessment_page
from luthier.responsible_ai.dashboard_input import write_dashboard_input
from luthier.responsible_ai.dashboard_page import dashboard_sections
from luthier.responsible_ai.dashboard_server import DashboardServer
from luthier.responsible_ai.isolated_program import run_isolated
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.tracking.runs import MlflowRun

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dashboards", "check_dashboards"]


def check_dashboards(task: Task) -> None:
    """Refuses a task that the dashboards cannot show.

    Raises:
        ModelError: its answers are no labels.
    """
    if not task.labels:
        raise ModelError(
            f"the dashboards show models that choose among labels, and an answer of task {task.name!r} is no single "
            "label. The scorecard has its metrics, its cohorts and its groups; add --no-dashboard."
        )


class Dashboards:
    """The dashboards of one assessment, in a folder that goes with this object.

    Attributes:
        notes: what a reader should know, such as rows and columns that were left out.
    """

    def __init__(
        self,
        python: Path,
        card: Scorecard,
        rows: Rows,
        predictions: Sequence[Prediction],
        features: pd.DataFrame,
        explanations: Sequence[Explanation],
        run_id: str,
        progress: Progress | None = None,
    ) -> None:
        self._python, self._card, self._explanations, self._run_id = python, card, tuple(explanations), run_id
        self._progress = progress
        # A TemporaryDirectory would warn where a notebook lets go of this object.
        self._folder = Path(tempfile.mkdtemp(prefix="luthier-rai-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.notes = write_dashboard_input(
            self._input,
            card.task,
            rows,
            predictions,
            features,
            cohorts=card.cohorts.confirmed if card.cohorts is not None else (),
            sensitive=[column.column for column in card.sensitive],
            explanations=explanations,
        )

    @property
    def _input(self) -> Path:
        return self._folder / "input"

    @cached_property
    def _page(self) -> str:
        """The scorecard and the dashboards as one page, made when it is first wanted."""
        output = self._folder / "output"
        run_isolated(self._python, "build", self._input, output, progress=self._progress)
        return page_text(assessment_page(self._card, self._explanations, dashboard_sections(output)))

    def write_page(self, path: str | Path) -> Path:
        """Writes scorecard and dashboards as one HTML file, which opens from disk and needs no network."""
        return write_page(self._page, path)

    def log(self) -> None:
        """Puts the page with the dashboards into the run of the assessment, in place of the scorecard alone."""
        MlflowRun(self._run_id).log_file(PAGE, self.write_page)

    def serve(self, port: int | None = None) -> DashboardServer:
        """Serves scorecard and dashboards on this machine; error trees of any features are computed when asked for.

        Args:
            port: where it listens; a free port when absent.

        Returns:
            The server, up and healthy; its `url`, `wait()` and `stop()`. It ends with this process at the latest.
        """
        write_page(assessment_page(self._card, self._explanations), self._input / "scorecard.html")
        return DashboardServer(self._python, self._input, port=port, progress=self._progress)

    def _repr_html_(self) -> str:
        return framed(self._page)
