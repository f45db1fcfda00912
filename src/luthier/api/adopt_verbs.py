"""The verb that makes a spec of what MLflow itself keeps: a model of its openai flavor, or a registered prompt."""

from __future__ import annotations

import logging
from pathlib import Path

from luthier.importing.adopted import adopt_spec, write_adopted
from luthier.spec import Spec
from luthier.tasks.task import Task

__all__ = ["adopt"]

logger = logging.getLogger(__name__)


def adopt(
    uri: str | Path,
    *,
    task: Task | str | Path | None = None,
    endpoint: str | Path | None = None,
    to: str | Path | None = None,
) -> Spec:
    """A spec of a model of MLflow's `mlflow.openai` flavor, or of a prompt in MLflow's prompt registry.

    Settings and texts are read as data: no code that came with them is run, and nothing is sent. What a spec does
    otherwise, and what it cannot hold, is logged as warnings and written on top of the file.

    Args:
        uri: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN_ID/NAME`, a model's folder,
            `prompts:/NAME/VERSION` or `prompts:/NAME@ALIAS`.
        task: what it answers, or the file of that; `models/task.yaml` or `task.yaml` when absent.
        endpoint: endpoint file to ask in place of what the model and the environment name.
        to: YAML file to write the spec to, as well.

    Returns:
        The spec, to be compared, logged and scored like any other.

    Raises:
        ModelError: nothing is there, or it does what no spec does; the message names it.
        EndpointError: neither the model nor the environment tells where it is asked.
        SpecError: there is no task, or its columns are not those of the template.
        UserError: the file is there already and holds something else.
    """
    adopted = adopt_spec(uri, task=task, endpoint=endpoint, name=None if to is None else Path(to).stem)
    if to is not None:
        adopted = write_adopted(adopted, to, task)
    for note in adopted.notes:
        logger.warning("%s: %s", adopted.source, note)
    return adopted.spec
