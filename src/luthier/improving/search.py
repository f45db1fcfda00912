"""The search for a better prompt: proposals are raced against the best so far on training rows, round after round."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from luthier.engine.options import RunOptions
from luthier.engine.progress import shown
from luthier.engine.report import Report
from luthier.errors import BudgetReached, DataError, EndpointError, Partial
from luthier.evaluation.metrics import evaluate
from luthier.evaluation.racing import Outcome, race
from luthier.evaluation.resampling import Interval
from luthier.experiments.fits import fit_on
from luthier.improving.improve_inputs import ImproveInputs
from luthier.improving.records import MeasuredPrompt, Proposal, Proposer
from luthier.improving.search_money import SearchMoney
from luthier.improving.selection_rows import row_score
from luthier.plans import plan_rows
from luthier.providers.exchange import Answer, Request
from luthier.providers.prices import sum_if_known
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt
from luthier.techniques.conversations import gather

__all__ = ["PROPOSALS", "RacedSearch", "TriedPrompt"]

PROPOSALS = 4
"""Prompts that each proposer is asked for in a round."""

RESAMPLES = 500
"""Bootstrap samples behind the interval of a figure on training rows; of fresh rows there are more."""

LONGEST_NAME = 56
"""Characters of the first prompt's name that others begin with."""


@dataclass
class TriedPrompt:
    """A prompt while it is measured: what it became on the training rows, and its answers by place."""

    spec: Prompt
    parent: str
    how: str
    fitted: Fitted
    round: int
    raced: bool = False
    answers: dict[int, Prediction] = field(default_factory=dict)
    score: Interval | None = None


class RacedSearch:
    """Rounds of proposals, each raced with the best prompt so far; a `PromptSearch` for its proposers.

    Args:
        inputs: the prompt to begin with, its rows, and what prompts are chosen by.
        options: on what terms models are asked.
    """

    def __init__(self, inputs: ImproveInputs, options: RunOptions) -> None:
        self.start, self.rows, self.train, self.seed = inputs.spec, inputs.rows, inputs.train, inputs.seed
        self.writer, self._metric, self._fresh_rows = inputs.writer, inputs.metric, inputs.fresh.rows
        self._options = options
        self.money = SearchMoney(options.budget_usd, options.report or Report())
        self.rounds = 0
        self.ended = ""
        """Why the rounds ended; empty while they go on."""
        self.notes: list[str] = []
        self._tried: dict[str, TriedPrompt] = {}
        self._most: dict[tuple[str, int], float | None] = {}

    # What a proposer may use

    @property
    def measured(self) -> Sequence[MeasuredPrompt]:
        """Everything measured so far: prompts that were asked all rows first, the best of each first."""
        return tuple(map(self.record, self.ranked))

    def ask_writer(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """As `PromptSearch` says."""
        if self.writer is None:
            raise EndpointError("there is no model that writes instructions; name one with --writer (writer=).")
        engine = self._options.asking_engine()
        most = engine.estimate(requests, self.writer, fresh=True).cost_usd_max
        self.money.check(self.money.expected(most, "writer"), "another proposal of the writer")
        with self._asking("writing instructions") as options, self.money.using(most or 0.0, "writer"):
            answers = engine.run(requests, self.writer, options)
        transient = [one for one in answers if one.failure in ("rate_limit", "transient", "stopped")]
        if transient:
            raise Partial(
                f"{len(transient)} of {len(answers)} answers of {self.writer.label} are not there yet "
                f"({transient[0].error or transient[0].failure}). Run the same again; answers so far are kept."
            )
        return answers

    def measure(self, proposals: Sequence[Proposal], positions: Sequence[int]) -> Sequence[MeasuredPrompt]:
        """As `PromptSearch` says."""
        tried = [self._try(one) for one in proposals]
        part = len(positions) / len(self.rows)
        for one in tried:
            self.money.check(part * self.money.expected(self.most_usd(one.spec)), f"{len(positions)} rows of a prompt")
            self._ask([one], positions, "measuring prompts")
        self._score(tried)
        return tuple(map(self.record, tried))

    def note(self, said: str) -> None:
        """As `PromptSearch` says."""
        if said not in self.notes:
            self.notes.append(said)

    # Rounds

    @property
    def in_order(self) -> list[TriedPrompt]:
        """Every prompt that was asked something, each after the one it was made from."""
        return [one for one in self._tried.values() if one.answers]

    @property
    def ranked(self) -> list[TriedPrompt]:
        """Every prompt tried: those that were asked all rows first, then by score; of equal ones, the earlier first."""
        higher = self.start.task.kind.metrics[self._metric].better == "higher"

        def key(one: TriedPrompt) -> tuple[bool, int, float]:
            value = one.score.value if one.score is not None else -np.inf if higher else np.inf
            whole = len(one.answers) == len(self.rows)
            return (not whole, 0 if whole else -len(one.answers), -value if higher else value)

        return sorted(self.in_order, key=key)

    @property
    def best(self) -> TriedPrompt:
        """The best of the prompts that were asked all rows."""
        return self.ranked[0]

    def whole(self) -> list[TriedPrompt]:
        """The prompts that were asked all rows, the best first."""
        return [one for one in self.ranked if len(one.answers) == len(self.rows)]

    def settle(self) -> None:
        """Scores what was asked some rows when the search was interrupted."""
        self._score([one for one in self._tried.values() if one.answers and one.score is None])

    def begin(self) -> None:
        """Measures the first prompt on all rows."""
        first = self._try(Proposal(self.start, "", ""), name=self.start.name)
        first.raced = True
        self._ask([first], range(len(self.rows)), "start")
        self._score([first])
        self.money.kept_usd = self.final_usd([])

    def run(self, proposers: Sequence[Proposer], patience: int, told: Callable[[], None] = lambda: None) -> None:
        """Rounds until the budget's share is used, no proposer has an idea, or `patience` rounds brought no gain.

        Args:
            proposers: asked in turn for a few prompts each.
            patience: rounds without a better prompt after which it ends.
            told: called after each round.
        """
        idle = 0
        while not self.ended:
            before = self.best
            try:
                proposals = [one for by in proposers for one in by.propose(self, PROPOSALS)]
                if not self._distinct(proposals):
                    self.ended = "no proposer had another idea"
                    break
                self.rounds += 1
                self._race(self._distinct(proposals))
            except BudgetReached as reached:
                self.ended = f"its share of the budget is used: {str(reached).removesuffix('.')}"
                break
            idle = 0 if self.best is not before else idle + 1
            if idle >= patience:
                several = "a round" if patience == 1 else f"{patience} rounds in a row"
                self.ended = f"{several} brought no better prompt"
            told()

    def most_usd(self, spec: Prompt, *, fresh_rows: bool = False) -> float | None:
        """The most that a prompt can cost on the rows of the search, or on those of the last measurement."""
        key = spec.digest, fresh_rows
        if key not in self._most:
            rows = self._fresh_rows if fresh_rows else self.rows
            train = self.train if spec.needs_training else None
            asked_anew = RunOptions(engine=self._options.engine, fresh=True)
            self._most[key] = plan_rows(spec, rows, train, asked_anew).cost_usd_high
        return self._most[key]

    def final_usd(self, proposed: Sequence[Prompt]) -> float:
        """What the last measurement may cost: the first prompt and the dearest that may win."""
        winners = [self.best.spec, *proposed]
        dearest = max(self.money.expected(self.most_usd(one, fresh_rows=True)) for one in winners)
        return self.money.expected(self.most_usd(self.start, fresh_rows=True)) + dearest

    def _distinct(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """The proposals that have not raced yet, each once."""
        found = {one.spec.digest: one for one in reversed(proposals)}
        known = {one.spec.digest for one in self._tried.values() if one.raced}
        return [one for digest, one in reversed(found.items()) if digest not in known]

    def _race(self, proposals: Sequence[Proposal]) -> None:
        """Races proposals with the best so far, over all rows in another random order each round."""
        field = [self.best, *self._affordable(proposals)]
        for one in field:
            one.raced = True
        order = list(range(len(self.rows)))
        random.Random(f"race/{self.seed}/{self.rounds}").shuffle(order)
        racing = race(len(field), len(order))
        block = next(racing)
        while True:
            places = order[block.first : block.end]
            racers = [field[candidate] for candidate in block.candidates]
            left = f"{len(racers)} of {len(field)} prompts left"
            self._ask(racers, places, f"round {self.rounds}, {left}")
            scores = np.array([[self._row_score(one, place) for place in places] for one in racers])
            try:
                block = racing.send(scores)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
        # One that is left alone has not been asked all rows yet, which its figure is to be of.
        self._ask([field[outcome.winner]], order, f"round {self.rounds}, its winner")
        self._score(field[1:])

    def _affordable(self, proposals: Sequence[Proposal]) -> list[TriedPrompt]:
        """The proposals that the budget reaches for on all rows, with the last measurement of any of them."""
        kept: list[TriedPrompt] = []
        usd = 0.0
        for proposal in proposals:
            try:
                more = self.money.expected(self.most_usd(proposal.spec))
                keeping = self.final_usd([*(one.spec for one in kept), proposal.spec])
                if not self.money.reaches(usd + more, keeping):
                    continue
                kept.append(self._try(proposal))
            except DataError as error:
                self.note(f"A proposal could not be asked: {error}")
                continue
            usd += more
        if not kept:
            raise BudgetReached("what is left does not pay for another prompt on all rows and in the last measurement.")
        self.money.kept_usd = self.final_usd([one.spec for one in kept])
        return kept

    # Asking

    def _try(self, proposal: Proposal, name: str | None = None) -> TriedPrompt:
        known = self._tried.get(proposal.spec.digest)
        if known is not None:
            return known
        named = name or f"{self.start.name[:LONGEST_NAME]}-{len(self._tried)}"
        spec = proposal.spec.model_copy(update={"name": named})
        with self._asking(f"fitting {named}") as options, self.money.using():
            fitted = fit_on(spec, self.train if spec.needs_training else None, options)
        tried = TriedPrompt(spec, proposal.parent, proposal.how, fitted, self.rounds)
        self._tried[spec.digest] = tried
        return tried

    def _ask(self, tried: Sequence[TriedPrompt], places: Sequence[int], what: str) -> None:
        """Asks several prompts about the same rows at once; what one was asked before is not asked again."""
        lacking = [[place for place in places if place not in one.answers] for one in tried]
        if not any(lacking):
            return
        most = sum(
            (self.most_usd(one.spec) or 0.0) * len(rows) / len(self.rows)
            for one, rows in zip(tried, lacking, strict=True)
        )
        with self._asking(what) as options, self.money.using(most):
            found = options.asking_engine().drive(
                gather(
                    one.spec.predict(self.rows.take(rows), one.fitted) for one, rows in zip(tried, lacking, strict=True)
                ),
                self.start.endpoint,
                options,
            )
        waiting = [one for predictions in found for one in predictions if one.transient]
        if waiting:
            asked = sum(map(len, lacking))
            raise Partial(
                f"{len(waiting)} of {asked} rows have no answer yet ({waiting[0].error}). Run the same again; answers "
                "so far are kept."
            )
        for one, rows, predictions in zip(tried, lacking, found, strict=True):
            one.answers |= dict(zip(rows, predictions, strict=True))

    @contextmanager
    def _asking(self, what: str) -> Iterator[RunOptions]:
        with shown(self._options.progress, what) as progress:
            yield replace(self._options, progress=progress)

    # Scores

    def _row_score(self, one: TriedPrompt, place: int) -> float:
        return row_score(self.start, one.answers[place], self.rows.labels[place])

    def _score(self, tried: Sequence[TriedPrompt]) -> None:
        for one in tried:
            places = sorted(one.answers)
            truths = [self.rows.labels[place] for place in places]
            predictions = [one.answers[place] for place in places]
            one.score = evaluate(self.start.task, truths, predictions, resamples=RESAMPLES)[self._metric]

    def record(self, one: TriedPrompt) -> MeasuredPrompt:
        """A prompt as proposers are shown it."""
        places = tuple(sorted(one.answers))
        predictions = tuple(one.answers[place] for place in places)
        cost = sum_if_known(prediction.cost_usd for prediction in predictions)
        score = one.score or Interval(float("nan"))
        return MeasuredPrompt(one.spec, one.parent, one.how, places, predictions, score, cost)
