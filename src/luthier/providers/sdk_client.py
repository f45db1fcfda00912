"""The official client, for what is asked seldom: files, jobs and batches."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luthier.errors import EndpointError, MissingPart
from luthier.providers.azure import SCOPE
from luthier.providers.endpoint import Endpoint
from luthier.providers.proxies import check_proxy_for_sdk

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["SdkClient", "pages"]


def _refuse_page(reply: httpx2.Response) -> None:
    """Refuses a web page in place of an answer, such as a login page: the client would fail on it as on a bug."""
    if reply.is_success and reply.headers.get("content-type", "").startswith("text/html"):
        raise EndpointError(
            f"{reply.request.url.copy_with(query=None)} answered with a web page. Give `base_url:` up to and including "
            "/v1, as in https://HOST/v1. Where a login page or a proxy stands before it, sign in first, or set "
            "HTTPS_PROXY and NO_PROXY."
        )


HOOKS = {"response": [_refuse_page]}


class SdkClient:
    """A client of the `openai` package for one endpoint, connected when it is first used. It never retries.

    Without an idempotency key a retry after a timeout could buy the same twice, so the caller decides.

    Args:
        endpoint: whom to ask; its key is read when the client connects.
        credential: of azure-identity, for `auth: entra`; `DefaultAzureCredential` when absent.
    """

    def __init__(self, endpoint: Endpoint, credential: Any = None) -> None:
        self._endpoint, self._credential = endpoint, credential
        self._connected: openai.OpenAI | None = None
        self._token = ""

    def connected(self) -> openai.OpenAI:
        """The client; the embedded server is started where it does not run.

        Raises:
            EndpointError: the variable of the key is not set.
        """
        if self._connected is None:
            import openai

            endpoint = self._endpoint
            if endpoint.provider == "local":
                from luthier.providers.local_service import attach

                service = attach()
                self._token = service.token
                # Loopback: a proxy that the environment names could not reach it.
                past_proxies = openai.DefaultHttpxClient(trust_env=False, event_hooks=HOOKS)
                self._connected = openai.OpenAI(
                    base_url=service.base_url, api_key=service.token, http_client=past_proxies, max_retries=0
                )
            else:
                check_proxy_for_sdk(endpoint.address)
                key = self._entra_token if endpoint.auth == "entra" else endpoint.key() or "none"
                self._connected = openai.OpenAI(
                    base_url=endpoint.address,
                    api_key=key,
                    timeout=endpoint.timeout_seconds,
                    http_client=openai.DefaultHttpxClient(event_hooks=HOOKS),
                    max_retries=0,
                )
            weakref.finalize(self, self._connected.close)
        return self._connected

    @property
    def secrets(self) -> tuple[str, ...]:
        """Keys in use now, so that they can be kept out of messages and files."""
        return (*self._endpoint.secrets(), *((self._token,) if self._token else ()))

    def close(self) -> None:
        """Closes the connections; the client connects again when it is used."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _entra_token(self) -> str:
        if self._credential is None:
            try:
                from azure.identity import DefaultAzureCredential
            except ImportError as error:
                raise MissingPart(
                    f"{self._endpoint.label} uses `auth: entra`, which needs azure-identity. "
                    "Type: pip install 'luthier[azure]'"
                ) from error
            self._credential = DefaultAzureCredential()
        from azure.core.exceptions import AzureError

        try:
            # The credential caches the token until shortly before it expires.
            self._token = str(self._credential.get_token(SCOPE).token)
        except AzureError as error:
            raise EndpointError(
                f"no Entra token for {self._endpoint.address}: {str(error).splitlines()[0]} "
                "Type: az login, or use a key with `auth: key`."
            ) from error
        return self._token


def pages(first: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, until one repeats: some servers send everything, whatever page they are asked for."""
    seen: set[str] = set()
    for page in first.iter_pages():
        items = [item.to_dict() for item in page.data]
        new = [item for item in items if str(item.get("id")) not in seen]
        if items and not new:
            return
        seen |= {str(item.get("id")) for item in new}
        yield new
