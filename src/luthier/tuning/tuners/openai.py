"""Fine-tuning in OpenAI's protocol: OpenAI, any server that speaks it, and the embedded one."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.providers.proxies import check_proxy_for_sdk
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply
from luthier.replies.cures import stopping_error
from luthier.replies.failures import judge
from luthier.tuning.tuners.records import (
    THEIRS,
    TOKEN,
    carries,
    checkpoint_of,
    created,
    event_of,
    every,
    number,
    pages,
    plain,
    resolved,
    token_of,
)
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    Hyperparameter,
    JobEvent,
    JobNotFound,
    JobState,
    OutcomeUnknown,
    Rules,
    ServiceUnavailable,
    Submission,
    longest_line,
    marked_suffix,
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
"""A file id that exists nowhere: a job with it is refused either for the file, or for want of permission."""

NOT_OFFERED = (404, 405, 501)
"""Statuses of a path that a server does not have."""

PAGE = 100
MILLION = 1_000_000.0
LONGEST_SUFFIX = 64
GONE = "Jobs are listed by: luthier tune list SPEC"


class OpenAITuner:
    """Jobs at one endpoint. The key is read when it is needed and is in no message.

    Args:
        endpoint: where the base model is trained; its model is not used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connected: openai.OpenAI | None = None
        self._token = ""

    @property
    def place(self) -> str:
        """The endpoint's address."""
        return self._endpoint.address

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """As the protocol has them."""
        return HYPERPARAMETERS

    def rules(self, model: str) -> Rules:
        """As OpenAI publishes them; of another server it is not known how long a line may be."""
        known = self._endpoint.provider in ("openai", "azure")
        return Rules(most_tokens_a_line=longest_line(model) if known else None)

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
        if price is not None and price.training_usd_per_million is not None:
            rate = price.training_usd_per_million
            return None if epochs is None and rate else tokens * (epochs or 0) * rate / MILLION
        return 0.0 if self._endpoint.provider == "local" else None

    def admit(self, model: str) -> None:
        """Orders a job whose file does not exist; what it is refused for tells whether another would be taken."""
        if self._endpoint.provider == "local":
            from luthier.providers.local_service import ensure_weights

            ensure_weights(model)
        import openai

        try:
            if self._endpoint.provider not in ("compatible", "local"):
                # Gateways list what answers, which need not be what can be trained; the embedded server names what can.
                self._client().models.retrieve(model)
            with_it = self._client().with_options(max_retries=0).fine_tuning.jobs
            job = with_it.create(model=model, training_file=NO_FILE, metadata={TOKEN: "probe"})
        except (openai.BadRequestError, openai.NotFoundError, openai.UnprocessableEntityError) as error:
            self._may(model, error)
        except openai.PermissionDeniedError as error:
            raise self._closed(model, error) from error
        except openai.OpenAIError as error:
            raise self._translated(error, f"asking whether {model} may be fine-tuned", changes=False) from error
        else:
            # A server that looks at files later has taken it for a real job.
            self.cancel(job.id)

    def find(self, token: str) -> list[JobState]:
        """By metadata; of a server that does not keep any, by the suffix."""
        # Of another server nobody knows what it makes of the filter: every job is looked at.
        narrowed: dict[str, Any] = {} if self._endpoint.provider == "compatible" else {"metadata": {TOKEN: token}}

        def search(client: openai.OpenAI) -> list[JobState]:
            listed = every(client.fine_tuning.jobs.list(limit=PAGE, **narrowed))
            return [self._state(job) for job in listed if carries(job, token)]

        found = self._call(search, "looking for the job")
        # The newest come first, and two of one second are still told apart.
        return sorted(found, key=lambda job: job.created or 0.0, reverse=True)[::-1]

    def upload(self, name: str, content: bytes) -> str:
        """Files are looked for by name, which holds the digest of their content, and size."""

        def present(client: openai.OpenAI) -> str | None:
            for known in every(client.files.list(purpose="fine-tune")):
                same = known.get("filename") == name and known.get("bytes") in (None, len(content))
                if same and known.get("status") not in ("error", "deleted"):
                    return str(known["id"])
            return None

        def create(client: openai.OpenAI) -> str:
            return client.files.create(file=(name, content), purpose="fine-tune").id

        found = self._call(present, f"looking for {name}")
        return found or self._call(create, f"uploading {name}", changes=True)

    def submit(self, submission: Submission) -> JobState:
        """Sent once: the client's own repetition after a timeout could buy a second job."""
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
        """What a submission is in this protocol."""
        given = {THEIRS[name]: value for name, value in submission.hyperparameters.items() if value != "auto"}
        body: dict[str, Any] = {
            "model": submission.model,
            "training_file": submission.training_file,
            "method": {"type": "supervised", "supervised": {"hyperparameters": given}},
            "metadata": {TOKEN: submission.token},
        }
        if submission.validation_file is not None:
            body["validation_file"] = submission.validation_file
        if submission.seed is not None:
            body["seed"] = submission.seed
        suffix = submission.suffix
        if self._endpoint.provider == "compatible":
            # Nobody says whether such a server keeps metadata, so the suffix carries the token too.
            suffix = marked_suffix(suffix, submission.token, LONGEST_SUFFIX)
        if suffix is not None:
            body["suffix"] = suffix
        return body

    def poll(self, job: str) -> JobState:
        """The job now."""
        return self._call(
            lambda client: self._read(client.fine_tuning.jobs.retrieve(job)), f"asking for {job}", job=job
        )

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """Pages are read until one holds nothing new; services list the newest first, some have none."""

        def fetch(client: openai.OpenAI) -> list[JobEvent]:
            found: list[tuple[float, int, JobEvent]] = []
            newest_first = True
            for said in _offered(lambda: pages(client.fine_tuning.jobs.list_events(job, limit=PAGE))):
                newest_first = newest_first and (not said or created(said[0]) >= created(said[-1]))
                new = [event for event in said if str(event.get("id")) not in known]
                found += [(created(event), len(found) + place, event_of(event)) for place, event in enumerate(new)]
                if said and not new and newest_first:
                    break
            sign = -1 if newest_first else 1
            return [event for _, _, event in sorted(found, key=lambda item: (item[0], sign * item[1]))]

        return self._call(fetch, f"reading the events of {job}", job=job)

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """Those the service still has; a server without them has none."""

        def fetch(client: openai.OpenAI) -> list[Checkpoint]:
            kept = _offered(lambda: pages(client.fine_tuning.jobs.checkpoints.list(job, limit=PAGE)))
            return [checkpoint_of(item) for page in kept for item in page]

        return sorted(self._call(fetch, f"reading the checkpoints of {job}", job=job), key=lambda kept: kept.step)

    def cancel(self, job: str) -> JobState:
        """Asks for its end; a job that has ended already is as it is."""
        return self._change(job, lambda client: client.fine_tuning.jobs.cancel(job), "cancelling")

    def pause(self, job: str) -> JobState:
        """Asks it to pause."""
        return self._change(job, lambda client: client.fine_tuning.jobs.pause(job), "pausing")

    def resume(self, job: str) -> JobState:
        """Asks it to go on."""
        return self._change(job, lambda client: client.fine_tuning.jobs.resume(job), "resuming")

    def listed(self) -> list[JobState]:
        """Every job the account sees, newest first."""

        def fetch(client: openai.OpenAI) -> list[JobState]:
            return [self._state(job) for job in every(client.fine_tuning.jobs.list(limit=PAGE))]

        return sorted(self._call(fetch, "listing the jobs"), key=lambda job: -(job.created or 0.0))

    def result(self, file: str) -> bytes:
        """The content, unpacked where a service sends base64."""
        return plain(self._call(lambda client: client.files.content(file).content, f"fetching {file}"))

    def endpoint(self, model: str) -> Endpoint:
        """The same endpoint, asked for the tuned model."""
        return self._endpoint.model_copy(update={"model": model})

    def close(self) -> None:
        """Closes the connections."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _client(self) -> openai.OpenAI:
        if self._connected is None:
            import openai

            endpoint = self._endpoint
            if endpoint.provider == "local":
                from luthier.providers.local_service import attach

                service = attach()
                self._token = service.token
                # Loopback: a proxy the environment names could not reach it.
                past_proxies = openai.DefaultHttpxClient(trust_env=False)
                self._connected = openai.OpenAI(
                    base_url=service.base_url, api_key=service.token, http_client=past_proxies
                )
            else:
                check_proxy_for_sdk(endpoint.address)
                self._connected = openai.OpenAI(
                    base_url=endpoint.address, api_key=endpoint.key() or "none", timeout=endpoint.timeout_seconds
                )
            weakref.finalize(self, self._connected.close)
        return self._connected

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (*self._endpoint.secrets(), *((self._token,) if self._token else ()))

    def _call(
        self, ask: Callable[[openai.OpenAI], Result], doing: str, *, changes: bool = False, job: str | None = None
    ) -> Result:
        """Asks; what goes wrong becomes an error of ours. What changes something is never sent twice."""
        import openai

        # What changes something is sent once; for the rest, who asks has a patience of its own.
        client = self._client().with_options(max_retries=0)
        try:
            return ask(client)
        except openai.OpenAIError as error:
            if self._endpoint.provider == "local":
                # It may have been started anew, with another port and token.
                self.close()
            raise self._translated(error, doing, changes=changes, job=job) from error

    def _change(self, job: str, ask: Callable[[openai.OpenAI], Any], doing: str) -> JobState:
        import openai

        try:
            return self._call(lambda client: self._read(ask(client)), f"{doing} {job}", changes=True, job=job)
        except EndpointError as error:
            refused = isinstance(error.__cause__, openai.BadRequestError | openai.ConflictError)
            if not refused or isinstance(error, ServiceUnavailable):
                raise
            now = self.poll(job)
            if now.ended:
                return now
            raise

    def _translated(
        self, error: openai.OpenAIError, doing: str, *, changes: bool, job: str | None = None
    ) -> EndpointError:
        import httpx2
        import openai

        where = self._endpoint.address
        said = redact(str(error).splitlines()[0] if str(error) else type(error).__name__, self._secrets)
        if isinstance(error, openai.APIConnectionError):
            never_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
            kind = OutcomeUnknown if changes and not never_sent else ServiceUnavailable
            return kind(f"{where} did not answer ({doing}): {said}")
        if not isinstance(error, openai.APIStatusError):
            return (OutcomeUnknown if changes else ServiceUnavailable)(
                f"{where} answered something unreadable ({doing}): {said}"
            )
        reply = Reply(error.status_code, dict(error.response.headers), error.response.content, 0.0)
        verdict = judge(reply, self._secrets)
        if verdict.cause is not None and verdict.cause not in ("unknown_model", "wrong_address"):
            return stopping_error(verdict, self._endpoint)
        if verdict.kind in ("rate_limit", "transient"):
            # After a 429 nothing has happened; after anything else from 500 up it may have.
            kind = OutcomeUnknown if changes and error.status_code != 429 else ServiceUnavailable
            return kind(f"{where} is not able to answer just now ({doing}): {verdict.message}")
        if error.status_code == 404 and job is not None and _is_missing(error):
            return JobNotFound(f"{where} has no job {job!r} ({verdict.message}). {GONE}")
        if error.status_code in (404, 405):
            return EndpointError(f"{where} does not offer this ({doing}): {verdict.message}")
        return EndpointError(f"{where} refused ({doing}): {verdict.message}")

    def _may(self, model: str, error: openai.APIStatusError) -> None:
        """Reads why a job with a file that does not exist was refused."""
        param = str(_error_of(error).get("param") or "")
        said = redact(str(_error_of(error).get("message") or error), self._secrets)
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
        said = judge(Reply(error.status_code, {}, error.response.content, 0.0), self._secrets).message
        return EndpointError(
            f"{self._endpoint.address} does not let this account fine-tune {model} ({said}). {self._why_closed} "
            f"Nothing was uploaded. {ALTERNATIVES}"
        )

    def _read(self, job: Any) -> JobState:
        return self._state(job.to_dict())

    def _state(self, job: Mapping[str, Any]) -> JobState:
        error = job.get("error") or {}
        said = error.get("message") if isinstance(error, Mapping) else str(error)
        files = (job.get("training_file"), job.get("validation_file"))
        return JobState(
            id=str(job["id"]),
            status=str(job.get("status") or "unknown"),
            base_model=str(job.get("model") or ""),
            tuned_model=job.get("fine_tuned_model") or None,
            hyperparameters=resolved(job),
            trained_tokens=job.get("trained_tokens"),
            error=redact(str(said), self._secrets) if said else None,
            created=number(job.get("created_at")),
            finished=number(job.get("finished_at")),
            estimated_finish=number(job.get("estimated_finish")),
            result_files=tuple(str(file) for file in job.get("result_files") or ()),
            token=token_of(job),
            files=tuple(str(file) for file in files if file),
            seed=job.get("seed"),
        )


CLOSED = (
    "OpenAI has closed self-serve fine-tuning: to newcomers on 2026-05-07, to organisations that had not used it on "
    "2026-07-02, and to all on 2027-01-06."
)

ALTERNATIVES = (
    "What can be done instead: another service (provider: azure, or compatible with its base_url), the embedded "
    "server (provider: local), or a technique that trains at no service: embedding, or prompt with examples."
)


def _offered(ask: Callable[[], Iterator[list[dict[str, Any]]]]) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list; none at a server that has no such list, which is no reason to leave a job alone."""
    import openai

    try:
        yield from ask()
    except openai.APIStatusError as error:
        if error.status_code not in NOT_OFFERED:
            raise


def _error_of(error: openai.APIStatusError) -> Mapping[str, Any]:
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        return inner if isinstance(inner, Mapping) else {"message": inner}
    return {"message": json.dumps(body)} if body is not None else {}


def _is_missing(error: openai.APIStatusError) -> bool:
    """Whether a 404 is about the job and not about the path: a server that knows the path says something of jobs."""
    said = str(_error_of(error).get("message") or "")
    # A path that is not known is often repeated, and has jobs in it.
    return re.search(r"job|fine", said, re.I) is not None and not re.search(r"\burl\b", said, re.I)
