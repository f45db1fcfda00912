"""The verb that chooses a model on one's own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.options import RunOptions
from luthier.errors import EndpointError, SpecError
from luthier.model_choice.rank_setup import MOST_MODELS, RankSetup
from luthier.tables import frame_of
from luthier.tasks.task import Task
from luthier.techniques.endpoint_files import read_endpoint

if TYPE_CHECKING:
    from luthier.engine.engine import Engine
    from luthier.model_choice.shortlist import Shortlist
    from luthier.providers.endpoint import Endpoint
    from luthier.spec import Spec

__all__ = ["askable_places", "rank_models", "task_here"]

TASK_FILES = (Path("models/task.yaml"), Path("task.yaml"))
ENDPOINT_FILES = Path("models/endpoints")
EMBEDDED: Mapping[str, Any] = {"endpoint": {"provider": "local", "model": "smollm2-135m-instruct"}}


def rank_models(
    test: Any,
    *,
    task: Task | None = None,
    spec: Spec | None = None,
    train: Any = None,
    endpoints: Sequence[Endpoint | str | Path] = (),
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

    places = [read_endpoint(one) if isinstance(one, str | Path) else _blocks(one) for one in endpoints]
    setup = RankSetup(
        task or (spec.task if spec is not None else task_here()),
        limited(frame_of(test, "the test table"), limit),
        places or askable_places(),
        recipe=spec,
        train=None if train is None else frame_of(train, "the training table"),
        models=models,
        most=most,
        most_usd=most_usd,
        rank_by=rank_by,
    )
    options = RunOptions.within(budget_usd, engine=engine)
    setup.plan(options)
    return setup.run(options)


def askable_places(folder: Path = ENDPOINT_FILES) -> list[dict[str, Any]]:
    """The endpoint files of a folder that can be asked now, and the embedded server, which always can."""
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("*.yaml")):
        blocks = read_endpoint(file)
        if "YOUR-" in str(blocks["endpoint"]):
            # An example as `luthier init` writes it.
            continue
        endpoint = _endpoint(blocks)
        try:
            endpoint.key()
        except EndpointError:
            continue
        if endpoint.key_variable is not None:
            found.append(blocks)
    return [*found, dict(EMBEDDED)]


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


def _endpoint(blocks: Mapping[str, Any]) -> Endpoint:
    from luthier.providers.endpoint import Endpoint

    return Endpoint.model_validate(blocks["endpoint"])


def _blocks(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": endpoint.model_dump(mode="json", exclude_defaults=True)}
