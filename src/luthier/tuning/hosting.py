"""Deployments of a job's models, at services where a tuned model answers only once it is deployed.

    noted in the job's run --> made --> answers --> deleted --> gone: hours and cost are kept

Noted first, so that a deployment that still exists and is billed after a crash can be found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint, Price
from luthier.spec import Spec
from luthier.techniques.finetune import FineTune
from luthier.tuning.tuners.azure import deployment_name

__all__ = ["Host", "HostedDeployment", "Hosting"]

FOLDER = "tune"
FILE = f"{FOLDER}/deployments.json"
HOUR = 3600.0

AnySpec = TypeVar("AnySpec", bound=Spec)


@runtime_checkable
class Host(Protocol):
    """A service whose tuned models answer only from deployments."""

    def check_name(self, name: str, model: str) -> None:
        """Raises where a deployment of this name has another model."""

    def deploy(self, model: str, name: str, training_type: str | None = None) -> Endpoint:
        """Deploys a model and returns when it answers."""

    def at(self, name: str, model: str) -> Endpoint:
        """The endpoint of a deployment."""

    def undeploy(self, name: str) -> None:
        """Deletes a deployment and returns when it is gone."""

    def is_deployed(self, name: str) -> bool:
        """Whether the service has a deployment of this name."""


@dataclass(frozen=True)
class HostedDeployment:
    """A deployment that a run has made, or was about to make.

    Attributes:
        temporary: whether it exists for a measurement only.
        ordered: Unix time just before it was requested.
        gone: Unix time at which the service confirmed that it does not exist; `None` while it may.
    """

    name: str
    model: str
    temporary: bool
    ordered: float
    gone: float | None = None

    def hours(self, now: float) -> float:
        """Upper bound of the hours it has existed."""
        return ((self.gone or now) - self.ordered) / HOUR

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"


class Hosting:
    """The deployments of one job, whose run keeps the list; its token is part of the names of temporary ones."""

    def __init__(
        self,
        run_id: str,
        token: str,
        host: Host,
        price: Price | None,
        training_type: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run_id, self._token, self._host = run_id, token, host
        self._price, self._training_type, self._clock = price, training_type, clock

    @property
    def usd_per_hour(self) -> float | None:
        """Price of an hour of one deployment; `None` when unknown, which is not 0."""
        return None if self._price is None else self._price.hosting_usd_per_hour

    def known(self) -> list[HostedDeployment]:
        """Every deployment that is noted in the run."""
        import mlflow

        there = {file.path for file in mlflow.MlflowClient().list_artifacts(self.run_id, FOLDER)}
        if FILE not in there:
            return []
        document = mlflow.artifacts.load_dict(f"runs:/{self.run_id}/{FILE}")
        return [HostedDeployment(**entry) for entry in document["deployments"]]

    def leftovers(self) -> list[HostedDeployment]:
        """Deployments that the service still has."""
        return [one for one in self.known() if one.gone is None and self._host.is_deployed(one.name)]

    def make(self, model: str, name: str | None = None) -> Endpoint:
        """Deploys a model and returns when it answers.

        Args:
            model: by the service's name.
            name: of a deployment that is to stay; without one it is temporary and gets a name of its own.

        Raises:
            SpecError: the name answers with another model.
            EndpointError: the service refuses.
        """
        called = name or deployment_name(self._token, model)
        # First: what is noted is deleted by `remove`, and that must not happen to a deployment made elsewhere.
        self._host.check_name(called, model)
        if not any(one.name == called and one.gone is None for one in self.known()):
            self._write([*self.known(), HostedDeployment(called, model, name is None, self._clock())])
        try:
            return self._host.deploy(model, called, self._training_type)
        except EndpointError:
            with suppress(EndpointError):
                if not self._host.is_deployed(called):
                    self._gone(called)
            raise

    def remove(self, only: Callable[[HostedDeployment], bool] = lambda one: True) -> list[HostedDeployment]:
        """Deletes the deployments of this job that `only` accepts; returns those that are gone now."""
        gone = []
        for one in [one for one in self.known() if one.gone is None and only(one)]:
            self._host.undeploy(one.name)
            gone.append(self._gone(one.name))
        return gone

    def hours(self) -> float:
        """Upper bound of the hours that all of them have existed."""
        return sum(one.hours(self._clock()) for one in self.known())

    def cost_usd(self) -> float | None:
        """Upper bound of what hosting has cost so far; `None` when the price is unknown."""
        rate = self.usd_per_hour
        return None if rate is None else self.hours() * rate

    def located(self, spec: FineTune) -> FineTune:
        """The spec, asking the deployment of its model that was made to stay, if there is one."""
        if spec.tuned is None:
            return spec
        staying = [
            one for one in self.known() if not one.temporary and one.gone is None and one.model == spec.tuned.model
        ]
        if not staying:
            return spec
        return spec.with_tuned(spec.tuned, endpoint=self._host.at(staying[-1].name, staying[-1].model))

    @contextmanager
    def hosted(self, specs: Sequence[AnySpec]) -> Iterator[list[AnySpec]]:
        """The specs, each asking a deployment of its model; those made for it are gone afterwards."""
        models = {model for spec in specs if (model := _model_asked(spec)) is not None}
        try:
            places = {model: self.make(model) for model in sorted(models)}
            yield [_moved(spec, places) for spec in specs]
        finally:
            self.remove(lambda one: one.temporary and one.model in models)

    def _gone(self, name: str) -> HostedDeployment:
        """Notes that the service has no deployment of this name any more."""
        known = self.known()
        place = next(place for place, one in enumerate(known) if one.name == name and one.gone is None)
        known[place] = replace(known[place], gone=self._clock())
        self._write(known)
        return known[place]

    def _write(self, deployments: Sequence[HostedDeployment]) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        client.log_dict(self.run_id, {"schema": 1, "deployments": [asdict(one) for one in deployments]}, FILE)
        ended = [one for one in deployments if one.gone is not None]
        if ended:
            hours = sum(one.hours(self._clock()) for one in ended)
            client.log_metric(self.run_id, "hosting_hours", hours, step=len(ended))
            if self.usd_per_hour is not None:
                client.log_metric(self.run_id, "hosting_usd", hours * self.usd_per_hour, step=len(ended))


def _model_asked(spec: Spec) -> str | None:
    """The tuned model that a spec asks for by the model's own name; `None` where it asks a deployment."""
    if not isinstance(spec, FineTune) or spec.tuned is None or spec.endpoint is None:
        return None
    return spec.tuned.model if spec.endpoint.model == spec.tuned.model else None


def _moved(spec: AnySpec, places: Mapping[str, Endpoint]) -> AnySpec:
    model = _model_asked(spec)
    if model is None or not isinstance(spec, FineTune) or spec.tuned is None:
        return spec
    return spec.with_tuned(spec.tuned, endpoint=places[model])
