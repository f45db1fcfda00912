"""Promotion: an alias moves to another version only if its metrics, on the same rows, meet the requirements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import GateFailed, ModelError
from luthier.evaluation.gates import BOUNDS, Gate, Requirement, base_name, judge, parse_requirement
from luthier.evaluation.resampling import Interval
from luthier.tracking.runs import runs_of_fitted, tag_of
from luthier.tracking.stores import connect_to_read

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["Promotion", "promote"]

MEASURES = ("candidate", "rai")
"""Kinds of runs that measured a fitted spec: a place on a leaderboard, and a Responsible AI assessment."""


@dataclass(frozen=True)
class Promotion:
    """An alias that moved."""

    name: str
    alias: str
    version: str
    previous: str | None
    gates: tuple[Gate, ...]


def promote(name: str, *, alias: str, version: str | int | None = None, require: Sequence[str] = ()) -> Promotion:
    """Moves an alias to a version of a registered model, if every requirement holds.

    Args:
        name: registered model.
        alias: such as `champion`.
        version: the newest one when absent.
        require: requirements like `weighted_f1 >= champion` or `mse < 0.9`. An alias on the right side
            means that version's value of the same metric, measured on the same rows.

    Raises:
        UserError: a requirement is not understood.
        ModelError: no such model or version, it was never measured, or not on the same rows.
        GateFailed: a requirement does not hold; the alias stays where it is.
    """
    requirements = [parse_requirement(text) for text in require]
    connect_to_read(f"no registered model {name!r}")
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        versions = sorted(client.search_model_versions(f"name='{name}'"), key=lambda v: int(v.version))
    except MlflowException as error:
        raise ModelError(f"registered model {name!r} cannot be read: {error.message}") from error
    if not versions:
        known = sorted(model.name for model in client.search_registered_models())
        raise ModelError(f"no registered model {name!r}; there are: {', '.join(known) or 'none'}.")
    chosen = versions[-1]
    if version is not None:
        matching = [v for v in versions if str(v.version) == str(version)]
        if not matching:
            raise ModelError(
                f"{name!r} has no version {version}; there are: {', '.join(str(v.version) for v in versions)}."
            )
        chosen = matching[0]
    aliases = dict(client.get_registered_model(name).aliases)
    gates = tuple(judge_version(requirement, chosen, aliases) for requirement in requirements)
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        said = "; ".join(map(str, failed))
        raise GateFailed(f"{name} version {chosen.version} is not promoted to {alias!r}. Not met: {said}.")
    client.set_registered_model_alias(name, alias, str(chosen.version))
    previous = aliases.get(alias)
    return Promotion(name, alias, str(chosen.version), None if previous is None else str(previous), gates)


def judge_version(requirement: Requirement, version: ModelVersion, aliases: dict[str, str]) -> Gate:
    """How a requirement comes out for a version."""
    import mlflow

    name, figure, alias = version.name, requirement.figure, requirement.right
    mine = runs_with(figure, version)
    if not isinstance(alias, str):
        # The measurement on the most rows, the newest of them: a lucky handful of rows proves nothing.
        most = max(mine, key=lambda run: rows_of(run, figure))
        return judge(requirement, figures_of(most), rows_of(most, figure))
    if alias not in aliases:
        raise ModelError(
            f"{name!r} has no alias {alias!r} to compare {figure} with; aliases: {', '.join(aliases) or 'none'}. "
            f"Give the first one without that requirement."
        )
    rival = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    if tag_of(version.tags, "task_digest") != tag_of(rival.tags, "task_digest"):
        raise ModelError(
            f"version {version.version} and {alias} (version {rival.version}) answer different tasks (other labels, "
            f"order or columns), so their {figure} cannot be compared."
        )
    theirs = {tag_of(run.data.tags, "test_digest"): run for run in reversed(runs_with(figure, rival))}
    for run in mine:
        other = theirs.get(tag_of(run.data.tags, "test_digest"))
        if other is not None:
            return judge(requirement, figures_of(run), rows_of(run, figure), wanted=other.data.metrics[figure])
    raise ModelError(
        f"version {version.version} and {alias} (version {rival.version}) were measured on different rows, so their "
        f"{figure} cannot be compared. Compare both specs on one table: luthier compare ... --test TABLE"
    )


def rows_of(run: Run, figure: str) -> int:
    """Rows a run measured a figure on."""
    metrics = run.data.metrics
    return int(metrics.get(f"{base_name(figure)}_rows", metrics.get("rows_evaluated", 0)))


def figures_of(run: Run) -> dict[str, Interval]:
    """What a run measured; bounds have names of their own."""
    return {name: Interval(value) for name, value in run.data.metrics.items()}


def runs_with(figure: str, version: ModelVersion) -> list[Run]:
    """Complete measurements of what a version holds that have this figure, newest first.

    Raises:
        ModelError: there are none.
    """
    import mlflow

    digest = tag_of(version.tags, "fitted_digest")
    if digest is None:
        raise ModelError(f"version {version.version} of {version.name!r} was not logged by luthier.")
    experiments = [e.experiment_id for e in mlflow.MlflowClient().search_experiments()]
    complete = [
        run
        for kind in MEASURES
        for run in runs_of_fitted(experiments, digest, kind)
        if tag_of(run.data.tags, "test_digest")
        and tag_of(run.data.tags, "partial") is None
        and run.info.status == "FINISHED"
    ]
    if not complete:
        raise ModelError(
            f"version {version.version} of {version.name!r} was never measured; measure it first: "
            "luthier compare SPEC --test TABLE --train TABLE"
        )
    found = sorted((run for run in complete if figure in run.data.metrics), key=lambda run: -run.info.start_time)
    if not found:
        known = {key for run in complete for key in run.data.metrics if not key.endswith((*BOUNDS, "_rows"))}
        raise ModelError(
            f"version {version.version} has no metric {figure!r}; it has: {', '.join(sorted(known))}. Disparities, "
            f"flip rates and the worst cohort are measured by: luthier rai models:/{version.name}/{version.version} "
            "--test TABLE --sensitive COLUMN --perturb 100"
        )
    return found
