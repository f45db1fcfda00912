"""The dashboard and the page about metrics name what a server really has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from luthier.serving.metrics import ServerMetrics
from luthier.serving.served_model import ScoringAnswer, ServedModelFacts
from luthier.serving.served_request import ServedRequest
from tests.conftest import REPOSITORY
from tests.serving.served import WITHOUT_KEY, EchoModel

DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "docs" / "grafana-dashboard.json").read_text())
PAGE = (REPOSITORY / "docs" / "serving-metrics.md").read_text()


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """Names of the samples of a server that has answered, with the names of their labels."""
    model = EchoModel()
    model.facts = ServedModelFacts("models:/stars/3", "stars", "3", labels=("1",), training_labels={"1": 1.0})
    metrics = ServerMetrics(model, WITHOUT_KEY)
    answer = ScoringAnswer([], 1, {"ok": 1}, {"1": 1}, [0.1])
    metrics.observed(ServedRequest("id", "POST", "/invocations", 200, 0.1, answer=answer))
    families = text_string_to_metric_families(metrics.page()[0].decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_panel_asks_the_data_source_that_is_chosen() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    for panel in DASHBOARD["panels"]:
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = {name for expression in expressions() for name in re.findall(r"\$(\w+)", expression)}
    assert used == {"job", "instance", "__rate_interval"}


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_the_dashboard_is_in_a_scrape(expression: str, samples: dict[str, set[str]]) -> None:
    named = re.findall(r"\b((?:luthier|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert named
    labels = set().union(*(samples[name] for name, _ in named))
    for name, selector in named:
        assert set(re.findall(r"(\w+)=", selector)) <= samples[name] | {"job", "instance"}
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {one.strip() for one in grouped.split(",")} <= labels
    assert expression.count("(") == expression.count(")")


def test_the_page_names_every_metric_and_no_other(samples: dict[str, set[str]]) -> None:
    endings = r"_(bucket|count|sum)$"
    there = {re.sub(endings, "", name) for name in samples if name.startswith("luthier_")}
    assert set(re.findall(r"\bluthier_[a-z_]+\b", PAGE)) == there
