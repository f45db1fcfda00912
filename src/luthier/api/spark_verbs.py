"""A packaged model in people's own Spark jobs."""

from __future__ import annotations

from typing import Any

from luthier.errors import UserError
from luthier.scoring.loading import load
from luthier.scoring.scored_model import Model
from luthier.scoring.spark_scorer import SparkScorer

__all__ = ["spark_scorer"]


def spark_scorer(model: Model | str, columns: Any, *, tasks: int = 1, trust: bool = False) -> SparkScorer:
    """A packaged model as the function that `DataFrame.mapInPandas` and `mapInArrow` take.

    No row raises: `state` and `error` say what came of each. A task fails only where no row can be answered, as with a
    wrong key. Luthier has to be installed where Spark's tasks run, and the endpoint's key in its variable there.

    Args:
        model: a model, or the URI of one; it is read here, and its tasks need no tracking store.
        columns: the schema of the table (`rows.schema`), or the names of its columns.
        tasks: tasks that run at once; each may use that part of the endpoint's limits.
        trust: let a model that Luthier did not log run the code it brings along.

    Raises:
        DataError: the table lacks a column that the model reads, or its text column is no text.
        UserError: `tasks` is no number of tasks.
    """
    chosen = model if isinstance(model, Model) else load(model, trust=trust)
    if isinstance(tasks, bool) or not isinstance(tasks, int) or tasks < 1:
        raise UserError(f"tasks is how many tasks run at once, 1 or more; given: {tasks!r}.")
    return SparkScorer(chosen.fitted, columns, tasks=tasks)
