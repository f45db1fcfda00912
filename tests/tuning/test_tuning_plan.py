"""Plans of several jobs on the same tables, and jobs that belong to something larger."""

from __future__ import annotations

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.errors import SpecError
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning, replan
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.tuning.conftest import make_spec


@pytest.fixture
def plan(spec: lt.FineTune, train: pd.DataFrame) -> TuningPlan:
    return plan_tuning(spec, train, reviews(20, seed=9), ask=False)


def test_a_job_with_other_settings_is_planned_from_the_same_lines(
    plan: TuningPlan, task: lt.Task, server: LocalServer, train: pd.DataFrame
) -> None:
    other = make_spec(task, server, name="other", tuning={"epochs": 5}, decoding={"temperature": 0.5})
    found, anew = replan(plan, other), plan_tuning(other, train, reviews(20, seed=9), ask=False)
    assert found.check == anew.check
    assert found.digest == anew.digest
    assert found.check.train.content is plan.check.train.content


def test_a_job_with_another_template_has_lines_of_its_own(
    plan: TuningPlan, task: lt.Task, server: LocalServer, train: pd.DataFrame
) -> None:
    other = lt.FineTune(task, "{{ text }} -- stars?", answer="score", endpoint=plan.spec.endpoint, name="other")
    found, anew = replan(plan, other), plan_tuning(other, train, reviews(20, seed=9), ask=False)
    assert found.check == anew.check
    assert found.check.train.digest != plan.check.train.digest


def test_settings_out_of_bounds_are_refused_as_in_a_first_plan(
    plan: TuningPlan, task: lt.Task, server: LocalServer
) -> None:
    with pytest.raises(SpecError, match=r"tuning.lora_rank: .* has no such setting"):
        replan(plan, make_spec(task, server, tuning={"lora_rank": 8}))


@pytest.mark.usefixtures("store")
def test_the_run_of_a_job_stands_beneath_the_run_it_belongs_to(plan: TuningPlan, timing: Timing) -> None:
    parent = mlflow.MlflowClient().create_run(mlflow.create_experiment("stars")).info.run_id
    job = submit(plan, timing=timing, parent=parent)
    assert mlflow.get_run(job.run_id).data.tags["mlflow.parentRunId"] == parent
