"""What is logged of a run, by several processes at once too."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pandas as pd
import pytest

from luthier.tracking.runs import MlflowRun, begin_run
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("store")


def test_runs_that_log_the_same_table_at_once_all_have_it() -> None:
    # Trials of a sweep are measured side by side; MLflow adds a dataset that it has just not found.
    experiment = mlflow.create_experiment("at once")
    runs = [begin_run(experiment, f"trial {number}", "trial", {}) for number in range(8)]
    for seed in range(6):
        table = reviews(20, seed=seed)
        start = threading.Barrier(len(runs))

        def log(run: MlflowRun, table: pd.DataFrame = table, start: threading.Barrier = start) -> None:
            start.wait(PATIENCE_SECONDS)
            run.log_table(table, name="selection", context="test", targets="stars")

        with ThreadPoolExecutor(len(runs)) as threads:
            list(threads.map(log, runs))
    for run in runs:
        assert len(mlflow.get_run(run.run_id).inputs.dataset_inputs) == 6
