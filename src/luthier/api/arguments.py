"""What a notebook may give by mistake, refused where it is given."""

from __future__ import annotations

from typing import Any

from luthier.documents import described
from luthier.errors import UserError

__all__ = ["is_by_batch", "need_number", "need_text", "need_texts", "need_whole"]


def is_by_batch(mode: Any) -> bool:
    """Whether rows are asked by batch, and not live.

    Raises:
        UserError: it is another mode.

    Examples:
        >>> is_by_batch("batch"), is_by_batch("live")
        (True, False)
    """
    if mode not in ("live", "batch"):
        raise UserError(f"mode is live or batch; given: {mode!r}.")
    return bool(mode == "batch")


def need_text(what: str, given: Any) -> str:
    """The text that was given.

    Raises:
        UserError: it is no text.

    Examples:
        >>> need_text("name", "gpt-4.1-mini")
        'gpt-4.1-mini'
    """
    if not isinstance(given, str):
        raise UserError(f"{what} is a text; given: {described(given)}.")
    return given


def need_texts(what: str, given: Any) -> tuple[str, ...]:
    """The texts that were given; one alone is a list of itself.

    Raises:
        UserError: it is neither a text nor several.

    Examples:
        >>> need_texts("models", "gpt-4.1-mini"), need_texts("models", ["a", "b"])
        (('gpt-4.1-mini',), ('a', 'b'))
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise UserError(f"{what} is a list of texts; given: {described(given)}.")
    return tuple(given)


def need_whole(what: str, given: Any, least: int = 1) -> int:
    """The whole number that was given.

    Raises:
        UserError: it is none, or too small.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UserError(f"{what} is a whole number, {least} or more; given: {described(given)}.")
    return given


def need_number(what: str, given: Any) -> float | None:
    """The number that was given, if there is one.

    Raises:
        UserError: it is no number, or negative.
    """
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0):
        raise UserError(f"{what} is a number, 0 or more; given: {described(given)}.")
    return None if given is None else given
