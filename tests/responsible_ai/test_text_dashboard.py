"""The dashboard of explained rows, made in its environment and drawn by a browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Engine
from luthier.evaluation.explanations import Explanation
from luthier.evaluation.text_features import text_features
from luthier.responsible_ai.dashboard_input import write_dashboard_input
from luthier.responsible_ai.explanations import ChosenRow, ExplainedRows
from luthier.responsible_ai.isolated_program import run_isolated
from luthier.spec import Fitted
from luthier.tasks.task import Task
from tests.reporting.conftest import Opened, chromium

__all__ = ["chromium"]

pytestmark = pytest.mark.slow

TEXTS = [
    "We came at noon. The food was terrible awful. They have parking. The music was great.",
    "terrible",
    "很好吃。服务太慢了！下次不来",
    "Never again! 😡😡 Bad.",
    "שלום. האוכל bad!",
    'Bad ` ${document.title="run"} </script><script>document.title="run"</script>! <img src=x onerror=alert(1)> Good!',
    "The food was great wonderful. The room was awful, dark and cold. " * 310,
]

RED, BLUE, PLAIN = "rgb(164, 38, 44)", "rgb(0, 120, 212)", "rgba(0, 0, 0, 0)"

DRIVER = """
addEventListener("load", async () => {
  const wait = () => new Promise((done) => setTimeout(done, 300));
  const colour = (one) => getComputedStyle(one).backgroundColor;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (let tries = 0; tries < 20 && !document.querySelector("#IndividualFeatureImportanceView"); tries++) await wait();
  const found = {};
  for (const row of all("#IndividualFeatureImportanceView [role=row]")) {
    const check = row.querySelector("[data-automationid=DetailsRowCheck]");
    if (!check) continue;
    check.click();
    await wait();
    const cells = all("[role=gridcell]", row).map((cell) => cell.textContent);
    found[cells[COLUMN]] = {
      passages: all("#TextHighlighting span").map((one) => [one.textContent, one.title, colour(one)]),
      listed: all("#TextExplanationChart .highcharts-xaxis-labels text").map((one) => one.textContent),
      view: document.querySelector("#IndividualFeatureImportanceView").textContent,
    };
  }
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify([found, document.title]);
});
"""


@pytest.fixture
def explained(task: Task, engine: Engine, train: pd.DataFrame, tmp_path: Path) -> tuple[Path, tuple[Explanation, ...]]:
    """The folder that the program reads, and the explanations in it; every row is wrong, so that one list has all."""
    fitted: Fitted = engine.drive(lt.Baseline(task).fit(task.rows(train, labelled=True)), None)
    predictions = engine.drive(fitted.predict(task.rows(pd.DataFrame({"text": TEXTS}))), None)
    wrong = ["1" if prediction.value != "1" else "2" for prediction in predictions]
    rows = task.rows(pd.DataFrame({"text": TEXTS, "stars": wrong}))
    asked = ExplainedRows(task, rows, [ChosenRow(place, "far miss") for place in range(len(TEXTS))])
    explanations = asked.explanations(predictions, engine.drive(fitted.predict(asked.rows), None))
    folder = tmp_path / "input"
    write_dashboard_input(folder, task, rows, predictions, text_features(TEXTS), explanations=explanations)
    return folder, explanations


def test_each_row_shows_its_own_passages_with_their_sign_and_nothing_runs(
    explained: tuple[Path, tuple[Explanation, ...]],
    isolated_python: Path,
    chromium: Callable[[Path], Opened],
    tmp_path: Path,
) -> None:
    folder, explanations = explained
    output = tmp_path / "output"
    run_isolated(isolated_python, "build", folder, output)
    frame = json.loads((output / "dashboards.json").read_text())["frames"][-1]
    assert frame["title"] == "Texts, passage by passage"
    data = (output / frame["data"]).read_text()
    page = tmp_path / "frame.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><title>calm</title><body>'
        f'<script type="application/json" id="given">{data}</script><script>{DRIVER.replace("COLUMN", "5")}</script>'
        f"<script>{(output / 'frame.js').read_text()}</script></body>"
    )
    opened = chromium(page)
    written = re.search(r'<pre id="found">(.*?)</pre>', opened.document, re.DOTALL)
    assert written is not None, opened.console
    shown, title = json.loads(html.unescape(written[1]))
    assert title == "calm"
    assert len(shown) == len(TEXTS)
    for one in explanations:
        row = shown[str(one.row)]
        weights = np.array(one.for_prediction, dtype=float).round(4)
        assert [passage for passage, _, _ in row["passages"]] == list(one.passages)
        assert [float(weight) for _, weight, _ in row["passages"]] == pytest.approx(weights)
        for (_, _, colour), weight in zip(row["passages"], weights, strict=True):
            assert colour in {1: (RED, PLAIN), -1: (BLUE, PLAIN), 0: (PLAIN,)}[int(np.sign(weight))]
        assert f"Label: {one.prediction}" in row["view"]
        strongest = int(np.abs(weights).argmax())
        if weights.any():
            assert row["passages"][strongest][2] in (RED, BLUE)
            assert one.passages[strongest].startswith(row["listed"][0][:20].strip())
    assert sum(bool(shown[str(one.row)]["listed"]) for one in explanations) > 3
