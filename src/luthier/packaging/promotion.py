"""Promotion: an alias moves to another version only if its metrics, on the same rows, meet the requirements."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import GateFailed, ModelError
from luthier.evaluation.gates import Gate
from luthier.tracking.runs import runs_of_fitted, tag_of
from luthier.tracking.stores import connect

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["Promotion", "promote"]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


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
        ModelError: no such model or version, it was never measured, or not on the same rows.
        GateFailed: a requirement does not hold; the alias stays where it is.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    connect()
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
    gates = tuple(judge(requirement, chosen, name, aliases) for requirement in require)
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        said = "; ".join(
            f"{gate.requirement}: {gate.measured:.4f} against {gate.wanted:.4f} on {gate.rows:,} rows"
            for gate in failed
        )
        raise GateFailed(f"{name} version {chosen.version} is not promoted to {alias!r}. Not met: {said}.")
    client.set_registered_model_alias(name, alias, str(chosen.version))
    previous = aliases.get(alias)
    return Promotion(name, alias, str(chosen.version), None if previous is None else str(previous), gates)


def judge(requirement: str, version: ModelVersion, name: str, aliases: dict[str, str]) -> Gate:
    """How a requirement comes out for a version."""
    import mlflow

    parsed = re.fullmatch(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*([A-Za-z0-9_.+-]+)\s*", requirement)
    if parsed is None:
        raise ModelError(
            f"requirement {requirement!r} is not understood; it reads METRIC >= ALIAS or METRIC >= NUMBER "
            "(also >, <=, <), as in: weighted_f1 >= champion"
        )
    metric, sign, right = parsed.groups()
    mine = measured_runs(version)

    def gate(run: Run, wanted: float) -> Gate:
        measured = value_of(run, metric, version)
        return Gate(requirement, metric, measured, wanted, rows_of(run), COMPARISONS[sign](measured, wanted))

    try:
        wanted: float | None = float(right)
    except ValueError:
        wanted = None
    if wanted is not None:
        # The measurement on the most rows, the newest of them: a lucky handful of rows proves nothing.
        return gate(max(mine, key=rows_of), wanted)
    if right not in aliases:
        raise ModelError(
            f"{name!r} has no alias {right!r} to compare {metric} with; aliases: {', '.join(aliases) or 'none'}. "
            f"Give the first one without that requirement."
        )
    rival = mlflow.MlflowClient().get_model_version_by_alias(name, right)
    if tag_of(version.tags, "task_digest") != tag_of(rival.tags, "task_digest"):
        raise ModelError(
            f"version {version.version} and {right} (version {rival.version}) answer different tasks (other labels, "
            f"order or columns), so their {metric} cannot be compared."
        )
    theirs = {tag_of(run.data.tags, "test_digest"): run for run in reversed(measured_runs(rival))}
    for run in mine:
        other = theirs.get(tag_of(run.data.tags, "test_digest"))
        if other is not None:
            return gate(run, value_of(other, metric, rival))
    raise ModelError(
        f"version {version.version} and {right} (version {rival.version}) were measured on different rows, so their "
        f"{metric} cannot be compared. Compare both specs on one table: luthier compare ... --test TABLE"
    )


def rows_of(run: Run) -> int:
    """Rows a run measured on."""
    return int(run.data.metrics.get("rows_evaluated", 0))


def measured_runs(version: ModelVersion) -> list[Run]:
    """Complete measurements of what a version holds, newest first."""
    import mlflow

    digest = tag_of(version.tags, "fitted_digest")
    if digest is None:
        raise ModelError(f"version {version.version} of {version.name!r} was not logged by luthier.")
    client = mlflow.MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = runs_of_fitted(experiments, digest, "candidate")
    complete = [
        run for run in runs if tag_of(run.data.tags, "test_digest") and tag_of(run.data.tags, "partial") is None
    ]
    if not complete:
        raise ModelError(
            f"version {version.version} of {version.name!r} was never measured; measure it first: "
            "luthier compare SPEC --test TABLE --train TABLE"
        )
    return complete


def value_of(run: Run, metric: str, version: ModelVersion) -> float:
    """A metric of a run."""
    if metric not in run.data.metrics:
        known = sorted(key for key in run.data.metrics if not key.endswith(("_low", "_high")))
        raise ModelError(f"version {version.version} has no metric {metric!r}; it has: {', '.join(known)}.")
    value: float = run.data.metrics[metric]
    return value
