"""luthier journal: where the answers are kept, how many, and how to delete them."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.options import Json

__all__ = ["journal"]

journal = typer.Typer(
    name="journal",
    help="Show or purge the stored answers. The journal keeps what was paid for.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@journal.command()
def path() -> None:
    """Print where the journal is."""
    from luthier.endpoints import Journal

    print(Journal.from_environment().path)


@journal.command()
def size(json: Json = False) -> None:
    """Print how many answers it holds and what they cost."""
    from dataclasses import asdict

    from luthier.cli.printing import print_json
    from luthier.endpoints import Journal, dollars

    kept = Journal.from_environment().size()
    if json:
        print_json(asdict(kept))
        return
    paid = dollars(kept.cost_usd)
    print(f"{kept.answers:,} answers, {kept.failures:,} failures, {kept.bytes / 1e6:.1f} MB; {paid} paid")


@journal.command()
def purge(
    older_than_days: Annotated[
        float | None, typer.Option("--older-than-days", min=0, help="Only answers older than this; all without it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete answers; what was deleted is paid for again when it is asked again."""
    from luthier.endpoints import Journal

    kept = Journal.from_environment()
    which = "all answers" if older_than_days is None else f"answers older than {older_than_days:g} days"
    if not yes and not typer.confirm(f"Delete {which} from {kept.path}?", err=True):
        raise typer.Exit(2)
    print(f"deleted {kept.purge(older_than_days):,} answers")
