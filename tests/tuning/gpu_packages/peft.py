"""The settings of an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIELDS = Path(__file__).with_name("lora_config_fields.txt").read_text().split()


class LoraConfig:
    """Refuses a setting that the published class does not have."""

    def __init__(self, **given: Any) -> None:
        if unknown := set(given) - set(FIELDS):
            raise TypeError(f"LoraConfig got an unexpected keyword argument {unknown}")
        self.given = given
