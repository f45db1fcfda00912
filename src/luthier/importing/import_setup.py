"""An account's jobs into MLflow: read, compared with what is there, and written; each job succeeds or fails alone."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from luthier.accounts import DeployedModel, deployments, has_deployments, offered_models
from luthier.engine.ask_options import Progress
from luthier.engine.progress import shown
from luthier.errors import EndpointError, Partial, UserError
from luthier.importing.account_jobs import account_jobs
from luthier.importing.deployments_import import DeploymentsImport
from luthier.importing.import_report import ImportReport
from luthier.importing.imported_models import AccountModels
from luthier.importing.job_reading import AGAIN, JobParts, JobReader, why_missing
from luthier.importing.job_recipes import JobRecipes
from luthier.importing.job_writing import BroughtJob, JobWriter
from luthier.importing.model_versions import ModelVersions
from luthier.importing.place_runs import PlaceRuns
from luthier.importing.records import ImportedItem, NotImported
from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Task
from luthier.tracking.store_file import store_uri
from luthier.tuning.timing import REAL_TIME, Timing
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.tuner import JobState, PagedAccount, Tuner

__all__ = ["FOLDER", "ImportSetup"]

logger = logging.getLogger(__name__)

FOLDER = "models/imported"
"""Where spec files are written, below the working folder."""

READERS = 8
"""Jobs that are read at the same time: reading waits for the service mostly."""


class ImportSetup:
    """Brings the jobs of an account into MLflow. `plan` reads and writes nothing; `run` does both.

    Args:
        endpoint: of the account; its model is not used.
        task: what the jobs were trained for; their runs go to its experiment.
        since: jobs created before this day (UTC) are left out; a date, or text such as `2026-01-31`.
        name: patterns such as `stars*`, of which a job's id, suffix, tuned model or deployment must fit one.
        folder: of the spec files.
        register: registered model that all models become versions of; one per task, or per model, when absent.
        tuner: the service; the one behind the endpoint when absent.
        timing: how time passes.
        progress: display; a bar on stderr when absent.

    Raises:
        UserError: `since` is no date.
        EndpointError: the provider is not known to fine-tune.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        task: Task | None = None,
        since: date | str | None = None,
        name: str | Sequence[str] | None = None,
        folder: str | Path = FOLDER,
        register: str | None = None,
        tuner: Tuner | None = None,
        timing: Timing = REAL_TIME,
        progress: Progress | None = None,
    ) -> None:
        self._endpoint, self._task, self._timing, self._progress = endpoint, task, timing, progress
        self._since = None if since is None else _moment(since)
        self._folder, self._register = Path(folder), register
        self._patterns = (name,) if isinstance(name, str) else tuple(name or ())
        self._tuner = tuner or tuner_for(endpoint)

    def plan(self) -> ImportReport:
        """What `run` would bring: everything is read, nothing is written.

        Raises:
            EndpointError: the account cannot be read.
        """
        return self._bring(write=False)

    def run(self) -> ImportReport:
        """Brings the jobs; one that is there already is brought up to date.

        Raises:
            EndpointError: the account cannot be read; nothing was written.
            UserError: the tracking store cannot be reached.
        """
        with _alone(f"{self._tuner.place} {store_uri()}"):
            return self._bring(write=True)

    def _bring(self, *, write: bool) -> ImportReport:
        missing: list[NotImported] = []
        brought: dict[str, BroughtJob] = {}
        with shown(self._progress, "importing") as progress:
            deployed = self._deployments(missing)
            jobs = self._jobs(progress, deployed or (), missing)
            runs = PlaceRuns(self._tuner.place)
            recipes = JobRecipes(self._endpoint, self._task)
            writer = JobWriter(self._tuner, runs, recipes, write=write)
            unread = []
            for job in jobs:
                why = runs.why_left(job, wants_recipe=self._task is not None)
                if why is None:
                    unread.append(job)
                else:
                    brought[job.id] = writer.left(job, why)
            for done, (job, parts) in enumerate(self._parts(unread, recipes), start=1):
                missing += parts.missing
                if parts.is_read:
                    try:
                        brought[job.id] = writer.bring(job, parts)
                    except Partial as error:
                        missing.append(NotImported("job", job.id, str(error), AGAIN, passes=True))
                new = sum(one.item.happened == "new" for one in brought.values())
                progress.working("importing", done, len(unread), f"{done:,}/{len(unread):,} jobs, {new:,} new")
            offered = self._offered(jobs, deployed, missing)
            versions = ModelVersions(self._tuner.place, self._folder, self._register, deployed, offered)
            # Oldest first, so that the newest model has the highest version.
            ordered = [brought[job.id] for job in reversed(jobs) if job.id in brought]
            for done, one in enumerate(ordered, start=1):
                if one.has_model:
                    brought[one.state.id] = self._registered(one, versions, missing, write=write)
                progress.working("registering", done, len(ordered), f"{done:,}/{len(ordered):,} models")
            found = [brought[job.id].item for job in jobs if job.id in brought]
            made = [versions.job_model(one) for one in ordered if one.has_model]
            models = AccountModels(self._endpoint, self._tuner.place, folder=self._folder, write=write)
            importing = DeploymentsImport(models, made, self._task)
            chosen = self._chosen(deployed or ())
            for done, told in enumerate(map(importing.bring, chosen), start=1):
                if isinstance(told, ImportedItem):
                    found.append(told)
                else:
                    missing.append(told)
                progress.working("importing", done, len(chosen), f"{done:,}/{len(chosen):,} deployments")
        return ImportReport(self._tuner.place, store_uri(), found, missing, dry_run=not write)

    def _registered(
        self, one: BroughtJob, versions: ModelVersions, missing: list[NotImported], *, write: bool
    ) -> BroughtJob:
        """A job with the version of its model; where there can be none, `missing` says why."""
        if one.run is not None and (one.run.imported is None or one.run.version is not None):
            return one
        lost = versions.why_not(one)
        # Where models answer from deployments, each deployment becomes a version.
        if lost is None and write and not has_deployments(self._endpoint):
            try:
                return replace(one, item=versions.register(one))
            except UserError as error:
                lost = NotImported("model", str(one.state.tuned_model), str(error))
        missing += [lost] if lost is not None else []
        return one

    def _deployments(self, missing: list[NotImported]) -> Sequence[DeployedModel] | None:
        """The deployments of the account; `None` where models answer by themselves."""
        if not has_deployments(self._endpoint):
            return None
        listed = deployments(self._endpoint, plane=getattr(self._tuner, "plane", None))
        if listed.failure is not None:
            told = why_missing(self._tuner.place, "its deployments", listed.failure)
            missing.append(replace(told, kind="account"))
        return listed.items

    def _offered(
        self, jobs: Sequence[JobState], deployed: Sequence[DeployedModel] | None, missing: list[NotImported]
    ) -> frozenset[str]:
        """The models that the service lists; none where it lists base models only, or cannot tell.

        A fine-tuned one of which no job is listed is in `missing`.
        """
        tuned = {job.tuned_model for job in jobs if job.tuned_model is not None}
        if deployed is not None or not tuned:
            return frozenset()
        listed = offered_models(self._endpoint)
        if listed.failure is not None:
            missing.append(replace(why_missing(self._tuner.place, "its models", listed.failure), kind="account"))
            return frozenset()
        ids = frozenset(one.id for one in listed.items)
        results = [one.id for one in listed.items if one.model.is_tuned and one.model.checkpoint is None]
        whole = self._since is None and not any(one.kind == "account" for one in missing)
        if whole:
            orphans = [model for model in results if model not in tuned and self._is_named((model,))]
            missing += [NotImported("model", model, NO_JOB, WITHOUT_JOB) for model in orphans]
        lists_tuned = not ids.isdisjoint(tuned) or bool(results)
        return ids if lists_tuned else frozenset()

    def _chosen(self, deployed: Sequence[DeployedModel]) -> list[DeployedModel]:
        return [
            one
            for one in deployed
            if self._is_named((one.name, one.model_id))
            and (self._since is None or one.created is None or one.created >= self._since)
        ]

    def _jobs(
        self, progress: Progress, deployed: Sequence[DeployedModel], missing: list[NotImported]
    ) -> list[JobState]:
        """The jobs that are asked for, newest first."""

        def heard(count: int) -> None:
            progress.working("importing", 0, None, f"{count:,} jobs listed")

        try:
            listed = account_jobs(self._tuner, self._timing, since=self._since, heard=heard)
        except EndpointError as error:
            # An account may be closed to the list of jobs and open otherwise; any other refusal is of everything.
            if getattr(error.__cause__, "status_code", None) != 403:
                raise
            missing.append(NotImported("account", self._tuner.place, f"its jobs: {error}", NO_RIGHT))
            return []
        if listed.failure is not None:
            told = why_missing(self._tuner.place, "the rest of its jobs", listed.failure)
            missing.append(replace(told, kind="account"))
        nameless = [job for job in listed.items if not job.id]
        missing += [NotImported("job", "", "the service lists a job without an id") for _ in nameless]
        answers = [(one.model_id, one.name) for one in deployed]
        return [
            job
            for job in listed.items
            if (job.id and self._is_named((job.id, job.suffix, job.tuned_model)))
            or self._is_named([name for model, name in answers if model == job.tuned_model])
        ]

    def _is_named(self, names: Iterable[str | None]) -> bool:
        return not self._patterns or any(fnmatchcase(name, given) for name in names if name for given in self._patterns)

    def _parts(self, jobs: Sequence[JobState], recipes: JobRecipes) -> Iterator[tuple[JobState, JobParts]]:
        """Each job with what belongs to it, in order; some are read while others are written."""
        reader = JobReader(self._tuner, self._timing, recipes.learn)
        side_by_side = isinstance(self._tuner, PagedAccount) and self._endpoint.provider != "local"
        readers = READERS if side_by_side else 1
        rest = iter(jobs)
        with ThreadPoolExecutor(readers, thread_name_prefix="luthier-import") as pool:
            waiting: deque[tuple[JobState, Future[JobParts]]] = deque()
            try:
                for job in islice(rest, 2 * readers):
                    waiting.append((job, pool.submit(reader.read, job)))
                while waiting:
                    job, asked = waiting.popleft()
                    parts = asked.result()
                    for later in islice(rest, 1):
                        waiting.append((later, pool.submit(reader.read, later)))
                    yield job, parts
            finally:
                for _, asked in waiting:
                    asked.cancel()


NO_JOB = "its job is not listed any more, so how it is asked is not known"
WITHOUT_JOB = "Write a spec whose `endpoint:` names it, then: luthier log SPEC --register NAME"
NO_RIGHT = "Give the key the right to read fine-tuning jobs, or use another key."


def _moment(since: date | str) -> float:
    """Unix time of the beginning of a day, or of a time; without a zone it is UTC.

    Examples:
        >>> _moment("2026-01-05"), _moment("2026-01-05T12:00:00+01:00")
        (1767571200.0, 1767610800.0)
    """
    try:
        given = datetime.fromisoformat(since) if isinstance(since, str) else since
    except ValueError:
        raise UserError(f"since is {since!r}; give a day as YYYY-MM-DD, such as 2026-01-31.") from None
    moment = given if isinstance(given, datetime) else datetime(given.year, given.month, given.day)
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """One import at a time of an account into a store; on this machine."""
    from filelock import FileLock, Timeout

    from luthier.home import luthier_home

    folder = luthier_home() / "imports"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock", mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.warning("waiting for another import of %s to end", what.split(" ")[0])
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
