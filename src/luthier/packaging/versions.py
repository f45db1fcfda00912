"""A fitted spec in MLflow: logged as a model, registered as a version, given an alias."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import ModelError
from luthier.packaging import flavor
from luthier.packaging.lacking_stores import is_lacking, log_into_run
from luthier.packaging.prompt_versions import PromptStep, register_prompt
from luthier.packaging.recorded_answers import RecordedAnswers
from luthier.packaging.recording import record_answers
from luthier.reporting.markdown import escaped
from luthier.spec import Fitted, Spec
from luthier.tasks.spellings import with_article
from luthier.tracking.asked_models import asks_tag
from luthier.tracking.runs import TAGS, run_of, runs_of_fitted, spec_tags, tag_of
from luthier.tracking.stores import connect
from luthier.tracking.version_descriptions import described_metrics, intervals_of, write_description

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from luthier.engine.engine import Engine

__all__ = ["Logged", "check_names", "log_fitted_model"]


MOST_LABELS = 10
"""Labels named in a model's description."""


@dataclass(frozen=True)
class Logged:
    """Where a packaged model is.

    Attributes:
        model_uri: what `mlflow models` and `luthier score` take: by alias, else by version, else by model id.
        model_id: MLflow's id of the logged model; `None` in a store that has none, where it is in the run's artifacts.
        run_id: the run it was logged in; where it was measured, the run that measured it.
        name: registered name, `None` if it was not registered.
        version: registered version.
        alias: alias that was set.
        prompt_uri: the prompt's version in MLflow's prompt registry, `None` where it has none of this model.
    """

    model_uri: str
    model_id: str | None
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
    engine: Engine | None = None,
    version_tags: Mapping[str, str] | None = None,
) -> Logged:
    """Packages what was fitted as an MLflow model; see `luthier.log`.

    Args:
        fitted: what answers.
        run_id: the run that measured it; when absent the newest run that did, else a new one is made.
        register: registered model to add a version to.
        alias: alias for that version.
        input_example: rows kept with the model, for the UI and serving tests.
        engine: the one whose journal has what the service answered to the rows; the process's own when absent.
        version_tags: further tags of the version, which it has from its first moment.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    check_names(register, alias)
    experiment_id = connect(fitted.spec.task)
    assert experiment_id is not None
    tags = spec_tags(fitted.spec) | {TAGS["fitted_digest"]: fitted.digest}
    if fitted.train_digest:
        tags[TAGS["train_digest"]] = fitted.train_digest
    try:
        if run_id is None:
            measured = runs_of_fitted([experiment_id], fitted.digest, "candidate", most=1)
            run_id = measured[0].info.run_id if measured else None
        prompt_uri = register_prompt(_prompt_step(fitted.spec, run_id))
        if run_id is None:
            with run_of(experiment_id, f"log {fitted.spec.name}", "log", tags) as run:
                run_id = run.run_id
                run.log_fitted(fitted)
                run.log_spec(fitted.spec)
                found = _log(fitted, run_id, tags, prompt_uri, input_example)
        else:
            recorded = record_answers(fitted, run_id, engine)
            found = _log(fitted, run_id, tags, prompt_uri, input_example, recorded)
        model_uri, model_id = found
        logged = Logged(model_uri, model_id, run_id, prompt_uri=prompt_uri)
        if register is None:
            return logged
        client = mlflow.MlflowClient()
        # MLflow's own lines about it go to stderr; a failure raises all the same.
        with contextlib.redirect_stderr(io.StringIO()):
            of_version = tags | asks_tag(fitted.spec) | dict(version_tags or {})
            version = mlflow.register_model(model_uri, register, tags=of_version).version
        write_description(register, version, model_description(fitted.spec, client.get_run(run_id)), run_id)
        if alias is not None:
            client.set_registered_model_alias(register, alias, version)
    except MlflowException as error:
        raise ModelError(f"MLflow refused the model: {error.message}") from error
    uri = f"models:/{register}@{alias}" if alias else f"models:/{register}/{version}"
    return Logged(uri, model_id, run_id, register, str(version), alias, prompt_uri)


def _log(
    fitted: Fitted,
    run_id: str,
    tags: Mapping[str, str],
    prompt_uri: str | None,
    example: pd.DataFrame | None,
    recorded: RecordedAnswers | None = None,
) -> tuple[str, str | None]:
    """URI and id of the model in the experiment of its run, with that run's metrics, data and settings."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    run = mlflow.MlflowClient().get_run(run_id)
    try:
        model = mlflow.initialize_logged_model(
            # MLflow takes no dot in a model's name, and a spec of a grid has some.
            name=fitted.spec.name.replace(".", "-"),
            source_run_id=run_id,
            tags={**tags, MLFLOW_RUN_NOTE: model_description(fitted.spec, run)},
            params=dict(run.data.params),
            # Else it would belong to the experiment that is active, which is MLflow's Default.
            experiment_id=run.info.experiment_id,
        )
    except MlflowException as error:
        if not is_lacking(error):
            raise
        return log_into_run(fitted, run_id, tags, example, recorded), None
    link_metrics(run, model.model_id)
    info = mlflow.models.Model.log(
        artifact_path=None,
        model_id=model.model_id,
        flavor=flavor,
        flavor_name="luthier",
        run_id=run_id,
        # It links the metrics of this step, without their rows; those of a measurement are of step 0.
        step=1,
        registered_model_name=None,
        prompts=[prompt_uri] if prompt_uri else None,
        fitted=fitted,
        input_example=example,
        metadata={"luthier": dict(tags)},
        validate_serving_input=False,
        # Also where there are none: a model without the file is one of an earlier Luthier, and its run is searched.
        recorded=recorded or RecordedAnswers(),
    )
    return info.model_uri, info.model_id


def _prompt_step(spec: Spec, run_id: str | None) -> PromptStep:
    """The prompt of a spec with what its run measured."""
    import mlflow

    if run_id is None:
        return PromptStep(spec)
    data = mlflow.MlflowClient().get_run(run_id).data
    rows, digest = data.metrics.get("rows_evaluated"), tag_of(data.tags, "test_digest") or ""
    measured_on = "" if rows is None else f"{round(rows):,} rows"
    return PromptStep(
        spec,
        how=data.tags.get(TAGS["prompt_how"], ""),
        figures={} if rows is None else intervals_of(data.metrics),
        measured_on=measured_on,
        test_digest=digest,
    )


def link_metrics(run: Run, model_id: str) -> None:
    """Gives a model its run's metrics, each with the rows it was measured on."""
    import mlflow
    from mlflow.entities import Metric

    tested = [
        given.dataset
        for given in run.inputs.dataset_inputs
        if any(tag.key == "mlflow.data.context" and tag.value == "test" for tag in given.tags)
    ]
    if not tested:
        return
    client = mlflow.MlflowClient()
    run_id = run.info.run_id
    of_rows = {"dataset_name": tested[0].name, "dataset_digest": tested[0].digest}
    metrics = [
        Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id, run_id=run_id, **of_rows)
        for name in run.data.metrics
        for one in client.get_metric_history(run_id, name)[-1:]
    ]
    client.log_batch(run_id, metrics=metrics)


def model_description(spec: Spec, run: Run) -> str:
    """What a model answers, by what means, and how well as far as its run measured it; Markdown."""
    by = spec.technique if spec.endpoint is None else f"{spec.technique}, {spec.base_model}"
    labels = ", ".join(spec.task.labels[:MOST_LABELS]) + (", ..." if len(spec.task.labels) > MOST_LABELS else "")
    lines = [
        f"{escaped(spec.name)} ({escaped(by)}) answers {escaped(spec.task.name)}: "
        f"{escaped(labels or with_article(spec.task.kind.value_name))}, from {escaped(', '.join(spec.columns))}."
    ]
    metrics = run.data.metrics
    figures = described_metrics(spec.task, intervals_of(metrics))
    if figures:
        lines.append(f"Measured on {int(metrics['rows_evaluated']):,} rows: {figures}.")
    else:
        lines.append("Not measured yet: luthier compare SPEC --test TABLE.")
    return "\n\n".join(lines)


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
