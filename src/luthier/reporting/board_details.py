"""What a leaderboard's page says of single specs: confusion, calibration, labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.evaluation.confusions import ConfusedLabels, most_confused
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.reporting.board_figures import calibration_chart, confusion, points_chart, without_chart
from luthier.reporting.table import Block, Column, Columns, Fold, Section, Table, left_out
from luthier.tasks.label_metrics import LabelScores, label_scores

__all__ = ["detail_sections"]

MOST_SPECS = 8
"""Specs with a part of their own, the best."""

MOST_CELLS = 8_000
"""Cells of all confusion matrices of a page: 77 labels leave room for the first spec's alone."""

MOST_LABELS = 100
"""Labels up to which the matrix is drawn; of more, the most confused pairs say more than 10,000 cells."""

MOST_CONFUSED = 10


def detail_sections(board: Leaderboard) -> list[Section]:
    """How the best spec does label by label and how sure it is of itself; the others behind their names."""
    return [*_confusions(board), *_points(board), *_calibration(board), *_labels(board)]


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
    drawn = _of_each(found, lambda entry: (points_chart(entry),))
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


def _labels(board: Leaderboard) -> list[Section]:
    found = _with(board, lambda entry: entry.plots.confusion)
    if not found:
        return []
    intro = (
        "Precision: of the rows given this label, the share that has it. Recall: of the rows that have it, the share "
        "that was given it. F1: their harmonic mean."
    )
    columns: Columns[LabelScores] = [
        (Column("label", kind="name"), lambda one: one.label),
        (Column("precision", "share"), lambda one: one.precision),
        (Column("recall", "share"), lambda one: one.recall),
        (Column("F1", "share"), lambda one: one.f1),
        (Column("rows", "count"), lambda one: one.support),
        (Column("answered", "count"), lambda one: one.answered),
    ]

    def blocks(entry: Entry) -> tuple[Block, ...]:
        return (Table.of(label_scores(board.task.labels, entry.plots.confusion), columns),)

    return [Section("Label by label", (_whose(board, found[0]) + intro, *_of_each(found, blocks)))]


def _best(board: Leaderboard, shown: Sequence[Entry]) -> tuple[str, ...]:
    return left_out("specs", len(board.entries), len(shown))
