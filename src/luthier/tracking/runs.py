"""How Luthier's work lies in MLflow: experiments, runs, tags, data and fitted folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from luthier.errors import ModelError, UserError
from luthier.evaluation.resampling import Interval
from luthier.home import luthier_home
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Task
from luthier.techniques import read_fitted
from luthier.tracking.store_file import DEFAULT_FILE, store_uri

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

__all__ = [
    "TAGS",
    "begin_run",
    "connect",
    "describe",
    "experiment_called",
    "find_fitted",
    "known_experiment",
    "fitted_of_run",
    "log_fitted",
    "log_metrics",
    "log_params",
    "no_autologging",
    "log_settings",
    "log_table_digest",
    "log_tables",
    "run_of",
    "runs_of_fitted",
    "spec_tags",
    "tag_of",
    "where_to_look",
]

TAGS = {
    "kind": "luthier.kind",
    "task": "luthier.task",
    "spec": "luthier.spec",
    "technique": "luthier.technique",
    "base_model": "luthier.base_model",
    "partial": "luthier.partial",
    "grid": "luthier.grid",
    "fitted_digest": "luthier.digest.fitted",
    "spec_digest": "luthier.digest.spec",
    "task_digest": "luthier.digest.task",
    "test_digest": "luthier.digest.test",
    "train_digest": "luthier.digest.train",
}
"""Tag names on runs, models and versions; digests apart from what a person reads."""


def tag_of(tags: Mapping[str, str], name: str) -> str | None:
    """A tag of a run, model or version, also under the name that earlier Luthiers gave it (`luthier.fitted_digest`)."""
    return tags.get(TAGS[name], tags.get(f"luthier.{name}"))


LONGEST_PARAM = 500
"""Characters of a spec's setting shown as an MLflow parameter; the whole spec is an artifact."""

FITTED = "fitted"
"""Artifact folder of a run that holds what was measured."""


def connect(task: Task | None = None) -> str | None:
    """Chooses the tracking store and the task's experiment; returns the experiment's id.

    The store is MLFLOW_TRACKING_URI or what the caller already set, else `mlflow.db` in the working folder.

    Raises:
        UserError: the store cannot be reached or written.
    """
    import mlflow

    # A bar for every file of a few kilobytes hides what the command says.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Lines about database tables being made say nothing to someone who compares prompts.
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking._model_registry.client", "mlflow.pyfunc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns that pip's version is not known, which environments made by uv do not have.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    if not mlflow.is_tracking_uri_set() and not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(store_uri())
    return None if task is None else experiment_called(task.name)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process of this machine at a time: two that make the same store or experiment would collide in MLflow."""
    folder = luthier_home() / "stores"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock", mode=0o600):
        yield


def experiment_called(name: str) -> str:
    """Id of the experiment of this name, made if there is none; chooses the store as `connect` does.

    Raises:
        UserError: the store cannot be reached or written, or the experiment is deleted.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    connect()
    try:
        with _alone(mlflow.get_tracking_uri()):
            found = mlflow.get_experiment_by_name(name)
            experiment_id: str = found.experiment_id if found is not None else mlflow.create_experiment(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise UserError(
                f"the MLflow experiment {name!r} is deleted; restore it (mlflow experiments restore "
                f"--experiment-id {found.experiment_id}) or rename the task."
            )
        return experiment_id
    except MlflowException as error:
        raise UserError(f"MLflow at {mlflow.get_tracking_uri()} cannot be used: {error.message}") from error


def known_experiment(task: Task) -> str | None:
    """Id of the task's experiment, if there is one; makes neither a store nor an experiment to find out."""
    import mlflow

    chosen = mlflow.is_tracking_uri_set() or os.environ.get("MLFLOW_TRACKING_URI")
    if not chosen and not Path(DEFAULT_FILE).exists():
        return None
    connect()
    with _alone(mlflow.get_tracking_uri()):
        found = mlflow.get_experiment_by_name(task.name)
    return found.experiment_id if found is not None else None


def where_to_look() -> str:
    """The line every command ends with."""
    uri = store_uri()
    if uri.startswith("http"):
        return f"See it at {uri}"
    if uri == f"sqlite:///{Path.cwd() / DEFAULT_FILE}":
        uri = f"sqlite:///{DEFAULT_FILE}"
    return f"See it with: mlflow ui --backend-store-uri {uri}"


def begin_run(
    experiment_id: str | None, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
) -> Run:
    """A run that nothing ends but its maker: for work that outlives this process."""
    import mlflow

    all_tags = {TAGS["kind"]: kind, "mlflow.source.name": f"luthier {kind}", "mlflow.source.type": "LOCAL", **tags}
    if parent is not None:
        all_tags["mlflow.parentRunId"] = parent
    elif (active := mlflow.active_run()) is not None:
        all_tags["mlflow.parentRunId"] = active.info.run_id
    elif given := os.environ.get("MLFLOW_RUN_ID"):
        # `mlflow run` made a run for us; the work is found from there.
        all_tags["mlflow.parentRunId"] = given
    return mlflow.MlflowClient().create_run(experiment_id, run_name=name, tags=all_tags)


@contextlib.contextmanager
def run_of(
    experiment_id: str | None, name: str, kind: str, tags: Mapping[str, str], parent: str | None = None
) -> Iterator[Run]:
    """A run that ends FINISHED, KILLED (interrupted) or FAILED, whatever run the caller has open."""
    import mlflow

    client = mlflow.MlflowClient()
    run = begin_run(experiment_id, name, kind, tags, parent)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except BaseException as error:
        if getattr(error, "exit_code", None) == 130 or isinstance(error, KeyboardInterrupt):
            status = "KILLED"
        raise
    finally:
        client.set_terminated(run.info.run_id, status=status)


def describe(run_id: str, markdown: str) -> None:
    """Writes what was found into the run's description, which the MLflow UI shows beside its figures."""
    import mlflow
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    mlflow.MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, markdown)


def spec_tags(spec: Spec) -> dict[str, str]:
    """Tags that say what was measured."""
    grid = {} if spec.grid_point is None else {TAGS["grid"]: spec.grid_point.grid}
    return grid | {
        TAGS["task"]: spec.task.name,
        TAGS["task_digest"]: spec.task.digest,
        TAGS["spec"]: spec.name,
        TAGS["spec_digest"]: spec.digest,
        TAGS["technique"]: spec.technique,
        TAGS["base_model"]: spec.base_model,
    }


def log_fitted(run_id: str, fitted: Fitted) -> None:
    """Keeps what was measured with the run that measured it."""
    import mlflow

    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as scratch:
        folder = fitted.save(Path(scratch) / FITTED)
        client.log_artifacts(run_id, str(folder), FITTED)
    client.set_tag(run_id, TAGS["fitted_digest"], fitted.digest)
    if fitted.train_digest:
        client.set_tag(run_id, TAGS["train_digest"], fitted.train_digest)
    log_tables(run_id, fitted)


def log_tables(run_id: str, fitted: Fitted) -> None:
    """What fitting found, as tables of the run; numbers under `best` become a curve over the trials."""
    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    curves: list[Metric] = []
    for name, rows in fitted.spec.tables(fitted).items():
        if not rows:
            continue
        columns = {key: [written(row.get(key)) for row in rows] for key in rows[0]}
        mlflow.log_table(columns, f"{name}.json", run_id=run_id)
        curves += [
            Metric(f"{name}_best", row["best"], now, row["trial"])
            for row in sorted((row for row in rows if {"best", "trial"} <= set(row)), key=lambda row: row["trial"])
        ]
    if curves:
        mlflow.MlflowClient().log_batch(run_id, metrics=curves)


def written(cell: Any) -> Any:
    """A cell as a table shows it: settings in one line of JSON."""
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list | tuple) else cell


def log_settings(run_id: str, spec: Spec) -> None:
    """The spec's settings as MLflow parameters, dotted names, short values only."""
    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = str(value)

    document = spec.document()
    for key in ("schema", "task"):
        document.pop(key)
    walk("", document)
    if spec.grid_point is not None:
        # A value that is the default is not in the document, and is what the grid is to be plotted by.
        for path, value in spec.grid_point.settings.items():
            walk(path, value)
    log_params(run_id, flat)


def log_params(run_id: str, values: Mapping[str, object]) -> None:
    """Settings as MLflow parameters, long values cut."""
    import mlflow
    from mlflow.entities import Param

    params = [Param(key[:250], str(value)[:LONGEST_PARAM]) for key, value in values.items()]
    mlflow.MlflowClient().log_batch(run_id, params=params)


def log_metrics(run_id: str, found: Mapping[str, Interval], rows: int) -> None:
    """Every metric with the bounds of its interval as `NAME_low` and `NAME_high`, and the rows behind them.

    Args:
        run_id: the run.
        found: the metrics.
        rows: how many rows they were computed on.
    """
    import mlflow
    from mlflow.entities import Metric

    values: dict[str, float] = {"rows_evaluated": rows}
    for name, interval in found.items():
        for suffix, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
            if value is not None:
                values[name + suffix] = value
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in values.items()]
    mlflow.MlflowClient().log_batch(run_id, metrics=metrics)


_autologging = threading.Lock()
_without_autologging = 0
_switched_off = contextlib.ExitStack()


@contextlib.contextmanager
def no_autologging() -> Iterator[None]:
    """`mlflow.autolog()` makes no run of what is fitted in here; the switch is the process's, so calls are counted.

    The models of a technique are parts of one measurement, which has its own run.
    """
    global _without_autologging
    if "mlflow" not in sys.modules:
        yield
        return
    from mlflow.utils.autologging_utils import disable_autologging

    with _autologging:
        _without_autologging += 1
        if _without_autologging == 1:
            _switched_off.enter_context(disable_autologging())
    try:
        yield
    finally:
        with _autologging:
            _without_autologging -= 1
            if _without_autologging == 0:
                _switched_off.close()


def log_table_digest(run_id: str, frame: pd.DataFrame, *, name: str, context: str, targets: str | None) -> None:
    """Names a table among the run's datasets, by MLflow's own digest of it."""
    import mlflow
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():
        # MLflow warns that integer columns cannot hold missing values; nothing is served from this schema.
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
        dataset = mlflow.data.from_pandas(frame, name=name, targets=targets if targets in frame.columns else None)
        entity = dataset._to_mlflow_entity()
    tags = [InputTag(key="mlflow.data.context", value=context)]
    mlflow.MlflowClient().log_inputs(run_id, datasets=[DatasetInput(dataset=entity, tags=tags)])


def find_fitted(experiment_id: str, digest: str) -> Fitted | None:
    """What was already fitted from the same spec, rows and seed, if a run holds it."""
    runs = runs_of_fitted([experiment_id], digest, most=1)
    return fitted_of_run(runs[0].info.run_id) if runs else None


def runs_of_fitted(experiments: Sequence[str], digest: str, kind: str | None = None, most: int = 200) -> list[Run]:
    """The runs that hold what has this digest, newest first.

    Args:
        experiments: ids of the experiments to look in.
        digest: of what was fitted.
        kind: only runs of this kind, such as `candidate`, which were measured.
        most: so many at most.
    """
    import mlflow

    found: dict[str, Run] = {}
    for tag in (TAGS["fitted_digest"], "luthier.fitted_digest"):
        condition = f"tags.`{tag}` = '{digest}'" + ("" if kind is None else f" AND tags.`{TAGS['kind']}` = '{kind}'")
        for run in mlflow.MlflowClient().search_runs(
            list(experiments), condition, order_by=["attributes.start_time DESC"], max_results=most
        ):
            found.setdefault(run.info.run_id, run)
    return sorted(found.values(), key=lambda run: -run.info.start_time)[:most]


def fitted_of_run(run_id: str) -> Fitted:
    """What a run measured.

    Raises:
        ModelError: there is no such run, or it measured nothing.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        raise ModelError(f"no run {run_id} at {mlflow.get_tracking_uri()}.") from error
    if tag_of(run.data.tags, "fitted_digest") is None:
        kind = run.data.tags.get(TAGS["kind"], "none of Luthier's")
        raise ModelError(
            f"run {run_id} ({kind}) holds no fitted spec; give the run of one spec: the children of a compare run."
        )
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=FITTED, dst_path=scratch)
        return read_fitted(Path(scratch) / FITTED)
