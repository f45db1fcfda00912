"""Why a request gets no predictions: a status, a code of MLflow's, and words without anything the client sent."""

from __future__ import annotations

__all__ = ["Refusal"]


class Refusal(Exception):
    """A request that is answered with an error.

    The message never holds a cell of the request, a key, a path of this machine or a traceback.

    Args:
        status: HTTP status, from 400 on.
        error_code: as MLflow names them, such as `BAD_REQUEST` or `RESOURCE_EXHAUSTED`.
        message: what was wrong, what is allowed, what to do.
        retry_after_seconds: when it is worth trying again; `None` where trying again does not help.
    """

    def __init__(self, status: int, error_code: str, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.error_code, self.message = status, error_code, message
        self.retry_after_seconds = retry_after_seconds
