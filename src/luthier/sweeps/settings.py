"""The settings of a sweep: a YAML file, or values in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from luthier.documents import described, path_of, read_yaml
from luthier.errors import SpecError
from luthier.evaluation.measures import measures_of, ranking_metric
from luthier.spec import Spec
from luthier.sweeps.early_stopping import EarlyStoppingSettings
from luthier.sweeps.samplers import sampler_of
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.trial import SweepObjective
from luthier.tasks.readable_errors import ReadableErrors, readable_validation_error
from luthier.tasks.task import NAME_PATTERN, Task
from luthier.techniques.finetune import FineTune
from luthier.techniques.registry import parse_spec, read_spec

__all__ = ["SweepSettings", "read_sweep"]

TRIAL_COST = "cost_usd"

FOLDER = "folder"
"""Key of the validation context: where paths within a file begin."""


class SweepSettings(BaseModel, metaclass=ReadableErrors):
    """What a sweep searches, in which space, and how.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> few = lt.Prompt(mood, "{{ text }}", endpoint=lt.openai("some-model"), name="few")
        >>> settings = SweepSettings(spec=few, space={"prompt.examples.count": {"int": [0, 8]}})
        >>> settings.name, settings.objective[0], settings.space.size
        ('few-sweep', SweepObjective(metric='weighted_f1', direction='maximize'), 9)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(default="", pattern=rf"^$|{NAME_PATTERN}", max_length=64)
    """Name of the study; the stem of the file when absent, in Python the name of the spec and `-sweep`."""
    spec: Spec
    """The spec that is varied: in place, or a path beside the file. Any technique; FILE#NAME for one of a grid."""
    space: SearchSpace
    """The settings that vary, by dotted path, each with its values: a list, `{int: [1, 20]}`, `{uniform: [0, 1]}`, both
    perhaps with a `step`, or `{log_uniform: [0.05, 2]}`. With `when: {head.method: automl}` a setting applies only
    where another one has this value, or one of a list."""
    objective: tuple[SweepObjective, ...] = Field(default=(), validate_default=True)
    """A metric of the task, as in `weighted_f1`; its ranking metric when absent. A list searches for the best
    compromises, as in [weighted_f1, cost_usd]; `cost_usd` is what the trial cost."""
    sampler: Literal["tpe", "random", "qmc", "grid"] = "tpe"
    """`tpe` learns from the trials before; `random` and `qmc` (evenly spread) do not; `grid` tries every point."""
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    """How jobs that go poorly are stopped before their end; `none` stops none."""
    seed: int = Field(default=7, ge=0)
    """Seed of the sampler, and of the split into selection and holdout rows."""

    @classmethod
    def make(cls, document: Mapping[str, Any], source: str = "the sweep", folder: Path | None = None) -> Self:
        """The settings that a document describes.

        Args:
            document: as YAML has it.
            source: where it stands, for messages.
            folder: where paths in it begin; the working folder when absent.

        Raises:
            SpecError: a key is unknown, missing or contradicts another; the message says what is allowed.
        """
        try:
            return cls.model_validate(dict(document), context={FOLDER: folder or Path()})
        except ValidationError as error:
            hint = _near_key(document, cls)
            raise SpecError(f"{source}: {readable_validation_error(error, cls)}{hint}") from error

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """The settings that `document` wrote."""
        return cls.make(document, f"the sweep {document.get('name')}")

    @field_validator("spec", mode="before")
    @classmethod
    def _reads_the_spec(cls, given: Any, info: ValidationInfo) -> Any:
        folder: Path = (info.context or {}).get(FOLDER, Path())
        if isinstance(given, str | Path):
            spec = read_spec(folder / given)
        elif isinstance(given, Mapping):
            if "grid" in given:
                raise SpecError("a sweep varies settings by its space; move the values of grid: there.")
            beside = {"task": "task.yaml"} if "task" not in given and (folder / "task.yaml").is_file() else {}
            spec = parse_spec({**beside, **given}, "the spec", folder)
        elif isinstance(given, Spec):
            spec = given
        else:
            raise SpecError(f"it is {described(given)}; give the path of a spec, or a spec in place.")
        if isinstance(spec, FineTune) and spec.tuned is not None:
            raise SpecError(
                f"spec {spec.name!r} is tuned already, and a sweep trains anew for every trial; give the spec that it "
                "was made from, or take its block tuned: out."
            )
        return spec

    @field_validator("space", mode="before")
    @classmethod
    def _reads_the_space(cls, given: Any, info: ValidationInfo) -> Any:
        spec = info.data.get("spec")
        if isinstance(given, SearchSpace) or spec is None:
            # Without a spec there is another fault to tell of, and no technique to read the space by.
            return given if isinstance(given, SearchSpace) else SearchSpace(())
        return SearchSpace.read(given, type(spec), "")

    @field_validator("objective", mode="before")
    @classmethod
    def _reads_the_objective(cls, given: Any, info: ValidationInfo) -> Any:
        spec = info.data.get("spec")
        return () if spec is None else _objectives(given, spec.task)

    @field_validator("early_stopping", mode="before")
    @classmethod
    def _is_off(cls, given: Any) -> Any:
        # YAML reads `off` as false.
        return "none" if given is False else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        stops = "early_stopping" in self.model_fields_set and self.early_stopping.is_on
        if stops and not isinstance(self.spec, FineTune):
            raise ValueError(
                f"early_stopping is for jobs of technique fine-tune; a trial of technique {self.spec.technique} is not "
                "trained step by step. Leave it out"
            )
        if stops and len(self.objective) > 1:
            raise ValueError(
                "early_stopping needs one objective: among the compromises of a front none is poor at first sight. "
                "Leave it out, or give one metric"
            )
        if not stops and (len(self.objective) > 1 or not isinstance(self.spec, FineTune)):
            object.__setattr__(self, "early_stopping", EarlyStoppingSettings(pruner="none"))
        self.early_stopping.check(self.space.paths)
        sampler_of(self.sampler, self.seed, self.objective, self.space.distributions())
        if not self.name:
            object.__setattr__(self, "name", f"{self.spec.name[:58]}-sweep")
        return self

    def document(self) -> dict[str, Any]:
        """The sweep as YAML has it, with the spec and its task in place."""
        return {
            "name": self.name,
            "spec": self.spec.document(),
            "space": self.space.document(),
            "objective": [one.metric for one in self.objective],
            "sampler": self.sampler,
            "early_stopping": self.early_stopping.model_dump(mode="json"),
            "seed": self.seed,
        }


def read_sweep(path: str | Path) -> SweepSettings:
    """The sweep in a YAML file.

    Raises:
        SpecError: the file is not there, is no YAML, or is no sweep; the message says what is allowed.
    """
    file = path_of(path, "a sweep", SpecError)
    document = read_yaml(file, "sweep", "Write one with the keys spec: and space:.")
    if not isinstance(document, dict) or not {"spec", "space"} & set(document):
        raise SpecError(
            f"{file} is not a sweep: it needs spec:, the path of a spec, and space:, the settings to vary, as in "
            "space: {prompt.examples.count: [1, 3, 5]}."
        )
    # A file may be called what a study may not: stars sweep (2).yaml.
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem)[:64].strip("._-")
    return SweepSettings.make({"name": stem, **document}, str(file), file.parent)


def _objectives(given: Any, task: Task) -> tuple[SweepObjective, ...]:
    """The objectives by the names of their metrics, checked.

    Raises:
        SpecError: the task has no such metric, one is there twice, or none says how good a trial is.
    """
    if given is None or given == ():
        given = [ranking_metric(task, None)]
    names = [given] if isinstance(given, str | SweepObjective) else given
    if not isinstance(names, list | tuple) or not names:
        raise SpecError(f"it is a metric, or a list of them; given: {described(given)}.")
    measures = measures_of(task)
    found: list[SweepObjective] = []
    for name in (one.metric if isinstance(one, SweepObjective) else one for one in names):
        if not isinstance(name, str) or name not in (*measures, TRIAL_COST):
            allowed = [*measures, TRIAL_COST]
            near = get_close_matches(str(name), allowed, 1, 0.6) or [one for one in allowed if str(name) in one]
            hint = f" Did you mean {near[0]}?" if near else ""
            said = repr(name) if isinstance(name, str) else described(name)
            raise SpecError(
                f"task {task.name!r}, a {task.type}, has no metric {said}; it has: {', '.join(allowed)}.{hint}"
            )
        better = "lower" if name == TRIAL_COST else measures[name].better
        found.append(SweepObjective(name, "maximize" if better == "higher" else "minimize"))
    twice = sorted({one.metric for one in found if found.count(one) > 1})
    if twice:
        raise SpecError(f"{', '.join(twice)} is there twice; a front lies between different metrics.")
    quality = [name for name, measure in measures.items() if measure.kind == "quality"]
    if not any(one.metric in quality for one in found):
        raise SpecError(
            f"{', '.join(one.metric for one in found)} alone would find a trial that costs little and says little; add "
            f"a metric of quality, as in [{quality[0]}, {found[0].metric}]."
        )
    return tuple(found)


def _near_key(document: Mapping[str, Any], model: type[BaseModel]) -> str:
    unknown = [str(key) for key in document if key not in model.model_fields]
    near = get_close_matches(unknown[0], model.model_fields, 1, 0.6) if unknown else []
    return f". Did you mean {near[0]}?" if near else ""
