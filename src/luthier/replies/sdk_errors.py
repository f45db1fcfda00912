"""What an error of the official client means: refused, not able to answer just now, or done without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply
from luthier.replies.cures import stopping_error
from luthier.replies.failures import Verdict, judge

if TYPE_CHECKING:
    import openai

__all__ = ["OutcomeUnknown", "ServiceUnavailable", "judged", "translated"]


class ServiceUnavailable(EndpointError):
    """The service cannot be reached or is busy; what was asked for did not happen, and a later try may succeed."""


class OutcomeUnknown(ServiceUnavailable):
    """A request that changes something was sent and got no answer: the change may have happened."""


def judged(error: openai.APIStatusError, secrets: Sequence[str]) -> Verdict:
    """The verdict on a status that tells of a failure."""
    reply = Reply(error.status_code, dict(error.response.headers), error.response.content, 0.0)
    return judge(reply, secrets)


def translated(
    error: openai.OpenAIError, endpoint: Endpoint, secrets: Sequence[str], doing: str, *, changes: bool
) -> EndpointError:
    """Luthier's error for one of the client's.

    Args:
        error: of the client.
        endpoint: who was asked.
        secrets: keys to keep out of the message.
        doing: what was asked for, as in `uploading x.jsonl`.
        changes: whether it changes something at the service: what got no answer may have happened all the same.
    """
    import httpx2
    import openai

    if isinstance(error.__cause__, EndpointError):
        return error.__cause__
    where = endpoint.address
    if not isinstance(error, openai.APIStatusError):
        said = redact(str(error).splitlines()[0] if str(error) else type(error).__name__, secrets)
        what = "did not answer" if isinstance(error, openai.APIConnectionError) else "answered something unreadable"
        never_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
        kind = OutcomeUnknown if changes and not never_sent else ServiceUnavailable
        return kind(f"{where} {what} ({doing}): {said}")
    verdict = judged(error, secrets)
    if verdict.cause is not None and verdict.cause not in ("unknown_model", "wrong_address"):
        return stopping_error(verdict, endpoint)
    if verdict.kind in ("rate_limit", "transient"):
        # After a 429 nothing has happened; after a status from 500 up it may have.
        kind = OutcomeUnknown if changes and error.status_code != 429 else ServiceUnavailable
        return kind(f"{where} is not able to answer just now ({doing}): {verdict.message}")
    refused = "does not offer this" if error.status_code in (404, 405) else "refused"
    return EndpointError(f"{where} {refused} ({doing}): {verdict.message}")
