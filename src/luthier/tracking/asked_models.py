"""The models that a recipe asks, as a tag of a registered version: found again without fetching the version's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from luthier.providers.endpoint import Endpoint
from luthier.spec import Spec
from luthier.techniques import FineTune

__all__ = ["ASKS_TAG", "AskedModel", "asked_models", "asks_tag", "read_asks"]

ASKS_TAG = "luthier.asks"


@dataclass(frozen=True)
class AskedModel:
    """A model as an endpoint names it.

    Attributes:
        provider: as in `endpoint:`.
        name: what requests name; at Azure, a deployment.
        address: where it answers.
        model: what that is, where the name need not tell: the result of a job, or the model of the price list.
        base: the model that it was fine-tuned from, where the recipe tells.
    """

    provider: str
    name: str
    address: str = ""
    model: str | None = None
    base: str | None = None

    @property
    def label(self) -> str:
        """Provider and name as one text."""
        return f"{self.provider}/{self.name}"


def asked_models(spec: Spec) -> tuple[AskedModel, ...]:
    """The models that a recipe asks, each once, that of its own endpoint first."""
    return tuple(dict.fromkeys(_asked(spec, endpoint) for endpoint in spec.all_endpoints))


def _asked(spec: Spec, endpoint: Endpoint) -> AskedModel:
    tuned = spec.tuned if isinstance(spec, FineTune) and endpoint == spec.endpoint else None
    model, base = (endpoint.priced_as, None) if tuned is None else (tuned.model, tuned.base_model)
    return AskedModel(
        endpoint.provider, endpoint.model, endpoint.address, None if model == endpoint.model else model, base
    )


def asks_tag(spec: Spec) -> dict[str, str]:
    """The models of a recipe as a tag; one without a model has an empty list."""
    written = [{name: value for name, value in asdict(one).items() if value} for one in asked_models(spec)]
    return {ASKS_TAG: json.dumps(written, ensure_ascii=False)}


def read_asks(tags: Mapping[str, str]) -> tuple[AskedModel, ...] | None:
    """What `asks_tag` wrote; `None` where there is no such tag, as on a version of an earlier Luthier."""
    try:
        return tuple(AskedModel(**one) for one in json.loads(tags[ASKS_TAG]))
    except (KeyError, ValueError, TypeError):
        return None
