"""The accounts that a working folder knows, and all of them asked for the models they are offered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from luthier.accounts.kept_lists import KeptList, refresh
from luthier.documents import read_yaml
from luthier.errors import EndpointError, UserError
from luthier.providers.endpoint import AZURE_HOSTS, DEFAULT_KEY_VARIABLE, PUBLIC_ADDRESS, Endpoint, embedded
from luthier.tasks.readable_errors import readable_validation_error

__all__ = ["TO_FILL_IN", "ConfiguredAccount", "Refreshed", "configured_endpoints", "refresh_all", "why_not_asked"]

TOGETHER = 8
"""Accounts that are asked at a time."""

ENDPOINTS = ("endpoint", "embedding")
TO_FILL_IN = "YOUR-"
"""How what a user has to fill in begins in the endpoint files that Luthier writes."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ConfiguredAccount:
    """An account that could be asked.

    Attributes:
        where: the file that has it, or the variable of its key.
        endpoint: whom to ask; `None` where the file cannot be read.
        why_not: why it is not asked, and what to do about it; empty where it is.
    """

    where: str
    endpoint: Endpoint | None
    why_not: str = ""


@dataclass(frozen=True)
class Refreshed:
    """What came of asking an account.

    Attributes:
        account: that was to be asked.
        kept: what it is offered; `None` where that is not known.
        why: why not, or not all of it; empty where all is.
    """

    account: ConfiguredAccount
    kept: KeptList | None
    why: str = ""

    @property
    def address(self) -> str:
        """Of the service; empty where it is not known."""
        return self.account.endpoint.address if self.account.endpoint is not None else ""


def configured_endpoints(folder: str | Path = ".") -> list[ConfiguredAccount]:
    """The accounts of a folder's endpoint files (`*.yaml`, `models/endpoints/*.yaml`), and of the usual keys.

    The embedded server is among them. Each is there once, whatever models its files name. The user did not name these
    files, so a key is sent only to the provider that its variable belongs to, and to servers on this machine; of the
    others it is said what to type.

    Args:
        folder: as a rule the working folder.
    """
    found = [*_of_files(Path(folder)), *_of_variables(), ConfiguredAccount("the embedded server", embedded())]
    once: dict[object, ConfiguredAccount] = {}
    for account in found:
        endpoint = account.endpoint
        key = account.where if endpoint is None else (endpoint.address, endpoint.key_variable, endpoint.resource)
        once.setdefault(key, account)
    return list(once.values())


def refresh_all(
    accounts: Iterable[ConfiguredAccount | Endpoint] | None = None, *, ask: Callable[[Endpoint], KeptList] = refresh
) -> list[Refreshed]:
    """Asks accounts for the models they are offered and keeps their lists. One that fails does not stop the others.

    Args:
        accounts: whom to ask, in the order of what is returned; those of the working folder when absent.
        ask: asks one.
    """
    given = configured_endpoints() if accounts is None else accounts
    wanted = [one if isinstance(one, ConfiguredAccount) else ConfiguredAccount(one.label, one) for one in given]

    def asked(account: ConfiguredAccount) -> Refreshed:
        if account.endpoint is None or account.why_not:
            return Refreshed(account, None, account.why_not)
        try:
            kept = ask(account.endpoint)
        except UserError as error:
            return Refreshed(account, None, str(error))
        return Refreshed(account, kept, kept.missing)

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(asked, wanted))


def _of_files(folder: Path) -> list[ConfiguredAccount]:
    found = []
    for place in (folder / "models" / "endpoints", folder):
        for file in sorted(place.glob("*.yaml")):
            try:
                document = read_yaml(file, "endpoint", "")
            except UserError as error:
                # Elsewhere a file that cannot be read need not be an endpoint.
                found += [ConfiguredAccount(str(file), None, str(error))] if place != folder else []
                continue
            found += [_checked(str(file), settings) for settings in _blocks(document)]
    return found


def _blocks(document: Any) -> Sequence[Any]:
    """The endpoints of an endpoint file or of a spec."""
    if not isinstance(document, dict):
        return ()
    if "provider" in document:
        return (document,)
    listed = document.get("endpoints")
    return [*(document[name] for name in ENDPOINTS if name in document), *(listed if isinstance(listed, list) else ())]


def _checked(where: str, settings: Any) -> ConfiguredAccount:
    try:
        endpoint = Endpoint.model_validate(settings)
    except ValidationError as error:
        return ConfiguredAccount(where, None, f"{where}: {readable_validation_error(error, Endpoint)}")
    except EndpointError as error:
        return ConfiguredAccount(where, None, f"{where}: {error}")
    return ConfiguredAccount(where, endpoint, why_not_asked(where, endpoint))


def why_not_asked(where: str, endpoint: Endpoint) -> str:
    """Why an endpoint of a file that the user did not name is not asked, and what to do; empty where it is."""
    variable, parts = endpoint.key_variable, urlsplit(endpoint.address)
    host = parts.hostname or ""
    if TO_FILL_IN in (endpoint.base_url or ""):
        return f"its base_url is not filled in yet: {endpoint.base_url}"
    if variable is not None and not os.environ.get(variable, "").strip():
        return f"{variable} is not set."
    if endpoint.provider == "local" or host in LOOPBACK:
        return ""
    is_safe = variable is None or endpoint.is_at_home
    if endpoint.auth == "entra":
        is_safe = parts.scheme == "https" and host.endswith(AZURE_HOSTS)
    if is_safe:
        return ""
    what = f"the key in {variable}" if variable is not None else "a token of yours"
    return f"it would send {what} to {host}. If that is right, name the file: --endpoint {where}"


def _of_variables() -> list[ConfiguredAccount]:
    """The providers with one address for all accounts, where their usual key is set."""
    return [
        ConfiguredAccount(variable, Endpoint(provider=provider, model="any"))
        for provider, variable in DEFAULT_KEY_VARIABLE.items()
        if provider in PUBLIC_ADDRESS and os.environ.get(variable, "").strip()
    ]
