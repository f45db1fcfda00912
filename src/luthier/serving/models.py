"""The model behind a URI, as a server has it: Luthier's own, or any that MLflow loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from luthier.errors import ModelError
from luthier.home import luthier_home
from luthier.packaging.folder import ModelFolder, read_model_folder
from luthier.packaging.label_mix import label_mix
from luthier.packaging.loading import FoundModel, find_model, located
from luthier.packaging.model import LuthierModel
from luthier.packaging.recorded_answers import ReplayResult, read_recorded, replay
from luthier.providers.prices import PriceBook, price_needed
from luthier.serving.daily_budget import DailyBudget
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.pyfunc_served import PyfuncServed, facts_of_pyfunc
from luthier.serving.served_model import ServedModel, ServedModelFacts
from luthier.serving.settings import ServerSettings
from luthier.spec import Fitted, Spec
from luthier.techniques import Prompt, read_fitted
from luthier.techniques.fitted_folder import plain_file
from luthier.tracking.store_file import REGISTERED, registered_version

__all__ = ["open_model", "serve_found"]

TYPES = {"text": "string", "number": "double"}
PARAM_TYPES = {"temperature": "double", "top_p": "double", "max_tokens": "long", "seed": "long"}


LARGEST_EXAMPLE_BYTES = 2_000_000


def open_model(
    uri: str,
    settings: ServerSettings,
    endpoint: Mapping[str, Any] | None = None,
    trust: bool = False,
    *,
    known_as: str | None = None,
) -> ServedModel:
    """The model at a URI, ready to be started by a server.

    Args:
        uri: what `luthier.load` takes.
        settings: what the server refuses.
        endpoint: settings that point a Luthier model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        known_as: what the server calls it, such as `models:/stars/3`, where `uri` is a copy of that.

    Raises:
        ModelError: nothing is there, or code would have to be run.
        UserError: a budget is given for a model whose price is not known.
    """
    folder = read_model_folder(located(uri), uri)
    if not folder.is_ours:
        return _foreign_model(folder, known_as or uri, settings, endpoint, trust)
    return serve_found(find_model(uri, endpoint, trust=trust, folder=folder), settings, known_as=known_as)


def serve_found(found: FoundModel, settings: ServerSettings, *, known_as: str | None = None) -> ServedModel:
    """A Luthier model that has been found and read, ready to be started; arguments and errors as for `open_model`."""
    recorded = read_recorded(found.folder.data)
    mix = label_mix(found.fitted, found.folder)
    labels = {} if mix is None or not found.fitted.spec.task.labels else mix.shares
    replaying = None
    if recorded is not None:
        # As it was packaged: a service that it is pointed to answers otherwise, and under other keys of the journal.
        replaying = partial(replay, read_fitted(found.folder.data), recorded)
    return _luthier_model(found.fitted, found.folder, known_as or found.uri, settings, labels, replaying)


def _luthier_model(
    fitted: Fitted,
    folder: ModelFolder,
    uri: str,
    settings: ServerSettings,
    training_labels: Mapping[str, float],
    replaying: Callable[[], ReplayResult] | None = None,
) -> LuthierServed:
    facts = _facts(fitted.spec, folder.path, uri, training_labels)
    budget = _budget(fitted.spec, facts.name, settings)
    return LuthierServed(fitted, facts, settings, budget=budget, replay=replaying)


def _budget(spec: Spec, name: str, settings: ServerSettings) -> DailyBudget | None:
    """The model's budget of the day.

    Raises:
        UserError: the price of an endpoint is not known.
    """
    usd = settings.budget_usd_per_day
    if usd is None or not spec.endpoints:
        return None
    prices = PriceBook()
    for endpoint in spec.all_endpoints:
        # An Azure deployment says which model it is when it is asked; the engine checks it then.
        if endpoint.provider != "azure" and not prices.known(endpoint):
            raise price_needed(endpoint)
    if settings.budget_file is not None:
        # Of all that use the file: a deployment's budget stays when another model is deployed.
        return DailyBudget(usd, settings.budget_file, "all")
    return DailyBudget(usd, luthier_home() / "spending.db", name)


def _foreign_model(
    folder: ModelFolder, uri: str, settings: ServerSettings, endpoint: Mapping[str, Any] | None, trust: bool
) -> ServedModel:
    """A model that Luthier did not log, loaded by MLflow; it may wrap a Luthier model.

    Raises:
        ModelError: it is not trusted, or cannot be loaded.
    """
    what = f"{uri} is an MLflow model of flavor {', '.join(folder.flavors)}, not one that luthier logged"
    if not trust:
        runs = ", ".join(folder.would_run) or "run its loader"
        raise ModelError(
            f"{what}. Loading it would run code that it names ({runs}); nothing was run. If you trust who made it, add "
            "--trust (trust=True in Python)."
        )
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        loaded = mlflow.pyfunc.load_model(str(folder.path), model_config=dict(endpoint or {}) or None)
    except (MlflowException, OSError, ImportError) as error:
        raise ModelError(f"{what}; it cannot be loaded: {getattr(error, 'message', str(error))}") from error
    try:
        raw = loaded.get_raw_model()
    except NotImplementedError:
        raw = None
    if isinstance(raw, LuthierModel):
        return _luthier_model(raw.fitted, folder, uri, settings, {})
    name, version = registered(uri) or (None, None)
    example = example_of_folder(folder.path)
    return PyfuncServed(loaded, facts_of_pyfunc(loaded, uri, name, version, example), settings)


def _facts(spec: Spec, folder: Path, uri: str, training_labels: Mapping[str, float]) -> ServedModelFacts:
    name, version = registered(uri) or (spec.name, None)
    task = spec.task
    return ServedModelFacts(
        uri=uri,
        name=name,
        version=version,
        technique=spec.technique,
        columns={column: "string" if column in task.text_columns else "any" for column in spec.columns},
        params={name: PARAM_TYPES[name] for name in (spec.params if isinstance(spec, Prompt) else {})},
        outputs={name: TYPES[kind] for name, kind in task.kind.columns.items()},
        labels=task.labels,
        training_labels=training_labels,
        example=tuple({name: row.get(name) for name in spec.columns} for row in example_of_folder(folder)),
    )


def registered(uri: str) -> tuple[str, str] | None:
    """Name and version of a registered model; `None` where the URI names no such one."""
    if (known := registered_version(uri)) is not None or (named := REGISTERED.fullmatch(uri)) is None:
        return known
    from mlflow import MlflowClient

    return named[1], str(MlflowClient().get_model_version_by_alias(named[1], named[2]).version)


def example_of_folder(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The rows that the model was logged with as an example; none where they are no table, or a very large one.

    Raises:
        ModelError: the file is a link out of the folder, or a pipe.
    """
    file = plain_file(folder / "input_example.json", str(folder))
    try:
        if file.stat().st_size > LARGEST_EXAMPLE_BYTES:
            return ()
        document = json.loads(file.read_text(encoding="utf-8"))
        return tuple(dict(zip(document["columns"], row, strict=True)) for row in document["data"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
