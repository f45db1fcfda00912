"""A scorecard with one of everything, for tests of what is made of scorecards."""

from __future__ import annotations

from luthier.evaluation.cohorts import Cohort, CohortSearch, Filter
from luthier.evaluation.groups import Disparity, GroupMetric, SensitiveColumn, SensitiveGroup
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import DataFacts, ModelFacts, Perturbation, Scorecard
from luthier.tasks.types import Plots
from tests.conftest import stars

TASK = stars()
MODEL = ModelFacts(
    uri="models:/stars/3", name="few", version="stars/3", technique="prompt", base_model="m", address=None,
    columns=("text",), fitted_digest="f" * 64, train_digest=None,
)  # fmt: skip
DATA = DataFacts(name="test", digest="d" * 64, rows=300, labelled=290, labels={"1": 290}, states={"ok": 300})


def cohort(difference: float, *, confirmed: bool = True) -> Cohort:
    shares = Interval(0.5, 0.4, 0.6)
    return Cohort(
        filters=(Filter("words", ">", 20),), rows=40, share=0.3, value=shares, rest=shares,
        difference=Interval(difference, difference - 0.1, difference + 0.1), p=0.001, corrected=0.01,
        confirmed=confirmed,
    )  # fmt: skip


def searched(*cohorts: Cohort) -> CohortSearch:
    return CohortSearch(cohorts, "error rate", rows=290, tested=9, columns=("words",), smallest=30)


def column(name: str, difference: float) -> SensitiveColumn:
    groups = (SensitiveGroup("n", 100, {}, True), SensitiveGroup("s", 80, {}, True), SensitiveGroup("w", 3, {}, False))
    metrics = {"accuracy": GroupMetric("accuracy", "higher", "share", "Share of rows that are right.")}
    disparity = Disparity("accuracy", Interval(difference, 0.0, 0.3), "n", "s", 0.04, 0.04, True)
    return SensitiveColumn(name, groups, metrics, (disparity,), smallest=30)


CARD = Scorecard(
    task=TASK,
    model=MODEL,
    data=DATA,
    metrics={"accuracy": Interval(0.8, 0.75, 0.85), "calibration_error": Interval(0.05, 0.02, 0.09)},
    rows_evaluated=290,
    plots=Plots(confusion=((232, 58), (0, 0))),
    cohorts=searched(cohort(0.2), cohort(0.3), cohort(0.9, confirmed=False)),
    sensitive=(column("Home region", 0.12),),
    perturbations=(
        Perturbation("typos", "Two letters change places.", 100, Interval(0.04, 0.01, 0.1)),
        Perturbation("injection", "An order.", 90, Interval(0.3, 0.2, 0.4), to_target=Interval(0.2, 0.1, 0.3)),
    ),
)
