"""Which column of a table of trials is what: the result, a setting, another figure, a name, a status.

The names are those of MLflow, Optuna, Weights & Biases, of services that fine-tune, and of Luthier's own sweeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.errors import DataError
from luthier.evaluation.measures import METRICS
from luthier.evaluation.metric_names import MEASURED, lower_is_better, metric_name
from luthier.tasks.task import is_blank

__all__ = ["TrialColumns", "columns_of_trials", "of_optuna"]

SETTING = re.compile(r"^(?:params|param|config|hyperparameters|hparams)[._/](.+)$", re.I)
FIGURE = re.compile(r"^(?:metrics|metric|summary)[._/](.+)$", re.I)
"""What MLflow, Optuna and Weights & Biases write before the name of a setting, and before that of a figure."""

NOT_READ = re.compile(
    r"^(tags|user_attrs|system_attrs|datasets?|inputs|outputs)[._/].*|^(unnamed: ?\d*|index|)$|"
    r"^(experiment_id|artifact_uri|start_time|end_time|started|ended|created|updated|user|notes|tags|sweep|host|owner|"
    r"source|job_status|datetime_\w+|_timestamp|_step|_wandb|lifecycle_stage|url|path)$",
    re.I,
)
"""What trackers keep beside settings and figures."""

NAMES = (
    *("job", "fine_tune_id", "job_id", "name", "tags.mlflow.runname", "run_name", "trial", "number", "id"),
    *("run_id", "run", "trial_id"),
)
"""Columns that tell one trial from another, the best first."""

STATUS = ("status", "state")

REASON = ("reason", "error", "error_message")

MODEL = ("endpoint.model", "model", "base_model", "basemodel", "model_name", "base_model_name")

COST = ("cost_usd", "total_cost_usd", "cost", "total_cost", "training_usd", "price_usd")
WORK = re.compile(
    r"^(elapsed|trained|billed|total|used)_?tokens$|^(duration(_seconds)?|runtime|elapsed_seconds|elapsed)$", re.I
)
"""What a trial took, in money; and where no column says that, in tokens or time."""

MEASURED_WORDS = re.compile(
    r"(^|_)(loss|error|accuracy|acc|f1|auc|auroc|precision|recall|score|kappa|qwk|mse|mae|rmse|mape|r2|brier|ece|nll|"
    r"perplexity|bleu|rouge\w*|exact_match|reward|objective|wer|cer)(_|$)"
)
OTHER_WORDS = re.compile(
    r"^(elapsed|trained|billed|planned|reserved|reported|used)_|^(total|input|output|prompt|completion)_tokens$|"
    r"(^|_)(seconds|duration|runtime|latency|usd|cost|price)(_|$)|^step$|_(low|high)$"
)
"""Words by which a figure is known whose kind no prefix says: what was measured, and what it took."""

TELLING = ("weighted_f1", "qwk", "mse", "accuracy", "macro_f1", "mae", "log_loss")
"""The metrics that a table of trials is compared by unless told otherwise, the first of them that it has."""

MOST_NAMED = 12
"""A text that differs in each of more trials than this names or describes them."""


@dataclass(frozen=True)
class TrialColumns:
    """What the columns of a table hold; each is given by its own name.

    Attributes:
        result: the metric that trials are compared by.
        metric: what it is called: by Luthier's name where it has one.
        bounds: columns with the ends of its interval.
        settings: by the name of the setting.
        figures: by the name of the figure.
        name: of the trial; `None` where no column has another text in every line.
        status, reason: how it ended, and why.
        cost: what it took in dollars.
        work: the figure that says what it took where `cost` is absent.
        model: the setting that names the base model.
        others: other columns by which trials could be compared, the most telling first.
        not_read: columns that hold none of these.
    """

    result: str
    metric: str
    bounds: tuple[str, str] | None
    settings: Mapping[str, str]
    figures: Mapping[str, str]
    name: str | None
    status: str | None
    reason: str | None
    cost: str | None
    work: str | None
    model: str | None
    others: tuple[str, ...]
    not_read: tuple[str, ...]


def columns_of_trials(records: Sequence[Mapping[str, Any]], metric: str | None, source: str) -> TrialColumns:
    """Finds out what the columns hold.

    Args:
        records: a line per trial.
        metric: what trials are compared by: a column, with or without its prefix, or Luthier's name of a metric;
            the most telling one when absent.
        source: what the table is called in messages.

    Raises:
        DataError: no column holds the metric, or several do.
    """
    columns = [str(name) for name in records[0]]
    by_name = {column.strip().lower(): column for column in columns}
    status, reason, cost = (_first(names, by_name) for names in (STATUS, REASON, COST))
    name = next((by_name[one] for one in NAMES if one in by_name and _tells_apart(by_name[one], records)), None)
    kept = {status, reason, cost, name, *(by_name.get(one) for one in NAMES)}
    open_ones = [column for column in columns if column not in kept and not NOT_READ.match(column.strip())]
    declared = [column for column in open_ones if of_optuna(column) or SETTING.match(column) or FIGURE.match(column)]
    has_settings = any(SETTING.match(column) for column in declared)
    figures = [column for column in open_ones if _is_figure(column, declared=has_settings)]
    result, others = _result([*figures, *([cost] if cost else [])], open_ones, metric, source)
    settings, texts = {}, []
    for column in open_ones:
        if column == result or column in figures:
            continue
        if not SETTING.match(column) and (has_settings or _describes(column, records)):
            texts.append(column)
        else:
            settings[_plain(column)] = column
    known = metric_name(_plain(result))
    ends = [found for end in ("_low", "_high") if (found := by_name.get(f"{result}{end}".lower())) is not None]
    rest = {_plain(column): column for column in figures if column not in (result, *ends)}
    return TrialColumns(
        result=result,
        metric=known if known in METRICS else _plain(result),
        bounds=(ends[0], ends[1]) if len(ends) == 2 else None,
        settings=settings,
        figures={name: column for name, column in rest.items() if _holds_numbers(column, records)},
        name=name,
        status=status,
        reason=reason,
        cost=cost,
        work=next(
            (name for name, column in rest.items() if WORK.match(name) and _holds_numbers(column, records)), None
        ),
        model=next((name for name in settings if name.lower() in MODEL), None),
        others=tuple(others),
        not_read=tuple(texts),
    )


def _result(figures: Sequence[str], columns: Sequence[str], metric: str | None, source: str) -> tuple[str, list[str]]:
    """The column of the metric, and those that could be taken instead.

    Raises:
        DataError: none is the metric, or several are.
    """
    telling = sorted((one for one in figures if _rank(one) is not None), key=lambda one: _rank(one) or ())
    if metric is None:
        if not telling:
            raise DataError(
                f"{source} has no column whose name says that it is a metric, such as accuracy, weighted_f1 or loss; "
                f"its columns: {', '.join(columns) or 'none that could be one'}. Name the one with the results: "
                "--metric COLUMN."
            )
        return telling[0], telling[1:]
    wanted = metric.strip().lower()
    for same in (
        lambda column: column.strip().lower() == wanted,
        lambda column: _plain(column).lower() == wanted,
        lambda column: metric_name(_plain(column)) == metric_name(metric),
    ):
        found = [column for column in dict.fromkeys([*figures, *columns]) if same(column)]
        if len(found) > 1:
            raise DataError(f"{source} has several columns for {metric}: {', '.join(found)}; name one with --metric.")
        if found:
            return found[0], [one for one in telling if one != found[0]]
    some = f" The results seem to be in: {', '.join(telling)}." if telling else ""
    raise DataError(f"{source} has no column {metric!r}; its columns: {', '.join(columns)}.{some}")


def _rank(column: str) -> tuple[int, int, str] | None:
    """Where a figure stands among those that trials can be compared by; `None` for one that says what a trial took."""
    plain = _plain(column)
    known = metric_name(plain)
    if of_optuna(column):
        return (0, 0, column)
    if (not MEASURED_WORDS.search(known) and known not in METRICS) or OTHER_WORDS.search(known):
        return None
    if known in METRICS and METRICS[known].kind != "quality":
        return None
    # What was measured afterwards says more than what a service reports, and training rows say least.
    kind = 1 if MEASURED.match(plain) else 3 if re.match(r"(training|train)[_/.]", plain, re.I) else 2
    place = TELLING.index(known) if known in TELLING else len(TELLING) + (1 if lower_is_better(known) else 0)
    return (kind, place, column)


def _is_figure(column: str, *, declared: bool) -> bool:
    if SETTING.match(column):
        return False
    if FIGURE.match(column) or of_optuna(column):
        return True
    # A table that marks its settings leaves nothing else to be one.
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    return declared or metric_name(column) in METRICS or bool(MEASURED_WORDS.search(plain) or OTHER_WORDS.search(plain))


def of_optuna(column: str) -> bool:
    """Whether it is a result as Optuna writes it, whose name does not say what it is."""
    return re.fullmatch(r"values?(_\w+)?|objective", column.strip(), re.I) is not None


def _plain(column: str) -> str:
    """The name without what a tracker puts before it."""
    found = SETTING.match(column.strip()) or FIGURE.match(column.strip())
    return found[1] if found else column.strip()


def _first(names: Sequence[str], columns: Mapping[str, str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _tells_apart(column: str, records: Sequence[Mapping[str, Any]]) -> bool:
    cells = ["" if is_blank(record[column]) else str(record[column]).strip() for record in records]
    return "" not in cells and len(set(cells)) == len(cells)


def _describes(column: str, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column holds a text of its own in every line, or nothing at all."""
    cells = [str(record[column]) for record in records if not is_blank(record[column])]
    distinct = len(set(cells))
    return not cells or (distinct > max(MOST_NAMED, len(cells) - 1) and not _holds_numbers(column, records))


def _holds_numbers(column: str, records: Sequence[Mapping[str, Any]]) -> bool:
    cells = [record[column] for record in records if not is_blank(record[column])]
    return bool(cells) and all(_is_numeric(cell) for cell in cells)


def _is_numeric(cell: Any) -> bool:
    if isinstance(cell, bool):
        return False
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
