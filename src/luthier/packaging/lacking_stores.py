"""MLflow stores that lack something newer, such as Azure ML's: what is missing, and how a model is logged there."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.packaging import flavor
from luthier.packaging.recorded_answers import RecordedAnswers
from luthier.spec import Fitted

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.exceptions import MlflowException

__all__ = ["is_lacking", "log_into_run"]

LACKING = (404, 405, 501)
"""Statuses with which a server says that it does not know a path."""


def is_lacking(error: MlflowException) -> bool:
    """Whether a store says that it has no such interface at all, rather than no such thing."""
    return error.error_code in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED") or (
        error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") and error.get_http_status_code() in LACKING
    )


def log_into_run(
    fitted: Fitted,
    run_id: str,
    tags: Mapping[str, str],
    example: pd.DataFrame | None = None,
    recorded: RecordedAnswers | None = None,
) -> str:
    """Writes a model into the artifacts of its run, as MLflow did before it had logged models; returns its URI."""
    import mlflow
    from mlflow.models import Model

    # Of each recipe its own folder: artifacts of a run are never replaced.
    path = f"model-{fitted.digest[:12]}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        flavor.save_model(
            folder,
            fitted,
            example,
            mlflow_model=Model(artifact_path=path, run_id=run_id, metadata={"luthier": dict(tags)}),
            recorded=recorded or RecordedAnswers(),
        )
        mlflow.MlflowClient().log_artifacts(run_id, str(folder), path)
    return f"runs:/{run_id}/{path}"
