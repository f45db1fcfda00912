"""Rate limits and waits, as the headers of a reply tell them, and what a 429 says ran out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

__all__ = ["Scarce", "Window", "duration_seconds", "retry_after_seconds", "scarce", "window"]

Scarce = Literal["requests", "tokens"]
"""What a service had too little of."""

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")

LONGEST_MINUTE_SECONDS = 120.0

# As OpenAI, Azure and gateways word it: "on tokens per min (TPM)", "exceeded token rate limit", "Too many tokens".
OF_TOKENS = re.compile(r"\btokens?.per.(?:minute|min|day)|\btpm\b|\btoken.rate|\btoken.limit|too many tokens|^tokens\b")
OF_REQUESTS = re.compile(
    r"\brequests?.per.(?:minute|min|day)|\brpm\b|\b(?:call|request).rate|too many requests|^requests\b"
)


@dataclass(frozen=True, slots=True)
class Window:
    """What a service says about one of its limits: the most in a window, what is left, and until it is full again."""

    limit: float | None
    remaining: float | None
    reset_seconds: float | None

    @property
    def per_minute(self) -> float | None:
        """The limit as a rate per minute; `None` where the window is a day or unknown.

        The header does not name its window. An account on a daily limit of 10,000 that has used
        one reports a reset of 8.64 s, which is far more than a ten-thousandth of a minute.
        """
        if self.limit is None:
            return None
        if self.remaining is not None and self.reset_seconds and self.limit > self.remaining:
            used = self.limit - self.remaining
            # The reset is rounded up by some services, which matters when it is about a second.
            if max(0.0, self.reset_seconds - 1.0) * self.limit / used > LONGEST_MINUTE_SECONDS:
                return None
        return self.limit


def window(headers: Mapping[str, str], what: str) -> Window | None:
    """The limit on `requests` or `tokens`, or `None` where the service says nothing of it."""
    limit = _number(headers.get(f"x-ratelimit-limit-{what}"))
    remaining = _number(headers.get(f"x-ratelimit-remaining-{what}"))
    if limit is None and remaining is None:
        return None
    reset = headers.get(f"x-ratelimit-reset-{what}")
    return Window(limit if limit and limit > 0 else None, remaining, duration_seconds(reset) if reset else None)


def duration_seconds(text: str) -> float | None:
    """Seconds in `8.64s`, `7ms`, `1m30s` or a plain number of seconds.

    Examples:
        >>> duration_seconds("1m30s"), duration_seconds("7ms"), duration_seconds("12"), duration_seconds("soon")
        (90.0, 0.007, 12.0, None)
    """
    text = text.strip().lower()
    plain = _number(text)
    if plain is not None:
        return plain
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def retry_after_seconds(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """How long the service asks to wait before this request is sent again; a date counts from `now`."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None and milliseconds >= 0:
        return milliseconds / 1000
    given = headers.get("retry-after")
    if given is None:
        return None
    seconds = _number(given)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        moment = parsedate_to_datetime(given).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def scarce(headers: Mapping[str, str], words: str) -> Scarce | None:
    """What ran out at a 429, by its words in lower case, else by its headers; `None` where neither tells.

    Examples:
        >>> scarce({}, "rate limit reached on tokens per min (tpm): limit 30000, used 29000, requested 1200")
        'tokens'
        >>> scarce({"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "9000"}, "slow down")
        'requests'
    """
    tokens, requests = OF_TOKENS.search(words) is not None, OF_REQUESTS.search(words) is not None
    if tokens == requests:
        left = {what: window(headers, what) for what in ("requests", "tokens")}
        tokens, requests = (
            said is not None and said.remaining is not None and said.remaining < 1
            for said in (left["tokens"], left["requests"])
        )
    if tokens == requests:
        return None
    return "tokens" if tokens else "requests"


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and number == number and abs(number) != float("inf") else None
