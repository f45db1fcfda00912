"""What one spec made of a row: what was sent word for word, what came back, what was read from it, what it took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from luthier.providers.exchange import Answer, Request
from luthier.spec import Spec
from luthier.tasks.prediction import Prediction
from luthier.techniques.preview import turns_of

__all__ = ["Tried", "TriedCall", "TriedWording"]

TriedWording = Literal["", "before", "after"]
"""Which wording of a spec answered, where it was edited."""


@dataclass(frozen=True, slots=True)
class TriedCall:
    """One request and what came back for it."""

    request: Request
    answer: Answer

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """The role and the text of each turn, word for word."""
        return turns_of(self.request)

    @property
    def said(self) -> str:
        """What came back, word for word: the text, a refusal, the decision, or the error in place of an answer."""
        answer = self.answer
        if answer.failure is not None:
            return answer.error or f"no answer ({answer.failure})"
        if self.request.operation == "embedding":
            return f"a vector of {len(answer.embedding) // 4} numbers"
        if answer.decided:
            return "\n".join(f"{label}: {share:.4f}" for label, share in answer.decided)
        return answer.refusal if answer.refusal is not None else answer.text

    @property
    def likeliest(self) -> tuple[tuple[str, float], ...]:
        """The likeliest first tokens of the answer with their probabilities; empty where the model gave none."""
        choices = self.answer.choices
        return tuple((token, math.exp(logprob)) for token, logprob in choices[0]) if choices else ()

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        answer = self.answer
        return {
            "operation": self.request.operation,
            "body": dict(self.request.body),
            "said": self.said,
            "finish_reason": answer.finish_reason,
            "likeliest_tokens": [list(one) for one in self.likeliest],
            "model": answer.model,
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
            "cost_usd": answer.cost_usd,
            "latency_seconds": answer.latency_seconds,
            "from_journal": answer.from_journal,
            "failure": answer.failure,
        }


@dataclass(frozen=True)
class Tried:
    """What one spec made of a row.

    Attributes:
        spec: the recipe that answered.
        title: what it is called beside the others: its model, `before` or `after`, or both.
        wording: whether this is the wording before or after an edit; empty where nothing was edited.
        calls: requests and answers, in order; the further ones follow the tokens of a label.
        prediction: what was read from the answers.
        notes: what to know about the answer, such as that it is not calibrated.
    """

    spec: Spec
    title: str
    wording: TriedWording
    calls: tuple[TriedCall, ...]
    prediction: Prediction
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> TriedCall | None:
        """The call that put the question; `None` where nothing was sent."""
        asked = (call for call in self.calls if call.request.operation != "embedding")
        return next(asked, self.calls[0] if self.calls else None)

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """The role and the text of each turn of the question, word for word; empty where nothing was sent."""
        return () if self.main is None else self.main.sent

    @property
    def said(self) -> str:
        """The answer to the question, word for word; empty where nothing was sent."""
        return "" if self.main is None else self.main.said

    @property
    def label(self) -> Any:
        """The value that was read; `None` unless the state is `ok`."""
        return self.prediction.value

    @property
    def state(self) -> str:
        """`ok`, or why there is no label: `off_label`, `refused`, `failed` or `empty`."""
        return self.prediction.state

    @property
    def probabilities(self) -> dict[str, float]:
        """A probability per label, in the task's order; empty where the model gave none."""
        scores = self.prediction.scores
        return {} if scores is None else dict(zip(self.spec.task.labels, scores, strict=True))

    @property
    def cost_usd(self) -> float | None:
        """What the calls for the row cost when they were made, in US dollars; `None` where that is not known."""
        return 0.0 if not self.calls else self.prediction.cost_usd

    @property
    def from_journal(self) -> bool:
        """Whether every answer was paid for earlier."""
        return bool(self.calls) and all(call.answer.from_journal for call in self.calls)

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        call = self.prediction.call
        endpoint = self.spec.endpoint
        return {
            "title": self.title,
            "spec": self.spec.name,
            "digest": self.spec.digest,
            "technique": self.spec.technique,
            "model": None if endpoint is None else endpoint.model,
            "wording": self.wording or None,
            "sent": [{"role": role, "text": text} for role, text in self.sent],
            "said": self.said if self.calls else None,
            "label": self.label,
            "state": self.state,
            "why": self.prediction.error,
            "probabilities": self.probabilities or None,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "cost_usd": self.cost_usd,
            "latency_seconds": call.latency_seconds,
            "from_journal": self.from_journal,
            "notes": list(self.notes),
            "calls": [one.document() for one in self.calls],
        }
