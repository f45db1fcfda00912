"""Leases: which process drives which trial, and until when."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row

from luthier.errors import LuthierError
from luthier.processes import place_of_processes, start_time
from luthier.sweeps.database import TRIALS_TABLE, SweepDatabase
from luthier.sweeps.trial import TrialStatus

__all__ = ["LEASE_SECONDS", "RELEASED", "Claim", "LeaseLost", "TrialLeases"]

LEASE_SECONDS = 60.0
"""A driver renews its leases every 15 seconds."""

RELEASED: tuple[TrialStatus, ...] = ("paused", "interrupted")
UNFINISHED: tuple[TrialStatus, ...] = ("running", *RELEASED)


class LeaseLost(LuthierError):
    """Another process drives the trial by now; this one must buy nothing for it."""


@dataclass(frozen=True)
class Claim:
    """The right to drive a trial.

    Attributes:
        number: of the trial.
        trial: Optuna's.
        settings: what it is about.
        adopted: whether another process drove it before.
        token: of the lease.
    """

    number: int
    trial: optuna.Trial = field(compare=False)
    settings: Mapping[str, Any] = field(compare=False)
    adopted: bool = field(compare=False)
    token: str


class TrialLeases:
    """The leases on the trials of one study, each in the trial's row.

    A lease ends when it runs out by the clock of the database, and at once when its process ran on this machine and is
    gone.

    Args:
        database: of the study.
        study: its name.
        seconds: how long a lease lasts without being renewed.
    """

    def __init__(self, database: SweepDatabase, study: str, seconds: float) -> None:
        self._database, self._study, self._seconds = database, study, seconds

    def rows(self, connection: Connection) -> Sequence[Row[Any]]:
        """The rows of all trials."""
        return connection.execute(self._rows()).all()

    def row(self, connection: Connection, number: int) -> Row[Any] | None:
        """The row of a trial."""
        return connection.execute(self._rows().where(TRIALS_TABLE.c.number == number)).one_or_none()

    def unfinished(self, connection: Connection) -> Sequence[Row[Any]]:
        """The rows of the trials that have not ended, as far as the rows say, by number."""
        found = self._rows().where(TRIALS_TABLE.c.status.in_(UNFINISHED)).order_by(TRIALS_TABLE.c.number)
        return connection.execute(found).all()

    def is_live(self, row: Row[Any], now: float) -> bool:
        """Whether a process drives the trial of a row."""
        if row.status != "running":
            return False
        if row.place == place_of_processes() and start_time(row.pid) != row.process_start:
            return False
        # While the database was away no process could renew.
        return bool(now < row.expires) or not self._database.is_steady

    def take(
        self, connection: Connection, trial: optuna.Trial, settings: Mapping[str, Any], notes: str | None = None
    ) -> Claim:
        """Leases a trial to this process.

        Args:
            connection: of the transaction that holds the lock.
            trial: Optuna's.
            settings: what it is about.
            notes: of a trial that has no row yet.
        """
        pid = os.getpid()
        columns = {
            "status": "running",
            "reason": "",
            "token": secrets.token_hex(16),
            "host": socket.gethostname(),
            "place": place_of_processes(),
            "pid": pid,
            "process_start": start_time(pid) or "",
            "expires": self._database.now(connection) + self._seconds,
        }
        if notes is None:
            connection.execute(update(TRIALS_TABLE).where(self._at(trial.number)).values(**columns))
        else:
            key = {"study": self._study, "number": trial.number, "trial_id": trial._trial_id}
            connection.execute(insert(TRIALS_TABLE).values(**key, notes=notes, **columns))
        return Claim(trial.number, trial, settings, notes is None, str(columns["token"]))

    def renew(self, connection: Connection, claim: Claim) -> bool:
        """Starts the time of a lease anew; `False` if it was lost."""
        return self.change(connection, claim, expires=self._database.now(connection) + self._seconds)

    def change(self, connection: Connection, claim: Claim, **columns: Any) -> bool:
        """Changes the row of a trial; `False`, and no change, if its lease was lost."""
        mine = self._at(claim.number) & (TRIALS_TABLE.c.token == claim.token)
        changed: int = connection.execute(update(TRIALS_TABLE).where(mine).values(**columns)).rowcount
        return changed > 0

    def end(self, connection: Connection, number: int, status: TrialStatus) -> None:
        """Ends the lease on a trial that has ended."""
        connection.execute(update(TRIALS_TABLE).where(self._at(number)).values(status=status, token=None))

    def _rows(self) -> Any:
        return select(TRIALS_TABLE).where(TRIALS_TABLE.c.study == self._study)

    def _at(self, number: int) -> Any:
        return (TRIALS_TABLE.c.study == self._study) & (TRIALS_TABLE.c.number == number)
