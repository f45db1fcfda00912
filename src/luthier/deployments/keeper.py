"""One deployment kept as it is wanted: its servers, its listening socket, and the rollout that is under way."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import time
from dataclasses import dataclass, field

from luthier.deployments.fetching import fetch_model
from luthier.deployments.live_check import check_revision
from luthier.deployments.records import (
    ENDED,
    DeploymentRecord,
    Revision,
    RevisionState,
    deployment_folder,
    revision_folder,
)
from luthier.deployments.rollout import Action, CheckOutcome, Rollout, ServerSeen
from luthier.deployments.servers import RevisionServer, server_process
from luthier.deployments.store import DeploymentStore
from luthier.errors import LuthierError, UserError
from luthier.serving.listening import listening_socket

logger = logging.getLogger(__name__)

__all__ = ["DeploymentKeeper"]

KEPT_REVISIONS = 5
"""Folders of the newest revisions that are kept, beside those in use and the one a rollback leads to."""

DRAIN_EXTRA_SECONDS = 10.0
"""A server that has not ended this long after its longest request is killed."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A server that ran for this long is started anew at once when it crashes."""


@dataclass
class _Restarts:
    """When a crashed server is started again: at once, then after pauses that double."""

    failures: int = 0
    not_before: float = 0.0
    started: float = 0.0

    def crashed(self, now: float) -> None:
        self.failures = 1 if now - self.started > STEADY_SECONDS else self.failures + 1
        pause = 0.0 if self.failures == 1 else FIRST_PAUSE_SECONDS * 2.0 ** (self.failures - 2)
        self.not_before = now + min(pause, LONGEST_PAUSE_SECONDS)


@dataclass
class _RolloutRun:
    """A rollout with what it needs of the world."""

    machine: Rollout
    new: Revision
    old: Revision | None
    starting: asyncio.Task[None] | None = None
    check: asyncio.Task[CheckOutcome] | None = None


@dataclass
class DeploymentKeeper:
    """Brings what is observed of one deployment to what is wanted; `step` is called every second or sooner.

    Attributes:
        name: of the deployment.
        store: where wishes and observations are written.
    """

    name: str
    store: DeploymentStore
    _servers: dict[int, RevisionServer] = field(default_factory=dict)
    _restarts: dict[int, _Restarts] = field(default_factory=dict)
    _ending: dict[int, float] = field(default_factory=dict)
    _listening: socket.socket | None = None
    _run: _RolloutRun | None = None
    _is_adopted: bool = False
    _is_recovering: bool = False
    _complaint: str | None = None

    async def step(self) -> None:
        """Looks, and does what is next."""
        found = self.store.one(self.name)
        if not self._is_adopted:
            await self._adopt(found)
        await self._end_servers()
        if found.desired == "running":
            await self._roll(found)
            await self._keep_serving()
            self._remove_old_revisions()
        else:
            await self._wind_down(found)

    # Adopting

    async def _adopt(self, found: DeploymentRecord) -> None:
        """Takes over the servers that a controller before this one started, and the socket that they share."""
        for revision in found.revisions:
            process = revision.process
            if process is None and revision.state not in ENDED:
                # The last controller may have been killed after it started a server and before it wrote that down.
                process = await asyncio.to_thread(server_process, revision_folder(self.name, revision.number))
                if process is not None:
                    self.store.set_process(self.name, revision.number, process)
            if process is None:
                continue
            server = RevisionServer(self.name, revision, process)
            if server.is_alive:
                self._servers[revision.number] = server
                self._restarts[revision.number] = _Restarts(started=time.monotonic())
                if self._listening is None:
                    self._listening = await server.listening_socket()
            else:
                self.store.set_process(self.name, revision.number, None)
        if self._servers:
            adopted = ", ".join(
                f"revision {number} (pid {one.process.pid})" for number, one in self._servers.items() if one.process
            )
            self.store.say(self.name, f"the controller was started anew and took over the servers of {adopted}")
        for revision in found.revisions:
            # What the last controller was ending, or kept warm, when it was killed.
            is_left = revision.state not in ENDED or revision.number in self._servers
            if revision not in (found.serving, found.wanted) and is_left:
                await self._drain(revision)
        self._is_adopted = True

    # Rolling out

    async def _roll(self, found: DeploymentRecord) -> None:
        if self._run is not None and found.target != self._run.new.number:
            await self._redirect(found)
            found = self.store.one(self.name)
        for revision in found.revisions:
            is_rolled_out = self._run is not None and self._run.new.number == revision.number
            if revision.state == "starting" and revision is not found.wanted and not is_rolled_out:
                self.store.set_state(
                    self.name, revision.number, "drained", f"revision {found.target} was asked for instead"
                )
        wanted, serving = found.wanted, found.serving
        if self._run is None and wanted is not None and wanted is not serving and wanted.number not in self._ending:
            if not self._listen(found):
                return
            is_warm = wanted.state == "standby" and self._is_up(wanted)
            machine = Rollout(
                time.monotonic(),
                replaces=serving is not None,
                is_rollback=found.is_rolling_back,
                is_warm=is_warm,
                bounds=wanted.bounds,
            )
            self._run = _RolloutRun(machine, wanted, serving)
            if not is_warm:
                self.store.set_state(self.name, wanted.number, "starting")
        # A step may lead to the next at once, as where a server is warm.
        while (run := self._run) is not None:
            actions = run.machine.step(
                time.monotonic(), await self._seen(run), await self._seen_old(run), self._outcome(run)
            )
            for action in actions:
                await self._perform(run, action)
            if run.machine.is_over:
                self._run = None
            if not actions:
                break

    async def _redirect(self, found: DeploymentRecord) -> None:
        """Something else is wanted than what is being rolled out."""
        run = self._run
        assert run is not None
        self._run = None
        if run.machine.phase == "standby" and run.old is not None and found.target == run.old.number:
            # Back to the server that is kept warm for this.
            return
        why = f"revision {found.target} was asked for instead"
        for action in run.machine.drop(why):
            await self._perform(run, action, is_dropped=True)

    async def _seen(self, run: _RolloutRun) -> ServerSeen:
        if run.starting is not None:
            if not run.starting.done():
                return ServerSeen(is_alive=True, why="its model is being fetched")
            if (error := run.starting.exception()) is not None:
                if not isinstance(error, LuthierError | OSError):
                    raise error
                return ServerSeen(is_alive=False, why=str(error))
        server = self._servers.get(run.new.number)
        return ServerSeen(is_alive=False) if server is None else await server.look()

    async def _seen_old(self, run: _RolloutRun) -> ServerSeen | None:
        if run.old is None:
            return None
        server = self._servers.get(run.old.number)
        return ServerSeen(is_alive=False) if server is None else await server.look()

    @staticmethod
    def _outcome(run: _RolloutRun) -> CheckOutcome | None:
        return run.check.result() if run.check is not None and run.check.done() else None

    async def _perform(self, run: _RolloutRun, action: Action, *, is_dropped: bool = False) -> None:
        revision = run.new if action.server == "new" else run.old
        assert revision is not None
        number, server = revision.number, self._servers.get(revision.number)
        match action.verb:
            case "start":
                if not self._is_up(revision):
                    run.starting = asyncio.create_task(self._fetch_and_start(revision))
            case "check":
                self._become(revision, "checking", "is ready; its answers are compared with the recorded ones")
                assert server is not None
                run.check = asyncio.create_task(check_revision(server.folder))
            case "accept":
                assert server is not None
                await server.accept()
                if run.old is None and action.words:
                    self.store.say(self.name, f"{revision.title}: {action.words}")
                if action.server == "new" and run.old is not None and not run.machine.is_rollback:
                    self._become(revision, "sharing", f"answers beside revision {run.old.number}; {action.words}")
                    if (old := self._servers.get(run.old.number)) is not None:
                        await old.share()
                elif action.server == "old":
                    self._become(revision, "serving", action.words)
            case "pause":
                if server is not None:
                    await server.pause()
                if action.server == "old":
                    self._become(run.new, "serving", action.words or "answers")
                    self._become(revision, "standby", "answers no longer and is kept warm")
            case "done":
                if self._state_of(revision) != "serving":
                    self._become(revision, "serving", action.words or "serves")
                self.store.set_target(self.name, number, instead_of=number)
            case "back":
                await self._cancel(run)
                if is_dropped:
                    self.store.set_state(self.name, number, "drained", action.words)
                else:
                    self.store.set_state(self.name, number, "failed", action.words, is_refused=action.is_gate)
                self.store.say(self.name, f"revision {number} was taken back: {action.words}")
                self.store.set_target(self.name, run.old.number if run.old else None, instead_of=number)
            case "drain":
                await self._drain(revision)
            case "kill":
                if server is not None and await server.is_accepting():
                    # A controller before this one gave it the socket: it may be answering.
                    await self._drain(revision)
                elif server is not None:
                    await asyncio.to_thread(server.kill)

    async def _fetch_and_start(self, revision: Revision) -> None:
        await fetch_model(revision.model, revision_folder(self.name, revision.number) / "model")
        self._start(revision)

    def _start(self, revision: Revision) -> None:
        assert self._listening is not None
        server = self._servers[revision.number] = RevisionServer(self.name, revision)
        process = server.start(self._listening)
        self.store.set_process(self.name, revision.number, process)
        self._restarts.setdefault(revision.number, _Restarts()).started = time.monotonic()
        self.store.say(self.name, f"the server of {revision.title} was started (pid {process.pid})")

    async def _cancel(self, run: _RolloutRun) -> None:
        for task in (run.starting, run.check):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])

    # Serving

    async def _keep_serving(self) -> None:
        """Starts a crashed server again, and lets it answer once its replay came out as recorded."""
        found = self.store.one(self.name)
        revision = found.serving
        self._is_recovering = False
        if revision is None:
            if self._run is None:
                self._stop_listening()
            return
        if not self._listen(found):
            return
        now, restarts = time.monotonic(), self._restarts.setdefault(revision.number, _Restarts())
        server = self._servers.get(revision.number)
        if server is not None and not server.is_alive:
            del self._servers[revision.number]
            self.store.set_process(self.name, revision.number, None)
            restarts.crashed(now)
            pause = max(0.0, restarts.not_before - now)
            self.store.say(
                self.name,
                f"the server of {revision.title} ended ({server.last_words()}); it is started again "
                + (f"in {pause:.0f} s" if pause else "now"),
            )
            server = None
        if server is None:
            self._is_recovering = True
            if now >= restarts.not_before:
                self._start(revision)
            return
        if not await server.is_accepting():
            self._is_recovering = True
            seen = await server.look()
            if seen.differs is not None:
                self.complain(f"the server of {revision.title} does not answer as it was recorded: {seen.differs}")
            elif seen.is_alive and seen.is_checked:
                await server.accept()

    # Ending

    async def _drain(self, revision: Revision) -> None:
        server = self._servers.get(revision.number)
        if server is not None and server.is_alive:
            await server.drain()
            self._ending[revision.number] = time.monotonic() + revision.settings.timeout_seconds + DRAIN_EXTRA_SECONDS
        if self._state_of(revision) not in ENDED:
            self.store.set_state(self.name, revision.number, "drained")

    async def _end_servers(self) -> None:
        """Forgets servers that have ended, and kills those that do not."""
        serving = self.store.one(self.name).serving
        rolling = () if self._run is None else (self._run.new, self._run.old)
        kept = {one.number for one in (serving, *rolling) if one is not None}
        for number, server in list(self._servers.items()):
            if not server.is_alive and (number not in kept or number in self._ending):
                del self._servers[number]
                self._ending.pop(number, None)
                server.remove_sockets()
                self.store.set_process(self.name, number, None)
                self.store.say(self.name, f"the server of revision {number} has ended")
            elif number in self._ending and time.monotonic() > self._ending[number]:
                self.store.say(self.name, f"the server of revision {number} did not end in time and is killed")
                await asyncio.to_thread(server.kill)

    async def _wind_down(self, found: DeploymentRecord) -> None:
        """Stops, or deletes."""
        if self._run is not None:
            run, self._run = self._run, None
            await self._cancel(run)
        for revision in found.revisions:
            if revision.number in self._servers and revision.number not in self._ending:
                await self._drain(revision)
            elif revision.state not in ENDED:
                self.store.set_state(self.name, revision.number, "drained")
        self._stop_listening()
        if not self._servers and found.desired == "deleted":
            shutil.rmtree(deployment_folder(self.name), ignore_errors=True)
            self.store.remove(self.name)

    def _remove_old_revisions(self) -> None:
        found = self.store.one(self.name)
        used = {one.number for one in (found.serving, found.wanted, found.previous_good) if one is not None}
        used |= {one.number for one in found.revisions[-KEPT_REVISIONS:]} | set(self._servers)
        for revision in found.revisions:
            folder = revision_folder(self.name, revision.number)
            if revision.number not in used and folder.exists():
                shutil.rmtree(folder)

    # The socket

    def _listen(self, found: DeploymentRecord) -> bool:
        """Takes the port, if that is not done; returns whether it is."""
        if self._listening is not None:
            return True
        try:
            self._listening = listening_socket(found.host, found.port)
        except UserError as error:
            self.complain(str(error))
            if found.serving is None and found.target is not None:
                self.store.set_state(self.name, found.target, "failed", str(error))
                self.store.set_target(self.name, None, instead_of=found.target)
            return False
        if found.port == 0:
            self.store.set_port(self.name, self._listening.getsockname()[1])
        self._complaint = None
        return True

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    @property
    def is_hurried(self) -> bool:
        """Whether something is awaited, so that the next look should come soon."""
        is_awaiting = self._run is not None and self._run.machine.phase in ("starting", "checking")
        has_ended = any(one.has_ended for one in self._servers.values())
        return is_awaiting or self._is_recovering or bool(self._ending) or has_ended

    async def close(self) -> None:
        """Lets go of the socket and ends what it has begun; the servers go on answering."""
        if self._run is not None:
            await self._cancel(self._run)
        self._stop_listening()

    def complain(self, words: str) -> None:
        """Adds an event once, and not every second."""
        if words != self._complaint:
            self._complaint = words
            self.store.say(self.name, words)

    def _is_up(self, revision: Revision) -> bool:
        server = self._servers.get(revision.number)
        return server is not None and server.is_alive and revision.number not in self._ending

    def _state_of(self, revision: Revision) -> RevisionState | None:
        found = self.store.one(self.name).revision(revision.number)
        return None if found is None else found.state

    def _become(self, revision: Revision, state: RevisionState, words: str) -> None:
        # In this order: who waits for the state has been told what led to it.
        self.store.say(self.name, f"{revision.title} {words}")
        self.store.set_state(self.name, revision.number, state)
