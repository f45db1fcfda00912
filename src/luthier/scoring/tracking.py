"""A batch in MLflow: a run linked to the model that answered."""

from __future__ import annotations

from pathlib import Path

from luthier.errors import UserError
from luthier.experiments.tracking import connect, run_of, spec_tags
from luthier.packaging.model import LuthierModel
from luthier.packaging.registry import version_of
from luthier.scoring.batch import BatchReport

__all__ = ["log_batch"]


def log_batch(model_uri: str, model: LuthierModel, report: BatchReport, source: str | Path, target: str | Path) -> str:
    """Logs what a batch came to; returns the run's id.

    Raises:
        UserError: the tracking store is away or refuses the run.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return _logged(model_uri, model, report, source, target)
    except MlflowException as error:
        raise UserError(f"MLflow at {mlflow.get_tracking_uri()} refused the run: {error.message}") from error


def _logged(model_uri: str, model: LuthierModel, report: BatchReport, source: str | Path, target: str | Path) -> str:
    import time

    import mlflow
    from mlflow.entities import LoggedModelInput, Metric, Param

    spec = model.fitted.spec
    experiment_id = connect(spec.task)
    tags = spec_tags(spec) | {"luthier.model_uri": model_uri}
    registered = version_of(model_uri)
    if registered is not None:
        tags["luthier.model_version"] = "/".join(registered)
    client = mlflow.MlflowClient()
    with run_of(experiment_id, f"score {Path(source).name}", "score", tags) as run:
        now = int(time.time() * 1000)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in report.metrics().items()],
            params=[Param("input", Path(source).name), Param("output", Path(target).name)],
        )
        if model.model_id is not None:
            client.log_inputs(run.info.run_id, models=[LoggedModelInput(model_id=model.model_id)])
    run_id: str = run.info.run_id
    return run_id
