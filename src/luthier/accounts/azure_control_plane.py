"""One Azure account, through Azure Resource Manager: deployments made, found, listed and deleted, models listed.

After PUT a deployment is `Accepted`, then `Creating`, then `Succeeded` or `Failed`; after `Succeeded` the data plane
may say `DeploymentNotReady` for a while. After DELETE it is `Deleting` until Azure answers 404: then it is gone and no
longer billed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from luthier.accounts.records import Listed
from luthier.errors import EndpointError, MissingPart, QuotaError, SpecError, UserError
from luthier.providers.endpoint import Endpoint, Resource
from luthier.providers.redaction import redact
from luthier.replies.sdk_errors import ServiceUnavailable

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

__all__ = ["FAILED", "AzureDeployment", "ControlPlane"]

Result = TypeVar("Result")

SUCCEEDED = "Succeeded"
FAILED = frozenset({"Failed", "Canceled", "Disabled"})
"""States that no waiting changes, and in which nothing answers."""

FIRST_LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = 30.0
PATIENCE_SECONDS = 3600.0
"""How long a deployment may take to come or to go."""

PATIENCE_A_PAGE = 60.0
"""How long one page of a list is waited for while Azure is busy: someone is looking at the terminal."""

ELSEWHERE = frozenset(
    {"ResourceGroupNotFound", "SubscriptionNotFound", "InvalidSubscriptionId", "ParentResourceNotFound"}
)
"""Codes of a 404 that is not about the deployment: the account itself is not where it was said to be."""

QUOTA_CODES = ("InsufficientQuota", "QuotaExceeded", "DeploymentQuotaExceeded")
API_VERSION = "2025-09-01"


@dataclass(frozen=True)
class _Permission:
    """What an identity needs a role for."""

    doing: str
    action: str
    roles: str


WRITING = _Permission(
    "make or delete deployments",
    "Microsoft.CognitiveServices/accounts/deployments/write",
    "Cognitive Services Contributor",
)
READING = "Reader or Cognitive Services OpenAI User"
READING_DEPLOYMENTS = _Permission(
    "read the deployments", "Microsoft.CognitiveServices/accounts/deployments/read", READING
)
READING_MODELS = _Permission("read the models", "Microsoft.CognitiveServices/accounts/models/read", READING)


@dataclass(frozen=True)
class AzureDeployment:
    """A deployment as Azure tells it; `Succeeded` is the only good end of its state."""

    name: str
    model: str
    state: str


class ControlPlane:
    """The deployments of the account behind an endpoint. Needs an Entra identity: keys open the data plane only.

    Args:
        endpoint: its `resource` says where the account is.
        client: of azure-mgmt-cognitiveservices; made when absent.
        credential: of azure-identity, for that client; `DefaultAzureCredential` when absent.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        client: Any = None,
        credential: Any = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._wait, self._clock = endpoint, wait, clock
        self._connected, self._credential = client, credential

    @property
    def resource(self) -> Resource:
        """Where the account is.

        Raises:
            SpecError: the endpoint does not say.
        """
        found = self._endpoint.resource
        if found is None:
            raise SpecError(
                f"endpoint {self._endpoint.label} does not say where deployments are made. Add to it: "
                "resource: {subscription: ID, group: NAME}, as `az cognitiveservices account list` shows them."
            )
        return found

    @property
    def account(self) -> str:
        """The account's name; in Azure's own addresses it comes first."""
        host = urlsplit(self._endpoint.address).hostname or ""
        return self.resource.account or host.split(".")[0]

    def make(self, name: str, model: str, *, sku: str, capacity: int, kind: str) -> None:
        """Requests a deployment; `wait_for` returns when it is there. Requested twice it is still one.

        Args:
            name: what it will be asked by.
            model: what is to answer.
            sku: how it is billed and where it computes.
            capacity: thousands of tokens a minute.
            kind: the model's format, in Azure's words.

        Raises:
            EndpointError: Azure refuses.
            QuotaError: there is no room left for it.
        """
        self._connect()
        wanted = _wanted(model, sku=sku, capacity=capacity, kind=kind)
        self._ask(lambda place: self._deployments.begin_create_or_update(*place, name, wanted, polling=False), name)

    def request_of(self, name: str, model: str, *, sku: str, capacity: int, kind: str) -> tuple[str, dict[str, Any]]:
        """Path and body of what `make` sends by PUT."""
        self._connect()
        body = dict(_wanted(model, sku=sku, capacity=capacity, kind=kind).as_dict())
        return self.path_of(name), body

    def path_of(self, name: str) -> str:
        """Path and query of a deployment at Resource Manager."""
        place = self.resource
        return (
            f"/subscriptions/{place.subscription}/resourceGroups/{place.group}/providers/Microsoft.CognitiveServices"
            f"/accounts/{self.account}/deployments/{name}?api-version={API_VERSION}"
        )

    def find(self, name: str) -> AzureDeployment | None:
        """The deployment now; `None` when Azure says that there is none."""

        def get(place: tuple[str, str]) -> AzureDeployment | None:
            from azure.core.exceptions import ResourceNotFoundError

            try:
                return _deployment(self._deployments.get(*place, name))
            except ResourceNotFoundError as error:
                if _code(error) in ELSEWHERE:
                    raise
                return None

        return self._ask(get, name)

    def list_deployments(self) -> Listed[Any]:
        """Every deployment of the account, as azure-mgmt-cognitiveservices has it (`models.Deployment`)."""
        return self._listed(lambda place: self._deployments.list(*place), READING_DEPLOYMENTS)

    def list_models(self) -> Listed[Any]:
        """Every model that the account may deploy or tune, and its own tuned ones (`models.AccountModel`)."""
        return self._listed(lambda place: self._connect().accounts.list_models(*place), READING_MODELS)

    def _listed(self, start: Callable[[tuple[str, str]], Any], needs: _Permission) -> Listed[Any]:
        """All pages of a list; where one cannot be read, those before it and why."""
        items: list[Any] = []
        try:
            pages = start((self.resource.group, self.account)).by_page()
            # After an error the client's iterator stands where it was: only that page is asked for again.
            while (page := self._ask(lambda _: next(pages, None), needs.doing, needs, PATIENCE_A_PAGE)) is not None:
                items += page
        except UserError as error:
            return Listed(tuple(items), error)
        return Listed(tuple(items))

    def wait_for(self, name: str) -> None:
        """Returns when Azure says that the deployment has succeeded.

        Raises:
            EndpointError: it failed, or is not there.
        """
        found = self._until(name, lambda now: now is None or now.state == SUCCEEDED or now.state in FAILED)
        if found is None or found.state in FAILED:
            said = "is not there" if found is None else f"is {found.state}"
            raise EndpointError(f"deployment {name} at {self.account} {said}; Azure's activity log has the reason.")

    def remove(self, name: str) -> None:
        """Deletes a deployment and returns when Azure says that there is none.

        Raises:
            ServiceUnavailable: it is still there after an hour.
        """
        if self.find(name) is not None:
            self._ask(lambda place: self._deployments.begin_delete(*place, name, polling=False), name)
        self._until(name, lambda now: now is None)

    def _until(self, name: str, reached: Callable[[AzureDeployment | None], bool]) -> AzureDeployment | None:
        begun, pause = self._clock(), FIRST_LOOK_SECONDS
        while True:
            now = self.find(name)
            if reached(now):
                return now
            if self._clock() - begun > PATIENCE_SECONDS:
                state = "gone" if now is None else now.state
                raise ServiceUnavailable(
                    f"deployment {name} at {self.account} is {state} after an hour. While it exists it is billed; "
                    f"look at it: az cognitiveservices account deployment show --name {self.account} "
                    f"--resource-group {self.resource.group} --deployment-name {name}"
                )
            self._wait(pause)
            pause = min(LONGEST_LOOK_SECONDS, pause * 1.5)

    def _ask(
        self,
        ask: Callable[[tuple[str, str]], Result],
        about: str,
        needs: _Permission = WRITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Result:
        """Asks, and asks again while Azure is busy: every request made here may be repeated."""
        place = (self.resource.group, self.account)
        self._connect()
        from azure.core.exceptions import AzureError

        begun, pause = self._clock(), FIRST_LOOK_SECONDS
        while True:
            try:
                return ask(place)
            except AzureError as error:
                wait = _retry_after(error) or pause
                if not _is_busy(error) or self._clock() + wait - begun > patience_seconds:
                    raise self._refused(error, about, needs) from error
                self._wait(wait)
            pause = min(LONGEST_LOOK_SECONDS, pause * 1.5)

    def _refused(self, error: AzureError, about: str, needs: _Permission) -> EndpointError:
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        said = _said(error)
        if not isinstance(error, HttpResponseError):
            return ServiceUnavailable(f"Azure Resource Manager did not answer ({said}).")
        if isinstance(error, ClientAuthenticationError):
            return EndpointError(f"Azure Resource Manager does not know who asks ({said}). Type: az login")
        if _code(error) in QUOTA_CODES or "quota" in said.lower():
            return QuotaError(
                f"no quota is left at {self.account} for {about} ({said}). Lower `limits: {{tokens_per_minute: ...}}` "
                "of the endpoint, which is what is asked for, or delete a deployment that is no longer needed."
            )
        if error.status_code == 403:
            return EndpointError(
                f"this identity may not {needs.doing} at {self.account} ({said}). Ask for a role with "
                f"{needs.action}, such as {needs.roles}."
            )
        if error.status_code == 404:
            resource = self.resource
            return EndpointError(
                f"there is no account {self.account} in group {resource.group} of subscription "
                f"{resource.subscription} ({said}). Correct `resource:` in the endpoint."
            )
        kind = ServiceUnavailable if _is_busy(error) else EndpointError
        return kind(f"Azure Resource Manager refused ({about}): {said}")

    @property
    def _deployments(self) -> Any:
        return self._connect().deployments

    def _connect(self) -> Any:
        if self._connected is None:
            try:
                from azure.identity import DefaultAzureCredential
                from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
            except ImportError as error:
                raise MissingPart(
                    "deployments at Azure need azure-mgmt-cognitiveservices and azure-identity. "
                    "Type: pip install 'luthier[azure]'"
                ) from error
            # It would repeat and wait by itself; here everything that waits does so in one place.
            self._connected = CognitiveServicesManagementClient(
                self._credential or DefaultAzureCredential(),
                self.resource.subscription,
                api_version=API_VERSION,
                retry_total=0,
            )
        return self._connected


def _wanted(model: str, *, sku: str, capacity: int, kind: str) -> Any:
    from azure.mgmt.cognitiveservices import models

    return models.Deployment(
        sku=models.Sku(name=sku, capacity=capacity),
        properties=models.DeploymentProperties(model=models.DeploymentModel(format=kind, name=model, version="1")),
    )


def _deployment(found: Any) -> AzureDeployment:
    properties = found.properties
    model = properties.model if properties is not None else None
    state = str(properties.provisioning_state) if properties is not None else "unknown"
    return AzureDeployment(str(found.name), str(model.name) if model is not None else "", state.rsplit(".", 1)[-1])


def _is_busy(error: AzureError) -> bool:
    """Whether the same request may succeed later."""
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    if not isinstance(error, HttpResponseError):
        return isinstance(error, ServiceRequestError | ServiceResponseError)
    return (error.status_code in (408, 409, 429) or (error.status_code or 0) >= 500) and _code(error) not in QUOTA_CODES


def _code(error: HttpResponseError) -> str:
    return str(getattr(error.error, "code", "") or "")


def _said(error: Exception) -> str:
    return redact(str(getattr(error, "message", "") or error).splitlines()[0])


def _retry_after(error: AzureError) -> float | None:
    response = getattr(error, "response", None)
    try:
        return float(response.headers["Retry-After"]) if response is not None else None
    except (KeyError, ValueError):
        return None
