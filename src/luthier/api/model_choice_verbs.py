"""The verb that chooses a model on one's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.api.arguments import need_number, need_texts, need_whole
from luthier.documents import described
from luthier.engine.options import RunOptions
from luthier.errors import SpecError, UserError
from luthier.model_choice.askable import Askable, askable_places
from luthier.model_choice.rank_setup import MOST_MODELS, RankSetup
from luthier.spec import Spec
from luthier.tables import frame_of
from luthier.tasks.task import Task

if TYPE_CHECKING:
    from luthier.engine.engine import Engine
    from luthier.model_choice.shortlist import Shortlist
    from luthier.providers.endpoint import Endpoint

__all__ = ["rank_models", "task_here"]

TASK_FILES = (Path("models/task.yaml"), Path("task.yaml"))


def rank_models(
    test: Any,
    *,
    task: Task | None = None,
    spec: Spec | None = None,
    train: Any = None,
    endpoints: Sequence[Endpoint | str | Path] = (),
    provider: str | None = None,
    models: Sequence[str] = (),
    most: int = MOST_MODELS,
    most_usd: float | None = None,
    limit: int | None = 50,
    budget_usd: float | None = None,
    rank_by: str | None = None,
    engine: Engine | None = None,
) -> Shortlist:
    """Measures models on the same rows, within a budget; models that cannot be told apart share a place.

    Args:
        test: labelled rows: a DataFrame, a path, or what else `compare` takes.
        task: the question; that of `spec`, else of `models/task.yaml`, when absent.
        spec: what every model is asked with; the plainest prompt of the task when absent.
        train: labelled rows for a spec that needs them.
        endpoints: where models are asked, as records or endpoint files; those of `models/endpoints/` whose key is set,
            and the embedded server, when absent.
        provider: of the endpoint files, those of this provider only.
        models: names in any spelling; chosen from the catalogue when there is none.
        most: at most so many models, where none is named.
        most_usd: most US dollars for a million input tokens, where none is named.
        limit: at most so many rows, drawn with a fixed seed; all of them for `None`.
        budget_usd: most that may be spent; fewer rows or models are asked where it does not reach.
        rank_by: metric that orders them.
        engine: asks the models; the process's own when absent.

    Returns:
        The shortlist; `.best` is the cheapest model of the first place, `.board` the comparison behind it.

    Raises:
        UserError: a model is not known, or none can be asked.
        EndpointError: no model answered.
        BudgetReached: the budget does not pay for one model on 20 rows.
    """
    from luthier.api.verbs import limited

    if task is not None and not isinstance(task, Task):
        raise UserError(f"task is a Task, as Task.read('models/task.yaml') gives one; given: {described(task)}.")
    if spec is not None and not isinstance(spec, Spec):
        raise UserError(f"spec is a spec, as read_spec('models/few.yaml') gives one; given: {described(spec)}.")
    files = [one for one in endpoints if isinstance(one, str | Path)]
    given = [_blocks(one) for one in endpoints if not isinstance(one, str | Path)]
    there = askable_places(files, provider) if files or not given else Askable(())
    setup = RankSetup(
        task or (spec.task if spec is not None else task_here()),
        limited(frame_of(test, "the test table"), limit),
        [*there.places, *given],
        listed=there.listed,
        left_out=there.left_out,
        recipe=spec,
        train=None if train is None else frame_of(train, "the training table"),
        models=need_texts("models", models),
        most=need_whole("most", most),
        most_usd=need_number("most_usd", most_usd),
        rank_by=rank_by,
    )
    options = RunOptions.within(budget_usd, engine=engine)
    setup.plan(options)
    return setup.run(options)


def task_here(file: Path | None = None) -> Task:
    """The task in a file; that of the working folder when absent.

    Raises:
        SpecError: there is none.
    """
    there = [one for one in ((file,) if file is not None else TASK_FILES) if file is not None or one.is_file()]
    if not there:
        raise SpecError(
            "no task here: neither models/task.yaml nor task.yaml. Give --task FILE; `luthier init --data TABLE --text "
            "COLUMN --label COLUMN --folder models` writes one."
        )
    return Task.read(there[0])


def _blocks(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": endpoint.model_dump(mode="json", exclude_defaults=True)}
