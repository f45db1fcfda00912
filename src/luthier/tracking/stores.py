"""The MLflow store that Luthier works in: which one it is, the experiments in it, and keeping MLflow quiet."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from luthier.errors import ModelError, UserError
from luthier.home import luthier_home
from luthier.tasks.task import Task
from luthier.tracking.store_file import DEFAULT_FILE, missing_store, store_uri

__all__ = [
    "connect",
    "connect_to_model",
    "connect_to_read",
    "experiment_called",
    "known_experiment",
    "no_autologging",
    "where_to_look",
]


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


def connect_to_read(lacking: str) -> None:
    """As `connect`, and makes no store: MLflow writes an SQLite file where it looks into one that is not there.

    Args:
        lacking: what cannot be there then, such as "no run 'abc'".

    Raises:
        ModelError: nothing was written to the store yet.
    """
    if missing_store() is not None:
        raise ModelError(
            f"{lacking} in the MLflow store {store_uri()}: nothing was written to it yet. luthier compare makes the "
            "first run; MLFLOW_TRACKING_URI names another store."
        )
    connect()


def connect_to_model(uri: str) -> None:
    """As `connect_to_read`, for an address of MLflow's; a folder or another address needs no store."""
    if uri.startswith(("models:/", "runs:/")):
        connect_to_read(f"no model at {uri}")
    else:
        connect()


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

    if missing_store() is not None:
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
    with contextlib.suppress(FileNotFoundError):  # this folder was removed meanwhile
        if uri == f"sqlite:///{Path.cwd() / DEFAULT_FILE}":
            uri = f"sqlite:///{DEFAULT_FILE}"
    return f"See it with: mlflow ui --backend-store-uri {uri}"


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
