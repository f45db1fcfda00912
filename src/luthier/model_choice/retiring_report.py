"""The watch over retiring models as sentences and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING

from luthier.model_choice.model_uses import ModelUse
from luthier.model_choice.retiring import Retirement, RetirementWatch
from luthier.reporting.table import Cell, Column, Columns, Lines, Row, Section, Table

if TYPE_CHECKING:
    pass

__all__ = ["retiring_sections", "retiring_sentences"]

REFRESH = "luthier catalogue list --refresh"


def retiring_sentences(watch: RetirementWatch) -> tuple[str, ...]:
    """What to take from it, the most urgent first; one sentence where nothing retires."""
    if not watch.uses:
        return (
            "No model is registered in this tracking store, and none is deployed on this machine.",
            "luthier log SPEC --register NAME registers one.",
        )
    ending = _first_of_each(one for one in watch.near if one.stops == "answers")
    gone, soon = [one for one in ending if one.has_passed], [one for one in ending if not one.has_passed]
    said = []
    if gone:
        told = _told(watch, len(gone), "asks", "ask")
        said.append(f"{told} a model that has retired; {_first(gone)}.")
    if soon:
        told = _told(watch, len(soon), "stops", "stop")
        said.append(f"{told} answering within {watch.within_days} days; {_first(soon)}.")
    if not ending:
        later = next((one for one in watch.known if one.stops == "answers"), None)
        then = "" if later is None else f" The next is {_who(later)}, {_when(later)}."
        said.append(f"None of {_counted(watch.uses)} stops answering within {watch.within_days} days.{then}")
    tuning = _first_of_each(one for one in watch.near if one.stops == "fine-tuning" and not one.has_passed)
    if tuning:
        first = tuning[0]
        said.append(f"{first.through}, which {_who(first)} was tuned from, can be fine-tuned no more {_when(first)}.")
    if watch.unknown:
        said.append(f"Of {_counted(watch.unknown)} no date is known; ask the accounts: {REFRESH}")
    return tuple(said)


def retiring_sections(watch: RetirementWatch) -> tuple[Section, ...]:
    """The sentences, and a line per version and model that retires; unused versions of a model share one."""
    said = Lines(retiring_sentences(watch))
    if not watch.near:
        return (Section("Retiring models", (said,)),)
    return (Section("Retiring models", (said, _table(_lines(watch.near)))),)


@dataclass(frozen=True)
class RetirementLine:
    """A line of the table: one version or deployment, or several unused versions of one registered model."""

    first: Retirement
    uses: tuple[ModelUse, ...]

    @property
    def name(self) -> str:
        """What is registered or deployed, with its aliases."""
        use = self.first.use
        if len(self.uses) == 1:
            return " ".join([use.name, *(f"@{alias}" for alias in use.aliases)])
        return f"{use.model}/{_ranges(one.version for one in self.uses)} (not in use)"


def _lines(near: Sequence[Retirement]) -> list[RetirementLine]:
    """In the order given; versions that nothing uses share a line where model, day and what stops are the same."""

    def together(one: Retirement) -> tuple[object, ...]:
        unused = one.use.kind == "version" and not one.use.is_in_use
        return one.on, one.stops, one.asked.label, one.use.model if unused else one.use.name, unused

    found: dict[tuple[object, ...], list[Retirement]] = {}
    for one in near:
        found.setdefault(together(one), []).append(one)
    return [RetirementLine(several[0], tuple(one.use for one in several)) for several in found.values()]


def _deployed(line: RetirementLine) -> str:
    return ", ".join(f"{one.name} ({one.status})" for use in line.uses for one in use.deployments)


def _answers_by(line: RetirementLine) -> str:
    one = line.first
    return one.asked.label if one.through is None else f"{one.asked.provider}/{one.through}, fine-tuned"


def _left(line: RetirementLine) -> str:
    days = line.first.days
    return f"{-days:,} days ago" if days < 0 else "today" if days == 0 else f"{days:,} days"


def _known_from(line: RetirementLine) -> str:
    one = line.first
    final = {None: "", True: "planned: ", False: "tentative: "}[one.is_planned]
    return f"{final}{one.source}, seen {one.seen.isoformat()}"


COLUMNS: Columns[RetirementLine] = (
    (Column("model", kind="name", least=20), lambda line: line.name),
    (Column("answers by", least=24), _answers_by),
    (Column("deployed", least=12, drop=3), _deployed),
    (Column("stops", least=8), lambda line: line.first.stops),
    (Column("on", least=10), lambda line: line.first.on.isoformat()),
    (Column("left", least=8), _left),
    (Column("instead", least=10, drop=2), lambda line: line.first.replacement or ""),
    (Column("known from", least=16, drop=1), _known_from),
)


def _table(lines: Sequence[RetirementLine]) -> Table:
    """Without the columns that no line has anything for."""
    shown = [(column, cell) for column, cell in COLUMNS if any(cell(line) for line in lines)]
    return Table.of(lines, shown, _row)


def _row(line: RetirementLine, cells: tuple[Cell, ...]) -> Row:
    return Row(cells, "first" if line.first.has_passed and line.first.stops == "answers" else "")


def _first_of_each(found: Iterable[Retirement]) -> list[Retirement]:
    """The first retirement of everything that has one: a recipe may ask several models."""
    first: dict[str, Retirement] = {}
    for one in found:
        first.setdefault(f"{one.use.kind} {one.use.name}", one)
    return list(first.values())


def _told(watch: RetirementWatch, count: int, verb: str, plural: str) -> str:
    return f"{count:,} of {_counted(watch.uses)} {verb if count == 1 else plural}"


def _counted(uses: Sequence[ModelUse]) -> str:
    versions = sum(one.kind == "version" for one in uses)
    counts = {"registered version": versions, "deployment": len(uses) - versions}
    return " and ".join(f"{count:,} {what}{'s' * (count != 1)}" for what, count in counts.items() if count)


def _first(found: Sequence[Retirement]) -> str:
    # What is in use comes first, so an earlier one may follow.
    one = found[0]
    which = "the first" if one.on == min(other.on for other in found) else "the first in use"
    return f"{which}, {_who(one)}, {_when(one)}"


def _who(one: Retirement) -> str:
    return one.use.title


def _when(one: Retirement) -> str:
    if one.has_passed:
        return f"since {_day(one.on)}" + (f" ({-one.days:,} days ago)" if one.days else " (today)")
    return f"on {_day(one.on)} ({one.days:,} day{'s' * (one.days != 1)})"


def _day(day: date) -> str:
    return day.isoformat()


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers with runs shortened, such as `1-3,5`."""
    ordered = sorted(numbers)
    runs = [[number for _, number in run] for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
