"""Token counts as services spell them, and estimates for those they leave out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from luthier.providers.exchange import Usage
from luthier.providers.tokens import UNITS_PER_TOKEN, text_units

__all__ = ["read_usage"]

MOST_TOKENS = 2**53
"""A larger count is a fault of the service, and more than the journal's columns take."""

INPUTS = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount", "prompt_eval_count")
OUTPUTS = (
    *("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "candidatesTokenCount", "eval_count"),
)
TOTALS = ("total_tokens", "totalTokens", "totalTokenCount")
DETAILS = ("prompt_tokens_details", "input_tokens_details")
WRITTEN_DETAILS = ("completion_tokens_details", "output_tokens_details")
CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")


def read_usage(usage: Any, written: str = "") -> Usage:
    """Token counts, and a guess for those that are missing, odd or impossible.

    An input that stays 0 is not known: only the request tells how long it was.

    Args:
        usage: what the service gave, if anything.
        written: all the model wrote, thoughts included.

    Examples:
        >>> read_usage({"prompt_tokens": "9", "completion_tokens": 1.0})
        Usage(input_tokens=9, output_tokens=1, cached_input_tokens=0, estimated=False)
        >>> read_usage({"total_tokens": 900}, "positive")
        Usage(input_tokens=898, output_tokens=2, cached_input_tokens=0, estimated=True)
    """
    given = usage if isinstance(usage, Mapping) else {}
    inputs, outputs, total = _count(given, INPUTS), _count(given, OUTPUTS), _count(given, TOTALS)
    thought = _count(_details(given, WRITTEN_DETAILS), ("reasoning_tokens",))
    if thought > outputs > 0:
        outputs += thought  # the service counts thoughts apart from what was written
    estimated = False
    if inputs and total > inputs:
        # Thoughts may be billed and yet be missing among what was written.
        outputs = max(outputs, total - inputs)
    elif outputs and total > outputs and not inputs:
        inputs = total - outputs
    elif written and not outputs:
        outputs = math.ceil(text_units(written) / UNITS_PER_TOKEN)
        outputs = min(outputs, total - 1) if total > 1 else outputs
        inputs = inputs or max(0, total - outputs)
        estimated = True
    elif not inputs and not outputs:
        inputs = total
    cached = _count(_details(given, DETAILS), CACHED) or _count(given, CACHED)
    if "input_tokens" in given and not total and "cache_read_input_tokens" in given:
        # Anthropic counts what was read from its cache apart.
        inputs += cached + _count(given, ("cache_creation_input_tokens",))
    return Usage(inputs, outputs, min(cached, inputs), estimated=estimated or not inputs)


def _details(given: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    return next((given[name] for name in names if isinstance(given.get(name), Mapping)), {})


def _count(given: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((count for name in names if (count := _number(given.get(name)))), 0)


def _number(value: Any) -> int:
    """A count, or 0 if the value is not one; services also write 9.0 and "9"."""
    if isinstance(value, str):
        try:
            value = float(value.replace(",", ""))
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not 0 < value <= MOST_TOKENS:
        return 0
    return math.ceil(value)
