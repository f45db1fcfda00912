"""What a search for a better prompt found, as plain records that a run keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from luthier.errors import DataError
from luthier.evaluation.interval import Interval, plain
from luthier.evaluation.statistics import ALPHA
from luthier.improving.fresh_rows import FreshFigures
from luthier.reporting.table import TextDiff
from luthier.tasks.types import Measure

__all__ = ["KEPT", "ImprovementFacts", "PromptFigures"]

KEPT = "improvement.json"
"""Artifact of the run of a search: what it found."""


@dataclass(frozen=True)
class PromptFigures:
    """A prompt of a search, as it was measured.

    Attributes:
        name: given by the search; the first prompt has that of its spec.
        parent: name of the prompt it was made from; empty for the first.
        how: what made it; empty for the first.
        round: in which it was proposed; 0 for the first.
        wording: what it says, as text whose lines can be compared.
        rows: training rows that it was asked.
        score: the metric on these rows, which prompts are chosen by.
        cost_usd: what its answers to them cost when they were asked; `None` where a price is unknown.
        fresh: on rows that the choice never saw; `None` for prompts that were not measured there.
        run_id: MLflow run that keeps it.
    """

    name: str
    parent: str
    how: str
    round: int
    wording: str
    rows: int
    score: Interval
    cost_usd: float | None
    fresh: FreshFigures | None = None
    run_id: str = ""


@dataclass(frozen=True)
class ImprovementFacts:
    """A search and what it found.

    Attributes:
        task: name of the task.
        metric: what prompts are chosen by and measured in.
        measure: its title, and which way is better.
        start: name of the first prompt.
        winner: name of the prompt that is best on the training rows.
        prompts: every prompt measured: those measured on fresh rows first, then the best on training rows first.
        rows: training rows that prompts were chosen on.
        fresh_rows: rows of the validation table; 0 where the search did not come to the last measurement.
        fresh_name: what that table is called.
        rounds: rounds of proposals.
        by: names of what proposed.
        writer: the model that wrote instructions; empty where there was none.
        ended: why the rounds ended.
        budget_usd: most that could be spent; `None` without a budget.
        used_usd: what all answers used cost when they were asked.
        spent_usd: what was spent in this run; `None` where a price is unknown.
        rows_needed: fresh rows it would take to tell the winner from the first prompt, if the difference seen is the
            true one.
        notes: what a reader should know of the search.
    """

    task: str
    metric: str
    measure: Measure
    start: str
    winner: str
    prompts: tuple[PromptFigures, ...]
    rows: int
    fresh_rows: int
    fresh_name: str
    rounds: int
    by: tuple[str, ...]
    writer: str
    ended: str
    budget_usd: float | None
    used_usd: float
    spent_usd: float | None
    rows_needed: int | None = None
    notes: tuple[str, ...] = ()

    def prompt(self, name: str) -> PromptFigures:
        """The prompt of this name.

        Raises:
            DataError: there is none; the message has the names.
        """
        for one in self.prompts:
            if one.name == name:
                return one
        raise DataError(f"no prompt {name!r} in this search; there is: {', '.join(one.name for one in self.prompts)}.")

    @property
    def gain(self) -> Interval | None:
        """The winner's score minus that of the first prompt on fresh rows; `None` where nothing better was found."""
        fresh = self.prompt(self.winner).fresh
        return None if fresh is None else fresh.gain

    @property
    def has_gain(self) -> bool:
        """Whether the winner is better than the first prompt on fresh rows, after correction."""
        fresh = self.prompt(self.winner).fresh
        if fresh is None or fresh.gain is None or fresh.corrected is None:
            return False
        return self.gained(fresh.gain.value) > 0 and fresh.corrected < ALPHA

    @property
    def best(self) -> str:
        """Name of the prompt to use: the winner where there is a gain, else the first."""
        return self.winner if self.has_gain else self.start

    @property
    def finalists(self) -> tuple[PromptFigures, ...]:
        """The prompts that were measured on fresh rows, the winner first and the first prompt last."""
        order = {self.winner: -1, self.start: len(self.prompts)}
        there = [one for one in self.prompts if one.fresh is not None]
        return tuple(sorted(there, key=lambda one: order.get(one.name, 0)))

    def gained(self, difference: float) -> float:
        """A difference in the metric, positive where it is for the better."""
        return difference if self.measure.better == "higher" else -difference

    def shrinkage(self, one: PromptFigures) -> float | None:
        """By how much a prompt looked better on the training rows than it is on fresh ones."""
        return None if one.fresh is None else self.gained(one.score.value - one.fresh.score.value)

    def diff(self, to: str | None = None) -> TextDiff:
        """What changed from the first prompt to another, the winner when absent."""
        start, chosen = self.prompt(self.start), self.prompt(to or self.winner)
        return TextDiff.between(start.wording, chosen.wording, (start.name, chosen.name))

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, with what follows from them."""
        document: dict[str, Any] = plain(self)
        derived = {"schema": 1, "best": self.best, "has_gain": self.has_gain, "gain": plain(self.gain)}
        return {**derived, **document, "diff": list(self.diff().lines)}
