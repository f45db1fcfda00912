"""The driver of a sweep: one loop over all trials of this process, beside the drivers of other machines.

claim a trial (an orphan first) --> TrialRun --> told, and the next one is claimed
every 15 s: leases are renewed, and it is looked whether the sweep was stopped elsewhere
a signal:   jobs are paused or cancelled, trials are left for the next start

Blocking calls run on a few threads; a trial has none of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from luthier.errors import BudgetReached, EndpointError, Interrupted, LuthierError
from luthier.sweeps.store import Claim, LeaseLost
from luthier.sweeps.trial_run import SweepParts, TrialRun

__all__ = ["SweepDriver", "THREADS", "on_threads"]

THREADS = 8
"""Threads that wait for services and stores; trials have none of their own."""

RENEW_SECONDS = 15.0
LOOK_SECONDS = 2.0
"""Time between looks for a trial to claim while others run elsewhere."""

MOST_REFUSED = 3
"""Trials that fail one after another, before any has got through, after which the sweep ends."""

STOPPED = "stopped by luthier sweep stop"

Result = TypeVar("Result")


def on_threads(threads: ThreadPoolExecutor) -> Callable[..., Any]:
    """Runs a blocking call on one of the threads; what is awaited is its result."""

    async def act(work: Callable[..., Result], *args: Any, **named: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **named))

    return act


class SweepDriver:
    """Drives trials until there is none left, the budget is reached, or it is interrupted.

    Args:
        parts: what trials share.
        concurrency: most trials at a time; those that early stopping has paused do not count.
    """

    def __init__(self, parts: SweepParts, concurrency: int) -> None:
        self._parts, self._concurrency = parts, concurrency
        self._runs: dict[asyncio.Task[None], TrialRun] = {}
        self._closed: BudgetReached | None = None
        self._error: BaseException | None = None
        self._refused = 0
        self._succeeded = False
        self._changed = asyncio.Event()

    def interrupt(self, error: LuthierError) -> None:
        """Claims no further trial, and leaves those that run for the next start. Ends `run` with this error."""
        if self._error is None:
            self._error = error
        for run in self._runs.values():
            run.interrupt()
        self._changed.set()

    async def run(self) -> BudgetReached | None:
        """Drives trials; returns the error of a budget that did not reach for all of them, if so.

        Raises:
            Interrupted: it was interrupted, or stopped elsewhere.
            UserError: something that concerns every trial, such as a key.
            Partial: a service or a store was unavailable for too long.
        """
        tending = asyncio.create_task(self._tend())
        tending.add_done_callback(self._tended)
        try:
            while True:
                await self._start_trials()
                if not self._runs and not await self._anything_left():
                    break
                await self._next_change()
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
        if self._error is None and await self._parts.act(self._parts.study.stop_requested):
            # Its last trials may have ended before the next look for that.
            self.interrupt(self._stopped())
        if self._error is not None:
            raise self._error
        return self._closed

    async def _start_trials(self) -> None:
        parts = self._parts
        while self._error is None and self._closed is None and self._running < self._concurrency:
            if (promising := await self._promising()) is not None:
                promising.resume()
                continue
            claim = await parts.act(parts.study.claim, parts.space.suggest)
            if claim is None:
                break
            self._start(claim)
        if self._runs and self._running == 0 and self._error is None and await self._promising() is None:
            await self._end_pauses()

    async def _end_pauses(self) -> None:
        """Has the best of the paused trials go on and gives up the others: no further trial comes to compare with."""
        stopping = self._parts.stopping
        assert stopping is not None
        paused = [run.number for run in self._runs.values()]
        best = await self._parts.act(stopping.finalists, self._parts.study.study, paused)
        for run in self._runs.values():
            if run.number in best:
                run.resume()
            else:
                run.give_up("paused by early stopping, and never among the best that were")

    def _start(self, claim: Claim) -> None:
        run = TrialRun(self._parts, claim, self._changed.set)
        task = asyncio.create_task(run.run(), name=f"trial-{claim.number}")
        self._runs[task] = run
        task.add_done_callback(lambda _: self._changed.set())
        if self._error is not None:
            # Interrupted while the trial was claimed.
            run.interrupt()

    async def _promising(self) -> TrialRun | None:
        """A trial that early stopping paused, and that belongs to the best by now."""
        paused = {run.number: run for run in self._runs.values() if run.paused}
        if not paused or self._parts.stopping is None:
            return None
        found = await self._parts.act(self._parts.stopping.resumable, self._parts.study.study, list(paused))
        return paused[found[0]] if found else None

    @property
    def _running(self) -> int:
        return sum(not run.paused for run in self._runs.values())

    async def _next_change(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
        self._changed.clear()
        self._collect()

    def _collect(self) -> None:
        for task in [task for task in self._runs if task.done()]:
            run = self._runs.pop(task)
            error = None if task.cancelled() else task.exception()
            match error:
                case None:
                    self._count(run)
                case BudgetReached():
                    self._closed = self._closed or error
                case LeaseLost():
                    pass  # another process drives it, and buys what is to be bought
                case LuthierError():
                    self.interrupt(error)
                case _:
                    self._error = error
                    self.interrupt(Interrupted("a trial ended with an error of Luthier itself"))

    def _count(self, run: TrialRun) -> None:
        """Ends a sweep whose trials are all refused: the settings are not what they fail for."""
        self._succeeded = self._succeeded or run.refusal is None
        self._refused = 0 if run.refusal is None else self._refused + 1
        if not self._succeeded and self._refused >= MOST_REFUSED:
            self.interrupt(EndpointError(f"the first {self._refused} trials failed; the last one: {run.refusal}"))

    async def _anything_left(self) -> bool:
        """Whether trials of other machines may still have to be taken over."""
        if self._error is not None or self._closed is not None:
            return False
        return bool(await self._parts.act(self._parts.study.live_elsewhere))

    def _stopped(self) -> Interrupted:
        return Interrupted(f"{STOPPED}. To go on: luthier sweep resume {self._parts.study.facts.name}")

    def _tended(self, tending: asyncio.Task[None]) -> None:
        """Leaves all trials where the leases cannot be kept any more: other machines take them over."""
        error = None if tending.cancelled() else tending.exception()
        if isinstance(error, LuthierError):
            self.interrupt(error)
        elif error is not None:
            self._error = error
            self.interrupt(Interrupted("the leases are not renewed any more, by an error of Luthier itself"))

    async def _tend(self) -> None:
        """Keeps the leases, and looks whether the sweep was stopped elsewhere."""
        parts = self._parts
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            lost = await parts.act(parts.study.renew, [run.claim for run in self._runs.values()])
            for task, run in list(self._runs.items()):
                if run.claim in lost:
                    # Another machine drives it by now.
                    task.cancel()
            if await parts.act(parts.study.stop_requested):
                self.interrupt(self._stopped())
            parts.progress.money(
                await parts.act(parts.study.spent_usd),
                await parts.act(parts.study.reserved_usd),
                parts.study.facts.budget_usd,
            )
