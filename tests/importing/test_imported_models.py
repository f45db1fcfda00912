"""The results of an account's jobs become registered versions that answer."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

import luthier as lt
from luthier.accounts import offered_models
from luthier.importing.import_setup import ImportSetup
from luthier.importing.imported_models import AccountModels, JobModel
from luthier.importing.records import ImportedItem, NotImported
from luthier.tuning.job_runs import runs_at
from tests.importing.account import Account


def bring(account: Account) -> dict[str, ImportedItem | NotImported | None]:
    """Jobs into runs, then the models of these runs into the registry."""
    place = ImportSetup(account.endpoint).run().place
    models = AccountModels(account.endpoint, place)
    offered = {one.id for one in offered_models(account.endpoint).whole()}
    jobs = [job for job in map(JobModel.of_run, runs_at(place)) if job is not None]
    return {job.job: models.bring_job(job, offered=offered) for job in jobs}


@pytest.mark.usefixtures("store")
def test_each_model_that_is_still_there_is_registered_with_the_recipe_of_its_job(account: Account) -> None:
    found = bring(account)
    assert len(found) == 15
    missing = {job: one for job, one in found.items() if isinstance(one, NotImported)}
    *_, no_file, no_model, _ = account.ids("succeeded")
    assert set(missing) == {no_file, no_model}
    assert "deleted at the service" in missing[no_model].why
    assert "no recipe" in missing[no_file].why
    items = [one for one in found.values() if isinstance(one, ImportedItem)]
    assert {one.happened for one in items} == {"new"}
    assert {one.version for one in items if one.version} >= {"stars-0/1", "stars-json-7/1", "mood-json-11/1"}
    for item in items:
        name, version = str(item.version).split("/")
        registered = mlflow.MlflowClient().get_model_version(name, version)
        assert registered.run_id == item.run_id
    answered = lt.load("models:/stars-5/1").predict(["The food was great wonderful, visit 7"])
    assert list(answered["state"]) == ["ok"]
    files = {path: path.read_bytes() for path in Path("models").rglob("*.yaml")}
    again = bring(account)
    assert {one.happened for one in again.values() if isinstance(one, ImportedItem)} == {"unchanged"}
    assert {path: path.read_bytes() for path in Path("models").rglob("*.yaml")} == files
    assert len(mlflow.MlflowClient().search_model_versions()) == len(items)
