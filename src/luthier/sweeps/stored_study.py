"""A study in its storage: who drives which trial, what is known of each, and the money of all of them.

    claimed (lease of a minute, renewed) --> told
         ^            |
         |            +--> released: paused or interrupted; its process died, or its lease ran out
         +------------------------------+  claimed by the next start, or by another machine

Optuna keeps the points and their values; leases, money and whatever else is known of a trial are in a row of our own.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import fields, replace
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, select, update
from sqlalchemy.engine import Connection, Row

from luthier.engine.budget import Budget
from luthier.sweeps.database import STUDIES, TRIALS_TABLE, SweepDatabase
from luthier.sweeps.leases import LEASE_SECONDS, RELEASED, Claim, LeaseLost, TrialLeases
from luthier.sweeps.reservations import Reservations
from luthier.sweeps.trial import (
    SETTINGS_ATTRIBUTE,
    SOURCE_ATTRIBUTE,
    StudyFacts,
    SweepObjective,
    SweepTrial,
    TrialStatus,
)

__all__ = ["StoredStudy", "read_facts"]

STATES: dict[str, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
STATUS_OF: dict[TrialState, TrialStatus] = {state: status for status, state in STATES.items()}  # type: ignore[misc]
FIELDS = frozenset(one.name for one in fields(SweepTrial))

Suggest = Callable[[optuna.Trial], dict[str, Any]]


def read_facts(written: str) -> StudyFacts:
    """The facts of a study as its row has them."""
    kept = json.loads(written)
    objectives = tuple(SweepObjective(**one) for one in kept.pop("objectives"))
    return StudyFacts(**kept, objectives=objectives)


class StoredStudy:
    """A study, read and written by any number of processes. Its methods may be called from several threads.

    All of them wait while the database is away, and raise `Partial` after ten minutes.

    Args:
        database: where it is.
        study: Optuna's.
        facts: what it is about.
        lease_seconds: how long a trial belongs to a process that does not renew its lease.
    """

    def __init__(
        self, database: SweepDatabase, study: optuna.Study, facts: StudyFacts, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._database, self.study, self.facts = database, study, facts
        self._leases = TrialLeases(database, facts.name, lease_seconds)
        self._money = Reservations(facts.name)
        self._noting = threading.Lock()

    # Who drives which trial

    def claim(self, suggest: Suggest) -> Claim | None:
        """The next trial to drive: one that no process drives any more, else a new one; `None` when there is none.

        Args:
            suggest: draws the settings of a trial; also of one whose process died between two draws.
        """
        return self._database.under_lock(lambda connection: self._next(connection, suggest))

    def claim_of(self, number: int) -> Claim | None:
        """The right to drive one trial; `None` where another process has it, or it has ended."""

        def take(connection: Connection) -> Claim | None:
            row = self._leases.row(connection, number)
            if row is None or self._leases.is_live(row, self._database.now(connection)):
                return None
            return self._adopted(connection, row) if row.status in ("running", *RELEASED) else None

        return self._database.under_lock(take)

    def renew(self, claims: Collection[Claim]) -> list[Claim]:
        """Keeps leases for another minute; returns those that are lost: another process drives their trials."""
        return self._database.in_transaction(
            lambda connection: [one for one in claims if not self._leases.renew(connection, one)]
        )

    def release(self, claim: Claim, status: TrialStatus, reason: str) -> None:
        """Leaves a trial, `paused` or `interrupted`, for the next claim. Changes nothing if its lease was lost."""
        columns = {"status": status, "reason": _storable(reason), "token": None, "expires": 0.0}
        self._database.in_transaction(lambda connection: self._leases.change(connection, claim, **columns))

    def live_elsewhere(self) -> int:
        """How many trials have a driver."""

        def count(connection: Connection) -> int:
            now = self._database.now(connection)
            return sum(self._leases.is_live(row, now) for row in self._leases.unfinished(connection))

        return self._database.in_transaction(count)

    # What is known of a trial

    def note(self, claim: Claim, **facts: Any) -> None:
        """Keeps facts of a trial, by the names of `SweepTrial` or others, as JSON values.

        Changes nothing if the lease was lost.
        """

        def merge(connection: Connection) -> None:
            row = self._leases.row(connection, claim.number)
            if row is not None:
                self._leases.change(connection, claim, notes=json.dumps(json.loads(row.notes) | facts))

        # Only the holder of the lease writes them.
        with self._noting:
            self._database.in_transaction(merge)

    def notes(self, number: int) -> dict[str, Any]:
        """The facts that are kept of a trial."""
        row = self._database.in_transaction(lambda connection: self._leases.row(connection, number))
        return {} if row is None else dict(json.loads(row.notes))

    def report(self, claim: Claim, step: int, value: float) -> None:
        """Tells the study how a trial does after so much of it; what early stopping judges by."""
        # A trial that ended did so for another process, which has its lease by now.
        with suppress(UpdateFinishedTrialError):
            self.study._storage.set_trial_intermediate_value(claim.trial._trial_id, step, float(value))

    def tell(self, claim: Claim, status: TrialStatus, values: Sequence[float], reason: str = "") -> None:
        """Ends a trial. Changes nothing if its lease was lost."""

        def end(connection: Connection) -> None:
            row = self._leases.row(connection, claim.number)
            if row is None or row.token != claim.token:
                return
            found = self.study._storage.get_trial(claim.trial._trial_id)
            if not found.state.is_finished():
                # Raised where the database was away after it had taken the values, and before it said so.
                with suppress(UpdateFinishedTrialError):
                    self.study.tell(claim.number, list(values) or None, state=STATES[status])
            columns = {"status": status, "reason": _storable(reason), "token": None, "expires": 0.0}
            self._leases.change(connection, claim, **columns)

        self._database.under_lock(end)

    def trials(self) -> list[SweepTrial]:
        """Every trial by number, imported ones among them."""

        def read(connection: Connection) -> list[SweepTrial]:
            now = self._database.now(connection)
            rows = {row.number: row for row in self._leases.rows(connection)}
            live = {number for number, row in rows.items() if self._leases.is_live(row, now)}
            found = self.study.get_trials(deepcopy=False)
            return [
                _trial_of(one, rows.get(one.number), one.number in live)
                for one in found
                if one.number in rows or SOURCE_ATTRIBUTE in one.user_attrs
            ]

        return self._database.in_transaction(read)

    def own_trials(self) -> int:
        """How many trials count: those that were drawn for this sweep."""
        return self._database.in_transaction(self._count)

    # Money

    def reserve(self, claim: Claim, usd: float | None, keep_usd: float = 0.0) -> None:
        """Sets money aside for a trial before anything of it is bought, over all machines.

        Args:
            claim: of the trial; what was set aside for it before is replaced.
            usd: the most that it can cost; `None` when unknown.
            keep_usd: what must be left besides.

        Raises:
            BudgetReached: the budget does not cover it.
            UserError: the study has a budget, and the price is not known.
            LeaseLost: another process drives the trial.
        """

        def set_aside(connection: Connection) -> None:
            self._read_facts(connection)
            self._money.check(connection, claim.number, usd, self.facts.budget_usd, keep_usd)
            if not self._leases.change(connection, claim, reserved_usd=usd):
                raise LeaseLost(f"another process drives trial {claim.number} of sweep {self.facts.name}")

        self._database.under_lock(set_aside)

    def settle(self, claim: Claim, usd: float | None) -> None:
        """Puts what a trial cost in the place of what was set aside; where it is unknown, that stays.

        Changes nothing if the lease was lost.
        """
        if usd is not None:
            columns = {"spent_usd": usd, "reserved_usd": None}
            self._database.in_transaction(lambda connection: self._leases.change(connection, claim, **columns))

    def spent_usd(self) -> float:
        """What the study has cost, all machines together, as far as it is known."""
        return self._database.in_transaction(self._money.spent_usd)

    def reserved_usd(self) -> float:
        """What is set aside for trials, all machines together."""
        return self._database.in_transaction(self._money.reserved_usd)

    def budget(self) -> Budget | None:
        """What is left of the budget; `None` without one."""

        def left(connection: Connection) -> Budget | None:
            self._read_facts(connection)
            if self.facts.budget_usd is None:
                return None
            committed = self._money.spent_usd(connection) + self._money.reserved_usd(connection)
            return Budget(max(0.0, self.facts.budget_usd - committed))

        return self._database.in_transaction(left)

    # The study as a whole

    def request_stop(self) -> None:
        """Has every machine start no further trial and leave those that run."""
        self._set(stopped=True)

    def stop_requested(self) -> bool:
        """Whether the sweep is to stop."""
        return bool(self._database.in_transaction(self._read_facts).stopped)

    def alone(self, what: str) -> AbstractContextManager[None]:
        """One process of all machines at a time does this for the study, however long it takes."""
        return self._database.alone(f"{self.facts.name} {what}")

    @property
    def winner(self) -> dict[str, Any] | None:
        """What was measured on holdout rows; `None` before that."""
        found = self._database.in_transaction(self._read_facts).winner
        return None if found is None else dict(json.loads(found))

    def keep_winner(self, document: Mapping[str, Any], cost_usd: float) -> None:
        """Keeps what was measured on holdout rows, and adds what that cost."""
        self._set(winner=json.dumps(document), winner_usd=STUDIES.c.winner_usd + cost_usd)

    def _next(self, connection: Connection, suggest: Suggest) -> Claim | None:
        if self._read_facts(connection).stopped:
            return None
        now, rows = self._database.now(connection), {row.number: row for row in self._leases.unfinished(connection)}
        running = {one.number: one for one in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        left = [row for number, row in rows.items() if number in running and not self._leases.is_live(row, now)]
        if left:
            claim: Claim | None = self._adopted(connection, left[0])
        else:
            # Only the process with the lock draws one, so the process that drew one without a row is gone.
            undrawn = [one for number, one in running.items() if number not in rows]
            claim = self._drawn(connection, suggest, undrawn)
        for number, row in rows.items():
            if number not in running:
                # Its process died after Optuna was told.
                ended = self.study._storage.get_trial(row.trial_id)
                self._leases.end(connection, number, STATUS_OF[ended.state])
        return claim

    def _adopted(self, connection: Connection, row: Row[Any]) -> Claim:
        settings = json.loads(row.notes)["settings"]
        return self._leases.take(connection, optuna.Trial(self.study, row.trial_id), settings)

    def _drawn(self, connection: Connection, suggest: Suggest, undrawn: Sequence[FrozenTrial]) -> Claim | None:
        """A new trial, or one whose process died while it drew the settings."""
        if self._count(connection) >= self.facts.trials:
            for one in undrawn:
                self.study.tell(one.number, state=TrialState.FAIL)
            return None
        trial = optuna.Trial(self.study, undrawn[0]._trial_id) if undrawn else self.study.ask()
        settings = suggest(trial)
        notes = json.dumps({"settings": settings, "started": time.time()})
        return self._leases.take(connection, trial, settings, notes)

    def _count(self, connection: Connection) -> int:
        own = select(func.count()).select_from(TRIALS_TABLE).where(TRIALS_TABLE.c.study == self.facts.name)
        return int(connection.execute(own).scalar_one())

    def _read_facts(self, connection: Connection) -> Row[Any]:
        """The row of the study; trials and budget may have been raised by another process."""
        row = connection.execute(select(STUDIES).where(STUDIES.c.name == self.facts.name)).one()
        self.facts = read_facts(row.facts)
        return row

    def _set(self, **columns: Any) -> None:
        changed = update(STUDIES).where(STUDIES.c.name == self.facts.name).values(**columns)
        self._database.in_transaction(lambda connection: connection.execute(changed))


def _trial_of(found: FrozenTrial, row: Row[Any] | None, is_live: bool) -> SweepTrial:
    """A trial by what Optuna and our own row say of it."""
    values = tuple(found.values or ()) if found.state == TrialState.COMPLETE else ()
    curve = {step: value for step, value in found.intermediate_values.items() if math.isfinite(value)}
    times = [None if one is None else one.timestamp() for one in (found.datetime_start, found.datetime_complete)]
    if row is None:
        settings = found.user_attrs.get(SETTINGS_ATTRIBUTE, found.params)
        trial = SweepTrial(found.number, settings, STATUS_OF[found.state], values, curve=curve)
        return replace(trial, started=times[0], ended=times[1], source=found.user_attrs[SOURCE_ATTRIBUTE])
    status = STATUS_OF.get(found.state, "interrupted" if row.status == "running" and not is_live else row.status)
    notes = {name: value for name, value in json.loads(row.notes).items() if name in FIELDS}
    known = {"started": times[0], "ended": times[1], "cost_usd": row.spent_usd, **notes}
    known |= {"values": values, "curve": curve, "reason": row.reason, "reserved_usd": row.reserved_usd}
    known["owner"] = f"{row.host}:{row.pid}" if is_live else None
    return SweepTrial(number=found.number, status=status, **known)


def _storable(text: str) -> str:
    """A text that PostgreSQL takes: without halves of surrogate pairs and without zero bytes."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
