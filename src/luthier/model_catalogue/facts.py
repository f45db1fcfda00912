"""The facts of a model by name: what each is called on a table and a page, and what its values are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

__all__ = ["FACTS", "KINDS", "TASKS", "FactKind", "fact_text"]

Values = Literal["usd", "tokens", "date", "yes or no", "text", "texts"]

TASKS = ("classification", "rating", "extraction", "similarity", "generation", "embedding")
"""What models are listed for. `extraction` is token classification: names, dates, spans."""

KINDS = ("chat", "embedding", "decisions", "base", "completion", "other")
"""What a model is: `chat` answers conversations, `embedding` gives vectors, `decisions` answers typed questions only,
`base` answers only once it has been tuned, `completion` continues a text, `other` is for sound, pictures and so on."""


@dataclass(frozen=True)
class FactKind:
    """What a fact is about.

    Attributes:
        words: as a page writes it.
        values: what its values are; money is in US dollars, `texts` are several.
        allowed: the texts there are, where there is a choice.
    """

    words: str
    values: Values
    allowed: tuple[str, ...] = ()


FACTS: dict[str, FactKind] = {
    "kind": FactKind("what it is", "text", KINDS),
    "tasks": FactKind("tasks it suits", "texts", TASKS),
    "input_usd_per_million": FactKind("a million input tokens", "usd"),
    "output_usd_per_million": FactKind("a million output tokens", "usd"),
    "cached_input_usd_per_million": FactKind("a million cached input tokens", "usd"),
    "batch_input_usd_per_million": FactKind("a million input tokens of a batch", "usd"),
    "batch_output_usd_per_million": FactKind("a million output tokens of a batch", "usd"),
    "training_usd_per_million": FactKind("a million training tokens", "usd"),
    "hosting_usd_per_hour": FactKind("an hour of a tuned model's deployment", "usd"),
    "context_tokens": FactKind("context", "tokens"),
    "modalities": FactKind("reads", "texts"),
    "log_probabilities": FactKind("log-probabilities", "yes or no"),
    "json_mode": FactKind("JSON mode", "yes or no"),
    "decisions": FactKind("decisions", "yes or no"),
    "batch": FactKind("Batch API", "yes or no"),
    "fine_tuning": FactKind("fine-tuning methods", "texts"),
    "fine_tuning_for": FactKind("who may fine-tune it", "text"),
    "fine_tuning_until": FactKind("fine-tuning ends", "date"),
    "tuned_retires": FactKind("fine-tunes of it retire", "date"),
    "lifecycle": FactKind("lifecycle", "text"),
    "deprecated": FactKind("deprecated", "yes or no"),
    "retires": FactKind("retires", "date"),
    "replacement": FactKind("the provider's replacement", "text"),
    "offered": FactKind("offered to this account", "yes or no"),
    "note": FactKind("note", "text"),
}
"""Every fact by name. Where a model has no fact of a name, it is not known."""


def fact_text(name: str, value: Any) -> str:
    """A fact's value as a page writes it.

    Examples:
        >>> fact_text("input_usd_per_million", 0.4), fact_text("context_tokens", 128000), fact_text("json_mode", True)
        ('$0.40', '128,000 tokens', 'yes')
        >>> fact_text("fine_tuning", ()), fact_text("fine_tuning", ("supervised", "preference"))
        ('none', 'supervised, preference')
    """
    kind = FACTS[name].values
    if kind == "usd":
        # A price is exact, so no digit of it is rounded off.
        whole, _, parts = f"{value:.6f}".partition(".")
        return f"${int(whole):,}.{parts.rstrip('0').ljust(2, '0')}"
    if kind == "tokens":
        return f"{value:,} tokens"
    if kind == "yes or no":
        return "yes" if value else "no"
    if kind == "texts":
        return ", ".join(value) or "none"
    return value.isoformat() if isinstance(value, date) else str(value)
