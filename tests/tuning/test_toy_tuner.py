"""The service that docs/tune.md adds in forty lines is one: tune, watch, find again."""

from __future__ import annotations

import mlflow
import pytest

from luthier.tuning.job_runs import tune_runs
from tests.conftest import REPOSITORY
from tests.docs.pages import blocks


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_the_service_in_the_page_is_tuned_at() -> None:
    (source,) = blocks(REPOSITORY / "docs" / "tune.md", "python run")
    exec(compile(source, "docs/tune.md", "exec"), {"__name__": "__main__"})
    (run,) = tune_runs()
    assert run.status == "FINISHED"
    points = mlflow.MlflowClient().get_metric_history(run.run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 2.0), (2, 1.0)]
