"""One HTTP call: what is sent for a request and its companions, and what each of them has from the reply."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from luthier.engine.endpoint_queue import Call, PendingRequest, SplitCall, settings_of
from luthier.errors import EndpointError
from luthier.providers.base import Provider
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.redaction import redact, redact_bytes
from luthier.providers.tokens import texts_of
from luthier.providers.transport import Reply, Transport, TransportFault
from luthier.replies.failures import Verdict, judge, judge_fault, judge_unread, unreadable
from luthier.replies.reading import ReplyPart, Unreadable, read_answer, read_call

__all__ = ["ExchangeObserver", "exchange", "observed_exchange", "regrouped", "split"]

# As OpenAI, Azure, vLLM, text-embeddings-inference and gateways say that there were too many texts.
TOO_MANY = re.compile(
    r"batch.?size|too many (inputs|texts|items)|(number|maximum|max) .{0,24}(inputs|texts|items)|array too long|"
    r"at most \d+ (inputs|texts|items)"
)


class ExchangeObserver(Protocol):
    """Is told of every HTTP call of an engine, on its loop: it returns at once."""

    def began(self, which: object, endpoint: Endpoint) -> None:
        """An HTTP call is sent; `which` tells it from others."""

    def ended(self, which: object, endpoint: Endpoint, outcome: Reply | Verdict | None) -> None:
        """It was answered, or failed; `None` where it was ended because its answer was no longer waited for."""


async def observed_exchange(
    pending: PendingRequest, provider: Provider, transport: Transport, observer: ExchangeObserver | None
) -> tuple[Reply, Sequence[ReplyPart | Unreadable]] | Verdict:
    """As `exchange`, and tells an observer of it."""
    if observer is None:
        return await exchange(pending, provider, transport)
    endpoint = pending.permit.endpoint
    observer.began(pending, endpoint)
    seen: Reply | Verdict | None = None
    try:
        outcome = await exchange(pending, provider, transport)
        if isinstance(outcome, Verdict):
            seen = outcome
        else:
            unread = next((part for part in outcome[1] if isinstance(part, Unreadable)), None)
            seen = outcome[0] if unread is None else unreadable(unread)
        return outcome
    finally:
        observer.ended(pending, endpoint, seen)


async def exchange(
    pending: PendingRequest, provider: Provider, transport: Transport
) -> tuple[Reply, Sequence[ReplyPart | Unreadable]] | Verdict:
    """Sends a request with its companions and reads the reply, without any key in it.

    Returns:
        The reply with what each member has from it, or the verdict on a failure.
    """
    call, lane, endpoint = pending.call, pending.permit.lane, pending.permit.endpoint
    operation = pending.request.operation
    asked = _in_one_call(pending)
    while True:
        request = lane.likeliest.within(asked)
        try:
            reply = await provider.send(request, endpoint, transport)
        except EndpointError as error:
            if not call.queue.is_pool:
                raise
            # No key, or no token: the other endpoints of the model do not need it.
            return Verdict("access", redact(str(error), provider.secrets(endpoint)), cause="access")
        if not lane.likeliest.learned(reply, request):
            break
        for report in call.reports:
            report.sent += 1
    secrets = provider.secrets(endpoint)
    if isinstance(reply, TransportFault):
        verdict = judge_fault(reply, secrets, reached=lane.limiter.met)
    else:
        body_without_keys = redact_bytes(reply.body, secrets)
        if body_without_keys is not reply.body:
            reply = replace(reply, body=body_without_keys)
        lane.limiter.obey(reply.headers, pending.permit.ticket)
        if reply.status != 429 and reply.status < 500:
            lane.limiter.accepted(pending.permit.ticket)
        if 200 <= reply.status < 300:
            try:
                return reply, _parts(pending, reply.body)
            except Unreadable as error:
                answered = lane.answered or call.cause.answered
                verdict = judge_unread(reply, error, secrets, operation, texts_of(asked), answered=answered)
        else:
            verdict = judge(reply, secrets, operation, texts_of(asked))
    has_left = reply.kind == "unreachable" if isinstance(reply, TransportFault) else reply.status == 401
    if endpoint.provider == "local" and has_left:
        # The embedded server goes when it is idle and comes back elsewhere with another token.
        await provider.prepare(endpoint, again=True)
        verdict = replace(verdict, kind="transient", cause=None)
    return verdict


def regrouped(some: Iterable[PendingRequest]) -> list[PendingRequest]:
    """One request for each call among these, with the others of that call as its companions."""
    calls: dict[Call, list[PendingRequest]] = {}
    for pending in some:
        calls.setdefault(pending.call, []).append(pending)
    for first, *others in calls.values():
        first.companions = tuple(others)
    return [members[0] for members in calls.values()]


def split(pending: PendingRequest, message: str) -> Iterator[tuple[Sequence[PendingRequest], SplitCall | None]]:
    """The smaller HTTP calls to make of one that was refused for good with this message."""
    members, lane = pending.disband(), pending.permit.lane
    half = -(-len(members) // 2)
    halves: SplitCall | None = None
    if TOO_MANY.search(message.lower()):
        lane.takes_at_most(half)
        half = min(half, lane.most_texts)
    else:
        halves = SplitCall(half)
    for begin in range(0, len(members), half):
        yield members[begin : begin + half], halves


def _in_one_call(pending: PendingRequest) -> Request:
    request = pending.request
    if request.operation != "embedding":
        return request
    texts = [member.request.body.get("input") for member in pending.members]
    return Request("embedding", {**settings_of(request), "input": texts, "encoding_format": "base64"})


def _parts(pending: PendingRequest, body: bytes) -> Sequence[ReplyPart | Unreadable]:
    if pending.request.operation != "embedding":
        return (ReplyPart(read_answer(body, pending.request.operation), body),)
    return read_call(body, [member.units for member in pending.members])
