"""What answers took, added up: tokens, US dollars and seconds; and what an engine did, counted."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.engine.limiter import LimiterEvent
from luthier.providers.exchange import Answer, Usage
from luthier.providers.prices import dollars
from luthier.tasks.prediction import CallRecord

__all__ = ["Report", "Tally", "call_record", "damage", "uncounted"]


@dataclass(slots=True)
class Tally:
    """What some answers took.

    Attributes:
        estimated: answers whose tokens, and so their price, are a guess.
        usd: price of those whose price is known.
        unpriced: answers of unknown price.
    """

    answers: int = 0
    usage: Usage = field(default_factory=Usage)
    estimated: int = 0
    usd: float = 0.0
    unpriced: int = 0

    def add(self, answer: Answer) -> None:
        """Adds an answer."""
        self.answers += 1
        self.usage += answer.usage
        self.estimated += answer.usage.estimated
        self.usd += answer.cost_usd or 0.0
        self.unpriced += answer.cost_usd is None

    @property
    def cost_usd(self) -> float | None:
        """Their price; `None` where one of them has no known price, as unknown is never zero."""
        return None if self.unpriced else self.usd


def call_record(asked: Sequence[Answer]) -> CallRecord:
    """Cost, time and tokens of the calls for one row, as a prediction keeps them."""
    every, now = Tally(), Tally()
    for answer in asked:
        if answer.failure is None:
            every.add(answer)
            if not answer.from_journal:
                now.add(answer)
    seconds = [answer.latency_seconds for answer in asked if answer.latency_seconds is not None]
    return CallRecord(
        raw=asked[0].text if every.answers else None,
        cost_usd=every.cost_usd if every.answers else None,
        cost_estimated=every.estimated > 0,
        spent_usd=now.cost_usd,
        latency_seconds=math.fsum(seconds) if seconds else None,
        input_tokens=every.usage.input_tokens,
        output_tokens=every.usage.output_tokens,
        from_journal=all(answer.from_journal for answer in asked),
    )


MOST_LATENCIES = 100_000
"""The latest are kept: 0.8 MB."""


class Report:
    """Counts what calls of the engine did; pass one report to several calls to have them added up.

    Attributes:
        requests: requests asked for.
        answered: those that have an answer.
        from_journal: those of them that had been paid for before.
        failed: those without one, by kind of failure.
        sent: HTTP calls that went out; one may carry many texts to embed.
        retries: those that followed another for the same request.
        rate_limited: those the service answered with 429.
        now: what the answers fetched now took.
        recorded: what the answers from the journal took when they were fetched.
        damaged: answers of the journal whose checksum did not fit, which were asked again.
        history: how the limiter's window moved, by endpoint.
        answered_by: answers fetched now, by endpoint, where several share the work.
        fetched_seconds: what each answer fetched now took.
    """

    def __init__(self) -> None:
        self.requests = self.answered = self.from_journal = 0
        self.failed: Counter[str] = Counter()
        self.sent = self.retries = self.rate_limited = self.damaged = 0
        self.now, self.recorded = Tally(), Tally()
        self.history: dict[str, list[LimiterEvent]] = {}
        self.answered_by: Counter[str] = Counter()
        self._notes: list[str] = []
        self.fetched_seconds: array[float] = array("d")
        self._latencies: array[float] = array("d")

    def completed(self, answer: Answer) -> None:
        """Counts an answer, or a failure."""
        if answer.failure is not None:
            self.failed[answer.failure] += 1
            return
        self.answered += 1
        self.from_journal += answer.from_journal
        if answer.latency_seconds is not None:
            kept = (self._latencies, self.fetched_seconds) if not answer.from_journal else (self._latencies,)
            for seconds in kept:
                if len(seconds) < MOST_LATENCIES:
                    seconds.append(answer.latency_seconds)
                else:
                    # A server runs for months, and a table may have millions of rows.
                    seconds[self.answered % MOST_LATENCIES] = answer.latency_seconds
        (self.recorded if answer.from_journal else self.now).add(answer)

    @property
    def fetched(self) -> int:
        """Answers that came from a service now."""
        return self.answered - self.from_journal

    @property
    def input_tokens(self) -> int:
        """Input tokens of the answers fetched now."""
        return self.now.usage.input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens of the answers fetched now."""
        return self.now.usage.output_tokens

    @property
    def spent_usd(self) -> float:
        """Price of the answers fetched now, as far as it is known."""
        return self.now.usd

    @property
    def saved_usd(self) -> float:
        """Price of the answers that came from the journal."""
        return self.recorded.usd

    @property
    def spent_now_usd(self) -> float | None:
        """Price of the answers fetched now; `None` where one has no known price."""
        return self.now.cost_usd

    @property
    def spending(self) -> str:
        """What was spent now and what all answers used cost: the last line of a command that pays."""
        unpriced = f" and {counted(self.now.unpriced, 'call')} of unknown price" if self.now.unpriced else ""
        now = f"{dollars(self.spent_usd)}{unpriced} for {counted(self.fetched, 'new answer')}"
        whole = dollars(self.spent_usd + self.saved_usd)
        return f"spent now: {now}; all answers used, with those of the journal, cost {whole}"

    def note(self, text: str) -> None:
        """Adds a remark, once."""
        if text not in self._notes:
            self._notes.append(text)

    @property
    def notes(self) -> list[str]:
        """Warnings for the user, such as a model that changed behind its name."""
        notes = list(self._notes)
        if self.answered_by:
            shares = (f"{counted(count, 'answer')} from {name}" for name, count in self.answered_by.most_common())
            notes.append(f"The endpoints shared the work: {', '.join(shares)}.")
        if self.damaged:
            notes.append(damage(self.damaged))
        if self.now.estimated:
            notes.append(uncounted(self.now.estimated))
        return notes

    def latency_seconds(self, share: float) -> float | None:
        """The latency in seconds that this share of answers stayed within; `None` without answers.

        Args:
            share: .5 for the median, .95 for the 95th of 100.
        """
        if not self._latencies:
            return None
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def summary(self) -> dict[str, Any]:
        """The counts as plain values, for a table or MLflow."""
        counts = "requests", "answered", "from_journal", "sent", "retries", "rate_limited"
        spent = "input_tokens", "output_tokens", "spent_usd", "saved_usd"
        return {
            **{name: getattr(self, name) for name in (*counts, *spent)},
            "unpriced": self.now.unpriced,
            "estimated": self.now.estimated,
            "failed": dict(self.failed),
            **({"answered_by": dict(self.answered_by)} if self.answered_by else {}),
            "cached_input_tokens": self.now.usage.cached_input_tokens,
            "p50_latency_seconds": self.latency_seconds(0.5),
            "p95_latency_seconds": self.latency_seconds(0.95),
            "notes": self.notes,
        }


def counted(number: int, what: str) -> str:
    """A number with its noun: `1 call`, `1,200 calls`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def damage(answers: int) -> str:
    """The warning about damaged answers in the journal."""
    were = "was" if answers == 1 else "were"
    return f"{counted(answers, 'answer')} in the journal {were} damaged (the checksum does not fit) and asked again."


def uncounted(answers: int) -> str:
    """The warning about costs that rest on estimated token counts."""
    return (
        f"{counted(answers, 'answer')} came without all token counts, so the cost is estimated from the lengths of the "
        "texts; a budget is charged the most it can be."
    )
