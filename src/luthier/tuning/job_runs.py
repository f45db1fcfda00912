"""A job's run in MLflow: its intent before anything is paid, what is heard of it, its end."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import ModelError, Partial
from luthier.spec import Fitted
from luthier.techniques.finetune import FineTune
from luthier.techniques.registry import parse_spec
from luthier.tracking.runs import TAGS, begin_run, connect, log_fitted, log_settings, spec_tags
from luthier.tracking.store_file import RunRecord, runs_tagged
from luthier.tuning.tuners.tuner import Checkpoint, JobEvent, JobState

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = [
    "TUNE_TAGS",
    "JobRecord",
    "TuneRun",
    "begin_tune",
    "need_run",
    "run_of_job",
    "runs_of_digest",
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
}
"""Tag names on the run of a job."""

SUBMISSION_FILE = "tune/intent.json"
EVENTS = "tune/events.jsonl"
CHECKPOINTS = "tune/checkpoints.json"
RESULTS = "tune/results"

SPELLINGS = {"validation_mean_token_accuracy": "valid_mean_token_accuracy"}
"""What Azure's result files call something that its events call otherwise."""

LONGEST_TAG = 1000

MOST_TRIES = 5

MOST_SAID = 300
"""Characters of what the tracking store said; it quotes whole statements."""

MOST_FILLED = 1000
"""Steps of a result file that are shown as metrics."""

RUN_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


@dataclass(frozen=True)
class TuneRun:
    """What a run says about its job.

    Attributes:
        run_id: the run.
        experiment_id: where it is.
        name: of the spec.
        status: MLflow's word for the run.
        digest: of everything that was ordered.
        token: what the job carries at the service.
        attempt: number of this order among those of this digest, from 1.
        place: where the job is.
        sent: Unix time at which the order was about to be sent; `None` before that.
        job: the service's id; `None` while there is no answer to the order.
        job_status: the service's word, last heard.
        base_model: what is trained.
        tuned_model: the result.
        started: Unix time.
    """

    run_id: str
    experiment_id: str
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

    @property
    def pending(self) -> bool:
        """Whether it has no job yet, and none was refused."""
        return self.job is None and self.status == "RUNNING"

    def submission(self) -> dict[str, Any]:
        """What was written down before anything was uploaded.

        Raises:
            ModelError: its process died before that.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            document: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{self.run_id}/{SUBMISSION_FILE}")
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"run {self.run_id} has no {SUBMISSION_FILE}: its process died before writing it, or the artifacts are "
                "not here. Type the luthier tune command again: it finds the job, if there is one."
            ) from error
        return document

    def spec(self) -> FineTune:
        """The recipe that was ordered."""
        from pathlib import Path

        found = parse_spec(self.submission()["spec"], f"run {self.run_id}", Path())
        assert isinstance(found, FineTune)
        return found


def begin_tune(spec: FineTune, tags: Mapping[str, str], document: Mapping[str, Any]) -> TuneRun:
    """The run of an order, with everything that is needed to find its job again."""
    import mlflow

    experiment_id = connect(spec.task)
    run = begin_run(experiment_id, f"tune {spec.name}", "tune", spec_tags(spec) | dict(tags))
    write_submission(run.info.run_id, spec, document)
    log_settings(run.info.run_id, spec)
    return _read(mlflow.MlflowClient().get_run(run.info.run_id))


def write_submission(run_id: str, spec: FineTune, document: Mapping[str, Any]) -> None:
    """What is about to be ordered, so that a later process can go on with it."""
    import mlflow

    mlflow.MlflowClient().log_dict(run_id, {"schema": 1, **document, "spec": spec.document()}, SUBMISSION_FILE)


def runs_of_digest(experiment_id: str | None, digest: str) -> list[TuneRun]:
    """The runs of one order, oldest attempt first."""
    if experiment_id is None:
        return []
    found = _search([experiment_id], f"tags.`{TUNE_TAGS['digest']}` = '{digest}'")
    return sorted(found, key=lambda run: (run.attempt, run.started))


def tune_runs() -> list[TuneRun]:
    """Every job's run in the tracking store, newest first."""
    stored = runs_tagged(TAGS["kind"], "tune")
    if stored is None:
        import mlflow

        connect()
        everywhere = [experiment.experiment_id for experiment in mlflow.MlflowClient().search_experiments()]
        found = _search(everywhere, f"tags.`{TAGS['kind']}` = 'tune'")
    else:
        found = [run for run in map(_of_record, stored) if run.digest]
    return sorted(found, key=lambda run: -run.started)


def run_of_job(job: str) -> TuneRun | None:
    """The run of a job, given by the service's id or by the run's own."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", job):
        return None
    connect()
    client = mlflow.MlflowClient()
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    found = _search(everywhere, f"tags.`{TUNE_TAGS['job']}` = '{job}'")
    if found:
        return found[0]
    try:
        return next((run for run in [_read(client.get_run(job))] if run.digest), None)
    except MlflowException:
        return None


def need_run(job: str) -> TuneRun:
    """As `run_of_job`.

    Raises:
        ModelError: the tracking store has no such job.
    """
    import mlflow

    found = run_of_job(job)
    if found is None:
        raise ModelError(
            f"no job {job!r} in the tracking store {mlflow.get_tracking_uri()}. `luthier tune list` shows those "
            "there are; a job that only the service knows is taken over by: luthier tune attach JOB --spec SPEC"
        )
    return found


def _search(experiments: Sequence[str], condition: str) -> list[TuneRun]:
    import mlflow

    client = mlflow.MlflowClient()
    found: list[TuneRun] = []
    token = None
    while experiments:
        page = client.search_runs(list(experiments), filter_string=condition, max_results=1000, page_token=token)
        found += [_read(run) for run in page]
        token = page.token
        if not token:
            break
    return [run for run in found if run.digest]


def _read(run: Run) -> TuneRun:
    info = run.info
    return _of_record(RunRecord(info.run_id, info.experiment_id, info.status, info.start_time, run.data.tags))


def _of_record(run: RunRecord) -> TuneRun:
    tags = run.tags
    sent = tags.get(TUNE_TAGS["sent"])
    return TuneRun(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        name=tags.get(TAGS["spec"], ""),
        status=run.status,
        digest=tags.get(TUNE_TAGS["digest"], ""),
        token=tags.get(TUNE_TAGS["token"], ""),
        attempt=int(tags.get(TUNE_TAGS["attempt"], "1")),
        place=tags.get(TUNE_TAGS["place"], ""),
        sent=float(sent) if sent else None,
        job=tags.get(TUNE_TAGS["job"]),
        job_status=tags.get(TUNE_TAGS["job_status"]),
        base_model=tags.get(TAGS["base_model"], ""),
        tuned_model=tags.get(TUNE_TAGS["tuned_model"]),
        started=run.started / 1000,
    )


class JobRecord:
    """Writes what is heard of a job into its run. Whatever is heard twice is written once.

    Attributes:
        run_id: the run.
        events: everything the service said so far, oldest first.
    """

    def __init__(self, run_id: str) -> None:
        import mlflow

        self.run_id = run_id
        self.events: list[JobEvent] = []
        self._client = mlflow.MlflowClient()
        self._checkpoints = ""
        self._look()

    def _look(self) -> None:
        run = self._client.get_run(self.run_id)
        self._tags = dict(run.data.tags)
        self._params = dict(run.data.params)
        self._logged = {
            (name, point.step)
            for name in run.data.metrics
            for point in self._client.get_metric_history(self.run_id, name)
        }

    def settle(self, write: Callable[[], None]) -> None:
        """Writes, and again after a fresh look: another watch of the job may have written the same at that moment.

        Args:
            write: may be called several times.

        Raises:
            Partial: the tracking store cannot be written to.
        """
        from mlflow.exceptions import MlflowException

        for left in reversed(range(MOST_TRIES)):
            try:
                return write()
            except MlflowException as error:
                if not left:
                    job = self._tags.get(TUNE_TAGS["job"], self.run_id)
                    said = " ".join(str(error).split())[:MOST_SAID]
                    raise Partial(
                        f"the tracking store cannot be written to ({said}). Watching job {job} ended, the job did "
                        f"not. When this is solved, nothing of it is missing after: luthier tune attach {job}"
                    ) from error
                # Where it cannot be read either, the next try says so.
                with suppress(MlflowException):
                    self._look()

    @property
    def known_events(self) -> set[str]:
        """Ids of the events that are written."""
        return {event.id for event in self.events}

    def tag(self, **tags: str | None) -> None:
        """Sets tags by their short names, those that changed."""
        for name, value in tags.items():
            key = TUNE_TAGS[name]
            if value is not None and self._tags.get(key) != value:
                self._client.set_tag(self.run_id, key, value)
                self._tags[key] = value

    def hear(self, events: Sequence[JobEvent]) -> None:
        """Keeps new events: figures as metrics at their step, everything in an artifact."""
        if not events:
            return
        points = [
            (name, value, event.created, event.step)
            for event in events
            if event.step is not None
            for name, value in event.metrics.items()
        ]
        self._points(points)
        known = [*self.events, *events]
        lines = "".join(json.dumps(asdict(event), ensure_ascii=False) + "\n" for event in known)
        self._client.log_text(self.run_id, lines, EVENTS)
        # Only now: what could not be written is heard again.
        self.events = known

    def see(self, job: JobState) -> None:
        """Keeps the state of the job: status, settings as the service resolved them, tokens, the result's name."""
        # One that is alive may say what it waits for; that is no failure, and passes.
        error = job.error[:LONGEST_TAG] if job.error and job.ended else None
        self.tag(job=job.id, job_status=job.status, tuned_model=job.tuned_model, job_error=error)
        settings = {f"resolved.{name}": value for name, value in job.hyperparameters.items() if value != "auto"}
        if job.seed is not None:
            settings["resolved.seed"] = job.seed
        self.params(settings)

    def params(self, settings: Mapping[str, Any]) -> None:
        """Logs parameters that are not there yet; one that is there never changes."""
        from mlflow.entities import Param

        new = {name: str(value) for name, value in settings.items() if name not in self._params}
        if new:
            self._client.log_batch(self.run_id, params=[Param(name, value) for name, value in new.items()])
            self._params |= new

    def checkpoints(self, kept: Sequence[Checkpoint]) -> None:
        """Keeps the list of checkpoints."""
        document = json.dumps([asdict(checkpoint) for checkpoint in kept], indent=1)
        if kept and document != self._checkpoints:
            self._client.log_text(self.run_id, document, CHECKPOINTS)
            self._checkpoints = document

    def result(self, file: str, content: bytes) -> None:
        """Keeps a result file, and those of its figures that no event told."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "-", file)
        text = content.decode("utf-8-sig", "replace")
        self._client.log_text(self.run_id, text, f"{RESULTS}/{safe}.csv")
        self._points(_points_of(text, self._finished_at()))

    def spent(self, trained_tokens: int | None, cost_usd: float | None) -> None:
        """Keeps what was trained and what it cost; an unknown price is no number."""
        now = time.time()
        if trained_tokens is not None:
            self._points([("trained_tokens", float(trained_tokens), now, 0)])
        if cost_usd is not None:
            self._points([("cost_usd", cost_usd, now, 0)])
        self.tag(cost="unknown" if cost_usd is None else "known")

    def tuned(self, spec: FineTune) -> None:
        """Keeps the tuned spec as what this run made, so that it is packaged from here."""
        for name, value in spec_tags(spec).items():
            self._client.set_tag(self.run_id, name, value)
        if not spec.needs_training:
            log_fitted(self.run_id, Fitted(spec=spec))

    def refused(self, error: Exception) -> None:
        """Ends the run of an order that the service did not take."""
        self.tag(job_status="refused", job_error=str(error)[:LONGEST_TAG])
        self.end("failed")

    def lost(self, why: str) -> None:
        """Ends the run of a job that the service does not know any more."""
        self.tag(job_status="gone", job_error=why[:LONGEST_TAG])
        self.end("failed")

    def end(self, status: str) -> None:
        """Ends the run as the job ended."""
        self._client.set_terminated(self.run_id, status=RUN_STATUS.get(status, "FAILED"))

    def _finished_at(self) -> float:
        return self.events[-1].created if self.events else time.time()

    def _points(self, points: Sequence[tuple[str, float, float, int]]) -> None:
        from mlflow.entities import Metric

        new: dict[tuple[str, int], Metric] = {}
        for name, value, created, step in points:
            key = (metric_name(name), step)
            if key not in self._logged:
                # The service's own time: two watchers of one job write the very same point, and the store has it once.
                new[key] = Metric(key[0], value, int(created * 1000), step)
        if new:
            self._client.log_batch(self.run_id, metrics=list(new.values()))
        self._logged |= set(new)


def metric_name(name: str) -> str:
    """A service's name for a figure as MLflow takes it."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", SPELLINGS.get(name, name))


def _points_of(text: str, created: float) -> list[tuple[str, float, float, int]]:
    points = []
    lines = list(csv.DictReader(io.StringIO(text)))
    # A job of 15,000 steps has a line for each: the file is kept whole, a curve needs fewer points.
    stride = -(-len(lines) // MOST_FILLED)
    for place, line in enumerate(lines):
        if place % stride and place != len(lines) - 1:
            continue
        try:
            step = int(float(line.get("step") or ""))
        except ValueError:
            continue
        for name, cell in line.items():
            if name == "step" or name is None:
                continue
            try:
                value = float(cell)
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                points.append((name, value, created, step))
    return points
