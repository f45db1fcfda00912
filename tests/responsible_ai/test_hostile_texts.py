"""Everything that strangers write, made to attack: through `luthier rai` to every place where it is shown."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
import zlib
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.reporting.html import fragment, framed
from luthier.reporting.scorecard_report import scorecard_sections
from luthier.tasks.task import Task
from tests.browser import BrowserPage, browser_page
from tests.cli.conftest import Run, run
from tests.conftest import KEY
from tests.patience import PATIENCE_SECONDS
from tests.scripted_server import serving

__all__ = ["run"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store")]

RUN = "document.documentElement.dataset.ran=1"
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b31m\r\x08"

ATTACKS = (
    f"</script><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"`${{{RUN}}}` ${{alert(1)}} `);{RUN}//",
    f"'-({RUN})-' \"-({RUN})-\" \\",
    f"<!--<script>{RUN}</script>--> ]]> <![CDATA[",
    f"{{{{7*7}}}} {{% raw %}} {{{{constructor.constructor('{RUN}')()}}}} #{{7*7}}",
    f"</style></title></textarea></template><svg onload={RUN}>",
    f'"\'><iframe srcdoc="<script>parent.{RUN};top.{RUN}</script>"></iframe>',
    f'<a href="javascript:{RUN}">x</a><base href=//x><meta http-equiv=refresh content=0;url=javascript:{RUN}>',
    "a\u2028b\u2029c\u202ebackwards\u2066\u200f\ufeff\u0000\ud800\udfff\U000e0041",
    f"one{ESCAPES}",
    "Z" + "\u0301\u0489" * 4000,
    "__proto__ constructor hasOwnProperty",
    '=HYPERLINK("http://x") | [x](javascript:x) ![y](http://y/z.png) **b** # h',
    "__rai_app_id__ __rai_config__ __rai_model_data__ \\u003cscript\\u003e %3Cscript%3E &lt;script&gt;",
)
LABELS = [f"</script><script>{RUN}</script>", f"`${{{RUN}}}`", f"<img src=x onerror={RUN}> {ESCAPES[:5]}\u202e"]
COLUMN = f"`${{{RUN}}}`</script><img src=x onerror={RUN}>\x1b[31m\u202e"


def hostile_table(url: str) -> pd.DataFrame:
    """Rows in which every text, label, name and value attacks."""
    attacks = [*ATTACKS, f'<img src="{url}/a"><link rel=stylesheet href="{url}/b"><script src="{url}/c"></script>']
    texts = [f"{place} {attacks[place % len(attacks)]} words. More" for place in range(120)]
    texts[17:20] = ["Long. " + (attacks[0] + " ") * 16_000, "", "<"]
    columns = {
        "text": texts,
        "label": [LABELS[place % 3] for place in range(120)],
        COLUMN: [attacks[place * 7 % 3] for place in range(120)],
        "__proto__": [attacks[(1, 9, 10)[place % 3]] for place in range(120)],
    }
    return pd.DataFrame(columns, dtype=object)  # texts of pandas' own cannot hold half a character


def answer_to(asked: bytes) -> str:
    """A label or an attack, by what is asked."""
    drawn = zlib.crc32(asked)
    said = ATTACKS[drawn % len(ATTACKS)] if drawn % 5 == 0 else LABELS[drawn % 3]
    return json.dumps({"model": "m", "choices": [{"message": {"role": "assistant", "content": said}}]})


def assert_harmless(text: str) -> None:
    assert text and not [one for one in text if unicodedata.category(one) in ("Cc", "Cs", "Cf") and one not in "\n\t"]


async def drawn(page: BrowserPage, script: str, count: int) -> None:
    """Waits until an expression is true in so many frames of the page."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum([bool(await page.value(script, frame)) for frame in range(3)]) < count:
            await asyncio.sleep(0.1)


async def look(page: BrowserPage, address: str, dashboards: int, within: int | None) -> None:
    """Draws every dashboard of a page; no script of a stranger has run."""
    await page.open(address)
    await page.until("document.querySelectorAll('iframe.dashboard').length > 1", within)
    for place in range(dashboards):
        await page.value(f"document.querySelectorAll('iframe.dashboard')[{place}].scrollIntoView()", within)
        await drawn(page, "document.body.innerText.includes('Global cohort: All data')", place + 1)
    await drawn(page, "document.querySelectorAll('circle').length > 3", 1)
    for frame in (None, 0, 1, 2):
        assert await page.value("document.documentElement.dataset.ran", frame) is None
    # The browser names attributes that the widget's parser met and dropped, and Highcharts what it drops itself.
    assert [line for line in page.console if "inline event handler" not in line and "Highcharts" not in line] == []


async def test_nothing_that_strangers_write_runs_or_is_lost(
    run: Run, isolated_python: Path, witness: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = witness
    monkeypatch.setenv("STARS_KEY", KEY)
    table = hostile_table(url)
    name = "<b>`${1}`.jsonl"
    Path(name).write_text("".join(f"{json.dumps(one)}\n" for one in table.to_dict("records")), "utf-8")
    task = Task("hostile", type="classification", text="text", label="label", labels=LABELS)
    with serving(200, answer_to) as server:
        endpoint = Endpoint(provider="compatible", base_url=server, model=ATTACKS[0], api_key_env="STARS_KEY")
        spec = lt.Prompt(task, "{{ text }} " + ATTACKS[0] + ATTACKS[2], endpoint=endpoint, answer="text", name="p")
        lt.log(spec, register="reg", alias="a")
        client = mlflow.MlflowClient()
        client.update_registered_model("reg", description=ATTACKS[0] + ATTACKS[1] + ATTACKS[-2] + ESCAPES)
        words = ("models:/reg@a", "--test", name, "--sensitive", COLUMN)
        ended = run("rai", *words, "--explain", 2, "--perturb", 2, "--html", "page.html", "--yes")
        assert ended.code == 0, ended.err[-3000:]
        report = lt.rai("models:/reg@a", name, sensitive=[COLUMN])
    assert_harmless(ended.out)
    assert_harmless(ended.err)
    described = client.get_model_version("reg", "1").description
    for markdown in (described, mlflow.artifacts.load_text(f"runs:/{report.run_id}/scorecard.md")):
        assert_harmless(markdown)
        assert "<img" not in markdown and "<script" not in markdown
        assert not re.search(r"[^\\]\]\(\w", markdown)
    json.dumps(report.scorecard.to_document(), allow_nan=False).encode()
    file = mlflow.artifacts.download_artifacts(run_id=report.run_id, artifact_path="predictions.parquet")
    kept = pd.read_parquet(file)
    assert len(kept) == 120 and kept["text"][0] == table["text"][0]

    saved = Path("page.html").read_text("utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", saved, count=1)
    assert bare != saved
    # In the notebook nothing but escaping and the sandbox are in the way.
    bare = re.sub(r'data-policy="[^"]*"', 'data-policy="img-src data:"', bare)
    notebook = fragment(*scorecard_sections(report.scorecard)) + framed(bare)
    Path("notebook.html").write_text(f"<!doctype html><meta charset=utf-8>{notebook}", "utf-8")
    for name, within in (("page.html", None), ("notebook.html", 0)):
        async with browser_page(tmp_path) as page:
            await look(page, Path(name).resolve().as_uri(), 2, within)
            assert page.asked == []
    assert asked == []
