"""What a fine-tuning job would be trained on and cost, and whether there is one already; before anything is paid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from luthier.errors import BudgetReached, UserError
from luthier.providers.prices import dollars
from luthier.techniques.finetune import FineTune
from luthier.tracking.stores import known_experiment
from luthier.tuning.job_runs import runs_of_digest
from luthier.tuning.preflight import Preflight, preflight, with_settings
from luthier.tuning.row_checks import without_leaks
from luthier.tuning.submission_status import SubmissionStatus, submission_status, tune_digest
from luthier.tuning.tuned_specs import TunedSpecFile, need_finetune
from luthier.tuning.tuners import Tuner, tuner_for
from luthier.tuning.tuners.tuner import Quotes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TuningPlan", "plan_tuning", "replan"]


@dataclass(frozen=True)
class TuningPlan:
    """What a `tune` would do.

    Attributes:
        spec: the recipe, untuned.
        check: lines, tokens and price.
        tuner: the service.
        target: where the result is to be written; `None` writes none.
        again: whether another job is wanted although one has succeeded.
        known: whether there is a job already; `None` when the service was not asked.
        frames: the tables by `train`, `validation` and `test`.
    """

    spec: FineTune
    check: Preflight
    tuner: Tuner
    target: TunedSpecFile | None
    again: bool
    known: SubmissionStatus | None
    frames: dict[str, pd.DataFrame]

    @property
    def digest(self) -> str:
        """See `tune_digest`."""
        return tune_digest(self.spec, self.check)

    @property
    def buys(self) -> bool:
        """Whether a job would have to be paid for."""
        return self.known is None or self.known.job is None

    def check_affordable(self, usd: float | None, *, watched: bool = True) -> None:
        """Refuses to buy on tables that would spoil the job, and at a price that the budget does not cover.

        Where the price is not known and the service names one after the upload, `check_price` decides.

        Args:
            usd: most that training may cost.
            watched: whether the job will be watched, which is what holds a budget where the service chooses the epochs.

        Raises:
            DataError: leaked rows, a label without rows, lines the service would refuse.
            BudgetReached: the job would cost more.
            UserError: its price is not known, or the budget could not be held.
        """
        self.check.need_clean()
        if usd is None:
            return
        whole = self.check.cost_usd is not None
        cost = self.check.cost_usd if whole else self.check.epoch_usd
        if cost is not None and cost > usd:
            what = "training" if whole else "one epoch alone"
            raise BudgetReached(
                f"{what} would cost about {dollars(cost)}, more than the budget of {dollars(usd)}. "
                "Nothing was uploaded. Raise --budget, lower tuning.epochs, or give fewer rows."
            )
        if cost is None:
            if isinstance(self.tuner, Quotes):
                return
            raise self._price_unknown()
        if not whole and cost and not watched:
            raise UserError(
                "a budget was given and the service is to choose the epochs, which only a watch can stop in time. "
                "Nothing was uploaded. Set tuning.epochs, or leave out --detach."
            )

    def check_price(self, quoted_usd: float | None, usd: float | None) -> float | None:
        """The price of a job whose files are uploaded: the quoted one, else the estimate; `None` when unknown.

        Args:
            quoted_usd: what the service asks; `None` where it does not say.
            usd: most that training may cost.

        Raises:
            BudgetReached: the job would cost more.
            UserError: its price is not known, and there is a budget.
        """
        cost = self.check.cost_usd if quoted_usd is None else quoted_usd
        if usd is not None and cost is None and self.check.epoch_usd is None:
            raise self._price_unknown()
        if usd is None or cost is None or cost <= usd:
            return cost
        raise BudgetReached(
            f"{self.check.place} asks {dollars(cost)} for the job, more than the budget of {dollars(usd)}. "
            "Nothing was bought. Raise --budget, lower tuning.epochs, or give fewer rows."
        )

    def _price_unknown(self) -> UserError:
        return UserError(
            f"a budget was given, but what {self.check.place} takes for training {self.check.model} is not known. "
            "Put it into the endpoint: price: {input_usd_per_million: ..., output_usd_per_million: ..., "
            "training_usd_per_million: ...} (0 is a price)."
        )


def plan_tuning(
    spec: object,
    train: pd.DataFrame,
    validation: pd.DataFrame | None = None,
    test: pd.DataFrame | None = None,
    *,
    to: TunedSpecFile | None = None,
    again: bool = False,
    tuner: Tuner | None = None,
    ask: bool = True,
    drop_leaked: bool = False,
) -> TuningPlan:
    """What a job would be trained on and cost, and whether there is one already. Uploads and buys nothing.

    Arguments are those of `tune`; without `ask` the service is not asked whether there is a job already.

    Raises:
        SpecError: the spec is of another technique, or a hyperparameter is out of bounds.
        DataError: a table is not what it should be.
        UserError: the result could not be written.
    """
    recipe = need_finetune(spec).untuned()
    assert recipe.endpoint is not None
    service = tuner or tuner_for(recipe.endpoint)
    given = {"train": train, "validation": validation, "test": test}
    frames = {name: frame for name, frame in given.items() if frame is not None}
    rows = {}
    for name, frame in frames.items():
        source = f"the {name} table"
        recipe.check_columns(frame.columns, source)
        rows[name] = recipe.task.rows(frame, labelled=True, source=source)
    dropped = {}
    if drop_leaked:
        kept = without_leaks(rows)
        dropped = {name: len(table) - len(kept[name]) for name, table in rows.items()}
        frames = {name: frame.iloc[kept[name]] for name, frame in frames.items()}
        rows = {name: table.take(kept[name]) for name, table in rows.items()}
    if ask and tuner is None:
        recipe.endpoint.key()
    check = preflight(recipe, rows, service, dropped)
    plan = TuningPlan(recipe, check, service, to, again, None, frames)
    if ask:
        runs = runs_of_digest(known_experiment(recipe.task), plan.digest)
        plan = replace(plan, known=submission_status(service, runs, plan.digest, again=again))
    if to is not None:
        to.check(plan.known.job.id if plan.known is not None and plan.known.job is not None else None)
    return plan


def replan(plan: TuningPlan, spec: object) -> TuningPlan:
    """The plan of a further job on the same tables, such as the next trial of a sweep. Asks and buys nothing.

    Where only the settings of the job, the decoding and the name differ, the lines are not rendered and counted again.
    The test table is not among its tables: the first plan has compared the others with it, and no trial is measured on
    it.

    Args:
        plan: from `plan_tuning`.
        spec: the recipe of the further job.

    Raises:
        SpecError: the spec is of another technique, or a hyperparameter is out of bounds.
        DataError: a row cannot be rendered under this spec.
    """
    recipe, before = need_finetune(spec).untuned(), plan.spec
    assert recipe.endpoint is not None
    frames = {name: frame for name, frame in plan.frames.items() if name != "test"}
    if recipe.endpoint == before.endpoint and _lines_of(recipe) == _lines_of(before):
        check = with_settings(plan.check, recipe, plan.tuner)
        return replace(plan, spec=recipe, check=check, target=None, again=False, known=None, frames=frames)
    assert before.endpoint is not None
    same_place = recipe.endpoint == before.endpoint.model_copy(update={"model": recipe.endpoint.model})
    tuner = plan.tuner if same_place else tuner_for(recipe.endpoint)
    return plan_tuning(recipe, frames["train"], frames.get("validation"), tuner=tuner, ask=False)


def _lines_of(spec: FineTune) -> tuple[object, ...]:
    """Everything that training lines are made of, rows aside."""
    return spec.task, spec.prompt, spec.answer
