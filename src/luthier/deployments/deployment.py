"""A deployment on this machine as a notebook has it: where it answers, how it is, and what can be done with it."""

from __future__ import annotations

import html
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.deployments.records import DeploymentEvent, DeploymentRecord, Revision, deployment_folder, revision_folder
from luthier.deployments.store import DeploymentStore, store_file
from luthier.errors import Interrupted, ModelError, UserError
from luthier.packaging.folder import read_model_folder
from luthier.serving.control import ServerControl
from luthier.serving.scoring_client import ScoringClient
from luthier.spec import Spec
from luthier.techniques import read_fitted

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Deployment",
    "deployment",
    "deployment_records",
    "deployments_table",
    "keep_running",
    "list_deployments",
    "status_of",
]

POLL_SECONDS = 0.1
FOLLOW_SECONDS = 0.3
ACT_SECONDS = 30.0
"""How long the controller may take beyond what a revision needs to start or to drain."""

SHOWN_EVENTS = 10
EXTRA_SECONDS = 10.0


class Deployment:
    """A deployment of this user on this machine. Every attribute is looked up when it is read.

    Args:
        name: as `luthier deploy status` lists it.

    Raises:
        UserError: there is none of this name; the message has those there are.
    """

    target = "local"

    def __init__(self, name: str) -> None:
        self.name = name
        self._record()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self._record().url

    @property
    def status(self) -> str:
        """`serving`, `starting`, `checking`, `restarting`, `failed`, `stopping`, `stopped` or `being deleted`."""
        return status_of(self._record())

    @property
    def revision(self) -> int | None:
        """Number of the revision that answers; `None` while none does."""
        serving = self._record().serving
        return None if serving is None else serving.number

    @property
    def events(self) -> list[DeploymentEvent]:
        """What happened to it, oldest first."""
        with DeploymentStore() as store:
            return store.events(self.name)

    def predict(self, rows: Any) -> pd.DataFrame:
        """The prediction columns, as `Model.predict` gives them; asked over the private socket, so without a key.

        Args:
            rows: a table with the columns the model reads, in any form that `luthier.score` takes.

        Raises:
            DataError: a column is missing.
            NotAnswered: the server does not run, or refuses the rows.
            UserError: no revision answers.
        """
        return self._client().predict(rows)

    def predicted_records(self, rows: Any) -> list[Any]:
        """As `predict`, as the JSON values that the server gives."""
        return self._client().predicted_records(rows)

    def rollback(self, to: int | None = None) -> str:
        """Goes back to an earlier revision, and returns when that answers alone; what it did in a sentence.

        Args:
            to: number of a revision that has served; the one before when absent.

        Raises:
            UserError: there is no such revision, or it never served.
            ModelError: it does not start.
        """
        with DeploymentStore() as store:
            number = store.rollback(self.name, to)
        _start_controller()
        with self._told():
            self._wait(lambda found: found.serving is not None and found.serving.number == number, number)
        return f"{self.name} is back at revision {number}, at {self.url}."

    def stop(self) -> str:
        """Ends its server after the requests that it is answering; the deployment is kept.

        `luthier deploy` and `rollback` start it again.
        """
        with DeploymentStore() as store:
            store.stop(self.name)
        _start_controller()
        with self._told():
            self._wait(lambda found: status_of(found) == "stopped")
        return (
            f"{self.name} is stopped. Start it again with: luthier deploy MODEL_URI --target local --name {self.name}"
        )

    def delete(self) -> str:
        """Ends its server, and removes its revisions, keys and log; the last one's controller ends too."""
        with DeploymentStore() as store:
            store.delete(self.name)
        _start_controller()
        limit = time.monotonic() + self._drain_seconds()
        with self._told():
            while self.name in (one.name for one in deployment_records()):
                self._pause(limit, "being deleted")
        _end_idle_controller()
        return f"{self.name} is deleted."

    def logs(self, lines: int = 40) -> str:
        """The last lines of its log; it holds no texts."""
        return "\n".join(self.log_lines(lines))

    def log_lines(self, lines: int = 40, *, follow: bool = False) -> Iterator[str]:
        """The last lines of its log, one by one.

        Args:
            lines: how many.
            follow: go on with what is written from now on, until the caller stops.
        """
        self._record()
        yield from _lines(deployment_folder(self.name) / "server.log", lines, follow)

    @property
    def description(self) -> str:
        """What `luthier deploy status NAME` prints: state, checks, revisions and the last events."""
        found = self._record()
        lines = [f"{found.name}: {status_of(found)} at {found.url}", f"model: {found.model_uri}"]
        if found.serving is not None:
            lines.append(f"answers: {found.serving.title}")
            lines += _server_lines(self._server_status(found.serving))
        lines.append("revisions:")
        for one in reversed(found.revisions):
            lines.append(f"  {one.title}: {one.state}" + (f"; {one.reason}" if one.reason else ""))
        lines.append("events:")
        for event in self.events[-SHOWN_EVENTS:]:
            when = datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
            lines.append(f"  {when} UTC  {event.words}")
        return "\n".join(lines)

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = self._record()
        serving = found.serving
        status = None if serving is None else self._server_status(serving)
        return {
            "name": found.name,
            "target": self.target,
            "url": found.url,
            "status": status_of(found),
            "model_uri": found.model_uri,
            "revision": None if serving is None else serving.number,
            "version": None if serving is None else serving.model.version,
            "ready": None if status is None else status["ready"],
            "checks": {} if status is None else status["checks"],
            "revisions": [
                {
                    "number": one.number,
                    "model_uri": one.model.uri,
                    "version": one.model.version,
                    "state": one.state,
                    "pid": None if one.process is None else one.process.pid,
                    "reason": one.reason,
                    "created": one.created,
                }
                for one in found.revisions
            ],
        }

    def __repr__(self) -> str:
        found = self._record()
        return f"<deployment {found.name}: {status_of(found)} at {found.url}, {_answering(found)}>"

    def _repr_html_(self) -> str:
        found = self._record()
        shown = [html.escape(one) for one in (found.name, status_of(found), found.url, _answering(found))]
        return f'<b>{shown[0]}</b>: {shown[1]} at <a href="{shown[2]}">{shown[2]}</a>, {shown[3]}'

    def _record(self) -> DeploymentRecord:
        with DeploymentStore() as store:
            return store.one(self.name)

    def _client(self) -> ScoringClient:
        found = self._record()
        revision = found.serving
        if revision is None:
            raise UserError(f"{self.name} answers nothing now: it is {status_of(found)}. Type: luthier deploy status")
        folder = revision_folder(self.name, revision.number)
        return ScoringClient(
            ServerControl(folder).http_path,
            _spec_of(folder / "model"),
            most_rows=revision.settings.most_rows,
            timeout_seconds=revision.settings.timeout_seconds + EXTRA_SECONDS,
        )

    def _server_status(self, revision: Revision) -> dict[str, Any] | None:
        try:
            return ServerControl(revision_folder(self.name, revision.number)).ask("status")
        except OSError:
            # It is being started again.
            return None

    def _drain_seconds(self) -> float:
        settings = [one.settings.timeout_seconds for one in self._record().revisions]
        return max(settings, default=0.0) + ACT_SECONDS

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says on Ctrl-C that what was asked for goes on: the controller does it."""
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; what was asked for goes on without this command. Follow it with: luthier deploy status "
                f"{self.name}"
            ) from None

    def _wait(self, fact: Callable[[DeploymentRecord], bool], number: int | None = None) -> None:
        """Returns once the controller has brought a fact about.

        Args:
            fact: about the deployment.
            number: of the revision that is started for it, if one is.
        """
        found = self._record()
        started = None if number is None else found.revision(number)
        limit = time.monotonic() + self._drain_seconds()
        if started is not None:
            limit += started.bounds.start_seconds + started.bounds.check_seconds
        while not fact(found := self._record()):
            revision = None if number is None else found.revision(number)
            if revision is not None and revision.state == "failed" and found.target != number:
                raise ModelError(f"revision {number} of {self.name} does not serve: {revision.reason}")
            self._pause(limit, status_of(found))

    def _pause(self, limit: float, status: str) -> None:
        if time.monotonic() > limit:
            raise ModelError(
                f"{self.name} is still {status}; the controller is slow or does not run. Look at: "
                f"luthier deploy status {self.name}"
            )
        time.sleep(POLL_SECONDS)


def deployment(name: str) -> Deployment:
    """The deployment of this name.

    Raises:
        UserError: there is none; the message has those there are.
    """
    return Deployment(name)


def list_deployments() -> list[Deployment]:
    """The deployments of this user on this machine, by name."""
    return [Deployment(one.name) for one in deployment_records()]


def deployments_table(found: list[Deployment]) -> str:
    """A line for each, as `luthier deploy status` prints them."""
    if not found:
        return "no deployments; type: luthier deploy MODEL_URI --target local --name NAME"
    documents = [one.to_document() for one in found]
    rows = [("NAME", "STATUS", "REVISION", "MODEL", "URL")]
    rows += [(one["name"], one["status"], str(one["revision"] or ""), _model_of(one), one["url"]) for one in documents]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _model_of(document: Mapping[str, Any]) -> str:
    """The model that answers, which is not the one asked for last where an update is under way or was taken back."""
    by_number = {one["number"]: one["model_uri"] for one in document["revisions"]}
    return str(by_number.get(document["revision"], document["model_uri"]))


def deployment_records() -> list[DeploymentRecord]:
    """What the store has of every deployment of this user on this machine, by name."""
    if not store_file().exists():
        return []
    with DeploymentStore() as store:
        return store.deployments()


def keep_running() -> bool:
    """Starts the controller where deployments are wanted and none runs, as after a restart of the machine.

    Returns:
        Whether it had to be started.

    Raises:
        UserError: it does not start.
    """
    from luthier.deployments import supervision

    if not any(one.desired != "stopped" for one in deployment_records()) or supervision.state().is_running:
        return False
    supervision.ensure_running()
    return True


def _end_idle_controller() -> None:
    """Ends the controller where no deployment is left for it."""
    from luthier.deployments import supervision

    if not deployment_records():
        supervision.stop()
        if deployment_records():
            # Another command made one at this moment.
            supervision.ensure_running()


def _start_controller() -> None:
    from luthier.deployments.supervision import ensure_running

    ensure_running()


def status_of(found: DeploymentRecord) -> str:
    """See `Deployment.status`."""
    if found.desired == "deleted":
        return "being deleted"
    if found.desired == "stopped":
        return "stopping" if any(_runs(one) for one in found.revisions) else "stopped"
    serving, wanted = found.serving, found.wanted
    if serving is not None:
        return "serving" if _runs(serving) else "restarting"
    return "failed" if wanted is None or wanted.state == "failed" else wanted.state


def _runs(revision: Revision) -> bool:
    return revision.process is not None and revision.process.is_alive


def _answering(found: DeploymentRecord) -> str:
    serving = found.serving
    return "no revision answers" if serving is None else serving.title


def _server_lines(status: Mapping[str, Any] | None) -> list[str]:
    if status is None:
        return ["server: does not answer now"]
    wrong = [f"{name}: {words}" for name, words in status["checks"].items() if words is not None]
    p95 = status["latency_seconds"]["p95"]
    latency = "" if p95 is None else f", 95% within {p95 * 1000:.0f} ms"
    return [
        f"server: pid {status['pid']}, {'ready' if status['ready'] else 'not ready: ' + '; '.join(wrong)}",
        f"requests: {status['requests']:,} since it started, {status['errors']:,} of them answered with 5xx{latency}",
    ]


def _spec_of(folder: Path) -> Spec | None:
    """The recipe of a model that Luthier logged; `None` for any other."""
    model = read_model_folder(folder, str(folder))
    return read_fitted(model.data).spec if model.is_ours else None


def _lines(file: Path, lines: int, follow: bool) -> Iterator[str]:
    if not file.exists() and not follow:
        return
    while not file.exists():
        time.sleep(FOLLOW_SECONDS)
    opened = file.open(encoding="utf-8", errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(opened, maxlen=lines))
        while follow:
            if line := opened.readline():
                yield line.rstrip("\n")
                continue
            time.sleep(FOLLOW_SECONDS)
            # The server begins another file when this one is full.
            if file.exists() and not os.path.samestat(file.stat(), os.fstat(opened.fileno())):
                opened.close()
                opened = file.open(encoding="utf-8", errors="replace")
    finally:
        opened.close()
