"""A shortlist of models on one's own rows, within a budget: chosen, priced, asked, and given places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.errors import BudgetReached, EndpointError, UserError
from luthier.experiments.board import Board
from luthier.experiments.compare import ComparisonSetup
from luthier.experiments.fits import fit_on
from luthier.experiments.spec_results import answer_rows
from luthier.model_catalogue import Catalogue, catalogue_models
from luthier.model_catalogue.task_names import listed_for
from luthier.model_choice.askable import EMBEDDED
from luthier.model_choice.candidates import LeftOut, RankedModel, ranked_models
from luthier.model_choice.shortlist import Shortlist
from luthier.plans import Plan
from luthier.providers.prices import dollars
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques import Prompt
from luthier.techniques.endpoint_files import override_endpoint
from luthier.techniques.registry import parse_spec
from luthier.techniques.zero_shot import FOR_REASONING, starts_with_probabilities, zero_shot_document
from luthier.tracking.tracker import MlflowTracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RankSetup"]

MOST_MODELS = 6

FEWEST_ROWS = 20
"""Rows below which the dearest model is left out, rather than another row of all."""

TRIED_ROWS = 3
"""Rows that a model is asked where it did not answer the first: one that answers none of them is left out."""

SETTINGS_REFUSED = ("parameter", "max_tokens")
"""Causes of a refusal by a model that takes no temperature, or another name for the most tokens."""


class RankSetup:
    """Models that are asked the same rows in the same way: what it would cost, and the shortlist.

    Args:
        task: the question.
        test: labelled rows.
        places: blocks of endpoint files, one per service that can be asked now.
        recipe: what every model is asked with; the plainest prompt of the task when absent.
        train: labelled rows for a recipe that needs them.
        models: names of models in any spelling; chosen from the catalogue when there is none.
        most: at most so many models, where none is named.
        most_usd: most US dollars for a million input tokens, where none is named.
        rank_by: metric that orders them; the task type's own when absent.
        catalogue: what is known of models; read when absent.
        today: models that retire soon are left out, unless they are named.
        listed: blocks for further models that services list, one per model.
        left_out: what cannot be asked, and why.

    Raises:
        UserError: no model is left, or a name is not known.
        SpecError: the recipe calls no model, or needs training rows.
        DataError: a column is missing, or a label is wrong.
    """

    def __init__(
        self,
        task: Task,
        test: pd.DataFrame,
        places: Sequence[Mapping[str, Any]],
        *,
        recipe: Spec | None = None,
        train: pd.DataFrame | None = None,
        models: Sequence[str] = (),
        most: int = MOST_MODELS,
        most_usd: float | None = None,
        rank_by: str | None = None,
        catalogue: Catalogue | None = None,
        today: date | None = None,
        listed: Sequence[Mapping[str, Any]] = (),
        left_out: Sequence[LeftOut] = (),
        test_name: str = "the test table",
    ) -> None:
        if most < 1:
            raise UserError(f"most {most!r}: give a whole number of models, 1 or more.")
        if recipe is not None and recipe.endpoint is None:
            raise UserError(
                f"spec {recipe.name!r} calls no model, so there is none to rank; give one with an endpoint."
            )
        self.task, self.train, self.rank_by, self.test_name = task, train, rank_by, test_name
        self.left_out: list[LeftOut] = []
        self._document = zero_shot_document(task) if recipe is None else recipe.document() | {"task": task}
        self._type = type(recipe) if recipe is not None else None
        known = catalogue_models() if catalogue is None else catalogue
        self._block = "endpoint" if self._type is None else self._type.endpoint_block
        chosen, found_unfit = ranked_models(
            known,
            self._of_technique(places),
            task=listed_for(task.type),
            technique=str(self._document["technique"]),
            most=most,
            today=today or date.today(),
            names=models,
            most_usd=most_usd,
            listed=self._of_technique(listed),
        )
        self.left_out = [*left_out, *found_unfit]
        self.models = {one.name: one for one in chosen}
        if not self.models:
            raise UserError(
                f"no model that can be asked here suits {task.type} by {self._document['technique']}. Add an endpoint "
                "file to models/endpoints/ whose key is set, or name a model with --model."
            )
        self._test = self._whole = test
        self._setup = self._comparison(list(self.models), test)

    @property
    def rows(self) -> int:
        """How many rows each model is asked."""
        return len(self._setup.tables[0].rows)

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What it would cost; where a budget does not reach, fewer rows are asked, then fewer models.

        Sends nothing. What was left out for the budget is in `left_out`.

        Raises:
            BudgetReached: the budget does not pay for the cheapest model on 20 rows.
        """
        budget_usd = options.budget_usd
        plan = self._setup.plan(options)
        while budget_usd is not None:
            unknown = {spec.name for spec in plan.specs if spec.asks and spec.cost_usd_high is None}
            if unknown:
                self._leave_out(
                    unknown, "its price is not known, so no budget can hold it; put `price:` into its endpoint"
                )
            elif (most_usd := plan.cost_usd_high or 0.0) <= budget_usd:
                break
            elif self.rows > FEWEST_ROWS:
                kept = max(FEWEST_ROWS, min(self.rows - 1, int(self.rows * budget_usd / most_usd)))
                self._test = self._test.head(kept)
                self._setup = self._comparison(list(self.models), self._test)
            else:
                dearest = max(plan.specs, key=lambda spec: spec.cost_usd_high or 0.0)
                if len(self.models) == 1:
                    raise BudgetReached(
                        f"a budget of {dollars(budget_usd)} does not pay for {dearest.name} on {self.rows} rows, which "
                        f"may cost {dollars(most_usd, up=True)}. Raise --budget."
                    )
                self._leave_out(
                    {dearest.name}, f"{self.rows} rows may cost {dollars(dearest.cost_usd_high or 0, up=True)}"
                )
            plan = self._setup.plan(options)
        return plan

    def run(self, options: RunOptions = DEFAULTS) -> Shortlist:
        """Asks every model, measures all in one comparison, and gives those that cannot be told apart one place.

        A model that refuses is left out with its reason and does not stop the others.

        Raises:
            EndpointError: no model answered.
        """
        options = options.for_command()
        failed: list[LeftOut] = []
        for spec in self._setup.specs:
            why = self._why_refused(spec, options)
            if why is not None:
                failed.append(LeftOut(spec.name, why))
        answering = [name for name in self.models if name not in {one.name for one in failed}]
        board = self._measured(answering, failed, options)
        if board is not None:
            failed += [LeftOut(name, why) for name, why in board.unanswered.items()]
        if board is None or len(failed) == len(self.models):
            told = "; ".join(f"{one.name}: {one.why}" for one in failed)
            raise EndpointError(f"no model answered. {told}")
        return Shortlist(board, self.models, tuple(failed), tuple(self.left_out))

    def _why_refused(self, spec: Spec, options: RunOptions) -> str | None:
        """Why a model cannot be asked, found by the first rows, which are kept like any other.

        One that refuses a setting is asked as models are that think before they answer.
        """
        setup = self._setup
        rows = setup.tables[0].rows
        with_text = [place for place, text in enumerate(rows.texts) if text is not None]
        model = self.models[spec.name]
        thinking = replace(model, blocks={**FOR_REASONING, **model.blocks})
        for tried in (model, thinking):
            asked = self._spec(tried)
            try:
                fitted = fit_on(asked, setup.training[spec.name], options, tracker=MlflowTracker())
                for count in (1, TRIED_ROWS):
                    answers = answer_rows(fitted, rows.take(with_text[:count]), options).predictions
                    failed = [one for one in answers if one.state == "failed" and not one.transient]
                    if len(failed) < len(answers):
                        break
            except EndpointError as error:
                if error.cause in SETTINGS_REFUSED and tried is model and isinstance(spec, Prompt):
                    continue
                return str(error)
            self.models[spec.name] = tried
            return (failed[0].error or "it answered no row") if failed and len(failed) == len(answers) else None
        raise AssertionError("the second attempt returns")

    def _measured(self, answering: list[str], failed: list[LeftOut], options: RunOptions) -> Board | None:
        """The comparison of those that answer; one that stops answering meanwhile is left out of it."""
        while answering:
            setup = self._comparison(answering, self._test)
            try:
                return setup.run(options)
            except EndpointError:
                stopped = [LeftOut(one.name, why) for one in setup.specs if (why := _why_stopped(setup, one, options))]
                failed += stopped
                answering = [name for name in answering if name not in {one.name for one in stopped}]
        return None

    def _leave_out(self, names: set[str], why: str) -> None:
        if names >= set(self.models):
            raise BudgetReached(f"no model is left within the budget: {', '.join(sorted(names))}: {why}.")
        self.left_out += [LeftOut(name, why) for name in sorted(names)]
        self.models = {name: one for name, one in self.models.items() if name not in names}
        # Fewer models may be asked more rows again.
        self._test = self._whole
        self._setup = self._comparison(list(self.models), self._test)

    def _of_technique(self, places: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The places whose file has an endpoint for the recipe: models that chat do not embed."""
        found = [{**blocks, "endpoint": blocks[self._block]} for blocks in places if self._block in blocks]
        if not starts_with_probabilities(self.task):
            for blocks in found:
                if blocks.get("answer") == EMBEDDED["answer"] and blocks["endpoint"] == EMBEDDED["endpoint"]:
                    del blocks["answer"]
        return found

    def _comparison(self, names: Sequence[str], test: pd.DataFrame) -> ComparisonSetup:
        specs = [self._spec(self.models[name]) for name in names]
        return ComparisonSetup(specs, {self.test_name: test}, self.train, rank_by=self.rank_by)

    def _spec(self, model: RankedModel) -> Spec:
        document = {"endpoint": {}, **self._document, "name": model.name}
        blocks = {**model.blocks, self._block: model.blocks["endpoint"]}
        return parse_spec(override_endpoint(document, blocks, self._type), f"model {model.name}", Path())


def _why_stopped(setup: ComparisonSetup, spec: Spec, options: RunOptions) -> str | None:
    """Why a model answers no more; `None` where it does, from the journal as far as it has answered."""
    try:
        fitted = fit_on(spec, setup.training[spec.name], options, tracker=MlflowTracker())
        answer_rows(fitted, setup.tables[0].rows, options)
    except EndpointError as error:
        return str(error)
    return None
