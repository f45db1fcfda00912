"""Servers that speak the protocol in their own way: what they answer is read all the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import luthier as lt
from luthier.tuning.tuners import tuner_for

TOKEN = "0123456789abcdef-1"
JOBS = [
    {"id": f"job-{number}", "object": "fine_tuning.job", "model": "base", "status": "running", "created_at": 5,
     "suffix": TOKEN if number in (1, 2) else None}
    for number in range(4)
]  # fmt: skip


class _Everything(BaseHTTPRequestHandler):
    """All jobs at once, newest first, whatever page is asked for; without metadata and without `has_more`."""

    def do_GET(self) -> None:  # a name http.server gives
        self.server.asked += 1  # type: ignore[attr-defined]
        body = json.dumps({"object": "list", "data": JOBS}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def everything() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Everything) as running:
        running.asked = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_list_without_pages_ends_and_a_job_is_found_by_its_suffix(everything: ThreadingHTTPServer) -> None:
    tuner = tuner_for(lt.compatible("base", f"http://127.0.0.1:{everything.server_port}/v1"))
    # Two of one second: the older one comes first.
    assert [job.id for job in tuner.find(TOKEN)] == ["job-2", "job-1"]
    assert [job.token for job in tuner.listed()] == [None, TOKEN, TOKEN, None]
    assert everything.asked == 4  # type: ignore[attr-defined]


def test_services_tell_how_many_jobs_they_train_at_a_time() -> None:
    services = {
        "openai": lt.openai("gpt-4.1-nano"),
        "azure": lt.azure("gpt-4.1-nano", "https://mine.openai.azure.com"),
        "compatible": lt.compatible("base", "http://127.0.0.1:1/v1"),
    }
    limits = {name: tuner_for(service).rules("gpt-4.1-nano").parallel_jobs for name, service in services.items()}
    assert limits == {"openai": 3, "azure": 3, "compatible": None}
