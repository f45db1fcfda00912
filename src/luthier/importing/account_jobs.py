"""The jobs of an account, page by page: those read before a page fails are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from luthier.accounts import Listed
from luthier.errors import EndpointError
from luthier.tuning.timing import Timing, patiently
from luthier.tuning.tuners.tuner import JobState, PagedAccount, Tuner

__all__ = ["account_jobs"]


def account_jobs(
    tuner: Tuner, timing: Timing, *, since: float | None = None, heard: Callable[[int], None] = lambda count: None
) -> Listed[JobState]:
    """The jobs that an account sees, newest first.

    Args:
        tuner: the service.
        timing: how time passes while a page is asked for again.
        since: Unix time; older jobs are left out, and a list that is sorted is read no further than that.
        heard: is told after each page how many jobs were read.

    Raises:
        EndpointError: not even the first page was given.
    """
    if not isinstance(tuner, PagedAccount):
        return Listed(tuple(job for job in patiently(timing, tuner.listed) if _is_wanted(job, since)))
    found: dict[str, JobState] = {}
    after: str | None = None
    failure: EndpointError | None = None
    while True:
        try:
            page = patiently(timing, partial(tuner.job_page, after))
        except EndpointError as error:
            if not found:
                raise
            failure = error
            break
        new = [job for job in page.jobs if job.id not in found]
        found |= {job.id: job for job in new}
        heard(len(found))
        # Some servers send everything, whatever page they are asked for.
        if page.after is None or not new or _ends_before(page.jobs, since):
            break
        after = page.after
    kept = [job for job in found.values() if _is_wanted(job, since)]
    return Listed(tuple(sorted(kept, key=lambda job: -(job.created or 0.0))), failure)


def _is_wanted(job: JobState, since: float | None) -> bool:
    # A job without a time is shown rather than lost.
    return since is None or job.created is None or job.created >= since


def _ends_before(jobs: Sequence[JobState], since: float | None) -> bool:
    """Whether a page is sorted, newest first, and ends with jobs that are too old: then all further ones are."""
    created = [job.created for job in jobs]
    if since is None or None in created:
        return False
    times = [moment for moment in created if moment is not None]
    return times == sorted(times, reverse=True) and times[-1] < since
