"""What a server counts of its requests, for Prometheus: docs/serving-metrics.md says what to watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from luthier.serving.served_model import ScoringAnswer, ServedModel, ServedModelFacts
from luthier.serving.served_request import ServedRequest
from luthier.serving.settings import ServerSettings
from luthier.tables.cells import utf8_safe

__all__ = ["MOST_LABELS", "ServerMetrics"]

MOST_LABELS = 50
"""Labels of the task that are counted one by one; the rest are counted together as `other`."""

OTHER = "other"

REQUEST_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
UPSTREAM_BUCKETS_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
"""A call of a large language model takes from .1 s to a minute; half of them take 0.3 to 3 s."""


class ServerMetrics:
    """An observer that counts requests, and the page that Prometheus reads.

    Args:
        model: what is served; its readiness is read at each scrape.
        settings: of the server.
        revision: of the deployment.
    """

    def __init__(self, model: ServedModel, settings: ServerSettings, *, revision: int | None = None) -> None:
        facts = model.facts
        self._registry = CollectorRegistry()
        here = self._registry
        self._requests = Counter(
            "luthier_requests",
            "Requests by path and HTTP status.",
            ["path", "status"],
            registry=here,
        )
        self._request_seconds = Histogram(
            "luthier_request_duration_seconds",
            "Time from the headers of a request to /invocations to the end of its answer.",
            registry=here,
            buckets=REQUEST_BUCKETS_SECONDS,
        )
        self._upstream_seconds = Histogram(
            "luthier_upstream_duration_seconds",
            "Time of a call to the service that the model asks, for calls of answered requests.",
            registry=here,
            buckets=UPSTREAM_BUCKETS_SECONDS,
        )
        self._in_flight = Gauge(
            "luthier_in_flight_requests", "Requests to /invocations that wait or are being answered.", registry=here
        )
        most = Gauge("luthier_most_requests", "Requests in flight above which more get 429.", registry=here)
        most.set(settings.most_requests)
        self._rows = Counter("luthier_rows", "Rows that were answered, by state.", ["state"], registry=here)
        self._labels = Counter("luthier_label_rows", "Rows that got a label.", ["label"], registry=here)
        self._counted = counted_labels(facts)
        shares = Gauge(
            "luthier_training_label_share", "Share of a label in the training rows.", ["label"], registry=here
        )
        for label, share in training_shares(facts, self._counted).items():
            shares.labels(utf8_safe(label)).set(share)
        for label in self._counted:
            self._labels.labels(utf8_safe(label))
        build = Info("luthier_build", "The server and what it serves.", registry=here)
        build.info(
            {
                "version": metadata.version("luthier"),
                "model": utf8_safe(facts.name),
                "model_version": facts.version or "",
                "revision": "" if revision is None else str(revision),
            }
        )
        here.register(_Readiness(model))
        here.register(_PaidCalls(model))
        ProcessCollector(registry=here)

    def began(self, path: str) -> None:
        """One more request is in flight, if it is one to `/invocations`."""
        if path == "/invocations":
            self._in_flight.inc()

    def observed(self, request: ServedRequest) -> None:
        """Counts one request."""
        self._requests.labels(request.path, str(request.status)).inc()
        if request.path != "/invocations":
            return
        self._in_flight.dec()
        self._request_seconds.observe(request.seconds)
        if request.answer is not None:
            self._count(request.answer)

    def page(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its media type. Takes some ms, so it is made in a thread."""
        return generate_latest(_WithoutCreated(self._registry)), CONTENT_TYPE_PLAIN_0_0_4

    def _count(self, answer: ScoringAnswer) -> None:
        for state, rows in (answer.states or {"ok": answer.rows}).items():
            self._rows.labels(state).inc(rows)
        for label, rows in answer.labels.items():
            self._labels.labels(utf8_safe(label) if label in self._counted else OTHER).inc(rows)
        for seconds in answer.upstream_seconds:
            self._upstream_seconds.observe(seconds)


def counted_labels(facts: ServedModelFacts) -> frozenset[str]:
    """The labels that are counted one by one: the most frequent ones in training, or the first."""
    ordered = sorted(facts.labels, key=lambda label: -facts.training_labels.get(label, 0.0))
    return frozenset(ordered[:MOST_LABELS])


def training_shares(facts: ServedModelFacts, counted: frozenset[str]) -> dict[str, float]:
    """Shares of the labels in training, those that are not counted one by one added up as `other`."""
    shares: dict[str, float] = {}
    for label, share in facts.training_labels.items():
        name = label if label in counted else OTHER
        shares[name] = shares.get(name, 0.0) + share
    return shares


class _Readiness(Collector):
    """Reads the model's readiness when Prometheus asks."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def collect(self) -> Iterator[Metric]:
        readiness = self._model.readiness()
        yield GaugeMetricFamily("luthier_ready", "1 where requests would be answered now.", int(readiness.is_ready))
        checks = GaugeMetricFamily("luthier_ready_check", "1 where a check of readiness is well.", labels=["check"])
        for name, why in readiness.checks.items():
            checks.add_metric([name], int(why is None))
        yield checks

    def describe(self) -> Sequence[Metric]:
        # Without this the registry collects at once to learn the names.
        return [GaugeMetricFamily("luthier_ready", ""), GaugeMetricFamily("luthier_ready_check", "")]


class _PaidCalls(Collector):
    """Reads what the model's calls took when Prometheus asks; left out where nothing is known of them."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def collect(self) -> Iterator[Metric]:
        paid = self._model.paid()
        if paid is None:
            return
        tokens = CounterMetricFamily(
            "luthier_tokens", "Tokens of all calls, those of refused requests too.", labels=["direction"]
        )
        tokens.add_metric(["input"], paid.input_tokens)
        tokens.add_metric(["output"], paid.output_tokens)
        yield tokens
        yield CounterMetricFamily(
            "luthier_cost_usd", "US dollars paid for calls, as far as prices are known.", value=paid.usd
        )
        yield CounterMetricFamily("luthier_unpriced_calls", "Calls of unknown price.", value=paid.unpriced)

    def describe(self) -> Sequence[Metric]:
        names = "luthier_tokens", "luthier_cost_usd", "luthier_unpriced_calls"
        return [CounterMetricFamily(name, "") for name in names]


class _WithoutCreated(Collector):
    """The metrics of a registry without the `_created` series, which double their number and are seldom read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            if metric.samples:
                yield metric
