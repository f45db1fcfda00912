"""A packaged model in memory: what `mlflow.pyfunc.load_model` gives back, and its settings."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import EndpointError, ModelError, SpecError
from luthier.packaging.serving_engine import ServingEngine, serving_engine
from luthier.packaging.spark import in_spark_task, with_nulls_kept
from luthier.providers.endpoint import Endpoint, Limits
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of
from luthier.tasks.task import Rows
from luthier.techniques import Prompt, read_fitted

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

__all__ = ["SETTINGS", "LuthierModel", "endpoint_settings", "load_packaged", "read_relocated", "relocated", "rows_of"]

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
    """What answers when MLflow asks the packaged model.

    Args:
        fitted: the recipe with its chosen examples, calibration and weights.
        engine: asks the endpoint; the one all models of the process share when absent.
    """

    def __init__(self, fitted: Fitted, engine: ServingEngine | None = None) -> None:
        self.fitted, self.engine = fitted, engine

    def get_raw_model(self) -> LuthierModel:
        """The object itself; MLflow asks for it under this name."""
        return self

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The prediction columns for a table of inputs; one bad row never raises.

        Args:
            model_input: a DataFrame, records, a dict of columns, one row as a dict, a list of texts, or a text.
            params: values of the params schema, such as `temperature`, for this call only.

        Raises:
            DataError: a column the spec reads is missing.
        """
        engine, fitted, rows = self._prepared(model_input, params)
        predictions = engine.drive(fitted.predict(rows), fitted.spec.endpoint)
        return json_ready(fitted.spec.task.kind.frame(predictions))

    async def predict_async(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """As `predict`, for callers with an event loop of their own."""
        engine, fitted, rows = self._prepared(model_input, params)
        predictions = await engine.adrive(fitted.predict(rows), fitted.spec.endpoint)
        return json_ready(fitted.spec.task.kind.frame(predictions))

    def _prepared(self, model_input: Any, params: Mapping[str, Any] | None) -> tuple[ServingEngine, Fitted, Rows]:
        rows = rows_of(self.fitted.spec, model_input)
        fitted = self.fitted
        given = {key: value for key, value in (params or {}).items() if value is not None}
        if given:
            if not isinstance(fitted.spec, Prompt):
                raise SpecError(f"a {fitted.spec.technique} model takes no params; given: {', '.join(given)}.")
            fitted = replace(fitted, spec=fitted.spec.with_params(given))
        return self.engine or serving_engine(), fitted, rows


def rows_of(spec: Spec, model_input: Any) -> Rows:
    """The input as rows of the spec's task, which may be none.

    Raises:
        DataError: a column the spec reads is missing.
    """
    frame = frame_of([model_input] if isinstance(model_input, str) else model_input, "the input", text=spec.task.text)
    spec.check_columns(frame.columns, "the input")
    if frame.empty:
        return spec.task.rows_of(())
    return spec.task.rows(frame, source="the input")


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

    A model that is moved asks the new place alone; otherwise endpoints that share the work stay.

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
        # All answers are kept under the first endpoint's name, and asked for with the same fields.
        shared = {"identity": None, "extra_body": fields["extra_body"]}
        others = () if moved else tuple(other.model_copy(update=shared) for other in endpoint.others)
        limits_and_price = {"limits": Limits(**limits), "price": price}
        return Endpoint(**fields, **limits_and_price, weight=endpoint.weight, others=others)
    except EndpointError as error:
        raise ModelError(f"model_config: {str(error).partition(': ')[2]}") from error


def read_relocated(path: str | Path, model_config: Mapping[str, Any] | None = None) -> Fitted:
    """What was fitted, from a packaged folder, its endpoint pointed to where `model_config` says.

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
    return fitted


def load_packaged(path: str | Path, model_config: Mapping[str, Any] | None = None) -> LuthierModel:
    """As `read_relocated`, for MLflow; the loader in every packaged model calls this by its name."""
    copies = Path(path).parents[1] / "code" / "luthier_copy"
    runs_from_a_copy = "luthier_copy" in Path(__file__).parts
    if runs_from_a_copy and (copies / "luthier_local").is_dir() and importlib.util.find_spec("luthier_local") is None:
        # The copy that runs came with the first model of this process, which has no server if its endpoint is remote.
        sys.path.append(str(copies))
    return LuthierModel(read_relocated(path, model_config))
