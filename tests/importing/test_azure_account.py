"""Of an Azure account jobs are brought as runs and deployments as versions that answer."""

from __future__ import annotations

import mlflow
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.importing.import_report import ImportReport
from luthier.importing.import_setup import ImportSetup
from luthier.tuning.tuners.azure import AzureTuner
from tests.conftest import KEY
from tests.importing.account import Account
from tests.importing.test_deployments import account as azure_endpoint
from tests.tuning.azure_stand_in import AzureStandIn


def bring(azure: AzureStandIn, task: lt.Task) -> ImportReport:
    endpoint = azure_endpoint(azure)
    tuner = AzureTuner(endpoint, plane=ControlPlane(endpoint, client=azure.arm_client()))
    names = ["stars-[0-2]", "stars-prod", "stars-eu", "other", "chat"]
    return ImportSetup(endpoint, task=task, tuner=tuner, name=names).run()


@pytest.mark.usefixtures("store")
def test_jobs_become_runs_and_deployments_become_versions_that_answer(account: Account, task: lt.Task) -> None:
    first, second, *_ = account.ids("succeeded")
    with AzureStandIn(account.server.base_url, KEY) as azure:
        azure.calls_until_ready = 0
        for name, job in (("stars-prod", first), ("stars-eu", first), ("other", second)):
            azure.deploy(name, account.job(job)["fine_tuned_model"])
        azure.deploy("chat", "gpt-4o", "2024-08-06")
        report = bring(azure, task)
        assert report.count("job") == 3
        versions = {item.id: item.version for item in report.items if item.kind == "deployment"}
        assert versions == {
            "stars-prod": "stars-prod/1",
            "stars-eu": "stars-eu/1",
            "other": "other/1",
            "chat": "chat/1",
        }
        runs = {item.id: item.run_id for item in report.items if item.kind == "job"}
        client = mlflow.MlflowClient()
        assert client.get_model_version("stars-eu", "1").run_id == runs[first]
        assert len(client.search_model_versions()) == 4
        without = [one for one in report.missing if "no deployment answers" in one.why]
        assert without
        answered = lt.load("models:/stars-prod@deployed").predict(["The food was great wonderful, visit 7"])
        assert list(answered["state"]) == ["ok"]
        again = bring(azure, task)
        assert {item.happened for item in again.items if item.kind == "deployment"} == {"unchanged"}
        assert len(client.search_model_versions()) == 4
