"""Which settings of a spec its digest is taken of: those that change an answer."""

from __future__ import annotations

from typing import Any

__all__ = ["LATER_SETTINGS", "NOT_DIGESTED", "TRANSPORT_FIELDS", "answering_settings"]

TRANSPORT_FIELDS = {
    *("limits", "price", "priced_as", "timeout_seconds", "api_key_env", "auth", "resource"),
    *("weight", "others"),
}
"""Settings of an endpoint that change how an answer is fetched, never what it says."""

NOT_DIGESTED = {"name", "task", "gates"}
"""Keys of a spec that are not digested with its settings: they change no answer, or have a digest of their own."""

LATER_SETTINGS = {
    *("max_characters", "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay"),
    *("lora_rank", "lora_alpha", "lora_dropout", "evaluations", "saved_checkpoints", "early_stopping_patience"),
}
"""Settings that were added while specs of this schema were in use. A later setting that is not given is left out of
the digest, so that runs, journals and packaged models of earlier versions still belong to the same spec."""


def answering_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that only say how an answer is fetched, and without later ones that are not given."""
    kept = {
        name: answering_settings(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if value is not None or name not in LATER_SETTINGS
    }
    if kept.get("endpoint"):
        kept["endpoint"] = {name: value for name, value in kept["endpoint"].items() if name not in TRANSPORT_FIELDS}
    return kept
