"""The errors that the server answers, in OpenAI's shape and with its codes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

__all__ = [
    "ApiError",
    "context_overflow",
    "invalid_key",
    "invalid_value",
    "model_not_found",
    "no_such",
    "refused_host",
    "unsupported_parameter",
    "unsupported_value",
    "wrong_route",
]


class ApiError(Exception):
    """An answer that is an error: its status, its body and its extra headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid_key(missing: bool) -> ApiError:
    """401: no key, or another one than this server's. The key itself is never repeated."""
    text = "You didn't provide an API key." if missing else "Incorrect API key provided."
    cure = " Send it as `Authorization: Bearer KEY` or `api-key: KEY`."
    return ApiError(401, text + cure, code="invalid_api_key")


def model_not_found(name: str, served: list[str]) -> ApiError:
    """404: no model of that name is served."""
    message = f"The model `{name[:200]}` does not exist. Served: {', '.join(served) or 'none'}."
    return ApiError(404, message, param="model", code="model_not_found")


def wrong_route(message: str, status: int = 404) -> ApiError:
    """The model is served, but on other routes."""
    return ApiError(status, message, param="model")


def unsupported_parameter(name: str, instead: str = "") -> ApiError:
    """400: the model does not take this parameter."""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
    return ApiError(400, message, param=name, code="unsupported_parameter")


def unsupported_value(name: str, value: object, allowed: str) -> ApiError:
    """400: the model takes this parameter, but not this value."""
    message = f"Unsupported value: '{name}' does not support {value!r} with this model. {allowed}"
    return ApiError(400, message, param=name, code="unsupported_value")


def invalid_value(name: str, message: str, code: str | None = "invalid_value") -> ApiError:
    """400: a value of the wrong type or out of range."""
    return ApiError(400, f"Invalid '{name}': {message}", param=name, code=code)


def context_overflow(limit: int, prompt: int, completion: int, where: str) -> ApiError:
    """400: prompt and answer do not fit into the model's context."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, you requested "
        f"{prompt + completion} tokens ({prompt} in the {where}, {completion} in the completion). "
        f"Please reduce the length of the {where} or completion."
    )
    return ApiError(400, message, param=where, code="context_length_exceeded")


def no_such(what: str, identity: str) -> ApiError:
    """404: no file, job or batch has that id."""
    return ApiError(404, f"No such {what}: {identity[:80]}", param="id", code="not_found")


def refused_host(host: str) -> ApiError | None:
    """The error for a request whose Host header does not name this machine's loopback interface.

    A web page whose own name was made to resolve to this machine (DNS rebinding) sends that name.
    """
    name = host[1:].split("]", 1)[0] if host.startswith("[") else host.split(":", 1)[0]
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return None
    try:
        if ipaddress.ip_address(name).is_loopback:
            return None
    except ValueError:
        pass
    return ApiError(403, f"Host {host!r} is not this server; ask for 127.0.0.1 or localhost.", code="unknown_host")
