from __future__ import annotations

import sys
from types import ModuleType

import pytest
from aiohttp import web

from luthier.endpoints import Endpoint, Engine, Request, azure, compatible, embedded, openai
from luthier.errors import MissingPart
from luthier.providers import PROVIDERS
from luthier.providers.transport import Reply, Transport, TransportFault
from luthier.replies.failures import judge
from luthier_local import LocalServer, ModelCard
from luthier_local.model_registry import ModelRegistry
from luthier_local.service import service_models
from tests.questions import questions

EMBEDDED_MODELS = [card for card in service_models() if card.backend != "deterministic"]
CHAT = Request("chat", {"messages": [], "max_tokens": 3})


@pytest.mark.parametrize(
    ("endpoint", "renamed"),
    [
        (openai("m"), True),
        (azure("d", "https://r.openai.azure.com"), True),
        (compatible("m", "http://h/v1"), False),
        (embedded(), False),
    ],
)
def test_bodies_are_spelled_as_each_service_wants(endpoint: Endpoint, renamed: bool) -> None:
    provider = PROVIDERS[endpoint.provider]
    path, body = provider.adapt(CHAT, endpoint)
    assert path == "/chat/completions"
    assert body["model"] == endpoint.model
    assert body["max_completion_tokens" if renamed else "max_tokens"] == 3
    path, body = provider.adapt(Request("completion", {"prompt": "x", "max_tokens": 1}), endpoint)
    assert (path, body["max_tokens"]) == ("/completions", 1)


def test_together_is_asked_for_log_probabilities_by_their_number() -> None:
    together = Endpoint(provider="together", model="m")
    scored = Request("chat", {"messages": [], "max_tokens": 1, "logprobs": True, "top_logprobs": 20})
    _, body = PROVIDERS["together"].adapt(scored, together)
    assert (body["logprobs"], body["max_tokens"]) == (20, 1)
    assert "top_logprobs" not in body
    assert "logprobs" not in PROVIDERS["together"].adapt(CHAT, together)[1]


def test_fireworks_is_asked_for_the_five_likeliest_tokens_it_gives() -> None:
    fireworks = Endpoint(provider="fireworks", model="m")
    scored = Request("chat", {"messages": [], "logprobs": True, "top_logprobs": 20})
    _, body = PROVIDERS["fireworks"].adapt(scored, fireworks)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    _, body = PROVIDERS["fireworks"].adapt(Request("completion", {"prompt": "x", "logprobs": 20}), fireworks)
    assert body["logprobs"] == 5


@pytest.mark.parametrize(("given", "waits"), [({}, 10.0), ({"Retry-After": "45"}, 45.0)])
async def test_a_deployment_that_wakes_up_is_waited_for_without_using_up_attempts(
    given: dict[str, str], waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waking(request: web.Request) -> web.Response:
        error = {"object": "error", "code": "DEPLOYMENT_SCALING_UP", "message": "deployment is scaling up"}
        return web.json_response({"error": error}, status=503, headers=given)

    monkeypatch.setenv("STARS_KEY", "fw-key")
    app = web.Application()
    app.router.add_post("/inference/v1/chat/completions", waking)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    transport = Transport()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/inference/v1"
        endpoint = Endpoint(provider="fireworks", model="m", base_url=url, api_key_env="STARS_KEY")
        reply = await PROVIDERS["fireworks"].send(CHAT, endpoint, transport)
    finally:
        await transport.close()
        await runner.cleanup()
    assert isinstance(reply, Reply)
    verdict = judge(reply)
    assert (verdict.kind, verdict.retry_after_seconds) == ("transient", waits)


def test_extra_fields_are_sent() -> None:
    _, body = PROVIDERS["compatible"].adapt(CHAT, compatible("m", "http://h/v1", extra_body={"top_k": 1}))
    assert body["top_k"] == 1


async def test_keys_go_where_each_service_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-o")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "a-key")
    assert (await PROVIDERS["openai"].headers(openai("m")))["Authorization"] == "Bearer sk-o"
    given = await PROVIDERS["azure"].headers(azure("d", "https://r.openai.azure.com"))
    assert given["api-key"] == "a-key"
    assert "Authorization" not in given
    assert "Authorization" not in await PROVIDERS["compatible"].headers(compatible("m", "http://h/v1"))


def test_identities() -> None:
    resource = azure("d", "https://R.openai.azure.com/")
    assert PROVIDERS["azure"].identity(resource, None) is None
    assert PROVIDERS["azure"].identity(resource, "gpt-x") == "https://r.openai.azure.com/openai/v1 gpt-x"
    assert PROVIDERS["azure"].identity(azure("d", "https://r.openai.azure.com", identity="mine"), None) == "mine"
    assert PROVIDERS["openai"].identity(openai("m"), None) == "https://api.openai.com/v1"
    assert PROVIDERS["compatible"].identity(compatible("m", "http://H:80/v1/"), None) == "http://h:80/v1"


async def test_entra_without_its_part_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    with pytest.raises(MissingPart, match=r"pip install 'luthier\[azure\]'"):
        await PROVIDERS["azure"].headers(azure("d", "https://r.openai.azure.com", auth="entra"))


async def test_an_entra_token_is_sent_as_a_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity")
    from luthier.providers.azure import Azure

    class Token:
        token = "entra-token-1"

    class Credential:
        async def get_token(self, scope: str) -> Token:
            assert scope == "https://ai.azure.com/.default"
            return Token()

    stand_in = ModuleType("azure.identity.aio")
    stand_in.DefaultAzureCredential = Credential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.identity.aio", stand_in)
    provider, endpoint = Azure(), azure("d", "https://r.openai.azure.com", auth="entra")
    assert (await provider.headers(endpoint))["Authorization"] == "Bearer entra-token-1"
    assert provider.secrets(endpoint) == ("entra-token-1",)


def test_servers_without_a_key_are_asked_without_one(server: LocalServer, engine: Engine) -> None:
    from luthier.errors import EndpointError

    keyless = Endpoint(provider="compatible", model="stars-model", base_url=server.base_url)
    with pytest.raises(EndpointError, match="api_key_env"):
        engine.run(questions(1), keyless)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    seen: list[str] = []

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/chat/completions", away)
    application.router.add_post("/elsewhere", elsewhere)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = Transport()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/chat/completions"
    reply = await transport.send(url, {"Authorization": "Bearer x"}, 5, b"{}")
    assert isinstance(reply, Reply)
    assert reply.status == 307
    assert seen == []
    await transport.close()
    await runner.cleanup()


async def test_a_proxy_is_used_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def relay(request: web.Request) -> web.Response:
        seen.append(str(request.url))
        return web.json_response({})

    application = web.Application()
    application.router.add_get("/{path:.*}", relay)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{runner.addresses[0][1]}")
    transport = Transport()
    headers = {"Authorization": "Bearer x"}
    through = await transport.send("http://luthier.invalid/v1/models", headers, 5)
    assert isinstance(through, Reply)
    assert through.status == 200
    assert seen == ["http://luthier.invalid/v1/models"]
    await transport.close()
    monkeypatch.setenv("no_proxy", "luthier.invalid")
    direct = await (fresh := Transport()).send("http://luthier.invalid/v1/models", headers, 5)
    assert isinstance(direct, TransportFault)
    assert direct.kind == "unreachable"
    await fresh.close()
    await runner.cleanup()


@pytest.mark.parametrize("card", EMBEDDED_MODELS, ids=lambda card: card.id)
def test_a_plan_knows_whose_answers_those_of_a_pinned_model_are(card: ModelCard) -> None:
    """Else a dry run would count as new what the journal holds: it starts no server that could say so."""
    known = PROVIDERS["local"].identity(embedded(card.id), None)
    assert known == f"local:{ModelRegistry(EMBEDDED_MODELS).digest(card)}"
