"""A budget for each day, which outlives the process and is shared by all servers of one model."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from luthier.engine.budget import Budget
from luthier.errors import UserError
from luthier.home import make_database

__all__ = ["DailyBudget"]

BUSY_SECONDS = 5.0
KEPT_DAYS = 90


class DailyBudget(Budget):
    """A cap in US dollars from midnight to midnight, UTC, kept in an SQLite file.

    What a request may cost at most is booked before it is sent, and corrected when its price is known. So two servers
    with one file keep the cap together, and what was in flight when one was killed counts as spent.

    Args:
        usd: the cap of a day.
        file: where spending is kept, made with mode 0600.
        name: whose spending it is; one file can hold that of several.
        now: seconds since 1970.

    Raises:
        UserError: the cap is negative, or the file cannot be used.
    """

    def __init__(self, usd: float, file: Path, name: str, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(usd)
        self.file, self.name, self._now = file, name, now
        self._least_usd = math.inf
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_database(file)
            self._store = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._store.execute("PRAGMA journal_mode = WAL").fetchone()
            # A crash of the process loses nothing; a power cut may lose the last moments.
            self._store.execute("PRAGMA synchronous = NORMAL")
            self._store.execute(
                "CREATE TABLE IF NOT EXISTS spending"
                " (name TEXT, day TEXT, usd REAL NOT NULL, PRIMARY KEY (name, day)) WITHOUT ROWID"
            )
            oldest = (self._today() - timedelta(days=KEPT_DAYS)).date().isoformat()
            self._store.execute("DELETE FROM spending WHERE day < ?", (oldest,))
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"the budget's file {file} cannot be used ({error}); name another one.") from error

    @property
    def left_usd(self) -> float:
        """What is left of today's cap; reservations of other servers count as spent."""
        return self.cap_usd - self.spent_today_usd

    @property
    def spent_today_usd(self) -> float:
        """What has been spent today, reservations included, by every server with this file."""
        row = self._store.execute(
            "SELECT usd FROM spending WHERE name = ? AND day = ?", (self.name, self._day())
        ).fetchone()
        return 0.0 if row is None else float(row[0])

    def reserve(self, usd: float) -> bool:
        """Books the most that a request may cost; `False` if there is not so much left today."""
        day = self._day()
        self._least_usd = min(self._least_usd, usd)
        self._store.execute("INSERT OR IGNORE INTO spending VALUES (?, ?, 0.0)", (self.name, day))
        booked = self._store.execute(
            "UPDATE spending SET usd = usd + ? WHERE name = ? AND day = ? AND usd + ? <= ?",
            (usd, self.name, day, usd, self.cap_usd + 1e-12),
        ).rowcount
        self.reservations += booked
        return bool(booked)

    def settle(self, reserved_usd: float, true_usd: float) -> None:
        """Corrects what was booked to what it came to."""
        self.reservations -= 1
        self.spent_usd += true_usd
        self._book(true_usd - reserved_usd)

    def spend(self, usd: float) -> None:
        """Books an amount that was not reserved."""
        self.spent_usd += usd
        self._book(usd)

    @property
    def is_spent(self) -> bool:
        """Whether less is left today than the cheapest request so far had to reserve."""
        left = self.left_usd
        return left <= 0 or left + 1e-12 < self._least_usd <= self.cap_usd

    @property
    def opens_again(self) -> datetime:
        """The next midnight, UTC."""
        return self._today() + timedelta(days=1)

    @property
    def seconds_until_open(self) -> float:
        """Until then."""
        return self.opens_again.timestamp() - self._now()

    def close(self) -> None:
        """Closes the file."""
        self._store.close()

    def _book(self, usd: float) -> None:
        # A reservation may have been made before midnight: it does not make the new day negative.
        self._store.execute(
            "INSERT INTO spending VALUES (?, ?, max(0.0, ?)) ON CONFLICT DO UPDATE SET usd = max(0.0, usd + ?)",
            (self.name, self._day(), usd, usd),
        )
        self.wake()

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def _day(self) -> str:
        return self._today().date().isoformat()
