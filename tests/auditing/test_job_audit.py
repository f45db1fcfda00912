"""The audit of a job: asked from the service's terms to the serving ones, in parts that add up."""

from __future__ import annotations

from collections.abc import Callable

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.auditing.job_audit import ConditionChain, chain_of, chains_of, jobs_of_sweep, plan_chains
from luthier.errors import DataError, ModelError, SpecError, UserError
from luthier.tuning.timing import Timing
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.tuning.conftest import make_spec

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def validation() -> pd.DataFrame:
    return reviews(20, seed=9)


@pytest.fixture
def test() -> pd.DataFrame:
    return reviews(30, seed=11)


@pytest.fixture
def job(spec: lt.FineTune, train: pd.DataFrame, validation: pd.DataFrame, timing: Timing) -> lt.Job:
    return lt.tune(spec, train, validation, timing=timing)


def changes(chain: ConditionChain) -> list[str]:
    return [step.changes for step in chain.conditions]


@pytest.mark.slow
def test_the_parts_of_a_job_add_up(job: lt.Job, validation: pd.DataFrame, test: pd.DataFrame) -> None:
    audited = lt.audit(job, test, validation=validation)
    parts = audited.parts
    for metric, of_metric in parts.groupby("metric"):
        [pair] = audited.pairs[audited.pairs["metric"] == metric].to_dict("records")
        assert of_metric["share"].sum() == pytest.approx(pair["reported"] - pair["measured"])
    assert {"definition", "rows"} <= set(parts["changes"])
    run = mlflow.get_run(audited.run_id)
    assert run.data.tags["luthier.job"] == job.id
    assert run.data.tags["luthier.kind"] == "audit"
    assert run.data.metrics["spent_usd"] >= 0
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == {"test", "validation"}


@pytest.mark.slow
def test_the_measured_figure_is_the_one_of_a_comparison(
    job: lt.Job, validation: pd.DataFrame, test: pd.DataFrame
) -> None:
    [pair] = [
        line
        for line in lt.audit(job, test, validation=validation).pairs.to_dict("records")
        if line["metric"] == "weighted_f1"
    ]
    assert pair["measured"] == pytest.approx(lt.compare(job.spec, test).frame.loc[0, "weighted_f1"])


@pytest.mark.slow
def test_a_model_asked_as_it_was_trained_changes_only_the_rows(
    job: lt.Job, validation: pd.DataFrame, test: pd.DataFrame
) -> None:
    assert changes(chain_of(job, test, validation=validation)) == ["definition", "rows"]
    assert changes(chain_of(job, validation, validation=validation)) == ["definition"]
    assert changes(chain_of(job, test)) == ["definition"]


def test_each_change_of_serving_is_a_step_of_its_own(job: lt.Job, validation: pd.DataFrame, test: pd.DataFrame) -> None:
    served = job.spec._fields() | {
        "name": "served",
        "answer": {"method": "text"},
        "prompt": {"template": "How many stars? {{ text }}"},
        "decoding": {"temperature": 0.7},
    }
    chain = chain_of(job, test, validation=validation, serving=lt.FineTune.model_validate(served))
    assert changes(chain) == ["definition", "labels", "prompt", "decoding", "rows"]
    assert chain.conditions[-1].spec.digest == lt.FineTune.model_validate(served).digest


@pytest.mark.slow
def test_asking_again_costs_nothing(
    job: lt.Job, validation: pd.DataFrame, test: pd.DataFrame, server: LocalServer
) -> None:
    chains = chains_of(job, test, validation=validation)
    assert plan_chains(chains).requests == 50
    assert plan_chains([*chains, *chains]).requests == 50
    lt.audit(job, test, validation=validation)
    sent = server.received.by_path["chat/completions"]
    lt.audit(job, test, validation=validation)
    assert server.received.by_path["chat/completions"] == sent
    assert plan_chains(chains).requests == 0


@pytest.mark.slow
def test_a_validation_row_without_a_text_does_not_make_the_services_rows_others(
    spec: lt.FineTune, train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, timing: Timing
) -> None:
    validation.loc[3, "text"] = None
    audited = lt.audit(lt.tune(spec, train, validation, timing=timing), test, validation=validation)
    assert not any("rows, the first condition" in note for note in audited.audit.attributions[0].notes)
    # On the very rows the service counted, the difference is counted, too, and has no interval.
    assert audited.parts[audited.parts["changes"] == "definition"]["share_low"].isna().all()


@pytest.mark.slow
def test_the_table_a_job_was_tuned_with_is_taken_though_leaked_rows_were_dropped(
    spec: lt.FineTune, train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, timing: Timing
) -> None:
    leaky = pd.concat([validation, test.head(2)], ignore_index=True)
    job = lt.tune(spec, train, leaky, test=test, drop_leaked=True, timing=timing)
    chain = chain_of(job, test, validation=leaky)
    assert (chain.reported_rows, len(chain.conditions[0].rows)) == (20, 20)


def test_other_validation_rows_are_refused(job: lt.Job, test: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="not the validation rows of job"):
        chain_of(job, test, validation=reviews(20, seed=10))
    with pytest.raises(DataError, match="or not in the order"):
        chain_of(job, test, validation=reviews(20, seed=9)[::-1])


@pytest.mark.slow
def test_another_jobs_spec_is_refused(job: lt.Job, test: pd.DataFrame, spec: lt.FineTune) -> None:
    with pytest.raises(SpecError, match="is not tuned yet"):
        chain_of(job, test, serving=spec)


@pytest.mark.slow
def test_several_jobs_are_compared_over_models(
    task: lt.Task,
    server: LocalServer,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    timing: Timing,
    jobs_at: Callable[[], list[str]],
) -> None:
    with mlflow.start_run(experiment_id=mlflow.create_experiment("sweeps")) as parent:
        for rate in (0.05, 0.3, 2.0):
            tuning = {"epochs": 1, "batch_size": 8, "learning_rate_multiplier": rate}
            lt.tune(make_spec(task, server, tuning=tuning), train, validation, timing=timing)
    jobs = jobs_of_sweep(parent.info.run_id)
    assert sorted(jobs) == sorted(jobs_at())
    audited = lt.audit(jobs, test, validation=validation)
    assert len(audited.pairs) == 2 * 3
    assert len(audited.frame) == 2
    with pytest.raises(UserError, match="one by one"):
        chains_of(jobs, test, serving=make_spec(task, server))
    with pytest.raises(ModelError, match="no succeeded job has its run beneath"):
        jobs_of_sweep("0" * 32)


def test_nothing_to_audit_says_what_to_give(test: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"luthier audit JOB --test TABLE"):
        lt.audit([], test)
