"""luthier tune: fine-tuning jobs, submitted once and watched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Json, Limit, OneSpec, Test, Train, Yes

if TYPE_CHECKING:
    from luthier.api import Job

__all__ = ["tune"]

SUBMIT = "submit"


class _SpecOrCommand(TyperGroup):
    """`luthier tune SPEC ...` is `luthier tune submit SPEC ...`: the verb itself takes a spec."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [SUBMIT, *args]
        return super().parse_args(ctx, args)


tune = typer.Typer(
    name="tune",
    cls=_SpecOrCommand,
    help="Fine-tune a base model at a service. Type: luthier tune SPEC --train TABLE --validation TABLE.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The service's id of a job, or the id of its run.")]
At = Annotated[
    Path | None, typer.Option("--endpoint", metavar="FILE", help="Where the job is, if not where it was submitted.")
]
To = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write the tuned spec here; NAME-tuned.yaml by default.")
]


@tune.command(SUBMIT)
def submit(
    spec: OneSpec,
    train: Train = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="TABLE", help="Labelled rows the service measures on.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="TABLE", help="Rows to measure on later; none may be trained on.")
    ] = None,
    to: To = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    again: Annotated[bool, typer.Option("--again", help="Submit another job even if one has succeeded.")] = False,
    drop_leaked: Annotated[
        bool, typer.Option("--drop-leaked", help="Leave out rows whose text is also in another of the tables.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not watch; the job goes on by itself.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Submit a fine-tuning job and watch it. Typed again, the same command finds the job it submitted."""
    from luthier import api
    from luthier.cli.printing import read_shown, spec_of
    from luthier.cli.spending import agree_to_training
    from luthier.errors import DataError

    chosen = spec_of(spec, endpoint)
    if train is None:
        raise DataError("no rows to train on; add --train TABLE, and --validation TABLE for rows to measure on.")
    held_out, unseen = (None if table is None else read_shown(table) for table in (validation, test))
    target = api.TunedSpecFile.beside(spec) if to is None else api.TunedSpecFile(to)
    plan = api.plan_tuning(
        chosen, read_shown(train), held_out, unseen, to=target, again=again, ask=not dry_run, drop_leaked=drop_leaked
    )
    agree_to_training(plan, budget_usd=budget, yes=yes, dry_run=dry_run, detach=detach, json=json)
    print_job(api.tune_planned(plan, budget_usd=budget, detach=detach), json)


@tune.command("list")
def list_(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Also ask the service behind this spec for its jobs.")
    ] = None,
    endpoint: Annotated[
        Path | None, typer.Option("--endpoint", metavar="FILE", help="Also ask this service for its jobs.")
    ] = None,
    json: Json = False,
) -> None:
    """List the jobs of the tracking store. With a service, also its jobs that no run here knows."""
    from luthier import api
    from luthier.cli.printing import print_end, print_json

    place = _endpoint(endpoint, spec)
    jobs = api.jobs(place)
    if json:
        print_json([job.document() for job in jobs])
    else:
        print("\n".join(api.lines_of(jobs, asked=place is not None)))
    print_end()


@tune.command()
def watch(
    job: JobId,
    endpoint: At = None,
    spec: Annotated[str | None, typer.Option("--spec", metavar="SPEC", help="Spec whose endpoint has the job.")] = None,
) -> None:
    """Show a job until it has ended. Stores nothing, and works for any job of a service."""
    from luthier import api

    print(f"{job}: {api.look_at(job, _endpoint(endpoint, spec)).status}")


@tune.command()
def attach(
    job: JobId,
    spec: Annotated[
        str | None, typer.Option("--spec", metavar="SPEC", help="Take over a job the tracking store does not know.")
    ] = None,
    endpoint: At = None,
    to: To = None,
    budget: BudgetUsd = None,
    json: Json = False,
) -> None:
    """Watch a job to its end and write its result. Goes on from where the last watch stopped."""
    from luthier import api

    recipe = None if spec is None else api.read_spec(spec)
    target = api.TunedSpecFile(to) if to is not None else None if spec is None else api.TunedSpecFile.beside(spec)
    owned = api.attach_job(job, spec=recipe, endpoint=_endpoint(endpoint), to=target)
    say_leftovers(owned)
    print_job(api.watch_job(owned, budget_usd=budget), json)


@tune.command()
def cancel(job: JobId, endpoint: At = None, json: Json = False) -> None:
    """Cancel a job. Returns when the service has confirmed it."""
    _change(job, endpoint, lambda owned: owned.cancel(), json)


@tune.command()
def pause(job: JobId, endpoint: At = None, json: Json = False) -> None:
    """Pause a job. Returns when the service has confirmed it."""
    _change(job, endpoint, lambda owned: owned.pause(), json)


@tune.command()
def resume(job: JobId, endpoint: At = None, json: Json = False) -> None:
    """Resume a paused job. Returns when the service has confirmed it."""
    _change(job, endpoint, lambda owned: owned.resume(), json)


@tune.command()
def checkpoints(
    job: JobId,
    test: Test,
    limit: Limit = None,
    budget: BudgetUsd = None,
    endpoint: At = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Measure every model that a job kept. Its base model, where it answers, is measured on the same rows."""
    from luthier import api
    from luthier.cli.printing import print_board, read_shown
    from luthier.cli.spending import agree_to
    from luthier.endpoints import RunOptions, default_engine, draining

    owned = api.attach_job(job, endpoint=_endpoint(endpoint))
    specs = api.specs_of_job(owned)
    table = api.limited(read_shown(test), limit)
    options = RunOptions.within(budget)
    agree_to(api.ComparisonSetup(specs, {test.name: table}).plan(options), yes=yes, dry_run=dry_run, json=json)
    engine = default_engine()
    with draining(engine), owned.hosted(specs) as asked:
        # Where a measurement takes a deployment of its own, the specs that are asked are others than those planned.
        board = api.ComparisonSetup(asked, {test.name: table}).run(options)
    print_board(board, engine.report, json=json)


@tune.command()
def deploy(
    job: JobId,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the deployment.")] = None,
    endpoint: At = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Deploy a job's result (Azure). Billed by the hour until undeployed."""
    from luthier import api
    from luthier.cli.spending import agree_to_hosting

    owned = api.attach_job(job, endpoint=_endpoint(endpoint))
    agree_to_hosting(owned.need_hosting().usd_per_hour, yes=yes)
    owned.deploy(name)
    print_job(owned, json)


@tune.command()
def undeploy(job: JobId, endpoint: At = None) -> None:
    """Delete the deployments of a job. Returns when the service says that they are gone."""
    from luthier import api
    from luthier.cli.printing import print_end
    from luthier.endpoints import dollars

    owned = api.attach_job(job, endpoint=_endpoint(endpoint))
    for one in owned.undeploy():
        print(f"gone: {one}")
    cost = owned.need_hosting().cost_usd()
    print(f"hosting so far: {owned.need_hosting().hours():.2f} h, {'price unknown' if cost is None else dollars(cost)}")
    print_end()


def say_leftovers(job: Job) -> None:
    """On stderr: deployments of a job that are still there, and billed."""
    hosting = job.hosting()
    for one in [] if hosting is None or not hosting.known() else hosting.leftovers():
        kind = "left over from a measurement" if one.temporary else "deployed"
        print(f"{kind}, and billed: {one}. Delete it: luthier tune undeploy {job.id}", file=sys.stderr)


def print_job(job: Job, json: bool) -> None:
    """What became of a job, and what to type next."""
    from luthier.cli.printing import print_end, print_json
    from luthier.endpoints import dollars

    if json:
        print_json(job.document())
    else:
        print(job)
    if job.state.ended:
        cost = "an unknown price" if job.cost_usd is None else dollars(job.cost_usd)
        earlier = "" if job.bought else f"{dollars(0)}, as the job was submitted earlier; it cost "
        print(f"spent now: {earlier}{cost}{' for training' if job.bought else ' in all'}", file=sys.stderr)
        print(f"A page of it: luthier report {job.run_id}", file=sys.stderr)
    print_end()


def _change(job: str, endpoint: Path | None, act: Callable[[Job], Job], json: bool) -> None:
    from luthier import api

    print_job(act(api.attach_job(job, endpoint=_endpoint(endpoint))), json)


def _endpoint(file: Path | None, spec: str | None = None) -> Any:
    from luthier import api
    from luthier.endpoints import Endpoint

    if file is not None:
        return Endpoint.model_validate(api.read_endpoint(file)["endpoint"])
    return None if spec is None else api.read_spec(spec).endpoint
