"""Requests to Azure Resource Manager: written down before they are sent, and sent through Azure's own client.

`azure-core` and `azure-mgmt-core` fetch the token, repeat what may be repeated and follow a long-running operation
(`201`/`202` with `Azure-AsyncOperation`) to its end. Every request made here may be sent twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from luthier.errors import EndpointError, MissingPart, QuotaError
from luthier.providers.redaction import redact

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

__all__ = ["ArmRequest", "ResourceManager"]

ADDRESS = "https://management.azure.com"
SCOPE = "https://management.azure.com/.default"

LONGEST_WAIT_SECONDS = 3600.0
"""How long a long-running operation is followed."""

TIMES_REPEATED = 8
"""A busy Resource Manager is asked so often again: about four minutes in all where it does not say how long to wait."""

ABSENT = frozenset({"", "ResourceNotFound", "NotFound", "UserError"})
"""Codes of a 404 that is about the resource itself; others are about its group, workspace or subscription."""

QUOTA_CODES = frozenset({"OutOfQuota", "QuotaExceeded", "InsufficientQuota"})


@dataclass(frozen=True, slots=True)
class ArmRequest:
    """A request to Resource Manager, as `--dry-run` prints it and as it is sent.

    Attributes:
        method: of HTTP.
        target: path and query.
        body: JSON, or `None`.

    Examples:
        >>> print(ArmRequest("PUT", "/subscriptions/s?api-version=1", {"location": "eastus"}))
        PUT /subscriptions/s?api-version=1
        <BLANKLINE>
        {
          "location": "eastus"
        }
    """

    method: str
    target: str
    body: dict[str, Any] | None = None

    @classmethod
    def parse(cls, text: str) -> ArmRequest:
        """The request that `str` wrote."""
        line, _, body = text.partition("\n")
        method, _, target = line.partition(" ")
        return cls(method, target, json.loads(body) if body.strip() else None)

    def __str__(self) -> str:
        line = f"{self.method} {self.target}"
        return line if self.body is None else f"{line}\n\n{json.dumps(self.body, indent=2)}"


class ResourceManager:
    """Azure Resource Manager. It accepts Entra identities only, never a key.

    Args:
        credential: of azure-identity; `DefaultAzureCredential` when absent.
        address: where it answers.
        authentication_policy: of azure-core, in place of the one that takes the credential's tokens.
        polling_seconds: pause between two looks at an operation, where Azure does not name one.
        backoff_seconds: factor of the growing pauses before a request is repeated, where Azure does not name one.
    """

    def __init__(
        self,
        credential: Any = None,
        *,
        address: str = ADDRESS,
        authentication_policy: Any = None,
        polling_seconds: float = 10.0,
        backoff_seconds: float = 0.8,
    ) -> None:
        self._credential, self._address, self._policy = credential, address, authentication_policy
        self._polling_seconds, self._backoff_seconds = polling_seconds, backoff_seconds
        self._connected: Any = None

    def find(self, target: str) -> dict[str, Any] | None:
        """What is at a path; `None` when Azure says that there is nothing.

        Raises:
            EndpointError: Azure refuses, or does not answer.
        """
        return self._send(ArmRequest("GET", target), absent_is_none=True)

    def send(self, request: ArmRequest) -> dict[str, Any]:
        """Sends a request and returns when what it asks for is done.

        Returns:
            The resource as it is then; empty where Azure answers with nothing.

        Raises:
            EndpointError: Azure refuses, does not answer, or the operation failed.
            QuotaError: the subscription has no room left for it.
        """
        return self._send(request) or {}

    def _send(self, request: ArmRequest, *, absent_is_none: bool = False) -> dict[str, Any] | None:
        client = self._client()
        from azure.core.exceptions import AzureError, HttpResponseError
        from azure.core.polling import LROPoller
        from azure.core.rest import HttpRequest
        from azure.mgmt.core.polling.arm_polling import ARMPolling

        sent = HttpRequest(request.method, self._address + request.target, json=request.body)
        try:
            first = client.send_request(sent, _return_pipeline_response=True)
            response = first.http_response
            if response.status_code == 404 and (absent_is_none or request.method == "DELETE"):
                if _says(response) not in ABSENT:
                    raise HttpResponseError(response=response)
                return None
            response.raise_for_status()
            if request.method not in ("PUT", "PATCH", "DELETE"):
                return dict(response.json())
            poller: Any = LROPoller(client, first, _resource, ARMPolling(self._polling_seconds))
            poller.wait(LONGEST_WAIT_SECONDS)
            if not poller.done():
                raise EndpointError(
                    f"{_shown(request)} is still going on after an hour. What it makes may be billed: look at it in "
                    "the portal, and type the same command again to go on."
                )
            return dict(poller.result())
        except AzureError as error:
            self._raise(error, request)

    def _raise(self, error: AzureError, request: ArmRequest) -> NoReturn:
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        said, what = _said(error), _shown(request)
        if isinstance(error, ClientAuthenticationError) or getattr(error, "status_code", None) == 401:
            raise EndpointError(f"Azure Resource Manager does not know who asks ({said}). Type: az login") from error
        if not isinstance(error, HttpResponseError):
            raise EndpointError(
                f"Azure Resource Manager did not answer {what} ({said}). Type the same command again."
            ) from error
        code = str(getattr(error.error, "code", "") or "")
        if code in QUOTA_CODES or "quota" in said.lower():
            raise QuotaError(
                f"no quota is left for {what} ({said}). Give a smaller instance_type or fewer instances, delete a "
                "deployment that is no longer needed, or ask Azure for more."
            ) from error
        if error.status_code == 403:
            raise EndpointError(
                f"this identity may not do {what} ({said}). Ask for a role on the resource group that allows it, such "
                "as AzureML Data Scientist or Contributor."
            ) from error
        if error.status_code == 404:
            raise EndpointError(
                f"{what}: {said}. Correct subscription, group or workspace in --config, or --name."
            ) from error
        if error.status_code in (409, 429):
            raise EndpointError(
                f"Azure is busy with {what} ({said}). Type the same command again in a while."
            ) from error
        raise EndpointError(f"Azure refused {what}: {said}") from error

    def _client(self) -> Any:
        if self._connected is None:
            try:
                from azure.core.pipeline import policies
                from azure.identity import DefaultAzureCredential
                from azure.mgmt.core import ARMPipelineClient
                from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
            except ImportError as error:
                raise MissingPart(
                    "deploying at Azure needs azure-identity and azure-mgmt-core. Type: pip install 'luthier[azure]'"
                ) from error
            authentication = self._policy or ARMChallengeAuthenticationPolicy(
                self._credential or DefaultAzureCredential(), SCOPE
            )
            # 409: Azure ML does one thing to an endpoint at a time, and refuses the next meanwhile.
            retries = policies.RetryPolicy(
                retry_total=TIMES_REPEATED,
                retry_status=TIMES_REPEATED,
                retry_backoff_factor=self._backoff_seconds,
                retry_on_status_codes=[409],
            )
            self._connected = ARMPipelineClient(
                self._address,
                policies=[
                    policies.RequestIdPolicy(),
                    policies.UserAgentPolicy("luthier"),
                    policies.ProxyPolicy(),
                    policies.ContentDecodePolicy(),
                    retries,
                    authentication,
                ],
            )
        return self._connected


def _resource(answered: Any) -> dict[str, Any]:
    response = answered.http_response
    return dict(response.json()) if response.status_code != 204 and response.content else {}


def _shown(request: ArmRequest) -> str:
    """Method and the end of the path: what comes before is the same for every request of a command."""
    path = request.target.partition("?")[0]
    return f"{request.method} {'/'.join(path.split('/')[-2:])}"


def _says(response: Any) -> str:
    """The code of a refusal; empty where there is none."""
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _said(error: Exception) -> str:
    return redact((str(getattr(error, "message", "") or error) or type(error).__name__).splitlines()[0])
