"""What Prometheus reads of a server."""

from __future__ import annotations

import math
import re

from prometheus_client.parser import text_string_to_metric_families

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.packaging.serving_engine import ServingEngine
from luthier.serving.luthier_served import LuthierServed
from luthier.serving.metrics import MOST_LABELS, ServerMetrics
from luthier.serving.served_model import PaidCalls, ScoringAnswer, ServedModelFacts
from luthier.serving.served_request import ServedRequest
from luthier.spec import Fitted
from tests.conftest import stars
from tests.serving.served import WITHOUT_KEY, EchoModel, ask, running


def scraped(metrics: ServerMetrics) -> dict[str, float]:
    """Every sample of the page, by its name and its labels' values."""
    return samples_of(metrics.page()[0])


def samples_of(page: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def of_model(**facts: object) -> ServerMetrics:
    model = EchoModel()
    model.facts = ServedModelFacts("models:/stars/3", "stars", "3", **facts)  # type: ignore[arg-type]
    return ServerMetrics(model, WITHOUT_KEY, revision=7)


def request(answer: ScoringAnswer | None = None, status: int = 200, path: str = "/invocations") -> ServedRequest:
    return ServedRequest("id", "POST", path, status, 0.2, answer=answer)


def test_rows_labels_and_times_of_answers_are_added_up() -> None:
    metrics = of_model(labels=("1", "2"))
    answer = ScoringAnswer([], 3, {"ok": 2, "failed": 1}, {"1": 2}, [0.1, 0.4])
    for _ in range(2):
        metrics.began("/invocations")
        metrics.observed(request(answer))
    found = scraped(metrics)
    assert found["luthier_requests_total /invocations 200"] == 2
    assert (found["luthier_rows_total ok"], found["luthier_rows_total failed"]) == (4, 2)
    assert (found["luthier_label_rows_total 1"], found["luthier_label_rows_total 2"]) == (4, 0)
    assert found["luthier_upstream_duration_seconds_count"] == 4
    assert math.isclose(found["luthier_upstream_duration_seconds_sum"], 1.0)
    assert math.isclose(found["luthier_request_duration_seconds_sum"], 0.4)


def test_what_calls_took_is_read_at_each_scrape_and_what_is_not_known_is_not_shown_as_zero() -> None:
    model = EchoModel()
    metrics = ServerMetrics(model, WITHOUT_KEY)
    model.paid_calls = PaidCalls(200, 14, 0.5, 1)
    found = scraped(metrics)
    assert (found["luthier_tokens_total input"], found["luthier_tokens_total output"]) == (200, 14)
    assert (found["luthier_cost_usd_total"], found["luthier_unpriced_calls_total"]) == (0.5, 1)
    model.paid_calls = None
    assert not {"luthier_cost_usd_total", "luthier_unpriced_calls_total"} & scraped(metrics).keys()


def test_requests_are_in_flight_from_their_headers_to_their_answer() -> None:
    metrics = of_model()
    for path in ("/invocations", "/invocations", "/ping"):
        metrics.began(path)
    assert scraped(metrics)["luthier_in_flight_requests"] == 2
    metrics.observed(request(status=499))
    metrics.observed(request(status=200, path="/ping"))
    assert scraped(metrics)["luthier_in_flight_requests"] == 1
    assert scraped(metrics)["luthier_request_duration_seconds_count"] == 1


def test_a_task_of_a_thousand_labels_is_counted_in_51_series_of_which_one_is_the_rest() -> None:
    labels = tuple(f"label {number}" for number in range(1000))
    training = {label: (number + 1) / 500_500 for number, label in enumerate(labels)}
    metrics = of_model(labels=labels, training_labels=training)
    metrics.observed(request(ScoringAnswer([], 1000, {"ok": 1000}, dict.fromkeys(labels, 1))))
    found = scraped(metrics)
    rows = {name: value for name, value in found.items() if name.startswith("luthier_label_rows_total")}
    shares = {name: value for name, value in found.items() if name.startswith("luthier_training_label_share")}
    assert len(rows) == len(shares) == MOST_LABELS + 1
    assert rows["luthier_label_rows_total other"] == 1000 - MOST_LABELS
    assert rows["luthier_label_rows_total label 999"] == 1
    assert math.isclose(sum(shares.values()), 1.0)


def test_labels_of_any_characters_leave_the_page_readable() -> None:
    strange = ('a"b', "line\nend", "back\\slash", "half \ud800", "🙂", "")
    metrics = of_model(labels=strange, training_labels=dict.fromkeys(strange, 1 / 6))
    metrics.observed(request(ScoringAnswer([], 6, {"ok": 6}, dict.fromkeys(strange, 1))))
    found = scraped(metrics)
    assert sum(value for name, value in found.items() if name.startswith("luthier_label_rows_total")) == 6


def test_readiness_is_read_at_each_scrape() -> None:
    model = EchoModel()
    metrics = ServerMetrics(model, WITHOUT_KEY)
    assert scraped(metrics)["luthier_ready"] == 1
    model.checks = {"upstream": "does not answer", "capacity": None}
    found = scraped(metrics)
    assert (found["luthier_ready"], found["luthier_ready_check upstream"], found["luthier_ready_check capacity"]) == (
        0,
        0,
        1,
    )


def test_two_servers_of_one_process_count_apart() -> None:
    one, other = of_model(), of_model()
    one.observed(request())
    assert "luthier_requests_total /invocations 200" not in scraped(other)


def test_names_are_as_prometheus_asks() -> None:
    metrics = of_model(labels=("1",), training_labels={"1": 1.0})
    metrics.observed(request(ScoringAnswer([], 1, {"ok": 1}, {"1": 1}, [0.1])))
    families = list(text_string_to_metric_families(metrics.page()[0].decode()))
    assert all(family.documentation for family in families)
    for family in families:
        assert re.fullmatch("(luthier|process)_[a-z_]+", family.name)
        # The parser takes `_total` off the names of counters.
        assert (family.type == "counter") == any(sample.name.endswith("_total") for sample in family.samples)
    assert not [sample.name for family in families for sample in family.samples if sample.name.endswith("_created")]
    assert {"luthier_build_info", "process_resident_memory_bytes"} <= {
        sample.name for family in families for sample in family.samples
    }


def test_a_server_counts_what_it_answers_and_shows_it_without_a_key() -> None:
    model = EchoModel()
    with running(model, WITHOUT_KEY) as (_, listening):
        ask(listening, "POST", "/invocations", {"inputs": ["a", "b"]})
        ask(listening, "POST", "/invocations", {"rows": []})
        ask(listening, "GET", "/a-path-of-a-scanner")
        reply = ask(listening, "GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'luthier_requests_total{path="/invocations",status="200"} 1.0' in reply.body
    assert b'luthier_requests_total{path="/invocations",status="400"} 1.0' in reply.body
    assert b'luthier_requests_total{path="other",status="404"} 1.0' in reply.body
    assert b'luthier_rows_total{state="ok"} 2.0' in reply.body


def test_a_prompts_calls_tokens_and_cost_are_counted_when_they_are_paid_and_not_again(endpoint: Endpoint) -> None:
    fitted = Fitted(lt.Prompt(stars(), "Stars for: {{ text }}", answer="score", endpoint=endpoint))
    facts = ServedModelFacts(uri="here", name="stars", labels=fitted.spec.task.labels)
    model = LuthierServed(fitted, facts, WITHOUT_KEY, engine=ServingEngine())
    pages = []
    with running(model) as (_, listening):
        for _ in range(2):
            asked = ask(listening, "POST", "/invocations", {"inputs": ["good soup", "bad soup", "fine soup"]})
            assert asked.status == 200
            pages.append(samples_of(ask(listening, "GET", "/metrics").body))
    once, twice = pages
    assert once["luthier_upstream_duration_seconds_count"] == 3
    assert once["luthier_upstream_duration_seconds_sum"] > 0
    assert once["luthier_cost_usd_total"] > 0
    for name in ("upstream_duration_seconds_count", "cost_usd_total", "tokens_total input", "tokens_total output"):
        assert once[f"luthier_{name}"] == twice[f"luthier_{name}"] > 0
    assert (once["luthier_rows_total ok"], twice["luthier_rows_total ok"]) == (3, 6)
    assert sum(value for name, value in twice.items() if name.startswith("luthier_label_rows_total")) == 6
