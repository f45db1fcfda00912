"""A server that says what a test wants, byte for byte."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator

__all__ = ["Refused", "chat_reply", "serving"]


class Refused(Exception):
    """Raised by what makes an answer: another status, and its body."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status, self.body = status, body


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    """A connection that finds the queue of 5 full is tried again by the kernel, a second later."""


def chat_reply(text: str) -> str:
    """The body of a chat completion that says this."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


@contextlib.contextmanager
def serving(status: int, body: str | Callable[[bytes], str]) -> Iterator[str]:
    """Answers everything alike, or with what `body` makes of the request; gives its base URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            code = status
            try:
                said = (body if isinstance(body, str) else body(asked)).encode()
            except Refused as refused:
                code, said = refused.status, refused.body.encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    with _Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/v1"
        finally:
            running.shutdown()
            thread.join()
