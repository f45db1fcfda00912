"""Fine-tuning in OpenAI's protocol: OpenAI, any server that speaks it, and the embedded one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.providers.redaction import redact
from luthier.providers.sdk_client import SdkClient, pages
from luthier.replies.failures import Verdict
from luthier.replies.sdk_errors import judged, translated
from luthier.tuning.tuners.records import THEIRS, TOKEN, checkpoint_of, event_of, plain, state_of
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    Hyperparameter,
    JobEvent,
    JobNotFound,
    JobPage,
    JobState,
    Rules,
    ServiceUnavailable,
    StoredFile,
    Submission,
    longest_line,
    marked_suffix,
    training_usd,
)

if TYPE_CHECKING:
    import openai

__all__ = ["OpenAITuner"]

Result = TypeVar("Result")

HYPERPARAMETERS = (
    Hyperparameter("epochs", "integer", 1, 50),
    Hyperparameter("batch_size", "integer", 1, 256),
    Hyperparameter("learning_rate_multiplier", "real", 0, None),
)

NO_FILE = "file-luthier-asks-whether-it-may"
"""A file id that exists nowhere: a job on it is refused for the file, or because the account may not fine-tune."""

MOST_ANSWERS = 512
"""Different answers that a model of the embedded server chooses among; `luthier_local` refuses a file with more."""

NOT_OFFERED = (404, 405, 501)
"""Statuses of a path that a server does not have."""

PAGE = 100
LONGEST_SUFFIX = 64

PARALLEL_JOBS = 3
"""Active and queued jobs of an organisation for one model, unless OpenAI has raised it: what an organisation has is on
its limits page and at `GET /v1/fine_tuning/model_limits`. A further job is refused with status 429, as is one above
the limit of jobs a day (code `daily_rate_limit_exceeded`)."""

GONE = "Jobs are listed by: luthier tune list SPEC"


class OpenAITuner:
    """Jobs at one endpoint. The key is read when it is needed and is in no message.

    Args:
        endpoint: where the base model is trained; its model is not used.
        credential: of azure-identity, for `auth: entra`; `DefaultAzureCredential` when absent.
    """

    def __init__(self, endpoint: Endpoint, *, credential: Any = None) -> None:
        self._endpoint = endpoint
        self._sdk = SdkClient(endpoint, credential)

    @property
    def place(self) -> str:
        """The endpoint's address."""
        return self._endpoint.address

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """As the protocol has them."""
        return HYPERPARAMETERS

    def rules(self, model: str) -> Rules:
        """As OpenAI publishes them; of another server it is not known how long a line may be."""
        if self._endpoint.provider == "local":
            return Rules(pauses=True, most_answers=MOST_ANSWERS)
        if self._endpoint.provider != "openai":
            return Rules(pauses=True)
        return Rules(most_tokens_a_line=longest_line(model), parallel_jobs=PARALLEL_JOBS, pauses=True)

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """What was asked, else by the rule OpenAI publishes: three, more for few rows, fewer for many."""
        if asked != "auto":
            return int(asked)
        if self._endpoint.provider != "openai":
            return None
        if rows * 3 < 100:
            return min(25, max(1, 100 // max(1, rows)))
        return 3 if rows * 3 <= 25_000 else max(1, 25_000 // rows)

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """By the endpoint's own training price; no list has any. The embedded server costs nothing."""
        price = self._endpoint.price
        if self._endpoint.provider == "local" and (price is None or price.training_usd_per_million is None):
            return 0.0
        return training_usd(price, tokens, epochs)

    def admit(self, model: str) -> None:
        """Submits a job on a file that does not exist: what it is refused for tells whether another would be taken."""
        if self._endpoint.provider == "local":
            from luthier.providers.local_service import ensure_weights

            ensure_weights(model)
        import openai

        try:
            if self._endpoint.provider not in ("compatible", "local"):
                # Gateways list what answers, which need not be what can be trained; the embedded server names what can.
                self._client().models.retrieve(model)
            jobs = self._client().fine_tuning.jobs
            job = jobs.create(model=model, training_file=NO_FILE, metadata={TOKEN: "probe"})
        except (openai.BadRequestError, openai.NotFoundError, openai.UnprocessableEntityError) as error:
            self._check_probe(model, error)
        except openai.PermissionDeniedError as error:
            raise self._closed(model, error) from error
        except openai.OpenAIError as error:
            raise self._translated(error, f"asking whether {model} may be fine-tuned", changes=False) from error
        else:
            # A server that looks at files later has taken it for a real job.
            self.cancel(job.id)

    def find(self, token: str) -> list[JobState]:
        """By metadata; where those may not be kept, by the suffix or the result's name."""
        # What another server makes of the filter is not known: there every job is looked at.
        filters = {"metadata": {TOKEN: token}} if self._endpoint.provider in ("openai", "local") else {}
        found = [job for job in self._list("looking for the job", filters) if job.token == token]
        # Services list the newest first; of two jobs of one second the later in the list is the older.
        return sorted(found, key=lambda job: job.created or 0.0, reverse=True)[::-1]

    def upload(self, name: str, content: bytes) -> str:
        """Files are looked for by size and by name, which holds the digest of their content."""

        def present(client: openai.OpenAI) -> str | None:
            for known in chain.from_iterable(pages(client.files.list(purpose="fine-tune"))):
                same = known.get("filename") == name and known.get("bytes") in (None, len(content))
                if same and known.get("status") not in ("error", "deleted"):
                    return str(known["id"])
            return None

        def create(client: openai.OpenAI) -> str:
            return client.files.create(file=(name, content), purpose="fine-tune").id

        found = self._call(present, f"looking for {name}")
        return found or self._call(create, f"uploading {name}", changes=True)

    def submit(self, submission: Submission) -> JobState:
        """Sent once: a retry by the client after a timeout could buy a second job."""
        body = self._body(submission)
        import openai

        try:
            return self._call(
                lambda client: self._read(client.fine_tuning.jobs.create(**body)), "submitting", changes=True
            )
        except EndpointError as error:
            if isinstance(error.__cause__, openai.PermissionDeniedError):
                raise self._closed(submission.model, error.__cause__) from error.__cause__
            raise

    def _body(self, submission: Submission) -> dict[str, Any]:
        """The request body of a submission."""
        given = {THEIRS[name]: value for name, value in submission.hyperparameters.items() if value != "auto"}
        suffix = submission.suffix
        if self._endpoint.provider == "compatible":
            # Such a server may not keep metadata, so the suffix carries the token too.
            suffix = marked_suffix(suffix, submission.token, LONGEST_SUFFIX)
        optional = {"validation_file": submission.validation_file, "seed": submission.seed, "suffix": suffix}
        return {
            "model": submission.model,
            "training_file": submission.training_file,
            "method": {"type": "supervised", "supervised": {"hyperparameters": given}},
            "metadata": {TOKEN: submission.token},
        } | {name: value for name, value in optional.items() if value is not None}

    def poll(self, job: str) -> JobState:
        """The job now."""
        return self._call(
            lambda client: self._read(client.fine_tuning.jobs.retrieve(job)), f"asking for {job}", job=job
        )

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """Pages are read until one holds nothing new; services list the newest first, some have none."""

        def fetch(client: openai.OpenAI) -> list[JobEvent]:
            found: list[JobEvent] = []
            newest_first = True
            for items in _offered(lambda: pages(client.fine_tuning.jobs.list_events(job, limit=PAGE))):
                page = [event_of(item) for item in items]
                newest_first = newest_first and (not page or page[0].created >= page[-1].created)
                new = [event for event in page if event.id not in known]
                found += new
                if page and not new and newest_first:
                    break
            # Sorting is stable: events of one second stay in the service's order.
            return sorted(reversed(found) if newest_first else found, key=lambda event: event.created)

        return self._call(fetch, f"reading the events of {job}", job=job)

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """Those the service still has; a server without them has none."""

        def fetch(client: openai.OpenAI) -> list[Checkpoint]:
            kept = _offered(lambda: pages(client.fine_tuning.jobs.checkpoints.list(job, limit=PAGE)))
            return [checkpoint_of(item) for page in kept for item in page]

        return sorted(self._call(fetch, f"reading the checkpoints of {job}", job=job), key=lambda kept: kept.step)

    def cancel(self, job: str) -> JobState:
        """Asks the service to cancel a job; one that has ended already is returned as it is."""
        return self._change(job, lambda client: client.fine_tuning.jobs.cancel(job), "cancelling")

    def pause(self, job: str) -> JobState:
        """Asks the service to pause a job."""
        return self._change(job, lambda client: client.fine_tuning.jobs.pause(job), "pausing")

    def resume(self, job: str) -> JobState:
        """Asks the service to resume a job."""
        return self._change(job, lambda client: client.fine_tuning.jobs.resume(job), "resuming")

    def listed(self) -> list[JobState]:
        """Every job the account sees, newest first."""
        return sorted(self._list("listing the jobs"), key=lambda job: -(job.created or 0.0))

    def job_page(self, after: str | None = None) -> JobPage:
        """The newest jobs, or those that follow a page."""

        def fetch(client: openai.OpenAI) -> JobPage:
            from openai import omit

            page = client.fine_tuning.jobs.list(limit=PAGE, after=omit if after is None else after)
            jobs = tuple(self._state(job.to_dict()) for job in page.data)
            return JobPage(jobs, jobs[-1].id if jobs and page.has_next_page() else None)

        return self._call(fetch, "listing the jobs")

    def stored_file(self, file: str) -> StoredFile:
        """Name and size, as the list of files has them."""
        known = self._call(lambda client: client.files.retrieve(file).to_dict(), f"looking at {file}")
        return StoredFile(file, str(known.get("filename") or file), _size(known.get("bytes")))

    def result(self, file: str) -> bytes:
        """The content, unpacked where a service sends base64."""
        return plain(self._call(lambda client: client.files.content(file).content, f"fetching {file}"))

    def endpoint(self, model: str) -> Endpoint:
        """The same endpoint, asked for the tuned model."""
        return self._endpoint.model_copy(update={"model": model})

    def close(self) -> None:
        """Closes the connections."""
        self._sdk.close()

    def _client(self) -> openai.OpenAI:
        return self._sdk.connected()

    @property
    def _secrets(self) -> tuple[str, ...]:
        return self._sdk.secrets

    def _list(self, doing: str, filters: Mapping[str, Any] | None = None) -> list[JobState]:
        def fetch(client: openai.OpenAI) -> list[JobState]:
            listed = pages(client.fine_tuning.jobs.list(limit=PAGE, **(filters or {})))
            return [self._state(job) for page in listed for job in page]

        return self._call(fetch, doing)

    def _call(
        self, ask: Callable[[openai.OpenAI], Result], doing: str, *, changes: bool = False, job: str | None = None
    ) -> Result:
        """Asks once; what goes wrong becomes an error of Luthier's. The caller decides whether to ask again."""
        import openai

        try:
            return ask(self._client())
        except openai.OpenAIError as error:
            if self._endpoint.provider == "local":
                # The server may have been restarted, with another port and token.
                self.close()
            raise self._translated(error, doing, changes=changes, job=job) from error

    def _change(self, job: str, ask: Callable[[openai.OpenAI], Any], doing: str) -> JobState:
        import openai

        try:
            return self._call(lambda client: self._read(ask(client)), f"{doing} {job}", changes=True, job=job)
        except EndpointError as error:
            refused = isinstance(error.__cause__, openai.BadRequestError | openai.ConflictError)
            if refused and not isinstance(error, ServiceUnavailable) and (now := self.poll(job)).ended:
                return now
            raise

    def _translated(
        self, error: openai.OpenAIError, doing: str, *, changes: bool, job: str | None = None
    ) -> EndpointError:
        """What an error of the client means; one about a job that the service does not know is told apart."""
        import openai

        if isinstance(error, openai.NotFoundError) and job is not None:
            message = self._judged(error).message
            # A server that knows the path speaks of jobs; one that does not may repeat the path, which has jobs in it.
            if re.search(r"job|fine", message, re.I) and not re.search(r"\burl\b", message, re.I):
                return JobNotFound(f"{self._endpoint.address} has no job {job!r} ({message}). {GONE}")
        return translated(error, self._endpoint, self._secrets, doing, changes=changes)

    def _judged(self, error: openai.APIStatusError) -> Verdict:
        return judged(error, self._secrets)

    def _check_probe(self, model: str, error: openai.APIStatusError) -> None:
        """Reads why a job with a file that does not exist was refused; for its file is well."""
        said, param = self._judged(error).message, str(error.param or "")
        if "training_file" in param or NO_FILE in said or re.search(r"\bfile\b", said, re.I):
            return
        if param == "model" or re.search(r"\bmodel\b", said, re.I):
            raise EndpointError(
                f"{self._endpoint.address} does not fine-tune {model!r} ({said}). "
                "Nothing was uploaded. Correct `model:` in the spec's endpoint."
            ) from error
        if error.status_code == 404:
            raise EndpointError(
                f"{self._endpoint.address} does not offer fine-tuning (status 404: {said}). Nothing was uploaded. "
                f"{ALTERNATIVES}"
            ) from error

    @property
    def _why_closed(self) -> str:
        return CLOSED if self._endpoint.provider == "openai" else "Ask the operator of that server."

    def _closed(self, model: str, error: openai.APIStatusError) -> EndpointError:
        return EndpointError(
            f"{self._endpoint.address} does not let this account fine-tune {model} ({self._judged(error).message}). "
            f"{self._why_closed} Nothing was uploaded. {ALTERNATIVES}"
        )

    def _read(self, job: Any) -> JobState:
        return self._state(job.to_dict())

    def _state(self, job: Mapping[str, Any]) -> JobState:
        state = state_of(job)
        return replace(state, error=redact(state.error, self._secrets) if state.error else None)


CLOSED = (
    "OpenAI has closed self-serve fine-tuning: to newcomers on 2026-05-07, to organisations that had not used it on "
    "2026-07-02, and to all on 2027-01-06."
)

ALTERNATIVES = (
    "What can be done instead: another service (provider: azure, or compatible with its base_url), the embedded "
    "server (provider: local), or a technique that trains at no service: embedding, or prompt with examples."
)


def _size(told: Any) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _offered(ask: Callable[[], Iterator[list[dict[str, Any]]]]) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list; none where a server has no such list, which is no reason to stop watching a job."""
    import openai

    try:
        yield from ask()
    except openai.APIStatusError as error:
        if error.status_code not in NOT_OFFERED:
            raise
