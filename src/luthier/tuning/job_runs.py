"""A fine-tuning job's run in MLflow: the submission before anything is paid, what the service says, the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.errors import ModelError
from luthier.model_names import parse_model_name
from luthier.techniques.finetune import FineTune
from luthier.techniques.registry import parse_spec
from luthier.tracking.runs import TAGS, MlflowRun, begin_run, spec_tags
from luthier.tracking.store_file import RunRecord, missing_store, runs_tagged, store_uri
from luthier.tracking.stores import connect
from luthier.tuning.tuners.tuner import JobState

__all__ = [
    "TUNE_TAGS",
    "TuneRun",
    "adopt_recipe",
    "begin_tune",
    "need_run",
    "run_of_job",
    "runs_at",
    "runs_of_digest",
    "take_over",
    "tune_runs",
    "write_submission",
]

TUNE_TAGS = {
    "digest": "luthier.tune_digest",
    "token": "luthier.tune_token",
    "attempt": "luthier.tune_attempt",
    "place": "luthier.tune_place",
    "sent": "luthier.tune_sent",
    "job": "luthier.job",
    "job_status": "luthier.job_status",
    "job_error": "luthier.job_error",
    "tuned_model": "luthier.tuned_model",
    "validation_digest": "luthier.validation_digest",
    "cost": "luthier.cost",
    "quoted_usd": "luthier.quoted_usd",
    "imported": "luthier.imported",
    "import_digest": "luthier.import_digest",
    "import_missing": "luthier.import_missing",
    "version": "luthier.import_version",
    "training_file": "luthier.training_file",
    "validation_file": "luthier.validation_file",
}
"""Tag names on the run of a job."""

SUBMISSION_FILE = "tune/intent.json"


@dataclass(frozen=True)
class TuneRun:
    """What a run says about its job. Times are Unix times.

    Attributes:
        name: of the spec.
        status: MLflow's word for the run; `job_status` is the service's for the job, as last heard.
        digest: of everything that is bought.
        token: what the job carries at the service.
        attempt: number of this submission among those of this digest, from 1.
        sent: when the submission was about to be sent; `None` before that.
        job: the service's id; `None` while the submission has no answer.
        quoted_usd: price that the service named before the job was bought; `None` where it named none.
        imported: when an import wrote it last, as text; `None` for a job that was submitted or attached here.
        import_digest: of everything that this import wrote.
        is_whole: whether the service could give everything then.
        version: registered version that an import made of its model, as `NAME/VERSION`.
    """

    run_id: str
    name: str
    status: str
    digest: str
    token: str
    attempt: int
    place: str
    sent: float | None
    job: str | None
    job_status: str | None
    base_model: str
    tuned_model: str | None
    started: float
    quoted_usd: float | None = None
    imported: str | None = None
    import_digest: str | None = None
    is_whole: bool = True
    version: str | None = None

    @property
    def pending(self) -> bool:
        """Whether a job may still come of it: none is known, and none was refused."""
        return self.job is None and self.status == "RUNNING"

    def submission(self) -> dict[str, Any]:
        """What was written before anything was uploaded.

        Raises:
            ModelError: its process died before writing it.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            document: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{self.run_id}/{SUBMISSION_FILE}")
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"run {self.run_id} has no {SUBMISSION_FILE}: its process died before writing it, or the artifacts are "
                "not here. "
                + (
                    "Type the luthier tune command again: it finds the job, if there is one."
                    if self.imported is None
                    else f"Job {self.job} was imported; give its spec: luthier tune attach {self.job} --spec SPEC"
                )
            ) from error
        return document

    @property
    def has_recipe(self) -> bool:
        """Whether it is known how the job's model is to be asked."""
        return bool(self.name)

    def spec(self) -> FineTune:
        """The recipe that was submitted.

        Raises:
            ModelError: the run has none: the job was imported, and its recipe is not known.
        """
        from pathlib import Path

        document = self.submission().get("spec")
        if document is None:
            raise ModelError(
                f"job {self.job} was imported without a recipe, so it is not known how its model is to be asked. Give "
                f"the spec once, and run {self.run_id} keeps it: luthier tune attach {self.job} --spec SPEC"
            )
        found = parse_spec(document, f"run {self.run_id}", Path())
        assert isinstance(found, FineTune)
        return found


def begin_tune(
    spec: FineTune, tags: Mapping[str, str], submission: Mapping[str, Any], parent: str | None = None
) -> TuneRun:
    """The run of a submission, with everything that is needed to find its job again; beneath `parent`, if given."""
    import mlflow

    experiment_id = connect(spec.task)
    run = begin_run(experiment_id, f"tune {spec.name}", "tune", spec_tags(spec) | dict(tags), parent)
    write_submission(run.run_id, spec, submission)
    run.log_spec(spec)
    return _of_mlflow(mlflow.MlflowClient().get_run(run.run_id))


def take_over(
    job: JobState, place: str, spec: FineTune | None, experiment_id: str | None, tags: Mapping[str, str] | None = None
) -> TuneRun:
    """A run for a job that was not submitted with this tracking store, from the time when the job was created.

    Args:
        job: as the service reports it.
        place: where the service is.
        spec: the recipe, where it is known.
        experiment_id: of the experiment that is to hold it.
        tags: further ones, by their short names.
    """
    import mlflow

    # Its training rows are not known here, so it gets a digest that no submission has.
    own = {"digest": f"job:{job.id}", "token": job.token or "", "place": place, "job": job.id, **(tags or {})}
    named = {TUNE_TAGS[name]: value for name, value in own.items()}
    base = {TAGS["base_model"]: job.base_model, TAGS["model_key"]: parse_model_name(job.base_model).key}
    about = base if spec is None else spec_tags(spec)
    name = f"tune {(job.suffix or job.id) if spec is None else spec.name}"
    run = begin_run(experiment_id, name, "tune", about | named, started=job.created)
    write_submission(run.run_id, spec, {"taken_over": True})
    if spec is not None:
        run.log_spec(spec)
    return _of_mlflow(mlflow.MlflowClient().get_run(run.run_id))


def adopt_recipe(run: TuneRun, spec: FineTune) -> None:
    """Gives an imported job's run the recipe that it lacks."""
    try:
        submission = run.submission()
    except ModelError:
        # The import that made the run was killed before it wrote one.
        submission = {"taken_over": True}
    write_submission(run.run_id, spec, submission)
    MlflowRun(run.run_id).log_tags(spec_tags(spec))
    MlflowRun(run.run_id).log_spec(spec)


def write_submission(run_id: str, spec: FineTune | None, submission: Mapping[str, Any]) -> None:
    """Writes what is about to be submitted, so that a later process can continue."""
    import mlflow

    recipe = {} if spec is None else {"spec": spec.document()}
    mlflow.MlflowClient().log_dict(run_id, {"schema": 1, **submission, **recipe}, SUBMISSION_FILE)


def runs_of_digest(experiment_id: str | None, digest: str) -> list[TuneRun]:
    """The runs of all submissions of a digest, oldest attempt first."""
    if experiment_id is None:
        return []
    found = _search(f"tags.`{TUNE_TAGS['digest']}` = '{digest}'", [experiment_id])
    return sorted(found, key=lambda run: (run.attempt, run.started))


def runs_at(place: str, job: str | None = None) -> list[TuneRun]:
    """The runs of a service's jobs, or of one of them, oldest first."""
    condition = f"tags.`{TUNE_TAGS['place']}` = '{place}'"
    if job is not None:
        condition += f" AND tags.`{TUNE_TAGS['job']}` = '{job}'"
    return sorted(_search(condition), key=lambda run: (run.started, run.run_id))


def tune_runs() -> list[TuneRun]:
    """Every job's run in the tracking store, newest first."""
    stored = runs_tagged(TAGS["kind"], "tune")
    if stored is None:
        found = _search(f"tags.`{TAGS['kind']}` = 'tune'")
    else:
        found = [run for run in map(_of_stored, stored) if run.digest]
    return sorted(found, key=lambda run: -run.started)


def run_of_job(job: str) -> TuneRun | None:
    """The run of a job, given by the service's id or by the run's own."""
    if missing_store() is not None or not re.fullmatch(r"[A-Za-z0-9_.:-]+", job):
        return None
    import mlflow
    from mlflow.exceptions import MlflowException

    found = _search(f"tags.`{TUNE_TAGS['job']}` = '{job}'")
    if found:
        return found[0]
    try:
        run = _of_mlflow(mlflow.MlflowClient().get_run(job))
    except MlflowException:
        return None
    return run if run.digest else None


def need_run(job: str) -> TuneRun:
    """As `run_of_job`.

    Raises:
        ModelError: the tracking store has no such job.
    """
    found = run_of_job(job)
    if found is None:
        raise ModelError(
            f"no job {job!r} in the tracking store {store_uri()}. `luthier tune list` shows those "
            "there are; a job that only the service knows is taken over by: luthier tune attach JOB --spec SPEC"
        )
    return found


def _search(condition: str, experiments: list[str] | None = None) -> list[TuneRun]:
    if missing_store() is not None:
        return []
    import mlflow

    connect()
    found = mlflow.search_runs(experiments, condition, output_format="list", search_all_experiments=experiments is None)
    return [run for run in map(_of_mlflow, found) if run.digest]


def _of_mlflow(run: Any) -> TuneRun:
    info = run.info
    return _of_stored(RunRecord(info.run_id, info.status, info.start_time, run.data.tags))


def _of_stored(run: RunRecord) -> TuneRun:
    def tag(name: str) -> str | None:
        return run.tags.get(TUNE_TAGS[name])

    sent, quoted = tag("sent"), tag("quoted_usd")
    return TuneRun(
        run_id=run.run_id,
        name=run.tags.get(TAGS["spec"], ""),
        status=run.status,
        digest=tag("digest") or "",
        token=tag("token") or "",
        attempt=int(tag("attempt") or 1),
        place=tag("place") or "",
        sent=float(sent) if sent else None,
        job=tag("job"),
        job_status=tag("job_status"),
        base_model=run.tags.get(TAGS["base_model"], ""),
        tuned_model=tag("tuned_model"),
        started=run.started / 1000,
        quoted_usd=float(quoted) if quoted else None,
        imported=tag("imported"),
        import_digest=tag("import_digest"),
        is_whole=not tag("import_missing"),
        version=tag("version"),
    )
