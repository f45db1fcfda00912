"""Scripted faults: which requests go wrong, and how."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from aiohttp import web

from luthier.errors import EndpointError
from luthier_local.api_errors import ApiError

__all__ = ["ACTIONS", "Fault", "FaultRules", "ConnectionEnded", "break_off"]

ACTIONS = {
    "rate_limit": "429 rate_limit_exceeded with retry-after (`retry_after_seconds`; negative: without)",
    "quota": "429 insufficient_quota",
    "status": "an error with `status`, `message` and `code`",
    "poison": "400 content_policy_violation, as for a text the service will not read",
    "refusal": "200 with message.refusal set and no content; a decision answered by a refusal",
    "content_filter": "200 with finish_reason content_filter",
    "timeout": "no answer, ever",
    "reset": "the connection is reset",
    "malformed_json": "200 with a body that is not JSON",
    "truncated": "200 with a content-length longer than the body",
    "slow": "the right answer, `delay_seconds` late",
    "held": "the right answer, once the rule is removed",
    "done_timeout": "the work is done, but no answer comes, ever (files, jobs and batches only)",
    "done_reset": "the work is done, then the connection is reset (files, jobs and batches only)",
    "closed": "403, as for an account to which fine-tuning is closed",
}


class ConnectionEnded(Exception):
    """The script ended the connection."""


@dataclass
class Fault:
    """One rule: the requests it matches and what happens to them. The first rule that fires wins.

    A rule counts the requests that match `contains`, `path` and `method`; `nth` and `every` refer to that count.
    """

    action: str
    """One of `ACTIONS`."""
    contains: str | None = None
    """Text that the request's body must contain."""
    path: str | None = None
    """End of the request's path, such as `chat/completions`."""
    method: str | None = None
    """HTTP method, such as `POST`."""
    nth: int | Sequence[int] | None = None
    """Only this one, or these, of the matching requests, counted from 1."""
    every: int | None = None
    """Only one in `every` matching requests: 3 fires on the 3rd, 6th, ..."""
    times: int | None = None
    """How often it fires at most; `None`: no limit."""
    status: int = 500
    message: str | None = None
    code: str | None = None
    retry_after_seconds: float = 1.0
    delay_seconds: float = 1.0
    seen: int = 0
    """Matching requests so far."""
    fired: int = 0
    """How often it has fired so far."""
    removed: bool = False
    """Whether it is no longer in force."""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise EndpointError(f"fault action {self.action!r} is not one of {', '.join(ACTIONS)}")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Fault:
        """Reads a rule from a decoded JSON object; unknown keys are refused by name."""
        allowed = [field.name for field in fields(cls) if field.name not in ("seen", "fired", "removed")]
        unknown = sorted(set(given) - set(allowed))
        if unknown or "action" not in given:
            what = f"unknown keys {', '.join(unknown)}" if unknown else "no `action`"
            raise EndpointError(f"fault with {what}; allowed: {', '.join(allowed)}")
        return cls(**given)

    @property
    def replaces_answer(self) -> bool:
        """Whether nothing is done and the answer is no HTTP error."""
        return self.action in ("timeout", "reset", "malformed_json", "truncated")

    @property
    def loses_answer(self) -> bool:
        """Whether the work is done and the answer is lost."""
        return self.action in ("done_timeout", "done_reset")

    def fires(self, path: str, body: str, method: str = "POST") -> bool:
        """Counts the request if it matches; returns whether the rule fires."""
        if self.method is not None and method != self.method:
            return False
        if self.path is not None and not path.endswith(self.path):
            return False
        if self.contains is not None and self.contains not in body:
            return False
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return False
        if self.nth is not None and self.seen not in ((self.nth,) if isinstance(self.nth, int) else self.nth):
            return False
        if self.every is not None and self.seen % self.every:
            return False
        self.fired += 1
        return True

    def error(self) -> ApiError | None:
        """The error to answer with, where the action is one."""
        if self.action == "rate_limit":
            headers = {}
            if self.retry_after_seconds >= 0:
                headers = {
                    "retry-after": f"{self.retry_after_seconds:g}",
                    "retry-after-ms": f"{self.retry_after_seconds * 1000:.0f}",
                }
            message = self.message or "Rate limit reached on requests per min (scripted)."
            return ApiError(429, message, kind="requests", code=self.code or "rate_limit_exceeded", headers=headers)
        if self.action == "quota":
            message = "You exceeded your current quota, please check your plan and billing details."
            return ApiError(429, message, kind="insufficient_quota", code="insufficient_quota")
        if self.action == "poison":
            message = self.message or "Your request was rejected by the content policy (scripted)."
            return ApiError(400, message, code=self.code or "content_policy_violation")
        if self.action == "closed":
            message = (
                "Your organization does not have access to fine-tuning: self-serve fine-tuning is closed to it. "
                "Models that are already tuned go on answering."
            )
            return ApiError(403, message, code="fine_tuning_not_available")
        if self.action == "status":
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
            message = self.message or f"Scripted error {self.status}."
            return ApiError(self.status, message, kind=kind, code=self.code)
        return None


class FaultRules:
    """The rules in force, in order."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, fault: Fault) -> Fault:
        """Adds a rule and returns it; its `seen` and `fired` keep counting."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Removes all rules."""
        for fault in self._faults:
            fault.removed = True
        self._faults.clear()

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults))

    def fire(self, path: str, body: bytes, method: str = "POST", *, named: bool = False) -> Fault | None:
        """The first rule that this request triggers; of those that name a path only, where `named`."""
        if not self._faults:
            return None
        text = body.decode("utf-8", "replace")
        if "\\" in text:
            # A client may have escaped what the rule spells out.
            with contextlib.suppress(ValueError, RecursionError):
                text += "\n" + json.dumps(json.loads(text), ensure_ascii=False)
        for fault in list(self._faults):
            if (fault.path or not named) and fault.fires(path, text, method):
                return fault
        return None


async def break_off(action: str, request: web.Request) -> web.StreamResponse:
    """Ends a request without a right answer: `timeout`, `reset`, `malformed_json` or `truncated`.

    Raises:
        ConnectionEnded: The connection is gone.
    """
    transport = request.transport
    if action == "timeout":
        await asyncio.Event().wait()
    if action == "malformed_json":
        return web.Response(text='{"id": "chatcmpl-0", "choices": [{"index"', content_type="application/json")
    if action == "truncated":
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = 4096
        await response.prepare(request)
        await response.write(b'{"id": "chatcmpl-0", "choices": [')
        if transport is not None:
            transport.close()
        return response
    if transport is not None:
        peer = transport.get_extra_info("socket")
        if peer is not None:
            # Without lingering the kernel sends RST, not FIN.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise ConnectionEnded
