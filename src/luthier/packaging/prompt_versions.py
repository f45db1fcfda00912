"""Prompts in MLflow's prompt registry: a version per wording, with what changed, what it was made from and its figures.

Models do not depend on it: registered prompts can be edited, so the text also travels inside a model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luthier.evaluation.interval import Interval
from luthier.reporting.numbers import interval, metric_format
from luthier.spec import Spec
from luthier.techniques import Decision, Prompt
from luthier.techniques.wordings import digest_of_wording, wording_change, wording_of
from luthier.tracking.runs import LONGEST_TAG, TAGS, model_versions, tag_of
from luthier.tracking.stores import known_experiment
from luthier.tracking.version_descriptions import described_metrics

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

__all__ = [
    "PARENT_VERSION",
    "PromptStep",
    "PromptVersionFound",
    "prompt_name",
    "prompt_versions_of",
    "register_prompt",
    "register_prompt_history",
]

PARENT_VERSION = "luthier.prompt_parent_version"
"""Tag of a prompt's version: the number of the version it was made from."""

MEASURED_ON = "luthier.measured_on"
"""Tag of a prompt's version: the rows its figures are of."""

FIGURE = "luthier.figure."
"""What tags with the figures of a prompt's version begin with; a metric's name follows."""

IS_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"

EXPERIMENTS = "_mlflow_experiment_ids"
"""Tag of a prompt: the experiments whose pages list it."""

LONGEST_MESSAGE = 1000
"""Characters of a commit message; MLflow's page shows it beside the version."""


@dataclass(frozen=True)
class PromptStep:
    """A prompt and what is known of it.

    Attributes:
        spec: the recipe whose wording is registered.
        parent: the recipe it was made from; `None` for the first, or where that is not known.
        how: by what means it was made, as in `instructions rewritten from 12 wrong rows`.
        figures: what was measured, by metric.
        measured_on: the rows of these figures in words, as in `200 rows of validation.csv`.
        test_digest: of these rows.
    """

    spec: Spec
    parent: Spec | None = None
    how: str = ""
    figures: Mapping[str, Interval] = field(default_factory=dict)
    measured_on: str = ""
    test_digest: str = ""


@dataclass(frozen=True, slots=True)
class PromptVersionFound:
    """A version in MLflow's prompt registry.

    Attributes:
        name: of the prompt with the version, such as `stars.few/3`.
        digest: of the wording; `None` for a version of an earlier Luthier.
        spec_digest: of the spec; `None` for one that another tool made.
    """

    name: str
    digest: str | None
    spec_digest: str | None


def prompt_versions_of(task: str) -> tuple[PromptVersionFound, ...]:
    """The versions of the prompts of a task in MLflow's prompt registry, in the order of their names and numbers.

    Raises:
        MlflowException: the store cannot be reached, or has no prompts.
    """
    begun = re.sub(r"[^A-Za-z0-9_.-]", "-", task)
    found = model_versions(f"name LIKE '{begun}.%' AND {IS_PROMPT}")
    return tuple(
        PromptVersionFound(
            f"{one.name}/{one.version}", tag_of(one.tags, "prompt_digest"), tag_of(one.tags, "spec_digest")
        )
        for one in sorted(found, key=lambda one: (one.name, int(one.version)))
    )


def prompt_name(spec: Spec, name: str | None = None) -> str:
    """The name that MLflow knows the prompts of a spec by.

    Args:
        spec: the recipe.
        name: a name instead of the spec's own.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{spec.task.name}.{name or spec.name}")


def register_prompt_history(steps: Sequence[PromptStep], name: str | None = None) -> tuple[str | None, ...]:
    """Registers prompts as versions of one prompt, in this order; one that is registered already gets no new version.

    Args:
        steps: each after the one it was made from.
        name: the spec's name they are registered under; that of the last one when absent, as it is the one in use.

    Returns:
        The URI of each, such as `prompts:/stars.few/3`; `None` for a spec without a prompt, or where the registry
        takes none.
    """
    if not steps:
        return ()
    return tuple(register_prompt(step, name or steps[-1].spec.name) for step in steps)


def register_prompt(step: PromptStep, name: str | None = None) -> str | None:
    """The version of a prompt in MLflow's prompt registry, a new one only for a new wording; `None` if it takes none.

    A version that exists gets the figures of the step.

    Args:
        step: the prompt.
        name: the spec's name it is registered under; its own when absent.
    """
    from mlflow.exceptions import MlflowException

    if not isinstance(step.spec, Prompt | Decision):
        return None
    try:
        return _register(step, prompt_name(step.spec, name))
    except MlflowException as error:
        # Too long for it, or a store that has none.
        logger.warning(
            "the prompt of %s is not among MLflow's prompts, as the registry did not take it; models have it: %s",
            step.spec.name,
            error.message.splitlines()[0][:200],
        )
        return None


def _register(step: PromptStep, name: str) -> str:
    import mlflow

    assert isinstance(step.spec, Prompt | Decision)
    text, wording = step.spec.prompt_text, wording_of(step.spec)
    assert wording is not None
    client = mlflow.MlflowClient()
    versions = sorted(model_versions(f"name = '{name}' AND {IS_PROMPT}"), key=lambda one: -int(one.version))
    digest = digest_of_wording(wording)
    found = _with_wording(versions, digest, text)
    figures = _figure_tags(step)
    if found is not None:
        for key, value in figures.items():
            client.set_prompt_version_tag(name, found.version, key, value)
        return f"prompts:/{name}/{found.version}"
    tags = {TAGS["task"]: step.spec.task.name, TAGS["spec"]: step.spec.name, TAGS["spec_digest"]: step.spec.digest}
    tags[TAGS["prompt_digest"]] = digest
    said = []
    before = None if step.parent is None else wording_of(step.parent)
    parent = None
    if before is not None:
        tags[TAGS["prompt_parent"]] = digest_of_wording(before)
        parent = _with_wording(versions, tags[TAGS["prompt_parent"]], None)
    if step.how:
        tags[TAGS["prompt_how"]] = step.how[:LONGEST_TAG]
        said.append(step.how)
    if before is not None:
        said.append(wording_change(before, wording))
    if parent is not None:
        tags[PARENT_VERSION] = str(parent.version)
        said.append(f"made from version {parent.version}")
    said.append(described_metrics(step.spec.task, step.figures) + (f" on {step.measured_on}" if step.figures else ""))
    message = "; ".join(filter(None, said))[:LONGEST_MESSAGE]
    # Given with the others: MLflow adds the active experiment from a thread of its own.
    tags |= figures | _experiments(name, step.spec, known=bool(versions))
    made = mlflow.genai.register_prompt(name, text, commit_message=message or None, tags=tags)
    uri: str = made.uri
    return uri


def _with_wording(versions: Sequence[ModelVersion], digest: str, text: str | None) -> ModelVersion | None:
    """The newest version of a wording; of versions that earlier Luthiers made, the newest one with this text."""
    for one in versions:
        known = tag_of(one.tags, "prompt_digest")
        if known == digest or (known is None and text is not None and one.tags.get("mlflow.prompt.text") == text):
            return one
    return None


def _figure_tags(step: PromptStep) -> dict[str, str]:
    measures = step.spec.task.kind.metrics
    named = {
        f"{FIGURE}{metric}": interval(value, measures[metric].format if metric in measures else metric_format(metric))
        for metric, value in step.figures.items()
        if metric in measures and measures[metric].kind == "quality"
    }
    on = {MEASURED_ON: step.measured_on, TAGS["test_digest"]: step.test_digest} if named else {}
    return named | {key: value for key, value in on.items() if value}


def _experiments(name: str, spec: Spec, *, known: bool) -> dict[str, str]:
    """The tag that puts a prompt among those of the task's experiment; MLflow itself takes the one that is active."""
    import mlflow

    experiment_id = known_experiment(spec.task)
    if experiment_id is None:
        return {}
    before = mlflow.MlflowClient().get_prompt(name).tags.get(EXPERIMENTS, "") if known else ""
    ids = dict.fromkeys([*filter(None, before.split(",")), experiment_id])
    return {EXPERIMENTS: f",{','.join(ids)},"}
