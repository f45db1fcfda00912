"""Figures of a sweep that no other table of trials has: how it went on, what it cost, where trials were stopped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from luthier.evaluation.trials import undominated, value_key
from luthier.providers.prices import dollars
from luthier.reporting.charts.chart import Axis, Chart, Curve, Dots
from luthier.reporting.numbers import number, printable
from luthier.reporting.setting_words import setting_names
from luthier.reporting.trials_figures import cost_scale, front_marks, told_of
from luthier.sweeps.early_stopping import LIKE_FOR_LIKE
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_sentences import listed_trials
from luthier.sweeps.sweep_trials import trial_table
from luthier.sweeps.sweep_words import STATUS_WORDS, figure_title, figure_unit, written_values
from luthier.sweeps.trial import SweepObjective, SweepTrial

__all__ = ["best_over_cost_figure", "best_over_trials_figure", "curves_figure", "front_figure", "price_figure"]

LEAST_SPREAD = 1.1
"""Prices of answers that differ by less than this factor tell no trials apart."""

PRICE = SweepObjective("cost_per_1000_rows_usd", "minimize")
COST = SweepObjective("cost_usd", "minimize")

Point = tuple[float, float, SweepTrial]


def best_over_trials_figure(state: StudyState) -> Chart | None:
    """The objective of every complete trial in the order of the trials, and the best so far as a line.

    `None` where no trial is complete.
    """
    points = [(float(trial.number), trial.values[0], trial) for trial in state.complete]
    if not points:
        return None
    best = _best_of(state, points)
    after = sum(trial.number > best.number for trial in state.complete)
    said = f"{_reached(state, best)} by trial {best.number}, "
    said += f"and {after:,} complete trials after it came out no better." if after else "the last complete one."
    return _best_chart(state, "Best so far, by trial", said, points, Axis("trial", "count"))


def best_over_cost_figure(state: StudyState) -> Chart | None:
    """The same over what had been spent by a trial's end; `None` where a cost is unknown or nothing cost anything."""
    ended = sorted((one for one in state.own if one.ended is not None), key=lambda one: one.ended or 0.0)
    spent: dict[int, float] = {}
    total = 0.0
    for trial in ended:
        if trial.cost_usd is None:
            return None
        total += trial.cost_usd
        spent[trial.number] = total
    if not total or not state.complete or any(trial.number not in spent for trial in state.complete):
        return None
    points = [(spent[trial.number], trial.values[0], trial) for trial in state.complete]
    best = _best_of(state, points)
    said = f"{_reached(state, best)} after {_usd(spent[best.number])} of {_usd(total)} spent on trials."
    axis = Axis("spent on trials, $", "usd", from_zero=True)
    return _best_chart(state, "Best so far, by cost", said, points, axis)


def front_figure(state: StudyState) -> Chart | None:
    """What a trial cost against what it reached, or one objective against the other, with a line through the front.

    `None` where fewer than two trials differ in that.
    """
    first, *others = state.facts.objectives
    against = others[0] if others else COST
    title = "Cost of a trial and quality" if against == COST else _pair(first, against)
    return _front_chart(state, title, first, against)


def price_figure(state: StudyState) -> Chart | None:
    """What a model's answers cost against its quality; `None` where all trials answer at about one price."""
    first, *others = state.facts.objectives
    prices = [trial.measured[PRICE.metric] for trial in state.complete if trial.measured.get(PRICE.metric)]
    if PRICE in (first, *others) or not prices or max(prices) < LEAST_SPREAD * min(prices):
        return None
    return _front_chart(state, "Price of answers and quality", first, PRICE)


def curves_figure(state: StudyState) -> Chart | None:
    """What early stopping judged by, by share of the training, marked where it ended a trial.

    `None` where nothing of the kind is known.
    """
    known = [trial for trial in state.own if trial.curve]
    if not known:
        return None
    best, said_of = state.best, _told(state)
    stopped = [one for one in known if one.status == "pruned"]
    kinds = {
        "other trials": [one for one in known if one.status != "pruned" and one is not best],
        "the best trial": [one for one in known if one is best],
    }
    # Losses are kept with the sign of the objective: negative where that is maximized.
    checkpoints = _watches_checkpoints(state)
    aim = state.facts.objectives[0]
    what, better = (figure_title(aim.metric), aim.better) if checkpoints else ("validation loss", "lower")
    y = Axis(f"best {what} so far ({better} is better)", figure_unit(aim.metric) if checkpoints else "number")

    def drawn(trial: SweepTrial) -> list[tuple[float, float]]:
        return [(float(step), value if checkpoints else abs(value)) for step, value in sorted(trial.curve.items())]

    def ends(trials: Sequence[SweepTrial], name: str, look: int) -> Dots:
        last = [drawn(trial)[-1] for trial in trials]
        told = tuple(said_of[trial.number] for trial in trials)
        return Dots(tuple(x for x, _ in last), tuple(y for _, y in last), name, look, told, large=look > 0)

    marks: list[Curve | Dots] = []
    marks += [_joined(map(drawn, kinds["other trials"]), "other trials", 0, "thin")] if kinds["other trials"] else []
    marks += [_joined(map(drawn, stopped), STATUS_WORDS["pruned"], 1, "thin")] if stopped else []
    marks += [_joined(map(drawn, kinds["the best trial"]), "the best trial", 0, "thick")] if best in known else []
    # Only points say which trial they are: each line has one at its end.
    marks += [ends([one for one in known if one.status != "pruned"], "", 0)] if len(stopped) < len(known) else []
    marks += [ends(stopped, "stopped there", 1)] if stopped else []
    said = _curves_said(state, known, stopped, what)
    return Chart("Learning curves", said, Axis("share of the training, %", "count"), y, tuple(marks))


def _curves_said(state: StudyState, known: Sequence[SweepTrial], stopped: Sequence[SweepTrial], what: str) -> str:
    said = f"Each line is the best {what} that a trial had reached by then."
    if stopped:
        half = median(max(one.curve) for one in stopped)
        saved = "" if state.saved_usd is None else f", which saved {_usd(state.saved_usd)}"
        count = f"{len(stopped):,} of {len(known):,} trials"
        said += f" Early stopping ended {count}, half of them by {half:.0f}% of their training{saved}."
    apart = [path for path in state.paths if not path.startswith(LIKE_FOR_LIKE) and _differ(known, path)]
    if apart and not _watches_checkpoints(state):
        names = setting_names(state.paths)
        said += f" It compares the losses of trials only where {_listed(names[path] for path in apart)} is the same."
    return said


def _best_chart(state: StudyState, title: str, said: str, points: Sequence[Point], x: Axis) -> Chart:
    aim = state.facts.objectives[0]
    ordered = sorted(points, key=lambda point: point[0])
    better = max if aim.direction == "maximize" else min
    best = tuple(itertools.accumulate((value for _, value, _ in ordered), better))
    line = Curve(tuple(place for place, *_ in ordered), best, "best so far", stepped=True)
    said_of = _told(state)
    told = tuple(said_of[trial.number] for *_, trial in ordered)
    dots = Dots(line.x, tuple(value for _, value, _ in ordered), "trials", told=told)
    return Chart(title, said, x, _axis(aim), (dots, line))


def _front_chart(state: StudyState, title: str, first: SweepObjective, against: SweepObjective) -> Chart | None:
    points = [
        (cost, value, trial)
        for trial in state.complete
        if (value := _value(state, trial, first)) is not None and (cost := _value(state, trial, against)) is not None
    ]
    if len({cost for cost, _, _ in points}) < 2:
        return None
    signs = [1 if one.direction == "minimize" else -1 for one in (against, first)]
    costs = [(signs[0] * cost, signs[1] * value) for cost, value, _ in points]
    is_kept = undominated(costs)
    kept = [place for place, kept in enumerate(is_kept) if kept]
    front = [points[place] for place in sorted(kept, key=lambda place: costs[place])]
    rest = [point for point, kept in zip(points, is_kept, strict=True) if not kept]
    said_of = _told(state)
    drawn, others = ([(x, y, said_of[trial.number]) for x, y, trial in group] for group in (front, rest))
    marks = front_marks(drawn, others)
    return Chart(title, _front_said(front, first, against), _axis(against, points), _axis(first), marks)


def _front_said(front: Sequence[Point], first: SweepObjective, against: SweepObjective) -> str:
    names = f"{figure_title(first.metric)} and {figure_title(against.metric)}"
    if len(front) == 1:
        return f"Trial {front[0][2].number} is the best in both {names}."

    def both(point: Point) -> str:
        cost, value, _ = point
        return written_values([first, against], [value, cost])

    low, high = front[0], front[-1]
    numbers = listed_trials([trial.number for *_, trial in front])
    return (
        f"The front is {numbers}: no other trial beats one of them in both {names}. "
        f"It goes from {both(low)} (trial {low[2].number}) to {both(high)} (trial {high[2].number})."
    )


def _best_of(state: StudyState, points: Sequence[Point]) -> SweepTrial:
    """The first trial that reached the best value of the objective."""
    sign = -1 if state.facts.objectives[0].direction == "maximize" else 1
    return min(points, key=lambda point: (sign * point[1], point[0]))[2]


def _reached(state: StudyState, best: SweepTrial) -> str:
    aim = state.facts.objectives[0]
    return f"The best {figure_title(aim.metric)}, {number(best.values[0], figure_unit(aim.metric))}, was reached"


def _value(state: StudyState, trial: SweepTrial, aim: SweepObjective) -> float | None:
    found = state.figure(trial, aim.metric)
    return found.value if found is not None else trial.cost_usd if aim.metric == COST.metric else None


def _joined(curves: Iterable[Sequence[tuple[float, float]]], name: str, look: int, weight: str) -> Curve:
    """Many lines as one, with gaps between them."""
    gap = (math.nan, math.nan)
    points = [point for curve in curves for point in (*curve, gap)][:-1]
    x, y = tuple(x for x, _ in points), tuple(y for _, y in points)
    return Curve(x, y, name, look, weight="thick" if weight == "thick" else "thin")


def _told(state: StudyState) -> dict[int, str]:
    """What is said of each trial where a pointer rests on it, by number: as in the figures of its settings."""
    table = trial_table(state)
    return {int(one.name): told_of(table, one) for one in table.trials}


def _axis(aim: SweepObjective, points: Sequence[Point] = ()) -> Axis:
    unit = figure_unit(aim.metric)
    sign = ", $" if unit == "usd" else ""
    title = f"{figure_title(aim.metric)}{sign} ({aim.better} is better)"
    return Axis(title, unit, cost_scale([x for x, *_ in points]))


def _usd(amount: float) -> str:
    # Hundredths of a cent say nothing beside dollars.
    return dollars(round(amount, 2) if amount >= 1 else amount)


def _pair(first: SweepObjective, against: SweepObjective) -> str:
    return f"{figure_title(first.metric)} and {figure_title(against.metric)}"


def _differ(trials: Sequence[SweepTrial], path: str) -> bool:
    return len({value_key(trial.settings.get(path)) for trial in trials}) > 1


def _listed(names: Iterable[str]) -> str:
    found = [printable(name) for name in names]
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _watches_checkpoints(state: StudyState) -> bool:
    stopping = state.facts.document.get("early_stopping")
    return isinstance(stopping, Mapping) and stopping.get("watch") == "checkpoints"
