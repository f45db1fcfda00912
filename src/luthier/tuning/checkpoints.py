"""The models that a job saved, as specs for one leaderboard: services report their losses only."""

from __future__ import annotations

from luthier.errors import ModelError
from luthier.experiments.checking import check_specs
from luthier.spec import Spec
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tuning.job import Job
from luthier.tuning.tuned_specs import tuned_spec
from luthier.tuning.tuners.tuner import Checkpoint

__all__ = ["base_spec", "checkpoint_spec", "checkpoint_specs"]


def checkpoint_specs(job: Job) -> list[FineTune]:
    """A spec for every checkpoint and for the result, by step.

    Raises:
        ModelError: the job has no checkpoint, or not yet.
    """
    found: list[FineTune] = []
    models = set()
    last = _last_step(job)
    for kept in job.checkpoints():
        # At some services the model after the last step has two names; it is measured once.
        if kept.model in models or (job.state.tuned_model is not None and kept.step == last):
            continue
        found.append(checkpoint_spec(job, kept))
        models.add(kept.model)
    if job.state.tuned_model is not None and job.state.tuned_model not in models:
        found.append(job.spec)
    if not found:
        which = "services keep the last few of a job that succeeded"
        raise ModelError(f"job {job.id} {job.state.said} and has no checkpoint: {which}. {job.next_step}")
    return found


def checkpoint_spec(job: Job, kept: Checkpoint) -> FineTune:
    """The spec of one checkpoint, whether or not its job has ended."""
    block = Tuned(
        model=kept.model,
        job=job.id,
        base_model=job.base.base_model,
        checkpoint_step=kept.step,
        run_id=job.run_id,
    )
    return tuned_spec(job.base, block, f"{job.base.name}-step-{kept.step}")


def _last_step(job: Job) -> int | None:
    """The last training step that has figures."""
    import mlflow

    if job.state.ended and job.run.status == "RUNNING":
        # The job was not watched to its end, so its run may lack the last steps.
        return max((event.step for event in job.tuner.events(job.id) if event.step is not None), default=None)
    client = mlflow.MlflowClient()
    names = client.get_run(job.run_id).data.metrics
    steps = [point.step for name in names for point in client.get_metric_history(job.run_id, name)]
    return max(steps, default=None)


def base_spec(job: Job) -> Spec | None:
    """The same prompt to the base model, for comparison; `None` where it does not answer (one cheap call)."""
    prompt = job.base.as_prompt(f"{job.base.name}-base")
    return prompt if check_specs([prompt])[0].ok else None
