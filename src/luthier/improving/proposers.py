"""The ways to find better prompts, by the names that `--by` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.documents import described
from luthier.errors import UserError
from luthier.improving.example_choices import ExampleChoices
from luthier.improving.mlflow_optimisers import Gepa
from luthier.improving.records import Proposer
from luthier.improving.rewriting import Rewriting

__all__ = ["PROPOSERS", "chosen_proposers"]

PROPOSERS: dict[str, Callable[[], Proposer]] = {
    "rewrite": Rewriting,
    "examples": ExampleChoices,
    "gepa": Gepa,
}
"""By name, in the order they are asked."""

ASKED: tuple[str, ...] = ("rewrite", "examples")
"""Those that are asked unless others are named."""


def chosen_proposers(by: Sequence[str | Proposer], *, writer: bool) -> list[Proposer]:
    """The proposers that are named; where none is, those that need no writer, and with a writer the others too.

    Args:
        by: names, or proposers of one's own.
        writer: whether there is a model that writes instructions.

    Raises:
        UserError: there is none of a name, or one is named that needs a writer where there is none.
    """
    if isinstance(by, str):
        raise UserError(f"by is a list of names, as in [{by!r}]; given: {described(by)}.")
    if not by:
        made = [PROPOSERS[name]() for name in ASKED if name in PROPOSERS]
        return [one for one in made if writer or not one.needs_writer]
    found = [_named(one) if isinstance(one, str) else one for one in by]
    for one in found:
        if not callable(getattr(one, "propose", None)):
            raise UserError(
                f"by takes names of proposers ({', '.join(PROPOSERS)}) or proposers; given: {described(one)}."
            )
    unable = [one.name for one in found if one.needs_writer and not writer]
    if unable:
        raise UserError(
            f"--by {unable[0]} needs a model that writes instructions. Name one that chats with --writer NAME or "
            "--writer FILE (writer=), or use --by examples, which needs none."
        )
    return list({one.name: one for one in found}.values())


def _named(name: str) -> Proposer:
    if name not in PROPOSERS:
        raise UserError(f"no way to improve a prompt is called {name!r}; --by takes: {', '.join(PROPOSERS) or 'none'}.")
    return PROPOSERS[name]()
