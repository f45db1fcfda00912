"""The OpenAPI document and the page of a server: what they show works, and what they hold is safe to show."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.serving.models import open_model
from luthier.serving.openapi import REFUSALS, docs_page, example_rows, openapi_document
from luthier.serving.served_model import ServedModelFacts
from luthier.serving.server import serve_in_background
from luthier.serving.settings import ServerSettings
from luthier.tasks.task import Task
from tests.browser import browser_page
from tests.patience import PATIENCE_SECONDS
from tests.serving.served import WITHOUT_KEY, EchoModel, ask, running

WITH_KEYS = ServerSettings(port=0)
EVIL = "</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}\ud800"


def facts(**given: Any) -> ServedModelFacts:
    return ServedModelFacts(
        **{"uri": "models:/stars/3", "name": "stars", "version": "3", "columns": {"text": "string"}, **given}
    )


def snippet(page: bytes, name: str) -> str:
    found = re.search(rf'<pre id="{name}">(.*?)</pre>', page.decode(), re.S)
    assert found
    return html.unescape(re.sub(r"<[^>]+>", "", found[1]))


@pytest.fixture
def logged(task: Task, endpoint: Endpoint, store: object) -> str:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    return str(lt.log(spec).uri)


def test_a_server_serves_both() -> None:
    with running(EchoModel()) as (_, listening):
        document = ask(listening, "GET", "/openapi.json")
        page = ask(listening, "GET", "/docs")
    assert document.document["info"]["title"] == "stars"
    assert (document.headers["content-type"], page.headers["content-type"]) == (
        "application/json",
        "text/html; charset=utf-8",
    )


def test_every_status_of_a_refusal_is_documented() -> None:
    document = json.loads(openapi_document(facts(), WITH_KEYS)[0])
    said = document["paths"]["/invocations"]["post"]["responses"]
    assert {"200", "400", "401", "402", "413", "415", "429", "500", "502", "503", "504"} <= set(said)
    assert set(said) - {"200"} == {str(status) for status in REFUSALS}


def test_texts_of_rows_are_shown_only_where_no_key_is_needed() -> None:
    known = facts(example=({"text": "the soup was cold"},))
    assert example_rows(known, WITHOUT_KEY) == [{"text": "the soup was cold"}]
    assert example_rows(known, WITH_KEYS) == [{"text": "An example text."}]
    for page in (docs_page(known, WITH_KEYS)[0], openapi_document(known, WITH_KEYS)[0]):
        assert b"soup" not in page


def test_a_key_is_asked_for_where_one_is_needed() -> None:
    for settings, needed in ((WITHOUT_KEY, False), (WITH_KEYS, True)):
        operation = json.loads(openapi_document(facts(), settings)[0])["paths"]["/invocations"]["post"]
        assert ("security" in operation) == needed
        assert (b'id="key"' in docs_page(facts(), settings)[0]) == needed


def test_names_labels_and_rows_of_any_characters_stay_text() -> None:
    strange = facts(
        uri=EVIL, name=EVIL, version=EVIL, columns={EVIL: EVIL}, params={EVIL: EVIL}, outputs={EVIL: EVIL},
        labels=(EVIL,), example=({EVIL: EVIL},),
    )  # fmt: skip
    page = docs_page(strange, WITHOUT_KEY)[0].decode()
    assert "<img" not in page
    assert page.count("</script>") == 1
    assert "49" not in page
    assert json.loads(openapi_document(strange, WITHOUT_KEY)[0])["openapi"] == "3.1.0"


@pytest.mark.slow
async def test_the_page_asks_the_server_and_runs_nothing_else(tmp_path: Path) -> None:
    strange = EchoModel()
    strange.facts = facts(labels=(EVIL,), outputs={"length": "long"}, example=({"text": "it's <b>good</b>"},))
    with serve_in_background(strange, WITHOUT_KEY) as server:
        async with browser_page(tmp_path) as page:
            await page.open(f"{server.url}/docs", width=390)
            assert await page.value("document.documentElement.scrollWidth") == 390
            assert f"curl {server.url}/invocations" in await page.value("document.getElementById('curl').textContent")
            await page.click("document.querySelector('form button')")
            said = await page.until("document.getElementById('answer').textContent", seconds=10)
            assert json.loads(said)["predictions"][0]["length"] == len("it's <b>good</b>")
            assert "Status 200" in await page.value("document.getElementById('status').textContent")
            # The policy of the page lets nothing in that was added to it.
            await page.value(
                "(() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
                " document.body.append(one); })()"
            )
            assert await page.value("window.ran === undefined")
            assert all(address.startswith(server.url) for address in page.asked)


@pytest.mark.slow
async def test_a_key_typed_into_the_page_is_sent_and_kept_nowhere(tmp_path: Path) -> None:
    with serve_in_background(EchoModel(), WITH_KEYS) as server:
        async with browser_page(tmp_path) as page:
            await page.open(f"{server.url}/docs", dark=True)
            await page.click("document.querySelector('form button')")
            await page.until("document.getElementById('status').textContent.includes('401')", seconds=10)
            await page.value(f"document.getElementById('key').value = {json.dumps(server.key)}")
            await page.click("document.querySelector('form button')")
            await page.until("document.getElementById('status').textContent.includes('200')", seconds=10)
            assert await page.value("localStorage.length + sessionStorage.length + document.cookie.length") == 0
            assert not [address for address in page.asked if "lk_" in address]


@pytest.mark.slow
def test_the_snippets_work_as_they_are_pasted(logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a key: curl and Python; without one MLflow's client too.
    for settings in (WITH_KEYS, WITHOUT_KEY):
        with serve_in_background(open_model(logged, settings), settings) as server:
            port = int(server.url.rpartition(":")[2])
            shown = ServerSettings(port=port, without_key=settings.without_key)
            page = docs_page(open_model(logged, settings).facts, shown)[0]
            monkeypatch.setenv("LUTHIER_KEY", server.key or "")
            commands = [["bash", "-c", snippet(page, "curl")], [sys.executable, "-c", snippet(page, "python")]]
            if settings.without_key:
                commands.append([sys.executable, "-c", snippet(page, "mlflow")])
            for command in commands:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
                assert re.search(r"\bok\b", done.stdout), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_answer_that_the_document_does_not_have(logged: str) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed
    from hypothesis import settings as bounded
    from schemathesis.checks import negative_data_rejection, not_a_server_error

    cases = 0
    with serve_in_background(open_model(logged, WITHOUT_KEY), WITHOUT_KEY) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                if mode is schemathesis.GenerationMode.NEGATIVE and operation.method != "post":
                    continue

                @seed(11)
                @bounded(
                    max_examples=50 if operation.method == "post" else 5,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def check(case: Any) -> None:
                    nonlocal cases
                    cases += 1
                    reply = case.call(timeout=PATIENCE_SECONDS)
                    # A deadline of a microsecond is over (504), and the model's service may refuse a request (502).
                    # MLflow's protocol takes more forms than the document shows, such as a plain list of texts.
                    case.validate_response(reply, excluded_checks=[not_a_server_error, negative_data_rejection])
                    assert reply.status_code != 500

                check()
    assert cases >= 100, cases
