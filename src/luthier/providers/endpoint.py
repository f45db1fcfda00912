"""Where a model answers: provider, model, address, limits, price, and the NAME of the key's variable."""

from __future__ import annotations

import os
import re
from typing import Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from luthier.errors import EndpointError, UserError
from luthier.providers.redaction import KEY_LIKE, redact
from luthier.tasks.readable_errors import ReadableErrors, readable_validation_error

__all__ = ["Endpoint", "Limits", "Price", "Resource", "azure", "compatible", "embedded", "openai"]

Provider = Literal["openai", "azure", "together", "fireworks", "vllm", "compatible", "local"]

DEFAULT_KEY_VARIABLE: dict[str, str] = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
}

PUBLIC_ADDRESS: dict[str, str] = {
    "openai": "https://api.openai.com/v1",
    "together": "https://api-inference.together.ai/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
}
"""Where a provider answers unless `base_url` says otherwise."""

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")

EMBEDDED_CONCURRENCY = 1

OUR_FIELDS = (
    *("messages", "prompt", "input", "questions", "model", "n", "best_of", "stream"),
    *("logprobs", "top_logprobs", "max_tokens", "temperature"),
)
"""Fields a request carries itself. An endpoint that overrode them would void estimates, budgets and reading."""

CALLS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/decisions", "/models")
"""Paths of the protocol that people copy along with a base URL."""

SECRET_NAMES = {"apikey", "xapikey", "authorization", "password", "secret", "accesstoken"}


class _Speaking(ReadableErrors):
    def fault(cls, error: ValidationError) -> UserError:  # noqa: N805  (a metaclass's own name for it)
        return EndpointError(f"{cls.__name__}: {redact(readable_validation_error(error, cls))}")


class Limits(BaseModel, metaclass=_Speaking):
    """How much may be asked of an endpoint; what the service's headers say is obeyed as well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests the account may start in a minute."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Tokens, in and out, the account may use in a minute."""
    concurrency: int = Field(default=64, ge=1, le=4096)
    """Most requests in flight at once; fewer are used while the service pushes back."""


class Price(BaseModel, metaclass=_Speaking):
    """What the service charges, where the price list does not know the model. 0 is a price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_usd_per_million: float = Field(ge=0)
    """US dollars for a million input tokens."""
    output_usd_per_million: float = Field(ge=0)
    """US dollars for a million output tokens."""
    cached_input_usd_per_million: float | None = Field(default=None, ge=0)
    """US dollars for a million input tokens the service had cached; the input price when absent."""
    batch_share: float | None = Field(default=None, ge=0, le=1)
    """What the Batch API charges as a part of these prices; when absent, 0.5 at OpenAI and Azure, 1 elsewhere."""
    training_usd_per_million: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens a fine-tuning job trains on, each epoch counted; unknown when absent."""
    hosting_usd_per_hour: float | None = Field(default=None, ge=0)
    """US dollars for an hour in which a deployment of a tuned model exists, asked or not; unknown when absent."""


class Resource(BaseModel, metaclass=_Speaking):
    """The Azure resource behind an endpoint, for what only Azure Resource Manager does: deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subscription: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    """Id of the subscription."""
    group: str = Field(pattern=r"^[A-Za-z0-9_().-]+$")
    """Name of the resource group."""
    account: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    """Name of the account; the first part of the base_url when absent."""


class Endpoint(BaseModel, metaclass=_Speaking):
    """Where a model answers. Holds no secret: only the name of the variable that does.

    Examples:
        >>> Endpoint(provider="compatible", base_url="http://127.0.0.1:8000/v1/", model="qwen").address
        'http://127.0.0.1:8000/v1'
    """

    # A key put into the wrong field must not be shown by the error that says so.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: Provider
    """`openai`, `azure`, `together`, `fireworks`, `vllm` (your own GPU), `compatible` (any server of the OpenAI
    protocol) or `local` (embedded)."""
    model: str
    """Model to ask for; at Azure, the name of the deployment."""
    base_url: str | None = None
    """Address up to and including `/v1`. Needed for `compatible` and `vllm`; at Azure the resource's address."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key, such as OPENAI_API_KEY. Never the key."""
    auth: Literal["key", "entra"] = "key"
    """At Azure: a key, or the identity of the signed-in user (Entra)."""
    identity: str | None = None
    """Name under which answers are kept in the journal, where the address does not tell models apart."""
    priced_as: str | None = None
    """Model whose list price counts, where the deployment's name does not tell."""
    limits: Limits = Limits()
    price: Price | None = None
    """Own price; wins over the price list."""
    resource: Resource | None = None
    """At Azure: where deployments of tuned models are made, as in {subscription: ..., group: ...}."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest wait for one answer before it is tried again."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, for servers that want some; part of the journal's key.

    Nothing a request carries itself, and no key. `max_completion_tokens` is allowed for gateways that
    want it: it takes the place of `max_tokens` in chat, and estimates and budgets count with it.
    """
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Its part of the work, where several endpoints answer for one model."""
    others: tuple[Endpoint, ...] = ()
    """Further endpoints of the same model that share the work: what `endpoints:` lists after the first."""

    @model_validator(mode="before")
    @classmethod
    def _fits_the_machine(cls, given: Any) -> Any:
        # The embedded server computes on this machine: more at once would only wait in its queue.
        if isinstance(given, dict) and given.get("provider") == "local" and "limits" not in given:
            return {**given, "limits": Limits(concurrency=EMBEDDED_CONCURRENCY)}
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.provider in ("compatible", "vllm", "azure") and not self.base_url:
            example = "https://NAME.openai.azure.com" if self.provider == "azure" else "http://127.0.0.1:8000/v1"
            raise ValueError(f"provider {self.provider} needs base_url, as in base_url: {example}")
        if self.provider == "local" and self.base_url:
            raise ValueError("provider local starts its own server; use provider compatible to give a base_url")
        if self.base_url is not None:
            parts = _parts_of(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError(f"base_url {self.base_url!r} is no address; it starts with http:// or https://")
            if parts.username or parts.password:
                raise ValueError(
                    "base_url holds credentials; put the key in a variable and name that: api_key_env: MY_KEY"
                )
            if "?" in self.base_url:
                # Not repeated: a query may hold a key.
                raise ValueError(
                    "base_url holds a query (?...), which is not sent; it ends with the path: .../v1. A key in it "
                    "belongs in an environment variable: api_key_env: MY_KEY"
                )
            called = next((path for path in CALLS if parts.path.rstrip("/").endswith(path)), None)
            if called is not None:
                whole = self.base_url.rstrip("/").removesuffix(called)
                raise ValueError(f"base_url ends with {called}, which each call adds itself; write base_url: {whole}")
            if "#" in self.base_url:
                raise ValueError("base_url holds a fragment (#...), which is never sent; it ends with the path: .../v1")
        if self.api_key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            # The value is not repeated: it is most likely the key itself.
            raise ValueError("api_key_env is the NAME of an environment variable, such as OPENAI_API_KEY, not a key")
        if self.auth == "entra" and self.provider != "azure":
            raise ValueError(f"auth: entra is for provider azure; provider {self.provider} takes a key")
        if self.resource is not None and self.provider != "azure":
            raise ValueError(f"resource: is for provider azure; provider {self.provider} has no deployments to make")
        self._check_extra_body()
        self._check_others()
        return self

    @model_serializer(mode="wrap")
    def _without_a_pool(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An endpoint alone is written as it was before there were others, so that digests and files stay.
        document: dict[str, Any] = serialize(self)
        alone = {"others"} if not self.others else set()
        alone |= {"weight"} if self.weight == 1 else set()
        return {name: value for name, value in document.items() if name not in alone}

    def _check_others(self) -> None:
        """Refuses others whose answers could not stand for those of this endpoint."""
        known = {self.account}
        for number, other in enumerate(self.others, start=2):
            which = f"endpoint {number} ({other.model} at {other.address})"
            if other.others:
                raise ValueError(f"{which} has others of its own; list all endpoints of the model side by side")
            if other.account in known:
                raise ValueError(f"{which} is listed twice; one that shall do more gets a larger `weight:`")
            known.add(other.account)
            if other.extra_body != self.extra_body:
                raise ValueError(f"{which} has another extra_body than the first; it may change answers: give all one")
            if other.identity is not None and other.identity != self.identity:
                raise ValueError(
                    f"{which} has the identity {other.identity!r}. All answers are kept under that of the first, which "
                    f"is {self.identity or 'not given'}: write `identity: {other.identity}` there, or leave it out here"
                )

    def _check_extra_body(self) -> None:
        if _holds_secret(self.extra_body):
            # Neither the name nor the value is repeated: either may be the key.
            raise ValueError(
                "extra_body seems to hold a key, and it is stored with the spec; put the key in an environment "
                "variable and name that: api_key_env: MY_KEY"
            )
        refused = [name for name in self.extra_body if name in OUR_FIELDS]
        if refused:
            raise ValueError(
                f"extra_body holds {', '.join(refused)}, which each request carries itself. Put max_tokens and "
                "temperature in `decoding:` of the spec, and leave the others out; a gateway that wants the newer "
                "name takes extra_body: {max_completion_tokens: 2000}"
            )
        most = self.extra_body.get("max_completion_tokens", 1)
        if type(most) is not int or most < 1:
            raise ValueError("max_completion_tokens in extra_body is a whole number, 1 or more")

    def asking(self, model: str) -> Endpoint:
        """The same service asked for another model, without what holds for this one alone.

        That is its price, its name in the journal, and the other endpoints that share its work.

        Examples:
            >>> mini = Endpoint(provider="openai", model="mini", priced_as="mini", weight=2)
            >>> mini.asking("large") == Endpoint(provider="openai", model="large")
            True
        """
        alone = {"price": None, "priced_as": None, "identity": None, "others": (), "weight": 1.0}
        return self.model_copy(update={**alone, "model": model})

    @property
    def address(self) -> str:
        """The base URL without a trailing slash; `local` for the embedded server."""
        if self.provider == "local":
            return "local"
        url = self.base_url or PUBLIC_ADDRESS[self.provider]
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        if self.provider == "azure" and not path.endswith("/openai/v1"):
            path = path.removesuffix("/openai") + "/openai/v1"
        return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}"

    @property
    def account(self) -> tuple[str, str | None, str]:
        """What rate limits belong to: address, name of the key's variable, and model."""
        return self.address, self.key_variable, self.model

    @property
    def pool(self) -> tuple[Endpoint, ...]:
        """All endpoints that share the work, this one first."""
        return (self, *self.others)

    @property
    def pool_names(self) -> tuple[str, ...]:
        """What tells the endpoints of `pool` apart, for messages and reports."""
        names = [f"{one.model} at {one.address}" for one in self.pool]
        twice = {name for name in names if names.count(name) > 1}
        return tuple(
            f"{name} by the key in {one.key_variable}" if name in twice else name
            for name, one in zip(names, self.pool, strict=True)
        )

    @property
    def is_at_home(self) -> bool:
        """Whether its key goes to the provider that the key's variable belongs to, over TLS."""
        parts = urlsplit(self.address)
        host, public = parts.hostname or "", PUBLIC_ADDRESS.get(self.provider)
        if self.key_variable != DEFAULT_KEY_VARIABLE.get(self.provider) or parts.scheme != "https":
            return False
        return host.endswith(AZURE_HOSTS) if public is None else host == urlsplit(public).hostname

    @property
    def key_variable(self) -> str | None:
        """Name of the variable the key is read from; `None` where none is needed."""
        if self.auth == "entra" or self.provider == "local":
            return None
        return self.api_key_env or DEFAULT_KEY_VARIABLE.get(self.provider)

    def key(self) -> str | None:
        """The key, read now; `None` where none is needed.

        Raises:
            EndpointError: the variable is not set.
        """
        variable = self.key_variable
        if variable is None:
            return None
        key = os.environ.get(variable, "").strip()
        if not key:
            raise EndpointError(
                f"the environment variable {variable}, which holds the key for {self.model} at {self.address}, "
                f"is not set. Type: export {variable}=..."
            )
        return key

    def secrets(self) -> tuple[str, ...]:
        """The key if there is one now, to keep it out of messages and files; never raises."""
        variable = self.key_variable
        key = os.environ.get(variable, "").strip() if variable is not None else ""
        return (key,) if key else ()

    @property
    def label(self) -> str:
        """Short name for tables and messages."""
        return f"{self.provider}/{self.model}"


def _parts_of(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"base_url is no address ({error}); write it as http://HOST:PORT/v1") from error
    if re.search(r"\s", url):
        raise ValueError("base_url holds a space or a line break; write it as http://HOST:PORT/v1")
    return parts


def _holds_secret(value: Any) -> bool:
    if isinstance(value, str):
        return KEY_LIKE.search(value) is not None
    if isinstance(value, dict):
        return any(_is_secret_name(str(name)) or _holds_secret(inner) for name, inner in value.items())
    return isinstance(value, list | tuple) and any(map(_holds_secret, value))


def _is_secret_name(name: str) -> bool:
    return re.sub(r"[^a-z]", "", name.lower()) in SECRET_NAMES or KEY_LIKE.search(name) is not None


def openai(model: str, **settings: Any) -> Endpoint:
    """A model at OpenAI; the key is read from OPENAI_API_KEY unless `api_key_env` says otherwise."""
    return Endpoint(provider="openai", model=model, **settings)


def azure(deployment: str, base_url: str, **settings: Any) -> Endpoint:
    """A deployment at Azure; the key is read from AZURE_OPENAI_API_KEY, or `auth="entra"`."""
    return Endpoint(provider="azure", model=deployment, base_url=base_url, **settings)


def compatible(model: str, base_url: str, **settings: Any) -> Endpoint:
    """A model on any server of the OpenAI protocol: vLLM, Ollama, LM Studio, a gateway."""
    return Endpoint(provider="compatible", model=model, base_url=base_url, **settings)


def embedded(model: str = "smollm2-135m-instruct", **settings: Any) -> Endpoint:
    """A model of the embedded server, which is started when it is needed."""
    return Endpoint(provider="local", model=model, **settings)
