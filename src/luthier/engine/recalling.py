"""An entry of the journal read again: bodies are kept as they came, so that better readings reach old answers too."""

from __future__ import annotations

from dataclasses import replace

from luthier.engine.calls import FINAL
from luthier.journal.journal import JournalEntry
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, FailureKind, Request
from luthier.providers.prices import PriceBook
from luthier.providers.tokens import TokenGuess, request_units
from luthier.replies.reading import Unreadable, read_answer

__all__ = ["answer_of_entry"]


def answer_of_entry(
    entry: JournalEntry,
    request: Request,
    endpoint: Endpoint,
    *,
    prices: PriceBook,
    guess: TokenGuess,
    retry_failed: bool,
) -> Answer | None:
    """The answer an entry holds, `None` where the request is to be asked again.

    Args:
        entry: what the journal has.
        request: what was asked.
        endpoint: whom.
        prices: for costs that were kept before the counts could be read.
        guess: for counts the service did not give.
        retry_failed: whether what failed for good is asked again.
    """
    if entry.state == "answered" and entry.body is not None:
        try:
            answer = read_answer(entry.body, entry.operation)  # type: ignore[arg-type]
        except Unreadable:
            return None
        usage, cost = answer.usage, entry.cost_usd
        if usage.estimated and entry.input_tokens:
            usage = replace(usage, input_tokens=entry.input_tokens, output_tokens=entry.output_tokens)
        elif usage.estimated or not entry.input_tokens:
            # Earlier versions took what they could not read of the counts for nothing.
            usage = guess.completed(usage, request_units(request))
            cost = None if cost is None else prices.cost(endpoint, usage, answer.model)
        latency = entry.latency_seconds
        return replace(answer, usage=usage, cost_usd=cost, latency_seconds=latency, from_journal=True)
    if entry.state == "failed" and entry.failure in FINAL and not retry_failed:
        failure: FailureKind = "content" if entry.failure == "content" else "permanent"
        return Answer(failure=failure, status=entry.status, error=entry.error, from_journal=True)
    return None
