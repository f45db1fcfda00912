"""Reports as Markdown: whole pages, and what was found in a run's description, which the MLflow UI shows first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.evaluation.leaderboard import Leaderboard
from luthier.reporting.board_sentences import in_words, sentences
from luthier.reporting.crossed_report import crossed_leaders
from luthier.reporting.numbers import interval, number, printable
from luthier.reporting.table import (
    Bar,
    Block,
    Column,
    Example,
    Fold,
    Highlighted,
    Lines,
    Page,
    Row,
    Section,
    Table,
    TextDiff,
)

__all__ = ["described", "escaped", "listed", "page_markdown"]

MOST_ROWS = 15
"""So many specs are listed, the best; the report has them all."""

MOST_QUOTED = 900
"""Characters of a text that a page quotes."""

LONGEST = 4_000
"""Characters; stores keep about five thousand of a tag."""


def described(board: Leaderboard) -> str:
    """The leaderboard as a numbered list, and beneath it what it says.

    A list and no table: MLflow shows the cells of a table without a gap between them.

    Args:
        board: what to describe.
    """
    head = f"{board.rows_evaluated:,} rows; in brackets the 95% interval."
    if len(board.entries) > MOST_ROWS:
        head += f" The best {MOST_ROWS} are shown; report.html has all {len(board.entries):,}."
    beneath = [*(in_words(board, entry) for entry in board.references)]
    beneath += [*crossed_leaders(board.crossed, board.measure), *sentences(board)]
    best = enumerate(board.entries[:MOST_ROWS], start=1)
    numbered = [f"{place}. {escaped(in_words(board, entry))}" for place, entry in best]
    return _cut([*numbered, "", head, "", *(f"- {escaped(line)}" for line in beneath)])


def listed(lines: Sequence[str]) -> str:
    """Sentences as a list, as many as a description has room for.

    Examples:
        >>> listed(["a_b leads", "p <.001"])
        '- a\\\\_b leads\\n- p &lt;.001'
    """
    return _cut([f"- {escaped(line)}" for line in lines])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    Examples:
        >>> escaped("few_shot *5* <b>")
        'few\\\\_shot \\\\*5\\\\* &lt;b&gt;'
    """
    marked = re.sub(r"([\\`*_\[\]|~])", r"\\\1", printable(text).replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def page_markdown(page: Page) -> str:
    """A page as Markdown, in the dialect of GitHub; figures and bars are left out."""
    parts = [f"# {escaped(page.title)}", _line(page.lead), _list(page.said)]
    parts += [_block(section, 2) for section in page.sections]
    return "\n\n".join(filter(None, [*parts, _line(page.footer)])) + "\n"


def _block(block: Block, level: int) -> str:
    if isinstance(block, str):
        return _line(block)
    if isinstance(block, Lines):
        return _list(block.lines)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Example):
        return _example(block)
    if isinstance(block, Highlighted):
        weighed = (f"{'' if weight is None else number(weight, 'gap')} {text[:300]}" for text, weight in block.passages)
        return "\n\n".join([_about(block.about), _list(tuple(weighed))])
    if isinstance(block, TextDiff):
        # A fence that none of the lines ends.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", " ".join(block.lines))), default=0))
        return "\n".join([f"{fence}diff", *map(printable, block.lines), fence])
    if isinstance(block, Fold):
        inner = filter(None, (_block(one, level) for one in block.blocks))
        return "\n\n".join([f"<details><summary>{escaped(block.summary)}</summary>", *inner, "</details>"])
    if isinstance(block, Section):
        inner = filter(None, (_block(one, level + 1) for one in block.blocks))
        return "\n\n".join([f"{'#' * level} {escaped(block.title)}", *inner])
    return ""


def _line(text: str) -> str:
    """A paragraph; whatever it begins with, it is no heading, list or quotation."""
    return re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", escaped(text))


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_line(line)}" for line in lines)


def _about(pieces: Sequence[str]) -> str:
    """Pieces of a sentence, every second one in bold."""
    return "".join(
        f"**{escaped(piece)}**" if place % 2 and piece.strip() else _spaced(piece) for place, piece in enumerate(pieces)
    )


def _example(example: Example) -> str:
    texts = (example.text[:MOST_QUOTED], example.raw and f"raw answer: {example.raw[:MOST_QUOTED]}", example.error)
    quoted = "\n>\n".join(f"> {_line(text)}" for text in texts if text)
    return "\n\n".join(filter(None, (_about(example.about), quoted)))


def _spaced(piece: str) -> str:
    """A piece of a sentence with a space at an end that has one."""
    return " " * piece[:1].isspace() + escaped(piece) + " " * piece[-1:].isspace()


def _table(table: Table) -> str:
    """A pipe table; texts beneath a name are in a column of their own, rows that stand back are in italics."""
    places = [place for place, column in enumerate(table.columns) if column.kind not in ("bar", "small")]
    columns = [table.columns[place] for place in places]
    lines = [
        [escaped(column.title) for column in columns],
        ["---:" if column.unit else "---" for column in columns],
        *([_cell(table.columns[place], row, place) for place in places] for row in table.rows),
    ]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([drawn, *map(_line, table.notes)])


def _cell(column: Column, row: Row, place: int) -> str:
    cell, unit = row.cells[place], row.unit or column.unit
    if cell is None or isinstance(cell, str):
        text = escaped(cell or "")
    else:
        assert unit is not None and not isinstance(cell, Bar)
        text = escaped(interval(cell, unit))
    return f"*{text}*" if text and row.style == "reference" else text


def _cut(lines: Sequence[str]) -> str:
    """Whole lines as far as they go."""
    kept, room = [], LONGEST
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept)
