"""Specs with models in place of their own: every recipe that can be asked with another model, with each one named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.accounts import offered_models
from luthier.errors import SpecError, UserError
from luthier.model_catalogue import Catalogue, CatalogueModel, catalogue_models
from luthier.model_catalogue.suiting import kind_of
from luthier.model_choice.askable import OWN_SERVERS, askable_places, listed_there
from luthier.model_choice.candidates import RankedModel, named_models
from luthier.model_names import parse_model_name
from luthier.model_names.near import near_names
from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.tasks.crossed_names import BETWEEN, crossed_name, prompt_and_model
from luthier.techniques import FineTune
from luthier.techniques.endpoint_files import override_endpoint
from luthier.techniques.registry import check_comparable, parse_spec

__all__ = ["SpecsWithModels", "specs_with_models", "with_model"]

Blocks = Mapping[str, Any]

LONGEST_MODEL = 64
"""Characters of a model in a spec's name."""

MOST_NAMED = 12
"""Models that a message names."""


@dataclass(frozen=True)
class SpecsWithModels:
    """What is compared in place of some specs.

    Attributes:
        specs: each that can be asked with another model once per model, as `NAME@MODEL`; the others as they are.
        missing: specs that cannot be asked, by the name they would have, and why.
        notes: what a user should know of the specs, in sentences.
    """

    specs: tuple[Spec, ...]
    missing: Mapping[str, str]
    notes: tuple[str, ...]


def specs_with_models(
    specs: Sequence[Spec],
    models: Sequence[str],
    *,
    endpoint: str | Path | None = None,
    catalogue: Catalogue | None = None,
) -> SpecsWithModels:
    """Every spec that can be asked with another model, with each of the models in place of its own.

    A model is asked where a spec of these asks it, else by an endpoint file of `models/endpoints/`, and by all specs
    in the same place. Specs that call no model, and those whose model was fine-tuned for them, stay as they are. A
    model that embeds takes the place of one that embeds, and no other.

    Args:
        specs: recipes for one task, with distinct names.
        models: in any spelling.
        endpoint: an endpoint file; models are asked there and nowhere else.
        catalogue: what is known of models; read when absent.

    Raises:
        UserError: no service here has a model of this name, or no spec can be asked with it.
        SpecError: two specs share a name, or answer different tasks.
    """
    check_comparable(specs)
    moving = [spec for spec in specs if _why_fixed(spec) is None]
    if not moving:
        raise UserError(
            f"--model has nothing to do: {'; '.join(f'{spec.name} {_why_fixed(spec)}' for spec in specs)}. Give a spec "
            "that asks a model, such as one of technique prompt."
        )
    known = catalogue_models() if catalogue is None else catalogue
    places = _Places(moving, models, endpoint)
    chosen = {block: places.models_of(block, known) for block in dict.fromkeys(one.endpoint_block for one in moving)}
    titles = _titles(moving)
    found: list[Spec] = []
    missing: dict[str, str] = {}
    notes: list[str] = []
    for spec in specs:
        why = _why_fixed(spec)
        of_kind = chosen.get(spec.endpoint_block, []) if why is None else []
        if not of_kind:
            found.append(spec)
            notes.append(f"{spec.name} {why or 'embeds texts, and no model that does is named'}; it is measured as is.")
        for model in of_kind:
            name = crossed_name(titles[spec.name], model.name)
            try:
                found.append(_asked(spec, model, name))
            except SpecError as error:
                missing[name] = str(error)
    if not any(BETWEEN in spec.name for spec in found):
        raise UserError(f"no spec can be asked with these models. {' '.join(missing.values())}")
    return SpecsWithModels(tuple(found), missing, (*notes, *_alike(found)))


class _Places:
    """Where models can be asked: by what the specs ask, by an endpoint file, or by those of the working folder."""

    def __init__(self, specs: Sequence[Spec], models: Sequence[str], endpoint: str | Path | None) -> None:
        self._models = list(dict.fromkeys(models))
        self._places: list[Blocks] = []
        if endpoint is None:
            for spec in specs:
                assert spec.endpoint is not None
                place = {spec.endpoint_block: spec.endpoint.model_dump(mode="json", exclude_defaults=True)}
                self._places += [place] if place not in self._places else []
        if not all(self._exact(name) for name in self._models):
            there = askable_places([] if endpoint is None else [endpoint])
            self._places += [*_listed(self._places), *there.places, *there.listed]
        self._blocks = {spec.endpoint_block for spec in specs}
        self._taken = {name: self._block_of(name) for name in self._models}

    def models_of(self, block: str, catalogue: Catalogue) -> list[RankedModel]:
        """The models for specs with this block of an endpoint file."""
        names = [name for name in self._models if self._taken[name] == block]
        if block == "embedding":
            places: list[Blocks] = [{"endpoint": one["embedding"]} for one in self._places if "embedding" in one]
        else:
            places = [one for one in self._places if "endpoint" in one]
        for name in names:
            self._refuse_unknown(name, places, catalogue)
        return [_short(one) for one in named_models(catalogue, places, names)]

    def _exact(self, name: str) -> list[str]:
        """The blocks under which the model is asked by just this name."""
        blocks = ("endpoint", "embedding")
        return [b for one in self._places for b in blocks if b in one and one[b].get("model") == name]

    def _block_of(self, name: str) -> str:
        block = next(iter(self._exact(name)), "embedding" if kind_of(name) == "embedding" else "endpoint")
        if block not in self._blocks:
            needed = "embeds texts" if block == "embedding" else "does not embed texts"
            raise UserError(f"no spec can be asked with {name}, which {needed}; leave it out, or give a spec for it.")
        return block

    def _refuse_unknown(self, name: str, places: Sequence[Blocks], catalogue: Catalogue) -> None:
        """A server that lists its models has no others; without this it would be asked for any name."""
        if self._exact(name) or any(
            one.provider == blocks["endpoint"]["provider"] for one in catalogue.named(name) for blocks in places
        ):
            return
        served: list[str] = []
        for blocks in places:
            endpoint = Endpoint.model_validate(blocks["endpoint"])
            if endpoint.provider in OWN_SERVERS:
                listed = [one.id for one in offered_models(endpoint).items]
                if not listed or name in listed:
                    return
                served += listed
        if not served:
            return
        named = list(dict.fromkeys([*(str(blocks["endpoint"]["model"]) for blocks in places), *served]))
        more = f" and {len(named) - MOST_NAMED:,} more" if len(named) > MOST_NAMED else ""
        near = near_names(name, named)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        elsewhere = ", ".join(sorted({one.provider for one in catalogue.named(name)}))
        raise UserError(
            f"no service here has a model {name!r}.{hint} These can be asked: {', '.join(named[:MOST_NAMED])}{more}."
            + (f" It answers at {elsewhere}." if elsewhere else "")
            + " Add an endpoint file for another service to models/endpoints/, or give --endpoint FILE."
        )


def _listed(places: Sequence[Blocks]) -> list[Blocks]:
    """The further models that the services of these places list, each service asked once."""
    services: dict[object, tuple[Blocks, Endpoint]] = {}
    for blocks in places:
        [settings] = blocks.values()
        endpoint = Endpoint.model_validate(settings)
        services.setdefault((endpoint.address, endpoint.key_variable), (blocks, endpoint))
    return [one for blocks, endpoint in services.values() for one in listed_there(blocks, endpoint)[0]]


def _why_fixed(spec: Spec) -> str | None:
    """Why the spec is asked with its own model only, in a clause; `None` where another can take its place."""
    if spec.endpoint is None:
        return "calls no model"
    if isinstance(spec, FineTune) or parse_model_name(spec.endpoint.model).job is not None:
        return "asks a model that was fine-tuned for it"
    return None


def _titles(specs: Sequence[Spec]) -> dict[str, str]:
    """What each spec is called before the model: the whole name where two would be called alike."""
    short = {spec.name: prompt_and_model(spec.name)[0] for spec in specs}
    times = Counter(short.values())
    return {
        name: prompt if times[prompt] == 1 else name.replace(BETWEEN, "-")[:LONGEST_MODEL]
        for name, prompt in short.items()
    }


def _short(model: RankedModel) -> RankedModel:
    return RankedModel(model.name[:LONGEST_MODEL], model.blocks, model.known)


def with_model(spec: Spec, model: RankedModel, name: str) -> Spec:
    """The recipe with the model: its own as it is, another with the settings that one needs."""
    document = spec.document() | {"task": spec.task, "name": name}
    if spec.endpoint != model.endpoint:
        blocks = {**model.blocks, spec.endpoint_block: model.blocks["endpoint"]}
        document = override_endpoint(document, blocks, type(spec))
    return parse_spec(document, name, Path())


def _asked(spec: Spec, model: RankedModel, name: str) -> Spec:
    """The recipe with the model.

    Raises:
        SpecError: the model does not answer as the recipe asks.
    """
    asked = with_model(spec, model, name)
    why = _why_unfit(asked, model.known)
    if why is not None:
        raise SpecError(f"{name} cannot be asked: {why}.")
    if spec.grid_point is not None:
        asked.mark_grid_point(spec.grid_point)
    return asked


def _why_unfit(spec: Spec, known: CatalogueModel | None) -> str | None:
    if known is None:
        return None
    probes = spec.probes()
    if known.value("log_probabilities") is False and any(probe.reads_logprobs for probe in probes):
        return f"{known.id} gives no log-probabilities, which the spec reads"
    if known.value("decisions") is None and any(probe.operation == "decision" for probe in probes):
        return f"{known.id} is not known to take typed questions"
    return None


def _alike(specs: Sequence[Spec]) -> list[str]:
    """Specs that differed in their model only, and now answer alike."""
    names: dict[str, list[str]] = {}
    for spec in specs:
        names.setdefault(spec.digest, []).append(spec.name)
    return [
        f"{', '.join(alike)} are the same but for their names, so they answer alike and are asked once."
        for alike in names.values()
        if len(alike) > 1
    ]
