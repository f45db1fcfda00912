"""The price list of genai-prices as models of the catalogue, without importing it: that alone takes a second.

What is wanted of the list is kept in `price_list.json` beside this file, made from one version of the package by
`python -m luthier.model_catalogue.price_list`. Where another version is installed, the package itself is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["ListedModel", "PriceList", "price_list"]

TABLE = Path(__file__).with_name("price_list.json")
PRICES = ("input", "output", "cached_input", "batch_input", "batch_output")
"""Prices of an entry, in the order of the table."""


@dataclass(frozen=True)
class ListedModel:
    """A model of the price list.

    Attributes:
        provider: as the list calls it.
        id: as the list calls it.
        names: what else the list knows it by.
        context_tokens: longest input; `None` where the list does not say.
        deprecated: whether the list says so.
        described: whether the list has more of it than a price, which of models that are long gone it has not.
        prices: US dollars for a million tokens by kind (`PRICES`), as they are today; what is not there is not known.
    """

    provider: str
    id: str
    names: tuple[str, ...]
    context_tokens: int | None
    deprecated: bool
    described: bool
    prices: Mapping[str, float]


@dataclass(frozen=True)
class PriceList:
    """The list as it is today.

    Attributes:
        version: of the package.
        seen: when that version was published, or installed where that is not known.
        providers: their names by the list's ids.
        models: all of them.
        stands_in: by provider, the providers whose entries count where it has none of its own.
    """

    version: str
    seen: date
    providers: Mapping[str, str]
    models: Sequence[ListedModel]
    stands_in: Mapping[str, Sequence[str]]

    @property
    def source(self) -> str:
        """As facts name it."""
        return f"genai-prices {self.version}"


@cache
def price_list() -> PriceList:
    """The installed price list, from the table where that was made from the same version."""
    version = metadata.version("genai-prices")
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    if table["version"] != version:
        table = table_of(version, _installed())
    return _read(table, date.today())


def _read(table: Mapping[str, Any], today: date) -> PriceList:
    models = []
    for provider, entries in table["models"].items():
        for id_, names, context, deprecated, described, dated in entries:
            # Sorted by the day from which they count; the first counts from the beginning.
            now = [prices for since, prices in dated if since is None or date.fromisoformat(since) <= today][-1]
            known = {kind: price for kind, price in zip(PRICES, now, strict=True) if price is not None}
            flags = bool(deprecated), bool(described)
            models.append(ListedModel(provider, id_, tuple(names), context, *flags, known))
    seen = date.fromisoformat(table["seen"])
    return PriceList(table["version"], seen, table["providers"], models, table["stands_in"])


def table_of(version: str, seen: date) -> dict[str, Any]:
    """What is wanted of the installed package, as JSON values."""
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers
    return {
        "version": version,
        "seen": seen.isoformat(),
        "providers": {one.id: one.name for one in providers},
        "stands_in": {one.id: list(one.fallback_model_providers) for one in providers if one.fallback_model_providers},
        "models": {one.id: [_entry(model) for model in one.models] for one in providers},
    }


def _entry(model: Any) -> list[Any]:
    """A model as a list, as `_read` reads it; prices by the day from which they count."""
    days: set[date] = set()
    by_the_hour = False
    for part in [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or [])]:
        since = getattr(part.constraint, "start_date", None)
        by_the_hour |= part.constraint is not None and since is None
        days |= {since} if since else set()
    dated: list[list[Any]] = []
    for day in [None, *sorted(days)]:
        # What costs more at some hours of the day has no price that a table could name.
        prices = [None] * len(PRICES) if by_the_hour else _prices(model, day or date(1970, 1, 1))
        if not dated or dated[-1][1] != prices:
            dated.append([day and day.isoformat(), prices])
    names = sorted(set(_names(model.match)) - {model.id})
    described = model.name is not None or model.context_window is not None
    return [model.id, names, model.context_window, int(bool(model.deprecated)), int(described), dated]


def _prices(model: Any, day: date) -> list[float | None]:
    at = datetime.combine(day, time(12), UTC)
    live, batch = model.get_prices(at), model.get_prices(at, {"processing": "batch"})
    found = [_price(getattr(live, f"{kind}_mtok", None)) for kind in ("input", "output", "cache_read")]
    batched = [_price(getattr(batch, f"{kind}_mtok", None)) for kind in ("input", "output")]
    # A batch that costs what a request costs is one for which the list has no price of its own.
    return [*found, *(batched if batched != found[:2] else [None, None])]


def _price(given: Any) -> float | None:
    """The price of short requests, where longer ones cost more."""
    if given is None:
        return None
    return float(getattr(given, "base", given))


def _names(match: Any) -> Iterator[str]:
    """The exact names in a rule of the list."""
    if hasattr(match, "equals"):
        yield match.equals
    for one in getattr(match, "or_", ()):
        yield from _names(one)


def _installed() -> date:
    """When the package was installed."""
    import genai_prices

    return datetime.fromtimestamp(Path(genai_prices.__file__).stat().st_mtime, UTC).date()


def _write() -> None:
    """Writes the table anew from the installed package: a line per model, so that changes can be read."""
    import sys

    table = table_of(metadata.version("genai-prices"), date.fromisoformat(sys.argv[1]))
    models = table.pop("models")

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    heads = [f"{line(key)}:{line(value)}" for key, value in table.items()]
    blocks = [f"{line(one)}:[\n" + ",\n".join(map(line, entries)) + "]" for one, entries in models.items()]
    text = "{" + ",\n".join([*heads, '"models":{' + ",\n".join(blocks) + "}"]) + "}\n"
    TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
