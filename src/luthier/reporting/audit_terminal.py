"""An audit in a terminal, readable at 80 columns and in a log file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.evaluation.audits import Audit
from luthier.evaluation.decomposition import CHANGES, Attribution
from luthier.reporting.audit_sentences import audit_sentences, figure, gap, job_sentences, spanned, title
from luthier.reporting.numbers import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_audit"]

WIDE = 110
"""From so many columns on there is room for an interval beside every number."""


def print_audit(audit: Audit, console: Console | None = None) -> None:
    """Prints the tables and, beneath them, what they say.

    Args:
        audit: what to print.
        console: where; standard output when absent. Where that is no terminal the output has no colours, and where
            its encoding is not a Unicode one it is ASCII.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    ascii_only = not console.encoding.lower().startswith("utf")

    def plain(text: str) -> Text:
        shown = printable(text)
        return Text(shown.encode("ascii", "replace").decode("ascii") if ascii_only else shown)

    def said(lines: list[str]) -> Table:
        beneath = Table.grid(padding=(0, 1, 0, 0))
        for line in lines:
            beneath.add_row("-", plain(line))
        return beneath

    head = plain(f"{audit.source}: reported against measured")
    head.stylize("bold")
    console.print(head)
    if audit.agreements:
        console.print(_agreements(audit, console.width >= WIDE, plain))
    for job in audit.attributions:
        if job.name != audit.source:
            name = plain(f"{job.name}: from reported to measured")
            name.stylize("bold")
            console.print(name)
        console.print(_parts(job, plain))
        if len(audit.attributions) > 1:
            console.print(said(job_sentences(job)))
    console.print(said(audit_sentences(audit)))


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)


def _agreements(audit: Audit, wide: bool, plain: object) -> Table:
    assert callable(plain)
    table = _table()
    table.add_column("metric", overflow="fold", min_width=11)
    # At 80 columns there is no room for the number of models; the sentences have it.
    for name in ("models", "reported", "measured") if wide else ("reported", "measured"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("difference", "limits"):
        table.add_column(name, no_wrap=True)
    table.add_column("tau", no_wrap=True, justify="left" if wide else "right")
    table.add_column("choice loses" if wide else "lost", justify="right", no_wrap=True)
    for one in audit.agreements:
        order = "" if one.order is None else spanned(one.order) if wide else figure(one.order.value)
        table.add_row(
            plain(title(one.metric)),
            *([f"{len(one.pairs.ids):,}"] if wide else []),
            figure(one.reported_mean),
            figure(one.measured_mean),
            spanned(one.difference, signed=True),
            # With "to" the table is 81 columns wide.
            (" to " if wide else ", ").join((gap(one.lower_limit.value), gap(one.upper_limit.value))),
            order,
            figure(one.choice.lost),
        )
    return table


def _parts(job: Attribution, plain: object) -> Table:
    assert callable(plain)
    table = _table()
    table.add_column("", overflow="fold")
    shown = job.decompositions[:3]
    for one in shown:
        table.add_column(title(one.metric), no_wrap=True)
    table.add_row("reported", *(figure(one.reported) for one in shown))
    for place, part in enumerate(shown[0].parts):
        cells = [spanned(one.parts[place].share, signed=True) for one in shown]
        table.add_row(plain(CHANGES[part.changes]), *cells)
    table.add_row("measured", *(spanned(one.measured) for one in shown))
    return table
