"""All that is lacking, answered by batches, or the error that says when to come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from luthier.batches.asking import BatchOutcome, ask_by_batch
from luthier.engine.options import RunOptions
from luthier.errors import Partial, UserError
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request

__all__ = ["answer_by_batch"]


def answer_by_batch(
    lacking: Callable[[], Iterable[tuple[Request, Endpoint]]], options: RunOptions, *, wait: bool, purpose: str
) -> BatchOutcome:
    """As `ask_by_batch`, until nothing is lacking.

    Args:
        lacking: what the journal has no answer to at present; called again after each harvest.
        options: on what terms models are asked.
        wait: whether it returns only when everything is answered.
        purpose: what the batches are for, in a few words.

    Raises:
        Partial: batches still run, and `wait` is false.
        UserError: answers of the journal were to be asked again.
    """
    again = "fresh" if options.fresh else "retry-failed" if options.retry_failed else None
    if again is not None:
        raise UserError(
            f"a batch asks what the journal has no answer to; --{again} ({again.replace('-', '_')}=True) asks again "
            f"what it has. Leave one of the two out: --mode batch, or --{again}."
        )
    outcome = ask_by_batch(lacking, options, wait=wait, purpose=purpose)
    if not outcome.complete:
        raise Partial(outcome.said)
    return outcome
