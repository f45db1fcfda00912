"""The deployments of this user: what is wanted of each, and what has become of it.

Commands write what is wanted, the controller writes what it observes. Both are single transactions in an SQLite file
in WAL mode, so any number of processes may write, and a process that is killed leaves the last complete state.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luthier.deployments.plan import DeploymentRequest, checked_name
from luthier.deployments.records import (
    ControllerProcess,
    DeploymentEvent,
    DeploymentRecord,
    Desired,
    ResolvedModel,
    Revision,
    RevisionState,
    ServerProcess,
    read_settings,
    revision_folder,
    written_settings,
)
from luthier.deployments.rollout import RolloutBounds
from luthier.deployments.schema import migrate
from luthier.errors import UserError
from luthier.home import luthier_home, make_database
from luthier.serving.settings import ServerSettings

__all__ = ["DeploymentStore", "check_update", "store_file"]

BUSY_SECONDS = 30.0
KEPT_EVENTS = 1_000
"""Per deployment."""


def store_file() -> Path:
    """Where the deployments of this user are kept."""
    return luthier_home() / "deployments.db"


def check_update(found: DeploymentRecord, settings: ServerSettings) -> None:
    """Refuses settings that an update cannot bring about.

    Raises:
        UserError: the deployment is being deleted, or answers elsewhere.
    """
    if found.desired == "deleted":
        raise UserError(f"{found.name} is being deleted; wait until `luthier deploy status` lists it no longer.")
    if settings.port and (settings.host, settings.port) != (found.host, found.port):
        raise UserError(
            f"{found.name} answers at {found.url}, and an update leaves it there; given: {settings.host}:"
            f"{settings.port}. Leave --host and --port out, or type: luthier deploy delete {found.name}"
        )


class DeploymentStore:
    """The file `deployments.db` in `LUTHIER_HOME`, mode 0600. Usable from threads.

    Args:
        path: another file.
        clock: gives seconds since 1970.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path or store_file()
        self._clock = clock
        self._lock = threading.RLock()
        make_database(self.path)
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        migrate(self._connection, str(self.path))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> DeploymentStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What users want

    def add_revision(self, request: DeploymentRequest, model: ResolvedModel) -> int:
        """Adds a revision to a deployment, which is made where there is none; returns the revision's number.

        A rollout that is under way is dropped for it.

        Raises:
            UserError: the name or a bound in `request.config` is not allowed, the deployment is being deleted, or it
                answers elsewhere.
        """
        checked_name(request.name)
        bounds = RolloutBounds.of(request.config)
        with self._writing() as write:
            found = self._one(request.name)
            host, port = request.settings.host, request.settings.port
            if found is None:
                write(
                    "INSERT INTO deployments (name, desired, model_uri, tracking_uri, followed_version, host, port, "
                    "created) VALUES (?, 'running', ?, ?, ?, ?, ?, ?)",
                    (request.name, request.model_uri, model.tracking_uri, model.version, host, port, self._clock()),
                )
            else:
                check_update(found, request.settings)
                write(
                    "UPDATE deployments SET desired = 'running', model_uri = ?, tracking_uri = ?, followed_version = ? "
                    "WHERE name = ?",
                    (request.model_uri, model.tracking_uri, model.version, request.name),
                )
            return self._insert_revision(request, model, bounds)

    def follow(self, name: str, version: str) -> int | None:
        """Takes note that the alias of a deployment moved; returns the number of the revision made for it.

        `None`: the revision that serves has this version already, so it stays, and a rollout away from it is dropped.
        """
        with self._writing() as write:
            found = self.one(name)
            write("UPDATE deployments SET followed_version = ? WHERE name = ?", (version, name))
            newest, serving = found.revisions[-1], found.serving
            if serving is not None and serving.model.version == version:
                write("UPDATE deployments SET target = ?, rolling_back = 0 WHERE name = ?", (serving.number, name))
                self._say(name, f"{found.model_uri} is version {version}, which serves already")
                return None
            self._say(name, f"{found.model_uri} moved to version {version}")
            registered = found.model_uri.partition("@")[0]
            request = DeploymentRequest(
                name=name,
                model_uri=found.model_uri,
                settings=newest.settings,
                endpoint=newest.endpoint,
                trust=newest.trust,
            )
            return self._insert_revision(
                request, ResolvedModel(f"{registered}/{version}", version, found.tracking_uri), newest.bounds
            )

    def rollback(self, name: str, to: int | None = None) -> int:
        """Asks for an earlier revision to serve again; returns its number.

        Without `to`: a rollout that is under way is dropped; else it is the newest revision before the one that serves.

        Raises:
            UserError: no such deployment or revision, or it never served.
        """
        with self._writing() as write:
            found = self.one(name)
            serving = found.serving
            served = [
                one.number for one in found.revisions if one.served and revision_folder(name, one.number).exists()
            ]
            past = ", ".join(str(number) for number in served) or "none"
            if to is None and serving is not None and found.target not in (None, serving.number):
                number = serving.number
            elif to is None:
                previous = found.previous_good
                if previous is None or previous.number not in served:
                    raise UserError(f"{name} has no earlier revision to go back to; revisions that served: {past}.")
                number = previous.number
            else:
                if to not in served:
                    raise UserError(f"{name} cannot go back to revision {to}; revisions that served: {past}.")
                number = to
            write(
                "UPDATE deployments SET desired = 'running', target = ?, rolling_back = 1 WHERE name = ?",
                (number, name),
            )
            self._say(name, f"rollback to revision {number} asked for")
            return number

    def stop(self, name: str) -> None:
        """Asks for its servers to be drained; `add_revision` and `rollback` start it again."""
        self._desire(name, "stopped", "stop asked for")

    def delete(self, name: str) -> None:
        """Asks for its servers to be drained and its files removed."""
        self._desire(name, "deleted", "delete asked for")

    def deployments(self) -> list[DeploymentRecord]:
        """Every deployment, by name."""
        with self._lock:
            names = [row["name"] for row in self._connection.execute("SELECT name FROM deployments ORDER BY name")]
            return [found for name in names if (found := self._one(name)) is not None]

    def one(self, name: str) -> DeploymentRecord:
        """The deployment of this name.

        Raises:
            UserError: there is none; the message has those there are.
        """
        with self._lock:
            found = self._one(name)
            if found is None:
                names = [row["name"] for row in self._connection.execute("SELECT name FROM deployments ORDER BY name")]
                there = f"there are: {', '.join(names)}" if names else "there is none yet: luthier deploy MODEL_URI"
                raise UserError(f"no deployment {name!r}; {there}.")
            return found

    def events(self, name: str, after: int = 0, most: int = KEPT_EVENTS) -> list[DeploymentEvent]:
        """What happened to a deployment after the event of that id, oldest first; the last `most` of it."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, time, words FROM events WHERE deployment = ? AND id > ? ORDER BY id DESC LIMIT ?",
                (name, after, most),
            ).fetchall()
        return [DeploymentEvent(row["id"], row["time"], row["words"]) for row in reversed(rows)]

    # What the controller observes

    def data_version(self) -> int:
        """Changes when another process has written; cheap to ask."""
        with self._lock:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def say(self, name: str, words: str) -> None:
        """Adds an event."""
        with self._writing():
            self._say(name, words)

    def set_state(
        self, name: str, number: int, state: RevisionState, reason: str | None = None, *, is_refused: bool = False
    ) -> None:
        """Writes a revision's state; a reason is kept until it starts anew or another is given."""
        now = self._clock()
        with self._writing() as write:
            write(
                "UPDATE revisions SET state = ?, refused = ?, "
                "reason = CASE WHEN ? = 'starting' THEN NULL ELSE coalesce(?, reason) END, "
                "served = CASE WHEN ? = 'serving' THEN coalesce(served, ?) ELSE served END, "
                "ended = CASE WHEN ? IN ('drained', 'failed') THEN ? END WHERE deployment = ? AND number = ?",
                (state, is_refused, state, reason, state, now, state, now, name, number),
            )

    def set_process(self, name: str, number: int, process: ServerProcess | None) -> None:
        """Writes which process is the server of a revision; `None` when it has ended."""
        with self._writing() as write:
            write("DELETE FROM processes WHERE deployment = ? AND revision = ?", (name, number))
            if process is not None:
                write("INSERT INTO processes VALUES (?, ?, ?, ?)", (name, number, process.pid, process.start_time))

    def set_port(self, name: str, port: int) -> None:
        """Writes the port that was taken."""
        with self._writing() as write:
            write("UPDATE deployments SET port = ? WHERE name = ?", (port, name))

    def set_target(self, name: str, number: int | None, *, instead_of: int | None) -> None:
        """Writes which revision is to serve, unless another one was asked for meanwhile."""
        with self._writing() as write:
            write(
                "UPDATE deployments SET target = ?, rolling_back = 0 WHERE name = ? AND target IS ?",
                (number, name, instead_of),
            )

    def controller(self) -> ControllerProcess | None:
        """The controller that runs, or ran last."""
        with self._lock:
            row = self._connection.execute("SELECT pid, start_time, build, variables FROM controller").fetchone()
        if row is None:
            return None
        return ControllerProcess(row["pid"], row["start_time"], row["build"], frozenset(json.loads(row["variables"])))

    def set_controller(self, controller: ControllerProcess) -> None:
        """Writes who looks after the deployments from now on."""
        variables = json.dumps(sorted(controller.variables))
        with self._writing() as write:
            write(
                "INSERT OR REPLACE INTO controller VALUES (1, ?, ?, ?, ?)",
                (controller.pid, controller.start_time, controller.build, variables),
            )

    def remove(self, name: str) -> None:
        """Forgets a deployment whose servers have ended."""
        with self._writing() as write:
            write("DELETE FROM deployments WHERE name = ?", (name,))

    # Inside

    @contextmanager
    def _writing(self) -> Iterator[Callable[[str, tuple[Any, ...]], object]]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _insert_revision(self, request: DeploymentRequest, model: ResolvedModel, bounds: RolloutBounds) -> int:
        """A new revision, which is to serve; the rollout it replaces is dropped by the controller."""
        execute = self._connection.execute
        query = "SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE deployment = ?"
        number = int(execute(query, (request.name,)).fetchone()[0])
        execute("UPDATE deployments SET target = ?, rolling_back = 0 WHERE name = ?", (number, request.name))
        execute(
            "INSERT INTO revisions (deployment, number, model_uri, resolved_uri, version, settings, endpoint, trust, "
            "bounds, state, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'starting', ?)",
            (
                request.name,
                number,
                request.model_uri,
                model.uri,
                model.version,
                written_settings(request.settings),
                json.dumps(dict(request.endpoint)),
                int(request.trust),
                json.dumps(asdict(bounds)),
                self._clock(),
            ),
        )
        self._say(request.name, f"revision {number} asked for: {request.model_uri}")
        return number

    def _desire(self, name: str, desired: Desired, words: str) -> None:
        with self._writing() as write:
            self.one(name)
            write("UPDATE deployments SET desired = ? WHERE name = ? AND desired != 'deleted'", (desired, name))
            self._say(name, words)

    def _say(self, name: str, words: str) -> None:
        execute = self._connection.execute
        execute("INSERT INTO events (time, deployment, words) VALUES (?, ?, ?)", (self._clock(), name, words))
        execute(
            "DELETE FROM events WHERE deployment = ? AND id <= "
            "(SELECT id FROM events WHERE deployment = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (name, name, KEPT_EVENTS),
        )

    def _one(self, name: str) -> DeploymentRecord | None:
        row = self._connection.execute("SELECT * FROM deployments WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        found = self._connection.execute(
            "SELECT r.*, p.pid, p.start_time FROM revisions r LEFT JOIN processes p "
            "ON p.deployment = r.deployment AND p.revision = r.number WHERE r.deployment = ? ORDER BY r.number",
            (name,),
        ).fetchall()
        return DeploymentRecord(
            name=row["name"],
            desired=row["desired"],
            model_uri=row["model_uri"],
            tracking_uri=row["tracking_uri"],
            followed_version=row["followed_version"],
            host=row["host"],
            port=row["port"],
            target=row["target"],
            is_rolling_back=bool(row["rolling_back"]),
            created=row["created"],
            revisions=tuple(_revision(one, row["tracking_uri"]) for one in found),
        )


def _revision(row: sqlite3.Row, tracking_uri: str) -> Revision:
    return Revision(
        number=row["number"],
        model_uri=row["model_uri"],
        model=ResolvedModel(row["resolved_uri"], row["version"], tracking_uri),
        settings=read_settings(row["settings"]),
        endpoint=json.loads(row["endpoint"]),
        trust=bool(row["trust"]),
        bounds=RolloutBounds(**json.loads(row["bounds"])),
        is_refused=bool(row["refused"]),
        state=row["state"],
        reason=row["reason"],
        created=row["created"],
        served=row["served"],
        ended=row["ended"],
        process=None if row["pid"] is None else ServerProcess(row["pid"], row["start_time"]),
    )
