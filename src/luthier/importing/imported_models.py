"""What an account's models are in the registry: which recipe each is asked with, and its version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from luthier.importing.records import ImportedItem
from luthier.importing.spec_files import SpecFile, write_imported_spec
from luthier.importing.versions import (
    ImportedVersion,
    imported_versions,
    register_imported,
)
from luthier.model_names import ModelName, parse_model_name
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.techniques.finetune import FineTune, Tuned

__all__ = ["GIVE_ONE", "NO_RECIPE", "AccountModels", "Brought", "JobModel"]

FOLDER = Path("models/imported")
"""Where spec files go."""

NO_RECIPE = "its job's run has no recipe"
GIVE_ONE = "Write a spec with the prompt that it was trained with, and type: luthier tune attach JOB --spec SPEC"


@dataclass(frozen=True)
class JobModel:
    """The model that a job made.

    Attributes:
        job: the service's id.
        model: the result's name.
        base_model: what was trained.
        run_id: the job's run.
        recipe: how the model is asked; `None` where that is not known.
        why: why not, as a clause about "its" lines.
        cure: what to do then.
    """

    job: str
    model: str
    base_model: str
    run_id: str | None
    recipe: FineTune | None
    why: str = NO_RECIPE
    cure: str = GIVE_ONE

    @property
    def name(self) -> ModelName:
        """What it is, whatever it is called elsewhere."""
        return parse_model_name(self.model)

    @property
    def what_to_do(self) -> str:
        """The cure, for this job."""
        return self.cure.replace("JOB", self.job)

    def spec(self, endpoint: Endpoint, deployment: str) -> FineTune:
        """The recipe with its result, which answers from a deployment.

        Args:
            endpoint: of the account.
            deployment: what requests name.
        """
        assert self.recipe is not None
        # Answers are kept as those of the model: a deployment's name may be given to another one.
        there = {"model": deployment, "identity": f"{endpoint.address} {self.model}", "priced_as": self.base_model}
        tuned = Tuned(model=self.model, job=self.job, base_model=self.base_model, run_id=self.run_id)
        return self.recipe.untuned().with_tuned(tuned, endpoint=endpoint.model_copy(update=there))


@dataclass(frozen=True)
class Brought:
    """What was done about a model.

    Attributes:
        item: for the report.
        spec: what is registered: what its file says.
        version: `None` where nothing was written.
    """

    item: ImportedItem
    spec: Spec
    version: ImportedVersion | None


class AccountModels:
    """Brings the models of an account into the registry.

    Args:
        endpoint: of the account; its model does not matter.
        place: the account's address.
        folder: for spec files.
        write: `False` to say only what would happen.
    """

    def __init__(self, endpoint: Endpoint, place: str, *, folder: Path = FOLDER, write: bool = True) -> None:
        self.endpoint, self.place, self._folder, self.write = endpoint, place, folder, write

    def bring(
        self,
        item: ImportedItem,
        spec: Spec,
        *,
        name: str,
        tags: Mapping[str, str],
        alias: str | None = None,
        key: str | None = None,
    ) -> Brought:
        """Writes a spec file and registers what it says, in that order: a file that was edited counts.

        Args:
            item: what it is at the service, with the run that it comes from; without one nothing is written.
            spec: asks the model.
            name: of the registered model and of the file.
            tags: of the version.
            alias: of the version.
            key: what tells it from others of the account; its id when absent.

        Raises:
            LuthierError: the folder or the registry refuses.
        """
        key = item.id if key is None else key
        if not self.write or item.run_id is None:
            known = imported_versions(self.place, key, name)
            version = f"{known[-1].name}/{known[-1].version}" if known else None
            return Brought(replace(item, happened="unchanged" if known else "new", version=version), spec, None)
        file = self.write_spec(spec, name, f"{item.kind} {item.id}")
        found = register_imported(
            file.spec, item.run_id, place=self.place, model=key, name=name, tags=tags, alias=alias
        )
        happened = "updated" if found.happened == "unchanged" and file.happened == "new" else found.happened
        note = "; ".join(filter(None, (item.note, found.note, file.note)))
        done = replace(item, happened=happened, version=found.label, spec_file=str(file.path), note=note)
        return Brought(done, file.spec, found)

    def write_spec(self, spec: Spec, name: str, origin: str) -> SpecFile:
        """The spec's file; see `write_imported_spec`."""
        return write_imported_spec(spec, self._folder, name, origin)
