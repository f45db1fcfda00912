"""What a model did, in MLflow: a scored table or a deployment as a run linked to it.

Loading MLflow takes longer than scoring a small table with a model that calls no endpoint. `log_later` therefore
writes a record of the run to `$LUTHIER_HOME/runs` and starts a background process that writes it into MLflow. A record
is deleted once its run is written; if that fails, the next one tries again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from luthier.errors import UserError
from luthier.evaluation.resampling import plain, record_of
from luthier.evaluation.score_summary import ScoreSummary
from luthier.home import luthier_home
from luthier.outputs import write_file
from luthier.spec import Spec
from luthier.tracking.runs import SCORE, TAGS, run_of, spec_tags, version_of
from luthier.tracking.store_file import registered_version, store_uri
from luthier.tracking.stores import connect, experiment_called

logger = logging.getLogger(__name__)

__all__ = ["ModelRun", "batch_run", "deployment_run", "log_later", "log_model_run", "write_kept_runs"]

OVERDUE_MS = 60_000
"""A record that is still kept after this long could not be written."""

STATUSES = {"finished": "FINISHED", "interrupted": "KILLED", "budget": "KILLED", "failed": "FAILED"}
"""MLflow's words for how a score ended."""

_writers: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ModelRun:
    """What is logged of a batch or a deployment: where, the run, the model, and when, in Unix ms.

    Attributes:
        score: of a batch, its `ScoreSummary` as JSON values.
        status: how the run ended, in MLflow's words.
    """

    store: str
    folder: str
    experiment: str
    name: str
    tags: dict[str, str]
    metrics: dict[str, float]
    params: dict[str, str]
    model_uri: str
    model_id: str | None
    ended: int
    kind: str = "score"
    score: dict[str, Any] | None = None
    status: str = "FINISHED"


def batch_run(
    model_uri: str, model_id: str | None, spec: Spec, metrics: Mapping[str, float], summary: ScoreSummary
) -> ModelRun:
    """The record of a batch that has just ended."""
    source, target = Path(summary.source).name, Path(summary.target).name
    run = _model_run(
        "score", f"score {source}", model_uri, model_id, spec, metrics, {"input": source, "output": target}
    )
    digests = {"input_digest": summary.input_digest, "output_digest": summary.output_digest}
    tags = {TAGS[name]: digest for name, digest in digests.items() if digest}
    return replace(run, score=plain(summary), status=STATUSES[summary.ending], tags=run.tags | tags)


def deployment_run(
    name: str, target: str, model_uri: str, model_id: str | None, spec: Spec, params: Mapping[str, str]
) -> ModelRun:
    """The record of a deployment that has just been made or updated."""
    return _model_run("deploy", f"deploy {name}", model_uri, model_id, spec, {}, {"target": target, **params})


def _model_run(
    kind: str,
    name: str,
    model_uri: str,
    model_id: str | None,
    spec: Spec,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
) -> ModelRun:
    tags = spec_tags(spec) | {"luthier.model_uri": model_uri}
    version = registered_version(model_uri)
    if version is not None:
        tags["luthier.model_version"] = "/".join(version)
    return ModelRun(
        store=store_uri(),
        folder=str(Path.cwd()),
        experiment=spec.task.name,
        name=name,
        tags=tags,
        metrics=dict(metrics),
        params=dict(params),
        model_uri=model_uri,
        model_id=model_id,
        ended=int(time.time() * 1000),
        kind=kind,
    )


def log_model_run(run: ModelRun) -> str:
    """Writes the run; returns its id.

    Raises:
        UserError: the tracking store cannot be reached, or refuses the run.
    """
    import mlflow
    from mlflow.entities import LoggedModelInput, Metric, Param
    from mlflow.exceptions import MlflowException

    connect()
    try:
        tags = dict(run.tags)
        client = mlflow.MlflowClient()
        if "luthier.model_version" not in tags and (version := version_of(run.model_uri)) is not None:
            tags["luthier.model_version"] = "/".join(version)
        with run_of(experiment_called(run.experiment), run.name, run.kind, tags) as made:
            run_id = made.run_id
            client.log_batch(
                run_id,
                metrics=[Metric(name, value, run.ended, 0) for name, value in run.metrics.items()],
                params=[Param(name, value) for name, value in run.params.items()],
            )
            if run.model_id is not None:
                client.log_inputs(run_id, models=[LoggedModelInput(model_id=run.model_id)])
            if run.score is not None:
                summary = record_of(ScoreSummary, run.score)
                made.log_text(json.dumps(run.score, ensure_ascii=False, indent=1), SCORE)
                if summary.input_digest:
                    made.log_dataset(summary.source, summary.input_digest, summary.rows, context="input")
                    made.log_dataset(summary.target, summary.output_digest, summary.rows, context="output")
                # Figures need numpy, which a command that ends first does not wait for.
                from luthier.reporting.score_report import score_page

                made.log_page(score_page(summary))
        if run.status != "FINISHED":
            client.set_terminated(run_id, status=run.status)
        return run_id
    except MlflowException as error:
        raise UserError(f"MLflow at {run.store} refused the run: {error.message}") from error


def log_later(run: ModelRun) -> subprocess.Popen[bytes]:
    """Keeps the record and starts a process that writes it into MLflow; returns that process at once."""
    folder = _kept()
    overdue = [file for file in folder.glob("*.json") if run.ended - int(file.name.split("-")[0]) > OVERDUE_MS]
    if overdue:
        logger.warning(
            "%d earlier runs are not in MLflow yet and are tried again now; %s says why.",
            len(overdue),
            folder / "log",
        )
    write_file(folder / f"{run.ended}-{uuid.uuid4().hex[:8]}.json", json.dumps(asdict(run)))
    with (folder / "log").open("ab") as log:
        writer = subprocess.Popen(
            # -P: nothing is imported from the folder we are in, which may be a stranger's.
            [sys.executable, "-P", "-c", "from luthier.tracking.model_runs import write_kept_runs; write_kept_runs()"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
        )  # fmt: skip
    # It ends by itself. The reference keeps Python from warning about a process that was not waited for.
    _writers.append(writer)
    return writer


def write_kept_runs() -> int:
    """Writes every kept record into its MLflow; returns how many are left because that failed."""
    folder, left = _kept(), 0
    with FileLock(folder / "lock", mode=0o600):
        for file in sorted(folder.glob("*.json")):
            run = ModelRun(**json.loads(file.read_text(encoding="utf-8")))
            if not Path(run.folder).is_dir():
                left += 1
                continue
            # Relative paths in the store's URI start at the folder the command ran in.
            os.chdir(run.folder)
            import mlflow

            mlflow.set_tracking_uri(run.store)
            try:
                log_model_run(run)
            except UserError as error:
                print(f"{file.name}: {error}", file=sys.stderr)
                left += 1
            else:
                file.unlink()
    return left


def _kept() -> Path:
    folder = luthier_home() / "runs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
