"""Deployments of an account as runs and registered versions: one registered model for each deployment.

A deployment whose model is exchanged gets a new version, and two deployments of one model are two registered models:
they are asked, limited and billed apart, and share the tag `luthier.model_key`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from luthier.accounts.azure_control_plane import FAILED
from luthier.accounts.records import DeployedModel
from luthier.errors import LuthierError
from luthier.importing.constant_words import ConstantWords
from luthier.importing.imported_models import AccountModels, JobModel
from luthier.importing.records import ImportedItem, NotImported
from luthier.importing.versions import IMPORTED, MODEL_KEY, ImportedVersion, quoted, registered_name
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques import Embedding, Prompt
from luthier.techniques.zero_shot import FOR_REASONING
from luthier.tracking.runs import MlflowRun, begin_run, spec_tags
from luthier.tracking.stores import connect, experiment_called
from luthier.tuning.job_runs import TUNE_TAGS

__all__ = ["DEPLOYED", "DeploymentsImport"]

DEPLOYED = "deployed"
"""Alias of the version that a deployment answers with now."""

DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{4}")
"""A version that is part of a model's name at other services; others, such as `1`, say nothing."""

REASONING = re.compile(r"o\d|gpt-5|gpt-oss")

CLASSES = "Which label does the text have? Answer with one of these and nothing else: {{ labels | join(', ') }}."
RATINGS = (
    "Which rating does the text have? Answer with one of these, from lowest to highest, and nothing else: "
    "{{ labels | join(', ') }}."
)


class DeploymentsImport:
    """Brings deployments, each by itself.

    Args:
        models: writes files and versions.
        jobs: the results of jobs that are known.
        task: what base models are to be asked; deployments of base models are left out without one.
    """

    def __init__(self, models: AccountModels, jobs: Iterable[JobModel], task: Task | None = None) -> None:
        self._models, self._task = models, task
        # By the job alone: of open weights, a name does not always tell who made them.
        self._jobs = {(job.name.job, job.name.checkpoint): job for job in jobs if job.name.is_tuned}

    def bring(self, deployed: DeployedModel) -> ImportedItem | NotImported:
        """A deployment as its version; why it is none, where it is not."""
        try:
            spec = self._spec(deployed)
            if isinstance(spec, NotImported):
                return spec
            if isinstance(spec, Embedding):
                return self._embedding(deployed, spec)
            return self._version(deployed, spec)
        except LuthierError as error:
            return NotImported("deployment", deployed.name, str(error))

    def _spec(self, deployed: DeployedModel) -> Spec | NotImported:
        def not_imported(why: str, cure: str = "", *, passes: bool = False) -> NotImported:
            return NotImported("deployment", deployed.name, why, cure, passes)

        if not deployed.answers:
            if deployed.state in FAILED:
                cure = "Delete it, or make it anew; then type the same command again."
                return not_imported(f"its state is {deployed.state}, so that it does not answer", cure)
            return not_imported(f"its state is {deployed.state}", "Type the same command again later.", passes=True)
        job = self._job(deployed)
        if deployed.model.is_tuned or job is not None:
            if job is None:
                why = f"it answers with {deployed.model_id}, whose job is not among those of the account"
                return not_imported(why, "Import all its jobs, without --since and --name, with a key that sees them.")
            if job.recipe is None:
                return not_imported(f"it answers with the model of {job.job}; {job.why}", job.what_to_do)
            return job.spec(self._models.endpoint, deployed.name)
        chats, embeds = _can(deployed, "chatCompletion"), _can(deployed, "embeddings")
        if not deployed.capabilities:
            chats, embeds = "embedding" not in deployed.model.family, "embedding" in deployed.model.family
        if not (chats or embeds):
            what = ", ".join(sorted(deployed.capabilities)) or "nothing that is known"
            return not_imported(f"{deployed.model_id} answers neither chat nor embeddings, but {what}")
        if self._task is None:
            why = f"it answers with {deployed.model_id}, a base model, and no task is known for it"
            return not_imported(why, "Name what it is to be asked: --task task.yaml")
        endpoint = deployment_endpoint(self._models.endpoint, deployed)
        return _prompt(self._task, endpoint, deployed) if chats else Embedding(self._task, endpoint=endpoint)

    def _job(self, deployed: DeployedModel) -> JobModel | None:
        return self._jobs.get((deployed.model.job, deployed.model.checkpoint))

    def _embedding(self, deployed: DeployedModel, spec: Embedding) -> ImportedItem:
        item = _item(deployed)
        if not self._models.write:
            return item
        file = self._models.write_spec(spec, deployed.name, f"deployment {deployed.name}")
        note = f"embeds; a classifier must be fitted on its vectors: luthier fit {file.path} --train TABLE"
        return replace(item, happened=file.happened, spec_file=str(file.path), note=note)

    def _version(self, deployed: DeployedModel, spec: Spec) -> ImportedItem:
        key = f"deployments/{deployed.name} {_full_id(deployed)}"
        job = self._job(deployed)
        tags = _tags(deployed, spec)
        name = registered_name(deployed.name)
        if not self._models.write:
            return self._models.bring(_item(deployed), spec, name=name, tags=tags, key=key).item
        run = self._run(deployed, spec, f"{self._models.place} {key}", tags)
        # A fine-tuned version comes from its job; the deployment's run is linked to its logged model.
        source = run if job is None or job.run_id is None else job.run_id
        if job is not None:
            tags[TUNE_TAGS["job"]] = job.job
        done = self._models.bring(
            replace(_item(deployed), run_id=source), spec, name=name, tags=tags, alias=DEPLOYED, key=key
        )
        assert done.version is not None
        _link(run, done.version, done.spec)
        return replace(done.item, run_id=run)

    def _run(self, deployed: DeployedModel, spec: Spec, key: str, tags: Mapping[str, str]) -> str:
        """The run of a deployment, with its own time."""
        import mlflow

        connect()
        quote = quoted(key)
        found = (
            []
            if quote is None
            else mlflow.search_runs(
                filter_string=f"tags.`{IMPORTED}` = {quote}", search_all_experiments=True, output_format="list"
            )
        )
        client = mlflow.MlflowClient()
        if found:
            run = found[0]
            changed = {name: value for name, value in tags.items() if run.data.tags.get(name) != value}
            if changed:
                MlflowRun(run.info.run_id).log_tags(changed)
            return str(run.info.run_id)
        all_tags = {**spec_tags(spec), **tags, IMPORTED: key}
        made = begin_run(
            experiment_called(spec.task.name), f"deploy {deployed.name}", "deploy", all_tags, started=deployed.created
        )
        given = {
            "target": self._models.endpoint.provider,
            "deployment": deployed.name,
            "model": _full_id(deployed),
            "sku": deployed.sku,
            "capacity": deployed.capacity,
        }
        made.log_params({name: value for name, value in given.items() if value is not None})
        ended = None if deployed.created is None else int(deployed.created * 1000)
        client.set_terminated(made.run_id, "FINISHED", ended)
        return made.run_id


def deployment_endpoint(endpoint: Endpoint, deployed: DeployedModel) -> Endpoint:
    """Where a deployment of a base model answers; its answers are kept as those of the model that answers now."""
    model = _full_id(deployed)
    there = {"model": deployed.name, "identity": f"{endpoint.address} {model}", "priced_as": model}
    return endpoint.model_copy(update=there)


def _prompt(task: Task, endpoint: Endpoint, deployed: DeployedModel) -> Prompt:
    """The task put as a plain question."""
    wording: dict[str, Any] = {"template": ConstantWords("", "").template(task.text)}
    given: dict[str, Any] = {"answer": "text" if task.labels else "json"}
    if task.labels:
        wording["system"] = RATINGS if task.ordered else CLASSES
    if REASONING.match(deployed.model.family):
        given |= FOR_REASONING
    return Prompt(task, prompt=wording, endpoint=endpoint, **given)


def _full_id(deployed: DeployedModel) -> str:
    """The model's name with its version, as other services spell it.

    Examples:
        >>> from luthier.model_names import ModelName
        >>> _full_id(DeployedModel("a", ModelName("openai", "gpt-4o"), "gpt-4o", "2024-08-06", "OpenAI", "Succeeded"))
        'gpt-4o-2024-08-06'
    """
    version = deployed.version or ""
    if not DATE.fullmatch(version) or deployed.model.is_tuned or deployed.model_id.endswith(version):
        return deployed.model_id
    return f"{deployed.model_id}-{version}"


def _can(deployed: DeployedModel, capability: str) -> bool:
    return str(deployed.capabilities.get(capability, "")).lower() == "true"


def _item(deployed: DeployedModel) -> ImportedItem:
    return ImportedItem(
        "deployment",
        deployed.name,
        "new",
        status=deployed.state,
        base_model=deployed.model_id,
        created=deployed.created,
    )


def _tags(deployed: DeployedModel, spec: Spec) -> dict[str, str]:
    """What is known of a deployment; its own tags may hold anything, and are left out."""
    assert spec.endpoint is not None
    told = {
        "luthier.deployment": deployed.name,
        "luthier.deployment_state": deployed.state,
        "luthier.deployment_sku": deployed.sku,
        "luthier.deployment_address": spec.endpoint.address,
        MODEL_KEY: deployed.model.key,
    }
    return {name: value for name, value in told.items() if value}


def _link(run: str, version: ImportedVersion, spec: Spec) -> None:
    """Ties a deployment's run to the version that answers there."""
    import mlflow
    from mlflow.entities import LoggedModelInput

    MlflowRun(run).log_tags(
        spec_tags(spec) | {"luthier.model_uri": version.model_uri, "luthier.model_version": version.label}
    )
    client = mlflow.MlflowClient()
    inputs = client.get_run(run).inputs
    if version.model_id is None or version.model_id in {one.model_id for one in inputs.model_inputs}:
        return
    client.log_inputs(run, models=[LoggedModelInput(model_id=version.model_id)])
