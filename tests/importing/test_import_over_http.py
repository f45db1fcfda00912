"""An import into a tracking server of another process."""

from __future__ import annotations

import mlflow
import pytest

from tests.importing.account import Account
from tests.importing.test_import_jobs import by_job, runs, setup
from tests.importing.test_versions import mlflow_server

__all__ = ["mlflow_server"]

pytestmark = pytest.mark.slow


def test_a_tracking_server_has_the_same_runs_as_a_file(account: Account, mlflow_server: str, store: str) -> None:
    names = ["stars-[0-2]", "other-*"]
    setup(account, name=names).run()
    in_file = by_job(runs())
    mlflow.set_tracking_uri(mlflow_server)
    report = setup(account, name=names).run()
    over_http = by_job([run for run in runs() if "luthier.job" in run.data.tags])
    for job, run in in_file.items():
        assert over_http[job].data.metrics == run.data.metrics
        assert over_http[job].data.params == run.data.params
        assert (over_http[job].info.status, over_http[job].info.end_time) == (run.info.status, run.info.end_time)
    assert [item.happened for item in setup(account, name=names).run().items] == ["unchanged"] * len(report.items)
