"""Before money is spent: rows, tokens and price, and a question above a threshold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from luthier.experiments.costs import Plan

__all__ = ["agree_to", "agree_to_many", "print_plan"]

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
        left = spec.requests - spec.in_journal
        kept = f" ({spec.in_journal:,} more are in the journal)" if spec.in_journal else ""
        most = "out without bound" if spec.output_tokens is None else f"at most {spec.output_tokens:,} out"
        price = "price unknown" if spec.cost_usd is None else f"about ${spec.cost_usd:.4f}"
        print(
            f"{spec.name}: {spec.rows:,} rows, {left:,} calls{kept}, about {spec.input_tokens:,} tokens in, "
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
    from luthier.errors import UserError

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
        if not sys.stdin.isatty():
            raise UserError(
                f"the price of {', '.join(unknown)} is not known. Put `price: {{input_usd_per_million: ..., "
                "output_usd_per_million: ...}` into the endpoint (0 is a price), or add --yes to go on without."
            )
        if not typer.confirm("The price is not known. Go on?", err=True):
            raise typer.Exit(2)
        return
    what = f"about ${worst:.2f}"
    if not sys.stdin.isatty():
        raise UserError(
            f"this would cost {what}, more than ${limit:.2f}, and nobody is there to be asked. "
            "Add --yes, set --budget USD, or raise LUTHIER_ASK_ABOVE_USD."
        )
    if not typer.confirm(f"This may cost {what}. Go on?", err=True):
        raise typer.Exit(2)
