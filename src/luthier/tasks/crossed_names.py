"""Names of specs that say which prompt was asked with which model: `stars@gpt-4.1-mini`."""

from __future__ import annotations

__all__ = ["BETWEEN", "SPEC_NAME", "crossed_name", "prompt_and_model"]

BETWEEN = "@"
"""Stands between prompt and model; it is in no other name, so that the two are found again."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

SPEC_NAME = rf"^{_PART}({BETWEEN}{_PART})?$"
"""What a spec may be called: up to 64 characters, or twice as many with `@` between them."""


def crossed_name(prompt: str, model: str) -> str:
    """The name of a spec that is asked with this model.

    Examples:
        >>> crossed_name("stars", "gpt-4.1-mini")
        'stars@gpt-4.1-mini'
    """
    return f"{prompt}{BETWEEN}{model}"


def prompt_and_model(name: str) -> tuple[str, str]:
    """Prompt and model of a spec's name; the model is empty where the name has none.

    Examples:
        >>> prompt_and_model("stars@gpt-4.1-mini"), prompt_and_model("baseline")
        (('stars', 'gpt-4.1-mini'), ('baseline', ''))
    """
    prompt, _, model = name.partition(BETWEEN)
    return prompt, model
