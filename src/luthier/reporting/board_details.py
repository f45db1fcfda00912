"""What a leaderboard's page says of single specs: confusion, calibration, labels and other parts of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.evaluation.confusions import ConfusedLabels, most_confused
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.reporting.board_figures import calibration_chart, confusion, points_chart, without_chart
from luthier.reporting.table import Block, Column, Columns, Fold, Section, Table, left_out
from luthier.tasks.labels.label_metrics import label_scores
from luthier.tasks.types import AnswerPart, Plots

__all__ = ["detail_sections", "label_parts", "parts_section", "parts_table"]

MOST_SPECS = 8
"""Specs with a part of their own, the best."""

MOST_CELLS = 8_000
"""Cells of all confusion matrices of a page: 77 labels leave room for the first spec's alone."""

MOST_LABELS = 100
"""Labels up to which the matrix is drawn; of more, the most confused pairs say more than 10,000 cells."""

MOST_CONFUSED = 10

MOST_PARTS = 300
"""Rows of a table of parts."""

MOST_PART_ROWS = 1_200
"""Rows of all tables of parts on a page: of many parts those of fewer specs are shown."""

IN_ORDER = 20
"""Parts up to which they stand in the type's own order; of more, the most frequent come first."""

FEW_PARTS = 12
"""Parts that a terminal shows."""

PARTS_INTRO = (
    "Precision: of what was answered, the share that is right. Recall: of what is true, the share that was found. F1: "
    "their harmonic mean."
)
LABELS_INTRO = (
    "Precision: of the rows given this label, the share that has it. Recall: of the rows that have it, the share that "
    "was given it. F1: their harmonic mean."
)


def detail_sections(board: Leaderboard) -> list[Section]:
    """How the best spec does label by label and how sure it is of itself; the others behind their names."""
    return [*_confusions(board), *_points(board), *_calibration(board), *_parts(board)]


def _of_each(entries: Sequence[Entry], blocks_of: Callable[[Entry], tuple[Block, ...]]) -> tuple[Block, ...]:
    """The first spec's blocks, then those of each other one behind its name."""
    first, *others = entries
    return (*blocks_of(first), *(Fold(entry.name, blocks_of(entry)) for entry in others))


def _with(board: Leaderboard, has: Callable[[Entry], object], most: int = MOST_SPECS) -> list[Entry]:
    return [entry for entry in board.entries if has(entry)][:most]


def _whose(board: Leaderboard, entry: Entry) -> str:
    """The beginning of a sentence about the spec that is shown first."""
    return f"Of {entry.name}. " if entry is board.best else f"{board.best.name} has none; this is of {entry.name}. "


def _confusions(board: Leaderboard) -> list[Section]:
    labels = board.task.labels
    cells = len(labels) * (len(labels) + 1)
    found = _with(board, lambda entry: entry.plots.confusion, max(1, min(MOST_SPECS, MOST_CELLS // max(1, cells))))
    if not found:
        return []

    def blocks(entry: Entry) -> tuple[Block, ...]:
        name = entry.name if entry is found[0] else ""
        drawn = confusion(labels, entry.plots.confusion, name, ordered=board.task.ordered)
        return (*((drawn,) if len(labels) <= MOST_LABELS else ()), *_most_confused(board, entry))

    return [Section("Confusion", (*_of_each(found, blocks), *_best(board, found)))]


def _most_confused(board: Leaderboard, entry: Entry) -> tuple[Block, ...]:
    found = most_confused(board.task.labels, entry.plots.confusion)
    if not found:
        return ("No label was taken for another one.",)
    columns: Columns[ConfusedLabels] = [
        (Column("true", kind="name"), lambda one: one.truth),
        (Column("answered"), lambda one: one.answer),
        (Column("rows", "count"), lambda one: one.rows),
        (Column("of the true label", "percent"), lambda one: one.share),
    ]
    notes = left_out("kinds of mistakes", len(found), min(len(found), MOST_CONFUSED), first="most frequent")
    return (Table.of(found[:MOST_CONFUSED], columns, notes=notes),)


def _points(board: Leaderboard) -> list[Section]:
    found = _with(board, lambda entry: entry.plots.points)
    if not found:
        return []
    value = board.task.kind.value_name
    drawn = _of_each(found, lambda entry: (points_chart(entry.plots.points, entry.name, value),))
    return [Section("Truth and answer", (*drawn, *_best(board, found)))]


def _calibration(board: Leaderboard) -> list[Section]:
    found = _with(board, lambda entry: entry.plots.calibration)
    if not found:
        return []

    def blocks(entry: Entry) -> tuple[Block, ...]:
        bins = entry.plots.calibration
        return (calibration_chart(bins, entry.name) or without_chart(bins, entry.name),)

    intro = () if found[0] is board.best else (f"{board.best.name} states no confidence.",)
    return [Section("Calibration", (*intro, *_of_each(found, blocks)))]


def parts_section(board: Leaderboard) -> list[Section]:
    """The best spec's answers part by part, for a terminal: the most frequent parts; nothing of a closed set."""
    parts = board.best.plots.parts
    if not parts:
        return []
    title = f"{board.task.kind.parts_title}: {board.best.name}"
    return [Section(title, (parts_table(parts, board.task.kind.part_name, most=FEW_PARTS),))]


def _parts(board: Leaderboard) -> list[Section]:
    labels = board.task.labels
    found = _with(board, lambda entry: entry.plots.parts or entry.plots.confusion)
    if not found:
        return []
    parts = [entry.plots.parts or label_parts(labels, entry.plots) for entry in found]
    shown = max(1, MOST_PART_ROWS // max(map(len, parts)))
    by_name = dict(zip([entry.name for entry in found], parts, strict=True))
    title, head, intro = board.task.kind.parts_title, board.task.kind.part_name, ""
    if labels:
        title, head, intro = "Label by label", "label", LABELS_INTRO
    elif {"precision", "recall", "F1"} <= set(parts[0][0].figures):
        intro = PARTS_INTRO

    def blocks(entry: Entry) -> tuple[Block, ...]:
        return (parts_table(by_name[entry.name], head),)

    tables = _of_each(found[:shown], blocks)
    return [Section(title, (_whose(board, found[0]) + intro, *tables, *_best(board, found[:shown])))]


def label_parts(labels: Sequence[str], plots: Plots) -> tuple[AnswerPart, ...]:
    """How well each label was found, from a confusion matrix."""
    return tuple(
        AnswerPart(
            one.label, {"precision": one.precision, "recall": one.recall, "F1": one.f1}, one.support, one.answered
        )
        for one in label_scores(labels, plots.confusion)
    )


def parts_table(parts: Sequence[AnswerPart], head: str = "part", *, most: int = MOST_PARTS) -> Table:
    """A row per part of an answer.

    Args:
        parts: in the type's own order, which is kept where they are few.
        head: what a part is called.
        most: at most so many, the most frequent.
    """
    shown = parts if len(parts) <= min(most, IN_ORDER) else sorted(parts, key=lambda one: -one.support)[:most]
    hints = ("How often it is true.", "How often it was answered.")
    columns: Columns[AnswerPart] = [
        (Column(head, kind="name", least=20), lambda one: one.name),
        *((Column(name, "share"), _figure(name)) for name in dict.fromkeys(n for one in parts for n in one.figures)),
        (Column("true", "count", hint=hints[0]), lambda one: one.support),
        (Column("answered", "count", hint=hints[1]), lambda one: one.answered),
    ]
    return Table.of(shown, columns, notes=left_out("parts", len(parts), len(shown), first="most frequent"))


def _figure(name: str) -> Callable[[AnswerPart], float | None]:
    return lambda one: one.figures.get(name)


def _best(board: Leaderboard, shown: Sequence[Entry]) -> tuple[str, ...]:
    return left_out("specs", len(board.entries), len(shown))
