"""The dashboard of errors in a real browser, made by the real program."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from luthier.evaluation.cohorts import Cohort, Filter
from luthier.evaluation.resampling import Interval
from luthier.evaluation.text_features import text_features
from luthier.reporting.html import write_page
from luthier.reporting.table import Page, Section
from luthier.responsible_ai.dashboard_input import write_dashboard_input
from luthier.responsible_ai.dashboard_page import dashboard_sections
from luthier.responsible_ai.dashboard_server import DashboardServer
from luthier.responsible_ai.isolated_program import run_isolated
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task
from tests.browser import browser_page
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

MARK = "document.documentElement.setAttribute('data-pwned','yes')"
PLANTED = "' or @pd.io.common.os.system('touch planted') or '"
HOSTILE = (
    "`${" + MARK + "}`",
    f"</script><script>{MARK}</script>",
    "<!--<script>",
    "]]>",
    "\u202eturned\x00\x07",
    f'<img src=x onerror="{MARK}">',
    PLANTED,
    "café “quoted” \\ back",
)
TREE = "document.querySelectorAll('circle').length > 3"


def given(
    folder: Path,
    rows: int,
    labels: Sequence[str],
    *,
    wrong: float = 0.4,
    columns: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """The folder for rows of made-up words; the first two rows are refused."""
    drawn = random.Random(3)
    task = Task("moods", label="mood", labels=list(labels))
    truths = [drawn.choice(labels) for _ in range(rows)]
    texts = [" ".join(drawn.choices(["good", "bad!", "not", "Soup", "7"], k=drawn.randint(1, 40))) for _ in truths]
    told = [drawn.choice(labels) if drawn.random() < wrong else truth for truth in truths]
    flat = 0.3 / max(1, len(labels) - 1)
    predictions = [
        Prediction(one, "ok", tuple(0.7 if label == one else flat for label in labels))
        if place > 1
        else Prediction(None, "refused")
        for place, one in enumerate(told)
    ]
    table = pd.DataFrame({"text": texts, "mood": truths, **(columns or {})})
    write_dashboard_input(folder, task, task.rows(table, labelled=True), predictions, text_features(texts), **more)
    return folder


def long_texts() -> Cohort:
    some = Interval(0.5, 0.4, 0.6)
    return Cohort((Filter("words", ">", 20.0),), 50, 0.5, some, some, some, 0.01, 0.01, True)


@pytest.fixture(scope="module")
def hostile(isolated_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table where every text that can come from outside attacks."""
    columns = {"region": [*HOSTILE] * 30, **{f"c {one}": ["u", "v"] * 120 for one in HOSTILE}}
    labels = [f"label {one}" for one in HOSTILE]
    folder = tmp_path_factory.mktemp("hostile") / "input"
    return given(folder, 240, labels, columns=columns, sensitive=["region"], cohorts=[long_texts()])


def built(python: Path, folder: Path, output: Path) -> Path:
    """The page that the program's parts make."""
    run_isolated(python, "build", folder, output, progress=None)
    sections = (Section("Scorecard", ("first",)), *dashboard_sections(output))
    return write_page(Page("moods", "", (), sections), output / "page.html")


async def test_the_saved_page_answers_offline_and_runs_nothing_of_strangers(
    isolated_python: Path, hostile: Path, tmp_path: Path
) -> None:
    file = built(isolated_python, hostile, tmp_path / "output")
    assert file.stat().st_size < 12_000_000
    async with browser_page(tmp_path) as page:
        await page.open(file.as_uri())
        await page.value("document.querySelector('iframe').scrollIntoView()")
        await page.until(TREE, 0)
        await page.click_text("Switch cohort", 0)
        await page.click("document.querySelector('.ms-Modal [role=combobox]')", 0)
        await page.click_text("words > 20", 0, "[role=option], [role=option] *")
        await page.until("document.querySelector('.ms-Modal [role=combobox]').textContent.includes('words > 20')", 0)
        await page.click_text("Apply", 0)
        await page.until("document.body.innerText.includes('Global cohort: words > 20')", 0)
        await page.until(TREE, 0)
        await page.click_text("Data balance", 0, "[role=tab], [role=tab] *")
        await page.until("document.body.innerText.includes('Feature balance measures')", 0)
        await page.click_text("Heat map", 0, "[role=tab], [role=tab] *")
        chosen = "document.querySelectorAll('[role=combobox]')"
        await page.click(f"{chosen}[1]", 0)
        await page.click_text("words", 0, "[role=option], [role=option] *")
        await page.until("/\\d%\\n/.test(document.body.innerText)", 0)
        assert await page.value("luthier.unanswered", 0) == []
        await page.click(f"{chosen}[2]", 0)
        await page.click_text("sentences", 0, "[role=option], [role=option] *")
        await page.until("document.body.innerText.includes('does not hold this heat map')", 0)
        for computed in ("Feature list", "Quantile binning", "Macro averaged F1 score"):
            assert not await page.value(f"document.body.innerText.includes({computed!r})", 0)
        shown = await page.value("JSON.stringify(luthier.data.dataset.class_names)", 0)
        assert json.loads(shown)[:-1] == [f"label {one}" for one in HOSTILE]
        for frame in (None, 0):
            assert await page.value("document.documentElement.dataset.pwned ?? 'no'", frame) == "no"
        assert page.asked == []
        # Highcharts says so where it takes a tag out of a name.
        assert [line for line in page.console if "Invalid tagName" not in line] == []


async def test_the_served_page_computes_any_tree_for_itself_alone(
    isolated_python: Path, hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with DashboardServer(isolated_python, hostile) as server:
        async with browser_page(tmp_path) as page:
            await page.open(server.url)
            await page.until(TREE, 0)
            assert all(address.startswith(server.url) for address in page.asked)
            assert [line for line in page.console if "Invalid tagName" not in line] == []
        body = json.dumps(
            [["words"], [{"arg": [6], "column": "region", "method": "includes"}], [], 3, 31, 2, "Error rate"]
        )

        def asked(**headers: str) -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
            connection.request("POST", "/dashboard/0/tree", body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            return answer.status, json.loads(said) if answer.status == 200 else said

        status, tree = asked()
        assert status == 200 and tree["data"][0]["size"] == 30
        assert asked(Host="attacker.example")[0] == 403
        assert asked(Origin="http://attacker.example")[0] == 403
        assert asked(**{"Content-Type": "text/plain"})[0] == 400
    assert not list(tmp_path.rglob("planted"))


@pytest.mark.parametrize(
    ("rows", "labels", "wrong"),
    [(400, 77, 0.5), (10, 3, 0.0)],
    ids=["77 labels", "ten rows and none wrong"],
)
def test_few_rows_and_many_labels_make_a_dashboard(
    isolated_python: Path, tmp_path: Path, rows: int, labels: int, wrong: float
) -> None:
    folder = given(tmp_path / "input", rows, [f"label {i}" for i in range(labels)], wrong=wrong)
    run_isolated(isolated_python, "build", folder, tmp_path / "output")
    made = json.loads((tmp_path / "output" / "frame-0.json").read_text("utf-8"))
    [tree] = [one["answer"] for one in made["answered"] if one["path"] == "/tree"]
    assert tree[0]["size"] == rows and tree[0]["error"] >= 2
    assert made["data"]["dataset"]["class_names"][-1] == "(no label)"


def test_without_labels_the_dashboard_is_left_out_with_a_reason(isolated_python: Path, tmp_path: Path) -> None:
    task = Task("moods", label="mood", labels=["good", "bad"])
    rows = task.rows(pd.DataFrame({"text": ["a", "b"] * 5}))
    predictions = [Prediction("good", "ok")] * 10
    write_dashboard_input(tmp_path / "input", task, rows, predictions, text_features(["a", "b"] * 5))
    run_isolated(isolated_python, "build", tmp_path / "input", tmp_path / "output")
    [section] = dashboard_sections(tmp_path / "output")
    assert section.title == "Dashboards left out" and "label" in str(section.blocks[0])
