"""The figures of a scorecard by name: what gates require, and what MLflow keeps."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from luthier.errors import UserError
from luthier.evaluation.gates import BOUNDS, Gate, Requirement, base_name, judge, parse_requirement
from luthier.evaluation.group_metrics import group_metric_names
from luthier.evaluation.measures import measures_of
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Scorecard
from luthier.tasks.task import Task

__all__ = ["check_measured", "check_requirement", "figures", "judge_scorecard", "figure_name"]

COHORT = "worst_cohort_difference"
DISPARITY, FLIPS, FOLLOWED = "disparity_", "flip_rate_", "attack_success_rate_"

PATTERNS = (COHORT, f"{DISPARITY}METRIC_COLUMN", f"{FLIPS}KIND", f"{FOLLOWED}KIND")
"""Figures that a scorecard has beside the metrics of its task; docs/responsible-ai.md says what they mean."""


def figures(card: Scorecard) -> dict[str, Interval]:
    """Every figure of a scorecard by its name, as gates and MLflow have it.

    A figure that was measured on other rows than the metrics is followed by their number, under `NAME_rows`.
    """
    found = dict(card.metrics)

    def put(name: str, interval: Interval, rows: int) -> None:
        # Two columns may have one name once it is spelled for MLflow: then the wider disparity counts.
        if name not in found or interval.value > found[name].value:
            found[name] = interval
            found[f"{name}_rows"] = Interval(float(rows))

    if card.cohorts is not None and card.cohorts.columns:
        worst = [cohort.difference for cohort in card.cohorts.confirmed]
        none_worse = Interval(0.0, 0.0, 0.0)
        put(COHORT, max(worst, key=lambda one: one.value, default=none_worse), card.cohorts.rows)
    for column in card.sensitive:
        rows = sum(group.rows for group in column.groups if group.judged)
        for disparity in column.disparities:
            put(DISPARITY + figure_name(f"{disparity.metric}_{column.column}"), disparity.difference, rows)
    for one in card.perturbations:
        if not one.rows:
            # No text could be changed in this way, or none of the changed ones was answered.
            continue
        put(f"{FLIPS}{one.kind}", one.flips, one.rows)
        if one.to_target is not None:
            put(f"{FOLLOWED}{one.kind}", one.to_target, one.rows)
    return found


def judge_scorecard(card: Scorecard, requirements: Sequence[str]) -> tuple[Gate, ...]:
    """How requirements come out for a scorecard; a figure that it does not have passes none.

    Raises:
        UserError: a requirement is not understood, or names no figure that there could be.
    """
    measured = figures(card)
    return tuple(judge(check_requirement(one, card.task), measured, card.rows_evaluated) for one in requirements)


def figure_name(text: str) -> str:
    """The name of a metric or column as figures have it: MLflow allows few signs in names.

    Examples:
        >>> figure_name("missed: spam"), figure_name("home region (2024)")
        ('missed_spam', 'home_region_2024')
    """
    return re.sub(r"\W+", "_", text).strip("_")


def check_requirement(text: str, task: Task) -> Requirement:
    """A requirement on a figure that models of a task can have, held against a number.

    Raises:
        UserError: it is not understood, names no such figure, an alias, or a number that shares do not reach.

    Examples:
        >>> stars = Task("stars", type="rating", label="stars", labels=[1, 2, 3])
        >>> check_requirement("disparity_accuracy_region <= 0.2", stars).figure
        'disparity_accuracy_region'
    """
    found = parse_requirement(text)
    if isinstance(found.right, str):
        raise UserError(
            f"requirement {text!r} names the alias {found.right!r}; only luthier promote --require compares with "
            "another version. Give a number, as in: accuracy_low >= 0.8"
        )
    measures = measures_of(task)
    name = base_name(found.figure)
    if name not in measures:
        family, rest = _parts(name)
        if family is None:
            raise UserError(_unknown(text, found.figure, measures, labels=bool(task.labels)))
        compared = _compared_metrics(task)
        if family == DISPARITY and not _metric_and_column(rest, compared)[1]:
            raise UserError(
                f"requirement {text!r}: a disparity names a metric and a column, as in disparity_accuracy_region; "
                f"groups of task {task.name!r} are compared by {', '.join(compared)}."
            )
        if family in (FLIPS, FOLLOWED) and not rest:
            raise UserError(f"requirement {text!r}: {family} wants the kind of change, as in {family}typos.")
    is_share = measures[name].format == "share" if name in measures else name.startswith((FLIPS, FOLLOWED))
    if is_share and abs(found.right) > 1:
        raise UserError(
            f"requirement {text!r}: {name} is a share, and shares are written from 0 to 1, as in 0.8 for 80%."
        )
    return found


def check_measured(
    requirements: Sequence[str],
    task: Task,
    *,
    labelled: bool,
    sensitive: Sequence[str],
    kinds: Collection[str],
    perturbed: bool,
) -> None:
    """Refuses requirements on figures that an assessment would not measure; before anything is paid.

    Args:
        requirements: as they were written.
        task: the question.
        labelled: whether the rows have labels.
        sensitive: columns whose groups are compared.
        kinds: every kind of perturbation there is.
        perturbed: whether texts are perturbed.

    Raises:
        UserError: names the requirement and the option that measures its figure.
    """
    measures = measures_of(task)
    compared = _compared_metrics(task)
    columns = [figure_name(str(column)) for column in sensitive]
    for text in requirements:
        name = base_name(check_requirement(text, task).figure)
        family, rest = (None, "") if name in measures else _parts(name)
        metric, column = _metric_and_column(rest, compared) if family == DISPARITY else ("", "")
        needs_labels = (
            family == COHORT or compared.get(metric) or (name in measures and measures[name].kind == "quality")
        )
        if needs_labels and not labelled:
            raise UserError(
                f"requirement {text!r} cannot be judged: the table has no labels in column {task.label!r}. "
                "Give a table that has."
            )
        if family == DISPARITY and column not in columns:
            given = f"; compared are those of: {', '.join(columns)}" if columns else ""
            raise UserError(
                f"requirement {text!r} is on groups of {column!r}, which are not compared{given}. Add "
                f"--sensitive {column} (sensitive=)."
            )
        if family in (FLIPS, FOLLOWED):
            if rest not in kinds:
                raise UserError(
                    f"requirement {text!r}: there is no perturbation {rest!r}; there are: {', '.join(kinds)}."
                )
            if not perturbed:
                raise UserError(
                    f"requirement {text!r} is on perturbed texts, and none are asked for; add --perturb 100 (perturb=)."
                )


def _parts(name: str) -> tuple[str | None, str]:
    """The family of a figure, and what follows: the metric and column of a disparity, or a kind of change."""
    if name == COHORT:
        return COHORT, ""
    for family in (DISPARITY, FLIPS, FOLLOWED):
        if name.startswith(family):
            return family, name.removeprefix(family)
    return None, ""


def _compared_metrics(task: Task) -> dict[str, bool]:
    """Metrics that groups are compared by, as figures have them, with whether they take labels."""
    return {figure_name(name): labelled for name, labelled in group_metric_names(task).items()}


def _metric_and_column(rest: str, compared: Collection[str]) -> tuple[str, str]:
    """The two parts of a disparity's name, the metric as long as can be; empty where there is no such metric."""
    metric = max((metric for metric in compared if rest.startswith(f"{metric}_")), key=len, default="")
    return metric, rest.removeprefix(f"{metric}_") if metric else ""


def _unknown(text: str, figure: str, measures: Collection[str], *, labels: bool) -> str:
    """The message for a name that is no figure's: those nearest to it, then all."""
    names = [*measures, *(PATTERNS if labels else PATTERNS[:2])]
    near = difflib.get_close_matches(base_name(figure), [*measures, COHORT], n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return (
        f"requirement {text!r}: there is no figure {figure!r}.{meant} There are: {', '.join(names)}; "
        f"{' and '.join(BOUNDS)} after a name mean the bounds of its interval."
    )
