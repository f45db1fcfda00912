"""What a race of specs left: who was stopped after how many rows, as a table, sentences and a figure."""

from __future__ import annotations

import math

from luthier.engine.report import counted
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.spec_race import SpecTrack, StoppedSpec
from luthier.reporting.board_figures import metric_axis
from luthier.reporting.charts.chart import Axis, Band, Chart, Curve, Dots, Mark
from luthier.reporting.numbers import interval
from luthier.reporting.table import Column, Columns, Section, Table, left_out

__all__ = ["race_chart", "race_sections"]

MOST_STOPPED = 60
"""Stopped specs that are listed, those that were asked longest."""

MOST_TRACKS = 12
"""Specs whose way is drawn: the best of the leaderboard, then those that were stopped last."""

BANDED = 3
"""So many of the best have a band; more would hide each other."""


def race_sections(board: Leaderboard, *, drawn: bool = False) -> tuple[Section, ...]:
    """The stopped specs; nothing without a race, or where none was stopped.

    Args:
        board: with its race.
        drawn: whether the figure is wanted too.
    """
    race = board.race
    if race is None or not race.stopped:
        return ()
    measure, metric, leader = board.measure, board.ranked_by, race.stopped[0].leader
    hint = f"How far behind {leader} on the same rows."
    columns: Columns[StoppedSpec] = [
        (Column("spec", kind="name", least=20), lambda one: one.name),
        (Column("technique", kind="beneath", least=16, drop=3), lambda one: one.technique),
        (Column("model", kind="beneath", least=24, drop=3), lambda one: "" if one.model == "none" else one.model),
        (Column("rows", "count", hint="Rows it answered before it was stopped."), lambda one: one.rows),
        (Column(measure.title, measure.format, brief=4, hint="On these rows."), lambda one: one.metrics.get(metric)),
        (Column("difference", measure.format, brief=5, hint=hint), lambda one: one.difference),
        (Column("p", "p", drop=2, hint="Paired, on the same rows; not corrected."), lambda one: one.p),
    ]
    rows = counted(race.rows, "row") if race.tables == 1 else f"rows, by the mean over {race.tables} tables,"
    said = (
        f"A spec was stopped when its answers so far showed that on all {rows} it would end significantly behind the "
        f"best. The probability that a race stops any spec that belongs to the best is held "
        f"below {race.alpha:.0%}. Figures are those of the rows that a spec answered, and not to be "
        f"compared with the table above; the difference is to {leader} on the same rows."
    )
    notes = left_out("specs", len(race.stopped), min(len(race.stopped), MOST_STOPPED), first="first")
    table = Table.of(race.stopped[:MOST_STOPPED], columns, notes=notes)
    chart = race_chart(board) if drawn else None
    return (Section("Stopped early", (said, table, *([chart] if chart else []))),)


def race_chart(board: Leaderboard) -> Chart | None:
    """The ranking metric of the specs after each look of a race; `None` without their tracks."""
    race = board.race
    if race is None or not race.tracks:
        return None
    stopped = {one.name: one for one in race.stopped}
    names = [*(entry.name for entry in board.entries), *stopped][:MOST_TRACKS]
    tracks = {track.name: track for track in race.tracks}
    marks: list[Mark] = []
    for look, name in enumerate(names):
        track = tracks.get(name)
        if track is None or all(math.isnan(value.value) for value in track.values):
            continue
        rows, values = tuple(map(float, track.rows)), tuple(value.value for value in track.values)
        if look < BANDED and name not in stopped:
            marks.insert(0, _band(track, look, most=1.0 if board.measure.format == "share" else math.inf))
        marks.append(Curve(rows, values, name, look, weight="normal" if name in stopped else "thick"))
        if name in stopped:
            told = f"{name}: stopped after {stopped[name].rows:,} rows at {interval(values[-1], board.measure.format)}"
            marks.append(Dots(rows[-1:], values[-1:], look=look, told=(told,), large=True))
    if not marks:
        return None
    left = len(board.entries) + len(stopped) - len(names)
    more = f" {counted(left, 'spec')} more not drawn." if left > 0 else ""
    said = (
        f"{board.measure.title} of each spec on the rows so far; a large mark is where it was stopped. A band holds, "
        f"with "
        f"95% confidence, what one of the best will reach on all rows, and closes at the end.{more}"
    )
    return Chart("", said, Axis("rows answered", "count", from_zero=True), metric_axis(board.measure), tuple(marks))


def _band(track: SpecTrack, look: int, most: float) -> Band:
    lows = tuple(value.value if value.low is None else value.low for value in track.values)
    highs = tuple(min(most, value.value if value.high is None else value.high) for value in track.values)
    return Band(tuple(map(float, track.rows)), lows, highs, look=look)
