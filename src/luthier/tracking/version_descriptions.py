"""The part of a registered version's description that Luthier writes, and what it says once newer figures exist.

Two comments enclose that part. What people write around it stays.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from luthier.evaluation.measures import measures_of
from luthier.evaluation.resampling import Interval
from luthier.reporting.markdown import escaped
from luthier.reporting.numbers import interval
from luthier.tasks.task import Task
from luthier.tracking.runs import TAGS, tag_of

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "described_metrics",
    "intervals_of",
    "link_to_run",
    "mark_outdated",
    "with_written_part",
    "write_description",
]

logger = logging.getLogger(__name__)

DESCRIBED = ("qwk", "accuracy", "weighted_f1", "mae")
"""Metrics of labels in a description, where they were measured."""

LONGEST = 4_900
"""Characters of a description; a database keeps 5,000."""

BEGIN = "<!-- luthier, run {run_id}: write above or below this part, which is replaced by newer figures -->"
END = "<!-- luthier, end -->"
WRITTEN = re.compile(
    r"<!-- luthier, run (?P<run_id>\w*):[^\n]*-->\n(?P<body>(?:(?!<!-- luthier, run ).)*?)\n<!-- luthier, end -->", re.S
)

UNMARKED = re.compile(
    r"\A(?P<body>.+ \(.+\) answers .+, from .+\.\n\n(?:Measured on [\d,]+ rows: .+\.|Not measured yet: .+\.))"
)
"""What earlier Luthiers wrote, without comments around it."""

OUTDATED = "**Newer figures exist.**"


def described_metrics(task: Task, metrics: Mapping[str, Interval]) -> str:
    """The metrics that a description has room for, with their intervals; empty where none was measured."""
    measures = measures_of(task)
    names = DESCRIBED if task.labels else task.kind.headline or task.kind.metrics
    return ", ".join(
        f"{measures[name].title} {interval(metrics[name], measures[name].format)}" for name in names if name in metrics
    )


def with_written_part(description: str, body: str, run_id: str) -> str:
    """The description with its written part replaced, or put beneath it where it has none.

    Args:
        description: as it is; what people wrote stays.
        body: Markdown, cut after a whole line where the description would be too long for a store.
        run_id: the run that measured what `body` says.

    Examples:
        >>> first = with_written_part("Ask Ann first.", "Accuracy .80", "a1")
        >>> again = with_written_part(first, "Accuracy .90", "b2")
        >>> again.startswith("Ask Ann first."), "b2" in again, "Accuracy .90" in again, ".80" in again
        (True, True, True, False)
    """
    found = _written(description)
    before, after = (description.rstrip(), "") if found is None else _around(description, found)
    head = BEGIN.format(run_id=run_id)
    # Line breaks and blank lines around the part.
    room = LONGEST - sum(map(len, (before, after, head, END))) - 10
    kept: list[str] = []
    for line in body.split("\n"):
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    part = "\n".join((head, *kept, END))
    return "\n\n".join(text for text in (before, part, after) if text)


def write_description(name: str, version: str, body: str, run_id: str) -> None:
    """Replaces the written part of a registered version's description.

    Args:
        name: registered model.
        version: its version.
        body: Markdown.
        run_id: the run that measured what it says.
    """
    import mlflow

    client = mlflow.MlflowClient()
    before = client.get_model_version(name, version).description or ""
    client.update_model_version(name, version, with_written_part(before, body, run_id))


def mark_outdated(task: Task, fitted_digest: str, run_id: str) -> tuple[str, ...]:
    """Says in the description of every version that holds what a run measured that this run has newer figures.

    A description stays as it is where it was written from this run, or from one that measured the same on the same
    rows. A store that cannot tell is warned of, as the run itself is complete.

    Args:
        task: the question.
        fitted_digest: of what was measured.
        run_id: the run that measured it.

    Returns:
        The versions whose description was changed, as `NAME/VERSION`.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    changed = []
    try:
        versions = client.search_model_versions(f"tags.`{TAGS['fitted_digest']}` = '{fitted_digest}'")
        run = client.get_run(run_id) if versions else None
        for version in versions:
            assert run is not None
            found = _written(version.description or "")
            if found is None:
                continue
            older_id = _run_of(found, version)
            older = _run(older_id)
            same_rows = older is not None and _rows_of(older) == _rows_of(run)
            if older_id == run_id or (same_rows and older is not None and _same_figures(task, run, older)):
                continue
            body = found["body"]
            if body.startswith(OUTDATED):
                body = body.partition("\n\n")[2]
            said = f"{_newer(task, run, same_rows, version)}\n\n{body}"
            client.update_model_version(
                version.name, version.version, with_written_part(version.description, said, older_id)
            )
            changed.append(f"{version.name}/{version.version}")
    except MlflowException as error:
        logger.warning("descriptions of registered versions may show older figures: %s", error.message.splitlines()[0])
    return tuple(changed)


def link_to_run(run: Run, text: str) -> str:
    """A link that MLflow's own pages follow."""
    return f"[{escaped(text)}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"


def intervals_of(metrics: Mapping[str, float]) -> dict[str, Interval]:
    """The metrics of a run with their bounds."""
    return {
        name: Interval(value, metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
        for name, value in metrics.items()
        if not name.endswith(("_low", "_high"))
    }


def _written(description: str) -> re.Match[str] | None:
    return WRITTEN.search(description) or UNMARKED.match(description)


def _around(description: str, found: re.Match[str]) -> tuple[str, str]:
    return description[: found.start()].strip(), description[found.end() :].strip()


def _run_of(found: re.Match[str], version: ModelVersion) -> str:
    """The run that a description was written from; the version's own for one of an earlier Luthier."""
    return found.groupdict().get("run_id") or version.run_id or ""


def _rows_of(run: Run) -> str | None:
    return tag_of(run.data.tags, "test_digest")


def _same_figures(task: Task, run: Run, older: Run) -> bool:
    """Whether two runs on the same rows measured the same; time and money may differ."""
    mine, theirs = run.data.metrics, older.data.metrics
    shared = [name for name in task.kind.metrics if name in mine and name in theirs]
    return bool(shared) and all(abs(mine[name] - theirs[name]) < 1e-9 for name in shared)


def _run(run_id: str) -> Run | None:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.MlflowClient().get_run(run_id) if run_id else None
    except MlflowException:
        # Deleted for good: nothing is known of what it measured.
        return None


def _newer(task: Task, run: Run, same_rows: bool, version: ModelVersion) -> str:
    metrics = run.data.metrics
    day = datetime.fromtimestamp(run.info.start_time / 1000, UTC).date()
    figures = described_metrics(task, intervals_of(metrics))
    return (
        f"{OUTDATED} {link_to_run(run, run.info.run_name)} of {day} measured {int(metrics.get('rows_evaluated', 0)):,} "
        f"rows of {'the same' if same_rows else 'other'} data: {figures or 'no metrics'}. What follows is older; "
        f"renew it with: luthier rai models:/{escaped(version.name)}/{version.version} --test TABLE"
    )
