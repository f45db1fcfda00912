"""How often and when a request is sent again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from luthier.engine.endpoint_queue import PendingRequest
from luthier.providers.exchange import FailureKind
from luthier.replies.failures import Verdict

__all__ = ["RETRYABLE", "EngineSettings", "RetryPolicy"]

PATIENCE_WAITS = 20
COOLDOWN_WAITS = 10
LONGEST_COOLDOWN_WAITS = 2
PROMPT_RETURNS = 3
LONGEST_WAIT_SECONDS = 600.0
FIRST_CONTACT_ATTEMPTS = 3
FIRST_CONTACT_SECONDS = 0.4

RETRYABLE: frozenset[FailureKind] = frozenset({"rate_limit", "transient"})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The constants of an engine, as `Engine` describes them."""

    clock: Callable[[], float]
    max_attempts: int
    backoff_seconds: float
    longest_backoff_seconds: float
    identity_seconds: float
    seed: int
    limits_share: float

    @property
    def patience_seconds(self) -> float:
        """How long a request is told to slow down before it is given up for now: 10 minutes by default."""
        return PATIENCE_WAITS * self.longest_backoff_seconds

    @property
    def cooldowns(self) -> tuple[float, float]:
        """The shortest and the longest time that one of several endpoints is left out: 5 s and a minute by default."""
        longest = LONGEST_COOLDOWN_WAITS * self.longest_backoff_seconds
        return min(longest, COOLDOWN_WAITS * self.backoff_seconds), longest


class RetryPolicy:
    """Decides whether a failed request is sent again, and after how many seconds."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._jitter = random.Random(settings.seed)

    def told_to_wait(self, pending: PendingRequest) -> None:
        """The service told the HTTP call of this request to slow down."""
        now = self._settings.clock()
        for member in pending.members:
            member.uncounted_attempts += 1
            member.told_to_wait_at = min(now, member.told_to_wait_at)

    def stopping(self, pending: PendingRequest, verdict: Verdict) -> Verdict | None:
        """The verdict that stops the whole call, `None` where the failure concerns this request only."""
        if verdict.kind in RETRYABLE and (verdict.retry_after_seconds or 0) > LONGEST_WAIT_SECONDS:
            message = f"{verdict.message}; it asks to wait {verdict.retry_after_seconds:.0f} s"
            return replace(verdict, cause="quota", message=message)
        accepted_at = pending.permit.lane.limiter.accepted_at
        if verdict.kind in RETRYABLE and self._is_out_of_patience(pending) and accepted_at < pending.told_to_wait_at:
            # The service has answered nothing but push-backs, to any request.
            message = f"{verdict.message}; it has answered nothing else for {self._settings.patience_seconds:g} s"
            return replace(verdict, cause="quota", message=message)
        if verdict.cause == "unreachable":
            # A server that was never reached gets a few quick tries; one that was may come back.
            over = pending.attempts >= FIRST_CONTACT_ATTEMPTS and not pending.permit.lane.limiter.met
            return verdict if over else None
        return None if verdict.cause is None else verdict

    def allows(self, pending: PendingRequest) -> bool:
        """Whether the request may be sent once more. Being told to wait does not count, while patience lasts."""
        attempts = pending.attempts - pending.uncounted_attempts
        return attempts < self._settings.max_attempts and not self._is_out_of_patience(pending)

    def wait_seconds(self, pending: PendingRequest, verdict: Verdict) -> float:
        """Seconds until the request is sent again."""
        settings = self._settings
        times = pending.uncounted_attempts if verdict.kind == "rate_limit" else pending.attempts
        wait = min(settings.longest_backoff_seconds, settings.backoff_seconds * 2.0 ** min(times - 1, 20))
        wait *= self._jitter.uniform(0.5, 1.0)
        if verdict.retry_after_seconds is not None:
            # A little later than told, and not all at once: the wait is the same for all who were told.
            later = verdict.retry_after_seconds + self._jitter.uniform(0.0, 0.1) * settings.backoff_seconds
            # A service that goes on saying 0 is not taken at its word.
            return max(later, wait) if pending.attempts > PROMPT_RETURNS else later
        # While a server was never reached, rows must not use up their attempts on long waits for it.
        return min(wait, FIRST_CONTACT_SECONDS) if verdict.unreachable and verdict.cause else wait

    def _is_out_of_patience(self, pending: PendingRequest) -> bool:
        return self._settings.clock() - pending.told_to_wait_at > self._settings.patience_seconds
