"""One recipe for several models: the spec as each of them is asked it, by the names that a person knows them under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.errors import UserError
from luthier.model_catalogue import Catalogue, catalogue_models
from luthier.model_choice.askable import EMBEDDED, ENDPOINT_FILES, askable_places, listed_there
from luthier.model_choice.candidates import RankedModel, named_models
from luthier.model_choice.spec_models import with_model
from luthier.spec import Spec
from luthier.techniques import FineTune, Prompt

__all__ = ["specs_for_models"]


def specs_for_models(
    spec: Spec,
    models: Sequence[str],
    files: Sequence[str | Path] = (),
    *,
    catalogue: Catalogue | None = None,
    folder: Path = ENDPOINT_FILES,
) -> list[Spec]:
    """The spec for each of these models, named after it, with the settings that the model needs.

    A model is asked at the spec's own endpoint where that serves it, else at the first endpoint file whose service has
    it and whose key is set.

    Args:
        spec: the recipe.
        models: names in any provider's spelling; all of them are known or it is refused.
        files: endpoint files; those of `folder` when there are none.
        catalogue: what is known of models; read when absent.
        folder: where endpoint files are looked for.

    Raises:
        UserError: the spec calls no model, or a name is known neither to the catalogue nor to a service here.
        EndpointError: the key of a file that was named is not set.
    """
    if spec.endpoint is None:
        raise UserError(f"spec {spec.name!r} calls no model, so it cannot be asked of {', '.join(models)}.")
    recipe = spec.as_prompt(spec.name) if isinstance(spec, FineTune) else spec
    block = type(recipe).endpoint_block
    own = {"endpoint": spec.endpoint.model_dump(mode="json", exclude_defaults=True)}
    own_list, _ = listed_there({block: own["endpoint"]}, spec.endpoint)
    there = askable_places(files, folder=folder)
    # The embedded model's own settings are in a spec that asks it already.
    places = [one for one in there.places if not (spec.endpoint.provider == "local" and one is EMBEDDED)]
    chosen = named_models(
        catalogue_models() if catalogue is None else catalogue,
        [own, *_of_block([*places, *own_list, *there.listed], block)],
        models,
    )
    return [_asking(spec if model.endpoint == spec.endpoint else recipe, model) for model in chosen]


def _of_block(places: Sequence[Mapping[str, Any]], block: str) -> list[dict[str, Any]]:
    """The places whose file has an endpoint for such a spec: models that chat do not embed."""
    return [{**blocks, "endpoint": blocks[block]} for blocks in places if block in blocks]


def _asking(spec: Spec, model: RankedModel) -> Spec:
    """The spec for one model: its own as it is, another with the settings that one needs."""
    made = with_model(spec, model, model.name)
    gives_none = model.known is not None and model.known.value("log_probabilities") is False
    if gives_none and isinstance(made, Prompt) and any(probe.reads_logprobs for probe in made.probes()):
        # Its answer can only be read; what is chosen from probabilities has none to choose from.
        made = made.with_settings({"answer.method": "text", "answer.calibration_rows": 0, "objective": None})
    return made
