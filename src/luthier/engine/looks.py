"""Looks at an endpoint beside the work: its list of models, which costs nothing, or one of the cheapest calls."""

from __future__ import annotations

from luthier.engine.identities import PROBES
from luthier.errors import LuthierError
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Operation
from luthier.providers.prices import PriceBook
from luthier.providers.transport import TransportFault, shared_transport
from luthier.replies.failures import Verdict, judge, judge_fault, judge_unread
from luthier.replies.reading import Unreadable, read_answer

__all__ = ["look_at_models", "try_call"]

UNLISTED = (404, 405, 501)
"""Statuses of services that list no models; they are there, and say nothing of the key."""


async def look_at_models(endpoint: Endpoint, timeout_seconds: float) -> Verdict | None:
    """Asks for the list of models; `None` where it came, or where the service has none."""
    provider = PROVIDERS[endpoint.provider]
    try:
        reply = await provider.list_models(endpoint, shared_transport(), timeout_seconds)
        secrets = provider.secrets(endpoint)
    except LuthierError as error:
        return Verdict("access", str(error), cause="access")
    if isinstance(reply, TransportFault):
        return judge_fault(reply, secrets, reached=False)
    if 200 <= reply.status < 300:
        # A page of a proxy is no list.
        found = judge_unread(reply, "no list of models", secrets, answered=False)
        return found if found.cause == "not_an_answer" and b'"data"' not in reply.body else None
    return None if reply.status in UNLISTED else judge(reply, secrets)


async def try_call(
    endpoint: Endpoint, operation: Operation, timeout_seconds: float, prices: PriceBook
) -> tuple[Verdict | None, float]:
    """Makes the cheapest call of an operation, which is not kept; what it cost in US dollars comes with it."""
    provider = PROVIDERS[endpoint.provider]
    hasty = endpoint.model_copy(update={"timeout_seconds": min(timeout_seconds, endpoint.timeout_seconds)})
    try:
        reply = await provider.send(PROBES[operation], hasty, shared_transport())
        secrets = provider.secrets(endpoint)
    except LuthierError as error:
        return Verdict("access", str(error), cause="access"), 0.0
    if isinstance(reply, TransportFault):
        return judge_fault(reply, secrets, reached=False), 0.0
    if not 200 <= reply.status < 300:
        return judge(reply, secrets, operation), 0.0
    try:
        answer = read_answer(reply.body, operation)
    except Unreadable as error:
        return judge_unread(reply, error, secrets, operation, answered=False), 0.0
    return None, prices.cost(endpoint, answer.usage, answer.model) or 0.0
