"""Trials that are known already, from a table, a run or another study: the sampler learns from them for nothing."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import DataError, ModelError, SpecError
from luthier.spec import Spec
from luthier.sweeps.imported_trials import IMPORTED, imported_trials
from luthier.sweeps.searched_settings import SearchedSetting
from luthier.sweeps.space import SearchSpace
from luthier.sweeps.trial import SETTINGS_ATTRIBUTE, SOURCE_ATTRIBUTE, SweepObjective, SweepTrial
from luthier.tables import read_table
from luthier.tracking.stores import connect_to_read

if TYPE_CHECKING:
    import optuna
    import pandas as pd

__all__ = ["add_warm", "warm_trials"]

THEIR_NAMES = {
    "endpoint.model": ("model", "base_model", "baseModel"),
    "tuning.epochs": ("n_epochs",),
    "tuning.batch_size": ("batchSizeSamples",),
    "tuning.learning_rate": ("learningRate",),
    "tuning.lora_rank": ("lora_r", "loraRank"),
}
"""What services and their logs call a setting."""

JOB_COLUMNS = ("job", "fine_tune_id", "job_id", "run_id", "id")
"""Columns that tell one trial from another, the best first."""

ENDED_WELL = ("", "complete", "COMPLETE", "succeeded", "FINISHED")
"""What a column `status` says of a trial whose figures count."""

RUN = "runs:/"
RUNS_A_PAGE = 1000


@dataclass(frozen=True)
class KnownTrials:
    """Lines about earlier trials, by column.

    Attributes:
        source: where they are from, for people.
        lines: the cells of each trial.
    """

    source: str
    lines: Sequence[Mapping[str, Any]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column, in order."""
        return tuple(dict.fromkeys(name for line in self.lines for name in line))


def warm_trials(
    source: str | Path | pd.DataFrame | Iterable[SweepTrial],
    space: SearchSpace,
    objectives: Sequence[SweepObjective],
    spec: Spec | None = None,
    *,
    rows: Collection[str] = (),
    table: str | None = None,
) -> list[SweepTrial]:
    """Earlier trials that lie in the space and have every objective; a line on stderr says how many do not.

    Args:
        source: a table, the MLflow run of a sweep or comparison as `runs:/ID` or `ID`, `imported` for all imported
            jobs, or trials of another study.
            A setting's column is called by its dotted path, the end of that, or the service's name for it, such as
            `n_epochs`; an objective's by the metric, or as in `classification/weighted_f1_score`.
        space: of the sweep that is to learn from them.
        objectives: of that sweep.
        spec: the spec that is varied; trials of another model, or trained with other fixed settings, are left out.
        rows: for imported jobs: digests of the rows on which their models must have been measured.
        table: file of these rows, for the command that measures them.

    Raises:
        SpecError: a setting or an objective has no column, or no trial is left; says what is in the way.
        DataError: the table cannot be read.
        ModelError: there is no such run, or it has no trials.
    """
    known = _imported(rows, table) if isinstance(source, str) and source == IMPORTED else _known(source)
    columns = {one.path: _column_of(one, space.paths, known) for one in space.settings}
    figures = {one.metric: _figure_column(one.metric, known) for one in objectives}
    fixed = {} if spec is None else _fixed(spec, space, known)
    found: list[SweepTrial] = []
    left_out: Counter[str] = Counter()
    for number, line in enumerate(known.lines):
        settings, other = _settings_of(line, space, columns)
        others = [*other, *(path for path, (column, value) in fixed.items() if not _says(line.get(column), value))]
        values = tuple(_number(line.get(figures[one.metric])) for one in objectives)
        if str(line.get("status") or "") not in ENDED_WELL or None in values:
            left_out[f"without {' and '.join(figures)}"] += 1
            continue
        if others:
            left_out[f"with another {others[0]}"] += 1
            continue
        label = next((str(line[name]) for name in JOB_COLUMNS if line.get(name)), f"row {number + 1}")
        kept = tuple(value for value in values if value is not None)
        found.append(SweepTrial(number, settings, "complete", kept, source=f"{known.source}, {label}"))
    said = ", ".join(f"{count} {why}" for why, count in left_out.most_common())
    if not found:
        raise SpecError(f"no trial of {known.source} lies in the space with every objective; left out: {said}.")
    if left_out:
        outside = f"{len(found)} of {len(known.lines)} trials of {known.source} are used; left out: {said}"
        print(f"warm start: {outside}", file=sys.stderr, flush=True)
    return found


def add_warm(study: optuna.Study, trials: Sequence[SweepTrial], space: SearchSpace) -> int:
    """Adds known trials to a study, each once however often this is called; they are marked by where they are from.

    Returns:
        How many were added.
    """
    import optuna

    there = {
        _identity(one.user_attrs[SOURCE_ATTRIBUTE], one.params, one.values)
        for one in study.get_trials(deepcopy=False)
        if SOURCE_ATTRIBUTE in one.user_attrs
    }
    distributions = space.distributions()
    new = []
    for trial in trials:
        params = space.params_of(trial.settings)
        if params is None or _identity(trial.source, params, trial.values) in there:
            continue
        new.append(
            optuna.trial.create_trial(
                params=params,
                distributions={path: distributions[path] for path in params},
                values=list(trial.values),
                user_attrs={SETTINGS_ATTRIBUTE: dict(trial.settings), SOURCE_ATTRIBUTE: trial.source},
            )
        )
    study.add_trials(new)
    return len(new)


def _identity(source: str | None, params: Mapping[str, Any], values: Sequence[float]) -> tuple[str | None, str]:
    """What tells one imported trial from another, whatever order a storage gives parameters in."""
    return source, repr((sorted(params.items()), [float(value) for value in values]))


def _imported(rows: Collection[str], table: str | None) -> KnownTrials:
    found = imported_trials(rows, table)
    if found.unmeasured:
        many = f"{found.unmeasured:,} imported {'job was' if found.unmeasured == 1 else 'jobs were'}"
        print(
            f"warm start: {many} not measured on the validation rows. To use more: {found.command}",
            file=sys.stderr,
            flush=True,
        )
    return KnownTrials("the imported jobs", found.lines)


def _known(source: str | Path | pd.DataFrame | Iterable[SweepTrial]) -> KnownTrials:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return _of_frame(source, "the table")
    if not isinstance(source, str | Path):
        lines = [
            {**one.settings, **one.measured, "status": one.status, "job": one.job, "cost_usd": one.cost_usd}
            for one in source
        ]
        return KnownTrials("the trials given", lines)
    if isinstance(source, str) and source.startswith(RUN):
        return _of_run(source.removeprefix(RUN).split("/")[0])
    if Path(source).suffix or Path(source).exists():
        return _of_frame(read_table(source), Path(source).name)
    return _of_run(str(source))


def _of_frame(frame: pd.DataFrame, source: str) -> KnownTrials:
    if frame.empty:
        raise DataError(f"{source} has no trials.")
    # Columns of mlflow.search_runs begin so.
    names = [str(name).removeprefix("params.").removeprefix("metrics.") for name in frame.columns]
    records = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return KnownTrials(source, [dict(zip(names, cells, strict=True)) for cells in records])


def _of_run(run_id: str) -> KnownTrials:
    connect_to_read(f"{run_id!r} is no file, and no run")
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        parent = client.get_run(run_id)
    except MlflowException as error:
        raise ModelError(
            f"{run_id!r} is neither a file nor a run at {mlflow.get_tracking_uri()}; give a csv file with a line per "
            "trial, or the run of an earlier sweep."
        ) from error
    runs: list[Any] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            [parent.info.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
            max_results=RUNS_A_PAGE,
            page_token=token or None,
        )
        runs, token = [*runs, *page], page.token or None
    ended = [run for run in runs or [parent] if run.info.status == "FINISHED"]
    lines = [
        {**run.data.params, **run.data.metrics, "status": run.info.status, "run_id": run.info.run_id} for run in ended
    ]
    if not any(run.data.metrics for run in ended):
        raise ModelError(f"run {run_id} has no trials with figures; give the run of a sweep or of luthier compare.")
    return KnownTrials(f"run {run_id}", lines)


def _column_of(setting: SearchedSetting, paths: Sequence[str], known: KnownTrials) -> str:
    """The column with the values of a setting; one that is not there for a setting that may have applied to no trial.

    Raises:
        SpecError: there is none.
    """
    path, end = setting.path, setting.path.rpartition(".")[2]
    alone = sum(other.rpartition(".")[2] == end for other in paths) == 1
    names = [path, *([end] if alone else []), *THEIR_NAMES.get(path, ())]
    found = next((name for name in names if name in known.columns), path if setting.when else None)
    if found is None:
        raise SpecError(
            f"{known.source} has no column {' or '.join(names)}, so it is not known what the trials had there. Add "
            f"it, or search this setting without a warm start; its columns: {', '.join(known.columns)}."
        )
    return found


def _figure_column(metric: str, known: KnownTrials) -> str:
    """The column with a metric.

    Raises:
        SpecError: there is none.
    """
    names = [metric, f"classification/{metric}_score", f"classification/{metric}", f"{metric}_score"]
    names += ["trial_cost_usd"] if metric == "cost_usd" else []
    found = next((name for name in names if name in known.columns), None)
    if found is None:
        raise SpecError(
            f"{known.source} has no column {metric} with the objective; its columns: {', '.join(known.columns)}. "
            "Rename the one that holds it."
        )
    return found


def _fixed(spec: Spec, space: SearchSpace, known: KnownTrials) -> dict[str, tuple[str, Any]]:
    """Settings that all trials of the sweep have alike and earlier ones may have had differently: column and value."""
    settings = spec.settings()
    values = {f"tuning.{name}": value for name, value in (settings.get("tuning") or {}).items()}
    values["endpoint.model"] = spec.base_model
    found = {}
    for path, value in values.items():
        names = (path, path.rpartition(".")[2], *THEIR_NAMES.get(path, ()))
        column = next((name for name in names if name in known.columns), None)
        # What `auto` came to is not known, and a seed makes no other point.
        comparable = value is not None and value != "auto" and not path.endswith((".seed", ".suffix"))
        if column is not None and comparable and path not in space.paths:
            found[path] = (column, value)
    return found


def _settings_of(
    line: Mapping[str, Any], space: SearchSpace, columns: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """The settings of a trial as the space has them; else the settings for which it does not lie in the space."""
    values = {one.path: _value(line.get(columns[one.path]), one) for one in space.settings}
    given = {path: value for path, value in values.items() if value is not _NONE}
    params = space.params_of(given)
    if params is None:
        return {}, [path for path in space.paths if path not in given]
    return space.settings_of(params), []


_NONE = object()


def _value(cell: Any, setting: SearchedSetting) -> Any:
    """The value of the setting that a cell holds: as it is, or as the number, null or block that it is the text of."""
    for read in (cell, _parsed(cell)):
        if setting.holds(read):
            return setting.value_of(setting.kept_of(read))
    return _NONE


def _parsed(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    number = _number(cell)
    if number is not None:
        return number
    try:
        return None if cell == "None" else parse_yaml(cell)
    except yaml.YAMLError:
        return cell


def _says(cell: Any, value: Any) -> bool:
    """Whether a cell says a value, or nothing."""
    return cell is None or cell == value or str(cell) == str(value) or _number(cell) == _number(value) is not None


def _number(cell: Any) -> float | None:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
