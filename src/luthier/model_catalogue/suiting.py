"""What a model suits, as Luthier judges it: by what it is, which its name tells where no source does."""

from __future__ import annotations

import re
from datetime import date

from luthier.model_catalogue.records import CatalogueModel

__all__ = ["JUDGED", "kind_of", "suits", "techniques"]

JUDGED = date(2026, 11, 29)
"""When these rules were written."""

EMBEDS = re.compile(r"embed|\be5\b|\bbge\b|\bgte\b|wordllama-\d|minilm|voyage-(?!.*rerank)", re.IGNORECASE)

OTHER = re.compile(
    r"audio|realtime|live|speech|voice|tts|whisper|transcri|translate|image|picture|video|sora|dall|flux|diffusion"
    r"|moderation|guard|rerank|ocr|computer-use|deep-research|search|codex|coder|-code\b|clip\b|lyria|veo|eleven|scribe",
    re.IGNORECASE,
)
"""Models for sound, pictures, moderation, search and programming: not asked for a label or a number."""

RESPONSES_ONLY = re.compile(r"^(gpt-[\d.]+|o\d)-pro\b")
"""Models of OpenAI that answer `/v1/responses` and no conversation, which is how Luthier asks."""

CONTINUES = re.compile(
    r"^(text-)?(ada|babbage|curie|davinci)(-\d+)?$|gpt-3\.5-turbo-instruct|-base\b|RedPajama.*Base", re.IGNORECASE
)

SUITED: dict[str, tuple[str, ...]] = {
    "chat": ("classification", "rating", "extraction", "similarity", "generation"),
    "embedding": ("similarity", "embedding", "classification", "rating"),
    "decisions": ("classification", "rating"),
    "base": ("classification", "rating"),
    "completion": ("generation",),
}
"""Tasks by what a model is. Why is in docs/catalogue.md."""

LABELLED = ("classification", "rating")


def kind_of(name: str) -> str:
    """What a model is by its name.

    Examples:
        >>> kind_of("gpt-4.1-mini"), kind_of("text-embedding-3-small"), kind_of("gpt-4o-audio-preview")
        ('chat', 'embedding', 'other')
    """
    if EMBEDS.search(name):
        return "embedding"
    if OTHER.search(name) or RESPONSES_ONLY.search(name):
        return "other"
    return "completion" if CONTINUES.search(name) else "chat"


def suits(kind: str) -> tuple[str, ...]:
    """The tasks that models of a kind suit."""
    return SUITED.get(kind, ())


def techniques(model: CatalogueModel, task: str | None, today: date) -> tuple[str, ...]:
    """How a model does a task here: the techniques of specs that ask it.

    Args:
        model: of the catalogue.
        task: one of `TASKS`; any of them where absent.
        today: a model that has retired is asked no more, but a fine-tune of it may be.
    """
    if task is not None and task not in (model.value("tasks") or ()):
        return ()
    kind = model.value("kind")
    answers = model.retires is None or model.retires > today
    found = []
    if kind == "chat" and answers:
        found.append("prompt")
    if kind == "embedding" and answers:
        found.append("embedding")
    if model.value("decisions") and answers and task in (None, *LABELLED):
        found.append("decision")
    if model.value("fine_tuning") and not ended(model, today) and task != "embedding":
        found.append("fine-tune")
    return tuple(found)


def ended(model: CatalogueModel, today: date) -> bool:
    """Whether a model can be fine-tuned no more."""
    until = model.value("fine_tuning_until")
    return until is not None and until <= today
