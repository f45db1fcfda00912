"""An Azure account's deployments become runs and registered versions, each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

import luthier as lt
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.accounts.deployed import deployments
from luthier.endpoints import Endpoint
from luthier.importing.deployments_import import DeploymentsImport
from luthier.importing.imported_models import AccountModels, JobModel
from luthier.importing.records import ImportedItem, NotImported
from luthier.importing.versions import MODEL_KEY
from luthier.providers.endpoint import Resource
from luthier.techniques import read_spec
from luthier.tracking.runs import begin_run
from luthier.tracking.stores import experiment_called
from luthier_local import LocalServer
from tests.conftest import KEY
from tests.tuning.azure_stand_in import GROUP, SUBSCRIPTION, AzureStandIn

TUNED = [f"gpt-4.1-mini-2025-04-14.ft-{place:032x}" for place in (10, 11, 12)]
"""Models of three jobs; the middle one has a suffix."""

EMBEDDINGS = {"embeddings": "true"}
CREATED = 1_772_366_400
"""Unix time of 2026-03-01T12:00:00Z, at which the stand-in made every deployment."""


@pytest.fixture
def azure(server: LocalServer) -> Iterator[AzureStandIn]:
    """An Azure account whose models the embedded server answers."""
    with AzureStandIn(server.base_url, KEY) as standing:
        yield standing


def account(azure: AzureStandIn) -> Endpoint:
    resource = Resource(subscription=SUBSCRIPTION, group=GROUP, account="stars-account")
    return Endpoint(provider="azure", model="any", base_url=azure.url, api_key_env="STARS_KEY", resource=resource)


def fill(azure: AzureStandIn) -> None:
    """Ten deployments of eight models: three fine-tuned ones, four that chat and one that embeds."""
    azure.deploy("stars-0", TUNED[0])
    for place, model in enumerate(TUNED):
        azure.deploy(f"stars-{place}-eu", model, sku="Standard", capacity=10)
    for model, version in [("gpt-4o", "2024-08-06"), ("gpt-4.1-mini", "2025-04-14"), ("gpt-5-mini", "2025-08-07")]:
        azure.deploy(f"{model}-a", model, version)
    azure.deploy("llama", "Llama-3.3-70B-Instruct", "4", format="Meta")
    azure.deploy("Prod.Chat", "gpt-4o", "2024-08-06", tags={"owner": "someone@example.com"})
    azure.deploy("vectors", "text-embedding-3-small", "1", capabilities=EMBEDDINGS)


def job_of(task: lt.Task, model: str, endpoint: Endpoint) -> JobModel:
    base = endpoint.model_copy(update={"model": "gpt-4.1-mini-2025-04-14"})
    recipe = lt.FineTune(task, "Stars for: {{ text }}", answer="score", endpoint=base, name="stars")
    run = begin_run(experiment_called(task.name), "tune stars", "tune", {})
    return JobModel(f"ftjob-{model[-8:]}", model, "gpt-4.1-mini-2025-04-14", run.run_id, recipe)


@pytest.fixture
def jobs(task: lt.Task, azure: AzureStandIn, store: str) -> list[JobModel]:
    """The jobs that made the fine-tuned models; one tells its model with a suffix that the deployment lacks."""
    return [job_of(task, model, account(azure)) for model in (TUNED[0], f"{TUNED[1]}-stars-suffix", TUNED[2])]


def bring(
    azure: AzureStandIn, jobs: list[JobModel], task: lt.Task | None, **given: Any
) -> dict[str, ImportedItem | NotImported]:
    endpoint = account(azure)
    plane = ControlPlane(endpoint, client=azure.arm_client())
    models = AccountModels(endpoint, endpoint.address, **given)
    importing = DeploymentsImport(models, jobs, task)
    return {one.name: importing.bring(one) for one in deployments(endpoint, plane=plane).whole()}


def brought(found: ImportedItem | NotImported) -> ImportedItem:
    assert isinstance(found, ImportedItem), found
    return found


def test_ten_deployments_of_eight_models_are_all_brought(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    fill(azure)
    found = {name: brought(one) for name, one in bring(azure, jobs, task).items()}
    assert len(found) == 10
    assert {one.happened for one in found.values()} == {"new"}
    client = mlflow.MlflowClient()
    versions = {version.name: version for version in client.search_model_versions()}
    registered = {name for name, one in found.items() if one.version is not None}
    assert registered == set(versions) == set(found) - {"vectors"}
    keys = {version.tags[MODEL_KEY] for version in versions.values()}
    assert len(keys) == 7
    assert versions["stars-0"].tags[MODEL_KEY] == versions["stars-0-eu"].tags[MODEL_KEY]
    assert versions["Prod.Chat"].tags[MODEL_KEY] == versions["gpt-4o-a"].tags[MODEL_KEY] == "openai/gpt-4o@2024-08-06"
    tuned = [version for version in versions.values() if "luthier.job" in version.tags]
    assert {version.run_id for version in tuned} == {job.run_id for job in jobs}
    assert len(tuned) == 4
    for place in range(3):
        spec = read_spec(Path(str(found[f"stars-{place}-eu"].spec_file)))
        assert isinstance(spec, lt.FineTune)
        assert spec.endpoint is not None
        assert (spec.endpoint.model, spec.base_model) == (f"stars-{place}-eu", "gpt-4.1-mini-2025-04-14")
    chat = read_spec(Path(str(found["gpt-5-mini-a"].spec_file)))
    assert isinstance(chat, lt.Prompt)
    assert (chat.decoding.temperature, chat.answer.method) == (None, "text")
    assert chat.endpoint is not None
    assert (chat.endpoint.model, chat.endpoint.priced_as) == ("gpt-5-mini-a", "gpt-5-mini-2025-08-07")
    vectors = found["vectors"]
    assert read_spec(Path(str(vectors.spec_file))).technique == "embedding"
    assert "luthier fit" in vectors.note
    again = bring(azure, jobs, task)
    assert {brought(one).happened for one in again.values()} == {"unchanged"}
    assert len(client.search_model_versions()) == 9


def test_a_deployment_is_a_run_with_its_own_time_that_leads_to_its_version(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    azure.deploy("stars-prod", TUNED[0], sku="Standard", tags={"secret": "sk-someone-typed-it-here"})
    item = brought(bring(azure, jobs, task)["stars-prod"])
    client = mlflow.MlflowClient()
    run = client.get_run(str(item.run_id))
    assert (run.info.start_time, run.info.end_time, run.info.status) == (CREATED * 1000, CREATED * 1000, "FINISHED")
    assert run.data.tags["luthier.kind"] == "deploy"
    assert run.data.tags["luthier.model_version"] == "stars-prod/1"
    assert run.data.params["sku"] == "Standard"
    version = client.get_model_version("stars-prod", "1")
    assert version.run_id == jobs[0].run_id
    assert version.tags["luthier.deployment_sku"] == "Standard"
    assert [one.model_id for one in run.inputs.model_inputs] == [version.source.removeprefix("models:/")]
    assert "sk-someone" not in str(run.data.tags) + str(version.tags)
    assert lt.load("models:/stars-prod@deployed").spec.endpoint.model == "stars-prod"  # type: ignore[union-attr]


def test_an_imported_deployment_answers(task: lt.Task, azure: AzureStandIn, server: LocalServer, store: str) -> None:
    azure.calls_until_ready = 0
    azure.deploy("chat", "stars-model")
    brought(bring(azure, [], task)["chat"])
    answered = lt.load("models:/chat@deployed").predict(["Great soup, I loved it"])
    assert list(answered["state"]) in (["ok"], ["off_label"])


def test_a_deployment_that_moved_to_another_model_gets_a_new_version(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    azure.deploy("stars", TUNED[0])
    bring(azure, jobs, task)
    azure.deploy("stars", TUNED[1])
    moved = brought(bring(azure, jobs, task)["stars"])
    assert (moved.version, moved.happened) == ("stars/2", "new")
    assert str(mlflow.MlflowClient().get_model_version_by_alias("stars", "deployed").version) == "2"
    azure.deploy("stars", TUNED[0])
    back = brought(bring(azure, jobs, task)["stars"])
    assert (back.version, back.happened) == ("stars/1", "updated")


NOT_BROUGHT: Mapping[str, tuple[dict[str, Any], str, str, bool]] = {
    "failed": ({"model": "gpt-4o", "state": "Failed"}, "state is Failed", "make it anew", False),
    "creating": ({"model": "gpt-4o", "state": "Creating"}, "state is Creating", "again later", True),
    "elsewhere": ({"model": f"gpt-4o-2024-08-06.ft-{99:032x}"}, "whose job is not among", "without --since", False),
    "checkpoint": ({"model": "ftchkpt-0123abcd"}, "ftchkpt-0123abcd, whose job", "without --since", False),
    "images": ({"model": "gpt-image-1", "capabilities": {"imageGenerations": "true"}}, "imageGenerations", "", False),
}
"""Deployments by name, with why each is not brought, what helps, and whether that passes."""


def test_what_cannot_be_brought_says_why_and_what_to_do_and_stops_no_other(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    for name, (given, *_) in NOT_BROUGHT.items():
        azure.deploy(name, **given)
    azure.deploy("other", TUNED[0])
    found = bring(azure, jobs, task)
    assert isinstance(found["other"], ImportedItem)
    for name, (_, why, cure, passes) in NOT_BROUGHT.items():
        one = found[name]
        assert isinstance(one, NotImported), name
        assert why in one.why
        assert cure in one.cure
        assert one.passes == passes, name


def test_without_a_task_fine_tuned_deployments_are_brought_and_base_models_are_not(
    azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    azure.deploy("tuned", TUNED[0])
    azure.deploy("base", "gpt-4o", "2024-08-06")
    found = bring(azure, jobs, None)
    assert isinstance(found["tuned"], ImportedItem)
    base = found["base"]
    assert isinstance(base, NotImported)
    assert "--task" in base.cure


def test_a_deployment_of_a_model_without_a_recipe_says_why(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    azure.deploy("tuned", TUNED[0])
    free = replace(jobs[0], recipe=None, why="its answers are free text (412 different ones in 500 lines)")
    one = bring(azure, [free], task)["tuned"]
    assert isinstance(one, NotImported)
    assert "free text (412" in one.why
    assert f"luthier tune attach {free.job}" in one.cure


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(
    task: lt.Task, azure: AzureStandIn, jobs: list[JobModel]
) -> None:
    fill(azure)
    before = len(mlflow.search_runs(search_all_experiments=True))
    found = bring(azure, jobs, task, write=False)
    assert {brought(one).happened for one in found.values()} == {"new"}
    assert not Path("models").exists()
    assert len(mlflow.search_runs(search_all_experiments=True)) == before
    assert not mlflow.MlflowClient().search_model_versions()
