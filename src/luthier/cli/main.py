"""The command line: one file per verb; each parses, calls the library, prints."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from luthier.cli.audit import audit
from luthier.cli.batches import batches
from luthier.cli.catalogue import catalogue
from luthier.cli.check import check
from luthier.cli.compare import compare
from luthier.cli.deploy import deploy
from luthier.cli.fit import fit
from luthier.cli.import_ import import_
from luthier.cli.improve import improve
from luthier.cli.init import init
from luthier.cli.journal import journal
from luthier.cli.judge import judge
from luthier.cli.keys import keys
from luthier.cli.local import local
from luthier.cli.log import log
from luthier.cli.preview import preview
from luthier.cli.promote import promote
from luthier.cli.prompts import prompts
from luthier.cli.quickstart import quickstart
from luthier.cli.rai import rai
from luthier.cli.report import report
from luthier.cli.score import score
from luthier.cli.serve import serve
from luthier.cli.sweep import sweep
from luthier.cli.try_ import try_
from luthier.cli.tune import tune
from luthier.errors import LuthierError
from luthier.terminals import visible

__all__ = ["app", "main"]

# Typer carries its own click since 0.2x; the base class of its usage errors has no public name of its own.
UsageFault: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class _InOrder(TyperGroup):
    """Lists the verbs in the order of work; typer lists those with verbs of their own last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=[_name_of(verb) for verb in VERBS].index)


# The defaults cost .3 s at every start (rich tracebacks and help) and install shell completion unasked.
app = typer.Typer(
    name="luthier",
    cls=_InOrder,
    help="From a labelled table of texts to the best model for it, in production, on MLflow.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    *(quickstart, init, catalogue, check, preview, try_, compare, judge, improve, prompts),
    *(fit, log, promote, score, serve, deploy, keys),
    *(rai, tune, sweep, import_, audit, report, local, batches, journal),
)


def _name_of(verb: Any) -> str:
    # Python has `try` for itself.
    return str(verb.info.name if isinstance(verb, typer.Typer) else verb.__name__.rstrip("_"))


for verb in VERBS:
    if isinstance(verb, typer.Typer):
        app.add_typer(verb, name=verb.info.name)
    else:
        app.command(_name_of(verb))(verb)


@app.callback(invoke_without_command=True)
def _top(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        from luthier import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; a person's mistake prints one message, a bug keeps its traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Results and progress go to two streams; in one log file they keep their order.
        sys.stdout.reconfigure(line_buffering=True)
    # It warns in fifteen lines of what the error says in one: that no one has signed in.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    try:
        status = app(standalone_mode=False)
    except LuthierError as error:
        # In this file only: what is raised on purpose ends here, everything else goes through.
        print(visible(f"luthier: {error}"), file=sys.stderr)
        status = error.exit_code
    except UsageFault as error:
        error.show()
        status = 2
    except (typer.Abort, KeyboardInterrupt):
        print("luthier: interrupted; what was paid for is kept. Run the same command to go on.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of our output is gone, so there is nothing to print to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
