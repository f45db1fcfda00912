"""The protocol of a fine-tuning service, and its records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from luthier.errors import EndpointError
from luthier.model_names import parse_model_name
from luthier.providers.endpoint import Endpoint, Price
from luthier.replies.sdk_errors import OutcomeUnknown, ServiceUnavailable

__all__ = [
    "ENDED",
    "PAUSED",
    "ServiceUnavailable",
    "Checkpoint",
    "JobEvent",
    "JobPage",
    "JobState",
    "Hyperparameter",
    "JobNotFound",
    "PagedAccount",
    "Quotes",
    "Submission",
    "Rules",
    "StoredFile",
    "Tuner",
    "OutcomeUnknown",
    "billed_by_the_hour",
    "longest_line",
    "marked_suffix",
    "training_usd",
]

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses of jobs that never change again. With any other status, known or not, a job is alive."""

PAUSED = "paused"
MILLION = 1_000_000.0

LONGEST_LINE = {
    "gpt-4.1-nano": 32_768,
    "gpt-4.1-mini": 65_536,
    "gpt-4.1": 65_536,
    "gpt-4o-mini": 65_536,
    "gpt-4o": 65_536,
    "gpt-3.5-turbo": 16_385,
}
"""Most tokens of one training line by family of OpenAI's models. Services cut the rest off at the end."""


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of a job and its bounds.

    Attributes:
        name: as in `tuning:` of a spec.
        kind: whole numbers, real ones, or one of `options`.
        low: smallest value; 0 itself is out of bounds for real ones, unless `zero` is set.
        high: largest value; `None` where the service names none.
        default: what the service uses unless told otherwise.
        options: the values of a choice.
        zero: whether 0 is allowed where `low` is 0.
    """

    name: str
    kind: Literal["integer", "real", "choice"]
    low: float = 0
    high: float | None = None
    default: Any = "auto"
    options: tuple[Any, ...] = ()
    zero: bool = False


@dataclass(frozen=True)
class Rules:
    """What a service accepts, as far as it is known beforehand.

    Attributes:
        least_examples: fewest training lines.
        most_bytes: largest file.
        most_tokens_a_line: longer lines are cut; `None` where no limit is known.
        training_types: values of `tuning.training_type`; empty where there is no choice.
        parallel_jobs: most jobs of one account at a time; `None` where no limit is known.
        pauses: whether jobs can be paused and go on later.
        most_answers: different answers, for a model that chooses among those it was trained on; `None` where a model
            writes its own.
    """

    least_examples: int = 10
    most_bytes: int | None = 512_000_000
    most_tokens_a_line: int | None = None
    training_types: tuple[str, ...] = ()
    parallel_jobs: int | None = None
    pauses: bool = False
    most_answers: int | None = None


@dataclass(frozen=True)
class Submission:
    """What is sent to buy a job.

    Attributes:
        model: the base model.
        training_file: the service's id of the uploaded training lines.
        validation_file: likewise; `None` without validation rows.
        hyperparameters: by the names of a spec; `auto` leaves one to the service.
        seed: of the job.
        suffix: part of the result's name.
        token: sent along so that the job can be found again.
        training_type: where the job is trained and at what price, at services with a choice.
    """

    model: str
    training_file: str
    validation_file: str | None
    hyperparameters: Mapping[str, Any]
    seed: int | None
    suffix: str | None
    token: str
    training_type: str | None = None


@dataclass(frozen=True)
class JobState:
    """A job as the service reports it.

    Attributes:
        id: the service's name for it.
        status: the service's word; see `ENDED`.
        base_model: what is trained.
        tuned_model: the result; `None` before there is one.
        hyperparameters: by the names of a spec, as the service resolved them; `auto` until it has.
        trained_tokens: tokens that are paid for; `None` until they are known.
        error: why it failed, or what it waits for.
        created: Unix time.
        estimated_finish: Unix time, where the service estimates one.
        result_files: ids of files with its metrics.
        token: the token it was submitted with.
        files: ids of its training and validation files.
        seed: the job's seed.
        billed_usd: US dollars the service says it charges; `None` where it does not say, or not yet.
        quoted_usd: price of the whole job in US dollars, where the service names it; `None` is not 0.
        finished: Unix time of its end; `None` before that, and where the service does not say.
        suffix: what its owner gave for the result's name.
    """

    id: str
    status: str
    base_model: str
    tuned_model: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    trained_tokens: int | None = None
    error: str | None = None
    created: float | None = None
    estimated_finish: float | None = None
    result_files: tuple[str, ...] = ()
    token: str | None = None
    files: tuple[str, ...] = ()
    seed: int | None = None
    billed_usd: float | None = None
    quoted_usd: float | None = None
    finished: float | None = None
    suffix: str | None = None

    @property
    def said(self) -> str:
        """The status as a predicate: `has succeeded`, `was cancelled`, `is running`."""
        ended = {"succeeded": "has succeeded", "failed": "has failed", "cancelled": "was cancelled"}
        return ended.get(self.status, f"is {self.status.replace('_', ' ')}")

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in ENDED


@dataclass(frozen=True)
class JobEvent:
    """A message of the service about a job.

    Attributes:
        id: unique within the job.
        created: Unix time.
        message: for people.
        step: the training step it is about, if any.
        metrics: figures at that step, by the service's names.
        total_steps: number of steps the job will have, where the service says so.
        level: `info`, `warn` or `error`.
    """

    id: str
    created: float
    message: str
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    total_steps: int | None = None
    level: str = "info"


@dataclass(frozen=True)
class Checkpoint:
    """A model that the job saved while it trained.

    Attributes:
        step: the training step.
        model: the name it answers by.
        metrics: figures at that step, by the service's names.
    """

    step: int
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JobPage:
    """Some jobs of an account's list, newest first.

    Attributes:
        jobs: of this page.
        after: what the next page is asked for with; `None` where this is the last.
    """

    jobs: Sequence[JobState]
    after: str | None = None


@dataclass(frozen=True)
class StoredFile:
    """A file of an account.

    Attributes:
        id: the service's name for it.
        name: as it was uploaded.
        size: in bytes; `None` where the service does not say.
    """

    id: str
    name: str
    size: int | None = None


def longest_line(model: str) -> int | None:
    """Most tokens of one training line of a base model; `None` where no limit is known.

    Examples:
        >>> longest_line("gpt-4.1-nano-2025-04-14"), longest_line("gpt-35-turbo-0125"), longest_line("qwen-3-32b")
        (32768, 16385, None)
    """
    return LONGEST_LINE.get(parse_model_name(model).family)


def marked_suffix(suffix: str | None, token: str, longest: int) -> str:
    """The suffix, cut so that the token fits behind it.

    Examples:
        >>> marked_suffix("stars", "0123456789abcdef-1", 40), marked_suffix(None, "0123456789abcdef-1", 40)
        ('stars-0123456789abcdef-1', '0123456789abcdef-1')
    """
    return token if suffix is None else f"{suffix[: longest - len(token) - 1]}-{token}"


def billed_by_the_hour(endpoint: Endpoint, asked_as: str, model: str) -> Endpoint:
    """A deployment of a tuned model that is billed by the hour, so that its tokens cost nothing.

    Its answers are kept as those of the model, since the deployment's name may be given to another.

    Args:
        endpoint: of the base model.
        asked_as: what the deployment is asked by.
        model: that is deployed, by the service's name.

    Examples:
        >>> there = billed_by_the_hour(Endpoint(provider="together", model="base"), "me/stars", "ml_1")
        >>> there.model, there.price.output_usd_per_million, there.identity
        ('me/stars', 0.0, 'https://api-inference.together.ai/v1 ml_1')
    """
    free = {"input_usd_per_million": 0.0, "output_usd_per_million": 0.0, "cached_input_usd_per_million": None}
    price = Price.model_validate({**(endpoint.price.model_dump() if endpoint.price is not None else {}), **free})
    identity = f"{endpoint.address} {model}"
    return endpoint.model_copy(update={"model": asked_as, "identity": identity, "price": price})


def training_usd(price: Price | None, tokens: int, epochs: int | None) -> float | None:
    """US dollars for training on so many tokens for so many epochs, by an endpoint's own price; `None` when unknown.

    Examples:
        >>> training_usd(Price(input_usd_per_million=1, output_usd_per_million=2), 1000, 3) is None
        True
    """
    rate = None if price is None else price.training_usd_per_million
    if rate is None or (epochs is None and rate):
        return None
    return tokens * (epochs or 0) * rate / MILLION


class JobNotFound(EndpointError):
    """The service does not know the job."""


class Tuner(Protocol):
    """A service that fine-tunes.

    Every call may raise `EndpointError` when the service refuses for good, and `ServiceUnavailable` when a later try
    may succeed.
    """

    @property
    def place(self) -> str:
        """Where the service is. Part of a job's digest: the same submission elsewhere is another job."""

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """What can be set for a base model, with bounds."""

    def rules(self, model: str) -> Rules:
        """What is accepted for a base model; checked before anything is sent."""

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """Epochs that a job makes of so many rows; `None` where they are `auto` and the service's rule is not known."""

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """US dollars for training on so many tokens for so many epochs; `None` when unknown, which is not 0."""

    def admit(self, model: str) -> None:
        """Checks, without cost and before any upload, whether this account may fine-tune this model.

        Raises:
            EndpointError: it may not, or the service does not offer it.
        """

    def find(self, token: str) -> list[JobState]:
        """The jobs submitted with this token, oldest first; normally one at most."""

    def upload(self, name: str, content: bytes) -> str:
        """Id of the file of this name and size, uploaded unless the service has it already."""

    def submit(self, submission: Submission) -> JobState:
        """Buys a job. Sent exactly once.

        Raises:
            OutcomeUnknown: no answer came, so that the job may exist; look with `find`.
        """

    def poll(self, job: str) -> JobState:
        """The job now."""

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """The job's events whose ids are not in `known`, oldest first."""

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """The models the job has saved so far, by step."""

    def cancel(self, job: str) -> JobState:
        """Requests that a job ends; `poll` tells when it has."""

    def pause(self, job: str) -> JobState:
        """Requests that a job pauses."""

    def resume(self, job: str) -> JobState:
        """Requests that a paused job goes on."""

    def listed(self) -> list[JobState]:
        """Every job the account sees, newest first."""

    def result(self, file: str) -> bytes:
        """The content of a result file."""

    def endpoint(self, model: str) -> Endpoint:
        """Where a tuned model answers."""


@runtime_checkable
class Quotes(Protocol):
    """A service that tells the price of a job, once its files are uploaded and before it is bought."""

    def quote(self, submission: Submission) -> float | None:
        """US dollars that the job would cost; `None` when the service cannot say, which is not 0. Buys nothing.

        Raises:
            QuotaError: the account may not buy it.
        """


@runtime_checkable
class PagedAccount(Protocol):
    """A service whose jobs are read page by page, so that a page that fails does not lose those before it."""

    def job_page(self, after: str | None = None) -> JobPage:
        """The newest jobs, or those that follow a page."""

    def stored_file(self, file: str) -> StoredFile:
        """Name and size of a file."""
