"""Which models could take the place of one that retires: at the same provider, for the same work, and for longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from luthier.errors import SpecError
from luthier.model_catalogue import TASKS, Catalogue, CatalogueModel
from luthier.model_catalogue.suiting import techniques
from luthier.model_choice.candidates import LeftOut, needs_of
from luthier.providers.endpoint import Endpoint, Price
from luthier.spec import Fitted, Spec
from luthier.techniques import FineTune, Prompt
from luthier.techniques.spec_writing import plain_name

__all__ = ["MOST_CANDIDATES", "ReplacementCandidate", "replacement_candidates"]

MOST_CANDIDATES = 4
"""Models that are compared without being named: each is asked every row."""


@dataclass(frozen=True)
class ReplacementCandidate:
    """The recipe with another model.

    Attributes:
        spec: it, under a name of its own.
        model: what the catalogue knows of the model; `None` where that is nothing.
        fitted: what the old recipe had become, where that holds for any model, such as chosen examples.
    """

    spec: Spec
    model: CatalogueModel | None
    fitted: Fitted | None = None

    @property
    def retires(self) -> date | None:
        """When it retires; `None` where no date is known."""
        return None if self.model is None else self.model.retires


def replacement_candidates(
    fitted: Fitted,
    catalogue: Catalogue,
    offered: Sequence[CatalogueModel],
    *,
    named: Sequence[str] = (),
    has_training: bool = False,
    today: date,
    within_days: int,
    most: int = MOST_CANDIDATES,
) -> tuple[list[ReplacementCandidate], list[LeftOut]]:
    """Recipes with other models in the place of the one that retires.

    Models that the user names always are among them. Others are those of the catalogue at the same provider: the one
    that the provider names in its place first, then those whose price is nearest.

    Args:
        fitted: what answers now.
        catalogue: what is known of models.
        offered: the models of the service that is asked now.
        named: further models, as an endpoint names them.
        has_training: whether there are rows to fit a recipe on that must be.
        today: the day that counts as today.
        within_days: a model that retires within these days replaces nothing.
        most: how many of the catalogue's are taken.
    """
    old = fitted.spec.endpoint
    if old is None:
        return [], []
    found: list[ReplacementCandidate] = []
    left: list[LeftOut] = []
    for name in dict.fromkeys(named):
        known = next((one for one in offered if one.id == name), None)
        known = known or next(iter(catalogue.named(name, old.provider)), None)
        _add(name, known, fitted, has_training, found, left)
    for model in _ranked(fitted.spec, catalogue, offered, today, within_days):
        if len(found) - len(named) >= most:
            break
        if model.id not in named:
            _add(model.id, model, fitted, has_training, found, left)
    return found, left


def _add(
    name: str,
    model: CatalogueModel | None,
    fitted: Fitted,
    has_training: bool,
    found: list[ReplacementCandidate],
    left: list[LeftOut],
) -> None:
    try:
        spec = _moved(fitted.spec, name, model)
    except SpecError as error:
        left.append(LeftOut(name, str(error)))
        return
    gives_none = model is not None and model.value("log_probabilities") is False
    if gives_none and any(probe.reads_logprobs for probe in spec.probes()):
        left.append(LeftOut(name, "it gives no log-probabilities, which the recipe reads"))
    elif has_training or not spec.needs_training:
        found.append(ReplacementCandidate(spec, model))
    elif spec.relocation_warnings(fitted):
        left.append(LeftOut(name, "what the recipe learned holds for the old model only; add --train TABLE"))
    else:
        found.append(ReplacementCandidate(spec, model, replace(fitted, spec=spec, report=None)))


def _moved(spec: Spec, name: str, model: CatalogueModel | None) -> Spec:
    """The recipe with another model; the prompt of a fine-tune, as the new model is not tuned yet."""
    assert spec.endpoint is not None
    title = _title(spec.name, name)
    endpoint = _endpoint(spec.endpoint, name, model)
    if isinstance(spec, FineTune):
        return spec.as_prompt(title).with_endpoint(endpoint).with_settings(needs_of(model))
    moved = spec.with_endpoint(endpoint).with_settings(needs_of(model) if isinstance(spec, Prompt) else {})
    return type(moved).model_validate({**moved._fields(), "name": title})


def _endpoint(old: Endpoint, name: str, model: CatalogueModel | None) -> Endpoint:
    new = old.asking(name)
    read, written = (None, None) if model is None else (model.value(f"{kind}_usd_per_million") for kind in READS)
    if old.price is not None and read is not None and written is not None:
        price = Price(input_usd_per_million=read, output_usd_per_million=written)
        new = new.model_copy(update={"price": price})
    return new


READS = ("input", "output")


def _title(spec: str, model: str) -> str:
    """`NAME-on-MODEL`, in the characters that a name may have."""
    return plain_name(f"{spec}-on-{model.rpartition('/')[2] or model}") or "replacement"


def _ranked(
    spec: Spec, catalogue: Catalogue, offered: Sequence[CatalogueModel], today: date, within_days: int
) -> list[CatalogueModel]:
    """The models of the catalogue that could do the same work for longer, the likeliest first."""
    assert spec.endpoint is not None
    provider, name = spec.endpoint.provider, spec.base_model
    old = next(iter(catalogue.named(name, provider)), None)
    # The prompt of a fine-tune is asked of models that are not tuned yet.
    technique = "prompt" if isinstance(spec, FineTune) else spec.technique
    last = today + timedelta(days=within_days)
    fit = [
        one
        for one in offered
        if (old is None or one.id != old.id)
        and one.id != name
        and technique in techniques(one, spec.task.type if spec.task.type in TASKS else None, today)
        and one.value("offered") is not False
        and not one.value("deprecated")
        and (one.retires is None or one.retires > last)
    ]
    named = None if old is None else old.value("replacement")
    successors = [] if named is None else [one.id for one in catalogue.named(str(named), provider)]

    before = None if old is None else old.price

    def nearness(one: CatalogueModel) -> tuple[bool, float, str]:
        far = abs(math.log(one.price / before)) if one.price and before else math.inf
        return one.id not in successors, far, one.id

    return sorted(fit, key=nearness)
