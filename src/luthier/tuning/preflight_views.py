"""The pre-flight as a person reads it: in a terminal and in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from luthier.reporting.numbers import printable
from luthier.tuning.preflight import Preflight

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["preflight_html", "print_preflight"]

STYLE = """
.luthier-preflight { font-size: 13px; line-height: 1.4; }
.luthier-preflight table { border-collapse: collapse; margin: .4em 0; color: inherit; font: inherit; }
.luthier-preflight th, .luthier-preflight td { padding: .2em 1em .2em 0; text-align: right; border: 0;
  background: none; font-variant-numeric: tabular-nums; }
.luthier-preflight th:first-child, .luthier-preflight td:first-child { text-align: left; }
.luthier-preflight thead th { border-bottom: 1px solid currentColor; font-weight: 600; }
.luthier-preflight ul { margin: .5em 0; padding-left: 1.2em; max-width: 75em; }
.luthier-preflight .luthier-stop { color: #c0392b; font-weight: 600; }
.luthier-preflight small { opacity: .75; display: block; }
"""

Grid = list[list[str]]


def print_preflight(check: Preflight, console: Console | None = None, *, stops: bool = True) -> None:
    """Prints sizes, labels, price and findings; readable at 80 columns and in a log file.

    Args:
        check: what to print.
        console: where; standard error when absent.
        stops: whether findings that stop the job are among them.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(stderr=True)
    plain = not console.encoding.lower().startswith("utf")

    def text(words: str, style: str = "") -> Text:
        clean = printable(words)
        return Text(clean.replace("…", "...").encode("ascii", "replace").decode() if plain else clean, style=style)

    console.print(text(f"{check.spec}: {check.model} at {check.place}", "bold"))
    console.print(text(check.size()))
    for grid in (_sizes(check), _labels(check)):
        console.print(_table(grid))
    beneath = Table.grid(padding=(0, 1, 0, 0))
    found = [finding for finding in check.findings if stops or not finding.stops]
    for finding in found:
        beneath.add_row(text("STOP", "bold red") if finding.stops else text("note", "dim"), text(str(finding)))
        for place in finding.rows:
            beneath.add_row("", text(str(place), "dim"))
    if found:
        console.print(beneath)


def preflight_html(check: Preflight) -> str:
    """The same as a fragment for a notebook; every name and text in it is escaped."""
    tables = "".join(_html_table(grid) for grid in (_sizes(check), _labels(check)))
    items = []
    for finding in check.findings:
        said = escape(str(finding))
        head = f'<span class="luthier-stop">STOP</span> {said}' if finding.stops else said
        items.append(f"<li>{head}{''.join(f'<small>{escape(str(place))}</small>' for place in finding.rows)}</li>")
    title = f"<strong>{escape(check.spec)}</strong>: {escape(check.model)} at {escape(check.place)}"
    return (
        f'<div class="luthier-preflight"><style>{STYLE}</style><div>{title}</div><div>{escape(check.size())}</div>'
        f"{tables}<ul>{''.join(items)}</ul></div>"
    )


def _sizes(check: Preflight) -> Grid:
    """Rows, bytes and tokens of each table that is uploaded."""
    grid = [["sent", "rows", "KB", "tokens", "a line: min", "median", "p95", "max"]]
    for name, lines in check.tables.items():
        spread = [f"{lines.spread[key]:,}" if lines.spread else "" for key in ("min", "median", "p95", "max")]
        grid.append([name, f"{lines.rows:,}", f"{len(lines.content) / 1000:,.0f}", f"{lines.tokens:,}", *spread])
    return grid


def _labels(check: Preflight) -> Grid:
    """Rows of each label in each table, with their share."""
    counts = check.labels or {}
    grid = [["label", *counts]]
    for label in next(iter(counts.values()), {}):
        row = [label]
        for table in counts.values():
            rows = sum(table.values())
            row.append(f"{table[label]:,} ({table[label] / rows:.0%})" if rows else "0")
        grid.append(row)
    return grid


def _table(grid: Grid) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, collapse_padding=True)
    for place, head in enumerate(grid[0]):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=place > 0)
    for row in grid[1:]:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _html_table(grid: Grid) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in grid[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in grid[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
