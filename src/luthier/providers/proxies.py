"""Which proxy a server is reached through: what the environment says, read as requests and httpx read it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from luthier.errors import EndpointError, MissingPart

__all__ = ["Proxy", "check_proxy_for_sdk", "named_proxies", "no_socks", "proxy_for"]

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

WEB = ("http", "https")
SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, where it is named, and its address without the credentials that `url` holds."""

    url: str
    variable: str
    shown: str

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS and not HTTP."""
        return self.url.startswith("socks")


def proxy_for(url: str) -> Proxy | None:
    """The proxy for an address, `None` where it is asked directly.

    `https_proxy` or `http_proxy` by the scheme of the address, else `all_proxy`; of a name in small and in capital
    letters the small one counts, and an empty value means none. A value without a scheme is an http proxy.

    Raises:
        EndpointError: the value is no address of a proxy.
    """
    parts = urlsplit(url)
    # Also the system's own settings, on Windows and macOS.
    known = getproxies()
    if _is_excepted(parts, known.get("no", "")):
        return None
    for name in (parts.scheme, "all"):
        if value := known.get(name, "").strip():
            return _read(value, _variable(f"{name}_proxy", os.environ))
    return None


def named_proxies() -> tuple[str | None, ...]:
    """What the environment says now; while it stays the same, so does `proxy_for`."""
    return tuple(os.environ.get(spelled) for name in NAMES for spelled in (name, name.upper()))


def check_proxy_for_sdk(url: str) -> None:
    """Raises the errors the SDK would meet when it reads the environment itself.

    Raises:
        EndpointError: the value is no address of a proxy.
        MissingPart: it is a SOCKS proxy, and the SDK's package for those is not installed.
    """
    proxy = proxy_for(url)
    if proxy is not None and proxy.is_socks and find_spec("socksio") is None:
        raise no_socks(proxy)


def no_socks(proxy: Proxy) -> MissingPart:
    """The error for a SOCKS proxy that cannot be used."""
    return MissingPart(
        f"{proxy.variable} names a SOCKS proxy, and the package for those is not installed. Type: "
        "pip install 'luthier[socks]'"
    )


def _variable(name: str, environment: Mapping[str, str]) -> str:
    named = [name, name.upper(), *(given for given in environment if given.lower() == name)]
    return next((given for given in named if environment.get(given)), "the system's settings")


def _read(value: str, variable: str) -> Proxy:
    url = value if "://" in value else f"http://{value.removeprefix('//')}"
    if url.lower().startswith("socks://"):
        # As desktops write it.
        url = f"socks5{url[len('socks') :]}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), None, None
    if parts.scheme.lower() not in WEB + SOCKS or not host or re.search(r"\s", url):
        # The value is not repeated: it may hold a password.
        raise EndpointError(
            f"{variable} is no address of a proxy. Write it as http://HOST:PORT or socks5://HOST:PORT "
            f"(with NAME:PASSWORD@ before HOST where it wants them), or type: unset {variable}"
        )
    named = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme.lower()}://{named}" + (f":{port}" if port else "")
    return Proxy(f"{parts.scheme.lower()}{url[len(parts.scheme) :]}", variable, shown)


def _is_excepted(server: SplitResult, exceptions: str) -> bool:
    host = (server.hostname or "").rstrip(".")
    port = server.port or DEFAULT_PORTS.get(server.scheme)
    return any(_matches(entry.lower(), host, port) for entry in re.split(r"[,\s]+", exceptions) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Whether one entry of NO_PROXY means a host: a name, its domain, an address, a network; with a port or without.

    Examples:
        >>> [_matches(entry, "api.host.org", 443) for entry in (".host.org", "host.org", "ost.org", "host.org:80", "*")]
        [True, True, False, False, True]
        >>> [_matches(entry, "::1", 8000) for entry in ("::1", "[::1]", "[::1]:8000", "[::1]:8001", "::/64")]
        [True, True, True, False, True]
    """
    if entry == "*":
        return True
    scheme, _, address_of_url = entry.rpartition("://")
    entry = address_of_url.split("/", 1)[0] if scheme else entry
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d+))?", entry)
    if bracketed:
        name, wanted = bracketed[1], bracketed[2]
    elif entry.count(":") == 1:
        name, wanted = entry.split(":")
    else:
        name, wanted = entry, None
    if wanted and wanted != str(port):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return name.endswith(".*") and host.startswith(name[:-1])
