"""Proxies as requests and the SDK take them, and servers that speak TLS where none was expected."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from luthier.endpoints import Engine, Request, compatible
from luthier.errors import EndpointError, MissingPart
from luthier.providers.proxies import NAMES, check_proxy_for_sdk, proxy_for
from luthier.providers.transport import Reply, Transport, TransportFault
from luthier.replies.cures import stopping_error
from luthier.replies.failures import judge_fault
from tests.replies.test_common_cause import GOOD, asked
from tests.scripted_server import serving


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("named", "url", "proxy"),
    [
        ({"https_proxy": "127.0.0.1:3128"}, "https://api.org/v1", "http://127.0.0.1:3128"),
        ({"HTTPS_PROXY": "http://h:1"}, "https://api.org/v1", "http://h:1"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://capital:1"}, "https://api.org/v1", "http://small:1"),
        ({"https_proxy": "", "ALL_PROXY": "http://all:1"}, "https://api.org/v1", "http://all:1"),
        ({"all_proxy": "socks5h://u:p@h:1080"}, "http://api.org/v1", "socks5h://u:p@h:1080"),
        ({"http_proxy": "http://h:1"}, "https://api.org/v1", None),
        ({"http_proxy": "http://h:1"}, "http://127.0.0.1:8000/v1", "http://h:1"),
        ({"http_proxy": "http://h:1", "no_proxy": "127.0.0.1:8000"}, "http://127.0.0.1:8000/v1", None),
        ({"http_proxy": "http://h:1", "no_proxy": "127.0.0.1:8001"}, "http://127.0.0.1:8000/v1", "http://h:1"),
        ({"http_proxy": "http://h:1", "NO_PROXY": "10.0.0.0/8, 127.0.0.0/8"}, "http://127.0.0.1:8000/v1", None),
        ({"http_proxy": "http://h:1", "NO_PROXY": "[::1]:8000"}, "http://[::1]:8000/v1", None),
        ({"https_proxy": "http://h:1", "NO_PROXY": "api.org:443"}, "https://api.org/v1", None),
        ({"https_proxy": "http://h:1", "NO_PROXY": "org"}, "https://api.org/v1", None),
        ({"https_proxy": "http://h:1", "NO_PROXY": "*.API.org"}, "https://eu.api.org/v1", None),
        ({"https_proxy": "http://h:1", "NO_PROXY": "pi.org"}, "https://api.org/v1", "http://h:1"),
        ({"https_proxy": "http://h:1", "NO_PROXY": "*"}, "https://api.org/v1", None),
        ({"https_proxy": "http://h:1", "NO_PROXY": "https://api.org/v1"}, "https://api.org/v1", None),
        ({"http_proxy": "http://h:1", "NO_PROXY": "10.1.*"}, "http://10.1.2.3:8000/v1", None),
        ({"http_proxy": "http://h:1", "NO_PROXY": "10.1.*"}, "http://10.11.2.3:8000/v1", "http://h:1"),
        ({"all_proxy": "socks://h:1080/"}, "http://api.org/v1", "socks5://h:1080/"),
        ({"https_proxy": "//h:1"}, "https://api.org/v1", "http://h:1"),
    ],
)  # fmt: skip
def test_the_environment_is_read_as_requests_reads_it(
    named: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (found.url if found else None) == proxy


@pytest.mark.parametrize("value", ["ftp://h:1", "http://h:port", "http://", "http://user:hunter22@", "a b"])
def test_a_bad_value_is_one_error_that_names_the_variable_and_no_password(
    value: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(EndpointError, match="HTTP_PROXY is no address of a proxy") as told:
        engine.run(asked(3), compatible("m", "http://api.invalid/v1"))
    assert "hunter22" not in str(told.value)


@pytest.mark.parametrize("proxy", ["http://user:hunter22@127.0.0.1:9", "socks5://user:hunter22@127.0.0.1:9"])
def test_a_proxy_that_is_not_there_is_named_without_its_password(
    proxy: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(EndpointError, match="all_proxy") as told:
        engine.run(asked(3), compatible("m", "http://api.invalid/v1"))
    assert "hunter22" not in str(told.value)
    assert engine.report.sent <= 3


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A SOCKS 5 proxy in as few words as the protocol has: no credentials, names and IPv4."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    _, _, _, kind = await reader.readexactly(4)
    length = 4 if kind == 1 else (await reader.readexactly(1))[0]
    host = await reader.readexactly(length)
    name = ".".join(map(str, host)) if kind == 1 else host.decode()
    port = int.from_bytes(await reader.readexactly(2))
    there, back = await asyncio.open_connection("127.0.0.1" if name == "api.invalid" else name, port)
    writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    await asyncio.gather(pump(reader, back), pump(there, writer))


@pytest.fixture
async def socks() -> AsyncIterator[str]:
    server = await asyncio.start_server(_relay, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_socks_proxies_are_used_and_look_names_up_where_they_are_told_to(
    socks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(200, GOOD) as url:
        port = urlsplit(url).port
        for proxy, host in (("socks5", "127.0.0.1"), ("socks5h", "api.invalid")):
            monkeypatch.setenv("ALL_PROXY", f"{proxy}://{socks}")
            transport = Transport()
            reply = await transport.send(f"http://{host}:{port}/v1/x", {}, 5, b"{}")
            await transport.close()
            assert isinstance(reply, Reply), reply
            assert json.loads(reply.body)["model"] == "m"


@pytest.mark.parametrize("package", ["aiohttp_socks", "socksio"])
def test_a_socks_proxy_without_its_package_says_what_to_install(
    package: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hunter22@127.0.0.1:8")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPart, match=r"ALL_PROXY.*SOCKS.*pip install 'luthier\[socks\]'") as told:
        if package == "socksio":
            check_proxy_for_sdk("https://api.org/v1")
        engine.run(asked(1), compatible("m", "http://api.invalid/v1"))
    assert "hunter22" not in str(told.value)


def test_a_proxy_without_a_scheme_is_used(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(200, GOOD) as url:
        monkeypatch.setenv("http_proxy", urlsplit(url).netloc)
        assert engine.run(asked(1), compatible("m", "http://api.invalid/v1"))[0].text == "yes"


def test_a_proxy_that_wants_a_password_is_not_taken_for_the_service(engine: Engine) -> None:
    with serving(407, "") as url, pytest.raises(EndpointError, match="NAME:PASSWORD@"):
        engine.run(asked(3), compatible("m", url))


def test_https_at_a_plain_port_says_so(engine: Engine) -> None:
    with serving(200, GOOD) as url:
        secure = url.replace("http:", "https:")
        with pytest.raises(EndpointError, match=f"does not speak https.*`base_url: {url}`"):
            engine.run([Request("chat", {"messages": []})], compatible("m", secure))


def _certificate(folder: Path) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    unlocked = serialization.NoEncryption()
    file = folder / "both.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem) + key.private_bytes(pem, private, unlocked))
    return file


async def test_plain_http_at_a_port_of_https_says_so(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    transport = Transport()
    fault = await transport.send(f"{url}/chat/completions", {}, 5, b"{}")
    assert isinstance(fault, TransportFault)
    assert fault.kind == "needs_tls"
    told = str(stopping_error(judge_fault(fault, reached=False), compatible("m", url)))
    assert f"base_url: {url.replace('http:', 'https:')}" in told
    await transport.close()
    server.close()


async def test_plain_http_at_a_port_that_only_closes_it_is_no_question_of_tls() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    transport = Transport()
    fault = await transport.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x", {}, 5, b"{}")
    assert isinstance(fault, TransportFault)
    assert fault.kind == "broken"
    await transport.close()
    server.close()
