"""The requests received and the statuses answered, so that tests can count what was sent."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["RequestLog", "RecordedRequest"]

_KEPT = 20_000
_KEYS = ("authorization", "api-key")


class RecordedRequest(NamedTuple):
    """One recorded request."""

    path: str
    body: Any
    """Decoded JSON, or text that is not JSON."""
    headers: dict[str, str]
    """Lower-case names, without the key."""


class RequestLog:
    """Counts since the start; of the last 20,000 requests the bodies' SHA-256, and the bodies if recorded.

    Only requests to the protocol's routes are counted, after the key was accepted.
    """

    def __init__(self, record: bool = False) -> None:
        self._lock = threading.Lock()
        self._record = record
        self._by_path: Counter[str] = Counter()
        self._by_status: Counter[int] = Counter()
        self._digests: deque[str] = deque(maxlen=_KEPT)
        self._requests: deque[RecordedRequest] = deque(maxlen=_KEPT)
        self.in_flight = 0
        """Requests being answered now."""
        self.most_in_flight = 0
        """The largest number of requests that were being answered at once."""

    def arrive(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Records a request before it is answered; its headers without the key."""
        with self._lock:
            self._by_path[path] += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            if body:
                self._digests.append(hashlib.sha256(body).hexdigest())
            if self._record:
                try:
                    decoded = json.loads(body) if body else None
                except (ValueError, RecursionError):
                    decoded = body.decode("utf-8", "replace")
                kept = {name.lower(): value for name, value in headers.items() if name.lower() not in _KEYS}
                self._requests.append(RecordedRequest(path, decoded, kept))

    def leave(self, status: int) -> None:
        """Records the status of the answer; 0: there was none."""
        with self._lock:
            self.in_flight -= 1
            self._by_status[status] += 1

    @property
    def total(self) -> int:
        """Requests received."""
        with self._lock:
            return sum(self._by_path.values())

    @property
    def by_path(self) -> dict[str, int]:
        """Requests by route, without the prefix: `{"chat/completions": 3}`."""
        with self._lock:
            return dict(self._by_path)

    @property
    def by_status(self) -> dict[int, int]:
        """Requests by the status they were answered with; 0: reset, left or never answered."""
        with self._lock:
            return dict(self._by_status)

    @property
    def digests(self) -> list[str]:
        """SHA-256 of the bodies, oldest first."""
        with self._lock:
            return list(self._digests)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The recorded requests, oldest first; empty without `record`."""
        with self._lock:
            return list(self._requests)

    @property
    def bodies(self) -> list[Any]:
        """The recorded bodies, oldest first; empty without `record`."""
        return [request.body for request in self.requests if request.body is not None]

    def clear(self) -> None:
        """Starts counting again."""
        with self._lock:
            self._by_path.clear()
            self._by_status.clear()
            self._digests.clear()
            self._requests.clear()
            self.most_in_flight = self.in_flight

    def to_json(self) -> dict[str, Any]:
        """Everything, as `GET /_luthier/requests` answers it."""
        return {
            "total": self.total,
            "by_path": self.by_path,
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "most_in_flight": self.most_in_flight,
            "sha256": self.digests,
            "bodies": self.bodies,
        }
