"""The scorecard's plain records: what a model is, how well it does, for whom, and when it should not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from luthier.evaluation.abstention import Abstention
from luthier.evaluation.cohorts import CohortSearch
from luthier.evaluation.gates import Gate
from luthier.evaluation.groups import SensitiveColumn
from luthier.evaluation.resampling import Interval, plain
from luthier.tasks.prediction import State
from luthier.tasks.task import Task
from luthier.tasks.types import NO_PLOTS, Plots

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataFacts", "ModelFacts", "Perturbation", "ReportedMetric", "Scorecard"]

SCHEMA = 1
"""Version of the document."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What was assessed.

    Attributes:
        uri: as it was given.
        name: of the spec.
        version: `stars/3` for version 3 of the registered model `stars`; `None` if it is not registered.
        technique: `baseline`, `prompt`, ...
        base_model: the model behind it; `none` where there is none.
        address: where its texts are sent; `None` if nowhere.
        columns: columns of a row that it reads.
        fitted_digest: of the recipe and its training rows.
        train_digest: of the training rows; `None` if it was fitted on none.
        prompt: its prompt as text, with the few-shot examples' places; empty where it has none.
        purpose: what it is for, in the words of the spec or task; empty where they have none.
    """

    uri: str
    name: str
    version: str | None
    technique: str
    base_model: str
    address: str | None
    columns: tuple[str, ...]
    fitted_digest: str
    train_digest: str | None
    prompt: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The rows it was assessed on.

    Attributes:
        name: of the table.
        digest: of the rows under the task.
        rows: rows of the table.
        labelled: how many of them have a truth; 0 for a table without labels.
        labels: rows per true label, where answers are labels.
        states: rows per state of their prediction.
        missing: rows without an answer for a reason that may pass.
        answers: rows per predicted label, where answers are labels.
        confidences: rows per tenth of confidence, from 0-10% to 90-100%; empty where no row has probabilities.
        non_ascii: share of the texts' characters that are not ASCII.
    """

    name: str
    digest: str
    rows: int
    labelled: int
    labels: Mapping[str, int]
    states: Mapping[State, int]
    missing: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    confidences: tuple[int, ...] = ()
    non_ascii: float = 0.0


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How often a change of the text that should not change the label does.

    Attributes:
        kind: such as `typos`.
        description: the change, in a sentence.
        rows: rows that were asked again.
        flips: share of them whose label changed; at a temperature above 0 also for the model's own randomness.
        to_target: of an injected instruction, the share that did as it said; `None` for other kinds.
        examples: up to three flipped rows: text before, text after, label before, label after.
        left_out: sampled rows whose text cannot be changed in this way.
        unanswered: changed texts whose call failed; they are in no share.
    """

    kind: str
    description: str
    rows: int
    flips: Interval
    to_target: Interval | None = None
    examples: tuple[tuple[str, str, str, str], ...] = ()
    left_out: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """A figure that the service reported when the model was fine-tuned, and the measured one.

    Attributes:
        metric: its name.
        reported: the service's value.
        measured: value and interval on these rows.
    """

    metric: str
    reported: float
    measured: Interval


@dataclass(frozen=True)
class Scorecard:
    """Everything the scorecard says, as records; `reporting` draws it.

    Attributes:
        task: the question.
        model: what was assessed.
        data: the rows.
        metrics: metric to value and interval; empty for a table without labels.
        baseline: the same of the best constant answer, such as the most frequent label.
        above_baseline: whether it is right more often than that, by McNemar's test; of answers that are no labels,
            whether it is nearer to the truth, by a sign-flip test; `None` where that was not tested.
        rows_evaluated: rows that the metrics are about: those with a truth, a text and an answer.
        plots: what a report may draw of these rows, such as the confusion matrix.
        cohorts: where it is worst; `None` without labels.
        sensitive: per column that the user named.
        abstention: `None` without labels or probabilities.
        perturbations: empty if none was asked for.
        reported: empty unless the model was fine-tuned by a service that reported figures.
        gates: requirements of the spec, and how they came out.
        limits: known limits, each a sentence.
        created: when, as UTC in ISO 8601.
    """

    task: Task
    model: ModelFacts
    data: DataFacts
    metrics: Mapping[str, Interval]
    baseline: Mapping[str, Interval] = field(default_factory=dict)
    above_baseline: bool | None = None
    rows_evaluated: int = 0
    plots: Plots = NO_PLOTS
    cohorts: CohortSearch | None = None
    sensitive: tuple[SensitiveColumn, ...] = ()
    abstention: Abstention | None = None
    perturbations: tuple[Perturbation, ...] = ()
    reported: tuple[ReportedMetric, ...] = ()
    gates: tuple[Gate, ...] = ()
    limits: tuple[str, ...] = ()
    created: str = ""

    @property
    def passed(self) -> bool:
        """Whether every gate holds; also true where there is none."""
        return all(gate.passed for gate in self.gates)

    def frame(self) -> pd.DataFrame:
        """One row per metric: its value, the bounds of its 95% interval, and the value of the baseline.

        Columns: `metric`, `value`, `low`, `high`, `baseline`; missing where there is none.
        """
        import pandas as pd

        lines = []
        for name, found in self.metrics.items():
            constant = self.baseline.get(name)
            lines.append((name, found.value, found.low, found.high, constant and constant.value))
        numbers = ["value", "low", "high", "baseline"]
        return pd.DataFrame(lines, columns=["metric", *numbers]).astype(dict.fromkeys(numbers, "float64"))

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, none of them NaN; an interval is `[value, low, high]`."""
        parts = {item.name: plain(getattr(self, item.name)) for item in fields(self) if item.name != "task"}
        return {"schema": SCHEMA, "task": self.task.document(), **parts, "passed": self.passed}
