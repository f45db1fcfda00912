from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import mlflow
import pytest

from luthier.reporting.charts.chart import Axis, Chart, Confusion, Dots
from luthier.reporting.table import Fold, Page, Section
from luthier.tracking.runs import run_of


@pytest.mark.usefixtures("store")
def test_the_page_of_a_run_is_kept_with_each_figure_as_a_file_that_mlflow_shows() -> None:
    dots = Chart("", "Two points.", Axis("x"), Axis("y"), (Dots((0.0, 1.0), (0.0, 1.0)),))
    folded = Fold("../<b>few-shot</b>", (Confusion("", "One row.", ("a", "b"), ((1, 0, 0), (0, 1, 0))),))
    page = Page("Board", "", (), (Section("Confusion", (folded,)), Section("Cost and quality", (dots,))))
    with run_of("0", "compare", "compare", {}) as run:
        run.log_page(page)
    client = mlflow.MlflowClient()
    names = [Path(one.path).name for one in client.list_artifacts(run.run_id, "charts")]
    assert names == ["confusion-b-few-shot-b.svg", "cost-and-quality.svg"]
    assert any(one.path == "report.html" for one in client.list_artifacts(run.run_id))
    for name in names:
        file = mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path=f"charts/{name}")
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
