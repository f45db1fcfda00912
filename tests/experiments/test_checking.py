"""Checking specs before anything is paid."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from luthier.endpoints import Endpoint, Price, compatible
from luthier.experiments.checking import check_specs
from luthier.tasks.task import Task
from luthier.techniques import Baseline, Prompt
from luthier_local import LocalServer
from tests.replies.test_common_cause import GOOD
from tests.scripted_server import Refused, serving

FREE = Price(input_usd_per_million=0, output_usd_per_million=0)


def test_specs_that_ask_alike_are_asked_about_once(task: Task, endpoint: Endpoint, server: LocalServer) -> None:
    templates = ("Stars: {{ text }}", "Rate it. {{ text }}", "{{ text }} Stars?")
    scored = [Prompt(task, template, answer="score", endpoint=endpoint) for template in templates]
    written = Prompt(task, templates[0], answer="text", endpoint=endpoint)
    found = check_specs([*scored, written, Baseline(task)])
    assert [one.ok for one in found] == [True] * 5
    assert found[0].findings == found[1].findings == found[2].findings
    assert server.received.by_path["chat/completions"] == 2


@pytest.mark.parametrize(
    ("refused", "message", "settings", "what", "cure"),
    [
        ('"system"', "System role not supported", {"system": "Be brief."}, "system turn", "prompt.system"),
        ('"json_schema"', "json_schema is not supported", {"answer": "json"}, "JSON schema", "answer: {method: text}"),
        ('"assistant"', "roles must alternate", {"examples": 2}, "system turn", "prompt.template"),
    ],
)
def test_what_the_spec_will_send_is_tried_first(
    task: Task, refused: str, message: str, settings: dict[str, Any], what: str, cure: str
) -> None:
    def answer(sent: bytes) -> str:
        if refused in sent.decode():
            raise Refused(400, json.dumps({"error": {"message": message}}))
        return GOOD

    with serving(200, answer) as url:
        spec = Prompt(task, "{{ text }}", endpoint=compatible("m", url, price=FREE), **{"answer": "text", **settings})
        (found,) = check_specs([spec])
    failed = next(finding for finding in found.findings if finding.ok is False)
    assert failed.what == what
    assert cure in failed.cure


def test_each_of_several_endpoints_is_tried(task: Task, endpoint: Endpoint, server: LocalServer) -> None:
    other = endpoint.model_copy(update={"model": "no-such-model", "weight": 3.0})
    (found,) = check_specs([Prompt(task, "{{ text }}", endpoints=[endpoint, other])])
    places = [finding.detail for finding in found.findings if finding.what == "endpoint"]
    assert places == [f"stars-model at {server.base_url}, weight 1", f"no-such-model at {server.base_url}, weight 3"]
    failed = [finding for finding in found.findings if finding.ok is False]
    assert len(failed) == 1
    assert "no-such-model" in failed[0].cure


def test_a_package_that_judging_takes_is_looked_for_too(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    texts = Task("reply", type="generation", label="reply")
    (found,) = check_specs([Prompt(texts, "{{ text }}", endpoint=endpoint)])
    assert not found.ok
    assert "pip install 'luthier[generation]'" in next(one.detail for one in found.findings if one.what == "metrics")
