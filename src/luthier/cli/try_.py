"""luthier try: a prompt on single rows, asked, edited and saved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Fresh, Json, OneSpec, Train, Yes

if TYPE_CHECKING:
    from luthier.api import Plan

__all__ = ["try_"]


def try_(
    spec: OneSpec,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Ask this model. Can be repeated; any provider's spelling."),
    ] = None,
    endpoint: EndpointFile = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="Ask this text, and end.")] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="TABLE", help="A table to take rows from; labels are shown.")
    ] = None,
    row: Annotated[
        int | None, typer.Option("--row", metavar="N", min=1, help="Ask this row of the table, and end.")
    ] = None,
    train: Train = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="TEXT", help="Another template, asked beside the spec's own.")
    ] = None,
    edit: Annotated[Path | None, typer.Option("--edit", metavar="FILE", help="The same, read from a file.")] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="Another system turn; none where it is empty.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the spec as edited to this file.")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Show long prompts and answers whole.")] = False,
    budget: BudgetUsd = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Ask a row and see prompt, answer, label and price. Edits the prompt and saves it as a spec.

    Without --text or --row it goes on asking in a terminal; type :help there.
    """
    from luthier import api
    from luthier.cli.printing import print_json, read_shown, spec_of
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import Partial, UserError
    from luthier.terminals import visible

    given = _row_of(text, rows, row)
    talks = given is None and not json and not dry_run and sys.stdin.isatty() and sys.stdout.isatty()
    if given is None and not talks:
        if rows is None:
            raise UserError("no row to ask: add --text TEXT, or --rows TABLE with --row N. In a terminal you can type.")
        given = 1

    def agree(plan: Plan) -> None:
        agree_to(plan, yes=yes, dry_run=dry_run, json=json)

    trial = api.trying(
        spec_of(spec, endpoint),
        None if rows is None else read_shown(rows),
        models=model or (),
        endpoints=() if endpoint is None else (endpoint,),
        train=None if train is None else read_shown(train),
        options=RunOptions.within(budget, fresh=fresh),
        agree=agree,
        origin=spec,
    )
    if save is not None and len(trial.specs) > 1:
        raise UserError(f"a file holds one spec, and {len(trial.specs)} models are asked; --save takes one --model.")
    if save is not None and talks:
        raise UserError("--save writes after one row: add --text or --row. In the terminal type :save FILE.")
    wording = _template_of(template, edit)
    if wording is not None or system is not None:
        trial.reword(template=wording, system=system)
    if talks:
        from luthier.cli.try_loop import TryLoop

        TryLoop(trial, default_engine(), yes=yes, whole=whole).run()
        return
    if save is not None:
        trial.check_file(save)
    plan = trial.plan(given)
    if dry_run or trial.price_to_show(given) is not None:
        agree(plan)
        trial.agree_to(plan)
    with draining(default_engine()):
        tried = trial.ask(given)
    saved = None if save is None else trial.save(save)
    if json:
        print_json({**tried.document(), "spent_usd": trial.spent_usd, "saved": None if saved is None else str(saved)})
    else:
        print(tried.whole() if whole else tried)
    if saved is not None:
        print(visible(f"written: {saved}"), file=sys.stderr)
    if any(one.prediction.transient for one in tried):
        raise Partial("a model gave no answer for a reason that may pass; run the same command again to ask it.")


def _row_of(text: str | None, rows: Path | None, row: int | None) -> str | int | None:
    from luthier.errors import UserError

    if text is not None and row is not None:
        raise UserError("give either --text or --row, not both.")
    if row is not None and rows is None:
        raise UserError(f"row {row} of which table? Add --rows TABLE.")
    return text if text is not None else row


def _template_of(template: str | None, file: Path | None) -> str | None:
    from luthier.errors import UserError

    if file is None:
        return template
    if template is not None:
        raise UserError("give either --template or --edit, not both.")
    try:
        return file.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as a template: {error}") from error
