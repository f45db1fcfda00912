"""A prompt, its training rows and fresh rows, read and checked once: what a search costs, and the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.errors import BudgetReached, DataError, EndpointError, SpecError, UserError
from luthier.evaluation.measures import ranking_metric
from luthier.experiments.labelled_tables import labelled_tables, leak_of
from luthier.improving.fresh_rows import finalists_of, measure_finalists
from luthier.improving.improve_inputs import ImproveInputs
from luthier.improving.improve_plan import ImprovePlan, like_the_start
from luthier.improving.improve_runs import ImproveRun
from luthier.improving.improvement import Improvement
from luthier.improving.proposers import chosen_proposers
from luthier.improving.records import Proposer
from luthier.improving.search import PROPOSALS, RacedSearch
from luthier.improving.selection_rows import selection_rows
from luthier.model_catalogue.suiting import kind_of
from luthier.plans import Bounds, PlannedSpec, plan_rows
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request
from luthier.providers.prices import dollars, sum_if_known
from luthier.spec import Spec
from luthier.techniques import FineTune, Prompt
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_ROWS", "ROUNDS", "ImproveSetup"]

MOST_ROWS = 200
"""Training rows that prompts are chosen on."""

ROUNDS = 3
"""Rounds without a better prompt after which a search ends."""

FEWEST_FRESH_ROWS = 20

NO_WRITER = (
    "No instructions were rewritten, as there is no model to write them: name one with --writer (writer=). The spec's "
    "own is taken where it chats and is not the embedded one, which is too small."
)

WRITER_CHARACTERS, WRITER_TOKENS = 12_000, 6_000
"""How long a request to the writer is taken to be before there is one, and how long its answer may be."""


class ImproveSetup:
    """What a search for a better prompt needs, read and checked before anything is paid.

    Args:
        spec: the prompt to begin with.
        train: labelled rows that prompts are chosen on.
        validation: labelled rows for the last measurement; the choice never sees them.
        writer: the model that writes instructions; the spec's own where it chats and is not the embedded one.
        by: names of proposers, or proposers of one's own; those that can be used when there is none.
        rounds: rounds without a better prompt after which the search ends.
        rows: at most so many training rows are asked.
        rank_by: what prompts are chosen by; the task type's own metric when absent.
        seed: of everything that is drawn.
        validation_name: what the table is called.

    Raises:
        SpecError: the spec is no prompt, or cannot answer yet.
        DataError: a column is missing, a label is wrong, rows are too few or all alike, or validation rows are also
            in the training table.
        EndpointError: a key's variable is not set, or the writer has no chat route.
        UserError: there is no such proposer, or one needs a writer and there is none.
    """

    def __init__(
        self,
        spec: Spec,
        train: pd.DataFrame,
        validation: pd.DataFrame,
        *,
        writer: Endpoint | None = None,
        by: Sequence[str | Proposer] = (),
        rounds: int = ROUNDS,
        rows: int = MOST_ROWS,
        rank_by: str | None = None,
        seed: int = 7,
        validation_name: str = "the validation table",
    ) -> None:
        if not isinstance(spec, Prompt) or isinstance(spec, FineTune):
            raise SpecError(
                f"spec {spec.name!r} is of technique {spec.technique}, and what is improved is a prompt. Give a spec "
                "with technique: prompt; luthier init writes one."
            )
        if rounds < 1 or rows < 1:
            raise UserError(f"rounds and rows are whole numbers, 1 or more; given: {rounds!r} and {rows!r}.")
        spec.check_ready()
        spec.check_columns(train.columns, "the training table")
        rows_of_train = spec.task.rows(train, labelled=True, source="the training table")
        chosen_writer = _writer_for(spec, writer)
        [fresh] = labelled_tables([spec], {validation_name: validation})
        self.inputs = ImproveInputs(
            spec=spec,
            train_table=train,
            train=rows_of_train,
            rows=selection_rows(spec.task, rows_of_train, rows, seed),
            fresh=fresh,
            metric=ranking_metric(spec.task, rank_by),
            writer=chosen_writer,
            proposers=chosen_proposers(by, writer=chosen_writer is not None),
            rounds=rounds,
            seed=seed,
        )
        self._lacks_writer = chosen_writer is None and not by
        _check_fresh(self.inputs)
        self._planned: RunOptions | None = None
        self.search: RacedSearch | None = None
        """The search as far as it came, also where it was interrupted."""

    def plan(self, options: RunOptions = DEFAULTS) -> ImprovePlan:
        """What is known beforehand: the first round and the last measurement; sends nothing.

        Raises:
            BudgetReached: the budget does not pay for these; the message has the smallest that does.
            UserError: a budget was given and a price is unknown, or none was given and it costs something.
        """
        train = self.inputs.train if self.inputs.spec.needs_training else None
        anew = RunOptions(engine=options.engine, fresh=True)
        counted: set[bytes] = set()
        parts: list[PlannedSpec] = []
        whole: list[PlannedSpec] = []
        for rows, what in ((self.inputs.rows, "training rows"), (self.inputs.fresh.rows, "fresh rows")):
            found = plan_rows(self.inputs.spec, rows, train, options, counted=counted)
            parts.append(replace(found, name=f"{self.inputs.spec.name} on {what}"))
            whole.append(plan_rows(self.inputs.spec, rows, train, anew))
        writing = self._planned_writing(options)
        one_round = like_the_start(whole[0], "a prompt", 1)
        winner = like_the_start(whole[1], "the winner on fresh rows", 1)
        most = len(self.inputs.proposers) * PROPOSALS
        round_ = like_the_start(whole[0], f"the first round, up to {most} prompts in a race", most)
        least = sum_if_known(one.cost_usd_high for one in (*whole, one_round, winner, *writing))
        plan = ImprovePlan((*parts, *writing, round_, winner), options.budget_usd, least_usd=least)
        self._check_budget(plan)
        self._planned = options
        return plan

    def run(
        self,
        options: RunOptions = DEFAULTS,
        *,
        tracker: Tracker | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> Improvement:
        """Searches, measures the winner on fresh rows, and logs a run with a child for each prompt.

        The same call after an interruption goes on where it ended: what was asked is in the journal, and the same
        answers lead to the same proposals.

        Args:
            options: on what terms models are asked; the budget is for all of it.
            tracker: where runs are kept; MLflow when absent.
            told: is told in a line how far the search is.

        Raises:
            BudgetReached: the budget does not pay for one round and the last measurement.
            Partial: some rows have no answer yet.
            EndpointError: a model cannot be asked.
            Interrupted: a signal came; answers so far are kept.
        """
        if self._planned is not options:
            self.plan(options)
        options = options.for_command()
        assert options.report is not None
        search = self.search = RacedSearch(self.inputs, options)
        with ImproveRun(self.inputs, search, tracker or MlflowTracker(), options) as run:
            search.begin()
            run.open()
            if self._lacks_writer:
                search.note(NO_WRITER)

            def measured() -> None:
                run.keep_so_far()
                told(self.said_so_far())

            measured()
            search.run(self.inputs.proposers, self.inputs.rounds, measured)
            finalists = finalists_of(search)
            told(f"rounds ended: {search.ended}")
            fresh = measure_finalists(search, finalists, self.inputs.fresh, self.inputs.metric, options)
            return run.finished(fresh)

    def said_so_far(self) -> str:
        """How far the search is, in a line."""
        if self.search is None or not self.search.ranked:
            return "nothing is measured yet"
        search = self.search
        best, measure = search.best, self.inputs.spec.task.kind.metrics[self.inputs.metric]
        cap = "" if search.money.cap_usd is None else f" of {dollars(search.money.cap_usd)}"
        assert best.score is not None
        which = (
            f"start: {self.inputs.spec.name}"
            if search.rounds == 0
            else f"round {search.rounds}: best is {best.spec.name}"
        )
        return (
            f"{which}, {measure.title} {best.score.value:.3f} on {len(self.inputs.rows)} training rows; "
            f"{dollars(search.money.used_usd)}{cap} used"
        )

    def _planned_writing(self, options: RunOptions) -> list[PlannedSpec]:
        asking = [one for one in self.inputs.proposers if one.needs_writer]
        if self.inputs.writer is None or not asking:
            return []
        body: Mapping[str, Any] = {
            "messages": [{"role": "user", "content": "word " * (WRITER_CHARACTERS // 5)}],
            "max_tokens": WRITER_TOKENS,
        }
        found = options.asking_engine().estimate([Request("chat", body)], self.inputs.writer, fresh=True)
        one = PlannedSpec(
            name=f"{self.inputs.writer.label} for instructions, each round about",
            rows=0,
            calls=Bounds(0, 1),
            input_tokens=Bounds(0, found.input_tokens_max),
            likely_input_tokens=found.input_tokens,
            output_tokens=found.max_output_tokens,
            cost_usd=found.cost_usd,
            cost_usd_low=found.cost_usd_min,
            cost_usd_high=found.cost_usd_max,
        )
        return [like_the_start(one, one.name, PROPOSALS * len(asking), longer=1.0)]

    def _check_budget(self, plan: ImprovePlan) -> None:
        least, budget = plan.least_usd, plan.budget_usd
        if least is None:
            raise UserError(
                "what a call costs is not known, so no budget can hold it. Put `price: {input_usd_per_million: ..., "
                "output_usd_per_million: ...}` into the endpoint of the spec and of the writer; 0 is a price."
            )
        if budget is None:
            if least > 0:
                raise UserError(
                    "how many rounds a search takes is not known beforehand, so it needs a budget: add --budget USD "
                    f"(budget_usd=), {dollars(least, up=True)} or more."
                )
        elif budget < least:
            smallest = dollars(least, up=True)
            raise BudgetReached(
                f"a budget of {dollars(budget)} does not pay for one round and the last measurement: "
                f"{self.inputs.spec.name} and one proposal on {len(self.inputs.rows)} training rows, both on "
                f"{len(self.inputs.fresh.rows):,} rows of {self.inputs.fresh.name}. The smallest budget that does is "
                f"{smallest}; fewer training rows (--rows) or validation rows cost less. Nothing was sent."
            )


def _writer_for(spec: Prompt, given: Endpoint | None) -> Endpoint | None:
    """The model that writes instructions; `None` where none was given and the spec's own cannot."""
    if given is not None:
        if kind_of(given.model) != "chat":
            raise EndpointError(
                f"{given.label} does not chat (it is a model for {kind_of(given.model)}), and instructions are asked "
                "for in a chat. Name a model that does with --writer (writer=)."
            )
        given.key()
        return given
    own = spec.endpoint
    able = own is not None and own.provider != "local" and spec.style == "chat" and kind_of(own.model) == "chat"
    return own if able else None


def _check_fresh(inputs: ImproveInputs) -> None:
    fresh = inputs.fresh
    leak = leak_of(fresh.rows, inputs.train)
    if leak is not None:
        raise DataError(
            f"{leak.rows:,} of {len(fresh.rows):,} rows of {fresh.name} are also in the training table (the first: row "
            f"{leak.test_row}, training row {leak.train_row}). Prompts are chosen on training rows, so the last "
            "measurement would not be on fresh ones. Take them out of one of the tables."
        )
    with_text = sum(text is not None for text in fresh.rows.texts)
    if with_text < FEWEST_FRESH_ROWS:
        raise DataError(
            f"{fresh.name} has {with_text} rows with a text; a gain is measured on at least {FEWEST_FRESH_ROWS}, and a "
            "few hundred show smaller ones."
        )
