"""Which models are measured for a shortlist: those of the catalogue that can be asked now, or those that are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from luthier.errors import UserError
from luthier.model_catalogue import Catalogue, CatalogueModel, Chosen, ModelFilter
from luthier.model_catalogue.suiting import techniques
from luthier.model_names.near import near_names
from luthier.providers.endpoint import Endpoint
from luthier.providers.prices import PriceBook
from luthier.techniques.zero_shot import FOR_REASONING

__all__ = ["LeftOut", "RankedModel", "named_models", "needs_of", "ranked_models"]

SOON_DAYS = 90
"""A model that stops answering within so many days is no choice, unless it is named."""


@dataclass(frozen=True)
class RankedModel:
    """A model that is measured.

    Attributes:
        name: of its spec on the leaderboard; unique.
        blocks: of an endpoint file: `endpoint`, and settings of prompts that the model needs.
        known: what the catalogue knows of it; `None` where it knows nothing.
    """

    name: str
    blocks: Mapping[str, Any]
    known: CatalogueModel | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint.model_validate(self.blocks["endpoint"])

    @property
    def input_usd(self) -> float | None:
        """US dollars for a million input tokens; `None` where that is not known."""
        if self.endpoint.price is not None:
            return self.endpoint.price.input_usd_per_million
        found: float | None = None if self.known is None else self.known.value("input_usd_per_million")
        return found

    @property
    def retires(self) -> date | None:
        """When it stops answering; `None` where no date is known."""
        return None if self.known is None else self.known.retires


@dataclass(frozen=True)
class LeftOut:
    """A model that is not measured, or that gave no answer.

    Attributes:
        name: as on the leaderboard, or as it was given.
        why: a clause.
    """

    name: str
    why: str


def ranked_models(
    catalogue: Catalogue,
    places: Sequence[Mapping[str, Any]],
    *,
    task: str,
    technique: str,
    most: int,
    today: date,
    names: Sequence[str] = (),
    most_usd: float | None = None,
    listed: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[RankedModel], list[LeftOut]]:
    """The models to measure, and those that were left out.

    Where none is named: what each endpoint file asks, then models of the catalogue at the same services, one of a
    family, spread over the range of prices.

    Args:
        catalogue: what is known of models.
        places: blocks of endpoint files, one per service that can be asked now.
        task: what models are listed for.
        technique: of the recipe that all are asked with.
        most: at most so many, where none is named.
        today: models that retire within 90 days of it are left out unless they are named.
        names: models in any spelling; all of them are measured.
        most_usd: most US dollars for a million input tokens, where none is named.
        listed: blocks for further models that services list, one per model.

    Raises:
        UserError: a name is known neither to the catalogue nor to a service that can be asked.
    """
    if names:
        return named_models(catalogue, [*places, *listed], names), []
    first = [_asked_there(catalogue, blocks) for blocks in places]
    taken = {one.known.model.family for one in first if one.known is not None}
    # What a server lists is asked as it lists it, and not a second time as the catalogue has it.
    served = {_where(blocks) for blocks in (*places, *listed)}
    wanted = ModelFilter(task=task, provider="all", most_usd=most_usd)
    fitting, gone = [], []
    for known in Chosen.of(catalogue, wanted, today).models:
        blocks = _place_of(places, known)
        if blocks is None or known.model.family in taken or _where(_blocks(blocks, known)) in served:
            continue
        if technique not in techniques(known, task, today):
            continue
        taken.add(known.model.family)
        ranked = RankedModel(known.id, _blocks(blocks, known), known)
        if known.retires is not None and known.retires < today + timedelta(days=SOON_DAYS):
            gone.append(LeftOut(known.id, f"stops answering on {known.retires}"))
        else:
            fitting.append(ranked)
    for there in (_asked_there(catalogue, blocks) for blocks in listed):
        if there.retires is not None and there.retires < today + timedelta(days=SOON_DAYS):
            gone.append(LeftOut(there.name, f"stops answering on {there.retires}"))
        elif most_usd is None or (there.input_usd is not None and there.input_usd <= most_usd):
            fitting.append(there)
    fitting.sort(key=lambda one: (one.input_usd is None, one.input_usd or 0.0))
    chosen = _spread(fitting, max(0, most - len(first)))
    named = {one.name for one in chosen}
    skipped = [LeftOut(one.name, "one of many; name it with --model") for one in fitting if one.name not in named]
    return _distinct([*first, *chosen]), [*gone, *skipped]


def named_models(catalogue: Catalogue, places: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[RankedModel]:
    """The models of these names, in any spelling, where they can be asked; each once.

    Args:
        catalogue: what is known of models.
        places: blocks of endpoint files; of two that answer for a model, the first is asked.
        names: of models.

    Raises:
        UserError: a name is known neither to the catalogue nor to a service that can be asked.
    """
    return _distinct(_named(catalogue, places, name) for name in names)


def _named(catalogue: Catalogue, places: Sequence[Mapping[str, Any]], name: str) -> RankedModel:
    """The model of a name where it can be asked: by the service's own spelling, else as an endpoint file has it."""
    for blocks in places:
        if blocks["endpoint"].get("model") == name:
            return _asked_there(catalogue, blocks)
    known = catalogue.named(name)
    for one in known:
        place = _place_of(places, one)
        if place is not None:
            return RankedModel(one.id, _blocks(place, one), one)
    open_to_all = [blocks for blocks in places if blocks["endpoint"]["provider"] in ("compatible", "vllm")]
    near = near_names(name, [str(blocks["endpoint"]["model"]) for blocks in open_to_all])
    if near:
        raise UserError(f"no service here has a model {name!r}. Did you mean {', '.join(near)}?")
    if open_to_all:
        # Such a server has models that no catalogue knows.
        return RankedModel(name, _blocks(open_to_all[0], None, name))
    if known:
        at = ", ".join(sorted({one.provider for one in known}))
        raise UserError(
            f"{name} answers at {at}, and no endpoint file here asks there with a key that is set. Add one to "
            "models/endpoints/ (docs/endpoints.md has an example of each), or give --endpoint FILE."
        )
    near = near_names(name, [one.id for one in catalogue.models])
    meant = f" Did you mean {', '.join(near)}?" if near else ""
    raise UserError(f"the catalogue has no model {name!r}.{meant} `luthier catalogue list` has those that are known.")


def _where(blocks: Mapping[str, Any]) -> tuple[str, str]:
    endpoint = Endpoint.model_validate(blocks["endpoint"])
    return endpoint.address, endpoint.model


def _asked_there(catalogue: Catalogue, blocks: Mapping[str, Any]) -> RankedModel:
    """The model that an endpoint file asks itself."""
    endpoint = blocks["endpoint"]
    name = str(endpoint.get("priced_as") or endpoint["model"])
    at = catalogue.named(name, endpoint["provider"])
    return RankedModel(str(endpoint["model"]), _blocks(blocks, at[0] if at else None, endpoint["model"]), *at[:1])


def _place_of(places: Sequence[Mapping[str, Any]], known: CatalogueModel) -> Mapping[str, Any] | None:
    """The first endpoint file of a model's service; at Azure deployments are asked, and no model by its name."""
    if known.provider == "azure":
        return None
    return next((blocks for blocks in places if blocks["endpoint"]["provider"] == known.provider), None)


def _blocks(blocks: Mapping[str, Any], known: CatalogueModel | None, name: str | None = None) -> dict[str, Any]:
    """The blocks of an endpoint file for another model of the same service."""
    endpoint = dict(blocks["endpoint"])
    if name is None:
        assert known is not None
        there = Endpoint.model_validate(endpoint).asking(known.id)
        endpoint = there.model_dump(mode="json", exclude_defaults=True)
        own: Mapping[str, Any] = {}
    else:
        endpoint["model"] = name
        own = {key: value for key, value in blocks.items() if key in ("answer", "decoding", "prompt")}
    endpoint = _priced(endpoint, known)
    return {**(FOR_REASONING if _thinks(known) else {}), **own, "endpoint": endpoint}


def _thinks(known: CatalogueModel | None) -> bool:
    return known is not None and known.value("log_probabilities") is False and known.provider == "openai"


def needs_of(known: CatalogueModel | None) -> dict[str, Any]:
    """Settings that a prompt needs for a model, by their dotted paths; none for most models."""
    blocks = FOR_REASONING if _thinks(known) else {}
    return {f"{block}.{name}": value for block, given in blocks.items() for name, value in given.items()}


def _priced(endpoint: dict[str, Any], known: CatalogueModel | None) -> dict[str, Any]:
    """With the catalogue's price, which may be the user's own, where the price list has none."""
    if known is None or PriceBook().known(Endpoint.model_validate(endpoint)):
        return endpoint
    read, written = known.value("input_usd_per_million"), known.value("output_usd_per_million")
    if written is None and known.value("kind") == "embedding":
        written = 0.0
    if read is None or written is None:
        return endpoint
    return {**endpoint, "price": {"input_usd_per_million": read, "output_usd_per_million": written}}


def _spread(models: Sequence[RankedModel], most: int) -> list[RankedModel]:
    """At most so many of models in order of price, evenly spaced, the cheapest and the dearest among them."""
    if len(models) <= most:
        return list(models)
    if most <= 1:
        return list(models[:most])
    places = [round(step * (len(models) - 1) / (most - 1)) for step in range(most)]
    return [models[place] for place in dict.fromkeys(places)]


def _distinct(models: Iterable[RankedModel]) -> list[RankedModel]:
    """The models once each, under names of their own."""
    return list(_numbered(models))


def _numbered(models: Iterable[RankedModel]) -> Iterator[RankedModel]:
    taken: dict[str, int] = {}
    seen: list[Endpoint] = []
    for one in models:
        if one.endpoint in seen:
            continue
        seen.append(one.endpoint)
        name = "".join(mark if mark.isalnum() or mark in "._-" else "-" for mark in one.name).lstrip("._-") or "model"
        taken[name] = taken.get(name, 0) + 1
        yield RankedModel(name if taken[name] == 1 else f"{name}-{taken[name]}", one.blocks, one.known)
