"""A tracker that keeps runs in memory: for tests whose subject is not MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from luthier.evaluation.resampling import Interval
from luthier.reporting.table import Page
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Task
from luthier.tracking.runs import MlflowRun


@dataclass
class MemoryRun(MlflowRun):
    """What was logged to a run."""

    name: str = ""
    kind: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, Interval] = field(default_factory=dict)
    rows: int | None = None
    spent_usd: float | None = None
    spec: Spec | None = None
    fitted: Fitted | None = None
    answers: pd.DataFrame | None = None
    files: dict[str, str | None] = field(default_factory=dict)
    description: str = ""
    ended: bool = False

    def log_table(self, frame: pd.DataFrame, *, name: str, context: str, targets: str | None) -> None:
        self.tables[context] = name

    def log_params(self, values: Mapping[str, object]) -> None:
        self.params |= values

    def log_metrics(self, found: Mapping[str, Interval], rows: int) -> None:
        self.metrics |= found
        self.rows = rows

    def log_spent(self, usd: float | None) -> None:
        self.spent_usd = usd

    def log_spec(self, spec: Spec) -> None:
        self.spec = spec

    def log_fitted(self, fitted: Fitted) -> None:
        self.fitted = fitted

    def log_answers(self, frame: pd.DataFrame) -> None:
        self.answers = frame

    def log_text(self, text: str, name: str) -> None:
        self.files[name] = text

    def log_page(self, page: Page, *, figures: bool = True) -> None:
        # Not written: drawing a page takes longer than most comparisons of a test.
        self.files["report.html"] = None

    def tag(self, name: str, value: str) -> None:
        self.tags[name] = value

    def describe(self, markdown: str) -> None:
        self.description = markdown


class MemoryTracker:
    """Keeps runs in a list, oldest first."""

    def __init__(self) -> None:
        self.runs: list[MemoryRun] = []

    def find_fitted(self, task: Task, digest: str) -> Fitted | None:
        fits = [run.fitted for run in self.runs if run.fitted is not None and run.fitted.digest == digest]
        return fits[-1] if fits else None

    def mark_outdated(self, task: Task, digest: str, run_id: str) -> None:
        pass

    @contextmanager
    def run(
        self, task: Task, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
    ) -> Iterator[MemoryRun]:
        made = MemoryRun(f"run-{len(self.runs) + 1}", name, kind, dict(tags), parent)
        self.runs.append(made)
        yield made
        made.ended = True

    def of_kind(self, kind: str) -> list[MemoryRun]:
        """The runs of one kind, oldest first."""
        return [run for run in self.runs if run.kind == kind]
