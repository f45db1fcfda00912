"""The models of a comparison with places, which those that cannot be told apart share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.evaluation.leaderboard import Entry
from luthier.experiments.board import Board
from luthier.model_choice.candidates import LeftOut, RankedModel
from luthier.reporting.html import fragment
from luthier.reporting.numbers import interval, number
from luthier.reporting.table import Cell, Column, Columns, Lines, Section, Table
from luthier.reporting.terminal import show, text_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["Place", "Shortlist"]

COST = "cost_per_1000_rows_usd"
MOST_NAMED = 12
"""Models that were left out and are named; the others are counted."""


@dataclass(frozen=True)
class Place:
    """A model on the shortlist.

    Attributes:
        place: 1 and the number of models that are clearly better.
        entry: what was measured of it.
        model: where it answers, and what the catalogue knows.
    """

    place: int
    entry: Entry
    model: RankedModel

    @property
    def cost_usd(self) -> float | None:
        """US dollars for 1,000 rows; `None` where no price is known."""
        found = self.entry.metrics.get(COST)
        return None if found is None else found.value


@dataclass(frozen=True, eq=False, repr=False)
class Shortlist:
    """Models measured on the same rows.

    Attributes:
        board: the comparison behind it.
        models: those that were asked, by name.
        failed: those of them that gave no answer.
        left_out: those that were not asked.
    """

    board: Board
    models: Mapping[str, RankedModel]
    failed: Sequence[LeftOut] = ()
    left_out: Sequence[LeftOut] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """The models that answered, the best first; of one place, the cheapest first.

        A model is clearly better than another where the leaderboard tells the two apart, after its correction for all
        pairs.
        """
        board = self.board.leaderboard
        silent = {one.name for one in self.failed}
        worse: dict[str, set[str]] = {}
        for pair in board.pairs:
            if pair.corrected < board.alpha and pair.first not in silent:
                worse.setdefault(pair.second, set()).add(pair.first)
        found = [
            Place(1 + len(worse.get(entry.name, ())), entry, self.models[entry.name])
            for entry in board.entries
            if entry.name not in silent
        ]
        dear = float("inf")
        return tuple(sorted(found, key=lambda one: (one.place, dear if one.cost_usd is None else one.cost_usd)))

    @property
    def best(self) -> Place:
        """The cheapest model of the first place."""
        return self.places[0]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per model that answered: place, provider, model, and the leaderboard's figures."""
        measured = self.board.leaderboard.frame().set_index("name")
        order = [one.entry.name for one in self.places]
        frame = measured.loc[order].reset_index()
        frame.insert(0, "place", [one.place for one in self.places])
        frame.insert(1, "provider", [one.model.endpoint.provider for one in self.places])
        return frame

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to take from it, the most important first."""
        board = self.board.leaderboard
        first = [one for one in self.places if one.place == 1]
        rows = f"{board.rows_evaluated:,} rows"
        figure = interval(first[0].entry.metrics[board.ranked_by], board.measure.format)
        price = _price(first[0].cost_usd)
        named = f"{first[0].entry.name}, with {board.measure.title} {figure}{price}"
        if len(self.places) == 1:
            said = [f"On {rows} one model was measured: {named}."]
        elif len(first) == 1:
            others = "the other" if len(self.places) == 2 else f"each of the {len(self.places) - 1} others"
            better = f"{first[0].entry.name} is clearly better than {others}"
            said = [f"On {rows} {better}: {board.measure.title} {figure}{price}."]
        else:
            said = [f"On {rows} {len(first)} models share the first place; the cheapest of them is {named}."]
        plan = board.plan
        if plan is not None and len(first) > 1 and plan.rows_needed is not None and plan.rows_needed > plan.rows_now:
            said.append(
                f"To tell {plan.first} from {plan.second} takes about {plan.rows_needed:,} rows, if the difference "
                f"seen is the true one. A run with a larger --limit pays for the new rows only."
            )
        retiring = [one for one in first if one.model.known is not None and one.model.known.retires is not None]
        for one in retiring:
            assert one.model.known is not None
            said.append(f"{one.entry.name} stops answering on {one.model.known.retires}.")
        said += [f"{one.name} gave no answer: {one.why}" for one in self.failed]
        if self.left_out:
            more = len(self.left_out) - MOST_NAMED
            told = "; ".join(f"{one.name} ({one.why})" for one in self.left_out[:MOST_NAMED])
            said.append(f"Not measured: {told}{f'; and {more:,} more' if more > 0 else ''}.")
        return tuple(said)

    def document(self) -> dict[str, Any]:
        """The shortlist as JSON values, with the leaderboard it is made from."""
        return {
            "places": [
                {
                    "place": one.place,
                    "model": one.entry.name,
                    "endpoint": one.model.endpoint.label,
                    "cost_usd": one.cost_usd,
                }
                for one in self.places
            ],
            "failed": [vars(one) for one in self.failed],
            "left_out": [vars(one) for one in self.left_out],
            "said": list(self.sentences),
            "leaderboard": self.board.to_document(),
        }

    def show(self, console: Console | None = None) -> None:
        """Prints it."""
        show(self._section(), console=console)

    def _section(self) -> Section:
        board = self.board.leaderboard
        title = f"{board.task.name}: {len(self.places)} models on {board.rows_evaluated:,} rows"
        table = Table.of(self.places, self._columns())
        return Section(title, (table, Lines(self.sentences)))

    def _columns(self) -> Columns[Place]:
        board = self.board.leaderboard

        def lost(one: Place) -> Cell:
            return sum(count for name, count in one.entry.states.items() if name not in ("ok", "empty")) or ""

        def p50(one: Place) -> Cell:
            found = one.entry.metrics.get("latency_p50_seconds")
            return None if found is None else found.value

        def fact(one: Place, name: str) -> Cell:
            found = None if one.model.known is None else one.model.known.value(name)
            return "" if found is None else f"{found:,}" if isinstance(found, int) else str(found)

        columns: Columns[Place] = [
            (Column("place", "count"), lambda one: one.place),
            (Column("model", kind="name", least=24), lambda one: one.entry.name),
            (Column("provider", drop=3), lambda one: one.model.endpoint.provider),
            (Column(board.measure.title, board.measure.format), lambda one: one.entry.metrics[board.ranked_by]),
            (Column("$ for 1,000 rows", "usd", short="$/1k"), lambda one: one.entry.metrics.get(COST)),
            (Column("p50", "seconds", drop=2), p50),
            (Column("without label", "count", short="no\nlabel", drop=4), lost),
            (Column("context", drop=1), lambda one: fact(one, "context_tokens")),
            (Column("retires", drop=5), lambda one: fact(one, "retires")),
        ]
        return [(column, cell) for column, cell in columns if any(cell(one) not in ("", None) for one in self.places)]

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return text_of(self._section())

    def _repr_html_(self) -> str:
        return fragment(self._section())


def _price(usd: float | None) -> str:
    return "" if usd is None else f" at ${number(usd, 'usd')} for 1,000 rows"
