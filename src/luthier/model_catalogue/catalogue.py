"""The catalogue: the price list, what Luthier knows, the lists of services and the user's own file, fact by fact."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from luthier.home import luthier_home
from luthier.model_catalogue.facts import FACTS
from luthier.model_catalogue.offered import kept_statements
from luthier.model_catalogue.price_list import ListedModel, PriceList, price_list
from luthier.model_catalogue.records import CatalogueModel, Fact
from luthier.model_catalogue.statements import Statement, read_statements
from luthier.model_catalogue.suiting import JUDGED, kind_of, suits
from luthier.model_names import ModelName, parse_model_name

__all__ = ["ASKED", "KNOWN_MODELS", "Catalogue", "catalogue_models", "user_files"]

KNOWN_MODELS = Path(__file__).with_name("known_models.yaml")

ASKED = ("openai", "azure", "together", "fireworks", "vllm", "local")
"""Providers that Luthier asks by name; any other is asked as `compatible`."""

LUTHIER = "Luthier"
"""The source of what is judged and looked up nowhere."""

DECISIONS = "openai-decisions"
"""What the price list calls the decisions of OpenAI, whose models it has a second time."""

GIVEN_AWAY = "gpt-oss"
"""Weights that OpenAI gives away and does not serve; the price list has an entry of OpenAI for them all the same."""

TUNED = ("ft:", ".ft-")
"""Marks of entries of the price list that are for fine-tunes of a model, which are no base models."""


@dataclass(frozen=True)
class Catalogue:
    """All models that are known.

    Attributes:
        models: in the order of the price list.
        sources: by the name of a source, when it was seen last.
        own: providers that the user's files and the lists of the user's accounts name.
        providers: all that are known, those that were left out too.
        asked: providers that have told an account of the user's all that it is offered.
    """

    models: tuple[CatalogueModel, ...]
    sources: Mapping[str, date]
    own: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()

    def named(self, name: str, provider: str | None = None) -> list[CatalogueModel]:
        """The models that a name stands for, at every provider: by its exact spelling there, else by what it is.

        A fine-tuned model's name stands for its base. A snapshot stands for its family where no entry has the snapshot.
        """
        here = [one for one in self.models if provider is None or one.provider == provider]
        wanted = parse_model_name(name).base
        found: dict[str, CatalogueModel] = {}
        for test in _NAMING:
            found |= {one.provider: one for one in here if one.provider not in found and test(one, name, wanted)}
        return list(found.values())


def catalogue_models(files: Sequence[Path] | None = None, *, providers: Collection[str] | None = None) -> Catalogue:
    """Everything that is known offline; later sources win fact by fact.

    Args:
        files: of the user, instead of `user_files()` and the lists of accounts.
        providers: the only ones to read of the price list, which has some fifty, beside those of the files; all when
            absent.

    Raises:
        CatalogueFileError: one of the files is wrong.
        DataError: the list of an account is damaged.
    """
    listed = price_list()
    stated = [one for file in (user_files() if files is None else files) for one in read_statements(file)]
    offered, asked = kept_statements() if files is None else ([], frozenset())
    own = [*offered, *stated]
    theirs = frozenset(one.provider for one in own)
    read = None if providers is None else frozenset({*providers, *theirs})
    found = _merged(read, own) if own else _without_own(read)
    known = {*listed.providers, *ASKED, *theirs} - {DECISIONS}
    return replace(found, own=theirs, providers=frozenset(known), asked=asked)


def user_files() -> list[Path]:
    """The user's own files that are there; what the working folder's says wins."""
    return [file for file in (luthier_home() / "catalogue.yaml", Path("catalogue.yaml")) if file.is_file()]


def _merged(providers: Collection[str] | None, own: Iterable[Statement]) -> Catalogue:
    found = _Merge(price_list(), providers)
    for statement in (*read_statements(KNOWN_MODELS, trusted=True), *own):
        found.add(statement)
    return found.catalogue()


@functools.cache
def _without_own(providers: frozenset[str] | None) -> Catalogue:
    """What the packages say, which stays as it is while the process runs."""
    return _merged(providers, ())


class _Merge:
    """Models by provider and id, while sources are read one after the other."""

    def __init__(self, listed: PriceList, providers: Collection[str] | None) -> None:
        self._listed = listed
        self._facts: dict[tuple[str, str], dict[str, Fact]] = {}
        self._names: dict[tuple[str, str], tuple[str, ...]] = {}
        self._places: dict[tuple[str, str], tuple[str, str]] = {}
        for entry in listed.models:
            if entry.provider != DECISIONS and providers is not None and entry.provider not in providers:
                continue
            given_away = entry.provider == "openai" and entry.id.startswith(GIVEN_AWAY)
            if entry.provider != DECISIONS and not given_away and not any(mark in entry.id for mark in TUNED):
                self._enter(entry.provider, _asked_as(entry), (entry.id, *entry.names), self._facts_of(entry))
        for entry in listed.models:
            if entry.provider == DECISIONS:
                source = f"{listed.source} ({DECISIONS})"
                self.add(Statement("openai", (entry.id,), {"decisions": Fact(True, source, listed.seen)}))

    def add(self, statement: Statement) -> None:
        """Adds facts to models, and models that are new."""
        for name in statement.models:
            place = self._places.get((statement.provider, name.lower()))
            if place is None:
                place = self._enter(statement.provider, name, (), self._stand_in(statement.provider, name))
            facts = self._facts[place]
            note = facts.get("note")
            if note is not None and note.value == PRICE_ONLY:
                # Of what a source speaks there is more than a price, and its name there is the one in use.
                del facts["note"]
                place = self._renamed(place, name)
            self._facts[place] |= statement.facts

    def catalogue(self) -> Catalogue:
        """What has been read."""
        models = []
        sources: dict[str, date] = {}
        for (provider, id_), facts in self._facts.items():
            kind = facts.setdefault("kind", Fact(kind_of(id_), LUTHIER, JUDGED))
            facts.setdefault("tasks", Fact(suits(kind.value), LUTHIER, JUDGED))
            for fact in facts.values():
                sources[fact.source] = max(fact.seen, sources.get(fact.source, fact.seen))
            ordered = {name: facts[name] for name in FACTS if name in facts}
            names = tuple(name for name in self._names[provider, id_] if name != id_)
            models.append(CatalogueModel(provider, id_, parse_model_name(id_), ordered, names))
        return Catalogue(tuple(models), sources)

    def _enter(self, provider: str, id_: str, names: Iterable[str], facts: dict[str, Fact]) -> tuple[str, str]:
        place = provider, id_
        self._facts[place] = facts
        self._names[place] = tuple(dict.fromkeys(names))
        for name in (id_, *self._names[place]):
            self._places.setdefault((provider, name.lower()), place)
        return place

    def _renamed(self, place: tuple[str, str], name: str) -> tuple[str, str]:
        if place[1].lower() == name.lower():
            return place
        facts, names = self._facts.pop(place), self._names.pop(place)
        new = place[0], name
        self._facts[new], self._names[new] = facts, names
        self._places |= {(place[0], one.lower()): new for one in (name, *names)}
        return new

    def _stand_in(self, provider: str, name: str) -> dict[str, Fact]:
        """The price of another provider that counts here, as that of OpenAI does at Azure."""
        if name.lower().startswith(GIVEN_AWAY):
            return {}
        for other in self._listed.stands_in.get(provider, ()):
            for entry in self._listed.models:
                if entry.provider == other and name.lower() in (entry.id.lower(), *map(str.lower, entry.names)):
                    return self._facts_of(entry, f"{self._listed.source} ({other}, whose prices count at {provider})")
        return {}

    def _facts_of(self, entry: ListedModel, source: str | None = None) -> dict[str, Fact]:
        def fact(value: object) -> Fact:
            return Fact(value, source or self._listed.source, self._listed.seen)

        facts = {f"{kind}_usd_per_million": fact(price) for kind, price in entry.prices.items()}
        if entry.context_tokens is not None:
            facts["context_tokens"] = fact(entry.context_tokens)
        if entry.deprecated:
            facts["deprecated"] = fact(True)
        if "batch_input" in entry.prices:
            facts["batch"] = fact(True)
        if not entry.described:
            facts["note"] = fact(PRICE_ONLY)
        return facts


PRICE_ONLY = "the price list has a price of it and nothing else"
"""The note of models that may be long gone."""


def _asked_as(entry: ListedModel) -> str:
    """What a request names the model by."""
    if entry.provider == "fireworks":
        return next((name for name in (entry.id, *entry.names) if name.startswith("accounts/")), entry.id)
    return entry.id


def _is_spelled(model: CatalogueModel, name: str, wanted: ModelName) -> bool:
    return name.lower() in {one.lower() for one in (model.id, *model.names)}


def _is_same(model: CatalogueModel, name: str, wanted: ModelName) -> bool:
    return wanted in {model.model.base, *(parse_model_name(one) for one in model.names)}


def _is_of_family(model: CatalogueModel, name: str, wanted: ModelName) -> bool:
    other = model.model.base
    return None in (other.snapshot, wanted.snapshot) and replace(other, snapshot=None) == replace(wanted, snapshot=None)


_NAMING = (_is_spelled, _is_same, _is_of_family)
"""How a name is looked up, the most exact way first."""
