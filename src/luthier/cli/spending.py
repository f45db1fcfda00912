"""Before money is spent: rows, tokens and price, and a question above a threshold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from luthier.cli.printing import print_json
from luthier.errors import UserError

if TYPE_CHECKING:
    from luthier.api import Plan, SweepPlan, TuningPlan

__all__ = [
    "agree",
    "agree_to",
    "agree_to_address",
    "agree_to_fetch",
    "agree_to_hosting",
    "agree_to_many",
    "agree_to_sweep",
    "agree_to_training",
]

ASK_ABOVE_USD = 1.0

ASK_ABOVE_SPECS = 100
"""More specs than this are asked about first: a grid multiplies faster than one thinks."""


def threshold_usd() -> float:
    """Price above which a command asks first: LUTHIER_ASK_ABOVE_USD, else 1."""
    given = os.environ.get("LUTHIER_ASK_ABOVE_USD", "")
    try:
        return float(given) if given else ASK_ABOVE_USD
    except ValueError:
        raise UserError(f"LUTHIER_ASK_ABOVE_USD is {given!r}; give a number of US dollars, as in 5.") from None


def agree_to_many(count: int, rows: int, *, yes: bool, dry_run: bool) -> None:
    """Says how many answers very many specs would give, and asks; before anything is rendered or paid."""
    if count <= ASK_ABOVE_SPECS:
        return
    what = f"{count:,} specs x {rows:,} rows = {count * rows:,} answers"
    print(what, file=sys.stderr)
    if not (yes or dry_run):
        _confirm(
            "Go on?",
            f"this would compare {what}. More than {ASK_ABOVE_SPECS} specs need a confirmation, and standard input is "
            "no terminal. Add --yes, give a smaller grid, or take fewer rows with --limit.",
        )


def agree_to(plan: Plan, *, yes: bool, dry_run: bool, by_batch: bool = False, json: bool = False) -> None:
    """Shows the plan and asks above the threshold; leaves on `--dry-run`, with `--json` after printing it as JSON.

    Where the service has a Batch API, a dry run shows both prices. `by_batch`: that of the batches is agreed to.
    """
    if str(plan):
        print(plan, file=sys.stderr)
    if plan.asks and (by_batch or (dry_run and plan.offers_batches)):
        print(plan.modes, file=sys.stderr)
    if dry_run and json:
        print_json(plan.to_document())
    if dry_run:
        _leave_dry()
    most = plan.cost_usd_high_batch if by_batch else plan.cost_usd_high
    worst = min((usd for usd in (most, plan.budget_usd) if usd is not None), default=None)
    if yes or not plan.asks:
        return
    unknown = [spec.name for spec in plan.specs if spec.asks and spec.cost_usd_high is None]
    price = "price: {input_usd_per_million: ..., output_usd_per_million: ...}"
    _agree_to_price(worst, f"the highest price of {', '.join(unknown)}", price)


def agree_to_address(sent: str | None, *, yes: bool) -> None:
    """Asks before a model from a folder sends a key to an address that only the folder names.

    `sent` says what goes where; `None` if there is nothing to ask.
    """
    if sent is not None and not yes:
        _confirm(
            "Send them there?",
            f"this model comes from a folder, not from your store, and sends {sent}. Nothing was sent. Add --yes if "
            "that is where they belong, or name an endpoint of yours with --endpoint FILE.",
        )


def agree_to_fetch(*, yes: bool, needed: bool) -> bool:
    """Asks before the environment of the dashboards is fetched; returns whether dashboards are made.

    Where it is there already, nothing is asked. Where it cannot be made, or there is no terminal, that is said, and the
    command goes on without dashboards, unless they are what it is `needed` for.
    """
    from luthier import api

    if api.IsolatedEnvironment.of_dashboards().find() is not None:
        return True
    if not api.can_be_made():
        why = (
            "no dashboards: they need an environment with Python 3.11, and there is neither uv nor a Python 3.11 on "
            "PATH. Type: pip install uv. The scorecard needs neither."
        )
        if needed:
            raise UserError(why)
        print(why, file=sys.stderr)
        return False
    notice = api.fetch_notice()
    print(notice, file=sys.stderr)
    if yes:
        return True
    if sys.stdin.isatty():
        if typer.confirm("Fetch them?", err=True):
            return True
        if needed:
            raise typer.Exit(2)
        return False
    if needed:
        raise UserError("the dashboards need that environment, and standard input is no terminal. Add --yes.")
    print("no dashboards: standard input is no terminal to ask on. Add --yes to fetch them.", file=sys.stderr)
    return False


def agree_to_training(
    plan: TuningPlan,
    *,
    budget_usd: float | None,
    yes: bool,
    dry_run: bool,
    detach: bool = False,
    json: bool = False,
) -> None:
    """As `agree_to`, for a fine-tuning job; refuses unfit tables and a price above the budget.

    A job paid for earlier needs no confirmation.
    """
    # What stops is said once: by the error.
    plan.check.show(stops=not plan.buys)
    if dry_run and json:
        print_json(plan.check.document())
    if plan.buys:
        plan.check_affordable(budget_usd, watched=not detach)
    if dry_run:
        _leave_dry()
    if plan.known is not None and plan.known.job is not None:
        job = plan.known.job
        other = ". To train once more on the same tables, add --again" if job.ended else ""
        print(
            f"the same tables and settings were submitted before, as job {job.id}, which {job.said}; it is not paid "
            f"for again{other}.",
            file=sys.stderr,
        )
    worst = plan.check.cost_usd_high if plan.check.cost_usd is not None else budget_usd
    if not plan.buys or yes or (worst is None and plan.check.epoch_usd == 0):
        return
    price = "price: {input_usd_per_million: ..., output_usd_per_million: ..., training_usd_per_million: ...}"
    _agree_to_price(worst, f"the price of training {plan.check.model}", price)


def agree_to_sweep(plan: SweepPlan, *, yes: bool, dry_run: bool, json: bool = False) -> None:
    """As `agree_to`, for all trials of a sweep that are left; refuses a budget that does not reach for one of them."""
    print(plan, file=sys.stderr)
    if dry_run and json:
        print_json(plan.to_document())
    plan.check_affordable()
    if dry_run:
        _leave_dry()
    if yes or not plan.left:
        return
    left = None if plan.budget_usd is None else max(0.0, plan.budget_usd - plan.spent_usd)
    worst = min((usd for usd in (plan.cost_usd_high, left) if usd is not None), default=None)
    price = "price: {input_usd_per_million: ..., output_usd_per_million: ..., training_usd_per_million: ...}"
    _agree_to_price(worst, f"the price of a trial of {plan.spec}", price)


def agree(question: str, *, yes: bool) -> None:
    """Asks before something that cannot be taken back."""
    if not yes:
        _confirm(question, "this needs a confirmation, and standard input is no terminal. Add --yes.")


def agree_to_hosting(usd_per_hour: float | None, *, yes: bool, ended_by: str = "luthier tune undeploy") -> None:
    """Asks before something is made that is billed until the command `ended_by`."""
    from luthier.endpoints import dollars

    price = "at a price that is not known" if usd_per_hour is None else f"at {dollars(usd_per_hour)} an hour"
    print(f"a deployment is billed {price}, asked or not, until `{ended_by}`.", file=sys.stderr)
    if usd_per_hour != 0:
        agree("Go on?", yes=yes)


def _leave_dry() -> NoReturn:
    print("dry run: nothing was sent.", file=sys.stderr)
    raise typer.Exit


def _agree_to_price(usd: float | None, unknown: str, setting: str) -> None:
    """Asks about a price above the threshold, or one that is not known: `unknown`, which `setting` would make known."""
    from luthier.endpoints import dollars

    if usd is None:
        _confirm(
            "The price is not known. Go on?",
            f"{unknown} is not known. Put `{setting}` into the endpoint (0 is a price), or add --yes to go on without.",
        )
    elif usd > threshold_usd():
        _confirm(
            f"This may cost up to {dollars(usd, up=True)}. Go on?",
            f"this may cost {dollars(usd, up=True)}, more than {dollars(threshold_usd())}, and standard input is no "
            "terminal to confirm it on. Add --yes, set --budget USD, or raise LUTHIER_ASK_ABOVE_USD.",
        )


def _confirm(question: str, refusal: str) -> None:
    """Asks a person, and leaves after a no; where standard input is no terminal, `refusal` is the error."""
    if not sys.stdin.isatty():
        raise UserError(refusal)
    if not typer.confirm(question, err=True):
        raise typer.Exit(2)
