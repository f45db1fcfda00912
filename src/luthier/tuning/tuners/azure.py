"""Fine-tuning at Azure OpenAI: jobs through the v1 data plane, deployments of their results through ARM."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.accounts.azure_control_plane import AzureDeployment, ControlPlane
from luthier.errors import EndpointError, SpecError
from luthier.model_names import azure_format, parse_model_name
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.openai import OpenAITuner
from luthier.tuning.tuners.tuner import JobState, Rules, ServiceUnavailable, Submission, longest_line, marked_suffix

if TYPE_CHECKING:
    import openai

__all__ = ["AzureTuner"]

BOM = b"\xef\xbb\xbf"
"""Azure requires one at the head of a training file."""

LONGEST_SUFFIX = 40

PARALLEL_JOBS = 3
"""Jobs that one resource trains at a time, of the types Standard and GlobalStandard; 5 of the type Developer. Up to 20
more are queued (Microsoft's page of quotas and limits, 2026)."""

MOST_FILE_SECONDS = 1800.0
"""How long Azure may validate a file before a job can use it."""

TRAINING_TYPES = {
    "Standard": ("standard", "Standard"),
    "GlobalStandard": ("globalStandard", "GlobalStandard"),
    "Developer": ("developerTier", "DeveloperTier"),
}
"""By `tuning.training_type`: Azure's spelling in a job, and the SKU of a deployment that goes with it."""

USUAL_CAPACITY = 50
"""Capacity of a deployment in thousands of tokens a minute, where the endpoint has no limit of its own."""

NOT_READY = frozenset({"deploymentnotready", "deploymentnotfound"})
LONGEST_READY_SECONDS = 1800.0
READY_LOOK_SECONDS = 5.0

AUTO = -1
"""What Azure reports for a number it has not chosen yet."""


class AzureTuner(OpenAITuner):
    """Jobs at one Azure resource, and deployments of their results.

    Args:
        endpoint: where the base model is trained; `resource` says where deployments are made.
        plane: the resource's deployments; made from the endpoint when absent.
        credential: of azure-identity, for `auth: entra`; `DefaultAzureCredential` when absent.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        plane: ControlPlane | None = None,
        credential: Any = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(endpoint, credential=credential)
        self._wait, self._clock = wait, clock
        self.plane = plane or ControlPlane(endpoint, wait=wait, clock=clock)
        self._keeps_metadata = True

    def rules(self, model: str) -> Rules:
        """As Microsoft publishes them."""
        return Rules(
            most_tokens_a_line=longest_line(model),
            training_types=tuple(TRAINING_TYPES),
            parallel_jobs=PARALLEL_JOBS,
            pauses=True,
        )

    def upload(self, name: str, content: bytes) -> str:
        """With a byte-order mark, as Azure requires; returns when Azure has validated the file.

        Raises:
            EndpointError: Azure refuses the file.
        """
        file = super().upload(name, BOM + content)
        begun = self._clock()
        while True:
            known = self._call(lambda client: client.files.retrieve(file).to_dict(), f"looking at {name}")
            status = str(known.get("status") or "processed").lower()
            if status in ("error", "failed", "deleted"):
                raise EndpointError(
                    f"{self.place} refused the training lines ({known.get('status_details') or status})."
                )
            if status not in ("pending", "running", "uploaded", "notrunning"):
                return file
            if status == "uploaded" or self._clock() - begun > MOST_FILE_SECONDS:
                # Not waited for any longer: the job will say what is wrong.
                return file
            self._wait(2.0)

    def deploy(self, model: str, name: str, training_type: str | None = None) -> Endpoint:
        """Deploys a tuned model and returns when it answers. An existing deployment of this name and model is used.

        Args:
            model: a result or a checkpoint, by Azure's name.
            name: of the deployment.
            training_type: how the model was trained; decides the SKU.

        Raises:
            SpecError: the name answers with another model.
            EndpointError: Azure refuses, or it failed.
            QuotaError: the account has no capacity left.
        """
        found = self._existing(name, model)
        if found is None or found.state in ("Failed", "Canceled"):
            self.plane.make(name, model, **self._ordered_as(model, training_type))
        self.plane.wait_for(name)
        self._until_it_answers(name)
        return self.at(name, model)

    def request_of(self, model: str, name: str, training_type: str | None = None) -> tuple[str, dict[str, Any]]:
        """Path and body of what `deploy` sends to Azure Resource Manager by PUT."""
        return self.plane.request_of(name, model, **self._ordered_as(model, training_type))

    def check_name(self, name: str, model: str) -> None:
        """Refuses a name that answers with another model.

        Raises:
            SpecError: says with which.
        """
        self._existing(name, model)

    def at(self, name: str, model: str) -> Endpoint:
        """The endpoint of a deployment, with the price of the model that was tuned."""
        priced = self._endpoint.priced_as or parse_model_name(model).spelled
        return self._endpoint.model_copy(update={"model": name, "priced_as": priced})

    def undeploy(self, name: str) -> None:
        """Deletes a deployment and returns when Azure says that it is gone."""
        self.plane.remove(name)

    def is_deployed(self, name: str) -> bool:
        """Whether Azure still has a deployment of this name."""
        return self.plane.find(name) is not None

    def _existing(self, name: str, model: str) -> AzureDeployment | None:
        found = self.plane.find(name)
        if found is not None and found.model and found.model != model:
            raise SpecError(
                f"deployment {name} at {self.plane.account} answers with {found.model}, not with {model}; "
                "give another --name."
            )
        return found

    def _until_it_answers(self, name: str) -> None:
        """Asks for one token until there is an answer: after `Succeeded` Azure may still say that it is not ready."""
        begun = self._clock()
        while True:
            try:
                if self._answers(name):
                    return
                said = "DeploymentNotReady"
            except ServiceUnavailable as error:
                said = str(error)
            if self._clock() - begun > LONGEST_READY_SECONDS:
                raise ServiceUnavailable(
                    f"deployment {name} has succeeded and still does not answer ({said}). It is billed; delete it: "
                    "luthier tune undeploy JOB"
                )
            self._wait(READY_LOOK_SECONDS)

    def _answers(self, name: str) -> bool:
        def ask(client: openai.OpenAI) -> bool:
            import openai

            try:
                client.chat.completions.create(
                    model=name, messages=[{"role": "user", "content": "?"}], max_completion_tokens=1
                )
            except openai.APIStatusError as error:
                if str(error.code or "").lower() in NOT_READY:
                    return False
                # Some models refuse so short an answer, and are ready all the same.
                if isinstance(error, openai.BadRequestError):
                    return True
                raise
            return True

        return self._call(ask, f"asking deployment {name}")

    def _ordered_as(self, model: str, training_type: str | None) -> dict[str, Any]:
        """How a deployment of the model is billed, its capacity, and the model's format."""
        limit = self._endpoint.limits.tokens_per_minute
        capacity = USUAL_CAPACITY if limit is None else max(1, math.ceil(limit / 1000))
        return {
            "sku": TRAINING_TYPES[training_type or "Standard"][1],
            "capacity": capacity,
            "kind": azure_format(parse_model_name(model)),
        }

    def _body(self, submission: Submission) -> dict[str, Any]:
        body = super()._body(submission)
        body["suffix"] = marked_suffix(submission.suffix, submission.token, LONGEST_SUFFIX)
        if submission.training_type is not None:
            body["extra_body"] = {"trainingType": TRAINING_TYPES[submission.training_type][0]}
        if not self._keeps_metadata:
            del body["metadata"]
        return body

    def submit(self, submission: Submission) -> JobState:
        """As at OpenAI; where Azure refuses metadata, the suffix alone carries the token."""
        try:
            return super().submit(submission)
        except EndpointError as error:
            import openai

            cause = error.__cause__
            if not isinstance(cause, openai.BadRequestError) or "metadata" not in str(cause).lower():
                raise
        # Refused for a field, so nothing was bought.
        self._keeps_metadata = False
        return super().submit(submission)

    def _state(self, job: Mapping[str, Any]) -> JobState:
        state = super()._state(job)
        settings = {name: "auto" if value == AUTO else value for name, value in state.hyperparameters.items()}
        if job.get("trainingType"):
            settings["training_type"] = job["trainingType"]
        status = "cancelled" if state.status.lower() == "canceled" else state.status
        return replace(state, hyperparameters=settings, status=status)

    @property
    def _why_closed(self) -> str:
        return (
            "The resource's region or kind may not offer it, or the identity may lack a role such as Cognitive "
            "Services OpenAI Contributor. Azure trains for existing customers until at least 2027-04."
        )


def deployment_name(token: str, model: str) -> str:
    """Name of a temporary deployment, made of the job's token and the model so that it is found again.

    Examples:
        >>> deployment_name("0123456789abcdef-1", "gpt-4.1-mini-2025-04-14.ft-0123")
        'luthier-0123456789abcdef-1-2f2c96'
    """
    return f"luthier-{token}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"
