"""The catalogue as tables: models beside each other, and all that is known of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Protocol

from luthier.model_catalogue import FACTS, CatalogueModel, Chosen, fact_text
from luthier.model_catalogue.asking import endpoint_text
from luthier.model_catalogue.suiting import techniques
from luthier.reporting.table import Block, Cell, Column, Lines, Row, Section, Table, left_out

__all__ = ["list_sections", "sheet_section", "source_marks"]


class Knob(Protocol):
    """A setting of a fine-tuning job, as `luthier.tuning` has it."""

    @property
    def name(self) -> str:
        """As in `tuning:` of a spec."""

    @property
    def kind(self) -> str:
        """`integer`, `real` or `choice`."""

    @property
    def low(self) -> float:
        """The smallest value."""

    @property
    def high(self) -> float | None:
        """The largest value; `None` where there is no bound."""

    @property
    def default(self) -> Any:
        """What the service uses by itself."""

    @property
    def options(self) -> tuple[Any, ...]:
        """The values of a choice."""

    @property
    def zero(self) -> bool:
        """Whether 0 is allowed."""


SHOWN = (
    *("input_usd_per_million", "output_usd_per_million", "context_tokens", "kind", "tasks", "decisions"),
    *("fine_tuning", "fine_tuning_until", "log_probabilities", "retires"),
)
"""Facts that a row of the list shows, so that their sources are named beneath it."""


HOUSES = {"fireworks": "accounts/fireworks/models/"}
"""How all names at a provider begin, which a table leaves out."""


def list_sections(
    chosen: Chosen, task: str | None, today: date, notes: Sequence[str] = (), first: int | None = None
) -> list[Section]:
    """The list: a row per model, cheapest first, and beneath it where its facts are from.

    Args:
        chosen: the models.
        task: what they are for.
        today: the day they were chosen on.
        notes: what a reader should know.
        first: how many to show; all when absent.
    """
    shown = chosen.models[:first]
    marks = source_marks(shown)
    columns: list[tuple[Column, Callable[[CatalogueModel], Cell]]] = [
        (Column("model", kind="name", least=28, whole=True), _short_id),
        (Column("provider"), lambda one: one.provider),
        (Column("$ in", least=6), lambda one: _price(one, "input_usd_per_million")),
        (Column("$ out", least=6), lambda one: _price(one, "output_usd_per_million")),
        (Column("context", least=7, drop=2), lambda one: _tokens(one)),
        (Column("by", least=11, drop=3), lambda one: ", ".join(techniques(one, task, today))),
        (Column("fine-tuning", short="tuning", least=10), lambda one: _tuning(one, today)),
        (Column("log-prob.", short="log-\nprob.", least=5, drop=1), lambda one: _said(one, "log_probabilities")),
        (Column("retires", least=10), lambda one: "" if one.retires is None else one.retires.isoformat()),
        (Column("from", least=6), lambda one: " ".join(_marks(one, marks))),
    ]
    short = [f"Names at {place} begin with {start}" for place, start in HOUSES.items() if _begin(shown, place, start)]
    some = any(one.value("fine_tuning_for") for one in shown)
    short += ["* for some accounts only: luthier catalogue show MODEL"] if some else []
    more = left_out("models", len(chosen.models), len(shown), "cheapest")
    table = Table.of(shown, columns)
    title = "Models" if task is None else f"Models for {task}"
    rows = [Row((mark, seen.isoformat(), source)) for (source, seen), mark in marks.items()]
    sources = Table((Column("from"), Column("seen", least=10), Column("source", least=40)), tuple(rows))
    blocks: list[Block] = [table, *([sources] if rows else []), Lines((*more, *short, *notes))]
    return [Section(f"{title}: {len(chosen.models)}, cheapest first", tuple(blocks))]


def sheet_section(model: CatalogueModel, knobs: Sequence[Knob] = ()) -> Section:
    """All that is known of a model at a provider, each fact with its source.

    Args:
        model: of the catalogue.
        knobs: what can be set when it is fine-tuned.
    """
    rows = tuple(
        Row((FACTS[name].words, fact_text(name, fact.value), fact.seen.isoformat(), fact.source))
        for name, fact in model.facts.items()
    )
    columns = (Column("fact", kind="name"), Column("value"), Column("seen", least=10), Column("source", least=24))
    blocks: list[Block] = [Table(columns, rows)]
    if model.names:
        blocks.insert(0, f"also called {', '.join(model.names)}")
    if knobs:
        named = tuple(Row((one.name, _bounds(one), str(one.default))) for one in knobs)
        note = "Settings and bounds as this Luthier sends them: docs/tuning-knobs.md"
        head = Column("tuning:", kind="name"), Column("allowed"), Column("default")
        blocks.append(Table(head, named, (note,)))
    return Section(f"{model.id} at {model.provider}", (*blocks, endpoint_text(model)))


def _bounds(knob: Knob) -> str:
    if knob.options:
        return ", ".join(map(str, knob.options))
    low = f"{knob.low:g}" if knob.kind == "integer" or knob.zero or knob.low else "above 0"
    if knob.high is None:
        return f"{low} or more" if low != "above 0" else low
    return f"{low} to {knob.high:g}"


def source_marks(models: Sequence[CatalogueModel]) -> dict[tuple[str, date], str]:
    """A number for each source of a shown fact, with the day it was seen."""
    seen = {(fact.source, fact.seen): "" for one in models for name, fact in one.facts.items() if name in SHOWN}
    return {source: str(place) for place, source in enumerate(seen, 1)}


def _short_id(model: CatalogueModel) -> str:
    return model.id.removeprefix(HOUSES.get(model.provider, "/"))


def _begin(models: Sequence[CatalogueModel], provider: str, start: str) -> bool:
    return any(one.provider == provider and one.id.startswith(start) for one in models)


def _marks(model: CatalogueModel, marks: dict[tuple[str, date], str]) -> list[str]:
    found = {marks[fact.source, fact.seen] for name, fact in model.facts.items() if name in SHOWN}
    return sorted(found, key=int)


def _price(model: CatalogueModel, name: str) -> str:
    value = model.value(name)
    if value is None and name.startswith("output") and model.value("kind") == "embedding":
        return ""
    return "unknown" if value is None else fact_text(name, value).removeprefix("$")


def _tokens(model: CatalogueModel) -> str:
    value = model.value("context_tokens")
    if value is None:
        return ""
    return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k"


def _said(model: CatalogueModel, name: str) -> str:
    value = model.value(name)
    return "" if value is None else "yes" if value else "no"


def _tuning(model: CatalogueModel, today: date) -> str:
    """Whether it can be fine-tuned, and until when; empty where that is not known."""
    methods, until = model.value("fine_tuning"), model.value("fine_tuning_until")
    if methods is None:
        return ""
    if not methods:
        return "no"
    some = "*" if model.value("fine_tuning_for") else ""
    if until is None:
        return f"yes{some}"
    return f"ended {until}" if until <= today else f"until {until}{some}"
