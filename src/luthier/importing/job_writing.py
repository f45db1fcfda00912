"""A job's run as an import writes it: what the service told, with its original times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from luthier.errors import Partial
from luthier.importing.job_reading import AGAIN, AccountFile, JobParts
from luthier.importing.job_recipes import JobRecipes, KnownRecipe
from luthier.importing.place_runs import PlaceRuns
from luthier.importing.records import Happened, ImportedItem
from luthier.techniques.finetune import FineTune
from luthier.tracking.runs import MlflowRun
from luthier.tracking.stores import experiment_called
from luthier.tuning.job import Job
from luthier.tuning.job_record import LONGEST_QUOTE, LONGEST_TAG, JobRecord
from luthier.tuning.job_runs import TuneRun, adopt_recipe, take_over
from luthier.tuning.training_costs import CostForecast
from luthier.tuning.tuners.tuner import JobState, Tuner

__all__ = ["BroughtJob", "JobWriter"]


MEANWHILE = "another import makes its run at this moment"


@dataclass(frozen=True)
class BroughtJob:
    """A job whose run is up to date.

    Attributes:
        state: as the service lists it.
        item: what was done.
        run: that it has; `None` in a dry run of a new one.
        recipe: how its model is asked; `None` where nothing was read.
    """

    state: JobState
    item: ImportedItem
    run: TuneRun | None
    recipe: KnownRecipe | None = None

    @property
    def has_model(self) -> bool:
        """Whether a model was made of it."""
        return self.state.status == "succeeded" and self.state.tuned_model is not None


class JobWriter:
    """Writes jobs into their runs, and says what that changed.

    Args:
        tuner: the service.
        runs: that the store has of its jobs.
        recipes: reads how the models of jobs are asked.
        write: `False` to say only what would change.
    """

    def __init__(self, tuner: Tuner, runs: PlaceRuns, recipes: JobRecipes, *, write: bool = True) -> None:
        self._tuner, self._runs, self._recipes, self._write = tuner, runs, recipes, write
        self._experiments: dict[str, str] = {}

    def left(self, job: JobState, note: str) -> BroughtJob:
        """A job whose run is left as it is."""
        run = self._runs.of(job)
        return BroughtJob(job, _item(job, "unchanged", run, note), run)

    def bring(self, job: JobState, parts: JobParts) -> BroughtJob:
        """Brings a job's run up to date; makes one where there is none.

        Raises:
            Partial: the tracking store cannot be written to.
        """
        from mlflow.exceptions import MlflowException

        run = self._runs.of(job)
        recipe = self._recipes.of(job, parts)
        # A run that was never written to its end may lack a part of its recipe, though it is tagged with it.
        begun = run is not None and run.imported is not None and run.import_digest is None
        lacks_recipe = recipe.spec is not None and run is not None and (begun or not run.has_recipe)
        note = "" if job.base_model else "the service does not say which model it was trained from"
        if run is not None and run.imported is not None and run.import_digest == parts.digest(job) and not lacks_recipe:
            return BroughtJob(job, _item(job, "unchanged", run, note), run, recipe)
        happened: Happened = "new" if run is None else "updated"
        if self._write:
            try:
                if run is None and (made := self._runs.made_meanwhile(job)) is not None:
                    return BroughtJob(job, _item(job, "unchanged", made, MEANWHILE), made)
                if run is None:
                    place, experiment = self._tuner.place, self._experiment_of(recipe)
                    run = take_over(job, place, recipe.spec, experiment, {"imported": _now()})
                elif lacks_recipe:
                    assert recipe.spec is not None
                    adopt_recipe(run, recipe.spec)
                _write_job(run, job, parts, self._tuner, recipe.spec)
            except MlflowException as error:
                quote = " ".join(str(error).split())[:LONGEST_QUOTE]
                raise Partial(f"the tracking store cannot be written to ({quote})") from error
        return BroughtJob(job, _item(job, happened, run, note), run, recipe)

    def _experiment_of(self, recipe: KnownRecipe) -> str:
        host = urlsplit(self._tuner.place).netloc or self._tuner.place
        name = recipe.spec.task.name if recipe.spec is not None and recipe.is_of_task else f"imported from {host}"
        if name not in self._experiments:
            self._experiments[name] = experiment_called(name)
        return self._experiments[name]


def _item(job: JobState, happened: Happened, run: TuneRun | None, note: str) -> ImportedItem:
    run_id, version = (None, None) if run is None else (run.run_id, run.version)
    return ImportedItem(
        "job",
        job.id,
        happened,
        run_id,
        version,
        note=note,
        status=job.status,
        base_model=job.base_model,
        created=job.created,
    )


def _write_job(run: TuneRun, state: JobState, parts: JobParts, tuner: Tuner, spec: FineTune | None) -> None:
    """Writes everything; the end of the run comes last, so that a run that has ended is whole."""
    tuned = None
    if state.status == "succeeded" and state.tuned_model is not None:
        own = run.spec() if run.has_recipe and run.imported is None else spec
        tuned = None if own is None else Job(run, state, tuner, own).spec
    record = JobRecord(run.run_id)
    ended = _end_of(state, parts)

    def write() -> None:
        with record.at_once():
            _write_parts(record, run, state, parts, tuner, ended)
        if tuned is not None:
            record.tuned(tuned)
        if state.ended:
            record.end(state.status, at=ended)

    record.settle(write, again=AGAIN)


def _write_parts(record: JobRecord, run: TuneRun, state: JobState, parts: JobParts, tuner: Tuner, ended: float) -> None:
    record.hear(parts.events)
    record.see(state)
    _write_files(record, tuner.place, parts.files)
    record.checkpoints(parts.checkpoints)
    for file, content in parts.results.items():
        record.result(file, content, at=ended)
    if state.ended:
        cost = CostForecast(tuner.estimate, quoted_usd=run.quoted_usd).cost_of_tokens_usd(state, state.trained_tokens)
        record.spent(state.trained_tokens, cost, at=ended)
    missing = "; ".join(one.why for one in parts.missing)
    if missing or not run.is_whole:
        record.tag(import_missing=missing[:LONGEST_TAG])
    if run.imported is not None:
        record.tag(imported=_now(), import_digest=parts.digest(state))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _end_of(state: JobState, parts: JobParts) -> float:
    """When the job ended, by the service's word; else its last event."""
    if state.finished is not None:
        return state.finished
    last = max((event.created for event in parts.events), default=0.0)
    return last or state.created or time.time()


def _write_files(record: JobRecord, place: str, files: Sequence[AccountFile]) -> None:
    """Names the files a job was trained on: as datasets where their content is known, as parameters in any case."""
    for table, file in zip(("training", "validation"), files, strict=False):
        stored = file.stored
        record.tag(**{f"{table}_file": stored.id})
        facts = {"name": stored.name if stored.name != stored.id else None, "bytes": stored.size, "rows": file.lines}
        record.params({f"{table}_file": stored.id})
        record.params({f"{table}_file.{name}": value for name, value in facts.items() if value is not None})
        if file.digest is not None:
            MlflowRun(record.run_id).log_dataset(
                f"{place}/files/{stored.id}", file.digest, file.lines or 0, context=table, name=stored.name
            )
