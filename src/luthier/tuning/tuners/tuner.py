"""What a fine-tuning service has to do, and the plain records it speaks in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint

__all__ = [
    "ENDED",
    "PAUSED",
    "ServiceUnavailable",
    "Checkpoint",
    "JobEvent",
    "JobState",
    "Hyperparameter",
    "JobNotFound",
    "Submission",
    "Rules",
    "Tuner",
    "OutcomeUnknown",
    "longest_line",
    "marked_suffix",
]

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses after which a job never changes. Any other word, known or not, is a job that is still alive."""

PAUSED = "paused"

LONGEST_LINE = {
    "gpt-4.1-nano": 32_768,
    "gpt-4.1": 65_536,
    "gpt-4o": 65_536,
    "gpt-3.5-turbo": 16_385,
    "gpt-35-turbo": 16_385,
}
"""Tokens of one training line by family, the longer name first. What is over is cut from the end."""


@dataclass(frozen=True)
class Hyperparameter:
    """A setting of a job that a person, or a sweep, may turn.

    Attributes:
        name: as in `tuning:` of a spec.
        kind: whole numbers or real ones.
        low: smallest value taken; of real ones the value itself is left out when it is 0.
        high: largest value taken; `None` where the service names none.
        default: what the service does unless told.
    """

    name: str
    kind: Literal["integer", "real"]
    low: float
    high: float | None
    default: Any = "auto"


@dataclass(frozen=True)
class Rules:
    """What a service takes, as far as it says so beforehand.

    Attributes:
        least_examples: fewest training lines.
        most_bytes: largest file.
        most_tokens_a_line: longer lines are cut; `None` where none is known.
        training_types: ways to be trained that may be asked for; empty where there is one.
    """

    least_examples: int = 10
    most_bytes: int | None = 512_000_000
    most_tokens_a_line: int | None = None
    training_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """What is bought: everything that makes two jobs the same, and the token that marks this one.

    Attributes:
        model: the base model.
        training_file: the service's id of the uploaded training lines.
        validation_file: likewise; `None` without validation rows.
        hyperparameters: by the names of a spec; `auto` leaves one to the service.
        seed: of the job.
        suffix: part of the result's name.
        token: sent along so that the job can be found again.
        training_type: where and how dear it is trained, at services that have a choice.
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
    """A job as the service tells it.

    Attributes:
        id: the service's name for it.
        status: its own word; see `ENDED`.
        base_model: what is trained.
        tuned_model: the result; `None` before there is one.
        hyperparameters: by the names of a spec, as the service resolved them; `auto` until it has.
        trained_tokens: tokens that are paid for; `None` until it is known.
        error: why it failed.
        created: Unix time.
        estimated_finish: Unix time, where the service says one.
        result_files: ids of files with its metrics.
        token: the token it was submitted with.
        files: ids of its training and validation files.
        seed: the job's seed.
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
    """Something the service said about a job.

    Attributes:
        id: unique within the job.
        created: Unix time.
        message: for a person.
        step: the training step it is about, if it is about one.
        metrics: figures at that step, by the service's names.
        total_steps: how many there will be, where it says so.
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
    """A model the job kept on its way.

    Attributes:
        step: the training step.
        model: name under which it answers.
        metrics: figures at that step, by the service's names.
    """

    step: int
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def longest_line(model: str) -> int | None:
    """Tokens of one training line, by the base model; `None` where it is not known.

    Examples:
        >>> longest_line("gpt-4.1-nano-2025-04-14"), longest_line("qwen-3-32b")
        (32768, None)
    """
    return next((tokens for family, tokens in LONGEST_LINE.items() if model.startswith(family)), None)


def marked_suffix(suffix: str | None, token: str, longest: int) -> str:
    """A suffix that ends with the token; of what was asked for as much as there is room for.

    Examples:
        >>> marked_suffix("stars", "0123456789abcdef-1", 40), marked_suffix(None, "0123456789abcdef-1", 40)
        ('stars-0123456789abcdef-1', '0123456789abcdef-1')
    """
    return token if suffix is None else f"{suffix[: longest - len(token) - 1]}-{token}"


class JobNotFound(EndpointError):
    """The service does not know the job."""


class ServiceUnavailable(EndpointError):
    """The service cannot be reached just now, or says that it is busy; what was asked did not happen."""


class OutcomeUnknown(ServiceUnavailable):
    """Something was sent and no answer came: it may have happened."""


class Tuner(Protocol):
    """A service that fine-tunes. Calls that fail raise `EndpointError` for good, `ServiceUnavailable` for now."""

    @property
    def place(self) -> str:
        """Where it is: part of a job's digest, since the same order elsewhere is another job."""

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """What can be set for a base model, with bounds."""

    def rules(self, model: str) -> Rules:
        """What is taken for a base model; held against the lines before anything is sent."""

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """Epochs a job will make of so many rows; `None` where `auto` does not tell."""

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """US dollars for training so many tokens, each epoch counted; `None` when it is not known, which is not 0."""

    def admit(self, model: str) -> None:
        """Finds out, without cost and before any upload, whether this account may fine-tune this model.

        Raises:
            EndpointError: it may not, or the service does not offer it.
        """

    def find(self, token: str) -> list[JobState]:
        """The jobs submitted with this token, oldest first; more than one only if something went wrong."""

    def upload(self, name: str, content: bytes) -> str:
        """Id of a file of this name and size: the one that is there, else a new one."""

    def submit(self, submission: Submission) -> JobState:
        """Buys a job. Sent once and never repeated here.

        Raises:
            OutcomeUnknown: no answer came, so that it may exist; look with `find`.
        """

    def poll(self, job: str) -> JobState:
        """The job now."""

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """What was said since, oldest first; events whose ids are in `known` are left out."""

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """The models it kept so far, by step."""

    def cancel(self, job: str) -> JobState:
        """Asks for its end; `poll` tells when it has come."""

    def pause(self, job: str) -> JobState:
        """Asks it to pause."""

    def resume(self, job: str) -> JobState:
        """Asks it to go on."""

    def listed(self) -> list[JobState]:
        """Every job the service shows this account, newest first."""

    def result(self, file: str) -> bytes:
        """A result file's content."""

    def endpoint(self, model: str) -> Endpoint:
        """Where a tuned model answers."""
