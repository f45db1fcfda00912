"""Fine-tuning at Fireworks: LoRA jobs, and deployments of their results, which answer from nothing else.

    creating --> validating --> pending --> running --> writing results --> completed

A job's id is made of its token, so that a second submission is refused by the service itself, and a job is found by one
request. There is no pause, no seed, no list of events: events are made of a job's state and its metrics file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.fireworks_account import FireworksAccount
from luthier.tuning.tuners.fireworks_deployments import FireworksDeployments
from luthier.tuning.tuners.fireworks_records import (
    THEIRS,
    checkpoint_of,
    job_events,
    job_id,
    last_part,
    resource_id,
    state_of,
)
from luthier.tuning.tuners.http_json import MultipartForm, ServiceRefused
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    Hyperparameter,
    JobEvent,
    JobState,
    Rules,
    Submission,
    marked_suffix,
    training_usd,
)

__all__ = ["FireworksTuner"]

HYPERPARAMETERS = (
    Hyperparameter("epochs", "integer", 1, 10),
    Hyperparameter("batch_size", "integer", 1),
    Hyperparameter("learning_rate", "real", 1e-5, 5e-4, default=None),
    Hyperparameter("warmup_ratio", "real", 0, 1, default=None, zero=True),
    Hyperparameter("weight_decay", "real", 0, default=None, zero=True),
    Hyperparameter("lora_rank", "choice", default=None, options=(4, 8, 16, 32, 64)),
    Hyperparameter("saved_checkpoints", "integer", 1, default=None),
)
"""Bounds of epochs and learning rate are those of its reinforcement jobs: for supervised ones it publishes none."""

IN_STEPS = ("warmup_ratio", "saved_checkpoints")
"""Settings that the service is told in steps."""

RULES = Rules(least_examples=3, most_bytes=150_000_000)

LONGEST_DISPLAY_NAME = 63

FRESH_SECONDS = 30.0
"""For how long a polled job tells the events of the same look. The address of its metrics file expires."""


class FireworksTuner:
    """Jobs of one account, and deployments of their results; `FireworksAccount` says which account.

    Args:
        endpoint: where the base model answers; `model` is its full name.
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
        self._endpoint = endpoint
        self.account = FireworksAccount(endpoint, wait=wait, clock=clock)
        self.deployments = FireworksDeployments(self.account)
        self._service = self.account.service
        self._clock = clock
        self._polled: dict[str, tuple[Mapping[str, Any], float]] = {}
        self._models: dict[str, Mapping[str, Any]] = {}
        self._rows: dict[str, int | None] = {}

    @property
    def place(self) -> str:
        """The endpoint's address."""
        return self._endpoint.address

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """As the service has them; it chooses what is not given."""
        return HYPERPARAMETERS

    def rules(self, model: str) -> Rules:
        """As Fireworks publishes them; the longest line of the model, where there is a key to ask with."""
        known = self._model(model) if self._endpoint.secrets() else {}
        return replace(RULES, most_tokens_a_line=known.get("trainingContextLength") or None)

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """What was asked; the service's own rule is not published."""
        return None if asked == "auto" else int(asked)

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """By the endpoint's own training price: the service names a price only once a job exists (`quoted_usd`)."""
        return training_usd(self._endpoint.price, tokens, epochs)

    def admit(self, model: str) -> None:
        """Looks whether the service trains the model, and lists a job, which keys for inference alone may not."""
        if not model.startswith("accounts/"):
            raise EndpointError(
                f"{model!r} is no full name of a model at {self.place}. Write `model: accounts/fireworks/models/"
                f"{resource_id(model)}` in the spec's endpoint."
            )
        known = self._model(model, again=True)
        if not known:
            raise EndpointError(f"{self.place} has no model {model}. Correct `model:` in the spec's endpoint.")
        if not (known.get("tunable") or known.get("supervisedLoraTunable")):
            raise EndpointError(
                f"{self.place} does not fine-tune {model}. Nothing was uploaded. Models that it trains are listed as "
                "tunable; put one of them into the spec's endpoint."
            )
        self._service.get(self._jobs, "asking whether the key may fine-tune", query={"pageSize": 1})

    def find(self, token: str) -> list[JobState]:
        """The job whose id is made of the token."""
        known = self.account.known(self._job_path(job_id(token)), "looking for the job")
        return [] if known is None else [state_of(known)]

    def upload(self, name: str, content: bytes) -> str:
        """The dataset's id is the file's name, which holds the digest of the content; returns when it can be used.

        Raises:
            EndpointError: the service refuses the file.
        """
        dataset, doing = resource_id(name.removesuffix(".jsonl")), f"uploading {name}"
        path = self.account.path("datasets", dataset)
        known = self.account.known(path, doing)
        if known is None:
            described = {"userUploaded": {}, "exampleCount": str(len(content.splitlines())), "displayName": dataset}
            body = {"datasetId": dataset, "dataset": described}
            # 409: another process has just made the same one.
            self._service.ask("POST", path.rsplit("/", 1)[0], doing, body=body, changes=False, expected=(409,))
        if known is None or known.get("state") != "READY":
            # Also for a dataset that was left without its file when an earlier upload was interrupted.
            self._service.ask("POST", f"{path}:upload", doing, body=MultipartForm({}, (name, content)), changes=False)
            self.account.until(lambda: self._is_usable(path, name), f"{self.place} has not finished checking {name}")
        return dataset

    def submit(self, submission: Submission) -> JobState:
        """Sent once; a second submission with the same token is answered with the job of the first."""
        body, job = self._body(submission), job_id(submission.token)
        reply = self._service.ask(
            "POST", self._jobs, "submitting", body=body, query={"supervisedFineTuningJobId": job}, expected=(409,)
        )
        if reply.status != 409:
            return state_of(reply.document)
        found = self.find(submission.token)
        if not found or found[0].files[:1] != (submission.training_file,):
            raise EndpointError(
                f"{self.place} refused (submitting): the id {job} is taken by something else, such as a job that was "
                "deleted. Type the same command with --again."
            )
        return found[0]

    def _body(self, submission: Submission) -> dict[str, Any]:
        given = {name: value for name, value in submission.hyperparameters.items() if value != "auto"}
        body = {THEIRS[name]: value for name, value in given.items() if name in THEIRS}
        if any(name in given for name in IN_STEPS):
            steps = self._steps(submission.training_file, given.get("batch_size"), given.get("epochs"))
            if steps is None:
                raise EndpointError(
                    f"{' and '.join(name for name in IN_STEPS if name in given)} of `tuning:` are told to {self.place} "
                    "in steps, whose number follows from tuning.epochs and tuning.batch_size; set both."
                )
            if (ratio := given.get("warmup_ratio")) is not None:
                body["learningRateWarmupSteps"] = round(steps * ratio)
            if (saved := given.get("saved_checkpoints")) is not None:
                body["samplerCheckpointSaveIntervalSteps"] = max(1, steps // saved)
        body |= {
            "baseModel": submission.model,
            "dataset": self._dataset(submission.training_file),
            "displayName": marked_suffix(submission.suffix, submission.token, LONGEST_DISPLAY_NAME),
        }
        if submission.validation_file is not None:
            body["evaluationDataset"] = self._dataset(submission.validation_file)
        return body

    def poll(self, job: str) -> JobState:
        """The job now."""
        now = self._job(job)
        self._polled[job] = now, self._clock()
        return state_of(now)

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """The job's state, and the figures of each step as its metrics file has them; it is written while it trains."""
        # A look is a poll and then the events; accounts without a card have ten requests a minute for all of them.
        now, polled = self._polled.pop(job, ({}, -math.inf))
        if self._clock() - polled > FRESH_SECONDS:
            now = self._job(job)
        files, settings = state_of(now).files, state_of(now).hyperparameters
        steps = self._steps(files[0], settings.get("batch_size"), settings.get("epochs")) if files else None
        return [event for event in job_events(now, self._metrics(now), steps) if event.id not in known]

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """Those that can become a model; `deploy` makes one of them a model first."""
        now = self._job(job)
        figures: dict[int, dict[str, float]] = {}
        for event in job_events(now, self._metrics(now), None):
            if event.step is not None:
                figures.setdefault(event.step, {}).update(event.metrics)
        rows = self.account.pages(
            f"{self._job_path(job)}/checkpoints", "checkpoints", f"reading the checkpoints of {job}"
        )
        try:
            found = [kept for row in rows if (kept := checkpoint_of(row, figures)) is not None]
        except ServiceRefused as refused:
            # The job is there, so a job of this kind has no such list.
            if refused.status != 404:
                raise
            return []
        return sorted(found, key=lambda kept: kept.step)

    def cancel(self, job: str) -> JobState:
        """Asks the service to cancel a job; one that has ended already is returned as it is."""
        return self._change(job, "cancel", "cancelling")

    def pause(self, job: str) -> JobState:
        """Refused: only the service itself pauses jobs.

        Raises:
            EndpointError: always.
        """
        raise EndpointError(f"{self.place} does not pause jobs. End it: luthier tune cancel {job}")

    def resume(self, job: str) -> JobState:
        """Asks the service to resume a job that it has paused."""
        return self._change(job, "resume", "resuming")

    def listed(self) -> list[JobState]:
        """Every supervised job of the account, newest first."""
        found = [
            state_of(job) for job in self.account.pages(self._jobs, "supervisedFineTuningJobs", "listing the jobs")
        ]
        return sorted(found, key=lambda job: -(job.created or 0.0))

    def result(self, file: str) -> bytes:
        """Refused: jobs have no result files; figures come as events.

        Raises:
            EndpointError: always.
        """
        raise EndpointError(f"{self.place} has no result file {file!r}; the figures of a job are in its events.")

    def endpoint(self, model: str) -> Endpoint:
        """The same endpoint, asked for the tuned model; it answers once it is deployed."""
        return self._endpoint.model_copy(update={"model": model})

    def check_name(self, name: str, model: str) -> None:
        """Refuses a name that is no id at the service, or answers with another model.

        Raises:
            SpecError: says why.
        """
        self.deployments.check_name(name, model)

    def deploy(self, model: str, name: str, training_type: str | None = None) -> Endpoint:
        """Deploys a tuned model or a checkpoint and returns when it answers. An existing deployment of both is used.

        Args:
            model: a result or a checkpoint, by the service's name.
            name: of the deployment.
            training_type: not used.

        Raises:
            SpecError: the name answers with another model.
            EndpointError: the service refuses, or it failed.
            ServiceUnavailable: it does not answer after an hour.
        """
        self.deployments.make(model, name)
        return self.at(name, model)

    def at(self, name: str, model: str) -> Endpoint:
        """The endpoint of a deployment."""
        return self.deployments.at(name, model)

    def undeploy(self, name: str) -> None:
        """Deletes a deployment and returns when it is gone."""
        self.deployments.remove(name)

    def is_deployed(self, name: str) -> bool:
        """Whether the service has a deployment of this name."""
        return self.deployments.find(name) is not None

    @property
    def _jobs(self) -> str:
        return self.account.path("supervisedFineTuningJobs")

    def _job_path(self, job: str) -> str:
        return f"{self._jobs}/{quote(job, safe='')}"

    def _dataset(self, file: str) -> str:
        return f"{self.account.name}/datasets/{file}"

    def _model(self, model: str, *, again: bool = False) -> Mapping[str, Any]:
        """What the service tells of a base model; nothing where it has none of this name."""
        if again or model not in self._models:
            path = f"/v1/{quote(model)}"
            self._models[model] = self.account.known(path, f"asking whether {model} may be fine-tuned") or {}
        return self._models[model]

    def _job(self, job: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._service.get(self._job_path(job), f"asking for {job}", job=job)
        return found

    def _metrics(self, job: Mapping[str, Any]) -> bytes:
        address = job.get("metricsFileSignedUrl")
        doing = f"reading the metrics of {last_part(str(job.get('name')))}"
        return (self._service.get_file(str(address), doing) if address else None) or b""

    def _steps(self, file: str, batch_size: Any, epochs: Any) -> int | None:
        """Training steps of a job; `None` where they do not follow from what is known."""
        if not batch_size or not epochs:
            return None
        if file not in self._rows:
            known = self.account.known(f"/v1/{self._dataset(file)}", f"looking at {file}") or {}
            self._rows[file] = int(known["exampleCount"]) if known.get("exampleCount") else None
        rows = self._rows[file]
        return None if rows is None else int(epochs) * math.ceil(rows / int(batch_size))

    def _change(self, job: str, verb: str, doing: str) -> JobState:
        try:
            self._service.ask(
                "POST", f"{self._job_path(job)}:{verb}", f"{doing} {job}", body={}, job=job, changes=False
            )
        except ServiceRefused:
            now = self.poll(job)
            if not now.ended:
                raise
            return now
        return self.poll(job)

    def _is_usable(self, path: str, name: str) -> bool:
        now = self._service.get(path, f"looking at {name}")
        told = now.get("status") or {}
        if told.get("code") not in (None, "OK"):
            raise EndpointError(f"{self.place} refused the training lines ({told.get('message') or told['code']}).")
        return bool(now.get("state") == "READY")
