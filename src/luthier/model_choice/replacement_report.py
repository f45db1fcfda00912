"""What could replace a retiring model, as sentences and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.model_choice.replacements import MeasuredCandidate, Replacement
from luthier.providers.prices import dollars
from luthier.reporting.html import fragment
from luthier.reporting.numbers import interval, number
from luthier.reporting.table import Block, Column, Columns, Lines, Row, Section, Table
from luthier.reporting.terminal import show, text_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProposedReplacements", "replacement_sections", "replacement_sentence"]


class ProposedReplacements:
    """What was measured and is proposed, as a command and a notebook hold it: a list of `Replacement`."""

    def __init__(self, found: Sequence[Replacement]) -> None:
        self.found = tuple(found)

    @property
    def frame(self) -> pd.DataFrame:
        """A row per model that was measured."""
        import pandas as pd

        rows = [
            {"version": one.retirement.use.name, "proposed": document["proposed"] == measured["model"], **measured}
            for one in self.found
            for document in [one.document()]
            for measured in document["measured"]
        ]
        return pd.DataFrame(rows, columns=FRAME)

    def write(self, folder: str | Path = "models") -> ProposedReplacements:
        """Writes the specs that are proposed; see `Replacement.write`."""
        return ProposedReplacements([one.write(folder) for one in self.found])

    def document(self) -> list[dict[str, Any]]:
        """What was found as JSON values."""
        return [{"said": replacement_sentence(one), **one.document()} for one in self.found]

    def show(self) -> None:
        """Prints it on standard output."""
        show(*replacement_sections(self.found))

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Replacement]:
        return iter(self.found)

    def __getitem__(self, place: int) -> Replacement:
        return self.found[place]

    def _repr_html_(self) -> str:
        return fragment(*replacement_sections(self.found))

    def __repr__(self) -> str:
        return text_of(*replacement_sections(self.found))


FRAME = [
    *("version", "proposed", "model", "spec", "run_id", "value", "difference", "is_worse", "is_better"),
    *("cost_per_1000_rows_usd", "retires"),
]


def replacement_sections(found: Sequence[Replacement]) -> tuple[Section, ...]:
    """A section per retiring version: the proposal in a sentence, what was measured, and what to type."""
    return tuple(_section(one) for one in found)


def _section(found: Replacement) -> Section:
    blocks: list[Block] = [replacement_sentence(found)]
    if found.board is not None and found.measured:
        blocks.append(Table.of(found.measured, _columns(found), lambda one, cells: _row(found, one, cells)))
    said = list(_notes(found))
    blocks += [Lines(tuple(said))] if said else []
    use = found.retirement.use
    return Section(f"A replacement for {found.retirement.asked.label} in {use.title}", tuple(blocks))


def replacement_sentence(found: Replacement) -> str:
    """What is proposed and what it means, in one sentence; why nothing is, where that is so."""
    old, best = found.retirement.asked, found.proposed
    to = f"{old.label} in {found.retirement.use.title}"
    if found.board is None or not found.measured:
        return f"No model could be measured in the place of {to}."
    if best is None:
        many = "the one model" if len(found.measured) == 1 else f"each of {len(found.measured)} models"
        return f"Nothing is proposed for {to}: {many} that took its place is clearly worse on these rows."
    board = found.board.leaderboard
    title, unit = board.measure.title, board.measure.format
    value = f"{title} {number(best.value.value, unit)}"
    if found.old is not None and best.difference is not None:
        before = number(found.old.metrics[board.ranked_by].value, unit)
        value += f" against {before} (difference {interval(best.difference, 'gap')}, {_verdict(best)})"
    return f"Replace {to} by {best.model}: {value}, {_price(found, best)}; {_retires(best)}."


def _verdict(one: MeasuredCandidate) -> str:
    if one.is_better or one.is_worse:
        return "clearly better" if one.is_better else "clearly worse"
    return "cannot be told apart"


def _price(found: Replacement, best: MeasuredCandidate) -> str:
    new = best.cost_per_1000_rows_usd
    cost = None if found.old is None else found.old.metrics.get("cost_per_1000_rows_usd")
    instead = "" if cost is None else f" instead of {dollars(cost.value)}"
    return f"{'an unknown price' if new is None else dollars(new)}{instead} per 1,000 rows"


def _retires(one: MeasuredCandidate) -> str:
    day = one.candidate.retires
    return "no date is known on which it retires" if day is None else f"it retires on {day.isoformat()}"


def _columns(found: Replacement) -> Columns[MeasuredCandidate]:
    assert found.board is not None
    measure = found.board.leaderboard.measure
    to = "the best" if found.old is None else "the old model"
    return (
        (Column("model", kind="name", least=16), lambda one: one.model),
        (Column(measure.title, measure.format, brief=2), lambda one: one.value),
        (Column(f"difference to {to}", "gap", short="difference"), lambda one: one.difference),
        (Column("", least=10, drop=3), lambda one: "" if one.difference is None else _verdict(one)),
        (Column("$/1,000 rows", "usd", short="$/1k"), lambda one: one.cost_per_1000_rows_usd),
        (Column("retires", least=10), lambda one: "" if (day := one.candidate.retires) is None else day.isoformat()),
    )


def _row(found: Replacement, one: MeasuredCandidate, cells: tuple[Any, ...]) -> Row:
    return Row(cells, "first" if one is found.proposed else "")


def _notes(found: Replacement) -> Iterator[str]:
    if found.old is None and found.measured:
        yield (
            f"{found.retirement.asked.label} answers no more, and the journal lacks its answers to these rows; the "
            "candidates are compared with the best of them."
        )
    if found.board is not None and found.proposed is not None and not found.proposed.is_better:
        yield f"Measured on {found.board.leaderboard.rows_evaluated:,} rows; more rows would narrow the interval."
    for one in found.left_out:
        yield f"{one.name} was left out: {one.why}"
    tuning = found.tunable
    if tuning is not None:
        file = found.files[-1] if found.files else f"{tuning.name}.yaml"
        yield (
            "The old model was fine-tuned and the new ones are not; to tune a new one: "
            f"luthier tune {file} --train TABLE --validation TABLE"
        )
    if found.proposed is not None and found.files:
        yield f"Written: {found.files[0]}"
    yield from (f"To take it over: {command}" for command in found.commands)
