"""Which models of the catalogue are shown, and in which order."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from luthier.errors import UserError
from luthier.model_catalogue.catalogue import ASKED, PRICE_ONLY, Catalogue
from luthier.model_catalogue.facts import TASKS
from luthier.model_catalogue.records import CatalogueModel
from luthier.model_catalogue.suiting import ended, techniques

__all__ = ["Chosen", "ModelFilter"]


@dataclass(frozen=True)
class ModelFilter:
    """What models have to be; a fact that is not known is not had.

    Attributes:
        task: one of `TASKS`.
        provider: one of the catalogue's, or `all`; those that Luthier asks by name, and the user's own, when absent.
        fine_tunable: can be fine-tuned today, or on the day when that begins.
        log_probabilities: gives them.
        json_mode: has it.
        decisions: answers typed questions with a probability per label.
        batch: is cheaper in batches.
        most_usd: for a million input tokens.
        least_context: tokens.
        retired: also models that have retired.
        everything: also models of which the price list has a price and nothing else, and those that an account which
            was asked is not offered.
    """

    task: str | None = None
    provider: str | None = None
    fine_tunable: bool = False
    log_probabilities: bool = False
    json_mode: bool = False
    decisions: bool = False
    batch: bool = False
    most_usd: float | None = None
    least_context: int | None = None
    retired: bool = False
    everything: bool = False

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            near = difflib.get_close_matches(self.task, TASKS, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise UserError(
                f"task {self.task!r} is unknown; allowed: {', '.join(TASKS)}, a task.yaml, or module:NAME for a type "
                f"of your own.{meant}"
            )


@dataclass(frozen=True)
class Chosen:
    """The models that were chosen, cheapest first.

    Attributes:
        models: in order.
        retired: how many were left out for having retired.
        price_only: how many were left out for being known by their price only.
        not_offered: how many were left out because no account of the user that was asked is offered them.
    """

    models: tuple[CatalogueModel, ...]
    retired: int
    price_only: int
    not_offered: int = 0

    @classmethod
    def of(cls, catalogue: Catalogue, wanted: ModelFilter, today: date) -> Chosen:
        """The models of a catalogue that pass a filter.

        Raises:
            UserError: there is no such provider.
        """
        providers = {*ASKED, *catalogue.own} if wanted.provider is None else {wanted.provider}
        if wanted.provider == "all":
            providers = set(catalogue.providers)
        elif not providers <= {*ASKED, *catalogue.providers}:
            raise UserError(_no_provider(str(wanted.provider), catalogue))
        rest: list[CatalogueModel] = []
        left_out: Counter[str] = Counter()
        for one in catalogue.models:
            if one.provider not in providers or not _passes(one, wanted, today):
                continue
            if not wanted.retired and _gone(one, today):
                left_out["retired"] += 1
            elif not wanted.everything and _is_refused(one, catalogue):
                left_out["not offered"] += 1
            elif not wanted.everything and one.value("note") == PRICE_ONLY:
                left_out["price only"] += 1
            else:
                rest.append(one)
        rest.sort(key=lambda one: (one.price is None, one.price or 0.0, one.provider != "local", one.id.lower()))
        return cls(tuple(rest), left_out["retired"], left_out["price only"], left_out["not offered"])


def _passes(model: CatalogueModel, wanted: ModelFilter, today: date) -> bool:
    needed: Sequence[tuple[bool, str]] = (
        (wanted.log_probabilities, "log_probabilities"),
        (wanted.json_mode, "json_mode"),
        (wanted.decisions, "decisions"),
        (wanted.batch, "batch"),
    )
    if any(asked and not model.value(name) for asked, name in needed):
        return False
    if wanted.fine_tunable and (not model.value("fine_tuning") or ended(model, today)):
        return False
    read, context = model.value("input_usd_per_million"), model.value("context_tokens")
    if wanted.most_usd is not None and (read is None or read > wanted.most_usd):
        return False
    if wanted.least_context is not None and (context is None or context < wanted.least_context):
        return False
    return wanted.task is None or wanted.task in model.value("tasks")


def _gone(model: CatalogueModel, today: date) -> bool:
    """Whether nothing can be done with a model any more: it has retired, and is fine-tuned no more."""
    return model.retires is not None and model.retires <= today and not techniques(model, None, today)


def _is_refused(model: CatalogueModel, catalogue: Catalogue) -> bool:
    """Whether an account was asked and did not name it; lists of what answers need not have what can be trained."""
    return model.provider in catalogue.asked and not model.value("offered") and not model.value("fine_tuning")


def _no_provider(wanted: str, catalogue: Catalogue) -> str:
    near = difflib.get_close_matches(wanted, catalogue.providers, 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"no provider {wanted!r} in the catalogue.{meant} There are: all, {', '.join(sorted(catalogue.providers))}."
