"""Registered versions of a task's models: their aliases, what they are made of, and what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from luthier.evaluation.resampling import Interval
from luthier.history.runs import LoggedRun
from luthier.tracking.runs import TAGS, model_versions, tag_of

__all__ = ["RegisteredVersion", "registered_versions", "versions_of_task"]


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Attributes:
        model: name of the registered model.
        version: its number, from 1.
        aliases: such as `champion`.
        spec: name of the spec.
        technique: `baseline`, `prompt`, ...
        base_model: the model behind it.
        created: Unix time.
        run_id: the run that it was packaged from; `None` where MLflow does not know it.
        rows: number of rows that run measured on; `None` where it measured none.
        test_digest: of those rows.
        figures: what that run measured.
        task: name of the task that it answers.
        tags: as the registry has them.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    spec: str
    technique: str
    base_model: str
    created: float
    run_id: str | None = None
    rows: int | None = None
    test_digest: str | None = None
    figures: Mapping[str, Interval] = field(default_factory=dict, repr=False)
    task: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Model and version as one text, such as `stars/3`."""
        return f"{self.model}/{self.version}"


def versions_of_task(task: str, runs: Sequence[LoggedRun]) -> tuple[RegisteredVersion, ...]:
    """The versions of models of this task, the newest first.

    Args:
        task: its name.
        runs: of the task; a version's figures are those of the run that it was packaged from.
    """
    return _versions(f"tags.`{TAGS['task']}` = '{task}'", runs)


def registered_versions() -> tuple[RegisteredVersion, ...]:
    """The versions of every model that Luthier registered, the newest first, without what was measured of them."""
    return _versions(f"tags.`{TAGS['task']}` LIKE '%'", ())


def _versions(condition: str, runs: Sequence[LoggedRun]) -> tuple[RegisteredVersion, ...]:
    import mlflow

    client = mlflow.MlflowClient()
    known = {run.run_id: run for run in runs}
    aliases: dict[str, dict[str, list[str]]] = {}
    found = []
    for one in model_versions(condition):
        if one.name not in aliases:
            named: dict[str, list[str]] = {}
            for alias, number in client.get_registered_model(one.name).aliases.items():
                named.setdefault(str(number), []).append(alias)
            aliases[one.name] = named
        run = known.get(one.run_id or "")
        rows = None if run is None else run.metrics.get("rows_evaluated")
        found.append(
            RegisteredVersion(
                model=one.name,
                version=int(one.version),
                aliases=tuple(sorted(aliases[one.name].get(str(one.version), ()))),
                spec=tag_of(one.tags, "spec") or "",
                technique=tag_of(one.tags, "technique") or "",
                base_model=tag_of(one.tags, "base_model") or "",
                created=one.creation_timestamp / 1000,
                run_id=one.run_id or None,
                rows=None if rows is None else round(rows),
                test_digest=None if run is None else run.test_digest,
                figures={} if run is None else run.figures,
                task=one.tags.get(TAGS["task"], ""),
                tags=dict(one.tags),
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.created, one.model, -one.version)))
