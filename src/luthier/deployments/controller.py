"""The process that looks after this user's deployments: `python -P -m luthier.deployments.controller`.

It notices wishes by the database's `data_version`, asked five times a second, and looks at every server once a second.
It can be killed at any time: the servers go on answering, and the next controller takes them over.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import logging.handlers
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from luthier.deployments.fetching import follows_alias, version_behind
from luthier.deployments.keeper import DeploymentKeeper
from luthier.deployments.records import ControllerProcess, DeploymentRecord, controller_lock, controller_log
from luthier.deployments.servers import written_variables
from luthier.deployments.store import DeploymentStore
from luthier.errors import LuthierError, UserError
from luthier.home import luthier_home
from luthier.processes import build_of_luthier, ending_signals, start_time

logger = logging.getLogger(__name__)

__all__ = ["Controller", "main"]

LOOK_SECONDS = 1.0
WISH_SECONDS = 0.2
ALIAS_SECONDS = 15.0
LOG_BYTES = 5_000_000
LOGS = 3


@dataclass
class _AliasWatch:
    """The lookups of one deployment's alias."""

    next_look: float = 0.0
    lookup: asyncio.Task[str] | None = None


@dataclass
class Controller:
    """Keeps every deployment in the store as it is wanted.

    Attributes:
        store: of the deployments.
        alias_seconds: time between two lookups of an alias.
    """

    store: DeploymentStore
    alias_seconds: float = ALIAS_SECONDS
    _keepers: dict[str, DeploymentKeeper] = field(default_factory=dict)
    _steps: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _aliases: dict[str, _AliasWatch] = field(default_factory=dict)

    async def run(self, ending: asyncio.Event) -> None:
        """Works until `ending` is set; the servers go on answering."""
        while not ending.is_set():
            seen = self.store.data_version()
            found = {one.name: one for one in self.store.deployments()}
            for name in set(self._keepers) - set(found):
                await self._keepers.pop(name).close()
                self._aliases.pop(name, None)
            for deployment in found.values():
                self._step(deployment)
            until = time.monotonic() + LOOK_SECONDS
            while not ending.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(ending.wait(), WISH_SECONDS)
                is_hurried = any(keeper.is_hurried for keeper in self._keepers.values())
                if is_hurried or time.monotonic() >= until or self.store.data_version() != seen:
                    break
        steps = [one for one in self._steps.values() if not one.done()]
        if steps:
            await asyncio.wait(steps, timeout=5)
        for keeper in self._keepers.values():
            await keeper.close()

    def _step(self, deployment: DeploymentRecord) -> None:
        """One look at a deployment; a slow one does not hold up the others."""
        name = deployment.name
        keeper = self._keepers.setdefault(name, DeploymentKeeper(name, self.store))
        if name not in self._steps or self._steps[name].done():
            self._steps[name] = asyncio.create_task(self._guarded(keeper, deployment))

    async def _guarded(self, keeper: DeploymentKeeper, deployment: DeploymentRecord) -> None:
        try:
            try:
                if deployment.desired == "running" and follows_alias(deployment.model_uri):
                    self._follow(keeper, deployment)
            finally:
                # Whatever became of the lookup: the servers do not depend on the tracking store.
                await keeper.step()
        except LuthierError as error:
            keeper.complain(str(error))
        except Exception:
            # A fault of ours with one deployment must not end the servers' supervision of the others.
            logger.exception("deployment %s", keeper.name)
            keeper.complain(f"the controller failed at this deployment; the traceback is in {controller_log()}")

    def _follow(self, keeper: DeploymentKeeper, deployment: DeploymentRecord) -> None:
        """Looks an alias up from time to time, beside everything else: a store elsewhere may take seconds."""
        watch = self._aliases.setdefault(deployment.name, _AliasWatch())
        if watch.lookup is not None:
            if not watch.lookup.done():
                return
            lookup, watch.lookup = watch.lookup, None
            version = lookup.result()
            if version != deployment.followed_version:
                self.store.follow(deployment.name, version)
        elif time.monotonic() >= watch.next_look:
            watch.next_look = time.monotonic() + self.alias_seconds
            watch.lookup = asyncio.create_task(
                asyncio.to_thread(version_behind, deployment.model_uri, deployment.tracking_uri)
            )


def main(alias_seconds: float = ALIAS_SECONDS) -> int:
    """Runs the controller until it is told to end; returns the exit code."""
    try:
        return _work(alias_seconds)
    except LuthierError as error:
        # `luthier deploy` shows the last lines that a controller printed.
        print(error, file=sys.stderr)
        return error.exit_code


def _work(alias_seconds: float) -> int:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.handlers.RotatingFileHandler(controller_log(), maxBytes=LOG_BYTES, backupCount=LOGS)],
    )
    with open(controller_lock(), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"another controller works in {luthier_home()}; one is enough.", file=sys.stderr)
            return UserError.exit_code
        # The lock's descriptor is not inherited: a server that outlives the controller must not hold it.
        with DeploymentStore() as store:
            pid = os.getpid()
            variables = frozenset(os.environ) | frozenset(written_variables())
            store.set_controller(ControllerProcess(pid, start_time(pid) or "", build_of_luthier(), variables))
            logger.info("controller %d of %s", pid, luthier_home())
            asyncio.run(_until_told(Controller(store, alias_seconds)))
    return 0


async def _until_told(controller: Controller) -> None:
    ending, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, ending.set)
    await controller.run(ending)


if __name__ == "__main__":
    sys.exit(main())
