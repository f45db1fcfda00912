"""Into the registry: log, register, alias."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import ModelError
from luthier.experiments.tracking import TAGS, connect, log_fitted, log_settings, run_of, spec_tags
from luthier.packaging import flavor
from luthier.spec import Fitted, Spec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Logged", "check_names", "log_fitted_model", "version_of"]


@dataclass(frozen=True)
class Logged:
    """Where a packaged model is.

    Attributes:
        model_uri: what `mlflow models` and `luthier score` take: by alias, else by version, else by model id.
        model_id: MLflow's id of the logged model.
        run_id: the run it was logged in: the one that measured it, where there is one.
        name: registered name, `None` if it was not registered.
        version: registered version.
        alias: alias that was set.
        prompt_uri: the prompt's version in MLflow's prompt registry, `None` for techniques without one.
    """

    model_uri: str
    model_id: str
    run_id: str
    name: str | None = None
    version: str | None = None
    alias: str | None = None
    prompt_uri: str | None = None


def log_fitted_model(
    fitted: Fitted,
    *,
    run_id: str | None = None,
    register: str | None = None,
    alias: str | None = None,
    input_example: pd.DataFrame | None = None,
) -> Logged:
    """Packages what was fitted as an MLflow model.

    Args:
        fitted: what answers.
        run_id: the run that measured it; a new run is made when absent.
        register: registered model to add a version to.
        alias: alias for that version, such as `champion`.
        input_example: rows kept with the model, for the UI and serving tests.

    Raises:
        ModelError: the name or alias is not allowed, or an alias was given without a name.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    check_names(register, alias)
    experiment_id = connect(fitted.spec.task)
    tags = spec_tags(fitted.spec) | {TAGS["fitted_digest"]: fitted.digest}
    if fitted.train_digest:
        tags[TAGS["train_digest"]] = fitted.train_digest
    prompt_uri = register_prompt(fitted.spec)

    def log(run: str) -> Any:
        return mlflow.models.Model.log(
            artifact_path=None,
            # MLflow takes no dot in a model's name, and a spec of a grid has some.
            name=fitted.spec.name.replace(".", "-"),
            flavor=flavor,
            flavor_name="luthier",
            run_id=run,
            registered_model_name=None,
            prompts=[prompt_uri] if prompt_uri else None,
            tags=tags,
            fitted=fitted,
            input_example=input_example,
            metadata={"luthier": tags},
            validate_serving_input=False,
        )

    try:
        if run_id is None:
            with run_of(experiment_id, f"log {fitted.spec.name}", "log", tags) as run:
                run_id = run.info.run_id
                log_fitted(run_id, fitted)
                log_settings(run_id, fitted.spec)
                info = log(run_id)
        else:
            info = log(run_id)
        logged = Logged(info.model_uri, info.model_id, run_id, prompt_uri=prompt_uri)
        if register is None:
            return logged
        client = mlflow.MlflowClient()
        # MLflow's own lines about it go to stderr; a failure raises all the same.
        with contextlib.redirect_stderr(io.StringIO()):
            version = mlflow.register_model(info.model_uri, register, tags=tags).version
        if alias is not None:
            client.set_registered_model_alias(register, alias, version)
    except MlflowException as error:
        raise ModelError(f"MLflow refused the model: {error.message}") from error
    uri = f"models:/{register}@{alias}" if alias else f"models:/{register}/{version}"
    return Logged(uri, info.model_id, run_id, register, str(version), alias, prompt_uri)


def check_names(register: str | None, alias: str | None) -> None:
    """Refuses names that the registry would refuse after everything was paid.

    Raises:
        ModelError: the name or alias is not allowed, or an alias was given without a name.
    """
    if alias is not None and register is None:
        raise ModelError(f"an alias belongs to a registered model; add --register NAME to --alias {alias}.")
    if alias is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", alias):
        raise ModelError(f"alias {alias!r} is not allowed; use letters, digits, - and _, as in champion.")
    if register is not None and (not register.strip() or re.search(r"[/:]", register)):
        raise ModelError(f"registered name {register!r} is not allowed: not empty, no / and no : in it.")


def register_prompt(spec: Spec) -> str | None:
    """The prompt's version in MLflow's prompt registry, a new one only when its text changed.

    The model does not depend on it: registered prompts can be edited, so the text also travels inside the model.
    """
    import mlflow

    text = spec.prompt_text
    if text is None:
        return None
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{spec.task.name}.{spec.name}")
    latest = mlflow.genai.load_prompt(f"prompts:/{name}@latest", allow_missing=True)
    if latest is None or latest.template != text:
        latest = mlflow.genai.register_prompt(name, text, tags={TAGS["spec_digest"]: spec.digest})
    uri: str = latest.uri
    return uri


def version_of(model_uri: str) -> tuple[str, str] | None:
    """Registered name and version behind a `models:/NAME...` URI, `None` for other URIs."""
    import mlflow
    from mlflow.exceptions import MlflowException

    by_alias = re.fullmatch(r"models:/([^/@]+)@(.+)", model_uri)
    by_version = re.fullmatch(r"models:/([^/@]+)/(\d+)", model_uri)
    client = mlflow.MlflowClient()
    try:
        if by_alias:
            return by_alias[1], str(client.get_model_version_by_alias(by_alias[1], by_alias[2]).version)
        if by_version:
            return by_version[1], by_version[2]
    except MlflowException as error:
        raise ModelError(f"no model at {model_uri}: {error.message}") from error
    return None
