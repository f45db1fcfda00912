from __future__ import annotations

from luthier.serving.recent_traffic import RecentTraffic
from luthier.serving.served_request import ServedRequest


def request(status: int, seconds: float, path: str = "/invocations") -> ServedRequest:
    return ServedRequest("id", "POST", path, status, seconds)


def test_requests_and_faults_of_the_server_are_counted_from_the_start() -> None:
    traffic = RecentTraffic(clock=lambda: 0.0)
    for status, path in ((200, "/invocations"), (400, "/invocations"), (503, "/invocations"), (500, "/metrics")):
        traffic.observed(request(status, 0.1, path))

    found = traffic.to_document()
    assert (found["requests"], found["errors"]) == (3, 1)


def test_quantiles_are_those_of_the_last_minute_and_leave_out_refused_requests() -> None:
    now = [0.0]
    traffic = RecentTraffic(clock=lambda: now[0])
    traffic.observed(request(200, 99.0))
    now[0] = 61.0
    for milliseconds in range(1, 101):
        traffic.observed(request(200, milliseconds / 1000))
    traffic.observed(request(401, 0.0))

    assert traffic.to_document()["latency_seconds"] == {"p50": 0.05, "p95": 0.095, "p99": 0.099}


def test_without_requests_there_is_no_latency() -> None:
    assert RecentTraffic().to_document()["latency_seconds"] == {"p50": None, "p95": None, "p99": None}
