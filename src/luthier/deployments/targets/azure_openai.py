"""A fine-tuned model at Azure OpenAI, deployed there: the model answers by itself, and specs ask it by an endpoint.

The work is that of `luthier tune deploy` and `luthier tune undeploy`: a deployment is noted in the run of its job
before it is made, and is gone when Azure says so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.targets.resource_manager import ArmRequest
from luthier.errors import UserError
from luthier.packaging.loading import find_model
from luthier.providers.endpoint import Endpoint
from luthier.providers.prices import dollars
from luthier.spec import Spec
from luthier.techniques import read_spec
from luthier.techniques.finetune import FineTune, Tuned
from luthier.tuning.job import Job
from luthier.tuning.tune import attach_job
from luthier.tuning.tuners.azure import AzureTuner

__all__ = ["AzureOpenAiTarget"]

OPERATIONS = ("deploy", "delete")
SHOWN = ("provider", "base_url", "model", "auth", "api_key_env", "priced_as", "resource", "price")
"""Of an endpoint that is shown to be copied; the rest is as it was."""


class AzureOpenAiTarget:
    """Deployments of fine-tuned models in an Azure OpenAI account.

    Args:
        attach: gives the job by its id or run; as `luthier tune attach` does when absent.
    """

    name = "azure-openai"

    def __init__(self, attach: Callable[[str], Job] = attach_job) -> None:
        self._attach = attach

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What would be sent. Looks at the job and at the deployment of this name, and changes nothing.

        Raises:
            UserError: a setting is not allowed, the model is not a tuned one at Azure, or the name is another model's.
        """
        operation = _operation(request)
        tuned, job, tuner = self._tuned(request)
        hourly = job.need_hosting().usd_per_hour
        if operation == "delete":
            if request.name not in [one.name for one in job.need_hosting().known() if one.gone is None]:
                raise UserError(
                    f"job {job.id} has no deployment {request.name}, or it is gone. Those that are left are named by: "
                    f"luthier tune attach {job.id}"
                )
            delete = ArmRequest("DELETE", tuner.plane.path_of(request.name))
            steps = (f"Delete deployment {request.name} of {tuned.model}, and wait until Azure has none.",)
            return DeploymentPlan(request, self.name, steps, {"deployment": str(delete)}, 0.0)
        tuner.check_name(request.name, tuned.model)
        target, body = tuner.request_of(tuned.model, request.name, job.base.tuning.training_type)
        price = "a price that is not known" if hourly is None else f"{dollars(hourly)} an hour"
        there = tuner.is_deployed(request.name)
        made = "is there already and is used" if there else f"is created with SKU {body['sku']['name']}"
        return DeploymentPlan(
            request,
            self.name,
            (
                f"Deployment {request.name} of {tuned.model} at {tuner.plane.account} {made}: "
                f"{body['sku']['capacity']},000 tokens a minute, {price}, asked or not, until it is deleted.",
                "One token is asked for until the deployment answers.",
            ),
            {} if there else {"deployment": str(ArmRequest("PUT", target, body))},
            hourly,
        )

    def apply(self, plan: DeploymentPlan) -> str:
        """Creates the deployment and waits until it answers, or deletes it and waits until it is gone.

        Raises:
            EndpointError: Azure refuses, or the deployment failed.
            QuotaError: the account has no capacity left.
        """
        request = plan.request
        tuned, job, _ = self._tuned(request)
        hosting = job.need_hosting()
        if _operation(request) == "delete":
            hosting.remove(lambda one: one.name == request.name)
            cost = hosting.cost_usd()
            price = "a price that is not known" if cost is None else dollars(cost)
            return f"{request.name} is gone. Hosting for job {job.id} so far: {hosting.hours():.2f} h, {price}"
        endpoint = hosting.make(tuned.model, request.name)
        return (
            f"{request.name} answers at {endpoint.address}. In a spec or an endpoint file:\n\n{_block(endpoint)}\n"
            f"It is billed until you type: luthier deploy {request.model_uri} --target {self.name} "
            f"--name {request.name} --config operation=delete"
        )

    def _tuned(self, request: DeploymentRequest) -> tuple[Tuned, Job, AzureTuner]:
        """What was tuned, the job that made it, and the service where both are."""
        spec = _spec_of(request)
        if not isinstance(spec, FineTune) or spec.tuned is None:
            raise UserError(
                f"{request.model_uri} is no fine-tuned model. Give the spec that `luthier tune` wrote "
                "(NAME-tuned.yaml), or a model that was logged from it."
            )
        job = self._attach(spec.tuned.run_id or spec.tuned.job)
        if not isinstance(job.tuner, AzureTuner):
            raise UserError(
                f"{spec.tuned.model} was tuned at {job.tuner.place}; target {self.name} is for models tuned at Azure."
            )
        return spec.tuned, job, job.tuner


def _spec_of(request: DeploymentRequest) -> Spec:
    if request.endpoint:
        raise UserError("where a tuned model is deployed stands in the run of its job; leave out --endpoint.")
    if Path(request.model_uri.partition("#")[0]).suffix in (".yaml", ".yml"):
        return read_spec(request.model_uri)
    return find_model(request.model_uri, trust=request.trust).fitted.spec


def _operation(request: DeploymentRequest) -> str:
    unknown = sorted(set(request.config) - {"operation"})
    if unknown:
        raise UserError(
            f"target azure-openai has no setting {', '.join(unknown)}; it has: operation. The capacity is "
            "`limits: {tokens_per_minute: ...}` of the spec's endpoint, the SKU goes with tuning.training_type."
        )
    operation = request.config.get("operation", "deploy")
    if operation not in OPERATIONS:
        raise UserError(f"operation={operation} is none; allowed: {', '.join(OPERATIONS)}.")
    return operation


def _block(endpoint: Endpoint) -> str:
    shown = endpoint.model_dump(mode="json", exclude_none=True, include=set(SHOWN))
    ordered = {name: shown[name] for name in SHOWN if name in shown}
    return yaml.safe_dump({"endpoint": ordered}, sort_keys=False, allow_unicode=True)
