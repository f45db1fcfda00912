"""One trial of a sweep, from the right to drive it to its result: bought, watched, stopped early, measured, told.

    claimed --> money reserved --> job submitted (or found) --> watched --> measured --> told
                     |                                             |
               budget reached                        stopped early: cancelled, confirmed --> told
                                                     paused by early stopping: waits to be resumed
                                                     interrupted: paused or cancelled, left for the next start

Everything that costs is written down before it is asked for, so that a process that dies at any moment leaves a trial
that the next one goes on with: the job is found by its token, and answers are in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from luthier.errors import BudgetReached, DataError, EndpointError, Interrupted, Partial, SpecError
from luthier.providers.prices import sum_if_known
from luthier.spec import Spec
from luthier.sweeps.early_stopping import EarlyStopping
from luthier.sweeps.measuring import NotMeasured, TrialFigures, TrialMeasurer
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.store import Claim, StoredStudy
from luthier.sweeps.sweep_progress import SweepProgress
from luthier.sweeps.sweep_runs import SweepRuns
from luthier.sweeps.trial import SweepObjective, SweepTrial, TrialStatus
from luthier.techniques.finetune import FineTune
from luthier.tuning.checkpoints import checkpoint_spec
from luthier.tuning.job import Job
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.tuners.tuner import PAUSED, Quotes, ServiceUnavailable
from luthier.tuning.tuning_plan import TuningPlan, replan
from luthier.tuning.watch import JobProgress, PauseRequested, ResumeRequested, StopRequested
from luthier.tuning.watch_driver import WatchedJob, take_turn

if TYPE_CHECKING:
    from luthier.tuning.tuners.tuner import JobEvent

__all__ = ["SweepParts", "TrialRun", "measurements"]

Wanted = Literal["running", "held", "stopped", "left"]
"""What is wanted of a job: that it runs, is paused by early stopping, is cancelled, or is left for a later start."""

CONFIRM_SECONDS = 120.0
"""How long an interrupted sweep waits for a service to confirm that a job is paused or cancelled."""

LONG_REST_SECONDS = 60.0
"""Time between looks at a job that early stopping has paused."""

BUSY_SECONDS = 15.0
"""Wait before a submission is tried again that the service was not able to take."""


@dataclass(frozen=True)
class SweepParts:
    """What the trials of one process share.

    Attributes:
        plan: of the spec's own job, whose files each trial reuses; `None` for a spec that trains at no service.
        stopping: `None` where trials are not stopped early.
        act: runs a blocking call on one of a few threads.
        objectives: what trials are told by.
        keep_usd: part of the budget that is kept for measuring the winner.
    """

    study: StoredStudy
    spec: Spec
    space: SearchSpace
    plan: TuningPlan | None
    measurer: TrialMeasurer
    runs: SweepRuns
    stopping: EarlyStopping | None
    objectives: Sequence[SweepObjective]
    timing: Timing
    progress: SweepProgress
    act: Callable[..., Awaitable[Any]]
    keep_usd: float = 0.0


class TrialRun:
    """A trial that this process drives.

    Attributes:
        claim: the right to drive it.
        paused: whether early stopping has paused its job, which then takes no place among those that run.
        refusal: why it failed, if it did.
    """

    def __init__(self, parts: SweepParts, claim: Claim, changed: Callable[[], None]) -> None:
        self.claim, self.paused = claim, False
        self.refusal: str | None = None
        self._parts, self._changed = parts, changed
        self._began = time.time()
        self._wanted: Wanted = "running"
        self._asked: tuple[Wanted, bool] | None = None
        self._given_up: str | None = None
        self._woken = asyncio.Event()
        self._notes: dict[str, Any] = {}
        self._measured_step = 0

    @property
    def number(self) -> int:
        """Its number in the study."""
        return self.claim.number

    def interrupt(self) -> None:
        """Has the job paused, or cancelled where it cannot be paused, and leaves the trial for the next start."""
        self._want("left")

    def resume(self) -> None:
        """Has the job go on that early stopping paused."""
        self._want("running")

    def give_up(self, reason: str) -> None:
        """Has the job cancelled that early stopping paused; the trial then counts as stopped early."""
        self._given_up = reason
        self._want("stopped")

    def _want(self, wanted: Wanted) -> None:
        # What is left stays left, whatever early stopping decides meanwhile.
        if self._wanted != "left":
            self._wanted, self.paused = wanted, False
            self._woken.set()

    async def run(self) -> None:
        """Drives the trial until it is told, or left for a later start.

        Raises:
            BudgetReached: the sweep's budget does not cover it; nothing was bought.
            Interrupted: the sweep was interrupted.
            UserError: something that concerns every trial, such as a key; the trial is left for a later start.
            Partial: likewise, when a service or a store cannot be reached.
        """
        parts = self._parts
        self._notes = await parts.act(parts.study.notes, self.number)
        parts.progress.trial_started(self.number, self.claim.settings)
        try:
            spec = parts.space.spec_for(parts.spec, self.claim.settings, self.number)
            await (self._run_job(spec) if isinstance(spec, FineTune) else self._run_spec(spec))
        except (SpecError, DataError) as error:
            # What is wrong with one point of the space does not concern the others.
            await self._tell("failed", reason=str(error))
        except BaseException as error:
            await self._leave(error)
            raise

    async def _run_spec(self, spec: Spec) -> None:
        parts = self._parts
        bound = await parts.act(parts.measurer.bound_usd, spec)
        await parts.act(parts.study.reserve, self.claim, bound, parts.keep_usd)
        run_id = await parts.act(parts.runs.kept, self._notes.get("run_id"))
        if run_id is None:
            run_id = await parts.act(parts.runs.child, spec, self.number, self.claim.settings)
        await self._note(run_id=run_id)
        await self._measure(spec, None)

    async def _run_job(self, spec: FineTune) -> None:
        parts = self._parts
        assert parts.plan is not None
        plan = await parts.act(replan, parts.plan, spec)
        training, once = plan.check.cost_usd_high, await parts.act(parts.measurer.bound_usd, spec)
        answers = None if once is None else once * measurements(parts.stopping, plan.check.epochs)
        others = sum_if_known([answers, self._notes.get("earlier_usd", 0.0)])
        bound = sum_if_known([training, others])
        quotes = isinstance(plan.tuner, Quotes)
        if bound is not None or not quotes:
            await parts.act(parts.study.reserve, self.claim, bound, parts.keep_usd)
        await self._note(planned_tokens=plan.check.trained_tokens)

        def reserve(price_usd: float | None) -> None:
            asked = sum_if_known([price_usd, others])
            if quotes and (bound is None or (asked is not None and asked > bound)):
                parts.study.reserve(self.claim, asked, parts.keep_usd)

        job = await self._submitted(plan, reserve)
        if job is None:
            return
        run_id = await parts.act(parts.runs.kept, self._notes.get("run_id"))
        if run_id is None or self._notes.get("job") != job.id:
            run_id = await parts.act(parts.runs.adopt, job, self.number, self.claim.settings)
        await self._note(job=job.id, job_status=job.state.status, run_id=run_id)
        watched = await parts.act(self._watched, job)
        await self._watch(job, watched)
        await self._finish(job, watched)

    async def _submitted(self, plan: TuningPlan, reserve: Callable[[float | None], None]) -> Job | None:
        """The job, bought now or earlier; `None` where the service refused it, which fails the trial.

        Args:
            plan: of the job.
            reserve: sets money aside once the service has named its price.
        """
        parts = self._parts
        while True:
            if self._wanted == "left":
                raise Interrupted("its job was not submitted yet")
            try:
                parent = parts.runs.parent_id
                job: Job = await parts.act(submit, plan, timing=parts.timing, reserve=reserve, parent=parent)
                return job
            except ServiceUnavailable as error:
                # Also what a service answers that has enough jobs: a place becomes free when another one ends.
                parts.progress.say(f"trial {self.number}: {error}; trying again in {BUSY_SECONDS:.0f} s")
                await self._rest(BUSY_SECONDS)
            except EndpointError as error:
                await self._tell("failed", reason=str(error))
                return None

    def _watched(self, job: Job) -> WatchedJob:
        return job.watched(timing=self._parts.timing, watcher=_Shown(self._parts.progress, self.number))

    async def _watch(self, owned: Job, watched: WatchedJob) -> None:
        """Follows the job to its end, and has the service do what is wanted of it.

        Raises:
            Interrupted: the job is paused for the next start, or the service did not confirm that it is.
        """
        parts, heard, until = self._parts, 0, None
        if self._notes.get("stopping") is not None:
            # The process before this one died while the service was to confirm the cancel.
            self._wanted = "stopped"
        elif self._notes.get("held") and self._wanted == "running":
            self._wanted = "held"
        while (due := await parts.act(take_turn, watched, parts.timing)) is not None:
            job, now = watched.state.job, parts.timing.clock()
            if job is not None:
                await self._note(job_status=job.status)
                events = watched.record.events if watched.record is not None else []
                new, heard = events[heard:], len(events)
                if self._wanted == "running":
                    await self._judge(owned, watched, new)
                if self._wanted == "held" and watched.state.refused_pause is not None:
                    await self._stop()
                if self._wanted == "stopped" and self._given_up is not None:
                    await self._note(stopping=self._given_up)
                if self._wanted == "left":
                    until = until or now + CONFIRM_SECONDS
                    if job.status == PAUSED:
                        raise Interrupted("its job is paused")
                    if now > until or watched.state.refused_cancel or watched.error is not None:
                        raise Interrupted(f"its job {job.id} still {job.said} at the service")
                self._steer(watched, job.status)
            await self._rest(LONG_REST_SECONDS if self.paused else max(0.0, due - parts.timing.clock()))

    def _steer(self, watched: WatchedJob, status: str) -> None:
        """Asks once for what is wanted; the watch repeats it until the service confirms."""
        held = self._wanted == "held" and status == PAUSED
        if held and not self.paused:
            self.paused = True
            self._changed()
        pauses = self._pauses and watched.state.refused_pause is None
        asked = (self._wanted, pauses)
        if asked != self._asked and not self.paused:
            self._asked = asked
            if self._wanted == "stopped" or not (pauses or self._wanted == "running"):
                watched.request(StopRequested(self._notes.get("stopping") or "interrupted"))
            elif self._wanted in ("held", "left"):
                watched.request(PauseRequested())
            elif status == PAUSED:
                watched.request(ResumeRequested())

    async def _judge(self, owned: Job, watched: WatchedJob, new: Sequence[JobEvent]) -> None:
        """Tells the study how the job does, and acts on what early stopping makes of it."""
        parts, job = self._parts, watched.state.job
        if parts.stopping is None or job is None:
            return
        await self._note(held=None)
        reports = parts.stopping.reports(job, new, watched.state.steps)
        if parts.stopping.settings.watch == "checkpoints" and any("checkpoint" in one.message.lower() for one in new):
            reports = await self._measured_checkpoint(owned, watched)
        for step, value in reports:
            await parts.act(parts.study.report, self.claim, step, value)
        if not reports:
            return
        verdict = await parts.act(parts.stopping.verdict, parts.study.study, self.number)
        if verdict == "stop" or (verdict == "pause" and not self._pauses):
            await self._stop()
        elif verdict == "pause":
            await self._note(held=True)
            self._want("held")
        self._changed()

    async def _measured_checkpoint(self, owned: Job, watched: WatchedJob) -> list[tuple[int, float]]:
        """Measures the newest checkpoint on the selection rows, where that can still stop the trial."""
        parts, job, steps = self._parts, watched.state.job, watched.state.steps
        assert parts.stopping is not None and job is not None
        kept = await parts.act(owned.checkpoints)
        newest = parts.stopping.checkpoint_to_measure(kept, steps, self._measured_step)
        if newest is None or steps is None:
            return []
        self._measured_step = newest.step
        try:
            found: TrialFigures = await parts.act(parts.measurer.measure, checkpoint_spec(owned, newest), None, owned)
        except (NotMeasured, EndpointError) as error:
            if isinstance(error, NotMeasured):
                await self._add_checkpoint_cost(error.cost_usd)
            # Services keep the last few only, so that it may be gone by now. The result is measured in any case.
            parts.progress.say(f"trial {self.number}: the checkpoint of step {newest.step} was not measured: {error}")
            return []
        await self._add_checkpoint_cost(found.cost_usd)
        value = found.metrics.get(parts.stopping.objective.metric)
        return [] if value is None else parts.stopping.measured(job, newest, steps, value)

    async def _add_checkpoint_cost(self, usd: float | None) -> None:
        await self._note(checkpoints_usd=sum_if_known([self._notes.get("checkpoints_usd", 0.0), usd]))

    async def _stop(self) -> None:
        stopping = self._parts.stopping
        assert stopping is not None
        # Before the cancel: a process that takes the trial over must not buy its cancelled job again.
        await self._note(stopping=await self._parts.act(stopping.reason, self._parts.study.study, self.number))
        self._want("stopped")

    async def _finish(self, job: Job, watched: WatchedJob) -> None:
        parts, stopped = self._parts, self._notes.get("stopping")
        try:
            await parts.act(job.finish, watched, timing=parts.timing)
        except (EndpointError, Partial):
            if not job.state.ended:
                raise
        bill = watched.bill
        await self._note(
            job_status=job.state.status,
            planned_tokens=bill.planned_tokens,
            trained_tokens=bill.trained_tokens,
            tokens_estimated=bill.estimated,
            planned_usd=bill.planned_usd,
            # A job that another trial bought, or another command, costs this one nothing.
            training_usd=bill.cost_usd if self._notes["run_id"] == job.run_id else 0.0,
            refused_cancel=watched.state.refused_cancel,
            reported=_last_figures(watched),
        )
        if job.state.status == "succeeded":
            await self._measure(job.spec, job)
        elif job.state.status == "cancelled" and stopped is not None:
            await self._tell("pruned", reason=stopped)
        elif job.state.status == "cancelled" and (
            self._wanted == "left" or await parts.act(parts.study.stop_requested)
        ):
            # The next start buys the job again; what this one cost stays part of what the trial cost.
            await self._note(earlier_usd=self._spent(), training_usd=0.0, checkpoints_usd=0.0)
            raise Interrupted("its job is cancelled, and is bought again")
        else:
            why = job.state.error or "the service gives no reason"
            await self._tell("failed", reason=f"job {job.id} {job.state.said}: {why}")

    async def _measure(self, spec: Spec, job: Job | None) -> None:
        parts = self._parts
        run_id = self._notes["run_id"]
        before = self._spent() if job is not None else 0.0
        try:
            found: TrialFigures = await parts.act(parts.measurer.measure, spec, run_id, job)
        except NotMeasured as error:
            await self._note(cost_usd=sum_if_known([before, error.cost_usd]))
            raise
        cost = sum_if_known([before, found.cost_usd])
        await self._note(measured=dict(found.metrics), cost_usd=cost)
        figures = {**found.metrics, **({} if cost is None else {"cost_usd": cost})}
        missing = [one.metric for one in parts.objectives if one.metric not in figures]
        if missing:
            await self._tell("failed", reason=f"it has no {', '.join(missing)}: {found.why_missing}")
        else:
            refused = self._notes.get("refused_cancel")
            reason = "" if refused is None else f"it was to be stopped early, and its cancel was refused: {refused}"
            await self._tell("complete", [figures[one.metric] for one in parts.objectives], reason)

    async def _tell(self, status: TrialStatus, values: Sequence[float] = (), reason: str = "") -> None:
        parts = self._parts
        if "cost_usd" in self._notes:
            cost = self._notes["cost_usd"]
        else:
            # One that failed without a job before it was measured has bought nothing.
            cost = self._notes.get("earlier_usd", 0.0) if self._notes.get("job") is None else self._spent()
        await self._note(ended=time.time(), cost_usd=cost)
        await parts.act(parts.study.settle, self.claim, cost)
        trial = self._trial(status, values, reason)
        await parts.act(parts.runs.end, trial)
        await parts.act(parts.study.tell, self.claim, status, list(values), reason)
        self.refusal = reason if status == "failed" else None
        parts.progress.trial_ended(trial)

    def _spent(self) -> float | None:
        """What the trial's jobs and their checkpoints cost so far; `None` when unknown."""
        notes = self._notes
        others = [notes.get("checkpoints_usd", 0.0), notes.get("earlier_usd", 0.0)]
        return sum_if_known([notes.get("training_usd"), *others])

    def _trial(self, status: TrialStatus, values: Sequence[float], reason: str) -> SweepTrial:
        known = SweepTrial(self.number, self.claim.settings, status, tuple(values), started=self._began, reason=reason)
        return replace(known, **{name: value for name, value in self._notes.items() if hasattr(known, name)})

    async def _note(self, **facts: Any) -> None:
        new = {name: value for name, value in facts.items() if self._notes.get(name) != value}
        if new:
            self._notes |= new
            await self._parts.act(self._parts.study.note, self.claim, **new)

    async def _leave(self, error: BaseException) -> None:
        """Gives the trial back to the study, for a later start to go on with."""
        parts, reason = self._parts, str(error) or type(error).__name__
        status: TrialStatus = "paused" if self._notes.get("held") else "interrupted"
        if isinstance(error, BudgetReached):
            reason = "the sweep's budget does not cover it"
        await asyncio.shield(asyncio.ensure_future(parts.act(parts.study.release, self.claim, status, reason)))
        parts.progress.trial_ended(self._trial(status, (), reason))

    async def _rest(self, seconds: float) -> None:
        """Waits, or until something else is wanted of the job."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    @property
    def _pauses(self) -> bool:
        plan = self._parts.plan
        return plan is not None and plan.tuner.rules(plan.check.model).pauses


def measurements(stopping: EarlyStopping | None, epochs: int | None) -> int:
    """How often a trial is measured at most: in the end, and every checkpoint where early stopping judges by those."""
    return 1 + (epochs or 1) if stopping is not None and stopping.settings.watch == "checkpoints" else 1


def _last_figures(watched: WatchedJob) -> dict[str, float]:
    """The last value of each figure that the service reported."""
    events = [] if watched.record is None else watched.record.events
    return {name: value for event in events for name, value in event.metrics.items()}


@dataclass(frozen=True)
class _Shown:
    """Passes each look at the job on to the progress of the sweep."""

    progress: SweepProgress
    number: int

    def show(self, progress: JobProgress) -> None:
        """The job now."""
        self.progress.looked(self.number, progress)
