"""The tables of a sweep: complete trials with every figure, those without figures and why, and the remote jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.evaluation.resampling import Interval
from luthier.reporting.numbers import Unit, printable
from luthier.reporting.setting_words import setting_names, written_settings, written_value
from luthier.reporting.table import Cell, Column, Columns, Row, Table, left_out
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_sentences import listed_trials
from luthier.sweeps.sweep_words import STATUS_WORDS, figure_title, figure_unit, written_seconds
from luthier.sweeps.trial import SweepTrial

__all__ = ["jobs_table", "trials_table", "unmeasured_table"]

MOST_COLUMNS = 6
"""Up to so many settings have a column each in a terminal."""

LONGEST_REASON = 200
"""Characters of a reason in a table; `frame` and the trial's run have all of it."""

TELLING = ("weighted_f1", "qwk", "mse", "accuracy", "macro_f1", "mae", "log_loss", "cost_per_1000_rows_usd")
"""Metrics that stand before the others, whose order is that of every report."""

SweepColumn = tuple[Column, Callable[[SweepTrial], Cell]]


def trials_table(state: StudyState, most: int | None = None, *, wide: bool = True) -> Table:
    """A row per complete trial, the best first, with every figure there is of it.

    Args:
        state: the sweep.
        most: rows at most.
        wide: a column per setting however many there are; else many stand in one, or beneath the trial's number.
    """
    aims = [one.metric for one in state.facts.objectives]
    trials = [trial for trial in state.ranked if trial.status == "complete"]
    shown = trials[:most]
    columns = _first_columns(state, wide=wide)
    if any(trial.source is not None for trial in shown):
        columns.append((Column("", least=14), lambda one: None if one.source is None else _status(one)))
    # Bounds of the objective give way before the other metrics do: there is more to a trial than one figure.
    columns += [_figure_column(state, metric, brief=9) for metric in aims]
    others = sorted((name for name in state.measured if name not in aims), key=_importance)
    # The first metrics are the most telling ones, so the last gives way first.
    columns += [_figure_column(state, name, brief=1, drop=max(4, 14 - place)) for place, name in enumerate(others)]
    columns += _last_columns(state)
    best = state.best

    def row(trial: SweepTrial, cells: tuple[Cell, ...]) -> Row:
        is_best = best is not None and trial.number == best.number
        return Row(cells, "first" if is_best else "reference" if trial.source is not None else "")

    return Table.of(shown, _filled(columns, shown), row, left_out("complete trials", len(trials), len(shown)))


def unmeasured_table(state: StudyState, most: int | None = None, *, wide: bool = True) -> Table:
    """A row per trial that was stopped early, failed, or is under way, with the reason; arguments as `trials_table`."""
    trials = [trial for trial in state.trials if trial.status != "complete"]
    shown = trials[:most]
    columns = [
        *_first_columns(state, wide=wide),
        (Column("state", least=14), _status),
        (Column("why", least=40), lambda one: written_value(one.reason, LONGEST_REASON)),
        *_last_columns(state),
    ]
    return Table.of(shown, _filled(columns, shown), notes=left_out("of these", len(trials), len(shown), first="first"))


def jobs_table(state: StudyState, most: int | None = None) -> Table:
    """A row per remote job, those that are alive first, with its state and bill; at most so many."""
    columns: Columns[SweepTrial] = [
        (Column("trial", kind="name", least=6), lambda one: str(one.number)),
        (Column("job", least=40), lambda one: printable(one.job or "")),
        (
            Column("state", least=20, hint="The service's word, as last heard."),
            lambda one: printable(one.job_status or ""),
        ),
        (Column("trial is", drop=3), _status),
        (Column("tokens", "count", hint="Trained tokens that are paid for."), lambda one: one.trained_tokens),
        (Column("of", "count", drop=2, hint="Tokens of the whole job."), lambda one: one.planned_tokens),
        (Column("bill $", "usd", hint="What training cost."), _bill),
        (Column("reserved $", "usd", short="held $", drop=4), lambda one: one.reserved_usd),
        (Column("driven by", drop=1), lambda one: printable(one.owner or "")),
    ]
    jobs = state.with_jobs[:most]
    kept = [pair for pair in columns if any(pair[1](one) not in (None, "") for one in jobs)]
    guessed = [one.number for one in jobs if one.tokens_estimated and one.trained_tokens is not None]
    notes = [*left_out("jobs", len(state.with_jobs), len(jobs), first="first")]
    if guessed:
        notes += [
            f"Tokens and bill of {listed_trials(guessed)} follow from the last step heard of, as none are billed."
        ]
    return Table.of(jobs, kept, notes=tuple(notes))


def _first_columns(state: StudyState, *, wide: bool) -> list[SweepColumn]:
    """Which trial it is, and what is tried."""
    trial: SweepColumn = (Column("trial", kind="name", least=8), lambda one: str(one.number))
    if not wide and len(state.paths) > MOST_COLUMNS:
        return [trial, (Column("settings", kind="beneath", least=60), lambda trial: written_settings(trial.settings))]

    def cell(path: str) -> Callable[[SweepTrial], Cell]:
        return lambda trial: written_value(trial.settings[path]) if path in trial.settings else None

    names = setting_names(state.paths)

    def head(path: str) -> Column:
        # In a terminal the words of a name stand one beneath the other.
        short = printable(names[path].rpartition(".")[2]).replace("_", "\n")
        return Column(printable(names[path]), least=16, short=short, hint=path)

    return [trial, *((head(path), cell(path)) for path in names)]


def _last_columns(state: StudyState) -> list[SweepColumn]:
    """What a service reported, and what it cost."""
    return [
        *(_reported_column(state, name) for name in state.reported),
        (Column("tokens", "count", drop=8, hint="Trained tokens that are paid for."), lambda one: one.trained_tokens),
        (Column("cost $", "usd", drop=15, hint="Training, answers and hosting."), lambda one: one.cost_usd),
        (Column("time", drop=2), _duration),
    ]


def _filled(columns: Sequence[SweepColumn], shown: Sequence[SweepTrial]) -> list[SweepColumn]:
    """The columns that have something in them."""
    return [pair for pair in columns if any(pair[1](one) not in (None, "") for one in shown)]


def _importance(metric: str) -> int:
    """The place of a metric where there is no room for all: those that tell trials apart in different ways first."""
    return TELLING.index(metric) if metric in TELLING else len(TELLING)


def _figure_column(state: StudyState, metric: str, *, brief: int = 0, drop: int = 0) -> SweepColumn:
    def cell(trial: SweepTrial) -> Interval | None:
        return state.figure(trial, metric)

    return Column(figure_title(metric), figure_unit(metric), brief=brief, drop=drop), cell


def _reported_column(state: StudyState, name: str) -> SweepColumn:
    values = [trial.reported[name] for trial in state.trials if name in trial.reported]
    counts = max(values) > 1 and all(float(value).is_integer() for value in values)
    unit: Unit = "count" if counts else "fine"
    title = printable(name.rpartition("/")[2])
    column = Column(f"reported {title}", unit, drop=1, hint=f"{name}, as the service reported it last.")
    return column, lambda trial: trial.reported.get(name)


def _status(trial: SweepTrial) -> str:
    if trial.source is not None:
        return f"imported: {printable(trial.source)}"
    if trial.status == "pruned" and trial.curve:
        return f"stopped at {max(trial.curve)}%"
    return STATUS_WORDS[trial.status]


def _duration(trial: SweepTrial) -> str:
    return "" if trial.duration_seconds is None else written_seconds(trial.duration_seconds)


def _bill(trial: SweepTrial) -> float | None:
    return trial.training_usd if trial.training_usd is not None else trial.cost_usd
