"""Sends one HTTP request and returns the reply or the fault. The hot path: aiohttp, no SDK."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from luthier.errors import EndpointError
from luthier.providers.proxies import Proxy, named_proxies, no_socks, proxy_for

if TYPE_CHECKING:
    import aiohttp

__all__ = ["TransportFault", "FaultKind", "Reply", "Transport", "shared_transport"]

LARGE_BODY = 512 * 1024
LARGEST_REPLY = 64_000_000
"""Bytes of an answer, unpacked: a batch of embeddings has a few million."""

FaultKind = Literal["unreachable", "insecure", "no_tls", "needs_tls", "proxy", "timeout", "broken"]

NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""Parts of the names OpenSSL gives to an answer that is not TLS."""

TLS_PROBE_SECONDS = 3.0
NAMED_SECONDS = 1.0
"""Reading the variables that name proxies takes 3% of the CPU of a request; within a call a change may wait so long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whatever its status.

    Attributes:
        headers: header names are found in any case.
        body: the whole body, decompressed.
        latency_seconds: from the first byte sent to the last byte read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class TransportFault:
    """No HTTP answer.

    Attributes:
        kind: `unreachable` (no connection was made), `insecure` (the certificate is not trusted), `no_tls` (https
            was spoken to a server that does not), `needs_tls` (the other way round), `proxy` (it refused, or is not
            there), `timeout`, or `broken` (the connection ended before the answer did).
        message: what the operating system or the client said.
    """

    kind: FaultKind
    message: str


class Transport:
    """One pool of kept-alive connections. Belongs to the loop it is first used on."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._proxies: dict[tuple[str, tuple[str | None, ...]], Proxy | None] = {}
        self._plain: dict[str, bool] = {}
        self._named: tuple[str | None, ...] | None = None
        self._named_until = 0.0

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        body: bytes | None = None,
        *,
        method: str | None = None,
        direct: bool = False,
        signed: bool = False,
    ) -> Reply | TransportFault:
        """Sends one request once, by POST where it has a body and by GET where it has none, unless `method` is given.

        Redirects are not followed: the key would travel along. `direct` is past any proxy, for a server that runs on
        this machine for this user alone. `signed` sends the address as it is written, because a signature covers it.

        Raises:
            EndpointError: the environment names a proxy by something that is no address.
            MissingPart: it names a SOCKS proxy, and the package for those is not installed.
        """
        import aiohttp
        from yarl import URL

        # Written in one piece, a large body would hold up all other requests on the loop.
        data = io.BytesIO(body) if body is not None and len(body) > LARGE_BODY else body
        proxy = None if direct else self._proxy(url)
        session = self._session(proxy)
        started = time.perf_counter()
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                session.request(
                    method or ("GET" if body is None else "POST"),
                    URL(url, encoded=True) if signed else url,
                    data=data,
                    headers=headers,
                    # A signed address may cover the type of what is sent, and then none that was added.
                    skip_auto_headers=("Content-Type",),
                    allow_redirects=False,
                    proxy=proxy.url if proxy is not None and not proxy.is_socks else None,
                ) as response,
            ):
                content = await _bounded(response)
                if content is None:
                    return TransportFault("broken", f"the answer has more than {LARGEST_REPLY:,} bytes")
                return Reply(response.status, response.headers, content, time.perf_counter() - started)
        except TimeoutError:
            return TransportFault("timeout", f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
            return _fault_of_proxy(proxy, error)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            spoken = any(name in str(error).upper() for name in NO_TLS)
            return TransportFault("no_tls" if spoken else "insecure", str(error))
        except aiohttp.ClientConnectorError as error:
            return TransportFault("unreachable", str(error))
        except (aiohttp.ClientError, OSError) as error:
            if proxy is not None and proxy.is_socks and not isinstance(error, aiohttp.ClientError):
                return _fault_of_proxy(proxy, error)
            if proxy is None and await self._needs_tls(url):
                return TransportFault("needs_tls", "it closed a plain connection and opened a TLS one")
            return TransportFault("broken", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        except Exception as error:
            # python-socks has errors of a family of its own.
            if proxy is None or not type(error).__module__.startswith(("python_socks", "aiohttp_socks")):
                raise
            return _fault_of_proxy(proxy, error)

    def read_proxies_again(self) -> None:
        """A call begins: the variables that name proxies may have been changed since the last one."""
        self._named = None

    async def close(self) -> None:
        """Closes the connections; the transport can be used again afterwards."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _session(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        through = proxy.url if proxy is not None and proxy.is_socks else ""
        session = self._sessions.get(through)
        if session is None or session.closed:
            session = self._sessions[through] = _open_session(proxy if through else None)
        return session

    def _proxy(self, url: str) -> Proxy | None:
        # aiohttp's own trust_env asks a thread and reads ~/.netrc for every request; once per server is enough.
        if self._named is None or time.monotonic() > self._named_until:
            self._named, self._named_until = named_proxies(), time.monotonic() + NAMED_SECONDS
        asked = _server(url), self._named
        if asked not in self._proxies:
            self._proxies[asked] = proxy_for(url)
        return self._proxies[asked]

    async def _needs_tls(self, url: str) -> bool:
        """Whether a server that closed a plain connection speaks TLS; tried once per server, nothing is sent."""
        server, parts = _server(url), urlsplit(url)
        if parts.scheme != "http" or server in self._plain:
            return self._plain.get(server, False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(TLS_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, ssl=context)
            writer.transport.abort()
            self._plain[server] = True
        except (OSError, TimeoutError):
            self._plain[server] = False
        return self._plain[server]


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _fault_of_proxy(proxy: Proxy | None, error: Exception) -> TransportFault:
    where = f"the proxy {proxy.shown} of {proxy.variable}" if proxy is not None else "the proxy"
    status = getattr(error, "status", None)
    if status is not None and status >= 500:
        return TransportFault("broken", f"{where} answered {status}")
    # aiohttp names the proxy's whole address in some of its errors.
    reason = f"it answered {status}" if status is not None else getattr(error, "strerror", None) or type(error).__name__
    return TransportFault("proxy", f"{where}: {reason}")


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, unpacked; `None` as soon as it is too large to be an answer. What is left of it is not read."""
    if (response.content_length or 0) > LARGEST_REPLY:
        response.close()
        return None
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY:
            response.close()
            return None
    return b"".join(parts)


_shared: tuple[int, Transport] | None = None
_left_to_the_parent: list[object] = []


def shared_transport() -> Transport:
    """The pool of all engines of this process; for the background loop only."""
    global _shared
    if _shared is None or _shared[0] != os.getpid():
        # A parent's sockets are neither used nor closed by its child.
        _left_to_the_parent.append(_shared)
        _shared = os.getpid(), Transport()
    return _shared[1]


def _open_session(socks: Proxy | None) -> aiohttp.ClientSession:
    import aiohttp

    # How many are in flight is the limiter's business; a second limit here would hide in the latency.
    if socks is None:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30)
    else:
        connector = _socks_connector(socks, limit=0, keepalive_timeout=30)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "luthier"},
    )


def _socks_connector(proxy: Proxy, **settings: Any) -> aiohttp.TCPConnector:
    try:
        from aiohttp_socks import ProxyConnector
    except ImportError as error:
        raise no_socks(proxy) from error
    # socks5h lets the proxy look names up; so does this package by default, and socks5 then looks them up here.
    scheme, rest = proxy.url.split("://", 1)
    by_proxy = scheme in ("socks5h", "socks4a")
    try:
        made: aiohttp.TCPConnector = ProxyConnector.from_url(
            f"{scheme.rstrip('ha')}://{rest}", rdns=by_proxy, **settings
        )
    except ValueError as error:
        raise EndpointError(f"{proxy.variable} is no address of a proxy. Write it as {scheme}://HOST:PORT.") from error
    return made
