"""Deployments on this machine: they outlive the terminal, are supervised, and updated without a failed request."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from luthier.deployments import supervision
from luthier.deployments.controller_start import supervision_folder
from luthier.deployments.fetching import FETCH_SECONDS, follows_alias, resolved_model
from luthier.deployments.parity import price_of_check
from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.records import (
    DeploymentRecord,
    ResolvedModel,
    controller_log,
    deployment_folder,
    revision_folder,
)
from luthier.deployments.rollout import RolloutBounds
from luthier.deployments.servers import environment_file, written_variables
from luthier.deployments.store import DeploymentStore, check_update, store_file
from luthier.errors import EndpointError, GateFailed, Interrupted, ModelError, UserError
from luthier.packaging.folder import read_model_folder
from luthier.packaging.loading import find_model, located
from luthier.processes import build_of_luthier, start_time
from luthier.providers.prices import dollars
from luthier.serving.keys import KeyFile
from luthier.serving.listening import listening_socket
from luthier.serving.settings import ServerSettings
from luthier.terminals import visible

__all__ = ["LocalTarget"]

POLL_SECONDS = 0.1
FIRST_LABEL = "first"


class LocalTarget:
    """Plans and makes deployments of this user on this machine."""

    name = "local"

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What `apply` would do.

        Raises:
            UserError: the port is taken, a setting or the name is not allowed, the key of the model is not set.
            ModelError: there is no such model, or it would run code that is not trusted.
        """
        if sys.platform == "win32":
            raise UserError("a deployment on this machine needs Linux or macOS; type: luthier serve MODEL_URI")
        if request.to is not None:
            raise UserError("the target local writes no files for you; leave --to out.")
        bounds = RolloutBounds.of(request.config)
        model = resolved_model(request.model_uri)
        _check_variables(request)
        found = _found(request.name)
        settings = _settings(request, found)
        if found is None:
            _check_port(settings)
        else:
            check_update(found, settings)
        steps = _steps(replace(request, settings=settings), model, found, bounds)
        return DeploymentPlan(replace(request, settings=settings), self.name, tuple(steps))

    def apply(self, plan: DeploymentPlan) -> str:
        """Asks the controller for it, and waits until the revision serves.

        Raises:
            GateFailed: the answers differ from the recorded ones, or errors or latency were above the bounds.
            ModelError: its server did not start.
        """
        request = plan.request
        key = _make_key(request)
        with DeploymentStore() as store:
            number = store.add_revision(request, resolved_model(request.model_uri))
            _start_controller(store, request)
            try:
                _wait(store, request.name, number)
            except KeyboardInterrupt:
                raise Interrupted(_interrupted(store.one(request.name), number)) from None
            found = store.one(request.name)
        lines = [f"{request.name} answers at {found.url} (revision {number})."]
        if key is not None:
            lines.append(f"Key, shown only now: {key}\nMore keys: luthier keys add {request.settings.keys_file} LABEL")
        return "\n".join(lines)


def _variables(request: DeploymentRequest) -> list[str]:
    """Names of the variables with the keys that a model asks with.

    Raises:
        ModelError: there is no such model, or it would run code that is not trusted.
    """
    if request.trust and not read_model_folder(located(request.model_uri), request.model_uri).is_ours:
        return []
    model = find_model(request.model_uri, request.endpoint, trust=request.trust)
    return sorted({one.key_variable for one in model.fitted.spec.all_endpoints if one.key_variable})


def _start_controller(store: DeploymentStore, request: DeploymentRequest) -> None:
    """Starts the controller, and anew where it is of another Luthier or lacks a variable: servers go on meanwhile."""
    running, variables = store.controller(), _variables(request)
    if running is not None and start_time(running.pid) == running.start_time:
        missing = set(variables) - running.variables - set(written_variables())
        if missing or running.build != build_of_luthier():
            supervision.stop()
    supervision.ensure_running(variables)


def _check_variables(request: DeploymentRequest) -> None:
    given = set(os.environ) | set(written_variables())
    for variable in _variables(request):
        if variable not in given:
            raise EndpointError(
                f"the environment variable {variable}, which holds a key of this model, is not set. Type: "
                f"export {variable}=... or write that line, without export, into {environment_file()} (mode 600), "
                "which is also read after a restart of this machine."
            )


def _found(name: str) -> DeploymentRecord | None:
    with DeploymentStore() as store:
        return next((one for one in store.deployments() if one.name == name), None)


def _settings(request: DeploymentRequest, found: DeploymentRecord | None) -> ServerSettings:
    """Settings as given; what was left out and would lock clients out is as it was."""
    settings = request.settings
    if found is not None and settings.port == ServerSettings().port:
        settings = replace(settings, port=found.port)
    if settings.keys_file is None and not settings.without_key:
        last = found.revisions[-1].settings if found is not None and found.revisions else None
        if last is not None and (last.keys_file is not None or last.without_key):
            return replace(settings, keys_file=last.keys_file, without_key=last.without_key)
        return replace(settings, keys_file=_own_keys(request.name))
    if settings.keys_file is not None:
        settings = replace(settings, keys_file=settings.keys_file.absolute())
    return settings


def _own_keys(name: str) -> Path:
    return deployment_folder(name) / "keys"


def _check_port(settings: ServerSettings) -> None:
    with DeploymentStore() as store:
        for other in store.deployments():
            if settings.port and (other.host, other.port) == (settings.host, settings.port):
                raise UserError(
                    f"{settings.host}:{settings.port} is taken by the deployment {other.name}; give another --port."
                )
    listening_socket(settings.host, settings.port).close()


def _steps(
    request: DeploymentRequest, model: ResolvedModel, found: DeploymentRecord | None, bounds: RolloutBounds
) -> list[str]:
    settings, name, serving = request.settings, request.name, found.serving if found is not None else None
    number = found.revisions[-1].number + 1 if found is not None and found.revisions else 1
    what = f"{request.model_uri}, version {model.version}" if model.version else model.uri
    steps = []
    if settings.keys_file == _own_keys(name) and not _own_keys(name).exists():
        steps.append(f"Make a file of keys with one key, which is shown once: {settings.keys_file}")
    steps.append(f"Copy the model ({what}) to {revision_folder(name, number) / 'model'}")
    steps.append(
        f"Start its server, and compare its answers with the recorded ones before a client reaches it{_price(request)}"
    )
    where = f"{settings.host}:{settings.port}" if settings.port else f"a free port of {settings.host}"
    who = "without a key" if settings.without_key else f"with the keys in {settings.keys_file}"
    if serving is None:
        steps.append(f"Answer at {where}, {who}")
    else:
        steps.append(f"Update {name} {_change(serving.model, model)}: both answer at {where}, {who}")
        steps.append(
            f"Watch both for {bounds.watch_seconds:.0f} s; go back by itself above {bounds.error_share_above:.0%} more "
            f"errors, or {bounds.latency_factor:g} times the latency plus {bounds.latency_extra_seconds * 1000:.0f} ms"
        )
        steps.append(f"Keep the server of revision {serving.number} warm for as long again, then end it")
    if follows_alias(request.model_uri):
        code = ", running the code that comes with the new version too" if request.trust else ""
        steps.append(
            f"Look every 15 s where {request.model_uri} points, and update in the same way when it moves{code}"
        )
    steps.append(
        f"Keep it running; its state is in {store_file()}, its log in {deployment_folder(name) / 'server.log'}"
    )
    return steps


def _change(old: ResolvedModel, new: ResolvedModel) -> str:
    """How a model that answers differs from the one that is to answer, in as few words as tell them apart."""
    if old.uri == new.uri:
        return f"to these settings, with the same model ({new.uri})"
    if old.version and new.version and old.uri.rpartition("/")[0] == new.uri.rpartition("/")[0]:
        return f"from version {old.version} to version {new.version}"
    return f"from {old.uri} to {new.uri}"


def _price(request: DeploymentRequest) -> str:
    """What comparing asks the model's endpoint, in words; empty where it asks nothing."""
    rows, usd = price_of_check(located(request.model_uri), request.endpoint)
    if usd == 0:
        return ""
    each = " for each new version" if follows_alias(request.model_uri) else ""
    costs = "at a price that is not known" if usd is None else f"for about {dollars(usd)}"
    return f": it asks {rows} rows {costs}{each}, which a budget of the day counts"


def _make_key(request: DeploymentRequest) -> str | None:
    """The first key of a deployment that was given no file of keys; `None` where it has one."""
    file = _own_keys(request.name)
    if request.settings.keys_file != file or file.exists():
        return None
    supervision_folder()
    file.parent.mkdir(mode=0o700, exist_ok=True)
    return KeyFile(file).add(FIRST_LABEL)


def _interrupted(found: DeploymentRecord, number: int) -> str:
    """What Ctrl-C leaves, and how to undo it."""
    undo = "delete" if found.serving is None else "rollback"
    return (
        f"interrupted; the controller goes on with revision {number} of {found.name}. Follow it with: luthier deploy "
        f"status {found.name}. Undo it with: luthier deploy {undo} {found.name}"
    )


def _wait(store: DeploymentStore, name: str, number: int) -> None:
    """Tells what happens until the revision serves alone."""
    wanted = store.one(name).revision(number)
    assert wanted is not None
    bounds = wanted.bounds
    waited = FETCH_SECONDS + bounds.start_seconds + bounds.check_seconds + bounds.watch_seconds
    limit = time.monotonic() + waited
    last = max((one.id for one in store.events(name)), default=0)
    while True:
        found = store.one(name)
        for event in store.events(name, after=last):
            print(visible(event.words), file=sys.stderr, flush=True)
            last = event.id
        revision = found.revision(number)
        assert revision is not None
        if revision.state == "serving":
            return
        if revision.state in ("failed", "drained"):
            before = f" Revision {found.serving.number} goes on." if found.serving is not None else ""
            words = f"revision {number} of {name} does not serve: {revision.reason}.{before}"
            words += f" Log: luthier deploy logs {name}"
            raise GateFailed(words) if revision.is_refused else ModelError(words)
        if time.monotonic() > limit:
            raise ModelError(
                f"revision {number} of {name} is still {revision.state} after {waited / 60:.0f} minutes; "
                f"the controller's log is {controller_log()}"
            )
        time.sleep(POLL_SECONDS)
