"""A service that names its price after the upload: the budget is held against it before anything is bought."""

from __future__ import annotations

from collections.abc import Iterator

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import BudgetReached, UserError
from luthier.tuning.job_runs import run_of_job
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.training_costs import CostForecast, TrainingBill
from luthier.tuning.tuners.openai import OpenAITuner
from luthier.tuning.tuners.tuner import JobState, Submission
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.tuning.conftest import BASE, make_spec


class QuotingTuner(OpenAITuner):
    """The embedded service, which is given a price list that is known only after the upload."""

    quoted_usd: float | None = 2.0

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        return None

    def quote(self, submission: Submission) -> float | None:
        assert submission.training_file
        return self.quoted_usd


@pytest.fixture
def tuner(spec: lt.FineTune) -> Iterator[QuotingTuner]:
    assert spec.endpoint is not None
    made = QuotingTuner(spec.endpoint)
    yield made
    made.close()


def plan(spec: lt.FineTune, tuner: QuotingTuner) -> TuningPlan:
    return plan_tuning(spec, reviews(20, seed=1), tuner=tuner)


@pytest.mark.usefixtures("store")
def test_a_job_above_the_budget_is_not_bought_and_its_run_says_why(
    spec: lt.FineTune, tuner: QuotingTuner, timing: Timing
) -> None:
    with pytest.raises(BudgetReached, match=r"\$2\.00.*\$1\.50"):
        submit(plan(spec, tuner), budget_usd=1.5, timing=timing)
    assert tuner.listed() == []
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.status, run.data.metrics["quoted_usd"]) == ("FAILED", 2.0)


@pytest.mark.usefixtures("store")
def test_a_job_within_the_budget_is_bought_once_its_price_is_reserved(
    spec: lt.FineTune, tuner: QuotingTuner, timing: Timing
) -> None:
    reserved: list[tuple[float | None, int]] = []
    job = submit(
        plan(spec, tuner),
        budget_usd=2.0,
        timing=timing,
        reserve=lambda usd: reserved.append((usd, len(tuner.listed()))),
    )
    assert reserved == [(2.0, 0)]
    assert len(tuner.listed()) == 1
    # Another process that goes on with the job knows the price too.
    again = run_of_job(job.id)
    assert again is not None
    assert again.quoted_usd == job.run.quoted_usd == 2.0


def test_the_part_that_was_not_trained_is_saved_of_the_quoted_price() -> None:
    forecast = CostForecast(lambda model, tokens, epochs: None, tokens=500, quoted_usd=2.0)
    running = JobState("job", "running", BASE, hyperparameters={"epochs": 2})
    assert forecast.cost_usd(running) == 2.0
    assert forecast.cost_of_tokens_usd(running, 250) == 0.5
    stopped = TrainingBill(1000, 250, cost_usd=0.6, planned_usd=forecast.planned_usd(running, 1000))
    assert stopped.saved_usd == pytest.approx(1.4)


@pytest.mark.usefixtures("store")
def test_what_cannot_be_reserved_is_not_bought(spec: lt.FineTune, tuner: QuotingTuner, timing: Timing) -> None:
    def none_left(usd: float | None) -> None:
        raise BudgetReached("the sweep has $0.10 left")

    with pytest.raises(BudgetReached, match="sweep"):
        submit(plan(spec, tuner), timing=timing, reserve=none_left)
    assert tuner.listed() == []


@pytest.mark.usefixtures("store")
def test_a_price_that_stays_unknown_does_not_fit_a_budget(
    spec: lt.FineTune, tuner: QuotingTuner, timing: Timing
) -> None:
    tuner.quoted_usd = None
    with pytest.raises(UserError, match="training_usd_per_million"):
        submit(plan(spec, tuner), budget_usd=5.0, timing=timing)
    assert tuner.listed() == []


def test_the_preflight_says_when_the_price_is_known(
    task: lt.Task, server: LocalServer, tuner: QuotingTuner, train: pd.DataFrame
) -> None:
    found = [str(one) for one in plan_tuning(make_spec(task, server), train, tuner=tuner, ask=False).check.findings]
    assert any("when the files are uploaded" in one for one in found)
