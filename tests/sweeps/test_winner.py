"""The winner of a sweep is measured on rows that selection never saw, beside those it cannot be told from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, Engine, Price
from luthier.engine.options import RunOptions
from luthier.errors import ModelError
from luthier.providers.endpoint import Resource
from luthier.sweeps.measuring import TrialMeasurer
from luthier.sweeps.study_state import WinnerFigures
from luthier.sweeps.sweep_runs import SweepRuns
from luthier.sweeps.trial import SweepObjective, SweepTrial
from luthier.sweeps.winner import MOST_FINALISTS, find_winner
from luthier.tracking.runs import fitted_of_run
from luthier.tuning.timing import Timing
from luthier.tuning.tuners.azure import AzureTuner
from luthier_local import LocalServer
from tests.conftest import KEY, reviews
from tests.sweeps.studies import facts
from tests.tuning.azure_stand_in import ACCOUNT, GROUP, SUBSCRIPTION, AzureStandIn
from tests.tuning.conftest import BASE, make_spec

QWK = SweepObjective("qwk", "maximize")


@pytest.fixture
def options(engine: Engine) -> RunOptions:
    return RunOptions(engine=engine)


@pytest.fixture
def study(store: str, task: lt.Task) -> SweepRuns:
    new = replace(facts(objectives=[QWK]), run_id="")
    return SweepRuns.begin(lt.Baseline(task), new, {})


def prompts(task: lt.Task, endpoint: Endpoint, *templates: str) -> list[lt.Prompt]:
    return [
        lt.Prompt(task, template, answer="score", endpoint=endpoint, name=f"stars-t{number:03}")
        for number, template in enumerate(templates)
    ]


def measured(
    runs: SweepRuns, specs: Sequence[lt.Spec], selection: pd.DataFrame, options: RunOptions, train: pd.DataFrame
) -> list[SweepTrial]:
    """Each spec as a complete trial."""
    measurer = TrialMeasurer(specs[0].task, selection, train, options, compared=["qwk"])
    found = []
    for number, spec in enumerate(specs):
        run_id = runs.child(spec, number, {})
        figures = measurer.measure(spec, run_id).metrics
        found.append(SweepTrial(number, {}, "complete", (figures["qwk"],), figures, run_id=run_id))
    return found


@pytest.fixture
def holdout() -> pd.DataFrame:
    return reviews(150, seed=3)


@pytest.mark.slow
def test_the_winner_has_a_figure_on_both_kinds_of_rows(
    study: SweepRuns,
    task: lt.Task,
    endpoint: Endpoint,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
) -> None:
    trials = measured(study, prompts(task, endpoint, "Stars for: {{ text }}"), table, options, train)
    found = find_winner(task, study.facts, trials, holdout, options, parent=study.parent_id)
    assert found is not None
    (one,) = found.figures.finalists
    assert one.selection.value == trials[0].measured["qwk"]
    assert one.shrinkage == one.selection.value - one.holdout.value
    assert (found.figures.selection_rows, found.figures.holdout_rows) == (300, 150)
    run = mlflow.get_run(found.figures.run_id).data
    assert (run.metrics["qwk"], run.metrics["rows_evaluated"]) == (one.holdout.value, 150)
    above = mlflow.get_run(run.tags["mlflow.parentRunId"]).data
    assert above.tags["mlflow.parentRunId"] == study.parent_id
    assert WinnerFigures.of_document(found.figures.document()) == found.figures
    assert found.cost_usd == pytest.approx(0.15 * run.metrics["cost_per_1000_rows_usd"])


@pytest.mark.slow
def test_what_is_told_apart_on_the_selection_rows_is_not_paid_for_on_the_holdout_rows(
    study: SweepRuns,
    task: lt.Task,
    endpoint: Endpoint,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
) -> None:
    specs = prompts(task, endpoint, "Stars for: {{ note }}", "Stars for: {{ text }}", "Stars of {{ text }}:")
    trials = measured(study, specs, table.assign(note="nothing"), options, train)
    found = find_winner(task, study.facts, trials, holdout.assign(note="nothing"), options)
    assert found is not None
    assert sorted(one.number for one in found.figures.finalists) == [1, 2]


@pytest.mark.slow
def test_the_winner_stays_unless_another_is_told_apart_from_it_as_better(
    study: SweepRuns,
    task: lt.Task,
    endpoint: Endpoint,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
) -> None:
    specs = prompts(task, endpoint, "Stars for: {{ note }}", "Stars for: {{ text }}")
    trials = measured(study, specs, table.assign(note=table["text"]), options, train)
    alike = find_winner(task, study.facts, trials, holdout.assign(note=holdout["text"]), options)
    assert alike is not None
    assert (alike.figures.number, alike.figures.said) == (0, "")
    apart = find_winner(task, study.facts, trials, holdout.assign(note="nothing to read"), options)
    assert apart is not None
    assert apart.figures.number == 1
    assert "trial 1 is told apart from it as better" in apart.figures.said
    assert apart.result.spec.name == "stars-t001"


@pytest.mark.slow
def test_a_few_of_many_that_are_alike_are_measured_and_the_same_settings_once(
    study: SweepRuns,
    task: lt.Task,
    endpoint: Endpoint,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
) -> None:
    specs = prompts(
        task, endpoint, *["Stars for: {{ text }}"] * 2, *(f"Stars{':' * n} {{{{ text }}}}" for n in range(5))
    )
    trials = measured(study, specs, table, options, train)
    found = find_winner(task, study.facts, trials, holdout, options)
    assert found is not None
    assert len(found.figures.finalists) == MOST_FINALISTS
    assert "cannot be told from 1 more trial," in found.figures.said
    assert sum(one.number < 2 for one in found.figures.finalists) <= 1


def test_imported_failed_and_stopped_trials_never_win(task: lt.Task, options: RunOptions) -> None:
    study = facts(objectives=[QWK])
    figures = {"qwk": 0.9}
    trials = [
        SweepTrial(0, {}, "complete", (0.9,), figures, run_id="a" * 32, source="csv"),
        SweepTrial(1, {}, "failed", run_id="b" * 32),
        SweepTrial(2, {}, "pruned", run_id="c" * 32),
    ]
    assert find_winner(task, study, trials, reviews(20), options) is None


def test_a_sweep_for_cost_alone_has_no_winner_on_holdout_rows(task: lt.Task, options: RunOptions) -> None:
    study = facts(objectives=[SweepObjective("cost_usd", "minimize")])
    trials = [SweepTrial(0, {}, "complete", (0.9,), {"qwk": 0.9}, run_id="a" * 32)]
    assert find_winner(task, study, trials, reviews(20), options) is None


@pytest.mark.usefixtures("store")
def test_a_winner_in_another_tracking_store_is_named_with_the_cure(task: lt.Task, options: RunOptions) -> None:
    trials = [SweepTrial(4, {}, "complete", (0.9,), {"qwk": 0.9}, run_id="a" * 32)]
    with pytest.raises(ModelError, match=r"trial 4 is among the best.*MLFLOW_TRACKING_URI"):
        find_winner(task, facts(objectives=[QWK]), trials, reviews(20), options)


@pytest.mark.slow
def test_the_winner_is_packaged_with_its_figures_on_the_holdout_rows(
    study: SweepRuns,
    task: lt.Task,
    endpoint: Endpoint,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
) -> None:
    trials = measured(study, prompts(task, endpoint, "Stars for: {{ text }}"), table, options, train)
    found = find_winner(task, study.facts, trials, holdout, options)
    assert found is not None
    found.result.log(register="stars", alias="challenger")
    version = mlflow.MlflowClient().get_model_version_by_alias("stars", "challenger")
    assert "Measured on 150 rows" in version.description


@pytest.mark.slow
def test_a_winner_that_needs_a_deployment_has_one_only_while_it_is_measured(
    study: SweepRuns,
    task: lt.Task,
    server: LocalServer,
    table: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    options: RunOptions,
    timing: Timing,
) -> None:
    price = Price(input_usd_per_million=1, output_usd_per_million=2, hosting_usd_per_hour=1.7)
    place = Resource(subscription=SUBSCRIPTION, group=GROUP, account=ACCOUNT)
    with AzureStandIn(server.azure_url, KEY) as azure:
        asked = Endpoint(
            provider="azure", base_url=azure.url, model=BASE, api_key_env="STARS_KEY", resource=place, price=price
        )
        plane = ControlPlane(asked, client=azure.arm_client(), wait=timing.wait)
        tuner = AzureTuner(asked, plane=plane, wait=timing.wait)
        job = lt.tune(make_spec(task, server, endpoint=asked), train, tuner=tuner, timing=timing)
        run_id = study.adopt(job, 0, {})
        figures = TrialMeasurer(task, table, None, options).measure(job.spec, run_id, job).metrics
        trial = SweepTrial(0, {}, "complete", (figures["qwk"],), figures, run_id=run_id)
        found = find_winner(task, study.facts, [trial], holdout, options, tuner=tuner)
        assert found is not None
        assert job.need_hosting().leftovers() == []
        assert found.cost_usd is not None
        assert found.cost_usd > 0
        spec = fitted_of_run(found.result.run_id).spec
        assert spec.endpoint is not None
        assert spec.endpoint.model == job.need_result()
