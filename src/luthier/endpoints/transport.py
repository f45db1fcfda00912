"""Sends one attempt over HTTP and says what happened. The hot path: aiohttp, no SDK."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Fault", "FaultKind", "Reply", "Transport", "shared_transport"]

LARGE_BODY = 512 * 1024

FaultKind = Literal["unreachable", "insecure", "timeout", "broken"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whatever its status.

    Attributes:
        status: HTTP status.
        headers: header names are found in any case.
        body: the whole body, decompressed.
        latency_seconds: from the first byte sent to the last byte read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class Fault:
    """No HTTP answer.

    Attributes:
        kind: `unreachable` (no connection was made), `insecure` (the certificate is not trusted),
            `timeout`, or `broken` (the connection ended before the answer did).
        message: what the operating system or the client said.
    """

    kind: FaultKind
    message: str


class Transport:
    """One pool of kept-alive connections. Belongs to the loop it is first used on."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> Reply | Fault:
        """Sends a body once. Redirects are not followed: the key would travel along."""
        return await self._send("POST", url, headers, body, timeout_seconds)

    async def get(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Reply | Fault:
        """Reads an address once."""
        return await self._send("GET", url, headers, None, timeout_seconds)

    async def close(self) -> None:
        """Closes the connections; the transport can be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_seconds: float
    ) -> Reply | Fault:
        import aiohttp

        session = self._session
        if session is None or session.closed:
            session = self._session = _open_session()
        started = time.perf_counter()
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                session.request(
                    method, url, data=_payload(body), headers=headers, allow_redirects=False, proxy=self._proxy(url)
                ) as response,
            ):
                content = await response.read()
                return Reply(response.status, response.headers, content, time.perf_counter() - started)
        except TimeoutError:
            return Fault("timeout", f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            return Fault("insecure", str(error))
        except aiohttp.ClientConnectorError as error:
            return Fault("unreachable", str(error))
        except (aiohttp.ClientError, OSError) as error:
            return Fault("broken", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def _proxy(self, url: str) -> str | None:
        # aiohttp's own trust_env asks a thread and reads ~/.netrc for every request; once per server is enough.
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        if server not in self._proxies:
            from urllib.request import getproxies, proxy_bypass

            bypassed = proxy_bypass(parts.hostname or "")
            self._proxies[server] = None if bypassed else getproxies().get(parts.scheme)
        return self._proxies[server]


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    # Written in one piece, a large body would hold up everybody else on the loop.
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BODY else body


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


def _open_session() -> aiohttp.ClientSession:
    import aiohttp

    # How many are in flight is the limiter's business; a second limit here would hide in the latency.
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "luthier"},
    )
