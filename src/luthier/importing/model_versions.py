"""Models of imported jobs as spec files and registered versions; at Azure, those that a deployment answers for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from luthier.accounts import DeployedModel
from luthier.importing.imported_models import GIVE_ONE, NO_RECIPE, JobModel
from luthier.importing.job_recipes import KnownRecipe
from luthier.importing.job_writing import BroughtJob
from luthier.importing.records import ImportedItem, NotImported
from luthier.importing.spec_files import write_imported_spec
from luthier.importing.versions import MODEL_KEY, register_imported, registered_name
from luthier.model_names import parse_model_name
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tracking.runs import MlflowRun
from luthier.tuning.job_runs import TUNE_TAGS
from luthier.tuning.tuners.tuner import JobState

__all__ = ["ModelVersions"]


class ModelVersions:
    """Registers the models of imported jobs.

    Args:
        place: address of the account.
        folder: of the spec files.
        register: registered model that all become versions of; one per task, or per model, when absent.
        deployed: the account's deployments; `None` at services where a tuned model answers by itself.
        offered: ids of the models that the service lists; empty where it lists none.
    """

    def __init__(
        self,
        place: str,
        folder: Path,
        register: str | None = None,
        deployed: Sequence[DeployedModel] | None = None,
        offered: Collection[str] = (),
    ) -> None:
        self._place, self._folder, self._register = place, folder, register
        self._deployed, self._offered = deployed, offered

    def why_not(self, one: BroughtJob) -> NotImported | None:
        """Why a job's model cannot be registered; `None` where it can."""
        model, job = str(one.state.tuned_model), one.state.id
        if self._offered and model not in self._offered:
            return NotImported("model", model, "deleted at the service: it is not among the models that are listed")
        if (one.recipe is None or one.recipe.spec is None) and (one.run is None or not one.run.has_recipe):
            why, told = ("", "") if one.recipe is None else (one.recipe.why, one.recipe.cure)
            cure = told or f"Give its spec: luthier tune attach {job} --spec SPEC"
            return NotImported("model", model, f"how it is asked is not known: {why or 'no recipe was found'}", cure)
        if self._deployed is not None and self._deployment_of(model) is None:
            deploy = f"luthier tune deploy {job}, then import again; a deployment is billed by the hour."
            return NotImported("model", model, "no deployment answers with it", deploy)
        return None

    def register(self, one: BroughtJob) -> ImportedItem:
        """Writes a job's model as a spec file and a registered version, each once.

        Args:
            one: a job that has succeeded, and its run.

        Raises:
            UserError: the folder or the registry refuses.
        """
        job, run, item = one.state, one.run, one.item
        assert run is not None
        recipe = one.recipe or KnownRecipe()
        base = recipe.spec or run.spec().untuned()
        file = write_imported_spec(
            self._tuned(base, job, run.run_id), self._folder, job.suffix or job.id, f"job {job.id}"
        )
        name = self._register or registered_name(base.task.name if recipe.is_of_task else None, job.suffix, job.id)
        version = register_imported(
            file.spec,
            run.run_id,
            place=self._place,
            model=str(job.tuned_model),
            name=name,
            tags={TUNE_TAGS["job"]: job.id, MODEL_KEY: parse_model_name(str(job.tuned_model)).key},
        )
        MlflowRun(run.run_id).tag(TUNE_TAGS["version"], version.label)
        changed = item.happened == "unchanged" and "new" in (version.happened, file.happened)
        return replace(
            item,
            happened="updated" if changed else item.happened,
            version=version.label,
            spec_file=str(file.path),
            note="; ".join(filter(None, [item.note, recipe.note, file.note, version.note])),
        )

    def job_model(self, one: BroughtJob) -> JobModel:
        """The model of a job, with its recipe as far as it is known."""
        told = one.recipe or KnownRecipe()
        recipe = told.spec or (one.run.spec() if one.run is not None and one.run.has_recipe else None)
        run_id = None if one.run is None else one.run.run_id
        why, cure = told.why or NO_RECIPE, told.cure or GIVE_ONE
        return JobModel(one.state.id, str(one.state.tuned_model), one.state.base_model, run_id, recipe, why, cure)

    def _tuned(self, base: FineTune, job: JobState, run_id: str) -> FineTune:
        assert job.tuned_model is not None
        block = Tuned(model=job.tuned_model, job=job.id, base_model=job.base_model, run_id=run_id)
        return base.with_tuned(block, name=base.name)

    def _deployment_of(self, model: str) -> DeployedModel | None:
        """The deployment that answers with a model; the oldest of several."""
        key = parse_model_name(model).key
        found = [one for one in self._deployed or () if one.answers and parse_model_name(one.model_id).key == key]
        return min(found, key=lambda one: (one.created or 0.0, one.name), default=None)
