"""A packaged model, found and read without running code that came with it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from luthier.documents import described
from luthier.errors import ModelError
from luthier.packaging.folder import ModelFolder, read_model_folder
from luthier.packaging.model import SETTINGS, LuthierModel, read_relocated
from luthier.spec import Fitted
from luthier.tracking.store_file import model_folder, store_uri
from luthier.tracking.stores import connect, connect_to_model

logger = logging.getLogger(__name__)

__all__ = ["FoundModel", "find_model", "is_of_the_store", "located"]


@dataclass(frozen=True)
class FoundModel:
    """What is at a model URI, read.

    Attributes:
        uri: what was asked for.
        fitted: the recipe inside with its chosen examples, calibration and weights.
        folder: the packaged model's files.
        sends_key: of a model that does not come from the tracking store that is set, what it sends with a key to
            which address, where that is not the key's own provider; `None` if there is no such thing.
    """

    uri: str
    fitted: Fitted
    folder: ModelFolder
    sends_key: str | None = None


def find_model(
    model_uri: str,
    endpoint: Mapping[str, Any] | None = None,
    *,
    trust: bool = False,
    folder: ModelFolder | None = None,
) -> FoundModel:
    """Finds and reads the packaged model at a URI; see `luthier.load` for what is run, and for the other arguments.

    Args:
        model_uri: where it is.
        endpoint: settings that point it elsewhere.
        trust: let a model that Luthier did not log run its code.
        folder: the model's files, where they have been found already.

    Raises:
        ModelError: nothing is there, it is not a Luthier model, or code would have to be run.
    """
    if not isinstance(model_uri, str | os.PathLike):
        raise ModelError(
            f"a model is wanted, as models:/NAME@ALIAS, models:/NAME/VERSION or a folder; "
            f"given: {described(model_uri)}."
        )
    if endpoint is not None and not isinstance(endpoint, Mapping):
        raise ModelError(f"endpoint= is {described(endpoint)}; give settings, as in {{'model': ..., 'base_url': ...}}")
    model_uri = str(model_uri)
    settings = dict(endpoint or {})
    settings |= settings.pop("limits", {})
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise ModelError(f"endpoint settings have {', '.join(unknown)}; allowed: {', '.join(SETTINGS)}.")
    if folder is None:
        folder = read_model_folder(located(model_uri), model_uri)
    if folder.would_run and trust:
        return FoundModel(model_uri, _run(folder, model_uri, settings), folder)
    if not folder.is_ours:
        raise ModelError(_foreign(folder, model_uri))
    if folder.would_run:
        logger.warning(
            "%s carries code that Luthier did not write (%s). It is not run here; MLflow's own commands would run it.",
            model_uri,
            ", ".join(folder.would_run),
        )
    fitted = read_relocated(folder.data, {**folder.config, **settings})
    sends_key = None
    if not is_of_the_store(model_uri) and not {"provider", "base_url"} & set(settings):
        sends_key = _where_the_key_goes(fitted)
        if sends_key is not None:
            logger.warning("%s sends %s.", model_uri, sends_key)
    return FoundModel(model_uri, fitted, folder, sends_key)


def is_of_the_store(model_uri: str) -> bool:
    """Whether a model comes from the tracking store that the user has set, and not from a folder or an address."""
    return not Path(model_uri).is_dir() and model_uri.startswith(("models:", "runs:", "mlflow-artifacts:"))


def _where_the_key_goes(fitted: Fitted) -> str | None:
    """What a model sends to which address, if a key goes elsewhere than to the provider it belongs to."""
    sent = {
        f"its rows, and the key in {endpoint.key_variable}, to {endpoint.address}"
        for endpoint in fitted.spec.all_endpoints
        if endpoint.key_variable is not None and not endpoint.is_at_home
    }
    return "; ".join(sorted(sent)) or None


def located(model_uri: str) -> Path:
    """The folder of a model on this machine, fetched there where it lies elsewhere."""
    path = Path(model_uri)
    if path.is_dir():
        return path
    if model_uri.startswith("file:"):
        path = Path(unquote(urlparse(model_uri).path))
        if path.is_dir():
            return path
        raise ModelError(f"no model at {model_uri}: there is no folder {path}.")
    if not re.match(r"^(models|runs|mlflow-artifacts|s3|gs|abfss?|wasbs?|dbfs|https?):", model_uri):
        raise ModelError(
            f"{model_uri} is no model: give models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID, "
            "runs:/RUN_ID/NAME or a folder."
        )
    return model_folder(model_uri) or _fetched(model_uri)


def _fetched(model_uri: str) -> Path:
    connect_to_model(model_uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri))
    except (MlflowException, OSError) as error:
        message = getattr(error, "message", str(error))
        raise ModelError(f"no model at {model_uri} (tracking store {store_uri()}): {message}") from error


def _run(folder: ModelFolder, model_uri: str, settings: Mapping[str, Any]) -> Fitted:
    """What answers in the model as MLflow loads it, by the code that came with it."""
    import mlflow
    from mlflow.exceptions import MlflowException

    connect()
    try:
        loaded = mlflow.pyfunc.load_model(str(folder.path), model_config=dict(settings) or None)
    except (MlflowException, OSError) as error:
        raise ModelError(f"{model_uri} cannot be loaded: {getattr(error, 'message', str(error))}") from error
    try:
        raw = loaded.get_raw_model()
    except NotImplementedError:
        raw = None
    if not isinstance(raw, LuthierModel):
        raise ModelError(
            f"{model_uri} is an MLflow model of flavor {', '.join(loaded.metadata.flavors)}, not one that luthier "
            "logged; score it with: mlflow models predict."
        )
    fitted: Fitted = raw.fitted
    return fitted


def _foreign(folder: ModelFolder, model_uri: str) -> str:
    """Why a model that Luthier did not log is not loaded, what loading it would run, and what to type."""
    what = f"{model_uri} is an MLflow model of flavor {', '.join(folder.flavors)}, not one that luthier logged"
    if not folder.would_run:
        return f"{what}; score it with: mlflow models predict."
    shown = [name if " " in name else f"import {name}" for name in folder.would_run]
    acts = ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
    return (
        f"{what}. Loading it would {acts}; nothing was run. If you trust who made it, `mlflow models predict -m "
        f"{model_uri}` runs it, as `luthier serve` and `luthier deploy` do with --trust; where its code wraps a "
        "Luthier model, every command does with --trust (trust=True in Python)."
    )
