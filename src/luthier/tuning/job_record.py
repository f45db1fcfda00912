"""What a service says of a job, written into the job's run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import Partial
from luthier.spec import Fitted
from luthier.techniques.finetune import FineTune
from luthier.tracking.runs import MlflowRun, spec_tags
from luthier.tuning.job_figures import Point, metric_key, points_of
from luthier.tuning.job_runs import TUNE_TAGS
from luthier.tuning.tuners.tuner import Checkpoint, JobEvent, JobState

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

__all__ = ["LONGEST_QUOTE", "LONGEST_TAG", "JobRecord"]

EVENTS = "tune/events.jsonl"

CHECKPOINTS = "tune/checkpoints.json"

RESULTS = "tune/results"

LONGEST_TAG = 1000

MOST_TRIES = 5

LONGEST_QUOTE = 300
"""Characters quoted of an error of the tracking store, which contains whole SQL statements."""

RUN_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


@dataclass
class _Held:
    """What waits to be written together."""

    metrics: list[Metric]
    params: list[Param]
    tags: list[RunTag]


class JobRecord:
    """Writes what a service says of a job into the job's run; what is said twice is written once."""

    def __init__(self, run_id: str) -> None:
        import mlflow

        self.run_id = run_id
        self.events: list[JobEvent] = []
        self._client = mlflow.MlflowClient()
        self._checkpoints = ""
        self._held: _Held | None = None
        self._read()

    def _read(self) -> None:
        run = self._client.get_run(self.run_id)
        self._tags = dict(run.data.tags)
        self._params = dict(run.data.params)
        self._logged = {
            (name, point.step)
            for name in run.data.metrics
            for point in self._client.get_metric_history(self.run_id, name)
        }

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Tags, parameters and metrics written inside go to the store together: it waits for its disk in each write."""
        before, self._held = self.events, _Held([], [], [])
        try:
            yield
            held, self._held = self._held, None
            self._send(held.metrics, held.params, held.tags)
        except BaseException:
            self.events = before
            raise
        finally:
            self._held = None

    def _send(self, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
        if self._held is not None:
            self._held.metrics.extend(metrics)
            self._held.params.extend(params)
            self._held.tags.extend(tags)
        elif metrics or params or tags:
            self._client.log_batch(self.run_id, metrics, params, tags)

    def settle(self, write: Callable[[], None], *, again: str | None = None) -> None:
        """Writes; on a conflict reads the run and writes again, as another watch may have written the same just then.

        Args:
            write: may be called several times.
            again: what to type once the store can be written to; attaching to the job when absent.

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
                    quote = " ".join(str(error).split())[:LONGEST_QUOTE]
                    why = f"the tracking store cannot be written to ({quote})"
                    if again is not None:
                        raise Partial(f"{why}. When this is solved: {again}") from error
                    raise Partial(
                        f"{why}. Watching job {job} ended, the job did not. When this is solved, nothing of it is "
                        f"missing after: luthier tune attach {job}"
                    ) from error
                # Where it cannot be read either, the next try says so.
                with suppress(MlflowException):
                    self._read()

    def tag(self, **tags: str | None) -> None:
        """Sets the tags that changed, by their short names."""
        from mlflow.entities import RunTag

        new = {TUNE_TAGS[name]: value for name, value in tags.items() if value is not None}
        new = {key: value for key, value in new.items() if self._tags.get(key) != value}
        if new:
            self._send(tags=[RunTag(name, value) for name, value in new.items()])
            self._tags |= new

    def hear(self, events: Sequence[JobEvent]) -> list[JobEvent]:
        """Writes the events that are new, and returns them: metrics at their steps, and everything in an artifact."""
        written = {event.id for event in self.events}
        new = [event for event in events if event.id not in written]
        if new:
            self._log(
                (name, value, event.created, event.step)
                for event in new
                if event.step is not None
                for name, value in event.metrics.items()
            )
            known = [*self.events, *new]
            lines = "".join(json.dumps(asdict(event), ensure_ascii=False) + "\n" for event in known)
            self._client.log_text(self.run_id, lines, EVENTS)
            # Only now: what could not be written is written the next time.
            self.events = known
        return new

    def see(self, job: JobState) -> None:
        """Writes the job's status, its settings as the service resolved them, and the result's name."""
        # A job that is alive may say what it waits for; that is no failure, and passes.
        error = job.error[:LONGEST_TAG] if job.error and job.ended else None
        self.tag(job=job.id, job_status=job.status, tuned_model=job.tuned_model, job_error=error)
        settings = {f"resolved.{name}": value for name, value in job.hyperparameters.items() if value != "auto"}
        self.params(settings | ({} if job.seed is None else {"resolved.seed": job.seed}))

    def params(self, settings: Mapping[str, Any]) -> None:
        """Logs the parameters that the run lacks; those it has never change."""
        from mlflow.entities import Param

        new = {name: str(value) for name, value in settings.items() if name not in self._params}
        if new:
            self._send(params=[Param(name, value) for name, value in new.items()])
            self._params |= new

    def checkpoints(self, kept: Sequence[Checkpoint]) -> None:
        """Writes the list of checkpoints."""
        document = json.dumps([asdict(checkpoint) for checkpoint in kept], indent=1)
        if kept and document != self._checkpoints:
            self._client.log_text(self.run_id, document, CHECKPOINTS)
            self._checkpoints = document

    def result(self, file: str, content: bytes, at: float | None = None) -> None:
        """Writes a result file, and those of its figures that no event reported.

        Args:
            file: the service's id of it.
            content: of the file.
            at: Unix time of the figures; that of the last event when absent.
        """
        text = content.decode("utf-8-sig", "replace")
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", file)
        self._client.log_text(self.run_id, text, f"{RESULTS}/{name}.csv")
        last = self.events[-1].created if self.events else time.time()
        self._log(points_of(text, last if at is None else at))

    def quote(self, usd: float) -> None:
        """Writes the price that the service named before the job was bought."""
        self._log([("quoted_usd", usd, time.time(), 0)])
        self.tag(quoted_usd=repr(usd))

    @property
    def quoted_usd(self) -> float | None:
        """The price that the service named before the job was bought."""
        told = self._tags.get(TUNE_TAGS["quoted_usd"])
        return float(told) if told else None

    def spent(self, trained_tokens: int | None, cost_usd: float | None, at: float | None = None) -> None:
        """Writes what was trained and what it cost; an unknown price is no number.

        Args:
            trained_tokens: that are paid for.
            cost_usd: US dollars; `None` when unknown, which is not 0.
            at: Unix time; now when absent.
        """
        figures = {"trained_tokens": trained_tokens, "cost_usd": cost_usd}
        moment = time.time() if at is None else at
        self._log((name, float(value), moment, 0) for name, value in figures.items() if value is not None)
        self.tag(cost="unknown" if cost_usd is None else "known")

    def tuned(self, spec: FineTune) -> None:
        """Writes the tuned spec as what this run made, so that it can be packaged from here."""
        MlflowRun(self.run_id).log_tags(spec_tags(spec))
        if not spec.needs_training:
            MlflowRun(self.run_id).log_fitted(Fitted(spec=spec))

    def fail(self, status: str, why: object) -> None:
        """Ends the run of a job that the service refused (`refused`) or does not know any more (`gone`)."""
        self.tag(job_status=status, job_error=str(why)[:LONGEST_TAG])
        self.end("failed")

    def end(self, status: str, at: float | None = None) -> None:
        """Ends the run as the job ended; at this Unix time, now when absent."""
        moment = None if at is None else int(at * 1000)
        self._client.set_terminated(self.run_id, RUN_STATUS.get(status, "FAILED"), moment)

    def _log(self, points: Iterable[Point]) -> None:
        from mlflow.entities import Metric

        new: dict[tuple[str, int], Metric] = {}
        for name, value, created, step in points:
            key = (metric_key(name), step)
            if key not in self._logged:
                # The service's own time: two watches of one job write the very same point, and the store has it once.
                new[key] = Metric(key[0], value, int(created * 1000), step)
        if new:
            self._send(metrics=list(new.values()))
        self._logged |= set(new)
