"""A model of the catalogue: facts, each with where it is from and when that was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from luthier.model_names import ModelName

__all__ = ["CatalogueModel", "Fact"]


@dataclass(frozen=True)
class Fact:
    """Something that is known of a model.

    Attributes:
        value: a number, a text, a date, yes or no, or a tuple of texts.
        source: where it is from: a package with its version, the page of a provider, a service that was asked, a file.
        seen: when that was looked at.
    """

    value: Any
    source: str
    seen: date


@dataclass(frozen=True)
class CatalogueModel:
    """A model at one provider.

    Attributes:
        provider: as in an `endpoint:` of a spec where Luthier asks it, else as the price list calls it.
        id: what `endpoint: {model: ...}` names there; at Azure, the model that a deployment is made of.
        model: what it is, at whatever host.
        facts: by name; one that is not known is not there. Names are those of `FACTS`.
        names: what else the provider answers to for it, such as its snapshots.
    """

    provider: str
    id: str
    model: ModelName
    facts: Mapping[str, Fact] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def value(self, name: str) -> Any:
        """The value of a fact; `None` where it is not known, which is neither 0 nor no."""
        fact = self.facts.get(name)
        return None if fact is None else fact.value

    @property
    def retires(self) -> date | None:
        """When it stops answering; `None` where no date is known."""
        found: date | None = self.value("retires")
        return found

    @property
    def price(self) -> float | None:
        """What models are sorted by: US dollars for a million tokens in and a million out; `None` where unknown."""
        read, written = self.value("input_usd_per_million"), self.value("output_usd_per_million")
        if self.value("kind") == "embedding":
            # Vectors are no tokens, and cost none.
            written = written or 0.0
        return None if read is None or written is None else float(read + written)
