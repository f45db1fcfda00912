"""luthier judge: answers rated by a model, and how far that agrees with people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, Fresh, Json, Limit, LiveOrBatch, Mode, RetryFailed, Train, Wait, Yes

__all__ = ["judge"]


def judge(
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [SPEC...]",
            help="Id of a compare run or a table of answers, the latest comparison by default; then names of specs.",
        ),
    ] = None,
    judge: Annotated[Path | None, typer.Option("--judge", metavar="SPEC", help="The judge, a prompt spec.")] = None,
    human: Annotated[
        list[str] | None,
        typer.Option("--human", metavar="COLUMN|TABLE", help="People's ratings of the answers. Can be repeated."),
    ] = None,
    train: Train = None,
    limit: Limit = None,
    budget: BudgetUsd = None,
    endpoint: Annotated[
        Path | None, typer.Option("--endpoint", metavar="FILE", help="Endpoint file to ask the judge at.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="The task, where the store has several.")
    ] = None,
    mode: Mode = LiveOrBatch.live,
    wait: Wait = False,
    traces: Annotated[
        int, typer.Option("--traces", metavar="N", min=0, help="Log at most N answers as an MLflow evaluation.")
    ] = 100,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page to this file too.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="TABLE", help="Write the ratings, a line per answer.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="TABLE", help="Write a table for a person to rate, and leave.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write a first judge spec, and leave.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    json: Json = False,
) -> None:
    """Have answers rated by a judge model. Prints how it rates each spec, and how far it agrees with people."""
    import sys

    from luthier import api
    from luthier.cli.printing import print_end, print_json, print_saved, read_shown, spec_of
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import Partial, UserError

    if write is not None:
        print(f"written: {api.write_judge(write, endpoint)}; next: luthier judge --judge {write}", file=sys.stderr)
        return
    if judge is None and sheet is None:
        raise UserError("name a judge with --judge SPEC; luthier judge --write judge.yaml writes a first one.")
    if html is not None:
        api.check_page(html)
    for table in filter(None, (to, sheet)):
        api.check_table(table)
    answers = api.answers_to_judge(given or [], task=task).limited(limit)
    if not given:
        print(f"the latest comparison: luthier judge {answers.source.removeprefix('run ')}", file=sys.stderr)
    if sheet is not None:
        lines = api.write_sheet(answers, sheet)
        print(f"written: {sheet}, {lines:,} answers; fill in `human`, then add --human {sheet}", file=sys.stderr)
        return
    for one in human or ():
        if api.is_table_name(one):
            print_saved(one)
    setup = api.JudgeSetup(
        spec_of(str(judge), endpoint),
        answers,
        human=human or (),
        train=read_shown(train) if train else None,
        traces=traces,
    )
    options = RunOptions.within(budget, fresh=fresh, retry_failed=retry_failed)
    agree_to(setup.plan(options), by_batch=mode is LiveOrBatch.batch, yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine):
        if mode is LiveOrBatch.batch:
            options = setup.ask_by_batch(options, wait=wait)
        found = setup.run(options, told=lambda line: print(line, file=sys.stderr))
    if json:
        print_json(found.to_document())
    else:
        found.show()
    if html is not None:
        print(f"page: {found.write_page(html)}", file=sys.stderr)
    if to is not None:
        found.write_ratings(to)
        print(f"ratings: {to}", file=sys.stderr)
    if found.facts.next_command:
        print(f"package {found.preferred}: {found.facts.next_command}", file=sys.stderr)
    print_end(engine.report)
    if found.partial:
        raise Partial("some answers have no rating yet; run the same command again to ask for them.")
