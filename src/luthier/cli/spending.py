"""Before money is spent: rows, tokens and price, and a question above a threshold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from luthier.api import Job, Plan, TuningPlan
    from luthier.endpoints import Report

__all__ = [
    "agree_to",
    "agree_to_address",
    "agree_to_hosting",
    "agree_to_many",
    "agree_to_training",
    "print_spent",
    "print_spent_on",
]

ASK_ABOVE_USD = 1.0

ASK_ABOVE_SPECS = 100
"""More specs than this are asked about first: a grid multiplies faster than one thinks."""


def threshold_usd() -> float:
    """Price above which a command asks first: LUTHIER_ASK_ABOVE_USD, else 1."""
    from luthier.errors import UserError

    given = os.environ.get("LUTHIER_ASK_ABOVE_USD", "")
    try:
        return float(given) if given else ASK_ABOVE_USD
    except ValueError:
        raise UserError(f"LUTHIER_ASK_ABOVE_USD is {given!r}; give a number of US dollars, as in 5.") from None


def print_spent(report: Report) -> None:
    """The line a paying command ends with, on stderr: what was spent now, and what its answers cost in all."""
    if report.requests:
        print(report.spending, file=sys.stderr)


def print_spent_on(job: Job) -> None:
    """As `print_spent`, for a fine-tuning job that has ended."""
    from luthier.endpoints import dollars

    if not job.state.ended:
        return
    cost = "an unknown price" if job.cost_usd is None else dollars(job.cost_usd)
    earlier = "" if job.bought else f"{dollars(0)}, as the job was submitted earlier; it cost "
    print(f"spent now: {earlier}{cost}{' for training' if job.bought else ' in all'}", file=sys.stderr)


def agree_to_many(count: int, rows: int, *, yes: bool, dry_run: bool) -> None:
    """Says how many answers very many specs would give, and asks; before anything is rendered or paid.

    Raises:
        UserError: standard input is no terminal to confirm on.
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
            f"this would compare {what}. More than {ASK_ABOVE_SPECS} specs need a confirmation, and standard input is "
            "no terminal. Add --yes, give a smaller grid, or take fewer rows with --limit."
        )
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(2)


def agree_to(plan: Plan, *, yes: bool, dry_run: bool, json: bool = False) -> None:
    """Shows the plan; leaves on `--dry-run`, with the plan as JSON on stdout after `--json`; asks above the threshold.

    Raises:
        UserError: standard input is no terminal to confirm on.
        typer.Exit: the answer was no, or this was a dry run.
    """
    if str(plan):
        print(plan, file=sys.stderr)
    if dry_run:
        if json:
            from luthier.cli.printing import print_json

            print_json(plan.to_document())
        print("dry run: nothing was sent.", file=sys.stderr)
        raise typer.Exit
    limit = threshold_usd()
    worst = min((usd for usd in (plan.cost_usd_high, plan.budget_usd) if usd is not None), default=None)
    if yes or not plan.asks or (worst is not None and worst <= limit):
        return
    if worst is None:
        unknown = [spec.name for spec in plan.specs if spec.asks and spec.cost_usd_high is None]
        _agree_to_unknown(
            f"the highest price of {', '.join(unknown)}",
            "price: {input_usd_per_million: ..., output_usd_per_million: ...}",
        )
        return
    _agree_to_price(worst)


def agree_to_address(sent: str | None, *, yes: bool) -> None:
    """Asks before a model from a folder sends a key to an address that only the folder names.

    Args:
        sent: what goes where; `None` if there is nothing to ask.
        yes: whether that was agreed to.

    Raises:
        UserError: standard input is no terminal to confirm on.
        typer.Exit: the answer was no.
    """
    from luthier.errors import UserError

    if sent is None or yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"this model comes from a folder, not from your store, and sends {sent}. Nothing was sent. Add --yes if "
            "that is where they belong, or name an endpoint of yours with --endpoint FILE."
        )
    if not typer.confirm("Send them there?", err=True):
        raise typer.Exit(2)


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
        DataError: rows leak between the tables, or a label has none.
        BudgetReached: it would cost more than the budget.
        UserError: standard input is no terminal to confirm on.
        typer.Exit: the answer was no, or this was a dry run.
    """
    # What stops is said once: by the error.
    plan.check.show(stops=not plan.buys)
    if dry_run and json:
        from luthier.cli.printing import print_json

        print_json(plan.check.document())
    if plan.buys:
        plan.check_affordable(budget_usd, watched=not detach)
    if dry_run:
        print("dry run: nothing was sent.", file=sys.stderr)
        raise typer.Exit
    if plan.known is not None and plan.known.job is not None:
        job = plan.known.job
        other = ". To train once more on the same tables, add --again" if job.ended else ""
        print(
            f"the same tables and settings were submitted before, as job {job.id}, which {job.said}; it is not paid "
            f"for again{other}.",
            file=sys.stderr,
        )
    if not plan.buys or yes:
        return
    worst = plan.check.cost_usd_high if plan.check.cost_usd is not None else budget_usd
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
        UserError: standard input is no terminal to confirm on.
        typer.Exit: the answer was no.
    """
    from luthier.endpoints import dollars
    from luthier.errors import UserError

    price = "at a price that is not known" if usd_per_hour is None else f"at {dollars(usd_per_hour)} an hour"
    print(f"a deployment is billed {price}, asked or not, until `luthier tune undeploy`.", file=sys.stderr)
    if yes or usd_per_hour == 0:
        return
    if not sys.stdin.isatty():
        raise UserError("this needs a confirmation, and standard input is no terminal. Add --yes.")
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
    from luthier.endpoints import dollars
    from luthier.errors import UserError

    if not sys.stdin.isatty():
        raise UserError(
            f"this may cost {dollars(usd, up=True)}, more than {dollars(threshold_usd())}, and standard input is no "
            "terminal to confirm it on. Add --yes, set --budget USD, or raise LUTHIER_ASK_ABOVE_USD."
        )
    if not typer.confirm(f"This may cost up to {dollars(usd, up=True)}. Go on?", err=True):
        raise typer.Exit(2)
