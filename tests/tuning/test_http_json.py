"""JSON over HTTP to a fine-tuning service: sent once, and each refusal is the error that says whether to ask again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from luthier.endpoints import Endpoint
from luthier.errors import EndpointError, QuotaError
from luthier.tuning.tuners.http_json import JsonService, MultipartForm, ServiceRefused
from luthier.tuning.tuners.tuner import JobNotFound, OutcomeUnknown, ServiceUnavailable
from tests.patience import PATIENCE_SECONDS

KEY = "tgp-hunter22-hunter22"
Answer = tuple[int, dict[str, str], bytes]


class Asked(list[tuple[str, str, dict[str, str], bytes]]):
    """Method, path with query, headers and body of every request, in order."""


@contextmanager
def answering(answer: Callable[[str, str], Answer | None]) -> Iterator[tuple[str, Asked]]:
    """Answers as told; `None` ends the connection without an answer."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            told = answer(self.command, self.path)
            if told is None:
                self.close_connection = True
                return
            status, headers, content = told
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, *given: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", asked
        finally:
            running.shutdown()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)


def service(address: str) -> JsonService:
    return JsonService(Endpoint(provider="together", model="some/model", api_key_env="STARS_KEY"), address)


def told(status: int, body: Any = None, **headers: str) -> Callable[[str, str], Answer]:
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return lambda method, path: (status, headers, content)


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_request_is_sent_by_its_method_with_the_key_and_its_query(method: str) -> None:
    with answering(told(200, {"id": "ft-1"})) as (address, asked):
        body = None if method == "GET" else {"a": 1}
        reply = service(address).ask(method, "/v1/jobs", "looking", body=body, query={"size": 5, "from": None})
    assert reply.document == {"id": "ft-1"}
    ((how, path, headers, sent),) = asked
    assert (how, path, headers["authorization"]) == (method, "/v1/jobs?size=5", f"Bearer {KEY}")
    assert sent == (b"" if body is None else b'{"a":1}')


def test_a_list_is_under_data_and_no_body_is_an_empty_document() -> None:
    with answering(told(200, [{"id": "ft-1"}])) as (address, _):
        assert service(address).get("/v1/jobs", "listing") == {"data": [{"id": "ft-1"}]}
    with answering(told(204, b"")) as (address, _):
        assert service(address).ask("DELETE", "/v1/jobs/1", "deleting").document == {}


@pytest.mark.parametrize(
    ("method", "status", "kind"),
    [
        ("GET", 503, ServiceUnavailable),
        ("GET", 429, ServiceUnavailable),
        ("POST", 429, ServiceUnavailable),
        ("POST", 503, OutcomeUnknown),
        ("PATCH", 503, ServiceUnavailable),
    ],
)
def test_after_which_status_it_is_not_known_whether_something_happened(
    method: str, status: int, kind: type[Exception]
) -> None:
    with answering(told(status, error("busy"))) as (address, asked):
        with pytest.raises(ServiceUnavailable, match="busy") as raised:
            service(address).ask(method, "/v1/jobs", "submitting", body={})
        assert type(raised.value) is kind
        assert len(asked) == 1


def test_a_post_whose_answer_is_lost_is_sent_once_and_its_outcome_is_unknown() -> None:
    with answering(lambda method, path: None) as (address, asked):
        with pytest.raises(OutcomeUnknown, match="submitting"):
            service(address).post("/v1/jobs", "submitting")
        assert len(asked) == 1
        with pytest.raises(ServiceUnavailable) as raised:
            service(address).ask("POST", "/v1/jobs", "submitting", body={}, changes=False)
        assert type(raised.value) is ServiceUnavailable


def test_a_post_that_was_answered_unreadably_may_have_happened() -> None:
    with answering(told(200, b'{"id": "ft-')) as (address, _), pytest.raises(OutcomeUnknown, match="unreadable"):
        service(address).post("/v1/jobs", "submitting")


def test_without_a_connection_nothing_has_happened() -> None:
    with answering(told(200)) as (address, _):
        pass
    with pytest.raises(ServiceUnavailable) as raised:
        service(address).post("/v1/jobs", "submitting")
    assert type(raised.value) is ServiceUnavailable


def test_a_refusal_has_its_status_and_the_words_of_the_service_without_the_key() -> None:
    with answering(told(409, error(f"{KEY} has this already"))) as (address, _):
        with pytest.raises(ServiceRefused, match="submitting.*409") as raised:
            service(address).post("/v1/jobs", "submitting")
        assert (raised.value.status, raised.value.said) == (409, "[key] has this already")
        assert service(address).ask("POST", "/v1/jobs", "submitting", body={}, expected=(409,)).status == 409


def test_a_job_is_unknown_only_if_the_service_says_so() -> None:
    with answering(told(404, error("no such fine-tune"))) as (address, _):
        with pytest.raises(JobNotFound, match="ft-1"):
            service(address).get("/v1/jobs/ft-1", "asking", job="ft-1")
        with pytest.raises(ServiceRefused):
            service(address).get("/v1/models/m", "asking")
    with answering(told(404, b"<html><body>404 nginx</body></html>")) as (address, _):
        with pytest.raises(ServiceRefused):
            service(address).get("/v1/jobs/ft-1", "asking", job="ft-1")


def test_a_key_that_is_refused_and_an_account_without_money_are_named() -> None:
    with (
        answering(told(401, error("Invalid API key"))) as (address, _),
        pytest.raises(EndpointError, match="STARS_KEY"),
    ):
        service(address).get("/v1/jobs", "listing")
    with answering(told(402, error("add credit"))) as (address, _), pytest.raises(QuotaError, match="add credit"):
        service(address).post("/v1/jobs", "submitting")


def test_a_file_goes_to_a_signed_address_without_the_key_and_follows_its_redirects() -> None:
    def answer(method: str, path: str) -> Answer:
        return (307, {"location": "/region/2?sig=abc"}, b"") if path.startswith("/bucket") else (200, {}, b"")

    with answering(answer) as (address, asked):
        service(address).put_file(f"{address}/bucket/1?sig=abc", b"{}\n", "uploading")
    assert [(how, path, body) for how, path, _, body in asked] == [
        ("PUT", "/bucket/1?sig=abc", b"{}\n"),
        ("PUT", "/region/2?sig=abc", b"{}\n"),
    ]
    assert not any("authorization" in headers for _, _, headers, _ in asked)


def test_a_signed_address_is_asked_as_it_is_written_and_nothing_is_added_to_the_file() -> None:
    large = b"{}\n" * 300_000
    signed = "/bucket/a%2Bb%3D?sig=a%2Fb%2Bc%3D%3D&more=%7Ex+y"
    with answering(told(200, b"kept")) as (address, asked):
        service(address).put_file(f"{address}{signed}", large, "uploading")
        assert service(address).get_file(f"{address}{signed}", "reading") == b"kept"
    assert [path for _, path, _, _ in asked] == [signed, signed]
    _, _, headers, body = asked[0]
    assert (headers["content-length"], body == large) == (str(len(large)), True)
    assert not {"content-type", "transfer-encoding"} & set(headers)


def test_a_file_that_is_not_taken_names_no_signed_address() -> None:
    with answering(told(403, b"SignatureDoesNotMatch sig=abc")) as (address, _):
        with pytest.raises(EndpointError, match="403") as raised:
            service(address).put_file(f"{address}/bucket/1?sig=abc", b"{}\n", "uploading")
    assert "sig=abc" not in str(raised.value)


def test_a_form_carries_its_fields_and_its_file() -> None:
    with answering(told(200)) as (address, asked):
        service(address).ask(
            "POST", "/v1/files", "uploading", body=MultipartForm({"purpose": "fine-tune"}, ("a.jsonl", b"{}"))
        )
    ((_, _, headers, body),) = asked
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="purpose"\r\n\r\nfine-tune\r\n' in body
    assert b'name="file"; filename="a.jsonl"\r\n' in body and b"\r\n\r\n{}\r\n" in body


def test_a_file_at_a_signed_address_is_fetched_without_the_key() -> None:
    with answering(lambda method, path: (200, {}, b'{"step": 1}\n')) as (address, asked):
        assert service(address).get_file(f"{address}/metrics?signature=s", "reading") == b'{"step": 1}\n'
    ((how, _, headers, _),) = asked
    assert how == "GET"
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_not_there_yet_is_none(status: int) -> None:
    with answering(told(status, b"<Error/>")) as (address, _):
        assert service(address).get_file(f"{address}/metrics", "reading") is None


def test_storage_that_is_busy_may_be_asked_again_and_its_signed_address_is_not_repeated() -> None:
    with answering(told(503, b"")) as (address, _), pytest.raises(ServiceUnavailable) as raised:
        service(address).get_file(f"{address}/metrics?signature=s", "reading the metrics")
    assert "signature" not in str(raised.value)
    assert "reading the metrics" in str(raised.value)


def test_a_process_that_asked_ends_without_a_word_about_connections() -> None:
    program = (
        "import sys\n"
        "from luthier.providers.endpoint import Endpoint\n"
        "from luthier.tuning.tuners.http_json import JsonService\n"
        "endpoint = Endpoint(provider='together', model='m', api_key_env='STARS_KEY')\n"
        "print(JsonService(endpoint, sys.argv[1]).get('/v1/jobs', 'looking')['id'])"
    )
    with answering(told(200, {"id": "ft-1"})) as (address, _):
        done = subprocess.run(
            [sys.executable, "-c", program, address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("ft-1\n", "")
