"""The tracking store read without MLflow, where it is an SQLite file of a known schema.

Importing MLflow and opening its store takes seconds. Lookups (`tune list`, the folder of a registered model) read the
file directly, read-only. Any other store, a schema that is not known here, and a process that has MLflow
loaded already give `None`, and the caller asks MLflow.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

__all__ = [
    "DEFAULT_FILE",
    "REGISTERED",
    "SCHEMAS",
    "RunRecord",
    "local_file",
    "missing_store",
    "model_folder",
    "registered_version",
    "runs_tagged",
    "store_uri",
]

DEFAULT_FILE = "mlflow.db"

SCHEMAS = frozenset({"dc11669786a5"})
"""Schemas, by MLflow's name of them (its newest Alembic revision), whose tables were checked to be as read here."""

OTHERWISE_SET = ("MLFLOW_REGISTRY_URI", "MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES")
"""Variables that make MLflow look elsewhere than into the file."""


@dataclass(frozen=True)
class RunRecord:
    """A run as the store has it; `started` in milliseconds since 1970."""

    run_id: str
    status: str
    started: int
    tags: Mapping[str, str]


def store_uri() -> str:
    """Where the tracking store is: what MLflow was told, `MLFLOW_TRACKING_URI`, or `mlflow.db` in this folder."""
    if "mlflow" in sys.modules:
        import mlflow

        if mlflow.is_tracking_uri_set():
            return str(mlflow.get_tracking_uri())
    # Absolute, so that a notebook that changes its folder goes on in the same store.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / DEFAULT_FILE}"


def runs_tagged(key: str, value: str) -> list[RunRecord] | None:
    """The runs of every experiment that have this tag; `None` where MLflow is to be asked."""
    if missing_store() is not None:
        return []
    with _opened() as store:
        if store is None:
            return None
        rows = store.execute(
            "SELECT r.run_uuid, r.status, r.start_time FROM runs r "
            "JOIN tags t ON t.run_uuid = r.run_uuid JOIN experiments e ON e.experiment_id = r.experiment_id "
            "WHERE t.key = ? AND t.value = ? AND r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'",
            (key, value),
        ).fetchall()
        found = []
        for run_id, status, started in rows:
            tags = dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall())
            found.append(RunRecord(run_id, status, started, tags))
        return found


def model_folder(model_uri: str) -> Path | None:
    """The folder on this machine that holds a logged or registered model; `None` where MLflow is to be asked."""
    registered, logged = registered_version(model_uri), re.fullmatch(r"models:/(m-[0-9a-f]+)", model_uri)
    if registered is None and logged is None:
        return None
    location = None
    with _opened() as store:
        if store is None:
            return None
        if registered is not None:
            row = store.execute(
                "SELECT storage_location, source FROM model_versions "
                "WHERE name = ? AND version = ? AND current_stage != 'Deleted_Internal'",
                (registered[0], int(registered[1])),
            ).fetchone()
            location = None if row is None else row[0] or row[1]
        elif logged is not None:
            row = store.execute(
                "SELECT artifact_location FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active'",
                (logged[1],),
            ).fetchone()
            location = None if row is None else row[0]
    return None if location is None else _local(location)


REGISTERED = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
"""Address of a registered model: its name, and an alias or a version."""


def registered_version(model_uri: str, tracking_uri: str | None = None) -> tuple[str, str] | None:
    """Name and version behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`; `None` where MLflow is to be asked.

    `tracking_uri` names a store other than the one that is set.
    """
    named = REGISTERED.fullmatch(model_uri)
    if named is None:
        return None
    name, alias, version = named.groups()
    if alias is None:
        return name, version
    with _opened(tracking_uri) as store:
        row = None
        if store is not None:
            row = store.execute(
                "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", (name, alias)
            ).fetchone()
    return None if row is None else (name, str(row[0]))


def _local(location: str) -> Path | None:
    if location.startswith("file:"):
        parts = urlparse(location)
        location = unquote(parts.path) if parts.netloc in ("", "localhost") else ""
    path = Path(location)
    return path if path.is_absolute() and path.is_dir() else None


@contextmanager
def _opened(tracking_uri: str | None = None) -> Iterator[sqlite3.Connection | None]:
    path = local_file(tracking_uri)
    if path is None or not path.is_file():
        yield None
        return
    store = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        yield store if _is_known(store) else None
    finally:
        store.close()


def _is_known(store: sqlite3.Connection) -> bool:
    try:
        found = {row[0] for row in store.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.DatabaseError:
        # MLflow says what is wrong with it.
        return False
    return bool(found) and found <= SCHEMAS


def local_file(tracking_uri: str | None = None) -> Path | None:
    """The SQLite file of a store, which need not exist; `None` where the store is none, or MLflow is to be asked."""
    # A store that is named is read in a process with MLflow too: what MLflow was told is another one's concern.
    is_loaded = tracking_uri is None and "mlflow" in sys.modules
    if is_loaded or any(os.environ.get(name) for name in OTHERWISE_SET):
        return None
    named = re.fullmatch(r"sqlite:///([^?#]+)", tracking_uri or store_uri())
    return None if named is None else Path(named[1]).absolute()


def missing_store() -> Path | None:
    """The SQLite file of the store where there is none yet: MLflow would make it to look into it."""
    file = local_file(store_uri())
    return file if file is not None and file.name != ":memory:" and not file.exists() else None
