"""One fine-tuning job from order to result: what `luthier tune` does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from luthier.errors import BudgetReached, EndpointError, ModelError, Partial, UserError
from luthier.providers.endpoint import Endpoint
from luthier.providers.prices import dollars
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tracking.runs import connect, known_experiment, log_table_digest
from luthier.tuning.hosting import HostedDeployment, deployed, need_hosting
from luthier.tuning.job_runs import JobRecord, TuneRun, begin_tune, need_run, run_of_job, runs_of_digest
from luthier.tuning.preflight import log_preflight
from luthier.tuning.submission import Timing, patiently, submit_once
from luthier.tuning.tuned_specs import TunedSpecFile, need_finetune, tuned_spec, write_spec
from luthier.tuning.tuners import Tuner, tuner_for
from luthier.tuning.tuners.tuner import Checkpoint, JobState, NoSuchJob, ServiceUnavailable
from luthier.tuning.tuning_plan import TuningPlan
from luthier.tuning.watch import CostForecast, Watcher, figures_of, follow, is_paused, wait_for

__all__ = ["Job", "attach", "submit", "service_of"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


AGAIN = "luthier tune SPEC --train TABLE --validation TABLE"


class Job:
    """A job and its run.

    Attributes:
        run: what the run says.
        state: the job as last seen.
        tuner: the service.
        base: the recipe before it was tuned.
        bought: whether it was submitted just now.
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
        self._tokens = tokens
        self._budget_usd = budget_usd

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
        """What it cost; `None` when that is unknown, which is not 0."""
        return figures_of(self.state, self._forecast(None))

    @property
    def spec(self) -> FineTune:
        """The recipe with the result in it.

        Raises:
            ModelError: the job has no result, or not yet.
        """
        block = Tuned(model=self.need_result(), job=self.id, base_model=self.base.base_model, run_id=self.run_id)
        name = self.written.stem if self.written is not None else None
        return deployed(self, tuned_spec(self.base, block, name))

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
        """What to type about a job that has no result; a paused one would be waited for in vain."""
        if self.state.ended:
            return f"Submit a new one: {AGAIN}"
        resume = f"Let it go on: luthier tune resume {self.id}   " if is_paused(self.state) else ""
        return f"{resume}Wait for its end: luthier tune attach {self.id}"

    def watch(
        self, *, budget_usd: float | None = None, timing: Timing | None = None, watcher: Watcher | None = None
    ) -> Job:
        """Follows the job to its end and keeps everything in its run; from wherever an earlier watch left off.

        Args:
            budget_usd: most it may cost; what it was submitted with when absent.
            timing: how time passes.
            watcher: is shown each look.

        Raises:
            EndpointError: the job failed.
            Partial: it was cancelled, or the service has been away for an hour.
            BudgetReached: it became dearer than the budget and was cancelled.
        """
        if self.state.status == "succeeded" and self.run.status == "FINISHED":
            self._write()
            return self
        record = JobRecord(self.run_id)
        forecast = self._forecast(self._budget_usd if budget_usd is None else budget_usd)
        try:
            self.state = follow(self.tuner, record, self.id, forecast=forecast, timing=timing, watcher=watcher)
        except NoSuchJob as error:
            raise _lost(self.run, self.tuner, error) from error
        except BudgetReached:
            self.state = wait_for(self.tuner, self.id, lambda state: state.ended, timing or Timing(), watcher)
            self._keep(record, timing or Timing())
            raise
        self._keep(record, timing or Timing())
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

    def cancel(self, *, timing: Timing | None = None, watcher: Watcher | None = None) -> Job:
        """Ends the job and waits until the service confirms; its run ends as the job did.

        Raises:
            EndpointError: the job had ended otherwise.
        """
        timing = timing or Timing()
        if not self.state.ended:
            patiently(timing, partial(self.tuner.cancel, self.id))
            self.state = follow(self.tuner, JobRecord(self.run_id), self.id, timing=timing, watcher=watcher)
        if self.run.status == "RUNNING":
            self._keep(JobRecord(self.run_id), timing)
        if self.state.status != "cancelled":
            raise EndpointError(f"job {self.id} {self.state.said} and can no longer be cancelled.")
        return self

    def pause(self, *, timing: Timing | None = None, watcher: Watcher | None = None) -> Job:
        """Pauses the job and waits until the service confirms."""
        return self._change(self.tuner.pause, is_paused, "paused", timing, watcher)

    def resume(self, *, timing: Timing | None = None, watcher: Watcher | None = None) -> Job:
        """Lets a paused job go on and waits until the service confirms."""
        going = ("running", "queued", "validating_files")
        return self._change(self.tuner.resume, lambda state: state.status in going, "resumed", timing, watcher)

    def deploy(self, name: str | None = None) -> FineTune:
        """Deploys the result where a service needs that; billed by the hour until `undeploy`.

        Args:
            name: of the deployment; the spec's name and `-tuned` when absent.

        Returns:
            The tuned recipe, asking the deployment.

        Raises:
            ModelError: the service answers with a tuned model by itself, or there is no result.
        """
        hosting, tuned = need_hosting(self), self.spec.tuned
        assert tuned is not None
        hosting.make(tuned.model, name or tuned_spec(self.base, tuned).name)
        self._write()
        return self.spec

    def undeploy(self) -> list[HostedDeployment]:
        """Deletes every deployment made for this job; returns when the service says that they are gone."""
        return need_hosting(self).remove()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
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
        """What became of it and what to type next."""
        said = f"job {self.id} {self.state.said}"
        if not self.state.ended:
            resume = [f"resume it: luthier tune resume {self.id}"] if is_paused(self.state) else []
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

    def checkpoints(self) -> list[Checkpoint]:
        """The models the service kept of it."""
        return self.tuner.checkpoints(self.id)

    def _change(
        self,
        ask: Callable[[str], JobState],
        reached: Callable[[JobState], bool],
        wanted: str,
        timing: Timing | None,
        watcher: Watcher | None,
    ) -> Job:
        if self.state.ended:
            raise EndpointError(f"job {self.id} {self.state.said} and can no longer be {wanted}.")
        if not reached(self.state):
            ask(self.id)
            self.state = wait_for(self.tuner, self.id, reached, timing or Timing(), watcher)
        JobRecord(self.run_id).see(self.state)
        if not reached(self.state):
            raise EndpointError(f"job {self.id} {self.state.said} now and was not {wanted}.")
        return self

    def _forecast(self, budget_usd: float | None) -> CostForecast:
        def price(tokens: int, epochs: int | None) -> float | None:
            return self.tuner.estimate(self.base.base_model, tokens, epochs)

        return CostForecast(self._tokens, price, budget_usd)

    def _keep(self, record: JobRecord, timing: Timing) -> None:
        """Everything there is about an ended job, the result first: then its run ends."""
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
        """What is asked for, `None` where the service refuses: a job that was paid for is not lost for its figures."""
        try:
            return patiently(timing, ask)
        except ServiceUnavailable:
            raise
        except EndpointError as error:
            # Files expire, and a key may be allowed to train and not to read everything.
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


def submit(
    plan: TuningPlan,
    *,
    budget_usd: float | None = None,
    timing: Timing | None = None,
    agree: Callable[[], None] = lambda: None,
) -> Job:
    """The job of a plan: the one there is, else one that is bought now; once, whatever happens on the way.

    Args:
        plan: from `plan_tuning`.
        budget_usd: most it may cost; written down, so that a later watch holds it, too.
        timing: how time passes.
        agree: called right before something is bought that the plan did not foresee or foresaw; may refuse by raising.
    """

    def began(run_id: str) -> None:
        log_preflight(run_id, plan.check)
        for name, frame in plan.frames.items():
            log_table_digest(run_id, frame, name=name, context=name, targets=plan.spec.task.label)

    facts = {"target": None if plan.target is None else plan.target.document(), "budget_usd": budget_usd}
    run, state, bought = submit_once(
        plan.spec,
        plan.check,
        plan.tuner,
        lambda: runs_of_digest(known_experiment(plan.spec.task), plan.digest),
        again=plan.again,
        facts=facts,
        timing=timing,
        agree=agree,
        began=began,
    )
    return Job(run, state, plan.tuner, plan.spec, plan.target, bought=bought, tokens=plan.check.train.tokens)


def attach(
    job: str,
    *,
    spec: object | None = None,
    endpoint: Endpoint | None = None,
    to: TunedSpecFile | None = None,
    tuner: Tuner | None = None,
) -> Job:
    """A job that was submitted earlier, here or elsewhere.

    Args:
        job: the service's id, or the run's.
        spec: the recipe of a job the tracking store does not know; it is taken over, with a run of its own.
        endpoint: where the job is, if not where it was submitted (another port of the same server).
        to: where the result goes, if not where the order said.
        tuner: the service; the one behind the endpoint when absent.

    Raises:
        ModelError: the tracking store does not know the job and no spec was given.
        EndpointError: the service does not know it.
        UserError: `to` could not be written in the end.
    """
    run = run_of_job(job) if spec is not None else need_run(job)
    recipe = need_finetune(spec).untuned() if run is None else run.spec().untuned()
    assert recipe.endpoint is not None
    if to is not None:
        to.check(job if run is None else run.job)
    service = tuner or tuner_for(endpoint or recipe.endpoint)
    if run is None:
        state = service.poll(job)
        run = _take_over(recipe, state, service)
    elif run.job is None:
        # The answer to the order may have been lost with the process that waited for it.
        found = service.find(run.token)
        if not found:
            raise ModelError(
                f"run {run.run_id} has no job yet: its order was interrupted. Type the luthier tune command again."
            )
        state = found[0]
        JobRecord(run.run_id).see(state)
    else:
        try:
            state = service.poll(run.job)
        except NoSuchJob as error:
            raise _lost(run, service, error) from error
    submission = run.submission()
    target = to
    if target is None and submission.get("target"):
        ordered = TunedSpecFile(Path(submission["target"]["path"]), submission["target"]["exact"])
        # The order may come from another machine, or its folder be gone.
        target = ordered if ordered.path.parent.is_dir() else None
    tokens = ((submission.get("preflight") or {}).get("train") or {}).get("tokens")
    return Job(run, state, service, recipe, target, tokens=tokens, budget_usd=submission.get("budget_usd"))


def service_of(job: str, endpoint: Endpoint | None, tuner: Tuner | None = None) -> tuple[Tuner, str]:
    """Where a job is, and what it is called there.

    Raises:
        ModelError: no endpoint was given and the tracking store does not know the job.
    """
    if tuner is not None:
        return tuner, job
    if endpoint is not None:
        return tuner_for(endpoint), job
    run = need_run(job)
    recipe = run.spec().untuned()
    assert recipe.endpoint is not None
    return tuner_for(recipe.endpoint), run.job or job


def _take_over(spec: FineTune, state: JobState, tuner: Tuner) -> TuneRun:
    if state.base_model != spec.base_model:
        raise UserError(
            f"job {state.id} trains {state.base_model}, and spec {spec.name!r} names {spec.base_model}; "
            "give the spec it was submitted for."
        )
    from luthier.tuning.job_runs import TUNE_TAGS

    connect(spec.task)
    # What it was trained on is not known here, so its digest is its own.
    tags = {"digest": f"job:{state.id}", "token": state.token or "", "place": tuner.place, "job": state.id}
    return begin_tune(spec, {TUNE_TAGS[name]: value for name, value in tags.items()}, {"taken_over": True})


def _lost(run: TuneRun, tuner: Tuner, error: NoSuchJob) -> EndpointError:
    """What to say of a job that its own service does not know any more; its run does not go on as if it were alive."""
    if run.place != tuner.place or run.status != "RUNNING":
        return error
    JobRecord(run.run_id).lost(str(error))
    return EndpointError(
        f"{error} It was there before, so it was deleted, or the key is another account's. Its run {run.run_id} ended "
        "as FAILED. With the right key `luthier tune attach` goes on; `luthier tune ... --again` buys another job."
    )
