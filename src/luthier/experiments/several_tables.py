"""The same specs on several tables: each fitted once, a leaderboard per table, and what holds across them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.errors import DataError
from luthier.evaluation.across import Across, across_tables
from luthier.evaluation.measures import ranking_metric
from luthier.experiments.compare import ComparedTable, check_leaks, compare_specs, counted_specs, rows_for
from luthier.experiments.fits import training_for
from luthier.reporting.across_report import across_page, across_sentences
from luthier.reporting.html import write_page
from luthier.reporting.markdown import listed
from luthier.spec import Fitted, Spec
from luthier.tracking.runs import TAGS, connect, describe, log_metrics, log_params, run_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ComparedTables", "check_tables", "compare_tables", "table_names"]


@dataclass(frozen=True)
class ComparedTables:
    """The comparison of every table, by name, and what holds across them."""

    tables: Mapping[str, ComparedTable]
    across: Across
    run_id: str

    @property
    def partial(self) -> bool:
        """Whether rows are missing for reasons that may pass."""
        return any(comparison.leaderboard.partial for comparison in self.tables.values())

    @property
    def unanswered(self) -> dict[str, str]:
        """Specs of which a table has no row that was answered, and why the first was not."""
        return {name: why for comparison in self.tables.values() for name, why in comparison.unanswered.items()}

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values: each table's leaderboard as one table alone has it, and what holds across them."""
        tables = {
            name: comparison.leaderboard.to_document() | {"run_id": comparison.run_id}
            for name, comparison in self.tables.items()
        }
        return {"tables": tables, "across": self.across.to_document(), "run_id": self.run_id}


def table_names(paths: Sequence[Path]) -> list[str]:
    """What tables are called: their files' names, with as many folders as it takes to tell them apart.

    Raises:
        DataError: a file is given twice.

    Examples:
        >>> table_names([Path("data/may.csv"), Path("data/june.csv")])
        ['may', 'june']
        >>> table_names([Path("may/test.csv"), Path("june/test.csv")])
        ['may/test', 'june/test']
    """
    whole = [path.resolve() for path in paths]
    for place, path in enumerate(whole):
        if path in whole[:place]:
            raise DataError(f"--test {paths[place]} is given twice; give each table once.")
    deepest = max(len(path.parts) for path in whole)
    for depth in range(1, deepest + 1):
        for ends in ([path.with_suffix("") for path in whole], whole):
            names = ["/".join(path.parts[-depth:]) for path in ends]
            if len(set(names)) == len(names):
                return names
    return [str(path) for path in whole]


def check_tables(specs: Sequence[Spec], tests: Mapping[str, pd.DataFrame]) -> None:
    """Refuses tables that cannot be compared on, before anything is asked.

    Raises:
        DataError: there is none, two hold the same rows, a column is missing or a label is not the task's.
    """
    if not tests:
        raise DataError("no test table; give one or more.")
    seen: dict[str, str] = {}
    for name, test in tests.items():
        digest = rows_for(specs, test, name).digest
        if digest in seen:
            raise DataError(
                f"tables {seen[digest]!r} and {name!r} hold the same labelled rows, which would count twice; "
                "give each table once."
            )
        seen[digest] = name


def compare_tables(
    specs: Sequence[Spec],
    tests: Mapping[str, pd.DataFrame],
    train: pd.DataFrame | None = None,
    *,
    engine: Engine,
    rank_by: str | None = None,
    **settings: Any,
) -> ComparedTables:
    """Compares specs on every table and logs a parent run, beneath it a run per table, beneath those a run per spec.

    The tables are gone through one after the other, so that an interruption keeps those that are done.

    Args:
        specs: recipes for one task, with distinct names.
        tests: name to labelled rows.
        train: labelled rows for the specs that need them.
        engine: answers the requests.
        rank_by: metric that orders the leaderboards; the task type's own when absent.
        settings: budget, progress, fresh and the like, for the engine; a budget is for all tables together.
    """
    check_tables(specs, tests)
    settings = {"asked": set(), **settings}
    task = specs[0].task
    ranking_metric(task, rank_by)
    training = training_for(specs, train)
    if not settings.get("allow_leaks"):
        for name, test in tests.items():
            check_leaks(rows_for(specs, test, name), training, name)
    tags = {TAGS["task"]: task.name, TAGS["task_digest"]: task.digest}
    title = f"{counted_specs(specs)} on {len(tests)} tables"
    fits: dict[str, Fitted] = {}
    done: dict[str, ComparedTable] = {}
    with contextlib.ExitStack() as stack:
        opened: list[str] = []

        def parent() -> str:
            # Opened by the first spec that has answered: a wrong key leaves no run behind.
            if not opened:
                opened.append(stack.enter_context(run_of(connect(task), title, "compare", tags)).info.run_id)
            return opened[0]

        for name, test in tests.items():
            done[name] = compare_specs(
                specs,
                test,
                train,
                engine=engine,
                rank_by=rank_by,
                test_name=name,
                fits=fits,
                beneath=parent,
                **settings,
            )
        across = across_tables({name: comparison.leaderboard for name, comparison in done.items()})
        found = ComparedTables(done, across, parent())
        _log_across(found)
    return found


def _log_across(found: ComparedTables) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    client.log_dict(found.run_id, found.across.to_document(), "across.json")
    client.set_tag(found.run_id, TAGS["partial"], str(found.partial).lower())
    best = found.across.best
    named = {"best": best.name, "ranked_by": found.across.metric, "tables": ", ".join(found.tables)}
    log_params(found.run_id, named)
    log_metrics(found.run_id, {f"{found.across.metric}_mean": best.mean}, sum(found.across.rows.values()))
    describe(found.run_id, listed(across_sentences(found.across)))
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        boards = {name: comparison.leaderboard for name, comparison in found.tables.items()}
        spreads = {name: comparison.spreads for name, comparison in found.tables.items()}
        write_page(across_page(boards, found.across, spreads=spreads), page)
        client.log_artifact(found.run_id, str(page))
