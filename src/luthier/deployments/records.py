"""What is known of a deployment: plain records, as the store keeps them and commands show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from luthier.deployments.rollout import RolloutBounds
from luthier.home import luthier_home
from luthier.processes import start_time
from luthier.serving.settings import ServerSettings

__all__ = [
    "ControllerProcess",
    "DeploymentRecord",
    "DeploymentEvent",
    "Desired",
    "ENDED",
    "ResolvedModel",
    "Revision",
    "RevisionState",
    "ServerProcess",
    "controller_lock",
    "controller_log",
    "deployment_folder",
    "read_settings",
    "revision_folder",
    "written_settings",
]

Desired = Literal["running", "stopped", "deleted"]

RevisionState = Literal["starting", "checking", "sharing", "serving", "standby", "drained", "failed"]
"""`starting`: its server reads the model. `checking`: its answers are compared with the recorded ones.

`sharing`: it answers beside the revision before it, and both are watched. `serving`: it answers alone.
`standby`: it answers no longer, and its server is kept warm to go back to. `drained`: its server has ended.
`failed`: a check, a bound or its server failed; the reason says which.
"""

ENDED: tuple[RevisionState, ...] = ("drained", "failed")
"""States in which a revision has no server."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One fixed model behind an address.

    Attributes:
        uri: an address that always means this model, such as `models:/stars/2`, or a folder.
        version: of the registered model; `None` where it is not registered.
        tracking_uri: the store that knows it.
    """

    uri: str
    version: str | None
    tracking_uri: str


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server of a revision, told from another program with the same pid by its start time."""

    pid: int
    start_time: str

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return start_time(self.pid) == self.start_time


@dataclass(frozen=True, slots=True)
class ControllerProcess:
    """The controller that runs, or ran last.

    Attributes:
        pid: of its process.
        start_time: tells it from another program with the same pid.
        build: of the Luthier it runs.
        variables: names of the environment variables that its servers get.
    """

    pid: int
    start_time: str
    build: str
    variables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Revision:
    """One numbered state of a deployment: a model with the settings of its server.

    Attributes:
        number: 1, 2, ...; never given twice.
        model_uri: as it was asked for.
        model: which one that was.
        settings: of its server.
        endpoint: settings that point the model elsewhere.
        trust: whether code that came with the model is run.
        state: see `RevisionState`.
        bounds: of its rollout.
        is_refused: whether it failed by its answers, errors or latency, and not because its server did not start.
        reason: why it failed or was replaced; `None` where there is nothing to say.
        created: seconds since 1970, as the other times.
        served: when it first answered alone; `None` if it never did.
        ended: when it was drained or failed.
        process: its server, where one was started.
    """

    number: int
    model_uri: str
    model: ResolvedModel
    settings: ServerSettings
    endpoint: Mapping[str, Any]
    trust: bool
    bounds: RolloutBounds
    state: RevisionState
    is_refused: bool
    reason: str | None
    created: float
    served: float | None
    ended: float | None
    process: ServerProcess | None = None

    @property
    def title(self) -> str:
        """How messages name it."""
        what = f"version {self.model.version}" if self.model.version else self.model.uri
        return f"revision {self.number} ({what})"


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment: what is wanted of it, and its revisions, oldest first.

    Attributes:
        desired: what the user asked for last.
        model_uri: as asked; an alias in it is followed.
        tracking_uri: the store in which an alias is looked up.
        followed_version: the version an alias had when it was last looked up.
        port: 0 until a free one was taken.
        target: number of the revision that is to serve.
        is_rolling_back: whether the target was asked for by a rollback.
    """

    name: str
    desired: Desired
    model_uri: str
    tracking_uri: str
    followed_version: str | None
    host: str
    port: int
    target: int | None
    is_rolling_back: bool
    created: float
    revisions: tuple[Revision, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def serving(self) -> Revision | None:
        """The revision that answers, beside a newer one while that is watched."""
        return next((one for one in reversed(self.revisions) if one.state == "serving"), None)

    @property
    def wanted(self) -> Revision | None:
        """The revision that is to serve."""
        return self.revision(self.target) if self.target is not None else None

    def revision(self, number: int) -> Revision | None:
        """The revision of this number, if it is known."""
        return next((one for one in self.revisions if one.number == number), None)

    @property
    def previous_good(self) -> Revision | None:
        """What a rollback leads to: the newest revision before the serving one that has served."""
        serving = self.serving
        older = [one for one in self.revisions if one.served and (serving is None or one.number < serving.number)]
        return older[-1] if older else None


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """Something that happened to a deployment; time in seconds since 1970."""

    id: int
    time: float
    words: str


def controller_log() -> Path:
    """The controller's own log, rotated."""
    return luthier_home() / "controller.log"


def controller_lock() -> Path:
    """Locked by the controller as long as it runs."""
    return luthier_home() / "controller.lock"


def deployment_folder(name: str) -> Path:
    """Folder of a deployment's log, keys and revisions."""
    return luthier_home() / "deployments" / name


def revision_folder(name: str, number: int) -> Path:
    """Folder of a revision: its model, and what its server is started with."""
    return deployment_folder(name) / "revisions" / str(number)


PATHS = ("keys_file", "log_file", "budget_file")


def written_settings(settings: ServerSettings) -> str:
    """Settings as JSON text."""
    return json.dumps(
        {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    )


def read_settings(text: str) -> ServerSettings:
    """Settings from the JSON text that `written_settings` wrote."""
    values = json.loads(text)
    return ServerSettings(**values | {name: Path(values[name]) for name in PATHS if values.get(name)})
