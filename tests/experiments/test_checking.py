"""Checking specs before anything is paid."""

from __future__ import annotations

from luthier.endpoints import Endpoint
from luthier.experiments.checking import check_specs
from luthier.local import LocalServer
from luthier.task import Task
from luthier.techniques import Baseline, Prompt


def test_specs_that_ask_alike_are_asked_about_once(task: Task, endpoint: Endpoint, server: LocalServer) -> None:
    templates = ("Stars: {{ text }}", "Rate it. {{ text }}", "{{ text }} Stars?")
    scored = [Prompt(task, template, answer="score", endpoint=endpoint) for template in templates]
    written = Prompt(task, templates[0], answer="text", endpoint=endpoint)
    found = check_specs([*scored, written, Baseline(task)])
    assert [one.ok for one in found] == [True] * 5
    assert found[0].findings == found[1].findings == found[2].findings
    assert server.received.by_path["chat/completions"] == 2
