"""How long a client may take to send a request, and how much of it are headers; uvicorn limits neither.

uvicorn has no setting for it (Kludex/uvicorn#157), and an application is asked only once the headers are there. So this
reaches into uvicorn's protocol; tests hold each behaviour.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import ClassVar

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from luthier.serving.refusals import Refusal
from luthier.serving.scoring_protocol import write_refusal

__all__ = ["LimitedHttpProtocol", "Listener"]


@dataclass(slots=True)
class Listener:
    """What the connections that were accepted at one socket have in common.

    Attributes:
        needs_key: whether their requests need an API key.
        is_paused: whether they are to end.
    """

    needs_key: bool = True
    is_paused: bool = False


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection, whose client has a limited time and room for each request.

    Attributes:
        read_seconds: from a request's first byte, or the start of the connection, to the end of the body.
        most_header_bytes: of the request line and headers together.
        idle_seconds: how long a connection without a request stays open once its listener is paused.

    Args:
        config: of uvicorn.
        server_state: of uvicorn.
        listener: where the connection was accepted; is in each request's scope, under `state`.
        loop: that it lives on.
    """

    read_seconds: ClassVar[float] = 30.0
    most_header_bytes: ClassVar[int] = 32 * 1024
    idle_seconds: ClassVar[float] = 2.0

    def __init__(
        self, config: Config, server_state: ServerState, listener: Listener, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(config, server_state, {"listener": listener}, loop)
        self.listener = listener
        self._deadline: asyncio.TimerHandle | None = None
        self._in_message = self._in_headers = self._too_large = False
        self._header_bytes = 0
        self._unread = math.inf

    @property
    def is_busy(self) -> bool:
        """Whether the application has a request of this connection that it has not answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def retire(self) -> None:
        """Ends the connection after its next answer, or when no request comes; its listener has been paused."""
        if self.is_busy:
            self.cycle.keep_alive = False
        self.loop.call_later(self.idle_seconds, self._close_unless_asked)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client that says nothing has as long as one that sends slowly."""
        super().connection_made(transport)
        self._arm()
        if self.listener.is_paused:
            # It was accepted, and the listener paused before it was known.
            self.retire()

    def connection_lost(self, exc: Exception | None) -> None:
        """The time ends with the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The time begins with a request's first byte, even where that is a line break which the parser skips."""
        if self._deadline is None:
            self._arm()
        # Counted here too, because a header is known to the parser once it has ended.
        self._header_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._in_headers and self._header_bytes > self.most_header_bytes and not self.transport.is_closing():
            self._refuse_headers()

    def _feed(self, data: bytes) -> None:
        # The parser skips the body of a request that offers another protocol, as Java's client does with each one
        # (Upgrade: h2c). None is spoken here, so such a request is read anew without the offer.
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
                for name, value in self.headers:
                    head += [] if name == b"upgrade" else [name, b": ", value, b"\r\n"]
                data = b"".join([*head, b"\r\n", data[offer.args[0] :]])
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_message_begin(self) -> None:
        """The parser has found the first byte of a request."""
        self._in_message = self._in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers have come; the application is asked unless they are too large."""
        self._in_headers = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.most_header_bytes:
            self._too_large = True
            raise ValueError("headers too large")  # becomes the parser's error, and that the refusal below
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("this is no proxy")
            return
        super().on_headers_complete()
        if self.listener.is_paused:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The body has come."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        self._unread = math.inf
        self._disarm()
        super().on_message_complete()
        if self.cycle.response_complete and self.listener.is_paused:
            self.transport.close()
        elif self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # It was refused before its end, and the rest of it has ended uvicorn's wait for the next request.
            self._keep_alive()

    def timeout_keep_alive_handler(self) -> None:
        """No next request has come. A client that still reads its answer goes on; one that has stopped is cut off."""
        unread = self.transport.get_write_buffer_size()
        if unread >= self._unread:
            self.transport.abort()
        elif unread:
            self._unread = unread
            self._keep_alive()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Refuses what the parser does not understand, in the form of all other refusals."""
        if self._too_large:
            self._refuse_headers()
        else:
            self._refuse(Refusal(400, "MALFORMED_REQUEST", "The request is not HTTP/1.1 as the standard has it."))

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _refuse_headers(self) -> None:
        self._refuse(
            Refusal(431, "MALFORMED_REQUEST", f"The request's headers are larger than {self.most_header_bytes} bytes.")
        )

    def _refuse(self, refusal: Refusal) -> None:
        """Answers without the application, and closes; nothing more may come of a request that is not understood."""
        body = write_refusal(refusal)
        self.transport.write(
            STATUS_LINE[refusal.status]
            + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.read_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.pipeline or (self.is_busy and not self.cycle.more_body):
            # A request behind the one that is being answered: it is not the client who is slow.
            self._arm()
        elif not self._in_message or (not self._in_headers and self.cycle.response_started):
            self.transport.abort()
        else:
            said = f"The request had not come whole after {self.read_seconds:g} seconds."
            self._refuse(Refusal(408, "BAD_REQUEST", said))

    def _close_unless_asked(self) -> None:
        if not self.is_busy and not self._in_message and not self.transport.is_closing():
            self.transport.close()
