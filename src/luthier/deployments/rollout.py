"""One revision after another: what to do next, decided from what is observed, without I/O.

```text
starting --> checking --> sharing ---------------> standby -----------> over
   |            |            |                        |                (old drained)
   |            |            | both answer, watched   | new answers alone, old is kept warm
   +------------+------------+------------------------+--> over: back to the old one, which was never touched
```

The controller calls `step` with what it sees and carries out the actions it gets. The first revision of a deployment
has no old one: it answers as soon as its answers have been checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from luthier.errors import UserError

__all__ = ["Action", "CheckOutcome", "Rollout", "RolloutBounds", "ServerSeen", "Traffic"]

Phase = Literal["starting", "checking", "sharing", "standby", "over"]
Verb = Literal["start", "check", "accept", "pause", "drain", "kill", "done", "back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBounds:
    """When a new revision is taken back, and how long that is watched for.

    Attributes:
        start_seconds: a server has this long to get ready, reading its model included.
        watch_seconds: both revisions answer for this long; after that the old one is kept warm for as long, and the
            new one is still watched.
        least_requests: below this, a revision's errors and latency are not judged.
        least_errors: fewer errors than this are put down to chance.
        error_share_above: share of requests answered with 5xx, above the share of the old revision.
        latency_factor: the 95th percentile of latency may be this many times the old one's ...
        latency_extra_seconds: ... and this much longer.
        check_seconds: the comparison with the recorded answers may take this long.
    """

    start_seconds: float = 120.0
    watch_seconds: float = 60.0
    least_requests: int = 20
    least_errors: int = 2
    error_share_above: float = 0.02
    latency_factor: float = 2.0
    latency_extra_seconds: float = 0.05
    check_seconds: float = 300.0

    @classmethod
    def of(cls, config: Mapping[str, str]) -> RolloutBounds:
        """The default bounds with those that a user set, by their names.

        Raises:
            UserError: there is no such bound, or it is no number from 0 on.
        """
        allowed = [one.name for one in fields(cls)]
        if unknown := sorted(set(config) - set(allowed)):
            raise UserError(f"a rollout has no setting {', '.join(unknown)}; it has: {', '.join(allowed)}.")
        values: dict[str, Any] = {}
        for name, text in config.items():
            try:
                values[name] = float(text) if name not in ("least_requests", "least_errors") else int(text)
            except ValueError:
                values[name] = -1
            if not 0 <= values[name] < math.inf:
                raise UserError(f"{name} is {text!r}; give a number, 0 or more, as in {name}={getattr(cls(), name):g}.")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a server has answered since it started.

    Attributes:
        requests: number of requests.
        errors: how many of them got a status of 500 or more.
        p95_seconds: 95th percentile of the latency in the last minute; `None` without requests.
    """

    requests: int = 0
    errors: int = 0
    p95_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """A server as observed now.

    Attributes:
        is_alive: whether its process runs.
        is_ready: whether every check of it is well.
        is_checked: whether its replay of the recorded answers came out as recorded.
        why: checks that are not well, or the last lines of the log of a server that has ended.
        differs: what its replay of the recorded answers found, where that differs; such a server never gets ready.
        traffic: what it has answered.
    """

    is_alive: bool
    is_ready: bool = False
    is_checked: bool = False
    why: str = ""
    differs: str | None = None
    traffic: Traffic = Traffic()


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How the comparison of live answers with recorded ones came out."""

    passed: bool
    words: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something the controller does next.

    Attributes:
        verb: `accept` gives a server the shared socket, `pause` takes it away, `drain` ends it when it has answered
            what is in flight, `kill` at once. `done` and `back` end the rollout.
        server: which one.
        words: for the log of events, or the reason for going back.
        is_gate: of going back: whether answers, errors or latency are the reason, and not a server that did not start.
    """

    verb: Verb
    server: Literal["new", "old"]
    words: str = ""
    is_gate: bool = False


class Rollout:
    """The state machine of one rollout.

    Args:
        now: seconds of a clock that only goes forward, as in `step`.
        replaces: whether a revision answers already.
        is_rollback: whether the new revision served before, and is wanted at once: it is checked by its replay alone,
            and the old one is paused in the same step.
        is_warm: of a rollback: whether that server still runs, as in the standby of the rollout that replaced it.
        bounds: when to go back.
    """

    def __init__(
        self,
        now: float,
        *,
        replaces: bool,
        is_rollback: bool = False,
        is_warm: bool = False,
        bounds: RolloutBounds = RolloutBounds(),
    ) -> None:
        self.phase: Phase = "starting"
        self.bounds, self.replaces, self.is_rollback, self.is_warm = bounds, replaces, is_rollback, is_warm
        self._since = now
        self._has_asked = False
        self._new_before = self._old_before = Traffic()
        self._old_while_sharing: Traffic | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase == "over"

    def step(
        self, now: float, new: ServerSeen, old: ServerSeen | None, check: CheckOutcome | None = None
    ) -> list[Action]:
        """What to do now.

        Args:
            now: seconds.
            new: the server of the new revision.
            old: the server of the revision it replaces; `None` where it replaces none.
            check: outcome of the comparison, once it is there.
        """
        waited = now - self._since
        if self.phase == "starting":
            return self._start(now, waited, new, old)
        if self.phase == "checking":
            return self._check(now, waited, new, old, check)
        if self.phase == "sharing":
            return self._watch(now, waited, new, old)
        if self.phase == "standby":
            return self._stand_by(waited, new, old)
        return []

    def drop(self, why: str) -> list[Action]:
        """Ends the rollout because something else is wanted; what answers goes on answering."""
        if self.is_over:
            return []
        return [*self._done(why), Action("drain", "old")] if self.phase == "standby" else self._back(why)

    def _start(self, now: float, waited: float, new: ServerSeen, old: ServerSeen | None) -> list[Action]:
        if not self._has_asked and not self.is_warm:
            self._has_asked = True
            return [Action("start", "new")]
        if not new.is_alive:
            return self._back(f"its server ended before it was ready: {new.why}")
        if new.differs is not None:
            return self._back(f"it does not answer as it was recorded: {new.differs}", is_gate=True)
        if not new.is_ready and not self.is_warm:
            if waited <= self.bounds.start_seconds:
                return []
            return self._back(f"its server was not ready within {self.bounds.start_seconds:.0f} s: {new.why}")
        if self.is_rollback:
            return self._share(now, new, old)
        self._enter("checking", now)
        return [Action("check", "new")]

    def _check(
        self, now: float, waited: float, new: ServerSeen, old: ServerSeen | None, check: CheckOutcome | None
    ) -> list[Action]:
        if not new.is_alive:
            return self._back(f"its server ended while its answers were checked: {new.why}")
        if check is None:
            if waited <= self.bounds.check_seconds:
                return []
            return self._back(f"the check of its answers took longer than {self.bounds.check_seconds:.0f} s")
        if not check.passed:
            return self._back(check.words, is_gate=True)
        return self._share(now, new, old, check.words)

    def _share(self, now: float, new: ServerSeen, old: ServerSeen | None, words: str = "") -> list[Action]:
        actions = [Action("accept", "new", words)]
        if old is None:
            return [
                *actions,
                *self._done("serves; nothing answered before it, so there is nothing to watch it against"),
            ]
        self._new_before, self._old_before = new.traffic, old.traffic
        if self.is_rollback:
            self._enter("over", now)
            return [*actions, Action("pause", "old"), Action("done", "new", "back in service"), Action("drain", "old")]
        self._enter("sharing", now)
        return actions

    def _watch(self, now: float, waited: float, new: ServerSeen, old: ServerSeen | None) -> list[Action]:
        old_traffic = _since(self._old_before, old.traffic) if old is not None and old.is_alive else Traffic()
        is_over = waited >= self.bounds.watch_seconds
        # A server that just started has caches to fill: its latency is judged at the end.
        if (why := self._fault(new, old_traffic, judges_latency=is_over)) is not None:
            return self._back(why)
        if not is_over:
            return []
        self._old_while_sharing = old_traffic
        answered = _since(self._new_before, new.traffic).requests
        self._enter("standby", now)
        if answered < self.bounds.least_requests:
            words = (
                f"accepted after {self.bounds.watch_seconds:.0f} s with {answered} requests, "
                f"too few to judge errors and latency by ({self.bounds.least_requests} are needed)"
            )
        else:
            words = f"accepted after {self.bounds.watch_seconds:.0f} s and {answered} requests"
        return [Action("pause", "old", words)]

    def _stand_by(self, waited: float, new: ServerSeen, old: ServerSeen | None) -> list[Action]:
        if old is None or not old.is_alive:
            return self._done("")
        why = self._fault(new, self._old_while_sharing or Traffic(), judges_latency=True)
        if why is not None:
            back, *ending = self._back(why)
            # The reason is written first: a controller that is killed in between goes on from there.
            return [back, Action("accept", "old", "answers again"), *ending]
        if waited < self.bounds.watch_seconds:
            return []
        return [*self._done(""), Action("drain", "old")]

    def _fault(self, new: ServerSeen, old: Traffic, *, judges_latency: bool) -> str | None:
        """The bound that the new revision exceeds, against the traffic of the old one in the same time."""
        if not new.is_alive:
            return f"its server crashed while it was watched: {new.why}"
        bounds, traffic = self.bounds, _since(self._new_before, new.traffic)
        if traffic.requests < bounds.least_requests:
            return None
        share, share_of_old = traffic.errors / traffic.requests, old.errors / max(1, old.requests)
        if traffic.errors >= bounds.least_errors and share > share_of_old + bounds.error_share_above:
            return (
                f"{traffic.errors} of {traffic.requests} requests ended in errors ({share:.1%}); the one before had "
                f"{share_of_old:.1%}, and at most {bounds.error_share_above:.0%} more is allowed"
            )
        if not judges_latency or old.requests < bounds.least_requests:
            return None
        if traffic.p95_seconds is None or old.p95_seconds is None:
            return None
        longest = bounds.latency_factor * old.p95_seconds + bounds.latency_extra_seconds
        if traffic.p95_seconds > longest:
            return (
                f"95% of requests took up to {traffic.p95_seconds * 1000:,.0f} ms; the revision before it took "
                f"{old.p95_seconds * 1000:,.0f} ms, and {longest * 1000:,.0f} ms is allowed"
            )
        return None

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._since = phase, now

    def _done(self, words: str) -> list[Action]:
        self.phase = "over"
        return [Action("done", "new", words)]

    def _back(self, why: str, *, is_gate: bool = False) -> list[Action]:
        took_requests = self.phase in ("sharing", "standby")
        self.phase = "over"
        ending = [Action("pause", "new"), Action("drain", "new")] if took_requests else [Action("kill", "new")]
        return [Action("back", "new", why, is_gate or took_requests), *ending]


def _since(before: Traffic, now: Traffic) -> Traffic:
    """What was answered since then; a server that was started anew counts from 0 again."""
    if now.requests < before.requests:
        return now
    return Traffic(now.requests - before.requests, now.errors - before.errors, now.p95_seconds)
