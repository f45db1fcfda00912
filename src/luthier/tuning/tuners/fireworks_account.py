"""The account at Fireworks that jobs and deployments belong to: its name, what is at a path, lists, and waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.fireworks_records import last_part
from luthier.tuning.tuners.http_json import JsonService
from luthier.tuning.tuners.waiting import look_until

__all__ = ["FireworksAccount"]

ACCOUNT_VARIABLE = "FIREWORKS_ACCOUNT_ID"

PAGE = 200


class FireworksAccount:
    """The account that FIREWORKS_ACCOUNT_ID names, else the only one that the key sees.

    Args:
        endpoint: where models of the account answer.
        wait: waits so many seconds.
        clock: Unix time.

    Attributes:
        service: is asked with the endpoint's key.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        parts = urlsplit(endpoint.address)
        self.service = JsonService(endpoint, f"{parts.scheme}://{parts.netloc}")
        self._wait, self._clock = wait, clock
        self._name: str | None = None

    @property
    def place(self) -> str:
        """The endpoint's address."""
        return self.endpoint.address

    @property
    def name(self) -> str:
        """Full name of the account, as in `accounts/stars`.

        Raises:
            EndpointError: the key sees none, or several and none of them is named.
        """
        if self._name is None:
            given = last_part(os.environ.get(ACCOUNT_VARIABLE, "").strip())
            self._name = f"accounts/{given}" if given else self._only_one()
        return self._name

    def _only_one(self) -> str:
        names = [str(one["name"]) for one in self.pages("/v1/accounts", "accounts", "looking for the account")]
        if len(names) != 1:
            seen = f"several accounts ({', '.join(map(last_part, names))})" if names else "no account"
            raise EndpointError(
                f"the key of {self.endpoint.label} sees {seen}. Name the one that pays for the jobs: "
                f"export {ACCOUNT_VARIABLE}=..."
            )
        return names[0]

    def path(self, *parts: str) -> str:
        """Path of something in the account."""
        return "/".join(("/v1", self.name, *parts))

    def known(self, path: str, doing: str) -> Mapping[str, Any] | None:
        """What is at a path; `None` where the service says that there is nothing."""
        reply = self.service.ask("GET", path, doing, expected=(404,))
        return None if reply.status == 404 else reply.document

    def pages(self, path: str, field: str, doing: str) -> Iterator[Mapping[str, Any]]:
        """The entries of a list, from all of its pages."""
        token = None
        while True:
            page = self.service.get(path, doing, query={"pageSize": PAGE, "pageToken": token})
            yield from page.get(field) or ()
            token = page.get("nextPageToken") or None
            if token is None:
                return

    def until(self, reached: Callable[[], bool], late: str) -> None:
        """Looks until something is so; while the service is busy it is asked again.

        Args:
            reached: one look. What it asks for may be asked twice.
            late: the message if it is not so in time.

        Raises:
            ServiceUnavailable: it is not so after an hour.
        """
        look_until(lambda: reached() or None, late, wait=self._wait, clock=self._clock)
