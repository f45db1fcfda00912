"""What an answer costs: the endpoint's own price, else the list of genai-prices (offline, in its wheel)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from luthier.errors import UserError
from luthier.model_names import parse_model_name, served_as
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Usage

__all__ = ["PriceBook", "price_cure", "price_needed"]

LISTED = {"openai": "openai", "azure": "azure", "together": "together", "fireworks": "fireworks"}
"""Our providers that are entries of the price list, by the name the list gives them."""

BATCH_SHARE: dict[str, float] = {"openai": 0.5, "azure": 0.5}
"""The price of the Batch API as a part of the live price, by provider; elsewhere a batch costs the same."""

Cost = Callable[[Usage], float | None]

MILLION = 1_000_000.0


def dollars(usd: float, *, up: bool = False) -> str:
    """An amount of money as every message writes it: to a hundredth of a cent, or three digits of what is less.

    Args:
        usd: the amount.
        up: round up, where it is a bound.

    Examples:
        >>> dollars(0.005), dollars(0), dollars(1.5), dollars(1234.56789), dollars(0.000012345)
        ('$0.005', '$0.00', '$1.50', '$1,234.5679', '$0.0000123')
        >>> dollars(0.00500001, up=True)
        '$0.00501'
    """
    digits = 4 if usd == 0 or abs(usd) >= 0.1 else 2 - math.floor(math.log10(abs(usd)))
    if up:
        # What a float misses a round number by is no reason to go up.
        usd = math.ceil(round(usd * 10**digits, 6)) / 10**digits
    text = f"{usd:,.{digits}f}"
    whole, _, parts = text.partition(".")
    return f"${whole}.{parts.rstrip('0').ljust(2, '0')}"


def sum_if_known(amounts: Iterable[float | None]) -> float | None:
    """The sum of some amounts; `None` if one of them is unknown, as unknown is never zero."""
    total = 0.0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


class PriceBook:
    """Prices of the endpoints asked so far. A look-up in the list takes 100 us, so rates are kept per model."""

    def __init__(self) -> None:
        self._costs: dict[tuple[Any, ...], Cost] = {}

    def cost(
        self, endpoint: Endpoint, usage: Usage, reported_model: str | None = None, *, batched: bool = False
    ) -> float | None:
        """US dollars for these tokens; `None` when the price is not known, which is not 0.

        What the service said it was tells what an Azure deployment is. `batched` is for answers of the Batch API.
        """
        return self.rule(endpoint, reported_model, batched=batched)(usage)

    def batch_share(self, endpoint: Endpoint, reported_model: str | None = None) -> float:
        """The price of the Batch API as a part of the live price; 1 where it saves nothing or nothing is known."""
        usage = Usage(input_tokens=1000, output_tokens=1000)
        live, batch = (self.cost(endpoint, usage, reported_model, batched=batched) for batched in (False, True))
        return batch / live if live and batch is not None else 1.0

    def known(self, endpoint: Endpoint, reported_model: str | None = None) -> bool:
        """Whether answers of this endpoint have a price."""
        return self.cost(endpoint, Usage(input_tokens=1, output_tokens=1), reported_model) is not None

    def rule(self, endpoint: Endpoint, reported_model: str | None = None, *, batched: bool = False) -> Cost:
        """What turns tokens of this endpoint into money; looked up once for many answers."""
        price = endpoint.price
        rates = None if price is None else tuple(vars(price).values())
        key = (endpoint.provider, endpoint.address, endpoint.model, endpoint.priced_as, rates, reported_model, batched)
        found = self._costs.get(key)
        if found is None:
            found = self._costs[key] = self._look_up(endpoint, reported_model, batched)
        return found

    def _look_up(self, endpoint: Endpoint, reported_model: str | None, batched: bool) -> Cost:
        if endpoint.price is not None:
            price = endpoint.price
            cached = price.cached_input_usd_per_million
            fresh = price.input_usd_per_million
            live = _rates(fresh, price.output_usd_per_million, fresh if cached is None else cached)
            share = BATCH_SHARE.get(endpoint.provider, 1.0) if price.batch_share is None else price.batch_share
            return _times(share, live) if batched else live
        if endpoint.provider == "local":
            return lambda usage: 0.0
        names = [endpoint.priced_as] if endpoint.priced_as else [endpoint.model, reported_model]
        for name in filter(None, names):
            for candidate in _spellings(name, endpoint):
                listings = _listings(candidate, endpoint)
                if len(listings) == 1:
                    live = _listed(listings[0])
                    return _times(_batch_share(listings[0], endpoint), live) if batched else live
        return lambda usage: None


def price_needed(endpoint: Endpoint) -> UserError:
    """The error of a budget for a model without a price."""
    return UserError(
        f"a budget was given, but the price of {endpoint.label} is not known. Put it into the endpoint: "
        f"{price_cure(endpoint)}."
    )


def price_cure(endpoint: Endpoint) -> str:
    """What to write into an endpoint whose price is not known."""
    own = "price: {input_usd_per_million: 0.1, output_usd_per_million: 0.4} (0 is a price)"
    if not endpoint.priced_as:
        return f"{own}, or name a listed model that costs the same: priced_as: MODEL"
    listings = _listings(endpoint.priced_as, endpoint)
    if not listings:
        return f"{own}, or correct `priced_as:`; the price list has no model {endpoint.priced_as!r}"
    names = ", ".join(f"{listing.provider}/{listing.model}" for listing in listings)
    return f"{own}, or say whose price counts, as providers charge differently for this model: priced_as: {names}"


def _times(share: float, live: Cost) -> Cost:
    def cost(usage: Usage) -> float | None:
        usd = live(usage)
        return None if usd is None else share * usd

    return cost


def _batch_share(listing: Listing, endpoint: Endpoint) -> float:
    """The price of a batch as a part of the live price; the list leaves some discounts of OpenAI and Azure out."""
    import genai_prices

    usage = genai_prices.Usage(input_tokens=1000)

    def price(**context: Any) -> float:
        found = genai_prices.calc_price(usage, model_ref=listing.model, provider_id=listing.provider, **context)
        return float(found.total_price)

    live, batched = price(), price(price_context={"processing": "batch"})
    return batched / live if batched < live else BATCH_SHARE.get(endpoint.provider, 1.0)


def _rates(fresh: float, output: float, cached: float) -> Cost:
    def cost(usage: Usage) -> float:
        hits = min(usage.cached_input_tokens, usage.input_tokens)
        return ((usage.input_tokens - hits) * fresh + hits * cached + usage.output_tokens * output) / MILLION

    return cost


@dataclass(frozen=True, slots=True)
class Listing:
    """An entry of the price list: a provider's id, and a name it knows the model by."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class _Rate:
    base: float
    tiers_from: float


def _rate(price: Any) -> _Rate | None:
    tiers = getattr(price, "tiers", None)
    try:
        if tiers is None:
            return _Rate(float(price), float("inf"))
        return _Rate(float(price.base), float(min((tier.start for tier in tiers), default=float("inf"))))
    except (TypeError, ValueError, AttributeError):
        return None


def _spellings(name: str, endpoint: Endpoint) -> Iterable[str]:
    """The name, then that of the base model of a fine-tune; what Azure spells its own way also as OpenAI does."""
    model = parse_model_name(name)
    return dict.fromkeys((name, model.spelled) if model.is_tuned or endpoint.provider == "azure" else (name,))


def _listings(name: str, endpoint: Endpoint) -> list[Listing]:
    """The entries of the price list that may count at an endpoint; several where it cannot be told which does.

    The entry of the endpoint's own provider comes first. `priced_as` may also name a model of any other provider,
    alone or as `provider/model`; providers that charge the same count as one.
    """
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    snapshot = get_snapshot()

    def listing(model: str, provider: str | None, url: str | None = None) -> list[Listing]:
        try:
            found, _ = snapshot.find_provider_model(model, None, provider, url)
        except LookupError:
            return []
        return [Listing(str(found.id), model)]

    own = LISTED.get(endpoint.provider)
    here = listing(name, own) if own is not None else listing(name, None, endpoint.address)
    if not here:
        try:
            provider = snapshot.find_provider(None, own, None if own else endpoint.address)
        except LookupError:
            pass
        else:
            here = _one_price(Listing(str(provider.id), model) for model in _same_model(name, provider))
    if here or not endpoint.priced_as:
        return here
    prefix, _, rest = name.partition("/")
    named = find_provider_by_id(snapshot.providers, prefix) if rest else None
    found = listing(name, None) or (listing(rest, named.id) if named is not None else [])
    if not found:
        found = [entry for provider in snapshot.providers for entry in listing(name, provider.id)]
    return _one_price(found) or found


def _one_price(found: Iterable[Listing]) -> list[Listing]:
    """One of several entries that cost the same; none where they do not."""
    entries = list(found)
    return entries[:1] if len({_rates_listed(entry) for entry in entries}) == 1 else []


def _same_model(name: str, provider: Any) -> list[str]:
    """What a provider of the list calls the model of a name, in the precision and service that the name tells."""
    wanted, served = parse_model_name(name), served_as(name)
    found = (one for one in provider.models if served_as(one.id) == served and parse_model_name(one.id) == wanted)
    # Some entries are not found by their own id, or another is.
    return [str(one.id) for one in found if provider.find_model(one.id.lower()) is one]


def _rates_listed(listing: Listing) -> tuple[float | None, ...]:
    cost = _listed(listing)
    return tuple(cost(usage) for usage in (Usage(1000, 0), Usage(0, 1000), Usage(1000, 0, 1000)))


def _listed(listing: Listing) -> Cost:
    import genai_prices

    def exact(usage: Usage) -> float:
        found = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=min(usage.cached_input_tokens, usage.input_tokens),
            ),
            model_ref=listing.model,
            provider_id=listing.provider,
        )
        return float(found.total_price)

    none = genai_prices.Usage(input_tokens=0)
    listed = genai_prices.calc_price(none, model_ref=listing.model, provider_id=listing.provider).model_price
    fresh, output = _rate(getattr(listed, "input_mtok", None)), _rate(getattr(listed, "output_mtok", None))
    cached = _rate(getattr(listed, "cache_read_mtok", None)) or fresh
    if fresh is None or cached is None:
        return exact
    # Embedding models have no price for output, and no output.
    base = _rates(fresh.base, output.base if output else 0.0, cached.base)
    dearer_from = min(fresh.tiers_from, cached.tiers_from, output.tiers_from if output else float("inf"))

    def cost(usage: Usage) -> float | None:
        # Above a tier's start the whole request costs more; the list has the rule.
        return base(usage) if usage.input_tokens < dearer_from else exact(usage)

    return cost
