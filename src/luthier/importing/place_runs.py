"""The runs that the tracking store has of an account's jobs, so that none is made twice."""

from __future__ import annotations

from luthier.tuning.job_runs import TuneRun, runs_at
from luthier.tuning.tuners.tuner import JobState
from luthier.tuning.watch_lock import is_watched

__all__ = ["PlaceRuns"]

WATCHED = "watched now on this machine, and left to its watch"


class PlaceRuns:
    """Runs by job.

    Args:
        place: address of the account.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._by_job: dict[str, TuneRun] = {}
        self._by_token: dict[str, TuneRun] = {}
        # Where a job has two runs, the one that bought it counts.
        for run in sorted(runs_at(place), key=lambda run: run.imported is not None):
            if run.job is not None:
                self._by_job.setdefault(run.job, run)
            elif run.pending:
                # Its process died before the service's answer came.
                self._by_token.setdefault(run.token, run)

    def of(self, job: JobState) -> TuneRun | None:
        """The run of a job, if there is one."""
        return self._by_job.get(job.id) or (None if job.token is None else self._by_token.get(job.token))

    def made_meanwhile(self, job: JobState) -> TuneRun | None:
        """The run that an import on another machine has made of a job since this object was made, if there is one."""
        # No condition of a search can hold a quotation mark.
        return None if "'" in job.id else next(iter(runs_at(self._place, job.id)), None)

    def why_left(self, job: JobState, *, wants_recipe: bool = False) -> str | None:
        """Why nothing needs to be read of a job, empty where its run is whole; `None` where it must be read.

        Args:
            job: as the service lists it.
            wants_recipe: whether a run that lacks its recipe is not whole.
        """
        run = self.of(job)
        if run is None:
            return None
        if is_watched(run.run_id):
            return WATCHED
        ended = run.status != "RUNNING"
        if run.imported is None:
            return "" if ended else None
        is_whole = run.is_whole and (run.has_recipe or not wants_recipe)
        return "" if ended and job.ended and is_whole else None
