"""One fine-tuning job: watched, changed, deployed, and its result kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from luthier.errors import BudgetReached, EndpointError, ModelError, Partial
from luthier.providers.prices import dollars
from luthier.spec import Spec
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tuning.hosting import Host, HostedDeployment, Hosting
from luthier.tuning.job_record import JobRecord
from luthier.tuning.job_runs import TuneRun
from luthier.tuning.timing import REAL_TIME, Timing, patiently
from luthier.tuning.training_costs import CostForecast, TrainingBill
from luthier.tuning.tuned_specs import TunedSpecFile, tuned_spec, write_spec
from luthier.tuning.tuners import Tuner
from luthier.tuning.tuners.tuner import PAUSED, Checkpoint, JobNotFound, JobState, ServiceUnavailable
from luthier.tuning.watch import Watch, WatchState
from luthier.tuning.watch_driver import WatchDriver, WatchedJob, Watcher, follow

__all__ = ["Job", "lost_job"]

logger = logging.getLogger(__name__)

AnySpec = TypeVar("AnySpec", bound=Spec)
Result = TypeVar("Result")

AGAIN = "luthier tune SPEC --train TABLE --validation TABLE"


class Job:
    """A fine-tuning job and its MLflow run.

    Attributes:
        run: what the run says.
        state: the job as last seen.
        tuner: the service.
        base: the recipe before it was tuned.
        bought: whether the job was submitted just now.
        written: the spec file with the result, once there is one.
    """

    def __init__(
        self,
        run: TuneRun,
        state: JobState,
        tuner: Tuner,
        spec: FineTune,
        target: TunedSpecFile | None = None,
        *,
        bought: bool = False,
        tokens: int | None = None,
        budget_usd: float | None = None,
    ) -> None:
        self.run, self.state, self.tuner = run, state, tuner
        self.bought = bought
        self.written: Path | None = None
        self.base = spec.untuned()
        self._target = target
        self._forecast = CostForecast(tuner.estimate, self.base.base_model, tokens, budget_usd, run.quoted_usd)

    @property
    def id(self) -> str:
        """The service's name for it."""
        return self.state.id

    @property
    def run_id(self) -> str:
        """MLflow run that keeps what is heard of it."""
        return self.run.run_id

    @property
    def cost_usd(self) -> float | None:
        """What it cost: as the service says, else by the tokens it trained; `None` when unknown, which is not 0."""
        return self._forecast.cost_of_tokens_usd(self.state, self.state.trained_tokens)

    @property
    def spec(self) -> FineTune:
        """The recipe with the result in it.

        Raises:
            ModelError: the job has no result, or not yet.
        """
        block = Tuned(model=self.need_result(), job=self.id, base_model=self.base.base_model, run_id=self.run_id)
        tuned = tuned_spec(self.base, block, self.written.stem if self.written is not None else None)
        hosting = self.hosting()
        return tuned if hosting is None else hosting.located(tuned)

    def need_result(self) -> str:
        """The tuned model's name.

        Raises:
            ModelError: the job has no result, or not yet.
        """
        if self.state.tuned_model is None or self.state.status != "succeeded":
            raise ModelError(
                f"job {self.id} {self.state.said} and has no result, so there is no model to ask. {self.next_step}"
            )
        return self.state.tuned_model

    @property
    def next_step(self) -> str:
        """What to type about a job that has no result; a paused job has to be resumed before it can end."""
        if self.state.ended:
            return f"Submit a new one: {AGAIN}"
        resume = f"Let it go on: luthier tune resume {self.id}   " if self.state.status == PAUSED else ""
        return f"{resume}Wait for its end: luthier tune attach {self.id}"

    def watch(
        self, *, budget_usd: float | None = None, timing: Timing = REAL_TIME, watcher: Watcher | None = None
    ) -> Job:
        """Follows the job to its end and keeps everything in its run, starting where an earlier watch stopped.

        Args:
            budget_usd: most it may cost; what it was submitted with when absent.
            timing: how time passes.
            watcher: is shown each look.

        Raises:
            EndpointError: the job failed.
            Partial: it was cancelled, or the service was unavailable for an hour.
            BudgetReached: its price rose above the budget and it was cancelled.
        """
        if self.state.status == "succeeded" and self.run.status == "FINISHED":
            self._write()
            return self
        driver = WatchDriver(timing)
        watched = self.watched(budget_usd=budget_usd, timing=timing, watcher=watcher)
        driver.add(watched)
        try:
            (ended,) = driver.ended()
            return self.finish(ended, timing=timing)
        finally:
            watched.release()

    def watched(
        self, *, budget_usd: float | None = None, timing: Timing = REAL_TIME, watcher: Watcher | None = None
    ) -> WatchedJob:
        """What a `WatchDriver` needs to watch this job beside others; `finish` takes it when it has ended."""
        budget = self._forecast.budget_usd if budget_usd is None else budget_usd
        watch = Watch(self.id, replace(self._forecast, budget_usd=budget), poll_seconds=timing.poll_seconds)
        return WatchedJob(self.tuner, watch, JobRecord(self.run_id), watcher)

    def bill(self, state: WatchState) -> TrainingBill:
        """What the job is paid for, by what a watch of it has heard."""
        return Watch(self.id, self._forecast).bill(state)

    def finish(self, ended: WatchedJob, *, timing: Timing = REAL_TIME) -> Job:
        """Keeps all there is about a watched job that has ended, the result first; then ends its run.

        Raises:
            EndpointError: the job failed.
            Partial: it was cancelled, or watching ended before the job did.
            BudgetReached: it was cancelled because its price rose above the budget.
        """
        try:
            return self._finish(ended, timing)
        finally:
            ended.release()

    def _finish(self, ended: WatchedJob, timing: Timing) -> Job:
        if isinstance(ended.error, JobNotFound):
            raise lost_job(self.run, self.tuner, ended.error) from ended.error
        if ended.error is not None and not isinstance(ended.error, BudgetReached):
            raise ended.error
        assert ended.state.job is not None
        self.state = ended.state.job
        self._keep(ended.record or JobRecord(self.run_id), timing)
        if ended.error is not None:
            raise ended.error
        if self.state.status == "failed":
            raise EndpointError(
                f"job {self.id} failed: {(self.state.error or 'the service gives no reason').rstrip('. ')}. Its run "
                f"{self.run_id} has every event. When the cause is removed, submit a new job: {AGAIN}"
            )
        if self.state.status != "succeeded":
            raise Partial(
                f"job {self.id} was {self.state.status}; its run {self.run_id} is KILLED. Submit a new job: {AGAIN}"
            )
        return self

    def cancel(self, *, timing: Timing = REAL_TIME, watcher: Watcher | None = None) -> Job:
        """Cancels the job and waits until the service confirms that it has ended; its run ends as the job did.

        Raises:
            EndpointError: the job had ended otherwise.
        """
        record = JobRecord(self.run_id)
        if not self.state.ended:
            patiently(timing, partial(self.tuner.cancel, self.id))
            self._follow(timing, watcher, record)
        if self.run.status == "RUNNING":
            self._keep(record, timing)
        if self.state.status != "cancelled":
            raise EndpointError(f"job {self.id} {self.state.said} and can no longer be cancelled.")
        return self

    def pause(self, *, timing: Timing = REAL_TIME, watcher: Watcher | None = None) -> Job:
        """Pauses the job and waits until the service confirms it."""
        return self._change(self.tuner.pause, (PAUSED,), "paused", timing, watcher)

    def resume(self, *, timing: Timing = REAL_TIME, watcher: Watcher | None = None) -> Job:
        """Resumes a paused job and waits until the service confirms it."""
        return self._change(self.tuner.resume, ("running", "queued", "validating_files"), "resumed", timing, watcher)

    def checkpoints(self) -> list[Checkpoint]:
        """The models that the service kept of it, by step."""
        return self.tuner.checkpoints(self.id)

    def hosting(self, clock: Callable[[], float] = time.time) -> Hosting | None:
        """The deployments of this job; `None` at services that answer with a tuned model by itself."""
        if not isinstance(self.tuner, Host):
            return None
        assert self.base.endpoint is not None
        token = self.run.token or self.state.token or self.id[-18:]
        price, training_type = self.base.endpoint.price, self.base.tuning.training_type
        return Hosting(self.run_id, token, self.tuner, price, training_type, clock)

    def need_hosting(self) -> Hosting:
        """As `hosting`.

        Raises:
            ModelError: the service needs no deployments.
        """
        found = self.hosting()
        if found is None:
            raise ModelError(f"{self.tuner.place} answers with a tuned model by itself; there is nothing to deploy.")
        return found

    @contextmanager
    def hosted(self, specs: Sequence[AnySpec]) -> Iterator[list[AnySpec]]:
        """Specs of this job's models, each asking where its model answers; deployments made for it are gone afterwards.

        Args:
            specs: of the job's checkpoints and result; others are left as they are.
        """
        hosting = self.hosting()
        if hosting is None:
            yield list(specs)
        else:
            with hosting.hosted(specs) as moved:
                yield moved

    def deploy(self, name: str | None = None) -> FineTune:
        """Deploys the result where a service needs that; billed by the hour until `undeploy`.

        Args:
            name: of the deployment; the spec's name and `-tuned` when absent.

        Returns:
            The tuned recipe, asking the deployment.

        Raises:
            ModelError: the service answers with a tuned model by itself, or there is no result.
        """
        hosting, tuned = self.need_hosting(), self.spec.tuned
        assert tuned is not None
        hosting.make(tuned.model, name or tuned_spec(self.base, tuned).name)
        self._write()
        return self.spec

    def undeploy(self) -> list[HostedDeployment]:
        """Deletes every deployment made for this job; returns when the service says that they are gone."""
        return self.need_hosting().remove()

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "job": self.id,
            "status": self.state.status,
            "run_id": self.run_id,
            "submitted_now": self.bought,
            "base_model": self.state.base_model,
            "tuned_model": self.state.tuned_model,
            "trained_tokens": self.state.trained_tokens,
            "cost_usd": self.cost_usd,
            "spec": None if self.written is None else str(self.written),
        }

    def __str__(self) -> str:
        """The job's state and what to type next."""
        said = f"job {self.id} {self.state.said}"
        if not self.state.ended:
            resume = [f"resume it: luthier tune resume {self.id}"] if self.state.status == PAUSED else []
            then = [f"watch it:  luthier tune attach {self.id}", f"end it:    luthier tune cancel {self.id}"]
            return "\n".join([f"{said}, run {self.run_id}", *resume, *then])
        if self.state.status != "succeeded":
            return f"{said}, run {self.run_id}\nsubmit a new one: {AGAIN}"
        tokens = "unknown" if self.state.trained_tokens is None else f"{self.state.trained_tokens:,}"
        price = "price unknown" if self.cost_usd is None else dollars(self.cost_usd)
        lines = [f"{said}: {self.state.tuned_model}, {tokens} tokens trained, {price}, run {self.run_id}"]
        if self.written is not None:
            lines += [f"written to {self.written}", f"measure it: luthier compare {self.written} --test TABLE"]
        lines.append(f"every checkpoint: luthier tune checkpoints {self.id} --test TABLE")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.state.status}, run {self.run_id}>"

    def _change(
        self,
        ask: Callable[[str], JobState],
        wanted: Sequence[str],
        said: str,
        timing: Timing,
        watcher: Watcher | None,
    ) -> Job:
        if self.state.ended:
            raise EndpointError(f"job {self.id} {self.state.said} and can no longer be {said}.")
        if self.state.status not in wanted:
            ask(self.id)
            self._follow(timing, watcher, until=lambda state: state.status in wanted)
        JobRecord(self.run_id).see(self.state)
        if self.state.status not in wanted:
            raise EndpointError(f"job {self.id} {self.state.said} now and was not {said}.")
        return self

    def _follow(
        self,
        timing: Timing,
        watcher: Watcher | None,
        record: JobRecord | None = None,
        until: Callable[[JobState], bool] = lambda state: False,
    ) -> None:
        unlimited = replace(self._forecast, budget_usd=None)
        watch = Watch(self.id, unlimited, until, timing.poll_seconds)
        self.state = follow(WatchedJob(self.tuner, watch, record, watcher), timing)

    def _keep(self, record: JobRecord, timing: Timing) -> None:
        """Keeps all there is about an ended job, the result first, and then ends its run."""
        if self.state.status == "succeeded":
            self._write()
        record.settle(lambda: self._keep_result(record))
        kept = self._if_given(timing, "its checkpoints are", partial(self.tuner.checkpoints, self.id))
        record.settle(lambda: record.checkpoints(kept or ()))
        for file in self.state.result_files:
            content = self._if_given(timing, f"result file {file} is", partial(self.tuner.result, file))
            if content is not None:
                record.settle(partial(record.result, file, content))
        record.settle(partial(record.end, self.state.status))

    def _if_given(self, timing: Timing, what: str, ask: Callable[[], Result]) -> Result | None:
        """What the service gives; `None` where it refuses: a result that was paid for is not lost for its figures."""
        try:
            return patiently(timing, ask)
        except ServiceUnavailable:
            raise
        except EndpointError as error:
            # Files expire, and a key may be allowed to train but not to read everything.
            logger.warning("%s not kept with run %s: %s", what, self.run_id, error)
            return None

    def _keep_result(self, record: JobRecord) -> None:
        record.see(self.state)
        record.spent(self.state.trained_tokens, self.cost_usd)
        if self.state.status == "succeeded":
            record.tuned(self.spec)

    def _write(self) -> None:
        if self._target is not None:
            self.written = write_spec(self.spec, self._target)


def lost_job(run: TuneRun, tuner: Tuner, error: JobNotFound) -> EndpointError:
    """The error for a job that its service does not know any more; ends its run, where it was submitted there."""
    if run.place != tuner.place or run.status != "RUNNING":
        return error
    JobRecord(run.run_id).fail("gone", error)
    return EndpointError(
        f"{error} It was there before, so it was deleted, or the key is another account's. Its run {run.run_id} ended "
        "as FAILED. With the right key `luthier tune attach` goes on; `luthier tune ... --again` buys another job."
    )
