"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from luthier.errors import UserError

__all__ = ["LOOPBACK", "ServerSettings", "server_settings"]

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where a server listens, whom it lets in, and what it refuses.

    Attributes:
        host: address it listens on.
        port: 0 takes a free one.
        keys_file: hashes of the API keys it lets in; see `serving.keys`.
        without_key: lets every client in; on a loopback address only.
        timeout_seconds: longest that a request may take, its wait for its turn included.
        most_rows: rows in one request.
        most_bytes: bytes of one request's body.
        most_requests: requests that are answered or wait at one time; more are refused with 429.
        budget_usd_per_day: most that may be spent from midnight to midnight, UTC; `None` for no budget.
        budget_file: where the day's spending is kept; servers with one file keep one budget together. When absent,
            `spending.db` in Luthier's home, where each model has a budget of its own.
        log_file: where the log goes, rotated; standard error when absent.

    Raises:
        UserError: a setting is outside of what is allowed, or a server without key would be reached from elsewhere.
    """

    host: str = LOOPBACK[0]
    port: int = 8080
    keys_file: Path | None = None
    without_key: bool = False
    timeout_seconds: float = 60.0
    most_rows: int = 10_000
    most_bytes: int = 16 * 2**20
    most_requests: int = 1_000
    budget_usd_per_day: float | None = None
    budget_file: Path | None = None
    log_file: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UserError(f"port {self.port} is none; give a number from 1 to 65535, or 0 for a free one.")
        for name in ("timeout_seconds", "most_rows", "most_bytes", "most_requests"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)!r}; give a number above 0.")
        if self.budget_usd_per_day is not None and not self.budget_usd_per_day >= 0:
            raise UserError(f"budget_usd_per_day is {self.budget_usd_per_day!r}; give US dollars, 0 or more.")
        if self.without_key and self.keys_file is not None:
            raise UserError("a server has either a file of keys or no key; leave one of the two out.")
        if self.without_key and self.host not in LOOPBACK:
            raise UserError(
                f"a server without key is reached from this machine only; host {self.host!r} needs a file of keys: "
                "luthier keys add FILE LABEL, then --keys FILE."
            )


def server_settings(
    settings: ServerSettings | None,
    port: int | None = None,
    keys_file: str | Path | None = None,
    without_key: bool = False,
) -> ServerSettings:
    """Settings with what was given beside them in place of theirs; the defaults where there are none."""
    settings = settings or ServerSettings()
    return replace(
        settings,
        port=settings.port if port is None else port,
        keys_file=settings.keys_file if keys_file is None else Path(keys_file),
        without_key=settings.without_key or without_key,
    )
