"""luthier rai: the scorecard of a packaged model, and Responsible AI dashboards of it."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.options import BudgetUsd, DryRun, EndpointFile, Fresh, Json, Limit, RetryFailed, Yes

__all__ = ["rai"]


def rai(
    model_uri: Annotated[
        str, typer.Argument(metavar="MODEL_URI", help="models:/NAME@ALIAS, models:/NAME/VERSION, a folder.")
    ],
    test: Annotated[Path, typer.Option("--test", metavar="TABLE", help="Rows to assess on; labels are optional.")],
    sensitive: Annotated[
        list[str] | None,
        typer.Option("--sensitive", metavar="COLUMN", help="Column whose groups are compared. Can be repeated."),
    ] = None,
    explain: Annotated[
        int,
        typer.Option("--explain", metavar="N", min=0, help="Rows explained passage by passage; up to 15 calls each."),
    ] = 0,
    perturb: Annotated[
        int,
        typer.Option("--perturb", metavar="N", min=0, help="Rows asked again with typos, noise or injections."),
    ] = 0,
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit code 5 if a requirement (`gates:` of the spec, --require) is not met.")
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="'FIGURE >= NUMBER'", help="One more requirement. Can be repeated."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write scorecard and dashboards as one HTML file.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the dashboards on this machine until Ctrl-C.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port to serve on; else a free one.")
    ] = None,
    no_dashboard: Annotated[
        bool, typer.Option("--no-dashboard", help="Only the scorecard; nothing is fetched.")
    ] = False,
    limit: Limit = None,
    budget: BudgetUsd = None,
    endpoint: EndpointFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let a model that Luthier did not log run the code it brings along.")
    ] = False,
    json: Json = False,
) -> None:
    """Assess a packaged model.

    Prints a scorecard, and makes Responsible AI dashboards. At most one call a row by default.
    """
    from luthier import api
    from luthier.cli.printing import print_end, print_json, read_shown
    from luthier.cli.spending import agree_to, agree_to_address, agree_to_fetch
    from luthier.endpoints import RunOptions, default_engine, draining
    from luthier.errors import GateFailed, Partial, UserError
    from luthier.terminals import visible

    if port is not None and not serve:
        raise UserError(f"--port {port} is of the served dashboards; add --serve.")
    if serve and no_dashboard:
        raise UserError("--serve serves the dashboards, which --no-dashboard leaves out; leave one of them out.")
    if html is not None:
        api.check_page(html)
    model = api.load(model_uri, trust=trust)
    if endpoint:
        model = api.load(model_uri, api.read_endpoint_for(endpoint, model.spec), trust=trust)
    setup = api.AssessmentSetup(
        model,
        api.limited(read_shown(test), limit),
        name=test.name,
        sensitive=sensitive or [],
        explain=explain,
        perturb=perturb,
        require=require or [],
        gate=gate or bool(require),
    )
    if serve and not setup.has_dashboards:
        raise UserError(
            f"--serve serves the dashboards, which show models that choose among labels; an answer of task "
            f"{setup.task.name!r} is no single label. Leave --serve out: the scorecard is made without."
        )
    options = RunOptions.within(budget, fresh=fresh, retry_failed=retry_failed)
    agree_to(setup.plan(options), yes=yes, dry_run=dry_run, json=json)
    agree_to_address(model.sends_key, yes=yes or trust)
    with_dashboards = not no_dashboard and setup.has_dashboards and agree_to_fetch(yes=yes, needed=serve)
    engine = default_engine()
    with draining(engine):
        report = setup.run(options)
    if json:
        print_json(report.scorecard.to_document() | {"run_id": report.run_id})
    else:
        report.show()
    if html is not None:
        report.write_page(html)
    with exiting_on_signals():
        dashboards = report.dashboard(fetch=True) if with_dashboards else None
        if dashboards is not None:
            dashboards.log()
    if dashboards is not None:
        for note in dashboards.notes:
            print(visible(note), file=sys.stderr)
    if html is not None:
        if dashboards is not None:
            dashboards.write_page(html)
        print(f"written: {html}", file=sys.stderr)
    if not no_dashboard and not setup.has_dashboards:
        print(
            f"No dashboards: they are of single labels, and answers of {setup.task.name!r} are none.", file=sys.stderr
        )
    print(f"The page is report.html of run {report.run_id}.", file=sys.stderr)
    print_end(engine.report)
    if dashboards is not None and serve:
        with dashboards.serve(port) as server:
            print(f"Serving the dashboards at {server.url} until Ctrl-C.", file=sys.stderr)
            if is_at_a_desktop():
                webbrowser.open(server.url)
            server.wait()
    elif is_at_a_desktop():
        webbrowser.open((report.page if html is None else html).resolve().as_uri())
    if gate or require:
        missed = "; ".join(str(one) for one in report.scorecard.gates if not one.passed)
        if missed:
            raise GateFailed(f"{model.uri} does not meet: {missed}.")
    if report.partial:
        raise Partial(
            f"{report.scorecard.data.missing:,} rows have no answer yet ({report.why_missing}); run the same command "
            "again to ask for them."
        )


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the command as an exit does, so that folders with texts of rows go with it."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    hangup = getattr(signal, "SIGHUP", signal.SIGTERM)  # not on Windows; ignored under `nohup`
    ending = [number for number in {signal.SIGTERM, hangup} if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_at_a_desktop() -> bool:
    """Whether a page can be shown to a person; elsewhere a browser would take over the terminal."""
    windows = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(windows) and sys.stdout.isatty()
