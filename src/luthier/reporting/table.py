"""What a report consists of: sections of tables, sentences and figures, as plain records.

Reports are built once, from records of `evaluation`, and drawn by three writers: `terminal`, `html` and `markdown`.
Texts in these records may come from strangers (names of specs, rows, answers of models). They are kept as they are;
each writer escapes them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

from luthier.evaluation.interval import Interval, plain
from luthier.reporting.charts.chart import Figure
from luthier.reporting.numbers import Unit

__all__ = [
    "Answered",
    "AnsweredRow",
    "SideBySide",
    "Bar",
    "Block",
    "Cell",
    "Column",
    "Columns",
    "Example",
    "Fold",
    "Frame",
    "Highlighted",
    "Lines",
    "Page",
    "Row",
    "Section",
    "Table",
    "TextDiff",
    "glossary",
    "left_out",
]


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval to be drawn instead of written.

    Attributes:
        interval: the thick line and its dot.
        outer: ends of a second, thinner line.
        mark: value that a dotted line in this row is drawn at.
    """

    interval: Interval
    outer: tuple[float, float] | None = None
    mark: float | None = None


Cell = str | float | Interval | Bar | None
"""A value; the column's unit says how it is written. `None` is an empty cell."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head.
        unit: how numbers and intervals in it are written; `None` for texts, which are aligned to the left.
        kind: `name` for what a row is about, `bar` for intervals to be drawn (HTML only), `beneath` for texts written
            small under the row's name: always in HTML, in a terminal when they have no column of their own. `small`
            for texts written small under the column before (HTML only).
        short: the head in a terminal that has no room for `title`; may have several lines.
        hint: explains the head where a pointer rests on it (HTML only).
        least: columns of a terminal that a text needs before it is folded into several lines.
        whole: names in it are to be copied, and never shortened.
        brief: at this step of making room in a terminal, intervals are written without their bounds; 0 is never.
        drop: at this step the column is left out; 0 is never.
        ticks: values marked by a dotted line in a column of bars.
        range: the values at both ends of a column of bars; those of the column where absent.
    """

    title: str
    unit: Unit | None = None
    kind: Literal["", "name", "bar", "beneath", "small"] = ""
    short: str = ""
    hint: str = ""
    least: int = 12
    whole: bool = False
    brief: int = 0
    drop: int = 0
    ticks: tuple[float, ...] = ()
    range: tuple[float, float] | None = None


T = TypeVar("T")
Columns = Sequence[tuple[Column, Callable[[T], Cell]]]
"""Columns, each with how its cell is got from a record."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        cells: one per column.
        style: `first` stands out, `reference` stands back.
        rule: whether a line is drawn above.
        unit: how this row's numbers are written, where that is not the column's unit.
    """

    cells: tuple[Cell, ...]
    style: Literal["", "first", "reference"] = ""
    rule: bool = False
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, rows with as many cells, and notes beneath.

    Terminals of any width show it: `Column.brief` and `Column.drop` are steps, taken in ascending order until the
    table fits. At the first step that any column has, heads become `Column.short`.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        records: Iterable[T],
        columns: Columns[T],
        row: Callable[[T, tuple[Cell, ...]], Row] = lambda _, cells: Row(cells),
        notes: tuple[str, ...] = (),
    ) -> Self:
        """A row per record; each column comes with what its cell is."""
        rows = (row(one, tuple(cell(one) for _, cell in columns)) for one in records)
        return cls(tuple(column for column, _ in columns), tuple(rows), notes)


def glossary(terms: Mapping[str, str]) -> Table:
    """Terms and what they mean."""
    return Table((Column("term", kind="name"), Column("meaning")), tuple(map(Row, terms.items())))


def left_out(what: str, whole: int, shown: int, first: str = "best") -> tuple[str, ...]:
    """A note where not all are shown."""
    return (f"The {first} {shown:,} of {whole:,} {what}.",) if whole > shown else ()


@dataclass(frozen=True, slots=True)
class Lines:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A program with its data, run in a frame that reaches neither the page nor any network; on pages only.

    Attributes:
        id: of the frame; letters, digits and hyphens.
        title: what it is called, for who does not see it.
        script: the program; frames with the same one share it. It finds an element `given` that holds `data`.
        data: JSON.
    """

    id: str
    title: str
    script: str = field(repr=False)
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Example:
    """A row of a user's table with what a model answered.

    Attributes:
        about: what happened, in pieces; every second piece stands out.
        text: what was read.
        raw: the model's own words.
        error: what the service said.
    """

    about: tuple[str, ...]
    text: str
    raw: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one spec made of a row.

    Attributes:
        value: the prediction; what there is instead where there is none, such as `refused`. May have several lines.
        right: whether it is right; `None` where an answer is only nearer or farther.
        told: the model's own words, how sure it was, why there is no value; shown where a reader asks for it.
    """

    value: str
    right: bool | None
    told: str = ""


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row of a user's table with what each spec answered.

    Attributes:
        number: in the user's own table, from 1.
        text: what was read.
        truth: the true value.
        answers: one per spec; `None` where a spec has no answer to the row.
        known_by: other columns that tell the row apart, by their names.
        parted: whether each line of the truth and of an answer is a part of it, such as a field.
    """

    number: int
    text: str
    truth: str
    answers: tuple[Answered | None, ...]
    known_by: tuple[tuple[str, str], ...] = ()
    parted: bool = False


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Rows with the answers of several specs beside each other, and a field that searches them; on pages only.

    Attributes:
        specs: names of the specs, in the order of the answers.
        rows: in the order they are shown.
        notes: sentences beneath.
        graded: whether answers are neither right nor wrong, only nearer or farther.
    """

    specs: tuple[str, ...]
    rows: tuple[AnsweredRow, ...]
    notes: tuple[str, ...] = ()
    graded: bool = False


@dataclass(frozen=True, slots=True)
class Highlighted:
    """A text whose passages are tinted by weight; on pages only.

    Attributes:
        about: what the text is, in pieces; every second piece stands out.
        passages: the text, cut, each piece with its weight: tinted blue above 0, orange below, not at all for `None`.
    """

    about: tuple[str, ...]
    passages: tuple[tuple[str, float | None], ...]


Change = Literal["head", "added", "removed", "same"]


@dataclass(frozen=True, slots=True)
class TextDiff:
    """What changed from one text to another: the lines of a unified diff, as `difflib.unified_diff` gives them."""

    lines: tuple[str, ...]

    @classmethod
    def between(cls, before: str, after: str, names: tuple[str, str]) -> Self:
        """The diff of two texts, without lines where they are equal.

        Args:
            before: the earlier text.
            after: the later one.
            names: of both.
        """
        texts = before.splitlines(), after.splitlines()
        return cls(tuple(difflib.unified_diff(*texts, *names, lineterm="")))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """A text as it is, in which nothing changed."""
        return cls(tuple(f" {line}" for line in text.splitlines()))

    def changes(self) -> Iterator[tuple[Change, str]]:
        """The lines, each with what it says.

        Examples:
            >>> diff = TextDiff.between("Be brief.\\nText:", "One word.\\nText:", ("few", "few-2"))
            >>> [change for change, _ in diff.changes()]
            ['head', 'head', 'head', 'removed', 'added', 'same']
        """
        marks: dict[str, Change] = {"+": "added", "-": "removed", "@": "head"}
        for place, line in enumerate(self.lines):
            headed = place < 2 and line.startswith(("--- ", "+++ "))
            yield ("head" if headed else marks.get(line[:1], "same")), line


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks behind a summary; on pages only."""

    summary: str
    blocks: tuple[Block, ...]
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a report.

    Attributes:
        title: its heading.
        blocks: what it holds. A string is a paragraph.
    """

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A report as one HTML file: `said` is what to take from it, `footer` says what it was made from."""

    title: str
    lead: str
    said: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str = ""

    def figures(self) -> Iterator[Figure]:
        """Every figure of the page."""
        return (block for block in self._blocks() if isinstance(block, Figure))

    def frames(self) -> Iterator[Frame]:
        """Every frame of the page."""
        return (block for block in self._blocks() if isinstance(block, Frame))

    def document(self) -> dict[str, Any]:
        """The data of the page as JSON values: numbers as they are, an interval as `[value, low, high]`.

        Returns:
            `title`, `lead`, `said`, `footer` and `sections`. A section has `title` and `blocks`; a block has a `kind`
            (`text`, `list`, `table`, `chart`, `strips`, `confusion`, `parallel`, `example`, `side_by_side`,
            `highlighted`, `diff`, `section`) and what its record has. A row of a table has its cells by the columns'
            titles.
        """
        return {
            "title": self.title,
            "lead": self.lead,
            "said": list(self.said),
            "sections": [{"title": one.title, "blocks": _documents(one.blocks)} for one in self.sections],
            "footer": self.footer,
        }

    def _blocks(self) -> Iterator[Block]:
        waiting: list[Block] = [*self.sections]
        while waiting:
            block = waiting.pop(0)
            if isinstance(block, Section | Fold):
                waiting = [*block.blocks, *waiting]
            elif isinstance(block, tuple):
                waiting = [*block, *waiting]
            else:
                yield block


Shown = str | Table | Lines | Figure | tuple[Figure, ...] | Frame | Example | SideBySide | Highlighted | TextDiff
Block = Shown | Fold | Section


def _documents(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """Blocks as JSON values; figures side by side are figures, a fold is a section, programs are left out."""
    return [one for block in blocks for one in _document(block)]


def _document(block: Block) -> list[dict[str, Any]]:
    if isinstance(block, str):
        return [{"kind": "text", "text": block}]
    if isinstance(block, Lines):
        return [{"kind": "list", "lines": list(block.lines)}]
    if isinstance(block, Table):
        names = _names(block.columns)
        rows = [dict(zip(names, map(plain, row.cells), strict=True)) for row in block.rows]
        return [{"kind": "table", "columns": names, "rows": rows, "notes": list(block.notes)}]
    if isinstance(block, Section | Fold):
        title = block.title if isinstance(block, Section) else block.summary
        return [{"kind": "section", "title": title, "blocks": _documents(block.blocks)}]
    if isinstance(block, tuple):
        return [one for figure in block for one in _document(figure)]
    if isinstance(block, Frame):
        return []
    named = {SideBySide: "side_by_side", TextDiff: "diff"}
    kind = named.get(type(block), type(block).__name__.lower())
    return [{"kind": kind, **plain(block)}]


def _names(columns: Sequence[Column]) -> list[str]:
    """A name per column, each once: of columns without a head or with the same one, by what is in them and a number."""
    names: list[str] = []
    for column in columns:
        name = column.title or column.kind or "column"
        count = sum(one == name or one.startswith(f"{name} (") for one in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names
