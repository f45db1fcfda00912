"""Fine-tuning at Together AI: LoRA jobs through its own HTTP interface; results answer from dedicated endpoints.

A job carries its token in its suffix only, and the list of jobs is the only answer that repeats it. A tuned model has
to be deployed before it answers. Fields and states are those of Together's published Python package (3.1.1).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from luthier.errors import EndpointError, QuotaError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.http_json import JsonService, MultipartForm, ServiceRefused
from luthier.tuning.tuners.records import finite_number
from luthier.tuning.tuners.together_hosting import DedicatedEndpoints
from luthier.tuning.tuners.together_records import (
    ADAPTER,
    SETTINGS,
    ModelLimits,
    checkpoints_of,
    job_event,
    job_state,
    last_step,
    metric_event,
)
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    Hyperparameter,
    JobEvent,
    JobNotFound,
    JobState,
    Rules,
    ServiceUnavailable,
    Submission,
    billed_by_the_hour,
    marked_suffix,
    training_usd,
)
from luthier.tuning.tuners.waiting import look_until

__all__ = ["TogetherTuner"]

JOBS_ADDRESS = "https://api.together.ai"
"""Where jobs, files and deployments are managed; models answer at another host."""

OWN_HOSTS = (".together.ai", ".together.xyz")

JOBS = "/v1/fine-tunes"
FILES = "/v1/files"

LONGEST_SUFFIX = 40
LARGEST_FILE_BYTES = 5 * 2**30
"""Larger files are sent in parts, which is not done here."""

VALID, INVALID = "COMPLETED", ("FAILED", "INVALID_FORMAT")
"""States of a file that do not change again."""

HALF_AN_HOUR_SECONDS = 1800.0
"""How long a file may be validated, and how long a deployment may be ready and not answer."""


class TogetherTuner:
    """Jobs of the account a key belongs to, and deployments of their results.

    Args:
        endpoint: of the base model; its key is used for everything.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._wait, self._clock = endpoint, wait, clock
        self._service = JsonService(endpoint, jobs_address(endpoint))
        self.dedicated = DedicatedEndpoints(self._service, wait=wait, clock=clock)
        self._limits: dict[str, ModelLimits] = {}

    @property
    def place(self) -> str:
        """Together's management address."""
        return self._service.address

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """With the bounds that Together names for the model; without those while there is no key to ask with."""
        return self._limits_of(model).hyperparameters()

    def rules(self, model: str) -> Rules:
        """As Together publishes them. How many jobs may run at a time is not among it; jobs cannot be paused."""
        return Rules(
            least_examples=1,
            most_bytes=LARGEST_FILE_BYTES,
            most_tokens_a_line=self._limits_of(model).most_tokens_a_line,
        )

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """What was asked; Together's own default is one."""
        return 1 if asked == "auto" else int(asked)

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """By the endpoint's own training price; Together itself tells the price of uploaded files only, see `quote`."""
        return training_usd(self._endpoint.price, tokens, epochs)

    def quote(self, submission: Submission) -> float | None:
        """The price Together names for uploaded files, evaluations included.

        Raises:
            QuotaError: it is above what the account may spend.
        """
        body = self._body(submission)
        fields = (
            "training_file",
            "validation_file",
            "model",
            "n_epochs",
            "n_evals",
            "training_type",
            "training_method",
        )
        asked = {name: body[name] for name in fields if name in body}
        told = self._service.ask(
            "POST", f"{JOBS}/estimate-price", "asking for the price", body=asked, changes=False
        ).document
        usd = finite_number(told.get("estimated_total_price")) if told.get("estimation_available") else None
        if told.get("allowed_to_proceed") is False:
            cost = "the job" if usd is None else f"a job of ${usd:.2f}"
            limit = finite_number(told.get("user_limit"))
            most = "" if limit is None else f" (limit ${limit:.2f})"
            raise QuotaError(
                f"{self.place} does not let this account buy {cost}{most}; add credit. Nothing was bought."
            )
        return usd

    def admit(self, model: str) -> None:
        """Asks for the limits of the model, which are those of models that are offered."""
        limits = self._limits_of(model, again=True)
        if not limits.trains_adapters:
            raise EndpointError(f"{self.place} does not train {model} by LoRA. {NOTHING_UPLOADED}")

    def find(self, token: str) -> list[JobState]:
        """By the suffix, in the list of all jobs: it has no filter, and other answers leave the suffix out."""
        found = [job for job in self._list("looking for the job") if job.token == token]
        return sorted(found, key=lambda job: job.created or 0.0)

    def upload(self, name: str, content: bytes) -> str:
        """Together knows a file by its digest and refuses it as a conflict; returns when it has been validated.

        Raises:
            EndpointError: Together refuses the file.
        """
        fields = {
            "purpose": "fine-tune",
            "file_name": name,
            "file_type": "jsonl",
            "checksum": hashlib.sha256(content).hexdigest(),
        }
        doing = f"uploading {name}"
        try:
            # A second request finds what the first has made, so it may be repeated.
            begun = self._service.ask(
                "POST", FILES, doing, body=MultipartForm(fields), changes=False, expected=(302, 409)
            )
        except EndpointError as error:
            if error.cause == "access":
                raise EndpointError(
                    f"{error} Together says the same when a free trial does not cover the job."
                ) from error
            raise
        if begun.status == 409:
            file = str(begun.document.get("file_id") or "")
        else:
            file = str(begun.headers.get("x-together-file-id") or "")
            place = begun.headers.get("location")
            if not file or not place:
                raise ServiceUnavailable(f"{self.place} did not say where to send {name} (status {begun.status}).")
            self._service.put_file(place, content, doing)
            self._service.ask("POST", f"{FILES}/{file}/preprocess", doing, changes=False)
        self._until_valid(file, name)
        return file

    def submit(self, submission: Submission) -> JobState:
        """Sent once: Together takes no key by which it would know a second request for the same."""
        return self._state(self._service.post(JOBS, "submitting", self._body(submission)))

    def poll(self, job: str) -> JobState:
        """The job now."""
        return self._state(self._service.get(f"{JOBS}/{job}", f"asking for {job}", job=job))

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """Events and metrics, which come from two lists; of the metrics only what is new is asked for."""
        said = [job_event(event) for event in self._said(job)]
        measured = self._measured(job, since=last_step(list(known)))
        new = {event.id: event for event in (*said, *measured) if event.id not in known}
        return sorted(new.values(), key=lambda event: event.created)

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """The kept checkpoints, each with the losses measured at its step."""
        reply = self._service.ask(
            "GET", f"{JOBS}/{job}/checkpoints", f"reading the checkpoints of {job}", expected=(404,)
        )
        return checkpoints_of(reply.document.get("data") or (), self._measured(job))

    def cancel(self, job: str) -> JobState:
        """Asks Together to cancel a job; `poll` tells when it has. Completed steps are billed."""
        try:
            reply = self._service.ask(
                "POST", f"{JOBS}/{job}/cancel", f"cancelling {job}", body={}, job=job, changes=False
            )
        except (ServiceRefused, JobNotFound):
            # So it answers, too, about a job that has ended or is being cancelled already.
            now = self.poll(job)
            if now.ended or now.status == "cancel_requested":
                return now
            raise
        return self._state(reply.document)

    def pause(self, job: str) -> JobState:
        """Refused: Together does not pause jobs."""
        raise EndpointError(f"{self.place} cannot pause jobs. End it: luthier tune cancel {job}")

    def resume(self, job: str) -> JobState:
        """Refused: Together does not pause jobs."""
        raise EndpointError(f"{self.place} cannot pause jobs, so there is nothing to resume.")

    def listed(self) -> list[JobState]:
        """Every job the account sees, newest first."""
        return sorted(self._list("listing the jobs"), key=lambda job: -(job.created or 0.0))

    def result(self, file: str) -> bytes:
        """Refused: metrics come as events, and no job has result files."""
        raise EndpointError(f"{self.place} has no result files.")

    def endpoint(self, model: str) -> Endpoint:
        """The same endpoint, asked for the tuned model; it answers once it is deployed."""
        return self._endpoint.model_copy(update={"model": model})

    def check_name(self, name: str, model: str) -> None:
        """Refuses the name of an endpoint that has another model.

        Raises:
            SpecError: says which.
        """
        found = self.dedicated.find(name)
        if found is not None:
            self.dedicated.check_model(found, model)

    def deploy(self, model: str, name: str, training_type: str | None = None) -> Endpoint:
        """Deploys a tuned model on the cheapest hardware that runs it, and returns when it answers.

        Args:
            model: a result or a checkpoint, by its id in Together's registry.
            name: of the dedicated endpoint.
            training_type: not used.

        Raises:
            SpecError: the endpoint has another model.
            EndpointError: Together refuses, or the deployment failed.
        """
        self.dedicated.make(name, model)
        there = self.at(name, model)
        self._until_it_answers(there)
        return there

    def at(self, name: str, model: str) -> Endpoint:
        """The dedicated endpoint of a model."""
        return billed_by_the_hour(self._endpoint, self.dedicated.address_of(name), model)

    def undeploy(self, name: str) -> None:
        """Stops and deletes a dedicated endpoint and returns when Together says that it is gone."""
        self.dedicated.remove(name)

    def is_deployed(self, name: str) -> bool:
        """Whether Together still has a dedicated endpoint of this name."""
        return self.dedicated.find(name) is not None

    def _limits_of(self, model: str, *, again: bool = False) -> ModelLimits:
        if not again and model in self._limits:
            return self._limits[model]
        if not again and not self._endpoint.secrets():
            return ModelLimits()
        try:
            told = self._service.get(f"{JOBS}/models/limits", f"asking about {model}", query={"model_name": model})
        except ServiceRefused as error:
            if error.status != 404:
                raise
            raise EndpointError(
                f"{self.place} does not fine-tune {model!r} ({error.said}). {NOTHING_UPLOADED} "
                "Correct `model:` in the spec's endpoint."
            ) from error
        self._limits[model] = ModelLimits.read(told)
        return self._limits[model]

    def _body(self, submission: Submission) -> dict[str, Any]:
        """The request body of a submission. Without `training_type` the settings of the adapter would be ignored."""
        given = {name: value for name, value in submission.hyperparameters.items() if value != "auto"}
        epochs, patience = int(given.get("epochs", 1)), given.get("early_stopping_patience")
        body: dict[str, Any] = {
            "model": submission.model,
            "training_file": submission.training_file,
            "n_epochs": epochs,
            "batch_size": "max",
            "suffix": marked_suffix(submission.suffix, submission.token, LONGEST_SUFFIX),
            "training_method": {"method": "sft", "train_on_inputs": "auto"},
            "training_type": self._adapter(submission.model, given),
        }
        if submission.validation_file is not None:
            wanted = max(epochs, 0 if patience is None else patience + 1)
            most = self._limits_of(submission.model).most_evaluations or wanted
            # By itself Together would never measure the validation rows.
            body |= {"validation_file": submission.validation_file, "n_evals": min(wanted, most)}
        if submission.seed is not None:
            body["random_seed"] = submission.seed
        if "lr_scheduler" in given:
            body["lr_scheduler"] = SCHEDULERS[given["lr_scheduler"]]
        if patience is not None:
            body |= early_stopping(patience)
        body |= {SETTINGS[name]: value for name, value in given.items() if name in SETTINGS}
        return body

    def _adapter(self, model: str, given: Mapping[str, Any]) -> dict[str, Any]:
        rank = given.get("lora_rank") or self._limits_of(model).default_rank or 8
        chosen = {theirs: given[name] for name, theirs in ADAPTER.items() if name in given}
        usual = {"lora_r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "lora_trainable_modules": "all-linear"}
        return {"type": "Lora", **usual, **chosen}

    def _until_valid(self, file: str, name: str) -> None:
        def look() -> bool | None:
            known = self._service.get(f"{FILES}/{file}", f"looking at {name}")
            state = known.get("processing_status")
            if state in INVALID:
                report = known.get("validation_report") or {}
                raise EndpointError(f"{self.place} refused the lines of {name} ({report.get('error') or state}).")
            # A file without a state is not validated at all.
            return True if state in (VALID, None) else None

        late = (
            f"{self.place} has not validated {name} within half an hour; nothing was bought. Type the same command "
            f"again later; where it stays so, delete file {file} at Together first"
        )
        # Not for patience elsewhere: another half an hour would not help.
        self._look_until(look, late, EndpointError)

    def _until_it_answers(self, there: Endpoint) -> None:
        """Asks for one token until there is an answer: a deployment that is ready may not be routed to yet."""
        answers = JsonService(there, there.address)
        body = {"model": there.model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}

        def look() -> bool | None:
            try:
                answers.ask("POST", "/chat/completions", f"asking {there.model}", body=body, changes=False)
            except ServiceRefused as error:
                # Some models refuse so short an answer, and are ready all the same.
                if error.status not in (400, 404, 422):
                    raise
                return None if error.status == 404 else True
            return True

        late = f"{there.model} is deployed and does not answer. It is billed; delete it: luthier tune undeploy JOB"
        self._look_until(look, late)

    def _look_until(
        self, look: Callable[[], bool | None], late: str, error: type[EndpointError] = ServiceUnavailable
    ) -> None:
        look_until(look, late, wait=self._wait, clock=self._clock, patience_seconds=HALF_AN_HOUR_SECONDS, error=error)

    def _said(self, job: str) -> Sequence[Mapping[str, Any]]:
        reply = self._service.ask("GET", f"{JOBS}/{job}/events", f"reading the events of {job}", expected=(404,))
        return reply.document.get("data") or ()

    def _measured(self, job: str, since: int | None = None) -> list[JobEvent]:
        """The metrics from a step on; none before training has begun."""
        query = {"global_step_from": since}
        doing = f"reading the metrics of {job}"
        reply = self._service.ask("GET", f"{JOBS}/{job}/metrics", doing, query=query, expected=(404,))
        rows = [metric_event(row, self._clock()) for row in reply.document.get("metrics") or ()]
        return [event for event in rows if event is not None]

    def _list(self, doing: str) -> list[JobState]:
        return [self._state(job, asks=False) for job in self._service.get(JOBS, doing).get("data") or ()]

    def _state(self, job: Mapping[str, Any], *, asks: bool = True) -> JobState:
        state = job_state(job, self._clock())
        if asks and state.status == "failed" and state.error is None:
            # A job does not say why it failed; one of its events does.
            return job_state({**job, "events": self._said(state.id)}, self._clock())
        return state


NOTHING_UPLOADED = "Nothing was uploaded."

SCHEDULERS: dict[str, dict[str, Any]] = {
    "cosine": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
    "linear": {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 0.0}},
    "constant": {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 1.0}},
}
"""A constant rate is a linear one that ends where it begins."""


def early_stopping(patience: int) -> dict[str, Any]:
    """Fields by which Together ends a job whose validation loss no longer falls; the best checkpoint is the result.

    Its own default would leave the first evaluation out of the count.
    """
    return {
        "early_stopping_enabled": True,
        "early_stopping_patience": patience,
        "early_stopping_min_delta": 0.0,
        "early_stopping_warmup_evals": 0,
    }


def jobs_address(endpoint: Endpoint) -> str:
    """Where the jobs behind an endpoint are managed: at Together another host, elsewhere the same.

    Examples:
        >>> jobs_address(Endpoint(provider="together", model="some/model"))
        'https://api.together.ai'
        >>> jobs_address(Endpoint(provider="together", model="some/model", base_url="http://127.0.0.1:8000/v1"))
        'http://127.0.0.1:8000'
    """
    host = urlsplit(endpoint.address).hostname or ""
    return JOBS_ADDRESS if host.endswith(OWN_HOSTS) else endpoint.address.removesuffix("/v1")
