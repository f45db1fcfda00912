"""Runs as tables: what one was about and measured, and lists of several."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from luthier.evaluation.measures import METRICS
from luthier.evaluation.resampling import Interval
from luthier.history.runs import LoggedRun
from luthier.providers.prices import dollars
from luthier.reporting.numbers import interval, metric_format, metric_title
from luthier.reporting.table import Cell, Column, Columns, Row, Section, Table, left_out

__all__ = ["day", "figures_section", "headline", "moment", "parts_section", "run_section", "runs_table", "spent_text"]

MOST_RUNS = 200
"""Runs of a list on a page, the newest."""

MOST_PARTS = 100

STATUSES = {"RUNNING": "running", "FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}
"""MLflow's words, as people say it."""

INNER = ("mlflow.", "luthier.digest.")
"""Beginnings of tags that are of no use to a reader."""

SAID_ELSEWHERE = frozenset({"luthier.kind", "luthier.task", "luthier.spec"})


def moment(unix_seconds: float) -> str:
    """A time in UTC.

    Examples:
        >>> moment(1_795_000_000)
        '2026-11-18 11:06 UTC'
    """
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M} UTC"


def day(unix_seconds: float) -> str:
    """A day in UTC.

    Examples:
        >>> day(1_795_000_000)
        '2026-11-18'
    """
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d}"


def spent_text(usd: float | None) -> str:
    """An amount of money, or that it is not known."""
    return "unknown" if usd is None else dollars(usd)


def headline(run: LoggedRun) -> str:
    """The figure a run is known by, with its interval; empty where it has none."""
    if run.kind == "judge" and "preferred_score" in run.figures:
        return f"{run.params.get('preferred', '')} {interval(run.figures['preferred_score'], 'number')}"
    names = [run.params.get("ranked_by", ""), *METRICS]
    found = run.figures
    for name in names:
        # A comparison on several tables keeps the mean over them, a sweep what its winner reached on holdout rows.
        for key, where in ((name, ""), (f"{name}_mean", "mean "), (f"holdout_{name}", "holdout ")):
            if name and key in found and (name not in METRICS or METRICS[name].kind == "quality"):
                return f"{where}{metric_title(name)} {interval(found[key], metric_format(name))}"
    return ""


def run_section(run: LoggedRun) -> Section:
    """What a run was about: times, status, settings, tags."""
    facts: list[tuple[str, Cell]] = [
        ("kind", run.kind),
        ("task", run.task),
        ("spec", run.spec),
        ("status", STATUSES.get(run.status, run.status.lower())),
        ("started", moment(run.started)),
        ("ended", None if run.ended is None else moment(run.ended)),
        ("spent", spent_text(run.spent_usd) if run.is_priced else None),
    ]
    facts += [(name.removeprefix("luthier."), text) for name, text in sorted(run.tags.items()) if _is_told(name)]
    facts += [(name, text) for name, text in sorted(run.params.items())]
    columns = (Column("", kind="name", least=20), Column("", least=40))
    return Section("Run", (Table(columns, tuple(Row((name, cell)) for name, cell in facts if cell)),))


def figures_section(run: LoggedRun) -> Section | None:
    """Every metric of a run with its interval; `None` where it has none."""
    figures = run.figures
    if not figures:
        return None
    columns = (Column("metric", kind="name", least=24), Column("value"))
    # Metrics have different units, so each value is a text of its own.
    rows = tuple(Row((metric_title(name), _written(name, found))) for name, found in sorted(figures.items()))
    return Section("Figures", (Table(columns, rows),))


def parts_section(parts: Sequence[LoggedRun]) -> Section | None:
    """The runs that a run consists of; `None` where there are none."""
    if not parts:
        return None
    return Section("Parts", (runs_table(parts, most=MOST_PARTS),))


def runs_table(runs: Sequence[LoggedRun], most: int = MOST_RUNS) -> Table:
    """A row per run in the order given, at most so many."""
    columns: Columns[LoggedRun] = [
        (Column("run", kind="name", least=24), lambda run: run.name),
        (Column("id", kind="beneath", drop=4), lambda run: run.run_id),
        (Column("kind", least=8), lambda run: run.kind),
        (Column("when"), lambda run: moment(run.started)),
        (Column("status", drop=2), lambda run: _status(run)),
        (Column("measured", drop=1), headline),
        (Column("spent", drop=3), lambda run: spent_text(run.spent_usd) if run.is_priced else ""),
    ]
    return Table.of(runs[:most], columns, notes=left_out("runs", len(runs), min(len(runs), most), first="newest"))


def _status(run: LoggedRun) -> str:
    said = STATUSES.get(run.status, run.status.lower())
    return f"{said}, rows missing" if run.partial else said


def _is_told(name: str) -> bool:
    return not name.startswith(INNER) and name not in SAID_ELSEWHERE


def _written(name: str, found: Interval) -> str:
    if name in METRICS:
        return interval(found, METRICS[name].format)
    return dollars(found.value) if name.endswith("_usd") else f"{found.value:,.6g}"
