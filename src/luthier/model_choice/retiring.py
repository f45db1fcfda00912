"""Which registered versions and deployments stop working because a model retires, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from luthier.accounts.kept_lists import KeptList
from luthier.accounts.records import OfferedModel
from luthier.errors import UserError
from luthier.model_catalogue import Catalogue, CatalogueModel, Fact
from luthier.model_catalogue.suiting import kind_of, suits
from luthier.model_choice.model_uses import ModelUse
from luthier.model_names import parse_model_name
from luthier.tracking.asked_models import AskedModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WITHIN_DAYS", "KnownModels", "Retirement", "RetirementWatch", "watch_retirements"]

WITHIN_DAYS = 180
"""How far ahead is looked: long enough to measure, tune and roll out a replacement."""

OWN = ("local", "vllm")
"""Providers whose models run on machines of the user's own, and retire when the user says so."""

COLUMNS = [
    *("kind", "name", "aliases", "in_use", "task", "technique", "spec", "provider", "model", "address", "base"),
    *("stops", "on", "days", "planned", "replacement", "source", "seen", "deployments"),
]

Stops = Literal["answers", "fine-tuning"]


@dataclass(frozen=True)
class Retirement:
    """A model that something depends on, and when it retires.

    Attributes:
        use: what depends on it.
        asked: the model, as the recipe names it.
        stops: what stops on that day: that it answers, or that its base model can be fine-tuned.
        on: the day.
        days: from today until then; 0 or less when it has passed.
        is_planned: whether the service calls the date final or planned; `None` where it says neither.
        through: the base model whose retirement it is, where the model was fine-tuned from one.
        replacement: what the provider names in its place; `None` where it names nothing.
        source: where the date is from.
        seen: when it was looked at.
    """

    use: ModelUse
    asked: AskedModel
    stops: Stops
    on: date
    days: int
    is_planned: bool | None
    through: str | None
    replacement: str | None
    source: str
    seen: date

    @property
    def has_passed(self) -> bool:
        """Whether the day has come."""
        return self.days <= 0

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        use = self.use
        return {
            "kind": use.kind,
            "name": use.name,
            "aliases": list(use.aliases),
            "in_use": use.is_in_use,
            "task": use.task,
            "technique": use.technique,
            "spec": use.spec,
            "provider": self.asked.provider,
            "model": self.asked.name,
            "address": self.asked.address,
            "base": self.through,
            "stops": self.stops,
            "on": self.on.isoformat(),
            "days": self.days,
            "planned": self.is_planned,
            "replacement": self.replacement,
            "source": self.source,
            "seen": self.seen.isoformat(),
            "deployments": [{"name": one.name, "url": one.url, "status": one.status} for one in use.deployments],
        }


@dataclass(frozen=True)
class RetirementWatch:
    """What retires among what is registered and deployed.

    Attributes:
        today: the day that counts as today.
        within_days: how far ahead it warns.
        uses: everything that was looked at.
        known: every retirement whose date is known, the most urgent first.
        unknown: what asks a model of which no date is known.
    """

    today: date
    within_days: int
    uses: tuple[ModelUse, ...]
    known: tuple[Retirement, ...]
    unknown: tuple[ModelUse, ...]

    @property
    def near(self) -> tuple[Retirement, ...]:
        """What has retired, and what will within the days."""
        return tuple(one for one in self.known if one.days <= self.within_days)

    @property
    def urgent(self) -> tuple[Retirement, ...]:
        """Of `near`, what stops the answers of something in use; what `luthier catalogue retiring --check` is about."""
        return tuple(one for one in self.near if one.stops == "answers" and one.use.is_in_use)

    @property
    def frame(self) -> pd.DataFrame:
        """A row per retirement whose date is known, the most urgent first."""
        import pandas as pd

        frame = pd.DataFrame([one.document() for one in self.known], columns=COLUMNS)
        return frame.assign(on=pd.to_datetime(frame["on"]), seen=pd.to_datetime(frame["seen"]))

    def document(self) -> dict[str, Any]:
        """The watch as JSON values."""
        return {
            "today": self.today.isoformat(),
            "within_days": self.within_days,
            "looked_at": len(self.uses),
            "retiring": [one.document() for one in self.near],
            "later": [one.document() for one in self.known if one.days > self.within_days],
            "unknown": [
                {"kind": one.kind, "name": one.name, "aliases": list(one.aliases), "asks": _labels(one)}
                for one in self.unknown
            ],
        }


class KnownModels:
    """The catalogue and the lists of the user's accounts, looked up by what a recipe asks; a name is looked up once.

    Args:
        catalogue: what is known of models.
        kept: what accounts told; what the asked account says wins.
    """

    def __init__(self, catalogue: Catalogue, kept: Sequence[KeptList] = ()) -> None:
        self._catalogue, self._kept = catalogue, kept
        self._found: dict[tuple[str, str, str], CatalogueModel | None] = {}

    def itself(self, asked: AskedModel) -> CatalogueModel | None:
        """The model; `None` where it is not known at this provider, or it was fine-tuned."""
        return self._first(asked, (asked.name, asked.model), is_tuned=False)

    def base_of(self, asked: AskedModel) -> CatalogueModel | None:
        """The model that it was fine-tuned from, with which it retires; `None` for one that was not, or is unknown."""
        tuned = self._first(asked, (asked.model, asked.name), is_tuned=True)
        return tuned or self._first(asked, (asked.base,), is_tuned=False)

    def offered_at(self, provider: str, address: str) -> list[CatalogueModel]:
        """The models of a provider as an account there is told of them, those too that the catalogue does not have."""
        told = [
            (one, kept)
            for kept in self._kept
            if (kept.provider, kept.address) == (provider, address)
            for one in kept.models
            if not one.model.is_tuned
        ]
        by_name = {one.id: (one, kept) for one, kept in told}
        found = []
        for model in self._catalogue.models:
            if model.provider == provider:
                asked = by_name.pop(model.id, None)
                found.append(model if asked is None else replace(model, facts={**model.facts, **_told(*asked)}))
        for one, kept in by_name.values():
            kind = kind_of(one.id)
            judged = {"kind": Fact(kind, kept.address, kept.day), "tasks": Fact(suits(kind), kept.address, kept.day)}
            found.append(CatalogueModel(provider, one.id, one.model, judged | _told(one, kept)))
        return found

    def _first(self, asked: AskedModel, names: Sequence[str | None], *, is_tuned: bool) -> CatalogueModel | None:
        for name in filter(None, names):
            if parse_model_name(name).is_tuned is not is_tuned:
                continue
            place = asked.provider, asked.address, name
            if place not in self._found:
                self._found[place] = self._look_up(*place)
            if (found := self._found[place]) is not None:
                return found
        return None

    def _look_up(self, provider: str, address: str, name: str) -> CatalogueModel | None:
        found = next(iter(self._catalogue.named(name, provider)), None)
        # A snapshot that is not listed need not retire with its family.
        if found is not None and _snapshot(name) not in map(_snapshot, (found.id, *found.names)):
            found = None
        wanted = parse_model_name(name).base
        for kept in self._kept:
            if (kept.provider, kept.address) != (provider, address):
                continue
            told = next((one for one in kept.models if name == one.id or wanted == one.model), None)
            if told is not None:
                before = CatalogueModel(provider, told.id, told.model) if found is None else found
                found = replace(before, facts={**before.facts, **_told(told, kept)})
        return found


def _told(model: OfferedModel, kept: KeptList) -> dict[str, Fact]:
    """What an account said of when a model ends."""
    told = {
        "retires": model.retires,
        "retirement_is_planned": model.retirement_is_planned,
        "fine_tuning_until": model.fine_tuning_until,
    }
    return {name: Fact(value, kept.address, kept.day) for name, value in told.items() if value is not None}


def _snapshot(name: str) -> str | None:
    return parse_model_name(name).snapshot


def watch_retirements(
    uses: Sequence[ModelUse],
    catalogue: Catalogue,
    *,
    today: date,
    within_days: int = WITHIN_DAYS,
    kept: Sequence[KeptList] = (),
) -> RetirementWatch:
    """Joins the dates of the catalogue to what asks its models.

    Args:
        uses: what is registered and deployed.
        catalogue: what is known of models.
        today: the day that counts as today.
        within_days: how far ahead it warns.
        kept: what accounts told of their models.

    Raises:
        UserError: the number of days is below 0.
    """
    if within_days < 0:
        raise UserError(f"within is {within_days} days; give 0 or more. 0 shows only what has retired.")
    models = KnownModels(catalogue, kept)
    known: list[Retirement] = []
    unknown = []
    for use in uses:
        dated = True
        for asked in use.asked or ():
            found = _retirements(use, asked, models, today)
            dated = dated and (asked.provider in OWN or any(one.stops == "answers" for one in found))
            known += found
        if use.asked is None or not dated:
            unknown.append(use)
    return RetirementWatch(today, within_days, tuple(uses), tuple(sorted(known, key=_urgency)), tuple(unknown))


def _retirements(use: ModelUse, asked: AskedModel, models: KnownModels, today: date) -> list[Retirement]:
    itself, base = models.itself(asked), models.base_of(asked)
    dated = [] if itself is None or "retires" not in itself.facts else [(itself, itself.facts["retires"])]
    if base is not None:
        # A tuned model answers no longer than its base, unless the provider gives tuned ones a date of their own.
        fact = base.facts.get("tuned_retires") or base.facts.get("retires")
        dated += [] if fact is None else [(base, fact)]
    found = [
        _retirement(use, asked, "answers", model, fact, today, through=None if model is itself else model.id)
        for model, fact in sorted(dated, key=lambda pair: pair[1].value)[:1]
    ]
    if base is not None and "fine_tuning_until" in base.facts:
        fact = base.facts["fine_tuning_until"]
        found.append(_retirement(use, asked, "fine-tuning", base, fact, today, through=base.id))
    return found


def _retirement(
    use: ModelUse, asked: AskedModel, stops: Stops, model: CatalogueModel, fact: Fact, today: date, through: str | None
) -> Retirement:
    on: date = fact.value
    return Retirement(
        use,
        asked,
        stops,
        on,
        (on - today).days,
        model.value("retirement_is_planned") if stops == "answers" else None,
        through,
        model.value("replacement"),
        fact.source,
        fact.seen,
    )


def _urgency(one: Retirement) -> tuple[Any, ...]:
    use = one.use
    return (
        not use.is_in_use,
        one.stops != "answers" and one.has_passed,
        one.on,
        one.stops != "answers",
        "champion" not in use.aliases,
        not use.aliases,
        not use.deployments,
        use.model or use.name,
        -use.version,
    )


def _labels(use: ModelUse) -> list[str]:
    return [one.label for one in use.asked or ()]
