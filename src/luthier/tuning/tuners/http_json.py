"""JSON over HTTP to the services whose fine-tuning speaks no protocol of OpenAI's, and what their refusals mean.

Requests go through the transport that asks models, so proxies, certificates and keys are treated alike. Nothing is sent
twice: whether to ask again is for the caller to decide, who knows what the request does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from luthier.engine.loop import wait_for
from luthier.errors import EndpointError
from luthier.providers.base import bearer
from luthier.providers.endpoint import Endpoint
from luthier.providers.redaction import redact
from luthier.providers.transport import Reply, TransportFault, shared_transport
from luthier.replies.complaints import error_of, is_page
from luthier.replies.cures import stopping_error
from luthier.replies.failures import Cause, Verdict, judge, judge_fault
from luthier.tuning.tuners.tuner import JobNotFound, OutcomeUnknown, ServiceUnavailable

__all__ = ["MultipartForm", "JsonReply", "JsonService", "ServiceRefused"]

UPLOAD_SECONDS = 3600.0
"""How long a file may take to be sent."""

MOST_REDIRECTS = 5
"""How often a signed address may send an upload on: storage has regions."""

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed later."""

NOTHING_DONE = frozenset({425, 429})
"""Statuses that say that a request was not looked at; after the other busy ones it may have been carried out."""

STOPPING: frozenset[Cause] = frozenset(
    {"quota", "access", "firewall", "redirect", "insecure", "proxy", "no_tls", "needs_tls"}
)
"""Causes whose cure is the same here as for a request to a model."""


@dataclass(frozen=True, slots=True)
class JsonReply:
    """An answer.

    Attributes:
        headers: header names are found in any case.
        document: the body; empty where there is none. A list is under `data`.
    """

    status: int
    headers: Mapping[str, str]
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MultipartForm:
    """A multipart form, as files are sent by.

    Attributes:
        fields: by name.
        file: the file's name and content, sent as the field `file`.
    """

    fields: Mapping[str, str]
    file: tuple[str, bytes] | None = None

    def encoded(self) -> tuple[str, bytes]:
        """Content type and body."""
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in self.fields.items()
        ]
        if self.file is not None:
            name, content = self.file
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            parts += [f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(), content, b"\r\n"]
        return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


class ServiceRefused(EndpointError):
    """The service answered, and refuses for good; nothing was done.

    Attributes:
        status: of HTTP.
        said: the service's own words, without keys.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said


class JsonService:
    """A service that is asked by JSON with a bearer key. The key is read when it is needed and is in no message.

    Args:
        endpoint: whose key is sent.
        address: where the paths begin, without a trailing slash; it may be another host than the endpoint's.
    """

    def __init__(self, endpoint: Endpoint, address: str) -> None:
        # Messages name the address that was asked.
        self._endpoint = endpoint.model_copy(update={"base_url": address})
        self.address = address

    def get(self, path: str, doing: str, *, query: Mapping[str, Any] | None = None, job: str | None = None) -> Any:
        """The document at a path. Arguments are those of `ask`."""
        return self.ask("GET", path, doing, query=query, job=job).document

    def post(self, path: str, doing: str, body: Mapping[str, Any] | None = None, *, job: str | None = None) -> Any:
        """The document a POST is answered with. Arguments are those of `ask`."""
        return self.ask("POST", path, doing, body=body or {}, job=job).document

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Mapping[str, Any] | MultipartForm | None = None,
        query: Mapping[str, Any] | None = None,
        job: str | None = None,
        changes: bool | None = None,
        expected: Collection[int] = (),
    ) -> JsonReply:
        """Sends one request, once.

        Args:
            method: of HTTP.
            path: below the address, with a leading slash.
            doing: what the request is for, in messages: `submitting`, `reading the events of ft-1`.
            body: JSON or a form.
            query: its `None` values are left out.
            job: the job that the path is about: a 404 then means that the service does not know it.
            changes: whether it may not be sent a second time, so that an answer that was lost leaves open whether it
                took effect; of POST only when absent.
            expected: statuses beside 2xx that the caller reads itself.

        Raises:
            JobNotFound: the service does not know the job.
            ServiceUnavailable: nothing happened; a later try may succeed.
            OutcomeUnknown: a request that changes something got no answer.
            ServiceRefused: the service refuses for good.
            QuotaError: the account has nothing left to spend.
            EndpointError: the key is not taken, or the address cannot be used.
        """
        headers = dict(bearer(self._endpoint.key()))
        payload: bytes | None = None
        seconds = self._endpoint.timeout_seconds
        if isinstance(body, MultipartForm):
            headers["Content-Type"], payload = body.encoded()
            seconds = seconds if body.file is None else UPLOAD_SECONDS
        elif body is not None:
            payload = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.address}{path}" + (f"?{urlencode(asked)}" if asked else "")
        reply = wait_for(shared_transport().send(url, headers, seconds, payload, method=method))
        unsure = method == "POST" if changes is None else changes
        if isinstance(reply, TransportFault):
            raise self._unanswered(reply, doing, unsure)
        if reply.status in expected or 200 <= reply.status < 300:
            return self._read(reply, doing, unsure and reply.status not in expected)
        raise self._refused(reply, doing, unsure, job)

    def put_file(self, url: str, content: bytes, doing: str) -> None:
        """Sends a file to a signed address, which is not the service's own: without the key.

        Raises:
            ServiceUnavailable: it may be sent again.
            EndpointError: it is refused.
        """
        reply = self._put(url, content, doing)
        for _ in range(MOST_REDIRECTS):
            place = reply.headers.get("location")
            if not (300 <= reply.status < 400 and place):
                break
            url = urljoin(url, place)
            reply = self._put(url, content, doing)
        if not 200 <= reply.status < 300:
            # Neither the address nor the body is repeated: the address is signed, and the body may quote it.
            kind = ServiceUnavailable if reply.status in BUSY else EndpointError
            raise kind(
                f"{urlsplit(url).hostname} did not take a file for {self.address} ({doing}): status {reply.status}"
            )

    def get_file(self, url: str, doing: str) -> bytes | None:
        """The file at a signed address, fetched without the key; `None` while there is none.

        Raises:
            ServiceUnavailable: it may be asked for again.
            EndpointError: it is refused.
        """
        reply = wait_for(shared_transport().send(url, {}, self._endpoint.timeout_seconds, signed=True))
        if isinstance(reply, TransportFault):
            raise self._unanswered(reply, doing, False)
        # Storage also says 403 of a file that is not there.
        if reply.status in (403, 404):
            return None
        if not 200 <= reply.status < 300:
            kind = ServiceUnavailable if reply.status in BUSY else EndpointError
            raise kind(f"{urlsplit(url).hostname} did not give a file of {self.address} ({doing}): {reply.status}")
        return reply.body

    def _put(self, url: str, content: bytes, doing: str) -> Reply:
        if urlsplit(url).scheme != "https" and urlsplit(self.address).scheme == "https":
            raise EndpointError(
                f"{self.address} names a place without TLS to send a file to ({doing}); nothing was sent."
            )
        reply = wait_for(shared_transport().send(url, {}, UPLOAD_SECONDS, content, method="PUT", signed=True))
        if isinstance(reply, TransportFault):
            raise self._unanswered(reply, doing, False)
        return reply

    def _read(self, reply: Reply, doing: str, unsure: bool) -> JsonReply:
        document: Any = {}
        if reply.body.strip():
            try:
                document = json.loads(reply.body)
            except ValueError as error:
                kind = OutcomeUnknown if unsure else ServiceUnavailable
                raise kind(f"{self.address} answered something unreadable ({doing}): {error}") from error
        if not isinstance(document, dict):
            document = {"data": document}
        return JsonReply(reply.status, reply.headers, document)

    def _unanswered(self, fault: TransportFault, doing: str, unsure: bool) -> EndpointError:
        verdict = judge_fault(fault, self._endpoint.secrets(), reached=False)
        if verdict.cause in STOPPING:
            return stopping_error(verdict, self._endpoint)
        never_sent = fault.kind == "unreachable"
        kind = OutcomeUnknown if unsure and not never_sent else ServiceUnavailable
        return kind(f"{self.address} did not answer ({doing}): {verdict.message}")

    def _refused(self, reply: Reply, doing: str, unsure: bool, job: str | None) -> EndpointError:
        verdict = judge(reply, self._endpoint.secrets())
        said = self._said(verdict, reply.status)
        if reply.status in BUSY and verdict.cause != "quota":
            kind = OutcomeUnknown if unsure and reply.status not in NOTHING_DONE else ServiceUnavailable
            return kind(f"{self.address} is not able to answer just now ({doing}): {verdict.message}")
        if verdict.cause in STOPPING and not verdict.by_words:
            return stopping_error(verdict, self._endpoint)
        # A gateway or a wrong address answers with a page, which says nothing of the job.
        if reply.status == 404 and job is not None and error_of(reply.body) and not is_page(reply.body):
            return JobNotFound(
                f"{self.address} has no job {job!r} ({said}). Jobs are listed by: luthier tune list SPEC"
            )
        offered = "does not offer this" if reply.status in (405, 501) else "refused"
        return ServiceRefused(f"{self.address} {offered} ({doing}): {verdict.message}", reply.status, said)

    def _said(self, verdict: Verdict, status: int) -> str:
        return redact(verdict.message.removeprefix(f"status {status}").removeprefix(": "), self._endpoint.secrets())
