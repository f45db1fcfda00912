"""The recipe of an imported job: how its model is asked, as its training file tells."""

from __future__ import annotations

from dataclasses import dataclass, replace

from luthier.errors import UserError
from luthier.importing.answer_sets import UnreadableRecipe
from luthier.importing.job_reading import JobParts
from luthier.importing.training_lines import TrainingRecipe, recipe_of
from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Rows, Task
from luthier.techniques.finetune import FineTune
from luthier.techniques.spec_writing import plain_name
from luthier.tuning.tuners.tuner import JobState

__all__ = ["JobRecipes", "KnownRecipe"]


@dataclass(frozen=True)
class KnownRecipe:
    """What is known of how a job's model is asked.

    Attributes:
        spec: the recipe, asking the base model; `None` where the training file tells none.
        is_of_task: whether the answers are those of the task that was given.
        why: why there is no recipe, as a clause about "its" training lines.
        cure: what to do then.
        note: what a reader should know of the recipe.
    """

    spec: FineTune | None = None
    is_of_task: bool = False
    why: str = ""
    cure: str = ""
    note: str = ""


class JobRecipes:
    """Reads recipes out of training files.

    Args:
        endpoint: of the account.
        task: whose labels the answers must be; a task is made of the answers when absent.
    """

    def __init__(self, endpoint: Endpoint, task: Task | None = None) -> None:
        self._endpoint, self._task = endpoint, task

    def learn(self, content: bytes) -> TrainingRecipe | UnreadableRecipe:
        """The recipe of a training file, or why it is none."""
        try:
            # The texts of a file are not kept: an account may have thousands of files.
            return replace(recipe_of(content, self._task), rows=Rows((), (), text=""))
        except UnreadableRecipe as error:
            return error

    def of(self, job: JobState, parts: JobParts) -> KnownRecipe:
        """The recipe of a job, as far as its training file tells one."""
        learned = parts.files[0].learned if parts.files else None
        if isinstance(learned, UnreadableRecipe):
            return KnownRecipe(why=learned.why, cure=learned.cure)
        if not isinstance(learned, TrainingRecipe):
            return KnownRecipe(why="its training lines could not be read")
        if not job.base_model:
            return KnownRecipe(why="its base model is not known")
        base = self._endpoint.model_copy(update={"model": job.base_model})
        try:
            spec = learned.spec(base, name=plain_name(job.suffix or job.id) or "imported")
        except UserError as error:
            return KnownRecipe(why=f"its training lines make no spec ({error})")
        if not isinstance(spec, FineTune):
            return KnownRecipe(why="it was trained on prompts and completions, not on chat turns")
        return KnownRecipe(spec, self._task is not None, note=learned.note)
