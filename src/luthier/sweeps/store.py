"""Where studies are kept: found, joined and opened by name."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from luthier.errors import ModelError, SpecError
from luthier.sweeps.database import STUDIES, SweepDatabase
from luthier.sweeps.leases import LEASE_SECONDS, Claim, LeaseLost
from luthier.sweeps.stored_study import StoredStudy, read_facts
from luthier.sweeps.trial import StudyFacts

__all__ = ["Claim", "LeaseLost", "StoredStudy", "SweepStore", "quiet_study"]


def quiet_study(**settings: Any) -> optuna.Study:
    """As `optuna.create_study`, which writes a line to standard error."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(**settings)
    finally:
        optuna.logging.set_verbosity(before)


SHOWN_DIFFERENCES = 3


class SweepStore:
    """The studies of a database.

    Args:
        url: of the database; this user's own file when absent.
        lease_seconds: how long a trial belongs to a process that does not renew its lease.
        make: whether the database's file is made where there is none.

    Raises:
        UserError: the database cannot be used.
        ModelError: there is no such file, and it is not to be made.
        MissingPart: the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str | None = None, lease_seconds: float = LEASE_SECONDS, *, make: bool = True) -> None:
        self._database = SweepDatabase(url, make=make)
        self._lease_seconds = lease_seconds

    @property
    def shown(self) -> str:
        """The database as people may see it: without a password."""
        return self._database.shown

    def join(self, facts: StudyFacts, sampler: BaseSampler) -> StoredStudy:
        """The study of this name: a new one, or the one that is there, if it is about the same.

        A larger number of trials and another budget take the place of what the study had. A request to stop ends.

        Raises:
            SpecError: the storage has a study of this name that is about something else.
        """

        def act(connection: Connection) -> StoredStudy:
            stored = _stored(connection, facts.name)
            kept = facts
            if stored is not None:
                _need_same(stored, facts, self.shown)
                budget = stored.budget_usd if facts.budget_usd is None else facts.budget_usd
                kept = replace(stored, trials=max(stored.trials, facts.trials), budget_usd=budget)
            study = self._optuna_study(kept, sampler, is_new=stored is None)
            written = json.dumps(asdict(kept))
            if stored is None:
                row = {"name": kept.name, "facts": written, "stopped": False, "winner_usd": 0.0}
                connection.execute(insert(STUDIES).values(**row))
            else:
                changed = update(STUDIES).where(STUDIES.c.name == kept.name)
                connection.execute(changed.values(facts=written, stopped=False))
            return StoredStudy(self._database, study, kept, self._lease_seconds)

        return self._database.under_lock(act)

    def find(self, facts: StudyFacts) -> StoredStudy | None:
        """The study that `join` would go on with; `None` where there is none.

        Raises:
            SpecError: the storage has a study of this name that is about something else.
        """
        stored = self._database.in_transaction(lambda connection: _stored(connection, facts.name))
        if stored is None:
            return None
        _need_same(stored, facts, self.shown)
        return self.open(facts.name)

    def open(self, name: str | None = None, sampler: BaseSampler | None = None) -> StoredStudy:
        """A study as it is; the newest when no name is given.

        Raises:
            ModelError: there is no such study; the message says which there are.
        """
        known = self.studies()
        facts = next((one for one in known if name is None or one.name == name), None)
        if facts is None:
            there = f"it has: {', '.join(one.name for one in known)}" if known else "it has none yet"
            asked = "no sweep" if name is None else f"no sweep {name!r}"
            raise ModelError(f"{asked} in {self.shown}; {there}. Another database: --storage URL")
        study = optuna.load_study(study_name=facts.name, storage=self._database.storage, sampler=sampler)
        return StoredStudy(self._database, study, facts, self._lease_seconds)

    def studies(self) -> list[StudyFacts]:
        """Every study, newest first."""
        rows = self._database.in_transaction(lambda connection: connection.execute(select(STUDIES.c.facts)).all())
        return sorted((read_facts(row.facts) for row in rows), key=lambda one: -one.created)

    def _optuna_study(self, facts: StudyFacts, sampler: BaseSampler, *, is_new: bool) -> optuna.Study:
        study = quiet_study(
            study_name=facts.name,
            storage=self._database.storage,
            sampler=sampler,
            directions=[one.direction for one in facts.objectives],
            load_if_exists=True,
        )
        # One without trials is of a process that died before it wrote the row; any other is a person's own.
        if is_new and study.get_trials(deepcopy=False):
            raise SpecError(
                f"{self.shown} has a study {facts.name!r} that is no sweep of Luthier. Give the sweep another name "
                "(`name:` in its file)."
            )
        return study


def _stored(connection: Connection, name: str) -> StudyFacts | None:
    row = connection.execute(select(STUDIES.c.facts).where(STUDIES.c.name == name)).one_or_none()
    return None if row is None else read_facts(row.facts)


def _need_same(stored: StudyFacts, facts: StudyFacts, shown: str) -> None:
    if stored.digest == facts.digest:
        return
    found = [*_differences(_compared(stored), _compared(facts))] or ["the code of its task"]
    more = f"; and {len(found) - SHOWN_DIFFERENCES} more" if len(found) > SHOWN_DIFFERENCES else ""
    raise SpecError(
        f"{shown} has a sweep {facts.name!r} already, and this one is about something else, so that their trials "
        f"cannot be compared: {'; '.join(found[:SHOWN_DIFFERENCES])}{more}. Give this one another name (`name:` in its "
        "file), or undo the change."
    )


def _compared(facts: StudyFacts) -> dict[str, Any]:
    parts = {name: facts.document.get(name) for name in ("spec", "space", "objective")}
    return parts | {f"rows of {name}": table.get("digest") for name, table in facts.tables.items()}


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*there, *here]):
            yield from _differences(there.get(name), here.get(name), f"{path}: {name}" if path else str(name))
    elif there != here:
        is_rows = path.startswith("rows of ")
        yield f"other {path}" if is_rows else f"{path} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    return "absent" if value is None else textwrap.shorten(json.dumps(value, ensure_ascii=False), 60, placeholder="...")
