"""A race of whole specs: all answer the same rows, block by block, and those that will end clearly behind are stopped.

The rows come in an order that their digest fixes, so that an interrupted race that is run again asks the same rows and
finds what is paid for in the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import scipy

from luthier.engine.ask_options import Progress
from luthier.engine.options import RunOptions
from luthier.errors import UserError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.metrics import EvaluatedRows, in_order, measure
from luthier.evaluation.pseudo_values import check_raceable, pseudo_values
from luthier.evaluation.racing import EARLY_LOOKS, FEWEST_ROWS, Block, Outcome, block_ends, race, tie_tolerance
from luthier.evaluation.resampling import CONFIDENCE, Floats, Interval
from luthier.evaluation.spec_race import SpecRace, SpecTrack, StoppedSpec
from luthier.evaluation.statistics import ALPHA, paired_difference
from luthier.experiments.board import SpecResult
from luthier.experiments.labelled_tables import LabelledTable
from luthier.experiments.spec_results import answer_rows
from luthier.spec import Fitted, Spec
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

__all__ = ["RaceSetup", "RacedSpecs"]

FEWEST_RACED = 40
"""With fewer rows no spec could be stopped before the last of them."""


class RaceSetup:
    """The rows of a race in their order, checked.

    Args:
        specs: recipes for one task.
        tables: the test tables; specs are raced by the mean of the metric over them.
        metric: name of the ranking metric.

    Raises:
        UserError: there is nothing to race, or specs cannot be raced by this metric.
    """

    def __init__(self, specs: Sequence[Spec], tables: Sequence[LabelledTable], metric: str) -> None:
        self.specs, self.tables, self.metric = tuple(specs), tuple(tables), metric
        self.order = row_order([table.rows for table in tables], specs[0].task)
        self.ends = block_ends(len(self.order), EARLY_LOOKS, FEWEST_ROWS)
        asking = [spec for spec in specs if spec.endpoint is not None]
        if len(asking) < 2:
            raise UserError(
                f"there is nothing to race: {len(asking) or 'none'} of the specs calls a model. Leave out --race "
                "(race=True), or give two or more specs that do."
            )
        if len(self.order) < FEWEST_RACED:
            raise UserError(
                f"there is nothing to race: with {len(self.order)} rows no spec can be stopped before the last of "
                f"them; it takes {FEWEST_RACED}, and pays from some 200 on. Leave out --race (race=True)."
            )
        check_raceable(specs[0].task, metric)

    def without(self, names: Container[str]) -> RaceSetup:
        """The same race without some specs, which turned out not to answer."""
        raced = copy(self)
        raced.specs = tuple(spec for spec in self.specs if spec.name not in names)
        return raced

    @property
    def said(self) -> str:
        """What a plan says of it."""
        return (
            f"a race: every spec answers at least {self.ends[0]:,} rows, and all of them only where no spec can be "
            "stopped."
        )

    def first_rows(self) -> Rows:
        """The rows that every spec answers, whatever becomes of it."""
        parts = [self.tables[table].rows.take([place]) for table, place in self.order[: self.ends[0]]]
        inputs = tuple(part.inputs[0] for part in parts)
        return Rows(inputs, tuple(part.labels[0] for part in parts), parts[0].text, further=parts[0].further)

    def run(
        self,
        fits: Mapping[str, Fitted],
        options: Sequence[RunOptions],
        showing: Callable[[str, int], AbstractContextManager[Progress | None]],
        answered: Callable[[], object],
    ) -> RacedSpecs:
        """Asks the rows and stops the losers.

        Args:
            fits: what each spec became, by its name.
            options: on what terms models are asked, for each table; they share a budget.
            showing: the display of a block, by what it is called and how many answers it wants.
            answered: called when the first spec that calls a model has answered.
        """
        free = [place for place, spec in enumerate(self.specs) if spec.endpoint is None]
        found: list[dict[tuple[int, int], Prediction]] = [{} for _ in self.specs]
        tracks: list[dict[int, Interval]] = [{} for _ in self.specs]
        racing = race(
            len(self.specs),
            len(self.order),
            tolerance=tie_tolerance(len(self.specs)),
            most=1.0,
            ends=self.ends,
            kept=free,
        )

        def answer(spec: int, places: Sequence[tuple[int, int]], progress: Progress | None) -> None:
            options[0].asking_engine().raise_if_interrupted()
            for table, rows in enumerate(self.tables):
                here = [place for number, place in places if number == table and (number, place) not in found[spec]]
                if here:
                    own = replace(options[table], progress=progress)
                    asked = answer_rows(fits[self.specs[spec].name], rows.rows.take(here), own)
                    found[spec] |= {(table, place): one for place, one in zip(here, asked.predictions, strict=True)}

        block = next(racing)
        told = False
        while True:
            asking = [spec for spec in block.candidates if spec not in free]
            with showing(self._said(block, len(asking)), len(asking) * (block.end - block.first)) as progress:
                for spec in block.candidates:
                    answer(spec, self.order[block.first : block.end], progress)
                    if spec in asking and not told:
                        told = True
                        answered()
            scores = np.stack([self._scores(found[spec], block.end) for spec in block.candidates])
            for spec, own in zip(block.candidates, scores, strict=True):
                tracks[spec][block.end] = self._track(own, block.end)
            try:
                block = racing.send(scores)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
        every = [(table, place) for table, rows in enumerate(self.tables) for place in range(len(rows.rows))]
        with showing("the rest", len(outcome.survivors)) as progress:
            for spec in outcome.survivors:
                answer(spec, every, progress)
        return RacedSpecs(self, dict(fits), outcome, found, tracks)

    def _said(self, block: Block, asking: int) -> str:
        of = sum(spec.endpoint is not None for spec in self.specs)
        return f"rows {block.first + 1:,} to {block.end:,}, {asking} of {of} specs"

    def _scores(self, found: Mapping[tuple[int, int], Prediction], end: int) -> Floats:
        """What each row so far adds to the mean of the metric over the tables, NaN where that is not known."""
        task, scores, seen = self.specs[0].task, np.full(end, np.nan), self.order[:end]
        shares = Counter(table for table, _ in seen)
        for table, rows in enumerate(self.tables):
            here = [at for at, (number, _) in enumerate(seen) if number == table]
            known = [at for at in here if found[seen[at]].state != "empty" and not found[seen[at]].transient]
            if len(known) < 2:
                continue
            truths = [rows.rows.labels[seen[at][1]] for at in known]
            values = pseudo_values(EvaluatedRows.of(task, truths, [found[seen[at]] for at in known]), self.metric)
            if values is not None:
                scores[known] = values * end / (len(self.tables) * shares[table])
        return scores

    def _track(self, scores: Floats, end: int) -> Interval:
        known = scores[~np.isnan(scores)]
        sign = 1 if self.specs[0].task.kind.metrics[self.metric].better == "higher" else -1
        if len(known) < 2:
            return Interval(float("nan"))
        value = sign * float(known.mean())
        errors = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
        half = errors * float(known.std(ddof=1)) * sqrt((1 - end / len(self.order)) / len(known))
        return Interval(value, value - half, value + half)


@dataclass(frozen=True)
class RacedSpecs:
    """A race that is over: what the specs answered, and which were stopped."""

    setup: RaceSetup
    fits: Mapping[str, Fitted]
    outcome: Outcome
    found: Sequence[Mapping[tuple[int, int], Prediction]]
    tracks: Sequence[Mapping[int, Interval]]

    @property
    def survivors(self) -> tuple[str, ...]:
        """Names of the specs that answered every row, in the order given."""
        return tuple(spec.name for place, spec in enumerate(self.setup.specs) if place in self.outcome.survivors)

    @property
    def foreseen(self) -> tuple[float, ...]:
        """P-values of pairs with a stopped spec, for the leaderboard of one table; of several they are for the mean."""
        return self.outcome.foreseen if len(self.setup.tables) == 1 else ()

    def result(self, spec: str, table: int = 0) -> SpecResult:
        """What a spec answered of a table: all rows, or those it saw before it was stopped."""
        rows, found = self.setup.tables[table].rows, self._found_by(spec)
        places = self.places(spec, table)
        seen = rows if len(places) == len(rows) else rows.take(places)
        return SpecResult(self.fits[spec], tuple(found[table, place] for place in places), seen)

    def places(self, spec: str, table: int = 0) -> list[int]:
        """Which rows of a table a spec saw, as places in it."""
        found = self._found_by(spec)
        return [place for place in range(len(self.setup.tables[table].rows)) if (table, place) in found]

    def _found_by(self, spec: str) -> Mapping[tuple[int, int], Prediction]:
        return self.found[[one.name for one in self.setup.specs].index(spec)]

    def stopped(self) -> Iterator[str]:
        """Names of the specs that were stopped, the longest asked first."""
        racers = [racer for racer in self.outcome.racers if racer.dropped_after is not None]
        for racer in sorted(racers, key=lambda racer: (-racer.rows, racer.candidate)):
            yield self.setup.specs[racer.candidate].name

    def record(self, board: Leaderboard, table: int = 0) -> SpecRace:
        """What the leaderboard of a table says of the race.

        Args:
            board: of the specs that stayed.
            table: place of the table.
        """
        setup, outcome = self.setup, self.outcome
        several = len(setup.tables) > 1
        paying = [spec.endpoint is not None for spec in setup.specs]
        texts = sum(number == table for number, _ in setup.order)
        seen = [sum(number == table for number, _ in setup.order[: racer.rows]) for racer in outcome.racers]
        answers = sum(
            texts if racer.dropped_after is None else rows
            for racer, rows, pays in zip(outcome.racers, seen, paying, strict=True)
            if pays
        )
        tracks = (
            SpecTrack(spec.name, tuple(found), tuple(found.values()))
            for spec, found in zip(setup.specs, self.tracks, strict=True)
        )
        return SpecRace(
            rows=texts,
            alpha=ALPHA,
            looks=tuple(sum(number == table for number, _ in setup.order[:end]) for end in setup.ends[:-1]),
            answers=answers,
            full_answers=texts * sum(paying),
            stopped=tuple(self._stopped(name, board, table) for name in self.stopped()),
            tracks=() if several else tuple(tracks),
            pairs=len(self.foreseen),
            tables=len(setup.tables),
        )

    def _stopped(self, name: str, board: Leaderboard, table: int) -> StoppedSpec:
        task, metric, leader = board.task, board.ranked_by, board.best.name
        own, best = self.result(name, table), self.result(leader, table)
        places = {number: place for place, number in enumerate(best.rows.number(i) for i in range(len(best.rows)))}
        pairs = [
            (label, one, best.predictions[places[own.rows.number(i)]])
            for i, (label, one) in enumerate(zip(own.rows.labels, own.predictions, strict=True))
        ]
        kept = [pair for pair in pairs if "empty" not in (pair[1].state, pair[2].state)]
        reading, leading = (_read(task, kept, side) for side in (1, 2))
        measured, other = measure([reading, leading])
        metrics = in_order(task, measured.intervals)
        racer = next(one for one in self.outcome.racers if self.setup.specs[one.candidate].name == name)
        spec = own.spec
        apart = paired_difference(
            measured.values[metric], other.values[metric], measured.draws[metric], other.draws[metric]
        )
        return StoppedSpec(
            name=name,
            technique=spec.technique,
            model=spec.base_model,
            look=racer.dropped_after or 0,
            rows=len(kept),
            metrics=metrics,
            leader=leader,
            difference=apart.interval,
            p=apart.p,
            spec_digest=spec.digest,
        )


def _read(task: Task, kept: Sequence[tuple[object, Prediction, Prediction]], side: int) -> EvaluatedRows:
    chosen = [pair[1] if side == 1 else pair[2] for pair in kept]
    return EvaluatedRows.of(task, [pair[0] for pair in kept], chosen)


def row_order(tables: Sequence[Rows], task: Task) -> list[tuple[int, int]]:
    """All rows with a text, as (table, place in it), in the random order of a race.

    Every beginning has the tables, and within them the labels, in the shares that all rows have them, so that a rare
    label is not all in the rows to come. What is drawn depends on the rows alone.

    Examples:
        >>> task = Task("mood", label="mood", labels=["good", "bad"])
        >>> table = Rows(tuple({"text": str(i)} for i in range(8)), ("good", "bad", "bad", "bad") * 2, "text")
        >>> sorted(table.labels[place] for _, place in row_order([table], task)[:4])
        ['bad', 'bad', 'bad', 'good']
    """
    generator = np.random.default_rng([int(rows.digest[:16], 16) for rows in tables])
    keys: list[tuple[float, int, int]] = []
    for table, rows in enumerate(tables):
        places = [place for place, text in enumerate(rows.texts) if text is not None]
        strata = np.asarray(task.kind.strata([rows.labels[place] for place in places]))
        for stratum in np.unique(strata):
            drawn = generator.permutation(np.flatnonzero(strata == stratum))
            at = (np.arange(len(drawn)) + generator.random(len(drawn))) / len(drawn)
            keys += [(float(key), table, places[place]) for key, place in zip(at, drawn, strict=True)]
    return [(table, place) for _, table, place in sorted(keys)]
