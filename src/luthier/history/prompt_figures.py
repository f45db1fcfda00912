"""What prompts reached in the order in which they came about, as a figure, and what is said of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from luthier.engine.report import counted
from luthier.evaluation.resampling import Interval
from luthier.history.prompt_history import MeasuredRows, MeasuredWording, PromptHistory
from luthier.history.prompt_runs import PromptFigure
from luthier.providers.prices import dollars
from luthier.reporting.board_figures import metric_axis
from luthier.reporting.charts.chart import Axis, Chart, Curve, Dots, Mark
from luthier.reporting.numbers import interval

__all__ = ["paid_sentence", "prompt_sentences", "prompts_chart", "rows_title"]

MOST_MODELS = 6
"""Models drawn, those of most prompts; more cannot be told apart."""

MOST_BARRED = 60
"""Figures up to which each has its interval as a bar; more bars would hide each other."""

MOST_NAMED = 30
"""Prompts up to which the axis has a place for each; of more it is a line of numbers."""

BESIDE = 0.08
"""By how much of a place the figures of models stand beside each other; their intervals would hide."""

MANY = 5
"""Prompts on the same rows from which the figure of the best is said to be too good."""

MOST_TABLES = 3
"""Tables of which the best prompt is told."""

Measured = tuple[MeasuredWording, PromptFigure]


def prompts_chart(history: PromptHistory, rows: MeasuredRows) -> Chart | None:
    """The metric over the order of prompts, with a line from each prompt to those made from it.

    Args:
        history: of the prompts.
        rows: one of its tables, as figures on other rows cannot be held against these.

    Returns:
        `None` where there are fewer than two prompts.
    """
    if len(rows.wordings) < 2:
        return None
    counts = Counter(figure.model for _, figure in rows.figures)
    models = [model for model, _ in counts.most_common(MOST_MODELS)]
    in_order = sorted(rows.figures, key=lambda pair: pair[0].number)
    numbers = [one.number for one in rows.wordings]
    named = len(numbers) <= MOST_NAMED
    places = {number: float(place) if named else float(number) for place, number in enumerate(numbers)}
    marks: list[Mark] = [_best_so_far(history, in_order, places)]
    for look, model in enumerate(models):
        own = [pair for pair in in_order if pair[1].model == model]
        beside = BESIDE * (look - (len(models) - 1) / 2) if named else 0.0
        moved = {number: place + beside for number, place in places.items()}
        marks += _model_marks(history, own, look, model if len(models) > 1 else "", moved)
    said = _best_sentence(history, rows)
    said += " A line leads from a prompt to each that was made from it, dashed where that is likely but not recorded."
    if len(in_order) > MOST_BARRED:
        said += f" Of more than {MOST_BARRED} figures the intervals are in the table only."
    left = len(counts) - len(models)
    said += f" {counted(left, 'further model')} with fewer prompts left out." if left else ""
    title = "prompts, in the order in which they came about"
    x = (
        Axis(title, scale="category", categories=tuple(f"#{number}" for number in numbers))
        if named
        else Axis(title, "count")
    )
    return Chart("", said, x, metric_axis(history.measure), tuple(marks), height=300)


def _model_marks(
    history: PromptHistory, own: Sequence[Measured], look: int, name: str, places: Mapping[int, float]
) -> list[Mark]:
    metric = history.metric
    values = {wording.number: figure.metrics[metric] for wording, figure in own}
    lines: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
    for wording, _ in own:
        parent = wording.parent
        if parent is None or wording.parent_number not in values:
            continue
        x, y = lines[parent.is_likely]
        x += [places[wording.parent_number], places[wording.number], math.nan]
        y += [values[wording.parent_number].value, values[wording.number].value, math.nan]
    marks: list[Mark] = [
        Curve(tuple(x), tuple(y), look=look, style="dashed" if likely else "solid", weight="thin")
        for likely, (x, y) in lines.items()
        if x
    ]
    bars = list(values.values()) if len(own) <= MOST_BARRED else []
    told = (_told(history, wording, figure) for wording, figure in own)
    marks.append(
        Dots(
            tuple(places[number] for number in values),
            tuple(one.value for one in values.values()),
            name,
            look,
            tuple(told),
            tuple(_end(one, one.low) for one in bars),
            tuple(_end(one, one.high) for one in bars),
        )
    )
    return marks


def _end(found: Interval, end: float | None) -> float:
    return found.value if end is None else end


def _told(history: PromptHistory, wording: MeasuredWording, figure: PromptFigure) -> str:
    text = f"#{wording.number} {figure.spec} ({figure.model}): "
    text += interval(figure.metrics[history.metric], history.measure.format)
    if wording.parent_number is not None and wording.parent is not None:
        likely = ", likely" if wording.parent.is_likely else ""
        text += f"; made from #{wording.parent_number}{likely}: {wording.parent.how or wording.parent.change}"
    return text + (", rows missing" if figure.partial else "")


def _best_so_far(history: PromptHistory, in_order: Sequence[Measured], places: Mapping[int, float]) -> Curve:
    better = max if history.measure.better == "higher" else min
    x: list[float] = []
    y: list[float] = []
    for wording, figure in in_order:
        value = figure.metrics[history.metric].value
        x.append(places[wording.number])
        y.append(better(y[-1], value) if y else value)
    return Curve(tuple(x), tuple(y), "the best so far", look=None, stepped=True)


def rows_title(rows: MeasuredRows) -> str:
    """What the rows are called, with how many there are."""
    if rows.rows is None:
        return rows.table
    return f"{rows.rows:,} rows of {rows.table}"


def prompt_sentences(history: PromptHistory) -> list[str]:
    """How many prompts were measured on what, which is best, and what measuring cost."""
    tables = history.tables
    said = []
    if len(tables) > 1:
        said.append(
            f"They were measured on {len(tables):,} different sets of rows. Each set has a table of its own: a figure "
            "on other rows is no better or worse for it."
        )
    said += [_best_sentence(history, rows) for rows in tables[:MOST_TABLES]]
    if any(rows.is_choice for rows in tables):
        said.append(
            "luthier improve chose among prompts by their figures on training rows, so the best of those look better "
            "than they are; it measured its last ones on fresh rows."
        )
    if any(len(rows.wordings) >= MANY for rows in tables):
        said.append(
            "The best of many prompts on the same rows is partly the luckiest: measure it on rows that chose nothing, "
            "as with luthier compare SPEC --test OTHER_TABLE, before its figure is relied upon."
        )
    said.append(paid_sentence(history))
    if history.unread:
        said.append(
            f"{counted(history.unread, 'run')} of prompts left out: what they asked is in no tag and their files "
            "cannot be read."
        )
    return said


def _best_sentence(history: PromptHistory, rows: MeasuredRows) -> str:
    wording, figure = rows.figures[0]
    metric, unit, title = history.metric, history.measure.format, history.measure.title
    best = f"#{wording.number} ({figure.spec}, {figure.model}): {title} {interval(figure.metrics[metric], unit)}"
    if len(rows.figures) == 1:
        return f"On {rows_title(rows)}: {best}."
    first_wording, first = min(rows.figures, key=lambda pair: pair[0].number)
    text = f"On {rows_title(rows)} the best of {counted(len(rows.wordings), 'prompt')} is {best}"
    if first_wording.number != wording.number:
        text += f"; the first, #{first_wording.number}, has {interval(first.metrics[metric], unit)}"
    return f"{text}."


def paid_sentence(history: PromptHistory) -> str:
    """What measuring the prompts cost, and what of that is not known."""
    counts = history.measurements
    paid = f"{counted(counts, 'measurement')} of these prompts cost {dollars(history.spent_usd)} when they were made"
    if history.unknown_spent == counts:
        paid = f"What {counted(counts, 'measurement')} of these prompts cost is unknown"
    elif history.unknown_spent:
        paid += f", without {history.unknown_spent:,} whose cost is unknown"
    return f"{paid}; answers from the journal cost nothing again."
