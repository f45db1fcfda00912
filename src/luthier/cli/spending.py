"""Before money is spent: rows, tokens and price, and a question above a threshold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from luthier.experiments.costs import Plan
    from luthier.tuning.planning import Plan as TuningPlan

__all__ = ["agree_to", "agree_to_hosting", "agree_to_many", "agree_to_training", "print_plan"]

ASK_ABOVE_USD = 1.0

ASK_ABOVE_SPECS = 100
"""More specs than this are asked about before they are built: a grid multiplies faster than one thinks."""


def threshold_usd() -> float:
    """Price above which a command asks first: LUTHIER_ASK_ABOVE_USD, else 1."""
    from luthier.errors import UserError

    given = os.environ.get("LUTHIER_ASK_ABOVE_USD", "")
    try:
        return float(given) if given else ASK_ABOVE_USD
    except ValueError:
        raise UserError(f"LUTHIER_ASK_ABOVE_USD is {given!r}; give a number of US dollars, as in 5.") from None


def print_plan(plan: Plan, budget_usd: float | None = None) -> None:
    """Says on stderr what would be sent and what it would cost."""
    paying = [spec for spec in plan.specs if spec.requests]
    for spec in paying:
        elsewhere = [f"{spec.in_journal:,} more are in the journal"] if spec.in_journal else []
        elsewhere += [f"{spec.shared:,} more are counted above"] if spec.shared else []
        kept = f" ({', '.join(elsewhere)})" if elsewhere else ""
        most = "out without bound" if spec.output_tokens is None else f"at most {spec.output_tokens:,} out"
        price = "price unknown" if spec.cost_usd is None else f"about ${spec.cost_usd:.4f}"
        print(
            f"{spec.name}: {spec.rows:,} rows, {spec.calls:,} calls{kept}, about {spec.input_tokens:,} tokens in, "
            f"{most}, {price}",
            file=sys.stderr,
        )
    if len(paying) > 1 or budget_usd is not None:
        total = "unknown" if plan.cost_usd is None else f"about ${plan.cost_usd:.4f}"
        cap = "" if budget_usd is None else f"; never more than ${budget_usd:.2f}"
        print(f"price in all: {total}{cap}", file=sys.stderr)


def agree_to_many(count: int, rows: int, *, yes: bool, dry_run: bool) -> None:
    """Says how many answers very many specs would give, and asks; before anything is built, rendered or paid.

    Raises:
        UserError: nobody is there to be asked.
        typer.Exit: the answer was no.
    """
    from luthier.errors import UserError

    if count <= ASK_ABOVE_SPECS:
        return
    what = f"{count:,} specs x {rows:,} rows = {count * rows:,} answers"
    print(what, file=sys.stderr)
    if yes or dry_run:
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"this would compare {what}, and nobody is there to be asked about more than {ASK_ABOVE_SPECS} specs. "
            "Add --yes, give a smaller grid, or take fewer rows with --limit."
        )
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(2)


def agree_to(plan: Plan, *, budget_usd: float | None, yes: bool, dry_run: bool) -> None:
    """Shows the plan; leaves on `--dry-run`; asks when it may cost more than the threshold.

    Raises:
        UserError: nobody is there to be asked.
        typer.Exit: the answer was no, or this was a dry run.
    """
    print_plan(plan, budget_usd)
    if dry_run:
        print("dry run: nothing was sent.", file=sys.stderr)
        raise typer.Exit
    limit = threshold_usd()
    worst = plan.cost_usd if budget_usd is None else min(budget_usd, plan.cost_usd or budget_usd)
    if yes or plan.requests == 0 or (worst is not None and worst <= limit):
        return
    if worst is None and all(spec.cost_usd is not None or not spec.requests for spec in plan.specs):
        return
    if worst is None:
        unknown = [spec.name for spec in plan.specs if spec.requests and spec.cost_usd is None]
        _agree_to_unknown(
            f"the price of {', '.join(unknown)}",
            "price: {input_usd_per_million: ..., output_usd_per_million: ...}",
        )
        return
    _agree_to_price(worst)


def agree_to_training(
    plan: TuningPlan,
    *,
    budget_usd: float | None,
    yes: bool,
    dry_run: bool,
    detach: bool = False,
    json: bool = False,
) -> None:
    """As `agree_to`, for a fine-tuning job; one that was paid for earlier is not asked about.

    Raises:
        DataError: the tables would betray the job.
        BudgetReached: it would cost more than the budget.
        UserError: nobody is there to be asked.
        typer.Exit: the answer was no, or this was a dry run.
    """
    # What stops is said once: by the error.
    plan.check.show(stops=not plan.buys)
    if dry_run and json:
        from luthier.cli.printing import print_json

        print_json(plan.check.document())
    plan.check_clean()
    plan.check_budget(budget_usd, watched=not detach)
    if dry_run:
        print("dry run: nothing was sent.", file=sys.stderr)
        raise typer.Exit
    if plan.known is not None and plan.known.job is not None:
        job = plan.known.job
        other = "; another one: --again" if job.ended else ""
        print(f"this order has a job, {job.id} ({job.status}): nothing is bought{other}", file=sys.stderr)
    if not plan.buys or yes:
        return
    worst = plan.check.cost_usd if plan.check.cost_usd is not None else budget_usd
    if worst is None and plan.check.epoch_usd == 0:
        return
    if worst is None:
        price = "price: {input_usd_per_million: ..., output_usd_per_million: ..., training_usd_per_million: ...}"
        _agree_to_unknown(f"the price of training {plan.check.model}", price)
    elif worst > threshold_usd():
        _agree_to_price(worst)


def agree_to_hosting(usd_per_hour: float | None, *, yes: bool) -> None:
    """Asks before something is made that is billed until it is deleted.

    Raises:
        UserError: nobody is there to be asked.
        typer.Exit: the answer was no.
    """
    from luthier.errors import UserError

    price = "at a price that is not known" if usd_per_hour is None else f"at ${usd_per_hour:.2f} an hour"
    print(f"a deployment is billed {price}, asked or not, until `luthier tune undeploy`.", file=sys.stderr)
    if yes or usd_per_hour == 0:
        return
    if not sys.stdin.isatty():
        raise UserError("nobody is there to be asked. Add --yes.")
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(2)


def _agree_to_unknown(what: str, where: str) -> None:
    from luthier.errors import UserError

    if not sys.stdin.isatty():
        raise UserError(
            f"{what} is not known. Put `{where}` into the endpoint (0 is a price), or add --yes to go on without."
        )
    if not typer.confirm("The price is not known. Go on?", err=True):
        raise typer.Exit(2)


def _agree_to_price(usd: float) -> None:
    from luthier.errors import UserError

    if not sys.stdin.isatty():
        raise UserError(
            f"this would cost about ${usd:.2f}, more than ${threshold_usd():.2f}, and nobody is there to be asked. "
            "Add --yes, set --budget USD, or raise LUTHIER_ASK_ABOVE_USD."
        )
    if not typer.confirm(f"This may cost about ${usd:.2f}. Go on?", err=True):
        raise typer.Exit(2)
