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
import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection, Row

from luthier.engine.budget import Budget
from luthier.errors import BudgetReached, UserError
from luthier.processes import start_time
from luthier.providers.prices import dollars
from luthier.sweeps.database import STUDIES, TRIALS_TABLE, SweepDatabase
from luthier.sweeps.trial import SETTINGS_ATTRIBUTE, SOURCE_ATTRIBUTE, StudyFacts, SweepTrial, TrialStatus

__all__ = ["Claim", "StoredStudy"]

LEASE_SECONDS = 60.0

STATES: dict[str, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
STATUS_OF: dict[TrialState, TrialStatus] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "interrupted",
}
RELEASED = ("paused", "interrupted")
FIELDS = frozenset(one.name for one in fields(SweepTrial))


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
    adopted: bool
    token: str


class StoredStudy:
    """A study, read and written by any number of processes. Its methods may be called from several threads."""

    def __init__(self, database: SweepDatabase, study: optuna.Study, facts: StudyFacts) -> None:
        self._database, self.study, self.facts = database, study, facts
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._process_start = start_time(self._pid) or ""

    def claim(self, suggest: Callable[[optuna.Trial], dict[str, Any]]) -> Claim | None:
        """The next trial to drive: one that another process left behind, else a new one; `None` when there is none.

        Args:
            suggest: draws the settings of a trial; also of one that was left between two draws.
        """
        return self._database.patiently(lambda: self._claim(suggest))

    def _claim(self, suggest: Callable[[optuna.Trial], dict[str, Any]]) -> Claim | None:
        # While the lock is held nobody draws a trial: one that runs without a row was drawn by a process that died.
        with self._database.locked(self.facts.name):
            if self.stop_requested():
                return None
            orphan = self._orphan()
            if orphan is not None:
                trial = optuna.Trial(self.study, orphan)
                return self._leased(trial, suggest(trial), adopted=True)
            if self.own_trials() >= self.facts.trials:
                return None
            trial = self.study.ask()
            return self._leased(trial, suggest(trial), adopted=False)

    def _orphan(self) -> int | None:
        """Id of a trial that nobody drives; trials that ended without their row saying so are put right."""
        running = {one.number: one for one in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        with self._database.engine.begin() as connection:
            now = self._database.now(connection)
            rows = connection.execute(self._rows().where(TRIALS_TABLE.c.status.in_(("running", *RELEASED)))).all()
            for row in sorted(rows, key=lambda row: int(row.number)):
                found = running.pop(row.number, None)
                if found is None:
                    ended = self.study.get_trials(deepcopy=False)[row.number]
                    self._set(connection, row.number, status=STATUS_OF[ended.state], token=None)
                elif row.status in RELEASED or row.expires < now or self._has_died(row):
                    return found._trial_id
        return min((one._trial_id for one in running.values()), default=None)

    def _has_died(self, row: Row[Any]) -> bool:
        """Whether the process that drove a trial ran on this machine, and is gone."""
        here: bool = row.host == self._host
        return here and start_time(int(row.pid or 0)) != row.process_start

    def _leased(self, trial: optuna.Trial, settings: Mapping[str, Any], *, adopted: bool) -> Claim:
        token = secrets.token_hex(16)
        with self._database.engine.begin() as connection:
            lease = {
                "status": "running",
                "token": token,
                "host": self._host,
                "pid": self._pid,
                "process_start": self._process_start,
                "expires": self._database.now(connection) + LEASE_SECONDS,
            }
            if not self._set(connection, trial.number, **lease):
                notes = {"settings": dict(settings), "started": time.time()}
                row = {"study": self.facts.name, "number": trial.number, "trial_id": trial._trial_id}
                row |= {"reason": "", "notes": json.dumps(notes)}
                connection.execute(insert(TRIALS_TABLE).values(**row, **lease))
        return Claim(trial.number, trial, settings, adopted, token)

    def claim_of(self, number: int) -> Claim | None:
        """The right to drive one trial; `None` where another process has it, or it has ended."""

        def take() -> Claim | None:
            with self._database.locked(self.facts.name):
                with self._database.engine.connect() as connection:
                    row = connection.execute(self._rows().where(TRIALS_TABLE.c.number == number)).one_or_none()
                    now = self._database.now(connection)
                if row is None or row.status not in ("running", *RELEASED):
                    return None
                if row.status == "running" and row.expires >= now and not self._has_died(row):
                    return None
                trial = optuna.Trial(self.study, row.trial_id)
                return self._leased(trial, json.loads(row.notes)["settings"], adopted=True)

        return self._database.patiently(take)

    def renew(self, claims: Collection[Claim]) -> list[Claim]:
        """Keeps leases for another minute; returns those that are lost: another process drives their trials."""

        def act() -> list[Claim]:
            with self._database.engine.begin() as connection:
                expires = self._database.now(connection) + LEASE_SECONDS
                return [one for one in claims if not self._set(connection, one.number, one.token, expires=expires)]

        return self._database.patiently(act)

    def release(self, claim: Claim, status: TrialStatus, reason: str) -> None:
        """Leaves a trial, `paused` or `interrupted`, for the next process that claims one."""
        self._change(claim, status=status, reason=reason, token=None, expires=0.0)

    def note(self, claim: Claim, **facts: Any) -> None:
        """Keeps facts of a trial, by the names of `SweepTrial` or others, as JSON values."""

        def act() -> None:
            with self._database.engine.begin() as connection:
                mine = self._rows().where(TRIALS_TABLE.c.number == claim.number, TRIALS_TABLE.c.token == claim.token)
                row = connection.execute(mine).one_or_none()
                if row is not None:
                    notes = json.dumps(json.loads(row.notes) | facts)
                    self._set(connection, claim.number, claim.token, notes=notes)

        self._database.patiently(act)

    def notes(self, number: int) -> dict[str, Any]:
        """The facts that are kept of a trial."""

        def act() -> dict[str, Any]:
            with self._database.engine.connect() as connection:
                row = connection.execute(self._rows().where(TRIALS_TABLE.c.number == number)).one_or_none()
            return {} if row is None else dict(json.loads(row.notes))

        return self._database.patiently(act)

    def report(self, claim: Claim, step: int, value: float) -> None:
        """Tells the study how a trial does after so much of it; what early stopping judges by."""
        storage = self.study._storage
        self._database.patiently(
            lambda: storage.set_trial_intermediate_value(claim.trial._trial_id, step, float(value))
        )

    def tell(self, claim: Claim, status: TrialStatus, values: Sequence[float], reason: str = "") -> None:
        """Ends a trial. Changes nothing if its lease was lost."""

        def act() -> None:
            if not self.renew([claim]):
                found = self.study.get_trials(deepcopy=False)[claim.number]
                if not found.state.is_finished():
                    self.study.tell(claim.number, list(values) or None, state=STATES[status])
                with self._database.engine.begin() as connection:
                    ended = {"status": status, "reason": reason, "expires": 0.0}
                    self._set(connection, claim.number, claim.token, **ended, token=None)

        self._database.patiently(act)

    def trials(self) -> list[SweepTrial]:
        """Every trial by number, imported ones among them."""

        def act() -> list[SweepTrial]:
            with self._database.engine.connect() as connection:
                rows = {row.number: row for row in connection.execute(self._rows())}
            found = self.study.get_trials(deepcopy=False)
            return [_trial_of(one, rows.get(one.number)) for one in found]

        return self._database.patiently(act)

    def own_trials(self) -> int:
        """How many trials count: those that were drawn here, copies of others left out."""
        condition = (TRIALS_TABLE.c.study == self.facts.name) & TRIALS_TABLE.c.source.is_(None)
        return int(self._scalar(select(func.count()).select_from(TRIALS_TABLE).where(condition)) or 0)

    def reserve(self, claim: Claim, usd: float | None, keep_usd: float = 0.0) -> None:
        """Sets money aside for a trial before anything of it is bought, over all machines.

        Args:
            claim: of the trial; what was set aside for it before is replaced.
            usd: the most that it can cost; `None` when unknown.
            keep_usd: what must be left besides.

        Raises:
            BudgetReached: the budget does not reach for it.
            UserError: a budget was given, and the price is not known.
        """
        budget = self.facts.budget_usd
        if budget is not None and usd is None:
            raise UserError(
                f"a budget was given, but what trial {claim.number} costs is not known. Put the prices into the "
                "endpoint: price: {input_usd_per_million: ..., output_usd_per_million: ..., "
                "training_usd_per_million: ...} (0 is a price)."
            )

        def act() -> None:
            with self._database.locked(self.facts.name), self._database.engine.begin() as connection:
                others = self._committed(connection, besides=claim.number)
                if budget is not None and usd is not None and others + usd + keep_usd > budget + 1e-9:
                    kept = f" and {dollars(keep_usd, up=True)} for measuring the winner" if keep_usd else ""
                    raise BudgetReached(
                        f"{dollars(others)} of the sweep's budget of {dollars(budget)} are spent or set aside, and "
                        f"the next trial may cost {dollars(usd, up=True)}{kept}. To go on: raise --budget"
                    )
                self._set(connection, claim.number, claim.token, reserved_usd=usd)

        self._database.patiently(act)

    def settle(self, claim: Claim, usd: float | None) -> None:
        """Puts what a trial cost in the place of what was set aside; where it is unknown, that stays."""
        if usd is not None:
            self._change(claim, spent_usd=usd, reserved_usd=None)

    def spent_usd(self) -> float:
        """What the study has cost, all machines together, as far as it is known."""
        spent = select(func.sum(TRIALS_TABLE.c.spent_usd)).where(TRIALS_TABLE.c.study == self.facts.name)
        winner = select(STUDIES.c.winner_usd).where(STUDIES.c.name == self.facts.name)
        return float(self._scalar(spent) or 0.0) + float(self._scalar(winner) or 0.0)

    def reserved_usd(self) -> float:
        """What is set aside for trials, all machines together."""
        of_study = (TRIALS_TABLE.c.study == self.facts.name) & TRIALS_TABLE.c.spent_usd.is_(None)
        return float(self._scalar(select(func.sum(TRIALS_TABLE.c.reserved_usd)).where(of_study)) or 0.0)

    def budget(self) -> Budget | None:
        """What is left of the budget; `None` without one."""
        if self.facts.budget_usd is None:
            return None
        return Budget(max(0.0, self.facts.budget_usd - self.spent_usd() - self.reserved_usd()))

    def request_stop(self) -> None:
        """Has every machine start no further trial and leave those that run."""
        self._study_set(stopped=True)

    def stop_requested(self) -> bool:
        """Whether the sweep is to stop."""
        return bool(self._scalar(select(STUDIES.c.stopped).where(STUDIES.c.name == self.facts.name)))

    def live_elsewhere(self) -> int:
        """How many trials other processes drive, or left behind."""
        condition = (TRIALS_TABLE.c.study == self.facts.name) & TRIALS_TABLE.c.status.in_(("running", *RELEASED))
        return int(self._scalar(select(func.count()).select_from(TRIALS_TABLE).where(condition)) or 0)

    def alone(self, what: str) -> AbstractContextManager[None]:
        """One process of all machines at a time does this for the study."""
        return self._database.locked(f"{self.facts.name} {what}")

    @property
    def winner(self) -> dict[str, Any] | None:
        """What was measured on holdout rows; `None` before that."""
        found = self._scalar(select(STUDIES.c.winner).where(STUDIES.c.name == self.facts.name))
        return None if found is None else dict(json.loads(found))

    def keep_winner(self, document: Mapping[str, Any], cost_usd: float) -> None:
        """Keeps what was measured on holdout rows, and adds what that cost."""
        spent = STUDIES.c.winner_usd + cost_usd
        self._study_set(winner=json.dumps(document), winner_usd=spent)

    def _committed(self, connection: Connection, besides: int) -> float:
        trial = func.coalesce(TRIALS_TABLE.c.spent_usd, TRIALS_TABLE.c.reserved_usd, 0.0)
        others = (TRIALS_TABLE.c.study == self.facts.name) & (TRIALS_TABLE.c.number != besides)
        winner = select(STUDIES.c.winner_usd).where(STUDIES.c.name == self.facts.name)
        trials = connection.execute(select(func.sum(trial)).where(others)).scalar()
        return float(trials or 0.0) + float(connection.execute(winner).scalar() or 0.0)

    def _rows(self) -> Any:
        return select(TRIALS_TABLE).where(TRIALS_TABLE.c.study == self.facts.name)

    def _set(self, connection: Connection, number: int, of: str | None = None, /, **columns: Any) -> bool:
        """Changes the row of a trial, of this lease only where one is given; returns whether there was one."""
        where = (TRIALS_TABLE.c.study == self.facts.name) & (TRIALS_TABLE.c.number == number)
        if of is not None:
            where &= TRIALS_TABLE.c.token == of
        changed: int = connection.execute(update(TRIALS_TABLE).where(where).values(**columns)).rowcount
        return changed > 0

    def _change(self, claim: Claim, **columns: Any) -> None:
        def act() -> None:
            with self._database.engine.begin() as connection:
                self._set(connection, claim.number, claim.token, **columns)

        self._database.patiently(act)

    def _study_set(self, **columns: Any) -> None:
        def act() -> None:
            with self._database.engine.begin() as connection:
                connection.execute(update(STUDIES).where(STUDIES.c.name == self.facts.name).values(**columns))

        self._database.patiently(act)

    def _scalar(self, query: Any) -> Any:
        def act() -> Any:
            with self._database.engine.connect() as connection:
                return connection.execute(query).scalar()

        return self._database.patiently(act)


def _trial_of(found: FrozenTrial, row: Row[Any] | None) -> SweepTrial:
    """A trial by what Optuna and our own row say of it."""
    values = tuple(found.values or ()) if found.state == TrialState.COMPLETE else ()
    started = None if found.datetime_start is None else found.datetime_start.timestamp()
    ended = None if found.datetime_complete is None else found.datetime_complete.timestamp()
    curve = {step: value for step, value in found.intermediate_values.items() if math.isfinite(value)}
    if row is None:
        settings = found.user_attrs.get(SETTINGS_ATTRIBUTE, found.params)
        source = found.user_attrs.get(SOURCE_ATTRIBUTE)
        status = STATUS_OF[found.state]
        return SweepTrial(found.number, settings, status, values, curve=curve, source=source)
    notes = {name: value for name, value in json.loads(row.notes).items() if name in FIELDS}
    status = row.status if found.state == TrialState.RUNNING else STATUS_OF[found.state]
    known = SweepTrial(found.number, notes.pop("settings", {}), status, values, curve=curve, ended=ended)
    known = replace(known, started=started, reason=row.reason, reserved_usd=row.reserved_usd, source=row.source)
    if row.token is not None:
        known = replace(known, owner=f"{row.host}:{row.pid}")
    return replace(known, **{name: value for name, value in notes.items() if name not in ("reason", "curve")})
