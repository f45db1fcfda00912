"""What an engine did, counted: answers by state, tokens, money, retries, latencies, the limiter's history."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

from luthier.engine.limiter import LimiterEvent
from luthier.providers.exchange import Answer
from luthier.providers.prices import dollars

__all__ = ["Report", "damage", "uncounted"]


class Report:
    """Counts of one run or of several; give the same one to several calls to have them added up.

    Attributes:
        requests: requests asked for.
        answered: those that have an answer.
        from_journal: those of them that had been paid for before.
        failed: those without one, by kind of failure.
        sent: calls that went out; one may carry many texts to embed.
        retries: calls that followed another for the same request.
        rate_limited: calls the service answered with 429.
        input_tokens: of the answers fetched now.
        output_tokens: of the answers fetched now.
        cached_input_tokens: input tokens of those that the service had cached.
        spent_usd: price of the answers fetched now, as far as it is known.
        saved_usd: price of the answers that came from the journal.
        unpriced: answers fetched now whose price is unknown.
        estimated: answers fetched now whose tokens, and so their price, are a guess.
        damaged: answers of the journal whose checksum did not fit, which were asked again.
        history: how the limiter's window moved, by endpoint.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.answered = 0
        self.from_journal = 0
        self.failed: Counter[str] = Counter()
        self.sent = 0
        self.retries = 0
        self.rate_limited = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_input_tokens = 0
        self.spent_usd = 0.0
        self.saved_usd = 0.0
        self.unpriced = 0
        self.estimated = 0
        self.damaged = 0
        self._notes: list[str] = []
        self.history: dict[str, list[LimiterEvent]] = {}
        self._latencies: array[float] = array("d")

    def completed(self, answer: Answer) -> None:
        """Counts an answer, or the lack of one."""
        if answer.failure is not None:
            self.failed[answer.failure] += 1
            return
        self.answered += 1
        if answer.latency_seconds is not None:
            self._latencies.append(answer.latency_seconds)
        if answer.from_journal:
            self.from_journal += 1
            self.saved_usd += answer.cost_usd or 0.0
            return
        self.paid(answer)

    def paid(self, answer: Answer) -> None:
        """Counts tokens and money of an answer fetched now."""
        self.input_tokens += answer.usage.input_tokens
        self.output_tokens += answer.usage.output_tokens
        self.cached_input_tokens += answer.usage.cached_input_tokens
        self.estimated += answer.usage.estimated
        if answer.cost_usd is None:
            self.unpriced += 1
        else:
            self.spent_usd += answer.cost_usd

    @property
    def fetched(self) -> int:
        """Answers that came from a service now."""
        return self.answered - self.from_journal

    @property
    def spent_now_usd(self) -> float | None:
        """Price of the answers fetched now; `None` where one has no known price."""
        return None if self.unpriced else self.spent_usd

    @property
    def spending(self) -> str:
        """What was spent now, and what the answers cost in all, as a paying command ends."""
        unpriced = f" and {counted(self.unpriced, 'call')} of unknown price" if self.unpriced else ""
        now = f"{dollars(self.spent_usd)}{unpriced} for {counted(self.fetched, 'new answer')}"
        whole = dollars(self.spent_usd + self.saved_usd)
        return f"spent now: {now}; all answers used, with those of the journal, cost {whole}"

    def note(self, text: str) -> None:
        """Adds a remark, once."""
        if text not in self._notes:
            self._notes.append(text)

    @property
    def notes(self) -> list[str]:
        """What a person should know, such as a model that changed behind its name."""
        notes = list(self._notes)
        if self.damaged:
            notes.append(damage(self.damaged))
        if self.estimated:
            notes.append(uncounted(self.estimated))
        return notes

    def latency_seconds(self, share: float) -> float | None:
        """Latency that this share of the answers stayed within, `None` without answers.

        Args:
            share: .5 for the median, .95 for the 95th of 100.
        """
        if not self._latencies:
            return None
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def summary(self) -> dict[str, Any]:
        """The counts as plain values, for a table or MLflow."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "from_journal": self.from_journal,
            "failed": dict(self.failed),
            "sent": self.sent,
            "retries": self.retries,
            "rate_limited": self.rate_limited,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "spent_usd": self.spent_usd,
            "saved_usd": self.saved_usd,
            "unpriced": self.unpriced,
            "estimated": self.estimated,
            "p50_latency_seconds": self.latency_seconds(0.5),
            "p95_latency_seconds": self.latency_seconds(0.95),
            "notes": self.notes,
        }


def counted(number: int, what: str) -> str:
    """So many of something: `1 call`, `1,200 calls`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def damage(answers: int) -> str:
    """What a person is told of damaged answers in the journal."""
    some = f"{answers:,} answers in the journal were" if answers > 1 else "1 answer in the journal was"
    return f"{some} damaged (the checksum does not fit) and asked again."


def uncounted(answers: int) -> str:
    """What a person is told of costs that rest on guessed tokens."""
    some = f"{answers:,} answers came" if answers != 1 else "1 answer came"
    return (
        f"{some} without all token counts, so the cost is estimated from the lengths of the texts; a budget is charged "
        "the most it can be."
    )
