"""A packaged model in memory: what `mlflow.pyfunc.load_model` gives back, and its settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.errors import EndpointError, ModelError, SpecError
from luthier.packaging.serving import ServingEngine, serving_engine
from luthier.packaging.spark import in_spark_task, with_nulls_kept
from luthier.providers.endpoint import Endpoint, Limits
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.techniques import Prompt, read_fitted

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

__all__ = ["SETTINGS", "LuthierModel", "endpoint_settings", "load_packaged", "relocated"]

ENDPOINT_KEYS = (
    "provider",
    "model",
    "base_url",
    "api_key_env",
    "auth",
    "identity",
    "priced_as",
    "timeout_seconds",
    "extra_body",
)
LIMIT_KEYS = ("requests_per_minute", "tokens_per_minute", "concurrency")
SETTINGS = (*ENDPOINT_KEYS, "price", *LIMIT_KEYS)
"""What `model_config` may set when a packaged model is loaded."""


class LuthierModel:
    """What answers when the packaged model is asked.

    Attributes:
        fitted: the recipe with its chosen examples, calibration and weights.
        model_id: MLflow's id of the logged model, where it was loaded from one.
        stranger: of a model that was not loaded from the user's store, what it sends with a key to which address,
            where that is not the key's own provider; `None` if there is no such thing.
        engine: asks the endpoint; the one all models of the process share when absent.
    """

    def __init__(self, fitted: Fitted, model_id: str | None = None, engine: ServingEngine | None = None) -> None:
        self.fitted = fitted
        self.model_id, self.engine = model_id, engine
        self.stranger: str | None = None

    @property
    def task(self) -> Task:
        """The question this model answers."""
        return self.fitted.spec.task

    def get_raw_model(self) -> LuthierModel:
        """The object itself; MLflow asks for it under this name."""
        return self

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The prediction columns for a table of inputs; one bad row never raises.

        Args:
            model_input: a DataFrame, or what pandas makes one of (records, a dict of columns, a list of texts).
            params: values of the params schema, such as `temperature`, for this call only.
        """
        rows = self.rows(model_input)
        fitted = self._with(params)
        engine = self.engine or serving_engine()
        predictions = engine.drive(fitted.predict(rows), fitted.spec.endpoint)
        engine.keep_small(len(rows))
        return json_ready(self.task.kind.frame(predictions))

    async def predict_async(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """As `predict`, for callers with an event loop of their own."""
        rows = self.rows(model_input)
        fitted = self._with(params)
        engine = self.engine or serving_engine()
        predictions = await engine.adrive(fitted.predict(rows), fitted.spec.endpoint)
        engine.keep_small(len(rows))
        return json_ready(self.task.kind.frame(predictions))

    async def predictions(self, rows: Rows, engine: Engine, **settings: Any) -> list[Prediction]:
        """The records behind the columns, on an engine of the caller's."""
        return await engine.adrive(self.fitted.predict(rows), self.fitted.spec.endpoint, **settings)

    def rows(self, model_input: Any) -> Rows:
        """The input as rows of the task, which may be none.

        Raises:
            DataError: a column the spec reads is missing.
        """
        frame = as_frame(model_input, self.task.text)
        self.fitted.spec.check_columns(frame.columns, "the input")
        if frame.empty:
            return Rows(inputs=(), labels=(), text=self.task.text)
        return self.task.rows(frame, source="the input")

    def _with(self, params: Mapping[str, Any] | None) -> Fitted:
        given = {key: value for key, value in (params or {}).items() if value is not None}
        if not given:
            return self.fitted
        spec = self.fitted.spec
        if not isinstance(spec, Prompt):
            raise SpecError(f"a {spec.technique} model takes no params; given: {', '.join(given)}.")
        return replace(self.fitted, spec=spec.with_params(given))


def as_frame(model_input: Any, text: str) -> pd.DataFrame:
    """The input as a DataFrame; a bare list of texts becomes the text column."""
    import pandas as pd

    if isinstance(model_input, pd.DataFrame):
        return model_input
    if isinstance(model_input, str):
        return pd.DataFrame({text: [model_input]})
    if isinstance(model_input, list) and all(isinstance(item, str) or item is None for item in model_input):
        return pd.DataFrame({text: pd.Series(model_input, dtype=object)})
    if isinstance(model_input, dict) and not any(isinstance(value, list | tuple) for value in model_input.values()):
        return pd.DataFrame([model_input])
    return pd.DataFrame(model_input)


def json_ready(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `None` for every missing value: MLflow writes NaN, which no JSON reader takes, as it is."""
    if in_spark_task():
        return with_nulls_kept(frame, tuple(name for name in frame.columns if frame[name].dtype == "string"))
    ready = frame.astype(object)
    ready = ready.where(frame.notna(), None)
    for name in frame.columns:
        if frame[name].dtype == "float64" and frame[name].notna().all():
            ready[name] = frame[name]
    return ready


def endpoint_settings(endpoint: Endpoint | None) -> dict[str, Any]:
    """The endpoint as the model's `model_config`: every key is logged, so every key can be given at load time."""
    if endpoint is None:
        return {}
    settings = {key: getattr(endpoint, key) for key in ENDPOINT_KEYS}
    settings["price"] = None if endpoint.price is None else endpoint.price.model_dump()
    return settings | {key: getattr(endpoint.limits, key) for key in LIMIT_KEYS}


def relocated(endpoint: Endpoint | None, settings: Mapping[str, Any] | None) -> Endpoint | None:
    """The endpoint with the settings given at load time.

    Raises:
        ModelError: settings contradict each other.
    """
    if endpoint is None or not settings:
        return endpoint
    fields = {key: settings.get(key, getattr(endpoint, key)) for key in ENDPOINT_KEYS}
    limits = {key: settings.get(key, getattr(endpoint.limits, key)) for key in LIMIT_KEYS}
    moved = any(fields[key] != getattr(endpoint, key) for key in ("provider", "model", "base_url"))
    try:
        if moved:
            # A name for the journal and for the price list was given to the old place, not to the new one.
            for name in ("identity", "priced_as"):
                if fields[name] == getattr(endpoint, name):
                    fields[name] = None
        price = settings.get("price")
        if moved and endpoint.price is not None and price == endpoint.price.model_dump():
            # A price belongs to the place it was given for.
            price = None
        return Endpoint(**fields, limits=Limits(**limits), price=price)
    except EndpointError as error:
        raise ModelError(f"model_config: {str(error).partition(': ')[2]}") from error


def load_packaged(path: str | Path, model_config: Mapping[str, Any] | None = None) -> LuthierModel:
    """The model in a packaged folder, its endpoint pointed to where `model_config` says.

    Raises:
        ModelError: the folder is no packaged Luthier model, or a setting is wrong.
    """
    fitted = read_fitted(path)
    endpoint = relocated(fitted.spec.endpoint, model_config)
    if endpoint is not None and endpoint != fitted.spec.endpoint:
        spec = fitted.spec.with_endpoint(endpoint)
        for caution in spec.relocation_warnings(fitted):
            logger.warning("%s", caution)
        fitted = replace(fitted, spec=spec)
    return LuthierModel(fitted)
