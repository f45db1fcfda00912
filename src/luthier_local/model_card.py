"""What the embedded server serves: one card per model name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from luthier.errors import EndpointError

__all__ = ["BACKENDS", "ModelCard"]

BACKENDS = ("deterministic", "llama", "wordllama", "tunable", "tunable-hashed", "tuned")

# Changes whenever the deterministic backend would answer differently, so that no journal
# replays answers of an older version.
_DETERMINISTIC_VERSION = "1"


@dataclass(frozen=True)
class ModelCard:
    """One served model: its name, what answers behind it, and what it accepts."""

    id: str
    """Name that requests give; a deployment name on Azure."""
    backend: str = "deterministic"
    """`deterministic`, `llama` or `wordllama`. `tunable`: a base for fine-tuning jobs, on WordLlama's table;
    `tunable-hashed`: one without weights, for tests. `tuned`: what a job leaves, at `path`."""
    reports_model: str | None = None
    """What the `model` field of an answer says; `None`: the id."""
    logprobs: bool = True
    """Whether log-probabilities may be asked for; otherwise 400 `unsupported_parameter`."""
    ignores_logprobs: bool = False
    """Answers without log-probabilities when asked for them, as some compatible servers do."""
    top_logprobs_max: int = 20
    """Largest `top_logprobs` (chat) or `logprobs` (completions) accepted."""
    reasoning: bool = False
    """Behaves as OpenAI's reasoning models: no temperature, no log-probabilities,
    `max_completion_tokens` only, hidden tokens in the usage."""
    context_tokens: int = 4096
    """Prompt and answer together; more is 400 `context_length_exceeded`."""
    chat: bool = True
    completions: bool = True
    embeddings: bool = False
    digest: str | None = None
    """Identity of the weights; `None`: the backend's own."""
    salt: str = ""
    """Another salt is another model to the deterministic backend: other answers, other digest."""
    path: str | None = None
    """GGUF file of the `llama` backend; `None`: SmolLM2, fetched on first use."""
    shutdown_date: str | None = None
    """Day of its retirement, such as `2027-01-14`, as the list of models announces it; the model answers on."""

    def __post_init__(self) -> None:
        if not self.id or not isinstance(self.id, str):
            raise EndpointError(f"a model card needs a name; given: {self.id!r}")
        if self.backend not in BACKENDS:
            raise EndpointError(f"model {self.id!r}: backend {self.backend!r} is not one of {', '.join(BACKENDS)}")
        if self.shutdown_date is not None and not _is_day(self.shutdown_date):
            raise EndpointError(
                f"model {self.id!r}: shutdown_date {self.shutdown_date!r} is not a day, such as 2027-01-14"
            )

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> ModelCard:
        """Reads a card from a decoded JSON object; unknown keys are refused by name."""
        allowed = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(allowed))
        if unknown or "id" not in given:
            what = f"unknown keys {', '.join(unknown)}" if unknown else "no `id`"
            raise EndpointError(f"model card with {what}; allowed: {', '.join(allowed)}")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON object that `from_json` reads."""
        return asdict(self)

    @property
    def deterministic_digest(self) -> str:
        """Digest of the deterministic backend with this card's salt."""
        named = f"luthier-deterministic/{_DETERMINISTIC_VERSION}/{self.salt}"
        return "sha256:" + hashlib.sha256(named.encode()).hexdigest()


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except (TypeError, ValueError):
        return False
